"""The manifold step: clusters as parts of a graph of neighbors, not as balls around means.

    neighbors              z -> a graph that ties each sample to its nearest neighbors
    leading_eigenvectors   graph -> spectrum: its slowest diffusions
    partition              graph, spectrum -> labels, by their modularity
    spectral_clustering    all three, over graphs of few and of more neighbors

Nothing of the size n x n is held, and all of it runs on the device. A labeling of the
training data is all that it gives: what is trained from it (`train`) predicts new data.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

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

# Directions beside those asked for, which let the last of them converge.
SPARE = 4
# Products with the graph between two looks at the spectrum.
DEGREE = 20


class Spectrum(NamedTuple):
    """The leading eigenvectors of a graph's normalized adjacency, largest first."""

    eigenvalues: Float[Array, " e"]  # at most 1; as many ones as parts that are apart
    eigenvectors: Float[Array, "n e"]


class _Ritz(NamedTuple):
    """A subspace, its eigenvalues and eigenvectors, and S times those."""

    values: Float[Array, " e"]
    vectors: Float[Array, "n e"]
    images: Float[Array, "n e"]
    rounds: Int[Array, ""]  # polynomials applied


class Partition(NamedTuple):
    """A graph cut into clusters."""

    labels: Int[np.ndarray, " n"]  # int32
    normalized_cut: float  # in [0, k], lower is better
    modularity: float  # below 1, higher is better
    n_eigenvectors: int  # whose rows gave these labels


def leading_eigenvectors(
    key: jax.Array,
    graph: Graph,
    n_components: int,
    *,
    tolerance: float = 1e-3,
    max_iter: int = 50,
) -> Spectrum:
    """The largest eigenvalues of D^-1/2 W D^-1/2 and their eigenvectors.

    Subspace iteration with a Chebyshev polynomial of W in the place of W, which damps
    what lies between -1 and the least eigenvalue of the subspace: Zhou, Saad, Tiago and
    Chelikowsky, `Self-consistent-field calculations using Chebyshev-filtered subspace
    iteration <https://doi.org/10.1016/j.jcp.2006.03.017>`_, 2006.

    Args:
      key: a `jax.random.key`, of the first subspace.
      graph: from `neighbor_graph`.
      n_components: how many, from 1 to n.
      tolerance: largest norm of S u - lambda u; the error of lambda is at most that,
        and in practice its square.
      max_iter: most polynomials.

    Returns:
      Eigenvalues and orthonormal eigenvectors.

    Raises:
      ValueError: `n_components` or `max_iter` are out of their range.
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
        # The polynomial is small on [-1, cut] and grows beyond.
        cut = jnp.maximum(values[-1], -0.9)
        middle, half = (cut - 1) / 2, (cut + 1) / 2

        def next_degree(_: Array, pair: tuple[Array, Array]) -> tuple[Array, Array]:
            before, last = pair
            return last, 2 * (apply(last) - middle * last) / half - before

        first = v, (image - middle * v) / half
        _, v = jax.lax.fori_loop(1, DEGREE, next_degree, first)
        # Of one length, for float32: the first directions have grown by far the most.
        v, _ = jnp.linalg.qr(v / jnp.linalg.norm(v, axis=0, keepdims=True))
        return within(v, rounds + 1)

    start = jax.random.normal(key, (n, min(n_components + SPARE, n)))
    start, _ = jnp.linalg.qr(start)
    ritz = within(start, jnp.zeros((), jnp.int32))
    values, v, _, _ = jax.lax.while_loop(unfinished, filtered, ritz)
    return Spectrum(values[:n_components], v[:, :n_components])


def partition(
    key: jax.Array,
    graph: Graph,
    spectrum: Spectrum,
    n_clusters: int,
    *,
    n_init: int = 10,
) -> Partition:
    """Cuts a graph into clusters, through k-means on the rows of its eigenvectors.

    Rows of length 1, as of Ng, Jordan and Weiss (2002). How many eigenvectors tell the
    clusters apart is not known beforehand, k or some more: each number from k to 2 k
    that the spectrum has is tried (eleven of them at most). Each partition is refined by
    moving nodes as long as that lowers its normalized cut (Shi and Malik, 2000; Dhillon,
    Guan and Kulis, 2007), and the one of the highest modularity is taken (Newman and
    Girvan, 2004). The lowest cut would not do: one small piece torn off and two clusters
    left together often cut less.

    Args:
      key: a `jax.random.key`, of k-means.
      graph: from `neighbor_graph`; cuts and modularities are those in it.
      spectrum: from `leading_eigenvectors`, of k components or more, of this graph or
        of another one of the same samples.
      n_clusters: k.
      n_init: restarts of each k-means.

    Returns:
      The labels and how good a cut they are.

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
        # Columns of zeros, so that all numbers are one compiled program.
        kept = jnp.arange(most)[None] < count
        rows = unit_rows(jnp.where(kept, vectors[:, :most], 0))
        labels = k_means(key, rows, n_clusters, n_init=n_init).labels
        labels, cut, modularity = _refined(graph, labels, degrees, n_clusters)
        found.append(
            Partition(np.asarray(labels), float(cut), float(modularity), int(count))
        )
    return max(found, key=lambda one: one.modularity)


