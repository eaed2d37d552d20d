"""Deep Embedded Clustering (Xie, Girshick and Farhadi, ICML 2016)."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from dec_jax.clustering.assignment import log_soft_assignment, soft_assignment
from dec_jax.networks.architecture import Architecture
from dec_jax.networks.autoencoder import Params, encode_batch
from dec_jax.objectives.base import Losses, check_alpha, check_plain
from dec_jax.objectives.losses import clustering_loss
from dec_jax.objectives.reconstruction import moved_stats


@dataclass(frozen=True)
class DEC:
    """Deep Embedded Clustering: KL(P || Q) alone, the decoder dropped (Xie et al., 2016).

    Attributes:
      alpha: degrees of freedom of the Student's t kernel, above 0.
    """

    alpha: float = 1.0
    trained: ClassVar[tuple[str, ...]] = ("encoder", "centroids")
    fitted: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        check_alpha(self.alpha)

    def check(
        self, x: Num[Array | np.ndarray, "n d"], architecture: Architecture
    ) -> None:
        """A variational network has a method of its own."""
        check_plain(self, architecture)

    def extra_params(self, centroids: Float[Array, "k d"]) -> Params:
        """None."""
        return {}

    def fit(
        self, z: Float[Array, "n d"], labels: Int[Array, " n"], n_clusters: int
    ) -> Params:
        """None."""
        return {}

    def assignment(self, params: Params, z: Float[Array, "n d"]) -> Float[Array, "n k"]:
        """Equation 1 of Xie et al. (2016)."""
        return soft_assignment(z, params["centroids"], alpha=self.alpha)

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
        """Equation 2 of Xie et al. (2016), averaged over the batch."""
        encoded = encode_batch(
            params, x, architecture=architecture, weights=weights, axis_name=axis_name
        )
        log_q = log_soft_assignment(
            encoded.output, params["centroids"], alpha=self.alpha
        )
        clustering = clustering_loss(p, log_q, weights=weights)
        losses = Losses(clustering, clustering, jnp.zeros_like(clustering))
        return losses, moved_stats(params, encoder=encoded)
