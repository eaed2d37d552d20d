"""Numbers of each cluster: size, sureness, conductance and stability."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_matrix

from dec_jax.clustering.candidates import neighbor_graph
from dec_jax.evaluation.judge import NEIGHBORS, method_space
from dec_jax.report.run_files import OtherLabels, RunFiles

MOST_ROWS = 3_000  # of the neighbor graph


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


def cluster_numbers(run: RunFiles, x: np.ndarray) -> ClusterNumbers:
    """Measures each cluster of a run.

    The neighbor graph is that of at most `MOST_ROWS` random samples as they were given,
    not of z, which was trained to bring the samples of a cluster together. Other seeds
    are compared with, else the simple methods of alternatives.csv.

    Args:
      run: from `read_run`.
      x: [n, d] its samples.
    """
    n, k = len(run.labels), run.n_clusters
    sizes = np.bincount(run.labels, minlength=k)
    totals = np.bincount(run.labels, weights=run.q, minlength=k)
    rows = np.arange(n)
    if n > MOST_ROWS:
        rows = np.sort(np.random.default_rng(0).permutation(n)[:MOST_ROWS])
    if n > 2:
        graph = neighbor_graph(method_space(x[rows].astype(np.float64)), NEIGHBORS)
        leaving = conductances(graph, run.labels[rows], k)
    else:
        leaving = np.full(k, np.nan)
    others, names = run.alternatives, "simple methods"
    if run.seeds:
        others, names = run.seeds, "other seeds"
    if len(others) == 1:
        names = others[0].name
    return ClusterNumbers(
        sizes,
        np.where(sizes > 0, totals / np.maximum(sizes, 1), np.nan),
        leaving,
        jaccard_stability(run.labels, others, k),
        names if others else "",
    )


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


def jaccard_stability(
    labels: Int[np.ndarray, " n"], others: Sequence[OtherLabels], n_clusters: int
) -> Float[np.ndarray, " k"]:
    """Measures how well each cluster is found again in other labelings.

    The cluster-wise stability of Hennig, `Cluster-wise assessment of cluster stability
    <https://doi.org/10.1016/j.csda.2006.11.025>`_, 2007, with given labelings in place of
    those of resampled data.

    Args:
      labels: [n] the cluster of each sample.
      others: labelings of some of the samples.
      n_clusters: k.

    Returns:
      [k] in [0, 1]; NaN without other labelings, or where they miss the cluster.

    Example:
      >>> other = OtherLabels("b", np.arange(4), np.array([5, 5, 5, 7]))
      >>> jaccard_stability(np.array([0, 0, 1, 1]), [other], 2).round(2).tolist()
      [0.67, 0.5]
    """
    found = []
    for other in others:
        own = labels[other.rows]
        _, codes = np.unique(other.labels, return_inverse=True)
        table = np.zeros((n_clusters, codes.max() + 1))
        np.add.at(table, (own, codes), 1)
        sizes = table.sum(axis=1, keepdims=True)
        union = sizes + table.sum(axis=0, keepdims=True) - table
        best = (table / union).max(axis=1)
        found.append(np.where(sizes[:, 0] > 0, best, np.nan))
    if not found:
        return np.full(n_clusters, np.nan)
    known = ~np.isnan(found)
    count = known.sum(axis=0)
    total = np.nansum(found, axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
