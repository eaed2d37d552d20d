"""The contract between a clustering method and the training loop."""

import math
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Num

from dec_jax.clustering.assignment import soft_assignment
from dec_jax.networks.autoencoder import Params
from dec_jax.networks.own import Network, check_decoder


class Batch(NamedTuple):
    """One minibatch, as a training loop hands it to a loss.

    `target` is what the step aims at: in clustering the rows of p, [b, k], and in
    pretraining the samples that the decoder must give back, [b, d]. `weights` are 0 for
    rows that only pad the batch; all of them sum to 1. `clean` is there in clustering
    alone: with `x` it makes two views of each sample.
    """

    x: jax.Array  # [b, d] network input, after scaling and augmentation
    target: jax.Array  # [b, k] p, or [b, d] samples to reconstruct
    weights: jax.Array  # [b] share of each sample in the mean loss
    key: jax.Array  # [] for what a loss draws at random
    clean: jax.Array | None = None  # [b, d] `x` before augmentation


class Losses(NamedTuple):
    """The terms of one step's loss, each a scalar."""

    total: jax.Array
    clustering: jax.Array
    reconstruction: jax.Array


@runtime_checkable
class Objective(Protocol):
    """A clustering method, as the training loop sees it.

    `trained` names the entries of the parameters that gradients update. `loss` returns
    the new values of all other entries that change: running averages of batch
    normalization, or centroids that follow a rule. `fitted` names the entries that `fit`
    gives, () if nothing is fitted; `refitted` is True if every refresh fits them, and not
    the first alone. Each entry in addition to the network's has a row for each cluster,
    but "shared", a dictionary of arrays that belong to all clusters. An objective is a
    static argument of compiled programs, so it must be hashable: a frozen dataclass is.
    `CentroidObjective` has defaults for everything but `loss`.
    """

    trained: ClassVar[tuple[str, ...]]
    fitted: ClassVar[tuple[str, ...]]
    refitted: ClassVar[bool]

    @property
    def alpha(self) -> float:
        """Degrees of freedom of the Student's t kernel, 1 if there is none."""

    def check(self, x: Num[Array | np.ndarray, "n d"], architecture: Network) -> None:
        """Raises ValueError if the method cannot use this network or these samples."""

    def extra_params(self, centroids: Float[Array, "k d"]) -> Params:
        """Entries of the parameters in addition to the network's and "centroids"."""

    def fit(
        self, params: Params, z: Float[Array, "n d"], labels: Int[Array, " n"]
    ) -> Params:
        """Entries that a refresh fits to z, starting from the labels."""

    def assignment(self, params: Params, z: Float[Array, "n d"]) -> Float[Array, "n k"]:
        """q, the share of each cluster in each embedding."""

    def loss(
        self,
        params: Params,
        batch: Batch,
        *,
        architecture: Network,
        axis_name: str | None = None,
    ) -> tuple[Losses, Params]:
        """The loss of a batch, and the new values of entries that no gradient updates.

        With `axis_name`, the batch is spread over that mapped axis.
        """


class CentroidObjective:
    """Base class of methods that describe each cluster by a centroid.

    A subclass is a frozen dataclass that defines `loss`. It overrides `trained` if
    gradients also update the decoder, or do not update the centroids, and declares a
    field `alpha` if q should depend on it.
    """

    trained: ClassVar[tuple[str, ...]] = ("encoder", "centroids")
    fitted: ClassVar[tuple[str, ...]] = ()
    refitted: ClassVar[bool] = False
    alpha: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.alpha < math.inf:
            raise ValueError(f"alpha must be finite and above 0, got {self.alpha}.")

    def check(self, x: Num[Array | np.ndarray, "n d"], architecture: Network) -> None:
        """Raises ValueError for a variational network, or one that lacks its decoder."""
        if architecture.variational:
            raise ValueError(
                f"{type(self).__name__} needs an architecture with variational=False; "
                "cluster with this one by VaDE()."
            )
        if "decoder" in self.trained:
            check_decoder(architecture, type(self).__name__)

    def extra_params(self, centroids: Float[Array, "k d"]) -> Params:
        """Adds no parameters."""
        return {}

    def fit(
        self, params: Params, z: Float[Array, "n d"], labels: Int[Array, " n"]
    ) -> Params:
        """Fits no parameters."""
        return {}

    def assignment(self, params: Params, z: Float[Array, "n d"]) -> Float[Array, "n k"]:
        """Student's t soft assignment, equation 1 of Xie et al. (2016)."""
        return soft_assignment(z, params["centroids"], alpha=self.alpha)


def check_weight(weight: float) -> None:
    """Raises ValueError unless the clustering weight is finite and at least 0."""
    check_at_least_0("clustering_weight", weight)


def check_at_least_0(name: str, value: float) -> None:
    """Raises ValueError unless a setting is finite and at least 0."""
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} must be finite and at least 0, got {value}.")
