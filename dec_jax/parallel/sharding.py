"""Many devices, many machines: rows spread over them, everything else on all of them.

    data_mesh     devices -> a mesh with one axis, "data"
    shard_rows    x -> x, an equal part of its rows on each device
    replicate     parameters, states -> a copy on each device

What works on one device works on many as it is: placed samples go into
`pretrain_end_to_end`, `pretrain_layerwise`, `k_means` and `train` in the place of plain
ones, and the rest follows them. A minibatch is the one that a single device would draw;
each device takes an equal part of it, gradients and the column sums of q are sums over
all devices. Sums in another order round in another way: labels are the same wherever
rounding does not decide between two clusters, numbers agree to float32.

A process of several joins by `initialize_distributed` before anything else of jax, and
then does what all others do: each call below is made by all of them.
"""

import os
from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int, Num, Shaped

Tree = TypeVar("Tree")

AXIS = "data"
# What `initialize_distributed` reads where no cluster has set the processes up.
ADDRESS, COUNT, NUMBER = (
    "JAX_COORDINATOR_ADDRESS",
    "JAX_NUM_PROCESSES",
    "JAX_PROCESS_ID",
)


def data_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """The devices in a row, over which samples are spread.

    Args:
      devices: by default all of them, those of other processes counted.

    Returns:
      A mesh with the axis "data".
    """
    every = jax.devices() if devices is None else list(devices)
    return Mesh(np.array(every), (AXIS,), axis_types=(AxisType.Auto,))


def shard_rows(x: Num[Array | np.ndarray, "n d"], mesh: Mesh) -> Num[Array, "n d"]:
    """Spreads rows over the devices: the first part on the first device, and so on.

    Args:
      x: all rows; of a NumPy array or a memory map each process reads its own alone.
      mesh: from `data_mesh`.

    Returns:
      The same rows, in the same order, in their own type.

    Raises:
      ValueError: the devices do not divide the rows.
    """
    check_divides("The rows of x", len(x), mesh)
    return _placed(x, NamedSharding(mesh, PartitionSpec(AXIS)))


def join_rows(part: Num[np.ndarray, "m d"], mesh: Mesh) -> Num[Array, "n d"]:
    """One array of rows, of which each process holds its own part.

    Args:
      part: the rows that `rows_of_process` names, of this process.
      mesh: from `data_mesh`, over all processes.

    Returns:
      All rows, as `shard_rows` gives them.
    """
    sharding = NamedSharding(mesh, PartitionSpec(AXIS))
    return jax.make_array_from_process_local_data(sharding, part)


def rows_of_process(n_samples: int, mesh: Mesh) -> slice:
    """Which rows of all are those of this process, for `join_rows`.

    Args:
      n_samples: n, rows in all.
      mesh: from `data_mesh`, over all processes.

    Returns:
      A slice of the n rows.

    Raises:
      ValueError: the devices do not divide the rows.
    """
    check_divides("The rows of x", n_samples, mesh)
    share = n_samples // mesh.size
    mine = [
        place
        for place, device in enumerate(mesh.devices.flat)
        if device.process_index == jax.process_index()
    ]
    return slice(share * mine[0], share * (mine[-1] + 1))


def replicate(tree: Tree, mesh: Mesh) -> Tree:
    """A copy of each array on every device; every process gives the same."""
    sharding = NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(lambda leaf: _placed(leaf, sharding), tree)


def _placed(leaf: Any, sharding: NamedSharding) -> jax.Array:
    if isinstance(leaf, jax.Array):
        if leaf.sharding == sharding:
            return leaf
        if not leaf.is_fully_addressable:
            return jax.jit(lambda leaf: leaf, out_shardings=sharding)(leaf)
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            data = _placed(jax.random.key_data(leaf), sharding)
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    if jax.process_count() == 1:
        return jax.device_put(leaf, sharding)
    values = np.asarray(leaf)
    return jax.make_array_from_callback(values.shape, sharding, lambda i: values[i])


def mesh_of(x: Array) -> Mesh | None:
    """The mesh that `x` was placed on by `shard_rows` or `replicate`, if it was."""
    if isinstance(x, jax.core.Tracer) or not isinstance(x.sharding, NamedSharding):
        return None
    mesh = x.sharding.mesh
    return mesh if isinstance(mesh, Mesh) and AXIS in mesh.axis_names else None


def replicate_like(tree: Tree, x: Array) -> Tree:
    """A copy of a tree of arrays: on all devices of `x`, if those are several."""
    tree = jax.tree.map(jnp.array, tree)
    mesh = mesh_of(x)
    return tree if mesh is None else replicate(tree, mesh)


def to_host(x: Array) -> np.ndarray:
    """All of an array, wherever its parts are, on the host of every process."""
    if x.is_fully_addressable or x.is_fully_replicated:
        return np.asarray(x)
    return np.asarray(multihost_utils.process_allgather(x, tiled=True))


def to_save(tree: Tree) -> Tree:
    """What every process has, so that Orbax lets the first of several write it."""

    def saved(leaf: jax.Array) -> Any:
        if not jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return np.asarray(leaf)
        return _placed(leaf, NamedSharding(data_mesh(), PartitionSpec()))

    return tree if jax.process_count() == 1 else jax.tree.map(saved, tree)


