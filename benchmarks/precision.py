"""Does bfloat16 find the labels of float32? `python -m benchmarks.precision`.

MNIST by the recipe `dec`, or the data set that `--dataset` names. One autoencoder is
pretrained in float32 and clustered from the same start in both precisions: the goal is that
99 % of the labels agree. Then everything, pretraining included, runs in bfloat16; its ACC may
differ from that of float32 ("peer") as much as one seed's differs from another's. The classes
are used for scores only.
"""

from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.common import Benchmark, new_row
from benchmarks.tables import Row
from dec_jax.data.dataset import Dataset
from dec_jax.data.load import load_dataset
from dec_jax.evaluation.metrics import clustering_accuracy
from dec_jax.networks.own import change_network
from dec_jax.recipes.dense import DataShape, Recipe, make_recipe
from dec_jax.runs.phases import Phases
from dec_jax.training.cluster import assign
from dec_jax.training.pretrain import PretrainConfig


def recipe_of(data: Dataset, epochs: int | None, intervals: int | None) -> Recipe:
    """The recipe `dec` for these data, with fewer epochs and intervals if given."""
    shape = DataShape(
        len(data.x), data.x.shape[1], data.image_shape, data.input_scale, data.name
    )
    recipe = make_recipe("dec", shape)
    assert isinstance(recipe.pretrain, PretrainConfig)
    pretrain, clustering = recipe.pretrain, recipe.train
    if epochs is not None:
        pretrain = replace(pretrain, epochs=epochs)
    if intervals is not None:
        clustering = replace(clustering, max_intervals=intervals)
    return replace(recipe, pretrain=pretrain, train=clustering)


def measure(data: Dataset, recipe: Recipe, seed: int) -> list[Row]:
    """The rows of one seed."""
    assert data.labels is not None and data.n_classes is not None
    x, k = jnp.asarray(data.x), data.n_classes
    low_network = change_network(recipe.architecture, precision="bfloat16")
    in_full, in_low = (
        Phases(data, x, replace(recipe, architecture=network), k, seed)
        for network in (recipe.architecture, low_network)
    )
    start = in_full.start(in_full.pretrain())
    full, low = in_full.cluster(start), in_low.cluster(start)
    whole = in_low.cluster(in_low.start(in_low.pretrain()))
    # The labels of the same parameters in the other precision.
    _, read = jax.jit(assign, static_argnames="architecture")(
        full.state.params, x, architecture=low_network
    )
    agree = {
        "one model, read in both": np.mean(np.asarray(read) == full.labels),
        "clustered from one start in both": np.mean(low.labels == full.labels),
    }
    rows = [
        new_row(
            f"labels that agree, {name}, {data.name}, seed {seed}",
            "%",
            100 * float(share),
        )
        for name, share in agree.items()
    ]
    results = {"clustering in bfloat16": low, "all of it in bfloat16": whole}
    peer = 100 * clustering_accuracy(data.labels, full.labels)
    for name, result in results.items():
        ours = 100 * clustering_accuracy(data.labels, result.labels)
        case = f"ACC, {name}, {data.name}, seed {seed}"
        rows.append(new_row(case, "%", ours, peer, ratio=ours / peer))
    return rows


def rows(options: Namespace) -> Iterator[Row]:
    """The rows of each seed."""
    data = load_dataset(options.dataset)
    recipe = recipe_of(data, options.epochs, options.max_intervals)
    for seed in range(options.rounds):
        yield from measure(data, recipe, seed)


BENCHMARK = Benchmark(
    "precision",
    __doc__,
    rows,
    rounds=1,
    options={
        "--dataset": {"default": "mnist", "help": "name or file of a data set"},
        "--epochs": {
            "type": int,
            "help": "epochs of pretraining (default: the recipe's)",
        },
        "--max-intervals": {
            "type": int,
            "help": "intervals of clustering (default: the recipe's)",
        },
    },
)

if __name__ == "__main__":
    BENCHMARK.main()
