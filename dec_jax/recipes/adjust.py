"""Changes a few settings of a recipe, as the options of a run do."""

import dataclasses
import math
from typing import Any

from dec_jax.networks.own import change_network
from dec_jax.recipes.recipe import Recipe
from dec_jax.training.layerwise import LayerwiseConfig
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.pretrain import PretrainConfig


def adjust_recipe(
    recipe: Recipe,
    *,
    epochs: int | None = None,
    max_intervals: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    precision: str | None = None,
    start: str | None = None,
    graph_rows: int | None = None,
    normalize: bool = False,
    reseed_below: float | None = None,
) -> Recipe:
    """Replaces settings of a recipe; None keeps the recipe's own.

    Args:
      recipe: from `make_recipe`.
      epochs: of pretraining, of each of its stages.
      max_intervals: the most intervals of clustering.
      batch_size: samples in a step of both phases.
      learning_rate: of clustering; the rates of pretraining change by the same factor.
      precision: "float32" or "bfloat16", of matrix products.
      start: "k-means", "spectral", "umap" or "judge", the labels of z that clustering
        starts from.
      graph_rows: largest number of rows in the graph of the start "spectral".
      normalize: brings each sample to a mean square of 1.
      reseed_below: share of the mean cluster size below which a cluster starts again.

    Returns:
      The recipe with these settings.

    Raises:
      ValueError: a value is out of its range.

    Example:
      >>> from dec_jax.recipes.dense import DataShape, make_recipe
      >>> recipe = make_recipe("dec", DataShape(n_samples=1000, input_dim=20))
      >>> adjust_recipe(recipe, epochs=3).pretrain.epochs
      3
      >>> adjust_recipe(recipe, learning_rate=0.005).train.optimizer.learning_rate
      0.005
    """
    frozen = recipe.train.frozen_target_intervals
    if max_intervals and frozen and frozen == recipe.train.max_intervals - 1:
        # The recipe learns the labels of its start in all intervals but the last.
        frozen = max_intervals - 1
    if max_intervals is not None and 0 < max_intervals <= frozen:
        raise ValueError(
            f"max_intervals must be at least {frozen + 1} here, got {max_intervals}: the "
            f"recipe spends the first {frozen} intervals on the labels that it starts from."
        )
    if epochs is not None and recipe.pretrain is None:
        raise ValueError(
            "epochs must not be given here: the recipe does not pretrain on such data; "
            "max_intervals shortens it."
        )
    network: dict[str, Any] = {} if precision is None else {"precision": precision}
    if normalize:
        network["normalize"] = True
    architecture = change_network(recipe.architecture, **network)
    learner = recipe.learner and change_network(recipe.learner, **network)
    optimizer = recipe.train.optimizer
    factor = _factor(learning_rate, optimizer)
    optimizer = _with_rate(optimizer, factor)
    if learning_rate is not None:
        # Exactly as given, whatever the factor was rounded to.
        optimizer = dataclasses.replace(optimizer, learning_rate=learning_rate)
    pretrain = {"epochs": epochs, "batch_size": batch_size}
    clustering = {
        "max_intervals": max_intervals,
        "frozen_target_intervals": frozen,
        "batch_size": batch_size,
        "reseed_below": reseed_below,
        "optimizer": optimizer,
    }
    return dataclasses.replace(
        recipe,
        architecture=architecture,
        learner=learner,
        pretrain=_pretraining(recipe.pretrain, _given(pretrain), factor),
        train=dataclasses.replace(recipe.train, **_given(clustering)),
        start=start or recipe.start,
        graph_rows=recipe.graph_rows if graph_rows is None else graph_rows,
    )


def slowed(recipe: Recipe, *, pretraining: float = 1, clustering: float = 1) -> Recipe:
    """Multiplies the learning rates of each phase by a factor.

    Example:
      >>> from dec_jax.recipes.dense import DataShape, make_recipe
      >>> recipe = make_recipe("dec", DataShape(n_samples=1000, input_dim=20))
      >>> slowed(recipe, clustering=0.1).train.optimizer.learning_rate
      0.001
    """
    optimizer = _with_rate(recipe.train.optimizer, clustering)
    return dataclasses.replace(
        recipe,
        pretrain=_pretraining(recipe.pretrain, {}, pretraining),
        train=dataclasses.replace(recipe.train, optimizer=optimizer),
    )


def _pretraining(
    config: PretrainConfig | LayerwiseConfig | None,
    changes: dict[str, Any],
    factor: float,
) -> PretrainConfig | LayerwiseConfig | None:
    """Replaces settings; layer-wise pretraining has them in every stage."""
    if config is None:
        return None
    if isinstance(config, PretrainConfig):
        optimizer = _with_rate(config.optimizer, factor)
        return dataclasses.replace(config, **changes, optimizer=optimizer)
    layer, finetune = (
        _pretraining(one, changes, factor) for one in (config.layer, config.finetune)
    )
    assert isinstance(layer, PretrainConfig) and isinstance(finetune, PretrainConfig)
    return dataclasses.replace(config, layer=layer, finetune=finetune)


def _factor(learning_rate: float | None, optimizer: Optimizer) -> float:
    """The factor of all rates that gives clustering this one."""
    if learning_rate is None:
        return 1.0
    if not 0 < learning_rate < math.inf:
        raise ValueError(
            f"learning_rate must be finite and above 0, got {learning_rate}."
        )
    return learning_rate / optimizer.learning_rate


def _with_rate(optimizer: Optimizer, factor: float) -> Optimizer:
    """Multiplies the rates of an optimizer."""
    rates = {
        name: factor * getattr(optimizer, name)
        for name in ("learning_rate", "least_rate")
    }
    return dataclasses.replace(optimizer, **rates)


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}
