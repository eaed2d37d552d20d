"""Four classic autoencoders on Fashion-MNIST: simple, sparse, denoising, variational.

    python -m experiments.autoencoders --kind simple       # 784-2000-500-500-10, squared error
    python -m experiments.autoencoders --kind sparse       # the same, and an L1 penalty on z
    python -m experiments.autoencoders --kind sparse --sparsity-sweep
    python -m experiments.autoencoders --kind denoising    # convolutions, salt and pepper
    python -m experiments.autoencoders --kind variational  # 784-500-10, Bernoulli pixels

Training ends when the loss of the validation samples, the last seventh, has found no new
low for `--patience` epochs; the parameters of the lowest one are kept.

A sigmoid is never 0, and a penalty may shrink all of z alike while the decoder's weights
grow to make up for it. So a value of z is active where |z| is above a tenth of the
largest |z| of all validation samples, which falls only where some values are small beside
others. The fraction above 0.01 stands beside it, and falls with mere shrinking too.
"""

import argparse
import dataclasses
import sys
from typing import Any

from dec_jax.cli.options import DATASETS, PRECISIONS
from dec_jax.runs.compile_cache import keep_programs
from dec_jax.runs.errors import STOPPED, UsageError, flag
from experiments.autoencoder_run import CTRL_C, SPARSITY, new_folder, prepared, trained

PROGRAM = "python -m experiments.autoencoders"
KINDS = ("simple", "sparse", "denoising", "variational")
SWEEP = (1e-9, 1e-6, 1e-5, 1e-4, 1e-3, 3e-3, 1e-2)
# Of a sweep's runs, the sparsest with at most so many times the least error is named.
ERROR_FOR_SPARSITY = 1.25
ACTIVITY = ("active_fraction", "above_hundredth", "mean_z")


