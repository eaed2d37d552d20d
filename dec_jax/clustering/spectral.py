"""Spectral clustering: cuts a graph of nearest neighbors into parts.

    neighbors              z -> a graph that connects each sample to its nearest neighbors
    leading_eigenvectors   graph -> the leading eigenvectors of its adjacency matrix
    partitions             graph, eigenvectors -> labels, several times
    choose_partition       the labels of the highest modularity, or close to it
    spectral_clustering    all three, over graphs of few and of many neighbors

It finds curved clusters, which k-means would split. No array of shape [n, n] exists, and all
computations run on the device. The result is a labeling of the training data; a network that
is trained from it (`train`) predicts new data.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from dec_jax.clustering.agreement import pair_indices, supports
from dec_jax.clustering.kmeans import k_means
from dec_jax.clustering.neighbors import (
    Graph,
    Neighbors,
    adjacency_product,
    nearest_neighbors,
    neighbor_graph,
    node_degrees,
)
from dec_jax.validation import check_n_clusters, check_positive_int

# Number of extra eigenvectors, without which the last requested one converges slowly.
SPARE = 4
# Degree of the polynomial, which is the number of products with the graph per iteration.
DEGREE = 20
# Difference of modularities that decides nothing, and rows on which partitions are compared.
EQUAL, MOST_COMPARED = 0.002, 10_000


class Spectrum(NamedTuple):
    """Leading eigenvectors of a graph's normalized adjacency matrix, largest first."""

    eigenvalues: Float[
        Array, " e"
    ]  # at most 1; one eigenvalue of 1 for each connected part
    eigenvectors: Float[Array, "n e"]


class _Ritz(NamedTuple):
    """Eigenvalues and eigenvectors of S = D^-1/2 W D^-1/2 on a subspace, and S times these."""

    values: Float[Array, " e"]
    vectors: Float[Array, "n e"]
    images: Float[Array, "n e"]
    rounds: Int[Array, ""]  # number of polynomials applied


class Partition(NamedTuple):
    """Labels of a graph's nodes, and their quality."""

    labels: Int[np.ndarray, " n"]  # int32
    normalized_cut: float  # in [0, k], lower is better
    modularity: float  # below 1, higher is better
    n_eigenvectors: int  # number of eigenvectors that the labels come from


def leading_eigenvectors(
    key: jax.Array,
    graph: Graph,
    n_components: int,
    *,
    tolerance: float = 1e-3,
    max_iter: int = 50,
) -> Spectrum:
    """Computes the largest eigenvalues of S = D^-1/2 W D^-1/2 and their eigenvectors.

    Subspace iteration with a Chebyshev polynomial of S in place of S. The polynomial damps
    eigenvectors whose eigenvalues are between -1 and the smallest one of the subspace:
    Zhou, Saad, Tiago and Chelikowsky, `Self-consistent-field calculations using Chebyshev-filtered subspace
    iteration <https://doi.org/10.1016/j.jcp.2006.03.017>`_, 2006.

    Args:
      key: a `jax.random.key`, which draws the first subspace.
      graph: W, from `neighbor_graph`.
      n_components: number of eigenvectors, from 1 to n.
      tolerance: largest norm of S u - lambda u. It bounds the error of lambda, which in
        practice is the square of the norm.
      max_iter: largest number of polynomials, at least 1.

    Returns:
      Eigenvalues and orthonormal eigenvectors.

    Raises:
      ValueError: `n_components` or `max_iter` is out of range.
    """
    check_positive_int("n_components", n_components)
    check_positive_int("max_iter", max_iter)
    n = len(graph.neighbors)
    if n_components > n:
        raise ValueError(f"n_components must be at most n = {n}, got {n_components}.")
    return _leading_eigenvectors(key, graph, tolerance, n_components, max_iter)


