"""Search for the number of clusters of a data set: an embedding, and a sweep over it."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from dec_jax.data.dataset import Dataset
from dec_jax.evaluation.n_clusters import Recommendation, recommend, sweep_n_clusters
from dec_jax.model import Model, transform
from dec_jax.runs.fit import choose_recipe
from dec_jax.training.pretrain import PretrainConfig, pretrain_end_to_end

MOST = 20  # the largest number of clusters that is tried, unless another is asked for


def pretraining_of(dataset: Dataset, **changes: Any) -> tuple[Any, PretrainConfig]:
    """Network and settings with which samples are embedded before k is known.

    Args:
      dataset: the samples.
      **changes: "network", "epochs" and "precision", as `choose_recipe` takes them.

    Returns:
      Those of the recipe `dec`.
    """
    recipe = choose_recipe("dec", dataset, dataset.n_classes or 10, **changes)
    assert isinstance(recipe.pretrain, PretrainConfig)
    return recipe.architecture, recipe.pretrain


def pretrained_embedding(
    key: jax.Array,
    dataset: Dataset,
    network: Any,
    config: PretrainConfig,
    on_epoch: Callable[[Any, Any], object] | None = None,
) -> np.ndarray:
    """Embeds all samples by an autoencoder that is pretrained on them.

    Args:
      key: a `jax.random.key`.
      dataset: the samples.
      network: of `pretraining_of`.
      config: of `pretraining_of`.
      on_epoch: called after each epoch, as by `pretrain_end_to_end`.

    Returns:
      z, [n, e].
    """
    options: dict[str, Any] = {} if on_epoch is None else {"on_epoch": on_epoch}
    params, _ = pretrain_end_to_end(
        key, dataset.x, architecture=network, config=config, **options
    )
    return transform(Model(params, network), dataset)


def find_n_clusters(
    dataset: Dataset, *, most: int = MOST, seed: int = 0, **changes: Any
) -> Recommendation:
    """Recommends a number of clusters, as the command `dec-jax choose-k` does.

    Args:
      dataset: the samples, at least 4.
      most: the largest number that is tried; fewer for few samples.
      seed: of the pretraining and of the sweep.
      **changes: "network", "epochs" and "precision" of the pretraining, which images
        have; other data are compared as they are.

    Returns:
      The number, whether the data decide it, and the reasons.

    Raises:
      ValueError: there are fewer than 4 samples.
    """
    n = len(dataset.x)
    if n < 4:
        raise ValueError(
            f"At least 4 samples are needed to look for the number of clusters, got {n}; "
            "give n_clusters."
        )
    z = dataset.x
    if dataset.image_shape is not None:
        key = jax.random.key(seed)
        z = pretrained_embedding(key, dataset, *pretraining_of(dataset, **changes))
    numbers = range(2, min(most, n - 2) + 1)
    by_direction = dataset.by_direction
    return recommend(sweep_n_clusters(z, numbers, seed=seed, by_direction=by_direction))
