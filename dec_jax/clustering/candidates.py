"""Labelings of the same samples by simple methods, among which a judge can choose."""

import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_matrix

from dec_jax.clustering.linkage import (
    SpanningTree,
    cut_tree,
    genie_tree,
    linkage_tree,
    spanning_tree,
)
from dec_jax.parallel.hardware import one_thread
from dec_jax.validation import check_n_clusters

# Of the solvers of SciPy and scikit-learn on some degenerate samples.
FAILURES = (ValueError, TypeError, RuntimeError, ArithmeticError)
N_SPECTRA = 6  # numbers of eigenvectors that a cut tries
DENSE = 600  # samples up to which all eigenvectors are computed at once
NEIGHBORS = (5, 10, 20)  # of the graphs whose normalized cuts are candidates
GINI, DENSE_GINI = (0.1, 0.3, 0.5, 0.7, 1.0), (0.3, 0.5)  # thresholds of Genie
# Of mixtures, as scikit-learn and as people call them.
COVARIANCES = {"full": "full", "diag": "diagonal", "tied": "shared", "spherical": "one"}
LINKAGES = {"ward": "Ward", "average": "average", "complete": "complete"}


class SimpleMethods:
    """k-means, mixtures, linkages and cuts of neighbor graphs on the same samples.

    Their assumptions differ: balls, ellipses, even and uneven sizes, connected shapes.
    An answer that many of them share rests on the data rather than on a method. Trees and
    eigenvectors are computed once and serve every number of clusters.

    Args:
      x: [n, d] standardized samples, a few thousand at most: linkages take time n^2.
      most: the largest number of clusters that will be asked for.
      seed: of the methods that draw random numbers.
      thorough: whether mixtures and k-means start several times, and three graphs are cut
        with several numbers of eigenvectors; otherwise one graph, for many k.
    """

    @one_thread
    def __init__(
        self,
        x: Float[np.ndarray, "n d"],
        most: int,
        *,
        seed: int = 0,
        thorough: bool = True,
    ) -> None:
        check_n_clusters(most, len(x))
        self.x, self.seed, self.thorough = x, seed, thorough
        near, dense = spanning_tree(x), spanning_tree(x, core=8)
        self.trees: dict[str, SpanningTree] = {
            **{
                f"{title} linkage": linkage_tree(x, name)
                for name, title in LINKAGES.items()
            },
            **{f"Genie linkage (Gini {it})": genie_tree(near, it) for it in GINI},
            **{
                f"Genie linkage of dense samples (Gini {it})": genie_tree(dense, it)
                for it in DENSE_GINI
            },
        }
        self.spectra = {}
        for neighbors in NEIGHBORS if thorough else NEIGHBORS[1:2]:
            graph = neighbor_graph(x, neighbors)
            count = min(2 * most if thorough else most, len(x) - 1)
            # The solver may not converge on a graph of many equal samples.
            with suppress(*FAILURES):
                self.spectra[neighbors] = (graph, graph_spectrum(graph, count, seed)[1])

    @one_thread
    def labels(self, n_clusters: int) -> dict[str, Int[np.ndarray, " n"]]:
        """Labels the samples by each method.

        Args:
          n_clusters: k, at most `most`.

        Returns:
          Labels from 0 to k - 1 by the name of the method, "k-means" first. A method that
          cannot label these samples is left out.
        """
        found = {}
        for name, method in self._methods(n_clusters).items():
            with warnings.catch_warnings():
                # Convergence of one method of many: the judge sees what it came to.
                warnings.simplefilter("ignore")
                try:
                    found[name] = np.asarray(method()).astype(np.int32)
                except FAILURES:
                    continue
        return found

    def _methods(self, k: int) -> dict[str, Callable[[], np.ndarray]]:
        """The methods by name, each ready to be called."""
        from sklearn.cluster import KMeans
        from sklearn.mixture import GaussianMixture

        x, seed = self.x, self.seed
        starts, mixture_starts = (20, 5) if self.thorough else (5, 1)
        methods: dict[str, Callable[[], np.ndarray]] = {
            "k-means": partial(
                KMeans(k, n_init=starts, random_state=seed).fit_predict, x
            )
        }
        for kind, title in COVARIANCES.items():
            mixture = GaussianMixture(
                k,
                covariance_type=kind,
                n_init=mixture_starts,
                reg_covar=1e-4,
                random_state=seed,
            )
            methods[f"Gaussian mixture ({title} variance)"] = partial(
                mixture.fit_predict, x
            )
        for neighbors, (graph, vectors) in self.spectra.items():
            used = vectors[:, : 2 * k] if self.thorough else vectors[:, :k]
            methods[f"normalized cut (graph of {neighbors} neighbors)"] = partial(
                _cut, graph, used, k, seed
            )
        for name, tree in self.trees.items():
            methods[name] = partial(cut_tree, tree, k)
        return methods


def candidate_labels(
    x: Float[np.ndarray, "n d"], n_clusters: int, *, seed: int = 0
) -> dict[str, Int[np.ndarray, " n"]]:
    """Labels samples by all of `SimpleMethods`.

    Args:
      x: [n, d] standardized samples, a few thousand at most: linkages take time n^2.
      n_clusters: k.
      seed: of the methods that draw random numbers.

    Returns:
      Labels from 0 to k - 1 by the name of the method, "k-means" first.

    Raises:
      ValueError: there are more clusters than samples.

    Example:
      >>> rng = np.random.default_rng(0)
      >>> x = np.concatenate([rng.normal(0, 1, (30, 2)), rng.normal(9, 1, (30, 2))])
      >>> len(candidate_labels(x, 2))
      18
    """
    return SimpleMethods(x, n_clusters, seed=seed).labels(n_clusters)