@partial(jax.jit, static_argnames=("n_components", "max_iter"))
def _leading_eigenvectors(
    key: jax.Array,
    graph: Graph,
    tolerance: float | Array,
    n_components: int,
    max_iter: int,
) -> Spectrum:
    n = len(graph.neighbors)
    root = jnp.sqrt(node_degrees(graph))[:, None]

    def apply(v: Float[Array, "n c"]) -> Float[Array, "n c"]:
        return adjacency_product(graph, v / root) / root

    # Rayleigh-Ritz: the eigenvectors of S that are best within the span of v.
    def within(v: Float[Array, "n c"], rounds: Int[Array, ""]) -> _Ritz:
        image = apply(v)
        small = jnp.matmul(v.T, image, precision="highest")
        values, turn = jnp.linalg.eigh((small + small.T) / 2)
        values, turn = values[::-1], turn[:, ::-1]
        v, image = (jnp.matmul(a, turn, precision="highest") for a in (v, image))
        return _Ritz(values, v, image, rounds)

    def unfinished(ritz: _Ritz) -> Array:
        error = jnp.linalg.norm(ritz.images - ritz.values[None] * ritz.vectors, axis=0)
        return (ritz.rounds < max_iter) & (error[:n_components].max() > tolerance)

    def filtered(ritz: _Ritz) -> _Ritz:
        values, v, image, rounds = ritz
        # Chebyshev polynomials are in [-1, 1] on [-1, 1], and grow fast beyond. Mapping
        # [-1, cut] to [-1, 1] therefore amplifies only eigenvectors above the cut.
        cut = jnp.maximum(values[-1], -0.9)
        middle, half = (cut - 1) / 2, (cut + 1) / 2

        # The recurrence T_j+1(t) = 2 t T_j(t) - T_j-1(t), with t = (S - middle) / half.
        def next_degree(_: Array, pair: tuple[Array, Array]) -> tuple[Array, Array]:
            before, last = pair
            return last, 2 * (apply(last) - middle * last) / half - before

        first = v, (image - middle * v) / half
        _, v = jax.lax.fori_loop(1, DEGREE, next_degree, first)
        # Scaled to length 1 for float32, because the leading columns have grown by far most.
        v, _ = jnp.linalg.qr(v / jnp.linalg.norm(v, axis=0, keepdims=True))
        return within(v, rounds + 1)

    start = jax.random.normal(key, (n, min(n_components + SPARE, n)))
    start, _ = jnp.linalg.qr(start)
    ritz = within(start, jnp.zeros((), jnp.int32))
    values, v, _, _ = jax.lax.while_loop(unfinished, filtered, ritz)
    return Spectrum(values[:n_components], v[:, :n_components])


def partitions(
    key: jax.Array,
    graph: Graph,
    spectrum: Spectrum,
    n_clusters: int,
    *,
    n_init: int = 10,
) -> list[Partition]:
    """Cuts a graph into clusters by k-means on the rows of its eigenvectors.

    Rows are scaled to length 1, as in Ng, Jordan and Weiss (2002). The best number of
    eigenvectors is not known beforehand. Up to eleven numbers from k to 2 k are tried, as
    far as the spectrum has them. Each partition is refined by moving nodes as long as that
    lowers its normalized cut (Shi and Malik, 2000; Dhillon, Guan and Kulis, 2007).

    Args:
      key: a `jax.random.key` for k-means.
      graph: graph from `neighbor_graph`, in which cuts and modularities are measured.
      spectrum: at least k components from `leading_eigenvectors`, of this graph or of
        another graph of the same samples.
      n_clusters: number of clusters k.
      n_init: number of restarts of each k-means.

    Returns:
      A partition for each number of eigenvectors, which `choose_partition` takes.

    Raises:
      ValueError: the spectrum has fewer than k components, or k is out of range.
    """
    vectors = spectrum.eigenvectors
    check_n_clusters(n_clusters, len(vectors))
    if vectors.shape[1] < n_clusters:
        raise ValueError(
            f"spectrum must have at least n_clusters = {n_clusters} components, got "
            f"{vectors.shape[1]}."
        )
    degrees = node_degrees(graph)
    most = min(2 * n_clusters, vectors.shape[1])
    found: list[Partition] = []
    for count in np.unique(np.linspace(n_clusters, most, 11).round().astype(int)):
        # Unused columns become 0, so that one compiled program fits all numbers.
        kept = jnp.arange(most)[None] < count
        rows = unit_rows(jnp.where(kept, vectors[:, :most], 0))
        labels = k_means(key, rows, n_clusters, n_init=n_init).labels
        labels, cut, modularity = _refined(graph, labels, degrees, n_clusters)
        found.append(
            Partition(np.asarray(labels), float(cut), float(modularity), int(count))
        )
    return found


