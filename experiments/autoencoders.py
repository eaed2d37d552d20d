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
largest |z| of all validation samples, which falls only where some values are small next to
others. The fraction above 0.01 is given as well; it also falls with mere shrinking.
"""

import argparse
import dataclasses
import sys
from typing import Any

from dec_jax.objectives.reconstruction import Reconstruction
from dec_jax.runs.errors import STOPPED, UsageError, exit_status, flag
from dec_jax.runs.experiment import open_folder, stoppable
from dec_jax.runs.json_files import write_json
from experiments.autoencoder_run import (
    CTRL_C,
    KINDS,
    Settings,
    configuration,
    new_folder,
    prepared,
    trained,
)

PROGRAM = "python -m experiments.autoencoders"
SWEEP = (1e-9, 1e-6, 1e-5, 1e-4, 1e-3, 3e-3, 1e-2)
# Of a sweep's runs, the sparsest with at most so many times the least error is named.
ERROR_FOR_SPARSITY = 1.25
ACTIVITY = ("active_fraction", "above_hundredth", "mean_z")


def parser() -> argparse.ArgumentParser:
    """Makes the parser; an option that is not given leaves no trace."""
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
    """Trains; returns the exit status, that of Ctrl-C also where results were kept."""
    options = vars(parser().parse_args(arguments))
    train = sweep if options.pop("sparsity_sweep", False) else run
    reasons = []

    def program() -> None:
        reasons.append(train(Settings(**options))["stop_reason"])

    status = exit_status(program, "Stopped at once, without results.")
    return STOPPED if reasons and reasons[0].startswith(CTRL_C) else status


def run(settings: Settings) -> dict[str, Any]:
    """Trains, scores and draws one autoencoder; returns the content of results.json.

    Raises:
      UsageError: settings or data that do not fit, before any folder is made.
      RunFailed: the loss is no longer finite.
    """
    task = prepared(settings)
    folder = new_folder(task)
    with stoppable() as stop:
        results = trained(task, folder, stop)
    print(report(results))
    return results


def sweep(settings: Settings) -> dict[str, Any]:
    """Runs with each weight of `SWEEP`; returns the content of sweep.json."""
    if settings.kind != "sparse" or settings.sparsity is not None:
        raise UsageError("--sparsity-sweep is for --kind sparse without --sparsity.")
    task = prepared(settings)
    folder = new_folder(task, "-sweep")
    rows: list[dict[str, Any]] = []
    with stoppable() as stop:
        for weight in SWEEP:
            print(f"\nsparsity {weight:g}")
            objective = Reconstruction(sparsity=weight)
            one = task._replace(
                settings=dataclasses.replace(settings, sparsity=weight),
                config=dataclasses.replace(task.config, objective=objective),
            )
            out = f"{folder}/sparsity-{weight:.0e}"
            inner = open_folder(out, out, configuration(one))
            results = trained(one, inner, stop)
            print(report(results))
            names = ("sparsity", "validation_mse", *ACTIVITY, "best_epoch")
            rows.append({name: results[name] for name in names})
            if stop.asked:
                break
    found = {
        "rows": rows,
        "sparsest": sparsest(rows)["sparsity"],
        "stop_reason": results["stop_reason"],
    }
    write_json(folder / "sweep.json", found)
    print(f"\n{sweep_table(rows)}\nsweep: {folder / 'sweep.json'}")
    return found


def report(results: dict[str, Any]) -> str:
    """Makes the lines that a run ends with."""
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
    """Finds the run with the fewest active values, of those with little more error."""
    most = ERROR_FOR_SPARSITY * min(row["validation_mse"] for row in rows)
    good = [row for row in rows if row["validation_mse"] <= most]
    return min(good, key=lambda row: row["active_fraction"])


def sweep_table(rows: list[dict[str, Any]]) -> str:
    """Tables weight, error and activity of each run, and the run to choose."""
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
    sys.exit(main(sys.argv[1:]))
