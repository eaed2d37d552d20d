"""Labels in bfloat16 beside those in float32: `python -m benchmarks.precision`.

MNIST by the recipe `dec`, or what `--dataset` names. One autoencoder is pretrained in
float32 and clustered from the same start in both precisions: the labels of the two must
agree on 99 % of the samples. Then all of it in bfloat16, pretraining included, whose ACC is to
differ by no more than seeds do. "Peer" is float32; labels of the classes only score.
"""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.rows import arguments, save
from dec_jax.clustering.kmeans import k_means
from dec_jax.data.dataset import Dataset
from dec_jax.data.load import load_dataset
from dec_jax.evaluation.metrics import clustering_accuracy
from dec_jax.networks.autoencoder import Params, embed
from dec_jax.recipes.dense import DataShape, Recipe, make_recipe
from dec_jax.runs import provenance
from dec_jax.training.cluster import assign, train
from dec_jax.training.pretrain import PretrainConfig, pretrain_end_to_end
from dec_jax.training.state import TrainResult, init_state

PRECISIONS = ("float32", "bfloat16")


def recipe_of(data: Dataset, epochs: int | None, intervals: int | None) -> Recipe:
    """`dec` for these data, shortened where that is asked for."""
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


def pretrained(x: jax.Array, recipe: Recipe, precision: str, seed: int) -> Params:
    """The autoencoder."""
    assert isinstance(recipe.pretrain, PretrainConfig)
    return pretrain_end_to_end(
        jax.random.key(seed),
        x,
        architecture=replace(recipe.architecture, precision=precision),
        config=recipe.pretrain,
    )[0]


def clustered(
    params: Params, x: jax.Array, recipe: Recipe, precision: str, k: int, seed: int
) -> TrainResult:
    """Clusters from k-means on z, which is always embedded in float32."""
    keys = jax.random.split(jax.random.key(seed + 1), 2)
    z = jax.jit(embed, static_argnames="architecture")(
        params, x, architecture=recipe.architecture
    )
    start = k_means(keys[0], z, k, n_init=recipe.n_init)
    state = init_state(
        keys[1],
        params,
        start.centroids,
        start.labels,
        objective=recipe.objective,
        config=recipe.train,
    )
    return train(
        state,
        x,
        architecture=replace(recipe.architecture, precision=precision),
        objective=recipe.objective,
        config=recipe.train,
    )


def measure(data: Dataset, recipe: Recipe, seed: int) -> list[dict[str, Any]]:
    """The rows of one seed."""
    assert data.labels is not None and data.n_classes is not None
    x, k = jnp.asarray(data.x), data.n_classes
    params = {one: pretrained(x, recipe, one, seed) for one in PRECISIONS}
    full = clustered(params["float32"], x, recipe, "float32", k, seed)
    low = clustered(params["float32"], x, recipe, "bfloat16", k, seed)
    whole = clustered(params["bfloat16"], x, recipe, "bfloat16", k, seed)
    # The same parameters, read in the other precision.
    architecture = replace(recipe.architecture, precision="bfloat16")
    _, read = jax.jit(assign, static_argnames="architecture")(
        full.state.params, x, architecture=architecture
    )
    accuracy = {
        name: clustering_accuracy(data.labels, result.labels)
        for name, result in {"full": full, "low": low, "whole": whole}.items()
    }
    agree = {
        "one model, read in both": np.mean(np.asarray(read) == full.labels),
        "clustered from one start in both": np.mean(low.labels == full.labels),
    }
    rows = [
        _row(f"labels that agree, {name}, {data.name}, seed {seed}", 100 * share)
        for name, share in agree.items()
    ]
    names = {"low": "clustering in bfloat16", "whole": "all of it in bfloat16"}
    for name, words in names.items():
        case = f"ACC, {words}, {data.name}, seed {seed}"
        rows.append(_row(case, 100 * accuracy[name], 100 * accuracy["full"]))
    return rows


def _row(case: str, ours: float, peer: float | None = None) -> dict[str, Any]:
    return {
        "case": case,
        "ours": float(ours),
        "peer": peer,
        "ratio": None if peer is None else float(ours) / peer,
        "limit_fraction": None,
        "unit": "%",
    }


def main() -> None:
    """Measures and prints a table."""
    parser = arguments(__doc__, rounds=1)
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--epochs", type=int, help="of pretraining")
    parser.add_argument("--max-intervals", type=int, help="of clustering")
    options = parser.parse_args()
    data = load_dataset(options.dataset)
    recipe = recipe_of(data, options.epochs, options.max_intervals)
    print(f"on {provenance.device()}, jax {jax.__version__}")
    print(f"{'case':<66}{'bfloat16':>10}{'float32':>9}")
    rows = []
    for seed in range(options.rounds):
        for row in measure(data, recipe, seed):
            rows.append(row)
            peer = "" if row["peer"] is None else f"{row['peer']:.2f}"
            print(f"{row['case']:<66}{row['ours']:>10.2f}{peer:>9}", flush=True)
    if options.save:
        save("precision", rows, vars(options))


if __name__ == "__main__":
    main()
