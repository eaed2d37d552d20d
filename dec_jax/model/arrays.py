"""Parameters of a model as named arrays, and the check of their names and shapes."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dec_jax.networks.autoencoder import Params, init_params
from dec_jax.networks.own import Network

# Arrays in addition to those of the network.
CLUSTER_ARRAYS = ("centroids", "counts", "log_variances", "log_weights")
SHARED = "shared."  # prefix of arrays that belong to all clusters


def flattened(params: Params) -> dict[str, np.ndarray]:
    """Flattens parameters to arrays by dotted name."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {dotted(path): np.asarray(leaf) for path, leaf in leaves}


def dotted(path: tuple[Any, ...]) -> str:
    """Dotted name of an array, such as `encoder.dense_0.kernel`."""
    return jax.tree_util.keystr(path, simple=True, separator=".")


def nested(arrays: Mapping[str, np.ndarray], architecture: Network) -> Params:
    """Restores the parameters of a network that `flattened` made arrays of."""
    check_arrays(arrays, architecture)
    params = jax.tree_util.tree_map_with_path(
        lambda path, _: jnp.asarray(arrays[dotted(path)]),
        _shapes_of(arrays, architecture),
    )
    clusters = [name for name in CLUSTER_ARRAYS if name in arrays]
    params |= {name: jnp.asarray(arrays[name]) for name in clusters}
    shared = [name for name in arrays if name.startswith(SHARED)]
    if shared:
        names = {name: name.removeprefix(SHARED) for name in shared}
        params["shared"] = {names[it]: jnp.asarray(arrays[it]) for it in shared}
    return params


def _shapes_of(arrays: Mapping[str, np.ndarray], architecture: Network) -> Params:
    """`network_shapes`, without the decoder if a clustered model has no array of it."""
    shapes = network_shapes(architecture)
    if "centroids" in arrays and not any(n.startswith("decoder.") for n in arrays):
        return {name: shapes[name] for name in shapes if name != "decoder"}
    return shapes


def _shared_shapes(width: int) -> tuple[dict[str, tuple[int, ...]], ...]:
    """Shapes of the arrays that belong to all clusters, in groups that go together."""
    return (
        {"shared.inverse_temperature": ()},
        {"shared.rotation": (width, width), "shared.logits": (width,)},
    )


@functools.cache
def network_shapes(architecture: Network) -> Params:
    """Shapes and types of the parameters of a network."""
    return jax.eval_shape(lambda key: init_params(key, architecture), jax.random.key(0))


def check_arrays(arrays: Mapping[str, np.ndarray], architecture: Network) -> None:
    """Raises ValueError unless the arrays are finite and fit the architecture."""
    leaves = jax.tree_util.tree_leaves_with_path(_shapes_of(arrays, architecture))
    shapes = {dotted(path): leaf.shape for path, leaf in leaves}
    centroids = arrays.get("centroids")
    if centroids is not None:
        n_clusters = len(centroids) if centroids.ndim else 0
        shapes["centroids"] = (max(1, n_clusters), architecture.embedding_dim)
        if "counts" in arrays:
            shapes["counts"] = shapes["centroids"][:1]
        if "log_variances" in arrays or "log_weights" in arrays:
            shapes["log_variances"] = shapes["centroids"]
            shapes["log_weights"] = shapes["centroids"][:1]
        for group in _shared_shapes(architecture.embedding_dim):
            if any(name in arrays for name in group):
                shapes |= group
        if "shared.steps" in arrays:
            shapes["shared.steps"] = ()
    missing = [name for name in shapes if name not in arrays]
    if missing:
        raise ValueError(
            f"params must hold every array of the architecture, and lack {missing[0]}"
            f"{f' and {len(missing) - 1} more' if len(missing) > 1 else ''}."
        )
    extra = [name for name in arrays if name not in shapes]
    if extra:
        raise ValueError(
            f"params must hold only arrays of the architecture, got {extra[0]}"
            f"{f' and {len(extra) - 1} more' if len(extra) > 1 else ''} besides."
        )
    for name, shape in shapes.items():
        array = arrays[name]
        if array.shape != shape or array.dtype != np.float32:
            raise ValueError(
                f"params: {name} must be float32 of shape {shape}, got {array.dtype} of "
                f"shape {array.shape}."
            )
        if not np.isfinite(array).all():
            raise ValueError(f"params: {name} must be finite, got NaN or infinity.")