def choose_partition(found: Sequence[Partition]) -> Partition:
    """Chooses the partition of the highest modularity, or one like it that others support.

    Modularity (Newman and Girvan, 2004) is measured on a sample: differences below 0.002 are
    noise. Among partitions that are so close to the highest, the one with the most support of
    all partitions is taken (`supports`). The lowest cut is a worse criterion: it often splits
    off a small piece, and leaves two clusters merged.

    Args:
      found: at least one, of the same graph, with the same number of clusters.

    Returns:
      One of them.

    Example:
      >>> halves, thirds = np.arange(6) // 3, np.arange(6) // 2
      >>> found = [Partition(halves, 0.2, 0.5000, 2), Partition(thirds, 0.3, 0.5001, 3)]
      >>> choose_partition([*found, Partition(1 - halves, 0.2, 0.4, 4)]).n_eigenvectors
      2
    """
    highest = max(one.modularity for one in found)
    close = [i for i, one in enumerate(found) if one.modularity >= highest - EQUAL]
    if len(close) == 1:
        return found[close[0]]
    n = len(found[0].labels)
    rows = np.linspace(0, n - 1, min(n, MOST_COMPARED)).astype(int)
    support = supports(pair_indices([one.labels[rows] for one in found]))
    return found[max(close, key=lambda i: support[i])]


def unit_rows(vectors: Float[Array, "n e"]) -> Float[Array, "n e"]:
    """Scales each row to length 1; a row of zeros stays as it is."""
    length = jnp.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / jnp.maximum(length, jnp.finfo(jnp.float32).tiny)


class _Volumes(NamedTuple):
    """Total weights of edges, by the labels of their ends."""

    toward: Float[Array, "n k"]  # from each node into each cluster
    inside: Float[Array, " k"]  # from each cluster into itself
    total: Float[Array, " k"]  # from each cluster to all nodes


def _volumes(
    graph: Graph, labels: Int[Array, " n"], degrees: Float[Array, " n"], k: int
) -> _Volumes:
    members = jax.nn.one_hot(labels, k)
    toward = adjacency_product(graph, members)
    inside = (toward * members).sum(axis=0)
    return _Volumes(toward, inside, (degrees[:, None] * members).sum(axis=0))


def _normalized_cut(volumes: _Volumes) -> Float[Array, ""]:
    """Sums the share of edges that leave each cluster; an empty cluster counts as 1."""
    total = jnp.maximum(volumes.total, jnp.finfo(jnp.float32).tiny)
    return (1 - volumes.inside / total).sum()


class _Refinement(NamedTuple):
    """State of the refinement of a labeling."""

    labels: Int[Array, " n"]
    volumes: _Volumes
    cut: Float[Array, ""]
    gain: Float[Array, ""]  # decrease of the cut by the last move
    moves: Int[Array, ""]  # number of moves


@partial(jax.jit, static_argnames="k")
def _refined(
    graph: Graph, labels: Int[Array, " n"], degrees: Float[Array, " n"], k: int
) -> tuple[Int[Array, " n"], Float[Array, ""], Float[Array, ""]]:
    """Moves nodes to the nearest cluster of weighted kernel k-means, as long as it helps."""

    def moved(volumes: _Volumes) -> Int[Array, " n"]:
        total = jnp.maximum(volumes.total, jnp.finfo(jnp.float32).tiny)
        near = 2 * volumes.toward / (degrees[:, None] * total[None])
        return (
            (near - (volumes.inside / total**2)[None]).argmax(axis=1).astype(jnp.int32)
        )

    def measured(labels: Int[Array, " n"]) -> tuple[_Volumes, Array]:
        volumes = _volumes(graph, labels, degrees, k)
        return volumes, _normalized_cut(volumes)

    def helps(now: _Refinement) -> Array:
        return (now.gain > 1e-4) & (now.moves < 50)

    def step(now: _Refinement) -> _Refinement:
        proposed = moved(now.volumes)
        volumes, cut = measured(proposed)
        # A cluster must not become empty, even if that lowers the cut.
        better = (cut < now.cut) & (volumes.total.min() > 0)
        labels, volumes, lower = jax.tree.map(
            partial(jnp.where, better),
            (proposed, volumes, cut),
            (now.labels, now.volumes, now.cut),
        )
        return _Refinement(labels, volumes, lower, now.cut - lower, now.moves + 1)

    start = _Refinement(
        labels, *measured(labels), jnp.ones(()), jnp.zeros((), jnp.int32)
    )
    labels, volumes, cut, *_ = jax.lax.while_loop(helps, step, start)
    share = volumes.total / volumes.total.sum()
    modularity = (volumes.inside / volumes.total.sum() - share**2).sum()
    return labels, cut, modularity