def unit_rows(vectors: Float[Array, "n e"]) -> Float[Array, "n e"]:
    """Each row scaled to length 1; a row of zeros stays one."""
    length = jnp.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / jnp.maximum(length, jnp.finfo(jnp.float32).tiny)


class _Volumes(NamedTuple):
    """What the edges say of a labeling."""

    toward: Float[Array, "n k"]  # of each node, into each cluster
    inside: Float[Array, " k"]  # of each cluster, into itself
    total: Float[Array, " k"]  # of each cluster, anywhere


def _volumes(
    graph: Graph, labels: Int[Array, " n"], degrees: Float[Array, " n"], k: int
) -> _Volumes:
    members = jax.nn.one_hot(labels, k)
    toward = adjacency_product(graph, members)
    inside = (toward * members).sum(axis=0)
    return _Volumes(toward, inside, (degrees[:, None] * members).sum(axis=0))


def _normalized_cut(volumes: _Volumes) -> Float[Array, ""]:
    """The share of its edges that leaves each cluster, summed; an empty one counts 1."""
    total = jnp.maximum(volumes.total, jnp.finfo(jnp.float32).tiny)
    return (1 - volumes.inside / total).sum()


class _Refinement(NamedTuple):
    """A labeling that is being refined."""

    labels: Int[Array, " n"]
    volumes: _Volumes
    cut: Float[Array, ""]
    gain: Float[Array, ""]  # of the last move
    moves: Int[Array, ""]


@partial(jax.jit, static_argnames="k")
def _refined(
    graph: Graph, labels: Int[Array, " n"], degrees: Float[Array, " n"], k: int
) -> tuple[Int[Array, " n"], Float[Array, ""], Float[Array, ""]]:
    """Moves nodes to the nearest cluster of weighted kernel k-means, while it helps."""

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
        # An empty cluster would cut less than one of a single sample.
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
    """The mean of each cluster: where a labeling puts the centroids.

    Args:
      z: embeddings.
      labels: cluster of each, from 0 to k - 1.
      n_clusters: k.

    Returns:
      The means; 0 for an empty cluster.
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
    """Clusters embeddings by graphs of their neighbors.

    Each graph proposes partitions, and the one of the fewest neighbors judges them: it
    has the fewest edges between clusters, but its eigenvectors are easily led astray
    where there are many samples.

    Args:
      key: a `jax.random.key`.
      z: embeddings.
      n_clusters: k.
      n_neighbors: edges of a sample in each graph, below n; the fewer of it and n - 1
        are taken.
      on_step: called once graphs, spectra and partitions are there, after each.

    Returns:
      The labels, and how good a cut they are.

    Raises:
      TypeError, ValueError: `z` is not finite numbers of shape [n, d], k or a number of
        neighbors is out of range, or there is no such number.
    """
    check_n_clusters(n_clusters, len(z))
    if not n_neighbors:
        raise ValueError("n_neighbors must name at least one number, got none.")
    for size in n_neighbors:
        check_positive_int("n_neighbors", size)
    sizes = sorted({min(size, len(z) - 1) for size in n_neighbors})
    step = on_step or (lambda: None)
    # Nearest first: what fewer neighbors would be is in front.
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
    found = [partition(second, graphs[0], spectrum, n_clusters) for spectrum in spectra]
    step()
    return max(found, key=lambda one: one.modularity)