def from_first(tree: Tree) -> Tree:
    """The arrays of the first process, in every process.

    Args:
      tree: arrays of this process alone, in all processes of the same structure, shapes
        and types; only the values of the first matter.

    Returns:
      Its values.
    """
    if jax.process_count() == 1:
        return tree
    leaves, structure = jax.tree.flatten(tree)
    keys = [
        jax.random.key_impl(leaf)
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        else None
        for leaf in leaves
    ]
    arrays = [
        np.asarray(leaf if key is None else jax.random.key_data(leaf))
        for leaf, key in zip(leaves, keys, strict=True)
    ]
    sent = _bytes_from_first(b"".join(array.tobytes() for array in arrays))
    ends = np.cumsum([array.nbytes for array in arrays])
    received = []
    for array, key, end in zip(arrays, keys, ends, strict=True):
        part = np.frombuffer(sent[end - array.nbytes : end], array.dtype)
        value = jnp.asarray(part.reshape(array.shape))
        received.append(
            value if key is None else jax.random.wrap_key_data(value, impl=key)
        )
    return jax.tree.unflatten(structure, received)


def text_from_first(text: str) -> str:
    """What the first process says, in every process."""
    if jax.process_count() == 1:
        return text
    data = text.encode()
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(data))))
    return _bytes_from_first(data[:length].ljust(length)).decode()


def _bytes_from_first(data: bytes) -> bytes:
    values = np.frombuffer(data, np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(values)).tobytes()


def any_process(flag: bool) -> bool:
    """True in every process if it is true in one of them."""
    if jax.process_count() == 1:
        return flag
    return bool(multihost_utils.process_allgather(np.array(flag)).any())


def check_divides(name: str, value: int, mesh: Mesh) -> None:
    """Raises ValueError unless the devices of the mesh divide `value`."""
    rest = value % mesh.size
    if rest:
        fix = f"leave {rest} out, or place x by replicate(x, mesh)"
        if name == "batch_size":
            fix = f"take {value - rest or value + mesh.size - rest}"
        raise ValueError(
            f"{name} must be a multiple of the {mesh.size} devices of the mesh, got "
            f"{value}; {fix}."
        )


def check_batch_size(batch_size: int, x: Num[Array, "n d"]) -> None:
    """Raises ValueError unless the devices of `x` can share a batch equally."""
    mesh = mesh_of(x)
    if mesh is not None:
        # Fewer samples than a batch are one batch.
        check_divides("batch_size", min(batch_size, len(x)), mesh)


# Inside a compiled function, where placement is a matter of constraints. The mesh is
# that of the samples, as their type says; without one, nothing is constrained.


def mesh_size(x: Array | np.ndarray) -> int:
    """Over how many devices the rows of `x` are spread, if the compiler does that."""
    mesh = jax.typeof(x).sharding.mesh
    # Within pmap and shard_map each device has rows of its own.
    if AXIS not in mesh.axis_names or not all(
        t == AxisType.Auto for t in mesh.axis_types
    ):
        return 1
    return mesh.shape[AXIS]


def shard_like(tree: Tree, x: Array | np.ndarray, *, axis: int | None = 0) -> Tree:
    """Spreads one axis over the devices of `x`; None puts all on each of them."""
    if mesh_size(x) == 1:
        return tree
    mesh = jax.typeof(x).sharding.mesh
    spec = PartitionSpec() if axis is None else PartitionSpec(*[None] * axis, AXIS)
    return jax.lax.with_sharding_constraint(tree, NamedSharding(mesh, spec))


def take_rows(
    x: Shaped[Array, "n ..."], indices: Int[Array, " b"]
) -> Shaped[Array, "b ..."]:
    """`x[indices]`, an equal part of them on each device.

    Each device reads those of its own rows, and one sum over the devices brings the
    batch together: x itself stays where it is.
    """
    return shard_like(x[indices], x)


def initialize_distributed(
    address: str | None = None,
    n_processes: int | None = None,
    process: int | None = None,
) -> None:
    """Joins the processes of one program, on one or on many machines.

    Called by each of them before anything else of jax. What is not given comes from
    JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID, or from the cluster
    where jax knows it (SLURM, Open MPI, Kubernetes, Cloud TPU). A process that dies
    ends the others: where a sum over all of them fails, by an error there; at the
    latest after 100 seconds without a sign of life, by jax itself.

    Args:
      address: host and port of the first process, such as "10.0.0.1:1234".
      n_processes: how many there are.
      process: which of them this one is, from 0.

    Raises:
      ValueError: the processes are not known, or only in part.
    """
    names = (ADDRESS, COUNT, NUMBER)
    address = address or os.environ.get(ADDRESS)
    n_processes, process = _number(COUNT, n_processes), _number(NUMBER, process)
    given = (address, n_processes, process)
    missing = [name for name, value in zip(names, given, strict=True) if value is None]
    if 0 < len(missing) < len(names):
        raise ValueError(
            f"{', '.join(names)} belong together, got no {' and no '.join(missing)}."
        )
    # Else a CPU starts programs side by side, and their sums meet the wrong partner.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    try:
        jax.distributed.initialize(address, n_processes, process)
    except ValueError as error:
        raise ValueError(
            "Which processes belong together is not known; set "
            f"{', '.join(names)} for each of them, or start them by SLURM or Open MPI."
        ) from error


def _number(name: str, given: int | None) -> int | None:
    text = os.environ.get(name)
    if given is not None or text is None:
        return given
    if not text.isdecimal():
        raise ValueError(f"{name} must be a whole number, got {text!r}.")
    return int(text)


def is_first_process() -> bool:
    """True in the process that writes files and speaks; true where there is only one."""
    return jax.process_index() == 0
