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
from dec_jax.clustering.kmeans import k_means
from dec_jax.data.dataset import Dataset
from dec_jax.data.load import load_dataset
from dec_jax.evaluation.metrics import clustering_accuracy
from dec_jax.networks.autoencoder import Params, embed
from dec_jax.networks.own import change_network
from dec_jax.recipes.dense import DataShape, Recipe, make_recipe
from dec_jax.training.cluster import assign, train
from dec_jax.training.pretrain import PretrainConfig, pretrain_end_to_end
from dec_jax.training.state import TrainResult, init_state


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


def run_stages(
    x: jax.Array,
    n_clusters: int,
    recipe: Recipe,
    precision: str,
    seed: int,
    params: Params | None = None,
) -> tuple[Params, TrainResult]:
    """Pretrains unless given parameters, runs k-means on z, and trains.

    Returns:
      The pretrained parameters, and the result of the clustering.
    """
    network = change_network(recipe.architecture, precision=precision)
    if params is None:
        assert isinstance(recipe.pretrain, PretrainConfig)
        params, _ = pretrain_end_to_end(
            jax.random.key(seed), x, architecture=network, config=recipe.pretrain
        )
    kmeans_key, train_key = jax.random.split(jax.random.key(seed + 1), 2)
    # In float32 for both precisions, so that they start from the same labels.
    z = jax.jit(embed, static_argnames="architecture")(
        params, x, architecture=recipe.architecture
    )
    start = k_means(kmeans_key, z, n_clusters, n_init=recipe.n_init)
    state = init_state(
        *(train_key, params, start.centroids, start.labels),
        objective=recipe.objective,
        config=recipe.train,
    )
    result = train(
        state,
        x,
        architecture=network,
        objective=recipe.objective,
        config=recipe.train,
    )
    return params, result


def measure(data: Dataset, recipe: Recipe, seed: int) -> list[Row]:
    """The rows of one seed."""
    assert data.labels is not None and data.n_classes is not None
    x, k = jnp.asarray(data.x), data.n_classes
    params, full = run_stages(x, k, recipe, "float32", seed)
    _, low = run_stages(x, k, recipe, "bfloat16", seed, params)
    _, whole = run_stages(x, k, recipe, "bfloat16", seed)
    # The labels of the same parameters in the other precision.
    architecture = change_network(recipe.architecture, precision="bfloat16")
    _, read = jax.jit(assign, static_argnames="architecture")(
        full.state.params, x, architecture=architecture
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
