"""Chooses the settings of a run: its recipe by the data, and k by the classes."""

from typing import Any

import numpy as np

from dec_jax.data.dataset import Dataset
from dec_jax.networks.own import Network
from dec_jax.parallel.hardware import faster_precision
from dec_jax.recipes.adjust import adjust_recipe
from dec_jax.recipes.dense import make_recipe
from dec_jax.recipes.recipe import DataShape, Recipe, default_recipe
from dec_jax.validation import check_n_clusters


def number_of_clusters(wanted: int | None, dataset: Dataset) -> int:
    """Counts the classes where no number of clusters is given.

    Raises:
      ValueError: there are no classes, or more clusters than samples.
    """
    found = dataset.n_classes if wanted is None else wanted
    if found is None:
        raise ValueError(
            f"n_clusters must be given for {dataset.name}, which has no labels to count "
            "classes by: a number, or auto, which looks for one."
        )
    if isinstance(found, int | np.integer) and found > len(dataset.x):
        raise ValueError(
            f"n_clusters must be at most {len(dataset.x)}, the number of samples, got {found}."
        )
    check_n_clusters(found, len(dataset.x))
    return found


def choose_recipe(
    recipe: str | Recipe | None,
    dataset: Dataset,
    n_clusters: int,
    *,
    network: Network | None = None,
    n_samples: int | None = None,
    precision: str | None = None,
    **changes: Any,
) -> Recipe:
    """Makes the settings of a run from a recipe's name and the data.

    Args:
      recipe: a name, settings, or None for the default of such data.
      dataset: the samples.
      n_clusters: k.
      network: takes the place of the recipe's own.
      n_samples: of training, if not all of the data set's.
      precision: None takes the one that these devices are faster in.
      **changes: as `adjust_recipe` takes them.
    """
    if not isinstance(recipe, Recipe):
        shape = data_shape(dataset, n_clusters, n_samples)
        recipe = make_recipe(recipe or default_recipe(shape), shape, network)
        precision = precision or faster_precision()
    elif network is not None:
        raise ValueError(
            "network cannot be given together with a recipe's settings; put it into "
            "their `architecture`."
        )
    return adjust_recipe(recipe, precision=precision, **changes)


def data_shape(
    dataset: Dataset, n_clusters: int, n_samples: int | None = None
) -> DataShape:
    """Describes the data to a recipe."""
    return DataShape(
        n_samples=n_samples or len(dataset.x),
        input_dim=dataset.x.shape[1],
        image_shape=dataset.image_shape,
        input_scale=dataset.input_scale,
        n_clusters=n_clusters,
        name=dataset.name,
    )
