"""Search for the number of clusters of a data set: an embedding, and a sweep over it."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from dec_jax.clustering.density_peaks import density_clusters
from dec_jax.data.dataset import Dataset
from dec_jax.evaluation.judge import method_space
from dec_jax.evaluation.n_clusters import (
    ABOVE_NOISE,
    STABLE,
    Recommendation,
    Sweep,
    listed_numbers,
    recommend,
    sweep_n_clusters,
)
from dec_jax.model import Model, transform
from dec_jax.recipes.names import K_SEARCHES
from dec_jax.runs.choices import choose_recipe, number_of_clusters
from dec_jax.runs.streamed import is_streamed
from dec_jax.training.dipdeck import DipDECKConfig, dipdeck
from dec_jax.training.pretrain import PretrainConfig, pretrain_end_to_end
from dec_jax.validation import check_choice, did_you_mean

# Share of the largest support from which another number is worth a try.
WORTH = 0.8
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


def resolve_n_clusters(
    wanted: int | str | None, dataset: Dataset, **changes: Any
) -> tuple[int, Recommendation | None]:
    """Takes the number of clusters that is wanted, or looks for it.

    `fit`, the estimator and the command all ask here. The search has its own seed, always
    0, so that the same data have the same number, whatever the seed of the run.

    Args:
      wanted: k, one of `K_SEARCHES`, or None, which counts the classes.
      dataset: the samples.
      **changes: as `find_n_clusters` takes them.

    Returns:
      k, and the recommendation of the search, or None without one.

    Raises:
      ValueError: the number is out of its range, or cannot be looked for.
    """
    if not isinstance(wanted, str):
        return number_of_clusters(wanted, dataset), None
    if wanted not in K_SEARCHES:
        raise ValueError(
            f"n_clusters must be an integer of at least 1 or one of {', '.join(K_SEARCHES)}"
            f", got {wanted!r}{did_you_mean(wanted, K_SEARCHES)}"
        )
    found = find_n_clusters(dataset, method=wanted, **changes)
    return number_of_clusters(found.n_clusters, dataset), found


def numbers_to_try(n_samples: int, most: int | None = None) -> range:
    """The numbers of clusters that a search tries: from 2 to `most`, or to 20 at most.

    Example:
      >>> numbers_to_try(1_000), numbers_to_try(10)
      (range(2, 21), range(2, 9))
    """
    return range(2, (most or min(MOST, n_samples - 2)) + 1)


def find_n_clusters(
    dataset: Dataset,
    *,
    method: str = "auto",
    most: int | None = None,
    seed: int = 0,
    **changes: Any,
) -> Recommendation:
    """Recommends a number of clusters.

    Args:
      dataset: the samples, at least 4.
      method: "auto", as the command `dec-jax choose-k` does; "density", by
        `density_clusters` (DDC); or "dip", by `dipdeck`, which pretrains a network on any
        data.
      most: the largest number that is tried; None tries 20, or fewer for few samples.
      seed: of the pretraining and of the sweep.
      **changes: "network", "epochs" and "precision" of the pretraining, which images
        have; other data are compared as they are.

    Returns:
      The number, whether the data decide it, and the reasons.

    Raises:
      ValueError: there are fewer than 4 samples, an unknown method, or one that finds a
        single cluster.
    """
    check_search(method, dataset)
    n = len(dataset.x)
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
    numbers = numbers_to_try(n, most and min(most, n - 2))
    by_direction = dataset.by_direction
    return recommended(
        sweep_n_clusters(z, numbers, seed=seed, by_direction=by_direction)
    )


def check_search(method: str, dataset: Dataset) -> None:
    """Raises ValueError unless the number of clusters can be looked for in this way."""
    check_choice("method", method, K_SEARCHES)
    if is_streamed(dataset):
        raise ValueError(
            f"n_clusters {method} needs all samples in memory; give a number, or a larger "
            "memory."
        )
    n = len(dataset.x)
    if n < 4:
        raise ValueError(
            f"At least 4 samples are needed to look for the number of clusters, got {n}; "
            "give n_clusters."
        )


def recommended(sweep: Sweep) -> Recommendation:
    """Recommends a number, and names others that are worth a try where none is decided.

    These are the number of the largest eigengap that is above that of noise, first of
    those on whose clusters halves of the data agree, then of all, and the two of most
    support, if that is nearly the largest. Without any, they are the numbers next to the
    one that is recommended.
    """
    found = recommend(sweep)
    if found.decided:
        return found
    k, enough = found.n_clusters, WORTH * sweep.support.max()
    stable = np.where(sweep.stability >= STABLE, sweep.eigengap, 0.0)
    numbers, clear = sweep.n_clusters, ABOVE_NOISE * sweep.noise_gap
    # Small clusters are lost in a half of the data, while the graph has their gap.
    others = [
        int(numbers[gaps.argmax()])
        for gaps in (stable, sweep.eigengap)
        if gaps.max() >= clear
    ]
    others = [it for it in dict.fromkeys(others) if it != k]
    order = np.argsort(-sweep.support, kind="stable")
    agreed = order[sweep.support[order] >= enough]
    others += [int(it) for it in numbers[agreed] if it not in (k, *others)][:2]
    others = others or [near for near in (k - 1, k + 1) if near >= 2]
    line = f"worth a try too: {listed_numbers(others)} clusters"
    return found._replace(reasons=(*found.reasons, line), others=tuple(others))


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
