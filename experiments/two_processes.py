"""Two processes on this machine cluster digits as one does, each with half of the rows.

    python -m experiments.two_processes

Both are started here, as a cluster would start them on two machines: with the address of
the first process, the number of processes, and the number of each.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np

import dec_jax as dj
from dec_jax.parallel import processes, sharding

N_SAMPLES = 1796  # of the 1,797 digits, for two to share
MODULE = "experiments.two_processes"


def main(arguments: list[str]) -> int:
    """Starts one process, then two; returns 0 if all labels are the same."""
    out = argparse.ArgumentParser(
        prog=f"python -m {MODULE}",
        description="Clusters the digits in one process and in two, each with half of "
        "the rows, and compares the labels.",
    )
    out.add_argument("--part", metavar="FILE", help=argparse.SUPPRESS)
    part = out.parse_args(arguments).part
    if part is not None:
        return cluster(Path(part))
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{name}.npz" for name in ("alone", "first", "second")]
        statuses = started(files[:1]) or started(files[1:])
        if statuses:
            print(f"error: a process ended with status {statuses[0]}", file=sys.stderr)
            return 1
        alone, *parts = [dict(np.load(file)) for file in files]
    for name, found in zip(("alone", "first", "second"), (alone, *parts), strict=True):
        print(f"{name:<7}{int(found['n_rows']):>6,} rows on its device")
    same = True
    for stage in ("k-means on z", "DEC"):
        differ = [int((found[stage] != alone[stage]).sum()) for found in parts]
        same = same and not any(differ)
        print(f"{stage}: {differ[0]} and {differ[1]} of {N_SAMPLES:,} labels differ")
    return 0 if same else 1


def started(files: list[Path]) -> list[int]:
    """Runs a process for each file, all at once; returns the exit statuses above 0."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    running = []
    for number, file in enumerate(files):
        several = {
            "JAX_COORDINATOR_ADDRESS": f"localhost:{port}",
            "JAX_NUM_PROCESSES": str(len(files)),
            "JAX_PROCESS_ID": str(number),
        }
        command = [sys.executable, "-m", MODULE, "--part", str(file)]
        running.append(subprocess.Popen(command, env={**os.environ, **several}))
    return [status for one in running if (status := one.wait())]


def cluster(file: Path) -> int:
    """Clusters this process's half of the digits, from pixels to labels."""
    if int(os.environ["JAX_NUM_PROCESSES"]) > 1:
        processes.initialize_distributed()
    mesh = sharding.data_mesh()
    mine = processes.rows_of_process(N_SAMPLES, mesh)
    x = processes.join_rows(dj.load_dataset("digits").x[mine], mesh)

    net = dj.dense_architecture(64, hidden=(64,), embedding_dim=10)
    keys = jax.random.split(jax.random.key(0), 3)
    settings = dj.PretrainConfig(epochs=10)
    params, _ = dj.pretrain_end_to_end(keys[0], x, architecture=net, config=settings)
    z = jax.jit(dj.embed, static_argnames="architecture")(params, x, architecture=net)
    start = dj.k_means(keys[1], z, 10)
    state = dj.init_state(keys[2], params, start.centroids, start.labels)
    clustering = dj.TrainConfig(update_interval=20, max_intervals=5)
    result = dj.train(state, x, architecture=net, config=clustering)
    found = {"k-means on z": np.asarray(start.labels), "DEC": result.labels}
    np.savez(file, allow_pickle=False, n_rows=len(x.addressable_data(0)), **found)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
