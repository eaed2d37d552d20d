"""Many devices: rows are sharded over them, everything else is replicated.

    data_mesh     devices -> a mesh with one axis, "data"
    shard_rows    x -> x, an equal part of its rows on each device
    replicate     parameters, states -> a copy on each device

Placed samples go into `pretrain_end_to_end`, `pretrain_layerwise`, `k_means` and `train` like
any other array; parameters and states follow the placement of the samples. A minibatch holds
the same samples as on one device, an equal part of it on each device. Gradients and the
column sums of q are sums over all devices. Such sums are added in another order, so that
numbers agree with one device to float32 precision, and labels agree except for ties.

`processes` joins several processes, on one or on many machines.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int, Num, Shaped

Tree = TypeVar("Tree")

AXIS = "data"


def data_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Builds the mesh of devices that samples are sharded over.

    Args:
      devices: the devices, in order; by default all devices of all processes.

    Returns:
      A mesh with one axis, "data".

    Example:
      >>> data_mesh().axis_names
      ('data',)
    """
    every = jax.devices() if devices is None else list(devices)
    return Mesh(np.array(every), (AXIS,), axis_types=(AxisType.Auto,))


def shard_rows(x: Num[Array | np.ndarray, "n d"], mesh: Mesh) -> Num[Array, "n d"]:
    """Shards rows over the devices: the first part on the first device, and so on.

    Args:
      x: all rows. Each process reads only its own part of a NumPy array or a memory map.
      mesh: from `data_mesh`.

    Returns:
      The same rows, in the same order and with the same dtype.

    Raises:
      ValueError: the number of rows is not a multiple of the number of devices.

    Example:
      >>> mesh = data_mesh()
      >>> x = shard_rows(np.zeros((6 * mesh.size, 2)), mesh)
      >>> x.addressable_shards[0].data.shape
      (6, 2)
    """
    check_divides("The number of rows", len(x), mesh)
    return _placed(x, NamedSharding(mesh, PartitionSpec(AXIS)))


def replicate(tree: Tree, mesh: Mesh) -> Tree:
    """Copies each array to every device.

    Args:
      tree: arrays, with the same values in all processes.
      mesh: from `data_mesh`.

    Returns:
      The same tree, whose arrays lie on each device of the mesh.

    Example:
      >>> mesh = data_mesh()
      >>> copies = replicate({"centroids": np.zeros((3, 2))}, mesh)
      >>> len(copies["centroids"].addressable_shards) == mesh.size
      True
    """
    sharding = NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(lambda leaf: _placed(leaf, sharding), tree)


def _placed(leaf: Any, sharding: NamedSharding) -> jax.Array:
    if isinstance(leaf, jax.Array):
        if leaf.sharding == sharding:
            return leaf
        if not leaf.is_fully_addressable:
            return jax.jit(lambda leaf: leaf, out_shardings=sharding)(leaf)
        # Keys have no NumPy form: their data are placed, and wrapped again.
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            data = _placed(jax.random.key_data(leaf), sharding)
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    if jax.process_count() == 1:
        return jax.device_put(leaf, sharding)
    values = np.asarray(leaf)
    return jax.make_array_from_callback(values.shape, sharding, lambda i: values[i])


def mesh_of(x: Array) -> Mesh | None:
    """Returns the mesh that `shard_rows` or `replicate` placed `x` on, or None."""
    if isinstance(x, jax.core.Tracer) or not isinstance(x.sharding, NamedSharding):
        return None
    mesh = x.sharding.mesh
    return mesh if isinstance(mesh, Mesh) and AXIS in mesh.axis_names else None


def replicate_like(tree: Tree, x: Array) -> Tree:
    """Copies a tree of arrays, to every device of `x` if `x` is on a mesh."""
    tree = jax.tree.map(jnp.array, tree)
    mesh = mesh_of(x)
    return tree if mesh is None else replicate(tree, mesh)


def check_divides(name: str, value: int, mesh: Mesh) -> None:
    """Raises ValueError unless `value` is a multiple of the number of devices."""
    rest = value % mesh.size
    if rest:
        fix = f"leave {rest} out, or place x by replicate(x, mesh)"
        if name == "batch_size":
            fix = f"use {value - rest or value + mesh.size - rest}"
        raise ValueError(
            f"{name} must be a multiple of the {mesh.size} devices of the mesh, got "
            f"{value}; {fix}."
        )


def check_batch_size(batch_size: int, x: Num[Array, "n d"]) -> None:
    """Raises ValueError unless the devices of `x` can share a batch equally."""
    mesh = mesh_of(x)
    if mesh is not None:
        # A batch larger than the data holds all samples once.
        check_divides("batch_size", min(batch_size, len(x)), mesh)


# The functions below are for compiled code, where placement is a constraint on the
# compiler. The mesh is part of the samples' type; without a mesh they constrain nothing.


def mesh_size(x: Array | np.ndarray) -> int:
    """Returns the number of devices that the compiler shards the rows of `x` over."""
    mesh = jax.typeof(x).sharding.mesh
    # Inside pmap and shard_map each device already works on its own rows.
    if AXIS not in mesh.axis_names or not all(
        t == AxisType.Auto for t in mesh.axis_types
    ):
        return 1
    return mesh.shape[AXIS]


def shard_like(tree: Tree, x: Array | np.ndarray, *, axis: int | None = 0) -> Tree:
    """Shards one axis of each array over the devices of `x`, or replicates for None."""
    if mesh_size(x) == 1:
        return tree
    mesh = jax.typeof(x).sharding.mesh
    spec = PartitionSpec() if axis is None else PartitionSpec(*[None] * axis, AXIS)
    return jax.lax.with_sharding_constraint(tree, NamedSharding(mesh, spec))


def take_rows(
    x: Shaped[Array, "n ..."], indices: Int[Array, " b"]
) -> Shaped[Array, "b ..."]:
    """Gathers `x[indices]`, an equal part of them on each device.

    Each device reads the rows that it holds, and one sum over the devices assembles the
    batch: `x` itself is never copied between devices.
    """
    return shard_like(x[indices], x)
