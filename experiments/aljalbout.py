"""The stages of Aljalbout et al. (2018): pretrain, cluster, metrics, visualize.

    python -m experiments.aljalbout -d MNIST -a 1 --pretrain 15
    python -m experiments.aljalbout -d MNIST -a 1 --cluster 20
    python -m experiments.aljalbout -d MNIST -a 1 --cluster 20 --loss kmeans
    python -m experiments.aljalbout -d MNIST -a 1 --metrics --visualize

The options are the published ones, and --loss; optimizers and weights are those of the
recipes kld-conv and kmeans-conv. All stages keep their files in one folder, and each
works on those that the stages before it left there.

Aljalbout, Golkov, Siddiqui and Cremers, `Clustering with Deep Learning: Taxonomy and
New Methods <https://arxiv.org/abs/1801.07648>`_, 2018.
"""

import argparse
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dec_jax.data.load import load_dataset
from dec_jax.networks.architecture_json import NamedArchitecture, named_architectures
from dec_jax.runs.errors import (
    UsageError,
    check_least,
    exit_status,
    flag,
    mistakes_of_use,
)
from dec_jax.runs.experiment import print_head, stoppable
from dec_jax.runs.signals import Stop
from experiments import aljalbout_stages as stages
from experiments.aljalbout_stages import LOSSES, PROGRAM, Run

# The meaning of an index, as published.
NETWORKS = {"mnist": ("mnist-conv-dense", "mnist-conv"), "coil20": ("coil20-conv",)}
BATCH_SIZE = 128  # where neither the command nor the network's file has one


def parser() -> argparse.ArgumentParser:
    """Makes the parser of the options."""
    out = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Deep clustering in the published stages: --pretrain, --cluster, "
        "--metrics, --visualize. Each can be run alone; several run in this order.",
        epilog="Ctrl-C ends a training after its epoch.",
    )
    add = out.add_argument
    number: Any = {"metavar": "N", "type": int}
    what = "MNIST, COIL20, another data set of dec_jax, or the path of one"
    add("-d", "--dataset", required=True, metavar="NAME", help=what)
    what = "0 or 1 (MNIST), 0 (COIL20), the name of a shipped network, or a JSON file; "
    what += "FILE.json:2 is the third of a list"
    add("-a", "--architecture", required=True, metavar="ARCH", help=what)
    add("--pretrain", **number, help="train an autoencoder for N epochs")
    add("--cluster", **number, help="train it on with a clustering loss for N epochs")
    add("--loss", choices=LOSSES, default="kld", help="of --cluster (default kld)")
    add("--metrics", action="store_true", help="score the clusters")
    add("--visualize", action="store_true", help="draw pixels and embeddings")
    add("--tsne", action="store_true", help="draw by t-SNE, not by PCA")
    add("--batch-size", **number, help=f"default: the network's, else {BATCH_SIZE}")
    add("--learning-rate", metavar="R", type=float, help="default: the recipe's")
    add("--seed", metavar="S", type=int, help="of all random numbers (default 0)")
    add("--out", metavar="DIR", help="default: runs/aljalbout-<data>-<network>")
    add("--data-dir", metavar="DIR", help="data sets (default $DEC_JAX_DATA)")
    return out


def main(arguments: list[str]) -> int:
    """Runs the stages that were asked for; returns the exit status."""
    options = parser().parse_args(arguments)
    stopped = "Stopped; each file is of its last epoch."
    return exit_status(lambda: run_stages(options), stopped)


def run_stages(options: argparse.Namespace) -> None:
    """Runs the stages that were asked for."""
    with mistakes_of_use("learning_rate", "data_dir"), stoppable() as stop:
        run = open_run(options, stop)
        task = f"{run.n_clusters} classes; network {run.network}"
        print_head(run.dataset, f"{task}, batches of {run.batch_size}")
        if options.pretrain:
            stages.pretrain(run, options.pretrain)
        if options.cluster:
            stages.cluster(run, options.cluster, options.loss)
        if options.metrics:
            stages.metrics(run)
        if options.visualize:
            stages.visualize(run, tsne=options.tsne)


def open_run(options: argparse.Namespace, stop: Stop) -> Run:
    """Loads data and network, and checks the options against them."""
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
        # The scale in a file of a network is that of bytes.
        architecture = replace(architecture, input_scale=dataset.input_scale)
    command = [*PROGRAM.split(), "-d", name, "-a", options.architecture]
    for option in ("data_dir", "out", "seed"):
        if getattr(options, option) is not None:
            command += [flag(option), str(getattr(options, option))]
    safe_name = re.sub(r"[^\w.+-]+", "-", network.name)
    return Run(
        dataset,
        architecture,
        network.name,
        batch_size=options.batch_size or network.batch_size or BATCH_SIZE,
        folder=Path(options.out or f"runs/aljalbout-{dataset.name}-{safe_name}"),
        stop=stop,
        seed=options.seed or 0,
        learning_rate=options.learning_rate,
        command=tuple(command),
    )


def find_network(data: str, wanted: str) -> NamedArchitecture:
    """Finds the network of -a: a published index, a shipped name, or FILE.json[:INDEX]."""
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
    found = named_architectures(name)
    if index >= len(found):
        raise UsageError(f"-a {wanted}: {name} ends with {name}:{len(found) - 1}.")
    return replace(found[index], name=found[index].name or Path(name).stem)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
