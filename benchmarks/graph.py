"""Does the graph of a sample give the labels of that of all? `python -m benchmarks.graph`.

z of a pretrained autoencoder is labeled by `spectral_clustering` of all rows, and by
`spectral_labels` of a number of nodes. "ours" is the share of labels that agree, under the
best matching of clusters; a row of its own has the nodes without the averaging of the rows
near them. Accuracies and seconds are rows of their own, in which the peer is the exact graph.
"""

from argparse import Namespace
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import jax
import numpy as np

from benchmarks.common import Benchmark, new_row, timed
from benchmarks.tables import Row
from dec_jax import model
from dec_jax.clustering.graph_sample import (
    sample_rows,
    spectral_labels,
    spread_labels,
)
from dec_jax.clustering.spectral import spectral_clustering
from dec_jax.data.load import load_dataset
from dec_jax.evaluation.metrics import clustering_accuracy
from dec_jax.runs.errors import UsageError
from dec_jax.runs.experiment import take_first
from dec_jax.runs.folder import file_of_run
from dec_jax.runs.run import AUTOENCODER


def embedded(data: str, folder: Path, limit: int | None) -> tuple:
    """Returns z of the first samples of a data set, and their classes."""
    dataset = take_first(load_dataset(data), limit)
    found = model.load(file_of_run(folder, AUTOENCODER))
    if dataset.labels is None:
        raise UsageError(f"--data must have classes, got {data} without any.")
    return model.transform(found, dataset), dataset.labels


def compare(
    z: np.ndarray, classes: np.ndarray, nodes: int, *, seeds: int, name: str
) -> Iterator[Row]:
    """Rows of one number of nodes: agreement, accuracies and seconds, means over seeds."""
    n, k = len(z), len(np.unique(classes))
    key = jax.random.key(0)
    exact_seconds, exact = timed(lambda: spectral_clustering(key, z, k).labels)
    labels, bare, took = [], [], []
    for seed in range(1, seeds + 1):
        key = jax.random.key(seed)
        labeled = partial(spectral_labels, key, z.__getitem__, n, k, graph_rows=nodes)
        seconds, found = timed(labeled)
        labels.append(found)
        took.append(seconds)
        rows = sample_rows(jax.random.fold_in(key, 2), z.__getitem__, n, nodes)
        own = spectral_clustering(key, z[rows], k).labels
        bare.append(spread_labels(z.__getitem__, n, z[rows], own, k))
    agree, agree_bare = (
        100 * np.mean([clustering_accuracy(exact, one) for one in several])
        for several in (labels, bare)
    )
    accuracy = float(np.mean([clustering_accuracy(classes, one) for one in labels]))
    name = f"{name}, {nodes:,} nodes of {n:,}"
    yield new_row(f"labels that agree, {name}", "%", float(agree))
    yield new_row(f"labels that agree, {name}, no averaging", "%", float(agree_bare))
    yield new_row(
        f"accuracy, {name}", "ACC", accuracy, clustering_accuracy(classes, exact)
    )
    yield new_row(f"labels, {name}", "s", float(np.mean(took)), exact_seconds)


def prepare(options: Namespace) -> None:
    """Checks that there is an autoencoder."""
    if options.folder is None:
        raise UsageError(
            f"--folder must be given: that of a run with an {AUTOENCODER}."
        )


def rows(options: Namespace) -> Iterator[Row]:
    """All numbers of nodes."""
    z, classes = embedded(options.data, options.folder, options.limit)
    for nodes in options.nodes:
        yield from compare(z, classes, nodes, seeds=options.seeds, name=options.data)


BENCHMARK = Benchmark(
    "graph",
    __doc__,
    rows,
    rounds=1,
    options={
        "--data": {"default": "mnist", "help": "data set with classes"},
        "--folder": {"type": Path, "metavar": "DIR", "help": "of a run"},
        "--limit": {"type": int, "help": "take the first N samples (default: all)"},
        "--nodes": {"nargs": "+", "default": [20_000], "help": "nodes of the graph"},
        "--seeds": {"default": 1, "help": "draws of the sample"},
    },
    prepare=prepare,
)

if __name__ == "__main__":
    BENCHMARK.main()
