"""Invariant Information Clustering (Ji, Henriques and Vedaldi, ICCV 2019)."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dec_jax.networks.autoencoder import Params, encode_batch, updated_batch_stats
from dec_jax.networks.own import Network
from dec_jax.objectives.base import Batch, Losses, check_at_least_0
from dec_jax.objectives.imsat import entropy
from dec_jax.objectives.softmax import SoftmaxObjective, log_q_of


@dataclass(frozen=True)
class IIC(SoftmaxObjective):
    """Invariant Information Clustering: mutual information of the clusters of two views.

    Ji, Henriques and Vedaldi, `Invariant Information Clustering for Unsupervised Image
    Classification and Segmentation <https://arxiv.org/abs/1807.06653>`_, ICCV 2019. The
    views are a sample and its augmented version. Their joint distribution over clusters is
    P, made symmetric, and the loss is -I(P):

        P = mean over i of q(x_i) q(g(x_i))^T
        loss = sum_cc' P_cc' (m log P_c + m log P_c' - log P_cc')

    with the marginals P_c and m = 1; a larger m asks for more even sizes. IIC uses neither
    the target p nor a decoder, and needs no pretrained network. The published method trains
    five heads, and five more with more clusters than classes; this is a single head.

    Attributes:
      marginal_weight: m, finite and at least 0.
      inverse_temperature: of the softmax q, finite and above 0. With the centroids 4 e_j of
        a new network, 0.125 makes q the softmax of the network's outputs.

    Raises:
      ValueError: a setting is out of range; in training, samples are not augmented.

    Example:
      >>> from dec_jax import IIC
      >>> IIC()
      IIC(marginal_weight=1.0, inverse_temperature=0.125)
    """

    trained: ClassVar[tuple[str, ...]] = ("encoder", "centroids")
    marginal_weight: float = 1.0
    inverse_temperature: float = 0.125

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least_0("marginal_weight", self.marginal_weight)

    def loss(
        self,
        params: Params,
        batch: Batch,
        *,
        architecture: Network,
        axis_name: str | None = None,
    ) -> tuple[Losses, Params]:
        """Negative mutual information of the clusters of samples and augmented samples."""
        if batch.clean is None or batch.clean is batch.x:
            raise ValueError(
                "IIC needs two views of each sample, got none that are augmented; set "
                "the augmentation of TrainConfig."
            )
        runs = [
            encode_batch(
                params,
                x,
                architecture=architecture,
                weights=batch.weights,
                axis_name=axis_name,
            )
            for x in (batch.clean, batch.x)
        ]
        q, other = (jnp.exp(log_q_of(params, run.output)) for run in runs)
        joint = jnp.matmul((batch.weights[:, None] * q).T, other, precision="highest")
        if axis_name is not None:
            joint = jax.lax.pmean(joint, axis_name)
        loss = -mutual_information(joint, marginal_weight=self.marginal_weight)
        losses = Losses(loss, loss, jnp.zeros_like(loss))
        return losses, updated_batch_stats(params, encoder=runs[0])


def mutual_information(
    joint: Float[Array, "k k"], *, marginal_weight: float = 1.0
) -> Float[Array, ""]:
    """Mutual information of the two variables of a joint distribution, made symmetric.

    Args:
      joint: probabilities, which sum to 1.
      marginal_weight: weight of the entropies of both marginals; 1 is the information.

    Returns:
      The information in nats, from 0 to log k if the weight is 1.
    """
    joint = (joint + joint.T) / 2
    marginals = 2 * entropy(joint.sum(axis=0))
    return marginal_weight * marginals - entropy(joint)
