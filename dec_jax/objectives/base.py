"""The contract between a clustering method and the training loop."""

import math
from typing import ClassVar, NamedTuple, Protocol, TypedDict, runtime_checkable

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Num

from dec_jax.networks.architecture import Architecture
from dec_jax.networks.autoencoder import Params


class Losses(NamedTuple):
    """The terms of one step's loss, each a scalar."""

    total: jax.Array
    clustering: jax.Array
    reconstruction: jax.Array


@runtime_checkable
class Objective(Protocol):
    """What the training loop asks of a method.

    `trained` names the parameters that the gradient moves; what else moves, `loss`
    returns: running averages of batch normalization, and centroids that move by counts.
    `fitted` names those that `fit` gives, () where nothing is fitted.
    """

    trained: ClassVar[tuple[str, ...]]
    fitted: ClassVar[tuple[str, ...]]

    @property
    def alpha(self) -> float:
        """Degrees of freedom of the Student's t kernel, 1 where there is none."""

    def check(
        self, x: Num[Array | np.ndarray, "n d"], architecture: Architecture
    ) -> None:
        """Raises ValueError if the method does not take this network or these samples."""

    def extra_params(self, centroids: Float[Array, "k d"]) -> Params:
        """Entries of the parameters beside the network's and "centroids"."""

    def fit(
        self, z: Float[Array, "n d"], labels: Int[Array, " n"], n_clusters: int
    ) -> Params:
        """Entries that the first refresh fits to z, from the labels to start with."""

    def assignment(self, params: Params, z: Float[Array, "n d"]) -> Float[Array, "n k"]:
        """q, the share of each cluster in each embedding."""

    def loss(
        self,
        params: Params,
        key: jax.Array,
        x: Float[Array, "b d"],
        p: Float[Array, "b k"],
        weights: Float[Array, " b"],
        *,
        architecture: Architecture,
        axis_name: str | None = None,
    ) -> tuple[Losses, Params]:
        """The loss of a batch whose targets are `p`, and what moves by rule."""


class BatchSettings(TypedDict):
    """What all passes of a batch share."""

    architecture: Architecture
    weights: jax.Array
    axis_name: str | None


def check_weight(weight: float) -> None:
    """Raises ValueError unless the weight is finite and at least 0."""
    if not 0 <= weight < math.inf:
        raise ValueError(
            f"clustering_weight must be finite and at least 0, got {weight}."
        )


def check_alpha(alpha: float) -> None:
    """Raises ValueError unless alpha is finite and above 0."""
    if not 0 < alpha < math.inf:
        raise ValueError(f"alpha must be finite and above 0, got {alpha}.")


def check_plain(objective: Objective, architecture: Architecture) -> None:
    """Raises ValueError for a variational architecture; `VaDE` clusters with those."""
    if architecture.variational:
        raise ValueError(
            f"{type(objective).__name__} needs an architecture with variational=False; "
            "cluster with this one by VaDE()."
        )