def option(default: Any, metavar: str, text: str, kind: type = str) -> Any:
    """A field of `Settings`, and what `parser` makes of it."""
    told = {"metavar": metavar, "help": text, "type": kind}
    return dataclasses.field(default=default, metadata=told)


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the command line says."""

    kind: str
    dataset: str = option("fashion_mnist", "NAME", f"{', '.join(DATASETS)}, or a file")
    data_dir: str | None = option(None, "DIR", "data sets (default $DEC_JAX_DATA)")
    architecture: str | None = option(
        None, "NAME", "shipped network or JSON file (default: the published one)"
    )
    sparsity: float | None = option(
        None,
        "W",
        f"weight of the L1 norm of z, if sparse (default {SPARSITY:g})",
        float,
    )
    epochs: int = option(500, "N", "train for at most N epochs", int)
    patience: int = option(10, "N", "stop N epochs after the lowest loss", int)
    batch_size: int = option(2048, "N", "samples in a step", int)
    learning_rate: float = option(1e-3, "R", "of Adam", float)
    precision: str = option(
        "float32", "NAME", f"of matrix products: {' or '.join(PRECISIONS)}"
    )
    seed: int = option(0, "S", "of parameters, minibatches and noise", int)
    limit: int | None = option(None, "N", "train on the first N samples only", int)
    out: str | None = option(
        None, "DIR", "results (default runs/autoencoder-<kind>-<data set>)"
    )

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(
                f"--kind must be one of {', '.join(KINDS)}, got {self.kind}."
            )
        if self.precision not in PRECISIONS:
            raise UsageError(
                f"--precision must be {' or '.join(PRECISIONS)}, got {self.precision}."
            )
        if self.sparsity is not None and self.kind != "sparse":
            raise UsageError(f"--sparsity is for --kind sparse, got {self.kind}.")


def parser() -> argparse.ArgumentParser:
    """The options; one that is not given leaves no trace."""
    out = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Trains a classic autoencoder.",
        epilog="Ctrl-C ends training after the epoch and keeps what was found so far.",
        argument_default=argparse.SUPPRESS,
    )
    kinds = ", ".join(KINDS)
    out.add_argument("--kind", metavar="KIND", required=True, help=kinds)
    for field in dataclasses.fields(Settings)[1:]:
        told = dict(field.metadata)
        if field.default is not None:
            told["help"] += f" (default {field.default})"
        out.add_argument(flag(field.name), **told)
    weights = ", ".join(f"{weight:g}" for weight in SWEEP)
    text = f"train a sparse one with each weight of {weights}"
    out.add_argument("--sparsity-sweep", action="store_true", help=text)
    return out


def main(arguments: list[str]) -> int:
    """Trains; returns the exit status: 0, 2 for a mistake, 130 for Ctrl-C."""
    options = vars(parser().parse_args(arguments))
    train = sweep if options.pop("sparsity_sweep", False) else run
    try:
        results = train(Settings(**options))
    except (UsageError, FloatingPointError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped at once, without results.", file=sys.stderr)
        return STOPPED
    return STOPPED if results["stop_reason"].startswith(CTRL_C) else 0


def run(settings: Settings) -> dict[str, Any]:
    """Trains, scores and draws one autoencoder; returns what stands in results.json.

    Raises:
      UsageError: settings or data that do not fit, before any folder is made.
      FloatingPointError: the loss is no longer finite.
    """
    # Here and below only now, because it loads jax.
    from dec_jax.runs.progress import Stop

    task = prepared(settings)
    folder = new_folder(task)
    with Stop() as stop:
        results = trained(task, folder, stop)
    print(report(results))
    return results


def sweep(settings: Settings) -> dict[str, Any]:
    """`run` with each weight of `SWEEP`; returns what stands in sweep.json."""
    from dec_jax.objectives.reconstruction import Reconstruction
    from dec_jax.runs import folder as run_folder
    from dec_jax.runs.progress import Stop

    if settings.kind != "sparse" or settings.sparsity is not None:
        raise UsageError("--sparsity-sweep is for --kind sparse without --sparsity.")
    task = prepared(settings)
    folder = new_folder(task, "-sweep")
    rows: list[dict[str, Any]] = []
    with Stop() as stop:
        for weight in SWEEP:
            print(f"\nsparsity {weight:g}")
            objective = Reconstruction(sparsity=weight)
            one = task._replace(
                settings=dataclasses.replace(settings, sparsity=weight),
                config=dataclasses.replace(task.config, objective=objective),
            )
            inner = folder / f"sparsity-{weight:.0e}"
            inner.mkdir()
            results = trained(one, inner, stop)
            print(report(results))
            names = ("sparsity", "validation_mse", *ACTIVITY, "best_epoch")
            rows.append({name: results[name] for name in names})
            if stop.asked:
                break
    out = {
        "rows": rows,
        "sparsest": sparsest(rows)["sparsity"],
        "stop_reason": results["stop_reason"],
    }
    run_folder.write_json(folder / "sweep.json", out)
    print(f"\n{sweep_table(rows)}\nsweep: {folder / 'sweep.json'}")
    return out


def report(results: dict[str, Any]) -> str:
    """The lines that a run ends with."""
    lines = [
        f"{results['stop_reason']}: {results['epochs']} epochs in "
        f"{results['seconds']:.0f} s; kept epoch {results['best_epoch']}",
        f"loss {results['training_loss']:.5g}, validation "
        f"{results['validation_loss']:.5g}; mean squared error of the validation "
        f"samples {results['validation_mse']:.5f}",
    ]
    if "noise_mse" in results:
        lines[-1] += f" (of the noise: {results['noise_mse']:.5f})"
    if "mean_z" in results:
        lines.append(
            f"z: {results['active_fraction']:.1%} active (above a tenth of the largest), "
            f"{results['above_hundredth']:.1%} above 0.01, mean {results['mean_z']:.4f}"
        )
    if "k_means" in results:
        found = results["k_means"]
        lines.append(
            f"k-means on z of the validation samples: ACC {found['acc']:.3f}, "
            f"NMI {found['nmi']:.3f}"
        )
    return "\n".join(lines)


def sparsest(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The run with the fewest active values, of those that hardly pay for it."""
    most = ERROR_FOR_SPARSITY * min(row["validation_mse"] for row in rows)
    good = [row for row in rows if row["validation_mse"] <= most]
    return min(good, key=lambda row: row["active_fraction"])


def sweep_table(rows: list[dict[str, Any]]) -> str:
    """Weight against error and activity, a run a line, and the run to choose."""
    lines = ["  weight  squared error    active  above 0.01  mean |z|  epoch kept"]
    for row in rows:
        lines.append(
            f"{row['sparsity']:8.0e}{row['validation_mse']:15.5f}"
            f"{row['active_fraction']:10.1%}{row['above_hundredth']:12.1%}"
            f"{row['mean_z']:10.4f}{row['best_epoch']:12}"
        )
    chosen = sparsest(rows)
    lines.append(
        f"sparsest with at most {ERROR_FOR_SPARSITY:g} times the least error: "
        f"{chosen['sparsity']:.0e}"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    keep_programs()
    sys.exit(main(sys.argv[1:]))
