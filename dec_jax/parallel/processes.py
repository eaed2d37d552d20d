"""Several processes of one program: joining them, and sharing values between them.

    initialize_distributed      joins this process to the others, before anything else of jax
    rows_of_process, join_rows  each process loads its own rows; together they are one array
    is_first_process            the process that prints and writes files
    from_first, text_from_first broadcast values of process 0
    any_process                 combines a flag of all processes
    to_save                     converts a tree to what a checkpoint writes

Every process calls each of these functions at the same point of the program. With a single
process they return what they were given.
"""

import os
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Num

from dec_jax.parallel.sharding import AXIS, check_divides, data_mesh, replicate

Tree = TypeVar("Tree")

# Environment variables that `initialize_distributed` reads.
ADDRESS = "JAX_COORDINATOR_ADDRESS"
COUNT = "JAX_NUM_PROCESSES"
NUMBER = "JAX_PROCESS_ID"


def initialize_distributed(
    address: str | None = None,
    n_processes: int | None = None,
    process: int | None = None,
) -> None:
    """Joins the processes of one program, on one or on many machines.

    Each process calls this before anything else of jax. An argument that is None is read
    from JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES or JAX_PROCESS_ID. Without those, jax
    asks the cluster (SLURM, Open MPI, Kubernetes, Cloud TPU). If a process dies, the
    others raise an error at the next sum over all processes; jax ends them at the latest
    after 100 seconds without a heartbeat.

    Args:
      address: host and port of process 0, such as "10.0.0.1:1234".
      n_processes: number of processes.
      process: index of this process, from 0 to n_processes - 1.

    Raises:
      ValueError: only some of the three values are known, or none and no cluster is found.
    """
    names = (ADDRESS, COUNT, NUMBER)
    address = address or os.environ.get(ADDRESS)
    n_processes, process = _number(COUNT, n_processes), _number(NUMBER, process)
    given = (address, n_processes, process)
    missing = [name for name, value in zip(names, given, strict=True) if value is None]
    if 0 < len(missing) < len(names):
        raise ValueError(
            f"{', '.join(names)} belong together, got no {' and no '.join(missing)}; "
            "set all of them."
        )
    # Asynchronous dispatch on a CPU could start two collectives in different orders in
    # different processes, which would then add up numbers of different sums.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    try:
        jax.distributed.initialize(address, n_processes, process)
    except ValueError as error:
        raise ValueError(
            f"The processes of this program are not known; set {', '.join(names)} for "
            "each of them, or start them by SLURM or Open MPI."
        ) from error


def _number(name: str, given: int | None) -> int | None:
    """Reads a whole number from an environment variable, unless it is given."""
    text = os.environ.get(name)
    if given is not None or text is None:
        return given
    if not text.isdecimal():
        raise ValueError(f"{name} must be a whole number, got {text!r}.")
    return int(text)


def is_first_process() -> bool:
    """Returns True in process 0, which prints and writes files."""
    return jax.process_index() == 0


def rows_of_process(n_samples: int, mesh: Mesh) -> slice:
    """Names the rows that this process loads, for `join_rows`.

    Args:
      n_samples: n, the number of rows of all processes together.
      mesh: from `data_mesh`, over all processes.

    Returns:
      A slice of the n rows.

    Raises:
      ValueError: n is not a multiple of the number of devices.

    Example:
      >>> from dec_jax.parallel.sharding import data_mesh
      >>> rows_of_process(100 * jax.device_count(), data_mesh()).start
      0
    """
    check_divides("The number of rows", n_samples, mesh)
    share = n_samples // mesh.size
    mine = [
        place
        for place, device in enumerate(mesh.devices.flat)
        if device.process_index == jax.process_index()
    ]
    return slice(share * mine[0], share * (mine[-1] + 1))


def join_rows(part: Num[np.ndarray, "m d"], mesh: Mesh) -> Num[Array, "n d"]:
    """Joins the rows that each process loaded into one array.

    Args:
      part: the rows that `rows_of_process` names, in this process.
      mesh: from `data_mesh`, over all processes.

    Returns:
      All rows, placed as by `shard_rows`.
    """
    sharding = NamedSharding(mesh, PartitionSpec(AXIS))
    return jax.make_array_from_process_local_data(sharding, part)


def any_process(flag: bool) -> bool:
    """Returns True in every process if the flag is true in one of them."""
    if jax.process_count() == 1:
        return flag
    return bool(multihost_utils.process_allgather(np.array(flag)).any())


def from_first(tree: Tree) -> Tree:
    """Broadcasts a tree of arrays from process 0.

    Args:
      tree: arrays of this process. Structure, shapes and types are the same in all
        processes; only the values of process 0 matter.

    Returns:
      The values of process 0.
    """
    if jax.process_count() == 1:
        return tree
    leaves, structure = jax.tree.flatten(tree)
    keys = [jax.random.key_impl(leaf) if _is_key(leaf) else None for leaf in leaves]
    arrays = [
        np.asarray(leaf if key is None else jax.random.key_data(leaf))
        for leaf, key in zip(leaves, keys, strict=True)
    ]
    # One broadcast of bytes in place of one for each leaf.
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
    """Broadcasts a text from process 0."""
    if jax.process_count() == 1:
        return text
    data = text.encode()
    # A broadcast needs the same length everywhere: cut or pad to that of process 0.
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(data))))
    return _bytes_from_first(data[:length].ljust(length)).decode()


def _bytes_from_first(data: bytes) -> bytes:
    values = np.frombuffer(data, np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(values)).tobytes()


def to_save(tree: Tree) -> Tree:
    """Converts a tree to arrays that every process holds, so that Orbax writes them once."""

    def saved(leaf: jax.Array) -> Any:
        return replicate(leaf, data_mesh()) if _is_key(leaf) else np.asarray(leaf)

    return tree if jax.process_count() == 1 else jax.tree.map(saved, tree)


def _is_key(leaf: Any) -> bool:
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
