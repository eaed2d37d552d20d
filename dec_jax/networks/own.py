"""Networks that users define: Flax modules or pure functions in place of an `Architecture`."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from dec_jax.networks.architecture import Architecture, Shape, check_shape
from dec_jax.parallel.row_blocks import BLOCK_SIZE
from dec_jax.validation import check_positive_int


@dataclass(frozen=True)
class FunctionalNetwork:
    """Pure functions that take the place of an `Architecture`.

    All stages take it as their `architecture`. It is a static argument of compiled
    programs and hashes by its fields. Functions hash by identity: define them once at
    the top level of a module, because a new lambda means a new compilation. `from_flax`
    makes one of Flax modules, which hash by value. Running averages, dropout inside the
    functions, and variational networks are not supported.

    Attributes:
      init: draws the parameters from a `jax.random.key`: a dictionary with an entry
        "encoder" and, if there is a decoder, an entry "decoder". Each is any pytree of
        float32 arrays.
      encode: gives the embedding z, [b, e], from params["encoder"] and samples of shape
        [b, *input_shape] in float32.
      decode: gives the reconstruction, [b, *input_shape] or [b, d], from
        params["decoder"] and z. Without it, the network can be clustered by `DEC`, but
        neither pretrained nor reconstructed.
      input_shape: shape of one sample; samples are handed over flattened or in it.
      input_scale: factor by which integer inputs are multiplied (1/255 brings bytes into
        [0, 1]); floating inputs are taken as they are.
      rows_at_once: number of samples that are embedded at once when all samples are; a
        smaller number needs less memory.

    Raises:
      TypeError, ValueError: a field is out of range or cannot be hashed; `init`,
        `encode` and `decode` do not fit each other.

    Example:
      >>> import jax
      >>> from dec_jax.networks.own import FunctionalNetwork
      >>> def init(key):
      ...     return {"encoder": {"kernel": jax.random.normal(key, (4, 2))}}
      >>> def encode(params, x):
      ...     return x @ params["kernel"]
      >>> FunctionalNetwork(init, encode, input_shape=(4,)).embedding_dim
      2
    """

    init: Callable[[jax.Array], dict[str, Any]]
    encode: Callable[[Any, jax.Array], jax.Array]
    decode: Callable[[Any, jax.Array], jax.Array] | None = None
    _: KW_ONLY
    input_shape: Shape
    input_scale: float = 1 / 255
    rows_at_once: int = BLOCK_SIZE

    # The stages ask an `Architecture` for these too.
    normalize: ClassVar[bool] = False
    variational: ClassVar[bool] = False
    output_activation: ClassVar[str] = "linear"
    precision: ClassVar[str] = "float32"

    @classmethod
    def from_flax(
        cls,
        encoder: nn.Module,
        decoder: nn.Module | None = None,
        *,
        input_shape: Shape,
        input_scale: float = 1 / 255,
        rows_at_once: int = BLOCK_SIZE,
    ) -> "FunctionalNetwork":
        """Makes a network of Flax modules.

        Args:
          encoder: a `flax.linen` module that is called with samples [b, *input_shape]
            alone and returns z, [b, e]. It may have parameters only: no running averages.
          decoder: a module that is called with z alone; None for no decoder.
          input_shape: as in the attributes, and so are the other arguments.
          input_scale: as in the attributes.
          rows_at_once: as in the attributes.

        Returns:
          The network, equal and with the same hash for equal modules. Their settings must be
            hashable: `nn.Sequential` takes a tuple of layers.

        Raises:
          TypeError, ValueError: as in the class; a module is not of `flax.linen`, or has
            variables other than parameters.

        Example:
          >>> import flax.linen as nn
          >>> from dec_jax.networks.own import FunctionalNetwork
          >>> network = FunctionalNetwork.from_flax(
          ...     nn.Sequential((nn.Dense(16), nn.relu, nn.Dense(3))), input_shape=(8,)
          ... )
          >>> network.embedding_dim
          3
        """
        for name, module in {"encoder": encoder, "decoder": decoder}.items():
            if not isinstance(module, nn.Module | None):
                raise TypeError(
                    f"{name} must be a flax.linen module, got {type(module).__name__}; "
                    "functions go to FunctionalNetwork(init, encode, decode, ...)."
                )
        return cls(
            _FlaxInit(encoder, decoder, input_shape),
            _FlaxApply(encoder),
            None if decoder is None else _FlaxApply(decoder),
            input_shape=input_shape,
            input_scale=input_scale,
            rows_at_once=rows_at_once,
        )

    def __post_init__(self) -> None:
        check_shape("input_shape", self.input_shape)
        if not (math.isfinite(self.input_scale) and self.input_scale > 0):
            raise ValueError(f"input_scale must be positive, got {self.input_scale}.")
        check_positive_int("rows_at_once", self.rows_at_once)
        try:
            hash(self)
        except TypeError as error:
            raise TypeError(
                "The fields of a network must be hashable, got "
                f"{type(error).__name__}; use tuples in place of lists in the settings of "
                "its modules, such as nn.Sequential((nn.Dense(16), nn.relu))."
            ) from error
        if self.decode is not None:
            x_hat = jax.eval_shape(self.decode, self._shapes["decoder"], self._z)
            if x_hat.shape not in ((2, *self.input_shape), (2, self.input_dim)):
                raise ValueError(
                    f"decode must return [b, *input_shape] = {(2, *self.input_shape)} "
                    f"for 2 samples, or [b, {self.input_dim}], got shape {x_hat.shape}."
                )
        _ = self._z

    @property
    def input_dim(self) -> int:
        """Number of values in one sample."""
        return math.prod(self.input_shape)

    @property
    def embedding_dim(self) -> int:
        """Width of the embedding z."""
        return self._z.shape[1]

    @cached_property
    def _shapes(self) -> dict[str, Any]:
        """Parameters as shapes without values."""
        params = jax.eval_shape(lambda: self.init(jax.random.key(0)))
        entries = ["encoder"] if self.decode is None else ["encoder", "decoder"]
        if not isinstance(params, dict) or sorted(params) != sorted(entries):
            found = (
                sorted(params) if isinstance(params, dict) else type(params).__name__
            )
            raise ValueError(
                f"init must return a dictionary with the entries {entries}, got {found}."
            )
        return params

    @cached_property
    def _z(self) -> Any:
        """Embeddings of 2 samples as shapes without values."""
        x = jax.ShapeDtypeStruct((2, *self.input_shape), jnp.float32)
        z = jax.eval_shape(self.encode, self._shapes["encoder"], x)
        if len(z.shape) != 2 or z.shape[0] != 2:
            raise ValueError(
                f"encode must return z of shape [b, e], got shape {z.shape} for 2 "
                "samples; flatten each embedding with z.reshape(len(z), -1)."
            )
        return z

    def apply(self, name: str, params: Any, x: jax.Array) -> jax.Array:
        """Runs one of the two functions on flat rows, and gives flat rows.

        Args:
          name: "encoder" or "decoder".
          params: that entry of the parameters.
          x: flattened network input, or z.

        Returns:
          z, or the flattened reconstruction, float32.
        """
        if name == "encoder":
            out = self.encode(params, x.reshape(-1, *self.input_shape))
        else:
            assert self.decode is not None
            out = self.decode(params, x).reshape(-1, self.input_dim)
        return jnp.asarray(out, jnp.float32)


# What every stage takes as its `architecture`.
Network = Architecture | FunctionalNetwork


def change_network(network: Network, **changes: Any) -> Network:
    """Replaces settings of a network; a user's own network keeps those it does not have.

    Args:
      network: any network.
      **changes: fields of `Architecture`, such as `precision`.

    Returns:
      The changed network.

    Example:
      >>> from dec_jax import dense_architecture
      >>> change_network(dense_architecture(4), precision="bfloat16").precision
      'bfloat16'
    """
    fields = {field.name for field in dataclasses.fields(network)}
    known = {name: value for name, value in changes.items() if name in fields}
    return dataclasses.replace(network, **known) if known else network


def check_network(network: object) -> None:
    """Raises TypeError, with the way to wrap it, for anything that is not a `Network`."""
    if not isinstance(network, Network):
        raise TypeError(
            "architecture must be an Architecture or a FunctionalNetwork, got "
            f"{type(network).__name__}; Flax modules go through "
            "FunctionalNetwork.from_flax(encoder, decoder, input_shape=...)."
        )


def check_decoder(network: Network, task: str) -> None:
    """Raises ValueError if the network has no decoder, which the task needs."""
    if isinstance(network, FunctionalNetwork) and network.decode is None:
        raise ValueError(
            f"{task} needs a network with a decoder, got decode=None; give "
            "FunctionalNetwork a decode, or from_flax a decoder."
        )


def check_plain_autoencoder(network: Network, task: str) -> None:
    """Raises ValueError without a decoder, or with noise in z or batch normalization."""
    check_decoder(network, task)
    if network.variational or getattr(network, "batch_norm", False):
        raise ValueError(
            f"{task} needs a network without a variational embedding and without batch "
            "normalization; use dense_architecture."
        )


@dataclass(frozen=True)
class _FlaxInit:
    """Draws the parameters of two modules, with one key each as `init_params` does."""

    encoder: nn.Module
    decoder: nn.Module | None
    input_shape: Shape

    def __call__(self, key: jax.Array) -> dict[str, Any]:
        encoder_key, decoder_key = jax.random.split(key)
        x = jnp.zeros((1, *self.input_shape))
        z, variables = self.encoder.init_with_output(encoder_key, x)
        params = {"encoder": _params_of(variables, "encoder")}
        if self.decoder is not None:
            variables = self.decoder.init(decoder_key, z)
            params["decoder"] = _params_of(variables, "decoder")
        return params


@dataclass(frozen=True)
class _FlaxApply:
    """Applies a module to a batch."""

    module: nn.Module

    def __call__(self, params: Any, x: jax.Array) -> jax.Array:
        return jnp.asarray(self.module.apply({"params": params}, x))


def _params_of(variables: Any, name: str) -> Any:
    others = sorted(set(variables) - {"params"})
    if others:
        raise ValueError(
            f"{name} must have parameters only, got variables {others}; use LayerNorm or "
            "GroupNorm in place of BatchNorm."
        )
    return variables.get("params", {})