def cluster_means(
    z: Float[Array | np.ndarray, "n d"],
    labels: Int[Array | np.ndarray, " n"],
    n_clusters: int,
) -> Float[Array, "k d"]:
    """Computes the mean of each cluster, the centroids of a labeling.

    Args:
      z: embeddings.
      labels: cluster of each embedding, from 0 to k - 1.
      n_clusters: number of clusters k.

    Returns:
      The means; 0 for an empty cluster.

    Example:
      >>> cluster_means(np.array([[1.0], [3.0], [7.0]]), np.array([0, 0, 1]), 2).tolist()
      [[2.0], [7.0]]
    """
    members = jax.nn.one_hot(labels, n_clusters)
    sums = jnp.matmul(members.T, jnp.asarray(z), precision="highest")
    return sums / jnp.maximum(members.sum(axis=0), 1)[:, None]


def spectral_clustering(
    key: jax.Array,
    z: Num[Array, "n d"] | np.ndarray,
    n_clusters: int,
    *,
    n_neighbors: Sequence[int] = (5, 10, 20),
    on_step: Callable[[], object] | None = None,
) -> Partition:
    """Clusters embeddings by graphs of their nearest neighbors.

    Each graph proposes partitions, and the graph of the fewest neighbors judges them. That
    graph has the fewest edges between clusters. Its eigenvectors alone are not enough,
    because they separate small pieces of large data in place of clusters.

    Args:
      key: a `jax.random.key`.
      z: embeddings, [n, d] of any numeric dtype.
      n_clusters: number of clusters k, from 1 to n.
      n_neighbors: number of neighbors of a sample, for each graph. Numbers of n or more are
        reduced to n - 1.
      on_step: called three times: when the graphs, the eigenvectors and the partitions are
        computed.

    Returns:
      The labels and their quality.

    Raises:
      TypeError, ValueError: `z` is not finite numbers of shape [n, d], `n_neighbors` is
        empty, or k or a number of neighbors is out of range.

    Example:
      >>> z = np.arange(12, dtype=np.float32)[:, None]
      >>> z[6:] += 100
      >>> found = spectral_clustering(jax.random.key(0), z, 2, n_neighbors=[3])
      >>> sorted(np.bincount(found.labels).tolist())
      [6, 6]
    """
    check_n_clusters(n_clusters, len(z))
    if not n_neighbors:
        raise ValueError("n_neighbors must name at least one number, got none.")
    for size in n_neighbors:
        check_positive_int("n_neighbors", size)
    sizes = sorted({min(size, len(z) - 1) for size in n_neighbors})
    step = on_step or (lambda: None)
    # Neighbors are sorted: a graph of fewer neighbors takes the first columns.
    neighbors = nearest_neighbors(z, sizes[-1])
    graphs = [
        neighbor_graph(Neighbors(*(part[:, :size] for part in neighbors)))
        for size in sizes
    ]
    jax.block_until_ready(graphs)
    step()
    first, second = jax.random.split(key)
    spectra = [
        leading_eigenvectors(first, graph, min(2 * n_clusters, len(z)))
        for graph in graphs
    ]
    jax.block_until_ready(spectra)
    step()
    found = [
        one
        for spectrum in spectra
        for one in partitions(second, graphs[0], spectrum, n_clusters)
    ]
    step()
    return choose_partition(found)
