"""Search for the number of clusters of a data set: an embedding, and a sweep over it."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from dec_jax.clustering.density_peaks import density_clusters
from dec_jax.data.dataset import Dataset
from dec_jax.evaluation.judge import method_space
from dec_jax.evaluation.n_clusters import Recommendation, recommend, sweep_n_clusters
from dec_jax.model import Model, transform
from dec_jax.recipes.names import K_SEARCHES
from dec_jax.runs.fit import choose_recipe
from dec_jax.training.dipdeck import DipDECKConfig, dipdeck
from dec_jax.training.pretrain import PretrainConfig, pretrain_end_to_end
from dec_jax.validation import check_choice

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
    dataset: Dataset,
    *,
    method: str = "auto",
    most: int = MOST,
    seed: int = 0,
    **changes: Any,
) -> Recommendation:
    """Recommends a number of clusters.

    Args:
      dataset: the samples, at least 4.
      method: "auto", as the command `dec-jax choose-k` does; "density", by
        `density_clusters` (DDC); or "dip", by `dipdeck`, which pretrains a network on any
        data.
      most: the largest number that is tried; fewer for few samples.
      seed: of the pretraining and of the sweep.
      **changes: "network", "epochs" and "precision" of the pretraining, which images
        have; other data are compared as they are.

    Returns:
      The number, whether the data decide it, and the reasons.

    Raises:
      ValueError: there are fewer than 4 samples, an unknown method, or one that finds a
        single cluster.
    """
    check_choice("method", method, K_SEARCHES)
    n = len(dataset.x)
    if n < 4:
        raise ValueError(
            f"At least 4 samples are needed to look for the number of clusters, got {n}; "
            "give n_clusters."
        )
    if method == "dip":
        return _found("dip tests (DipDECK)", _by_dips(dataset, seed, **changes))
    z = dataset.x
    if dataset.image_shape is not None:
        key = jax.random.key(seed)
        z = pretrained_embedding(key, dataset, *pretraining_of(dataset, **changes))
    if method == "density":
        space = method_space(z, by_direction=dataset.by_direction)
        k = int(density_clusters(space, seed=seed).max()) + 1
        return _found("peaks of the density on a map by t-SNE (DDC)", k)
    numbers = range(2, min(most, n - 2) + 1)
    by_direction = dataset.by_direction
    return recommend(sweep_n_clusters(z, numbers, seed=seed, by_direction=by_direction))


def _by_dips(dataset: Dataset, seed: int, **changes: Any) -> int:
    """Pretrains an autoencoder as `dec` does, and counts the clusters of DipDECK."""
    pretrain_key, train_key = jax.random.split(jax.random.key(seed))
    network, config = pretraining_of(dataset, **changes)
    params, _ = pretrain_end_to_end(
        pretrain_key, dataset.x, architecture=network, config=config
    )
    start = min(DipDECKConfig.n_clusters, len(dataset.x) // 4)
    settings = DipDECKConfig(n_clusters=max(2, start), augmentation=config.augmentation)
    found = dipdeck(train_key, params, dataset.x, architecture=network, config=settings)
    return found.n_clusters


def _found(method: str, n_clusters: int) -> Recommendation:
    """Makes a recommendation of a method that gives one number and no second opinion."""
    if n_clusters < 2:
        raise ValueError(
            f"{method} find a single cluster; give n_clusters, or look for it by auto."
        )
    return Recommendation(n_clusters, False, (f"{method}: {n_clusters} clusters",))