def _cut(*arguments: Any) -> Int[np.ndarray, " n"]:
    return best_cut(*arguments)[0]


def best_cut(
    graph: csr_matrix, vectors: Float[np.ndarray, "n e"], n_clusters: int, seed: int
) -> tuple[Int[np.ndarray, " n"], int]:
    """Cuts a graph by k-means on the unit rows of its leading eigenvectors.

    Ng, Jordan and Weiss (2001), with the local scales of Zelnik-Manor and Perona (2004).
    Several numbers of eigenvectors from k to 2 k are tried, and the partition of the
    highest modularity is taken, as in `spectral_clustering`.

    Args:
      graph: [n, n] symmetric weights.
      vectors: at least k leading eigenvectors, of which up to 2 k are used.
      n_clusters: k.
      seed: of k-means.

    Returns:
      Labels from 0 to k - 1, and the number of eigenvectors that they come from.
    """
    from sklearn.cluster import KMeans

    most = min(2 * n_clusters, vectors.shape[1])
    first = min(n_clusters, most)
    best, used, highest = np.zeros(len(vectors), np.int32), first, -np.inf
    for count in np.unique(np.linspace(first, most, N_SPECTRA).round().astype(int)):
        rows = unit_rows(vectors[:, :count])
        labels = KMeans(n_clusters, n_init=5, random_state=seed).fit_predict(rows)
        if (found := modularity(graph, labels)) > highest:
            best, used, highest = labels, int(count), found
    return best, used


def unit_rows(vectors: Float[np.ndarray, "n e"]) -> Float[np.ndarray, "n e"]:
    """Scales each row to length 1; a row of zeros stays as it is."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def graph_spectrum(
    graph: csr_matrix, count: int, seed: int
) -> tuple[Float[np.ndarray, " count"], Float[np.ndarray, "n count"]]:
    """Computes the leading eigenvalues and eigenvectors of D^-1/2 W D^-1/2.

    Args:
      graph: W, [n, n] symmetric weights.
      count: number of them, at most n.
      seed: of the vector that the iteration starts from.

    Returns:
      The eigenvalues, the largest first, and their eigenvectors.
    """
    from scipy.sparse import diags_array
    from scipy.sparse.linalg import eigsh

    n = graph.shape[0]
    degrees = np.asarray(graph.sum(axis=1)).ravel()
    root = diags_array(1 / np.sqrt(np.maximum(degrees, 1e-12)))
    normalized = root @ graph @ root
    if n <= DENSE or count >= n // 2:
        values, vectors = np.linalg.eigh(normalized.toarray())
    else:
        start = np.random.default_rng(seed).normal(size=n)
        values, vectors = eigsh(normalized, k=count, which="LA", v0=start)
    order = np.argsort(-values)[:count]
    return values[order], vectors[:, order]


def modularity(graph: csr_matrix, labels: Int[np.ndarray, " n"]) -> float:
    """Computes the modularity of a partition (Newman and Girvan, 2004).

    Args:
      graph: [n, n] symmetric weights.
      labels: [n] the cluster of each sample.

    Returns:
      The share of the weight inside clusters, less that expected of random edges.

    Example:
      >>> pairs = csr_matrix(np.kron(np.eye(2), [[0.0, 1.0], [1.0, 0.0]]))
      >>> modularity(pairs, np.array([0, 0, 1, 1]))
      0.5
    """
    volumes = cluster_volumes(graph, labels)
    total = volumes.sum()
    return float(
        (volumes.diagonal() / total - (volumes.sum(axis=1) / total) ** 2).sum()
    )


def cluster_volumes(
    graph: csr_matrix, labels: Int[np.ndarray, " n"]
) -> Float[np.ndarray, "k k"]:
    """Sums the weights of the edges from each cluster to each."""
    clusters, codes = np.unique(labels, return_inverse=True)
    n, k = len(codes), len(clusters)
    members = csr_matrix((np.ones(n), (np.arange(n), codes)), shape=(n, k))
    return (members.T @ graph @ members).toarray()


def neighbor_graph(x: Float[np.ndarray, "n d"], neighbors: int) -> csr_matrix:
    """Weights each sample's nearest neighbors by exp(-distance^2 / (scale scale)).

    The scale of a sample is its distance to the last of its neighbors.

    Args:
      x: [n, d] samples.
      neighbors: of each sample, below n.

    Returns:
      A symmetric sparse matrix [n, n] of weights from 0 to 1.
    """
    from sklearn.neighbors import NearestNeighbors

    n, count = len(x), min(neighbors, len(x) - 1)
    distance, index = NearestNeighbors(n_neighbors=count).fit(x).kneighbors()
    scale = distance[:, -1] + 1e-12
    rows, columns = np.repeat(np.arange(n), count), index.ravel()
    weights = np.exp(-(distance.ravel() ** 2) / (scale[rows] * scale[columns]))
    graph = csr_matrix((weights, (rows, columns)), shape=(n, n))
    return graph.maximum(graph.T)
