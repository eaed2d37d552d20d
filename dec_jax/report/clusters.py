"""Numbers of each cluster: size, sureness, conductance and stability."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Num
from scipy.sparse import csr_matrix

from dec_jax.clustering.candidates import neighbor_graph
from dec_jax.evaluation.judge import NEIGHBORS, method_space
from dec_jax.evaluation.stability import cluster_stability
from dec_jax.report.run_files import RunFiles

MOST_ROWS = 3_000  # of the neighbor graph
MOST_VALUES = 30_000_000  # of samples that are looked at as floats at a time
FEWEST_ROWS = 200


class ClusterNumbers(NamedTuple):
    """Numbers of each cluster; NaN where there is no such number.

    Attributes:
      sizes: [k] number of samples.
      sure: [k] mean largest q.
      conductance: [k] share of the neighbor graph's weight that leaves the cluster.
      stability: [k] mean over other labelings of the largest Jaccard index with one of
        their clusters.
      compared_with: a phrase that names the other labelings, or "".
    """

    sizes: Int[np.ndarray, " k"]
    sure: Float[np.ndarray, " k"]
    conductance: Float[np.ndarray, " k"]
    stability: Float[np.ndarray, " k"]
    compared_with: str


def cluster_numbers(
    run: RunFiles, x: np.ndarray, *, by_direction: bool = True
) -> ClusterNumbers:
    """Measures each cluster of a run.

    The neighbor graph is that of at most `MOST_ROWS` random samples as they were given,
    not of z, which was trained to bring the samples of a cluster together. Other seeds
    are compared with, else the simple methods that the second opinion asked.

    Args:
      run: from `read_run`.
      x: [n, d] its samples.
      by_direction: as in `method_space`.
    """
    n, k = len(run.labels), run.n_clusters
    sizes = np.bincount(run.labels, minlength=k)
    totals = np.bincount(run.labels, weights=run.q, minlength=k)
    rows = few_rows(x, MOST_ROWS)
    if n > 2:
        some = x[rows].astype(np.float64)
        space = method_space(some, by_direction=by_direction)
        graph = neighbor_graph(space, NEIGHBORS)
        leaving = conductances(graph, run.labels[rows], k)
    else:
        leaving = np.full(k, np.nan)
    stability, names = stability_of(run)
    return ClusterNumbers(
        sizes,
        np.where(sizes > 0, totals / np.maximum(sizes, 1), np.nan),
        leaving,
        stability,
        names,
    )


def few_rows(x: Num[np.ndarray, "n d"], most: int) -> Int[np.ndarray, " m"]:
    """Draws rows at random: at most so many, and fewer of large samples."""
    most = min(most, max(FEWEST_ROWS, MOST_VALUES // x.shape[1]))
    if len(x) <= most:
        return np.arange(len(x))
    return np.sort(np.random.default_rng(0).permutation(len(x))[:most])


def stability_of(run: RunFiles) -> tuple[Float[np.ndarray, " k"], str]:
    """Finds the stability of each cluster, and a phrase that names what it rests on."""
    k = run.n_clusters
    if run.seeds:
        others = [other.labels for other in run.seeds]
        names = f"{len(others)} other seed{'s' * (len(others) > 1)}"
        return cluster_stability(run.labels, others, k), names
    if (found := run.results.get("stability")) is not None:
        return np.array(found, np.float64), "simple methods"
    # Runs of older versions have but the labelings that differ most.
    if run.alternatives:
        others = [other.labels for other in run.alternatives]
        own = run.labels[run.alternatives[0].rows]
        return cluster_stability(own, others, k), "methods in alternatives.csv"
    return np.full(k, np.nan), ""


def conductances(
    graph: csr_matrix, labels: Int[np.ndarray, " n"], n_clusters: int
) -> Float[np.ndarray, " k"]:
    """Measures the share of each cluster's edges' weight that leaves it.

    Args:
      graph: [n, n] symmetric weights.
      labels: [n] the cluster of each sample.
      n_clusters: k.

    Returns:
      [k] in [0, 1]; NaN for a cluster without an edge.

    Example:
      >>> graph = csr_matrix(np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0.0]]))
      >>> conductances(graph, np.array([0, 0, 1]), 2).round(2).tolist()
      [0.33, 1.0]
    """
    n = len(labels)
    members = csr_matrix((np.ones(n), (np.arange(n), labels)), shape=(n, n_clusters))
    between = (members.T @ graph @ members).toarray()
    volume = between.sum(axis=1)
    inside = between.diagonal() / np.where(volume > 0, volume, 1)
    return np.where(volume > 0, 1 - inside, np.nan)
