"""Greedy layer-wise pretraining: each layer a denoising autoencoder, then all together.

Section 3.2 of Xie, Girshick and Farhadi (2016), after Vincent et al., `Stacked
Denoising Autoencoders <https://jmlr.org/papers/v11/vincent10a.html>`_, JMLR 2010.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Num

from dec_jax.networks.architecture import Architecture, Dense
from dec_jax.networks.autoencoder import Params, embed, init_params
from dec_jax.objectives.reconstruction import Reconstruction
from dec_jax.parallel.sharding import mesh_of
from dec_jax.training.pretrain import (
    PretrainConfig,
    PretrainHistory,
    PretrainState,
    init_pretraining,
    pretrain_end_to_end,
)
from dec_jax.validation import check_samples


@dataclass(frozen=True)
class LayerwiseConfig:
    """How each layer is trained on its own, and then all of them.

    A layer sees what the layers before it make of the clean samples, with a part of it
    dropped (for all but the first layer), and gives it back through its own mirror,
    which is linear for the first layer and has the activation of its input for the
    others. What the layer itself puts out is dropped in part as well, except for the
    embedding.

    Attributes:
      layer: the settings of each layer; its objective's dropout is set from
        `corruption`.
      finetune: the settings of training all layers end to end, without corruption.
      corruption: probability with which a value is dropped, in [0, 1); those kept are
        scaled up to make up for it.
    """

    layer: PretrainConfig
    finetune: PretrainConfig
    corruption: float = 0.2

    def __post_init__(self) -> None:
        if not 0 <= self.corruption < 1:
            raise ValueError(f"corruption must be in [0, 1), got {self.corruption}.")


class Stage(NamedTuple):
    """One network to be trained: a layer with its mirror, or all of them."""

    title: str
    architecture: Architecture
    config: PretrainConfig


class StageState(NamedTuple):
    """All that changes during pretraining in stages; a pytree of arrays."""

    params: Params  # of the whole network, as the stages before this one left them
    state: PretrainState  # of the stage's own network


def pretraining_stages(
    architecture: Architecture, config: LayerwiseConfig | PretrainConfig
) -> tuple[Stage, ...]:
    """What is trained one after the other: one stage if it is end to end.

    Args:
      architecture: the whole network.
      config: the settings.

    Returns:
      The stages.

    Raises:
      ValueError: layer-wise training of layers that are not `Dense`.
    """
    if isinstance(config, PretrainConfig):
        return (Stage("pretraining", architecture, config),)
    layers = architecture.layers
    stages = []
    for index, layer in enumerate(layers):
        if not isinstance(layer, Dense) or architecture.variational:
            raise ValueError(
                "Layer-wise pretraining needs Dense layers and variational=False, got "
                f"{type(layer).__name__} as layers[{index}] and "
                f"variational={architecture.variational}."
            )
        before = architecture.input_dim
        activation = architecture.output_activation
        if index:
            previous = layers[index - 1]
            assert isinstance(previous, Dense)
            before, activation = previous.features, previous.activation
        is_embedding = index == len(layers) - 1
        objective = Reconstruction(
            input_dropout=config.corruption if index else 0.0,
            hidden_dropout=0.0 if is_embedding else config.corruption,
        )
        own = Architecture(
            (before,),
            (layer,),
            activation,
            architecture.initializer,
            architecture.input_scale,
            normalize=architecture.normalize and index == 0,
        )
        title = f"layer {index + 1} of {len(layers)}"
        stages.append(Stage(title, own, replace(config.layer, objective=objective)))
    return (*stages, Stage("fine-tuning", architecture, config.finetune))


def init_stage(
    key: jax.Array,
    index: int,
    params: Params | None = None,
    *,
    architecture: Architecture,
    config: LayerwiseConfig | PretrainConfig,
    n_samples: int,
) -> StageState:
    """The state before a stage.

    Args:
      key: of all of pretraining, a `jax.random.key`.
      index: of the stage.
      params: what the stages before it left; freshly drawn for the first one.
      architecture: the whole network.
      config: the settings.
      n_samples: samples in all of the data.

    Returns:
      The state.
    """
    stages = pretraining_stages(architecture, config)
    stage = stages[index]
    if len(stages) == 1:
        state = init_pretraining(
            key, architecture=architecture, config=stage.config, n_samples=n_samples
        )
        return StageState({}, state)
    stage_key = jax.random.fold_in(key, index)
    if params is None:
        params = init_params(jax.random.fold_in(key, len(stages)), architecture)
    state = init_pretraining(
        stage_key,
        architecture=stage.architecture,
        config=stage.config,
        n_samples=n_samples,
        params=params if index == len(stages) - 1 else None,
    )
    return StageState(params, state)


def pretrain_layerwise(
    key: jax.Array,
    x: Num[Array, "n d"] | np.ndarray,
    *,
    architecture: Architecture,
    config: LayerwiseConfig | PretrainConfig,
    start: tuple[int, StageState] | None = None,
    on_epoch: Callable[[int, StageState, PretrainHistory], bool | None] | None = None,
) -> tuple[Params, tuple[PretrainHistory, ...]]:
    """Trains layer after layer, then the whole network; or only that.

    The samples as the layers before see them are kept on the device for the length of
    a stage: n times the widest layer in float32.

    Args:
      key: a `jax.random.key`.
      x: samples, in their own type.
      architecture: the network, of `Dense` layers; of any layers for a `PretrainConfig`.
      config: the settings; a `PretrainConfig` is one stage, `pretrain_end_to_end`.
      start: the stage and the state in it at which an earlier run stopped.
      on_epoch: called after each epoch with the stage's number, the state and the
        epoch's losses; True stops training.

    Returns:
      The parameters, and the losses of each stage run here.

    Raises:
      TypeError, ValueError: `x` or the architecture do not fit.
      FloatingPointError: the loss is no longer finite.
    """
    check_samples(x)
    x = jnp.asarray(x)
    stages = pretraining_stages(architecture, config)
    begin = partial(
        init_stage, key, architecture=architecture, config=config, n_samples=len(x)
    )
    first, current = start or (0, begin(0))
    histories: list[PretrainHistory] = []
    stopped = False
    for index in range(first, len(stages)):
        stage = stages[index]
        if index > first:
            current = begin(index, current.params)
        params = current.params

        def remember(
            state: PretrainState,
            row: PretrainHistory,
            index: int = index,
            params: Params = params,
        ) -> bool:
            nonlocal current, stopped
            current = StageState(params, state)
            stopped = on_epoch is not None and bool(on_epoch(index, current, row))
            return stopped

        trained, history = pretrain_end_to_end(
            key,
            _stage_input(index, params, x, architecture=architecture, stages=stages),
            architecture=stage.architecture,
            config=stage.config,
            state=current.state,
            on_epoch=remember,
        )
        histories.append(history)
        last = index == len(stages) - 1
        merged = trained if last else _absorb(params, trained, index, len(stages) - 1)
        current = current._replace(params=merged)
        if stopped:
            break
    return current.params, tuple(histories)


def _stage_input(
    index: int,
    params: Params,
    x: Num[Array, "n d"],
    *,
    architecture: Architecture,
    stages: tuple[Stage, ...],
) -> Num[Array, "n e"]:
    """The samples as the layers before the stage's layer see them, clean."""
    if index in (0, len(stages) - 1):
        return x
    before = replace(architecture, layers=architecture.layers[:index])
    if mesh_of(x) is None:
        return embed(params, x, architecture=before)
    # Placed as x is.
    compiled = jax.jit(embed, static_argnames="architecture", out_shardings=x.sharding)
    return compiled(params, x, architecture=before)


def _absorb(params: Params, layer: Params, index: int, n_layers: int) -> Params:
    """The network's parameters with those of one trained layer and its mirror."""
    mirror = n_layers - 1 - index
    return {
        "encoder": {**params["encoder"], f"dense_{index}": layer["encoder"]["dense_0"]},
        "decoder": {
            **params["decoder"],
            f"dense_{mirror}": layer["decoder"]["dense_0"],
        },
    }
