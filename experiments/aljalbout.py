"""The command line of Aljalbout et al. (2018), each stage on what the one before saved.

    python -m experiments.aljalbout -d MNIST -a 1 --pretrain 15
    python -m experiments.aljalbout -d MNIST -a 1 --cluster 20
    python -m experiments.aljalbout -d MNIST -a 1 --cluster 20 --loss kmeans
    python -m experiments.aljalbout -d MNIST -a 1 --metrics --visualize

The options are the published ones, and --loss; optimizers and weights are those of the
recipes kld-conv and kmeans-conv. All stages keep their files in one folder.

Aljalbout, Golkov, Siddiqui and Cremers, `Clustering with Deep Learning: Taxonomy and
New Methods <https://arxiv.org/abs/1801.07648>`_, 2018.
"""

import argparse
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dec_jax.runs.compile_cache import keep_programs
from dec_jax.runs.errors import STOPPED, UsageError, check_least, flag

if TYPE_CHECKING:
    from dec_jax.networks.architecture_json import NamedArchitecture
    from experiments.aljalbout_stages import Run

PROGRAM = "python -m experiments.aljalbout"
LOSSES = ("kld", "kmeans")
# What an index means, as published.
NETWORKS = {"mnist": ("mnist-conv-dense", "mnist-conv"), "coil20": ("coil20-conv",)}
BATCH_SIZE = 128  # where neither the command nor the network's file has one


def parser() -> argparse.ArgumentParser:
    """The options."""
    out = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Deep clustering in the published stages: --pretrain, --cluster, "
        "--metrics, --visualize. Each can be run alone; several run in this order.",
        epilog="Ctrl-C ends a training after its epoch.",
    )
    add = out.add_argument
    number: Any = {"metavar": "N", "type": int}
    add(
        *("-d", "--dataset"),
        required=True,
        metavar="NAME",
        help="MNIST, COIL20, another data set of dec_jax, or the path of one",
    )
    add(
        *("-a", "--architecture"),
        required=True,
        metavar="ARCH",
        help="0 or 1 (MNIST), 0 (COIL20), the name of a shipped network, or a JSON file; "
        "FILE.json:2 is the third of a list",
    )
    add("--pretrain", **number, help="train an autoencoder for N epochs")
    add("--cluster", **number, help="train it on with a clustering loss for N epochs")
    add("--loss", choices=LOSSES, default="kld", help="of --cluster (default kld)")
    add("--metrics", action="store_true", help="score the clusters")
    add("--visualize", action="store_true", help="draw pixels and embeddings")
    add("--tsne", action="store_true", help="draw by t-SNE, not by PCA")
    add("--batch-size", **number, help=f"default: the network's, else {BATCH_SIZE}")
    add("--learning-rate", metavar="R", type=float, help="default: the recipe's")
    add("--seed", metavar="S", type=int, help="of all that is random (default 0)")
    add("--out", metavar="DIR", help="default: runs/aljalbout-<data>-<network>")
    add("--data-dir", metavar="DIR", help="data sets (default $DEC_JAX_DATA)")
    return out


def open_run(options: argparse.Namespace) -> "Run":
    """Loads data and network, and holds the options against them."""
    # Here and below only now, because they load jax.
    import numpy as np

    from dec_jax.data.load import load_dataset
    from experiments.aljalbout_stages import Run

    check_least(vars(options), pretrain=1, cluster=1, batch_size=1)
    if not (
        options.pretrain or options.cluster or options.metrics or options.visualize
    ):
        raise UsageError(
            "give at least one of --pretrain N, --cluster N, --metrics and --visualize."
        )
    name = options.dataset
    dataset = load_dataset(
        name.lower() if name.lower() in NETWORKS else name, options.data_dir
    )
    network = find_network(dataset.name, options.architecture)
    architecture, shape = network.architecture, dataset.image_shape
    if len(architecture.input_shape) == 1 or shape is None:
        shape = dataset.x.shape[1:]
    if architecture.input_shape != shape and (architecture.input_dim,) != shape:
        raise UsageError(
            f"-a {options.architecture} takes samples of shape "
            f"{architecture.input_shape}, and those of {dataset.name} have {shape}."
        )
    if dataset.x.dtype != np.uint8:
        # What a file says of scaling, it says of bytes.
        architecture = replace(architecture, input_scale=dataset.input_scale)
    command = [*PROGRAM.split(), "-d", name, "-a", options.architecture]
    for option in ("data_dir", "out", "seed"):
        if getattr(options, option) is not None:
            command += [flag(option), str(getattr(options, option))]
    safe_name = re.sub(r"[^\w.+-]+", "-", network.name)
    run = Run(
        dataset,
        architecture,
        network.name,
        batch_size=options.batch_size or network.batch_size or BATCH_SIZE,
        folder=Path(options.out or f"runs/aljalbout-{dataset.name}-{safe_name}"),
        seed=options.seed or 0,
        learning_rate=options.learning_rate,
        command=tuple(command),
    )
    return run


def find_network(data: str, wanted: str) -> "NamedArchitecture":
    """The network of -a: a published index, a shipped name, or FILE.json[:INDEX]."""
    file = re.fullmatch(r"(.+\.json):(\d+)", wanted, re.IGNORECASE)
    name, index = (file[1], int(file[2])) if file else (wanted, 0)
    if wanted.isdecimal():
        shipped = NETWORKS.get(data, ())
        if int(wanted) >= len(shipped):
            known = ", ".join(f"{i} is {it}" for i, it in enumerate(shipped)) or "none"
            raise UsageError(
                f"-a {wanted} is no shipped network for {data} (known: {known}); give "
                "the name of one, or a JSON file."
            )
        name = shipped[int(wanted)]
    from dec_jax.networks.architecture_json import named_architectures

    found = named_architectures(name)
    if index >= len(found):
        raise UsageError(f"-a {wanted}: {name} ends with {name}:{len(found) - 1}.")
    return replace(found[index], name=found[index].name or Path(name).stem)


def main(arguments: list[str]) -> int:
    """Runs the stages asked for; returns 0, 2 for a mistake, 130 for Ctrl-C."""
    options = parser().parse_args(arguments)
    import jax

    from dec_jax.runs import provenance
    from dec_jax.runs.progress import Stop, Stopped
    from experiments import aljalbout_stages as stages

    try:
        run = open_run(options)
        print(
            f"dec_jax on {provenance.device()}, jax {jax.__version__}\n"
            f"{run.dataset.name}: {len(run.dataset.x):,} samples of "
            f"{run.dataset.x.shape[1]} values ({run.dataset.source}), {run.n_clusters} "
            f"classes; network {run.network}, batches of {run.batch_size}"
        )
        with Stop() as stop:
            if options.pretrain:
                stages.pretrain(run, options.pretrain, stop)
            if options.cluster:
                stages.cluster(run, options.cluster, options.loss, stop)
            if options.metrics:
                stages.metrics(run, stop)
        if options.visualize:
            stages.visualize(run, tsne=options.tsne)
    except (
        UsageError,
        ArithmeticError,
        ValueError,
        TypeError,
        OSError,
        ImportError,
    ) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except Stopped as stopped:
        why = str(stopped) or "Stopped during k-means, which changed no file."
        print(f"\n{why}", file=sys.stderr)
        return STOPPED
    except KeyboardInterrupt:
        print("\nStopped at once; each file is of its last epoch.", file=sys.stderr)
        return STOPPED
    return 0


if __name__ == "__main__":
    keep_programs()
    sys.exit(main(sys.argv[1:]))
