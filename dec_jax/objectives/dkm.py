"""Deep k-Means (Moradi Fard, Thonet and Gaussier, 2020)."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from dec_jax.clustering.assignment import squared_distances
from dec_jax.networks.autoencoder import Params
from dec_jax.objectives.base import Batch
from dec_jax.objectives.joint import AutoencoderObjective
from dec_jax.objectives.reconstruction import weighted_mean
from dec_jax.objectives.softmax import SoftmaxObjective
from dec_jax.validation import check_positive_int


@dataclass(frozen=True)
class DKM(SoftmaxObjective, AutoencoderObjective):
    """Deep k-Means: a differentiable k-means loss plus the reconstruction loss.

    Moradi Fard, Thonet and Gaussier, `Deep k-Means: Jointly Clustering with k-Means and
    Learning Representations <https://arxiv.org/abs/1806.10069>`_, Pattern Recognition
    Letters 2020:

        sum_i ||x_i - x_hat_i||^2 + lambda sum_i sum_j G_ij ||z_i - mu_j||^2
        G_ij = exp(-alpha ||z_i - mu_j||^2), divided by its sum over j

    G, the q of this method, is a softmax that stands for the assignment to the nearest
    centroid. Gradients train network and centroids together. DKM does not use the target p.

    The inverse temperature (the paper's alpha) is constant for a pretrained network. From
    random weights the paper anneals it: the n-th value is that before times
    2^(1 / log(n)^2), starting from 0.1, and each is kept for five epochs.

    Attributes:
      clustering_weight: lambda, finite and at least 0; the reconstruction has weight 1. The
        reconstruction is a mean over the values of a sample here and a sum in the paper, so
        that the paper's 1 corresponds to 1 / d, 0.0013 on MNIST.
      inverse_temperature: of the softmax, the first one if it is annealed, finite and
        above 0.
      anneal_every: steps for which each inverse temperature is kept, at least 1; None keeps
        the first for good.

    Raises:
      ValueError: a setting is out of range.

    Example:
      >>> from dec_jax import DKM
      >>> DKM().inverse_temperature
      1000.0
      >>> annealed = DKM(inverse_temperature=0.1, anneal_every=5 * 274)  # of MNIST
    """

    trained: ClassVar[tuple[str, ...]] = ("encoder", "decoder", "centroids")
    clustering_weight: float = 0.001
    inverse_temperature: float = 1000.0
    anneal_every: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.anneal_every is not None:
            check_positive_int("anneal_every", self.anneal_every)

    def extra_params(self, centroids: Float[Array, "k d"]) -> Params:
        """Inverse temperature of the softmax; the number of steps, if it is annealed."""
        shared = super().extra_params(centroids)["shared"]
        if self.anneal_every is not None:
            shared["steps"] = jnp.zeros((), jnp.float32)
        return {"shared": shared}

    def clustering(
        self,
        params: Params,
        z: Float[Array, "b d"],
        batch: Batch,
        *,
        axis_name: str | None = None,
    ) -> tuple[Float[Array, ""], Params]:
        """Squared distances to all centroids, weighted by q."""
        distances = squared_distances(z, params["centroids"])
        shares = self.assignment(params, z)
        clustering = weighted_mean((shares * distances).sum(axis=1), batch.weights)
        return clustering, self.annealed(params)

    def annealed(self, params: Params) -> Params:
        """Inverse temperature and number of steps after a step; {} if it is constant."""
        if self.anneal_every is None:
            return {}
        value, steps = (params["shared"][it] for it in ("inverse_temperature", "steps"))
        steps = steps + 1
        n = 1 + jnp.floor(steps / self.anneal_every)
        # log(n) is 0 for the first value, to which no growth leads.
        growth = 2 ** (1 / jnp.log(jnp.maximum(n, 2)) ** 2)
        grows = steps % self.anneal_every == 0
        value = jnp.where(grows, value * growth, value)
        return {"shared": {"inverse_temperature": value, "steps": steps}}
