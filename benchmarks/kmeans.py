"""Is `k_means` as fast as scikit-learn's `KMeans`? `python -m benchmarks.kmeans`.

Seconds of the same number of restarts of greedy k-means++ and Lloyd's algorithm, to the
same tolerance, in alternating rounds with the seeds 0, 1, ... The seconds of compilation
are a column of their own.
"""

import statistics
from argparse import Namespace
from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.common import QUICK, Benchmark, Column, new_row, timed
from benchmarks.tables import Row
from dec_jax.clustering.kmeans import k_means

# kind, n, d, k; uint8 rows have the size of MNIST pixels.
CASES = [
    ("normal", 70_000, 10, 10),
    ("blobs", 70_000, 10, 10),
    ("uint8", 70_000, 784, 10),
    ("blobs", 10_000, 10, 10),
    ("blobs", 300_000, 10, 10),
    ("blobs", 70_000, 64, 10),
    ("blobs", 70_000, 10, 100),
]
QUICK_CASES = [("normal", 70_000, 10, 10), ("uint8", 7_000, 784, 10)]


def samples(kind: str, n: int, d: int, k: int) -> np.ndarray:
    """Normal noise, overlapping blobs, or blobs of pixels."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((n, d), dtype=np.float32)
    if kind == "normal":
        return noise
    centroids = rng.normal(size=(k, d)).astype(np.float32)
    x = centroids[rng.integers(k, size=n)] + noise
    return np.clip(40 * x + 80, 0, 255).astype(np.uint8) if kind == "uint8" else x


def compare(kind: str, n: int, d: int, k: int, *, n_init: int, rounds: int) -> Row:
    """One row: medians over the rounds, and the ratio of the inertias."""
    from sklearn.cluster import KMeans

    x = samples(kind, n, d, k)
    x_device, x_float = jnp.asarray(x), x.astype(np.float32)
    own = partial(k_means, z=x_device, n_clusters=k, n_init=n_init)
    first, _ = timed(partial(own, jax.random.key(0)))
    ours, peer, inertias = [], [], []
    for seed in range(rounds):
        seconds, result = timed(partial(own, jax.random.key(seed)))
        ours.append(seconds)
        model = KMeans(k, n_init=n_init, random_state=seed)
        seconds, fitted = timed(partial(model.fit, x_float))
        peer.append(seconds)
        inertias.append(float(result.inertia) / fitted.inertia_)
    return new_row(
        f"{kind} n={n} d={d} k={k} n_init={n_init}",
        "s",
        statistics.median(ours),
        statistics.median(peer),
        compile=first - ours[0],
        inertia_ratio=statistics.median(inertias),
    )


def rows(options: Namespace) -> Iterator[Row]:
    """A row for each case."""
    n_init = options.n_init or (3 if options.quick else 20)
    for case in QUICK_CASES if options.quick else CASES:
        yield compare(*case, n_init=n_init, rounds=options.rounds)


BENCHMARK = Benchmark(
    "kmeans",
    __doc__,
    rows,
    rounds=3,
    options={
        "--quick": QUICK,
        "--n-init": {"type": int, "help": "restarts (default 20, with --quick 3)"},
    },
    columns=[
        Column("compile s", "compile", ".2f"),
        Column("inertia / peer's", "inertia_ratio", ".5f"),
    ],
)

if __name__ == "__main__":
    BENCHMARK.main()
