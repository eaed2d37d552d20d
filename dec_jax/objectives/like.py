"""The objective that computes q as the one did that trained the parameters."""

from dec_jax.networks.autoencoder import Params
from dec_jax.objectives.acedec import ACeDeC
from dec_jax.objectives.base import Objective
from dec_jax.objectives.dec import DEC
from dec_jax.objectives.dkm import DKM
from dec_jax.objectives.vade import VaDE


def objective_like(params: Params, alpha: float = 1.0) -> Objective:
    """Finds an objective whose q is that of the one that trained the parameters.

    Their names tell how q comes from z: only a mixture has variances, only a softmax an
    inverse temperature, and only ACe/DeC a rotation.

    Args:
      params: after training, with "centroids".
      alpha: degrees of freedom of the Student's t kernel.

    Returns:
      The objective, for its `assignment` alone.
    """
    shared = params.get("shared", {})
    if "log_variances" in params:
        return VaDE()
    if "inverse_temperature" in shared:
        return DKM()
    if "rotation" in shared:
        return ACeDeC(alpha=alpha)
    return DEC(alpha=alpha)
