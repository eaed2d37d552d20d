"""Seconds of `k_means` beside scikit-learn's `KMeans`: `python -m benchmarks.kmeans`.

Both run the same number of restarts of greedy k-means++ and Lloyd's algorithm to the
same tolerance, in alternating rounds with the seeds 0, 1, ...; compile time is apart.
"""

import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.cluster import KMeans

from benchmarks.rows import arguments, save
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


def compare(
    kind: str, n: int, d: int, k: int, *, n_init: int, rounds: int
) -> dict[str, Any]:
    """One row: medians over the rounds, and the ratio of the inertias."""
    x = samples(kind, n, d, k)
    x_device, x_float = jnp.asarray(x), x.astype(np.float32)
    start = time.perf_counter()
    jax.block_until_ready(k_means(jax.random.key(0), x_device, k, n_init=n_init))
    first = time.perf_counter() - start
    ours, peer, inertias = [], [], []
    for seed in range(rounds):
        start = time.perf_counter()
        result = k_means(jax.random.key(seed), x_device, k, n_init=n_init)
        jax.block_until_ready(result)
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        fitted = KMeans(k, n_init=n_init, random_state=seed).fit(x_float)
        peer.append(time.perf_counter() - start)
        inertias.append(float(result.inertia) / fitted.inertia_)
    return {
        "case": f"{kind} n={n} d={d} k={k} n_init={n_init}",
        "ours": statistics.median(ours),
        "peer": statistics.median(peer),
        "ratio": statistics.median(peer) / statistics.median(ours),
        "limit_fraction": None,
        "unit": "s",
        "compile": first - ours[0],
        "inertia_ratio": statistics.median(inertias),
    }


def main() -> None:
    """Runs the cases and prints the table."""
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--quick", action="store_true", help="two cases, 3 restarts")
    parser.add_argument("--n-init", type=int, help="restarts; 20, or 3 when quick")
    options = parser.parse_args()
    n_init = options.n_init or (3 if options.quick else 20)
    device = jax.devices()[0].device_kind.lower().replace(" ", "-")
    print(f"device {device}, seconds, median of {options.rounds} rounds")
    head = "case", "ours", "peer", "peer/ours", "compile", "inertia ours/peer"
    print(f"{head[0]:42} {head[1]:>8} {head[2]:>8} {head[3]:>9} {head[4]:>8} {head[5]}")
    rows = []
    for case in QUICK_CASES if options.quick else CASES:
        row = compare(*case, n_init=n_init, rounds=options.rounds)
        rows.append(row)
        print(
            f"{row['case']:42} {row['ours']:8.3f} {row['peer']:8.3f} {row['ratio']:9.2f} "
            f"{row['compile']:8.2f} {row['inertia_ratio']:.5f}",
            flush=True,
        )
    if options.save:
        save("kmeans", rows, vars(options))


if __name__ == "__main__":
    main()
