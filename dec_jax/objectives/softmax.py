"""Base of the methods whose q is a softmax: of distances, and so of a linear head."""

import math
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from dec_jax.clustering.assignment import log_softmax_assignment
from dec_jax.networks.autoencoder import Params
from dec_jax.objectives.base import CentroidObjective


class SoftmaxObjective(CentroidObjective):
    """Base class of methods whose q is a softmax over negative squared distances.

    -t ||z - mu_j||^2 is a linear function of z up to a term that all clusters share:
    2 t mu_j . z - t ||mu_j||^2. So q is also the softmax of a linear head with one output
    for each cluster. A subclass is a frozen dataclass with a field `inverse_temperature`
    for t. Its value is kept with the parameters, so that a loss may change it.
    """

    trained: ClassVar[tuple[str, ...]] = ("encoder", "centroids")
    inverse_temperature: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.inverse_temperature < math.inf:
            raise ValueError(
                "inverse_temperature must be finite and above 0, got "
                f"{self.inverse_temperature}."
            )

    def extra_params(self, centroids: Float[Array, "k d"]) -> Params:
        """Inverse temperature of the softmax."""
        value = jnp.full((), self.inverse_temperature, jnp.float32)
        return {"shared": {"inverse_temperature": value}}

    def assignment(self, params: Params, z: Float[Array, "n d"]) -> Float[Array, "n k"]:
        """Softmax over negative squared distances, times the inverse temperature."""
        return jnp.exp(log_q_of(params, z))


def log_q_of(params: Params, z: Float[Array, "n d"]) -> Float[Array, "n k"]:
    """Logarithm of the softmax q that the parameters describe."""
    return log_softmax_assignment(
        z, params["centroids"], params["shared"]["inverse_temperature"]
    )
