"""Greedy layer-wise pretraining: single layers as denoising autoencoders, then all layers.

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
from dec_jax.networks.own import Network
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
    """Settings for training the layers one by one, and then all of them.

    The input of a layer is the output of the layers before it for clean samples. For all
    layers but the first, dropout corrupts this input. The layer and its decoder layer
    reconstruct the clean input. The decoder layer has the activation of the input, which
    is linear for the first layer. Dropout also corrupts the layer's own output, except the
    embedding.

    Attributes:
      layer: settings of each layer; the dropout of its objective is set from
        `corruption`.
      finetune: settings for training all layers end to end, without corruption.
      corruption: probability of dropping a value, in [0, 1); the values that are kept are
        divided by 1 - corruption.

    Example:
      >>> LayerwiseConfig(PretrainConfig(epochs=5), PretrainConfig(epochs=10)).corruption
      0.2
    """

    layer: PretrainConfig
    finetune: PretrainConfig
    corruption: float = 0.2

    def __post_init__(self) -> None:
        if not 0 <= self.corruption < 1:
            raise ValueError(f"corruption must be in [0, 1), got {self.corruption}.")


class Stage(NamedTuple):
    """One network to train: a layer with its decoder layer, or all layers."""

    title: str
    architecture: Network
    config: PretrainConfig


class StageState(NamedTuple):
    """All that changes during pretraining in stages; a pytree of arrays."""

    params: Params  # of the whole network, as the stages before this one left them
    state: PretrainState  # of the stage's own network


def pretraining_stages(
    architecture: Network, config: LayerwiseConfig | PretrainConfig | None
) -> tuple[Stage, ...]:
    """Lists the stages of pretraining, in order.

    Args:
      architecture: the whole network.
      config: the settings; a `PretrainConfig` gives one stage, end to end.

    Returns:
      The stages.

    Raises:
      ValueError: `config` is layer-wise, and the network is variational or has layers that
        are not `Dense`.
    """
    if config is None:
        return ()
    if isinstance(config, PretrainConfig):
        return (Stage("pretraining", architecture, config),)
    if not isinstance(architecture, Architecture):
        raise ValueError(
            "Layer-wise pretraining needs an Architecture of Dense layers, got a "
            f"{type(architecture).__name__}; pretrain end to end."
        )
    layers = architecture.layers
    stages = []
    for index, layer in enumerate(layers):
        if not isinstance(layer, Dense) or architecture.variational:
            raise ValueError(
                "Layer-wise pretraining needs Dense layers and variational=False, got "
                f"{type(layer).__name__} as layers[{index}] and "
                f"variational={architecture.variational}; pretrain end to end."
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
    architecture: Network,
    config: LayerwiseConfig | PretrainConfig | None,
    n_samples: int,
) -> StageState:
    """Builds the state before a stage.

    Args:
      key: a `jax.random.key`, the same for all stages.
      index: number of the stage, from 0.
      params: parameters that the stage before ended with; None draws new ones.
      architecture: the whole network.
      config: the settings.
      n_samples: number of samples of the data.

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
    architecture: Network,
    config: LayerwiseConfig | PretrainConfig | None,
    start: tuple[int, StageState] | None = None,
    on_epoch: Callable[[int, StageState, PretrainHistory], bool | None] | None = None,
) -> tuple[Params, tuple[PretrainHistory, ...]]:
    """Trains layer after layer, then the whole network.

    During a stage, the device holds the input of its layer: n times the width of the layer
    before in float32.

    Args:
      key: a `jax.random.key`.
      x: samples, [n, d] of any numeric dtype.
      architecture: the network. Its layers are `Dense`, unless `config` is a
        `PretrainConfig`.
      config: the settings. A `PretrainConfig` is a single stage, `pretrain_end_to_end`.
      start: the number of the stage in which an earlier run stopped, and its state.
      on_epoch: called after each epoch with the stage's number, the state and the
        epoch's losses. It may save the state but not keep it. Returning True stops
        training.

    Returns:
      The parameters, and the losses of each stage of this call.

    Raises:
      TypeError, ValueError: `x` is not finite numbers of shape [n, d] with the
        architecture's d, or the layers are not `Dense`.
      FloatingPointError: the loss is no longer finite; the learning rate is too large.

    Example:
      >>> from dec_jax import dense_architecture
      >>> net = dense_architecture(4, hidden=(), embedding_dim=2)
      >>> x = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
      >>> each = PretrainConfig(epochs=1, batch_size=10)
      >>> params, histories = pretrain_layerwise(
      ...     jax.random.key(0), x, architecture=net, config=LayerwiseConfig(each, each)
      ... )
      >>> len(histories)
      2
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
    architecture: Network,
    stages: tuple[Stage, ...],
) -> Num[Array, "n e"]:
    """Computes the input of a stage: the output of the layers before, for clean samples."""
    if index in (0, len(stages) - 1):
        return x
    assert isinstance(architecture, Architecture)  # its stages are Dense layers
    before = replace(architecture, layers=architecture.layers[:index])
    if mesh_of(x) is None:
        return embed(params, x, architecture=before)
    # The result is sharded like x.
    compiled = jax.jit(embed, static_argnames="architecture", out_shardings=x.sharding)
    return compiled(params, x, architecture=before)


def _absorb(params: Params, layer: Params, index: int, n_layers: int) -> Params:
    """Puts one trained layer and its decoder layer into the network's parameters."""
    mirror = n_layers - 1 - index
    return {
        "encoder": {**params["encoder"], f"dense_{index}": layer["encoder"]["dense_0"]},
        "decoder": {
            **params["decoder"],
            f"dense_{mirror}": layer["decoder"]["dense_0"],
        },
    }
