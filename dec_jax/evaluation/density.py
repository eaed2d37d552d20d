"""Scores of clusters without classes; DBCV and CVNN suit clusters of any shape."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from dec_jax.evaluation.label_free import silhouette
from dec_jax.evaluation.metrics import factorize
from dec_jax.validation import check_positive_int, check_samples

MOST_SAMPLES = 5_000  # of which distances of all pairs are computed
NEIGHBORS = 10  # of a sample in CVNN
SCORES = ("silhouette", "davies_bouldin", "calinski_harabasz", "dbcv", "cvnn")


def internal_scores(
    z: Float[np.ndarray, "n d"],
    labelings: Sequence[ArrayLike],
    *,
    max_samples: int = MOST_SAMPLES,
) -> list[dict[str, float]]:
    """Scores labelings of the same samples without classes.

    The Davies-Bouldin and the Calinski-Harabasz index are those of scikit-learn.

    Args:
      z: samples, in the space in which distances mean something.
      labelings: labels of the samples, each of shape [n]; any labels that sort.
      max_samples: largest number of samples of all but those two, drawn at random.

    Returns:
      For each labeling "silhouette", "davies_bouldin", "calinski_harabasz", "dbcv" and
      "cvnn"; NaN for a labeling of one cluster, or of none but single samples, and for the
      CVNN of a single labeling, which has none to be compared with.

    Raises:
      ValueError: a shape is wrong, or there is no labeling.

    Example:
      >>> z = np.array([[0.0], [1.0], [2.0], [40.0], [41.0], [42.0]])
      >>> scores = internal_scores(z, [[0, 0, 0, 1, 1, 1]])[0]
      >>> {name: round(value, 2) for name, value in scores.items()}["silhouette"]
      0.97
    """
    from sklearn.metrics import calinski_harabasz_score, davies_bouldin_score

    near = min(NEIGHBORS, len(z) - 1, max_samples - 1)
    compared = cvnn(z, labelings, n_neighbors=near, max_samples=max_samples)
    found = []
    for labels, index in zip(labelings, compared, strict=True):
        z64, codes = _checked(z, labels)
        if not 2 <= len(np.unique(codes)) < len(z64):
            found.append(dict.fromkeys(SCORES, np.nan))
            continue
        values = (
            silhouette(z64, codes, max_samples=max_samples),
            float(davies_bouldin_score(z64, codes)),
            float(calinski_harabasz_score(z64, codes)),
            dbcv(z64, codes, max_samples=max_samples),
            float(index) if len(labelings) > 1 else np.nan,
        )
        found.append(dict(zip(SCORES, values, strict=True)))
    return found


def dbcv(
    z: Float[np.ndarray, "n d"],
    labels: ArrayLike,
    *,
    max_samples: int = MOST_SAMPLES,
    seed: int = 0,
) -> float:
    """Density-based cluster validation (DBCV): gaps between clusters against gaps within.

    Moulavi, Jaskowiak, Campello, Zimek and Sander (2014), with Euclidean distances. The
    core distance of sample i of a cluster of m samples is (definition 1)

        a_i = (sum over the other samples j of (1 / d_ij)^d / (m - 1))^(-1 / d),

    and the mutual reachability of two samples max(a_i, a_j, d_ij) (definition 2). In the
    minimum spanning tree of a cluster's samples, those with two edges or more are
    internal; of edges of equal reachability the tree has the shortest. The sparseness S of a cluster is its largest edge between internal samples
    (definition 5), the separation G of two clusters the least mutual reachability of
    their internal samples (definition 6). The validity of a cluster, with the least G, is
    (G - S) / max(G, S) (definition 7), and the index is the mean over the samples
    (definition 8). Where no edge is between internal samples, all of them count; a cluster
    of one sample has validity 0.

    Args:
      z: samples, in the space in which distances mean something.
      labels: cluster of each sample, shape [n]; any labels that sort.
      max_samples: largest number of samples used, drawn at random; time and memory grow
        with its square.
      seed: of the random samples.

    Returns:
      A number in [-1, 1]; higher is better.

    Raises:
      ValueError: a shape is wrong, or the samples used are in one cluster.

    References:
      Moulavi, Jaskowiak, Campello, Zimek and Sander, `Density-Based Clustering Validation
      <https://doi.org/10.1137/1.9781611973440.96>`_, SDM 2014.

    Example:
      >>> z = np.array([[0.0], [1.0], [2.0], [3.0], [40.0], [41.0], [42.0], [43.0]])
      >>> round(dbcv(z, [0, 0, 0, 0, 1, 1, 1, 1]), 2)
      0.97
    """
    z, codes = _checked(z, labels)
    rows = _drawn(len(z), max_samples, seed)
    clusters, codes = np.unique(codes[rows], return_inverse=True)
    k = len(clusters)
    if k < 2:
        raise ValueError("dbcv needs at least 2 clusters in the samples used, got 1.")
    z = z[rows]
    members = [np.flatnonzero(codes == cluster) for cluster in range(k)]
    cores, internal, sparseness = [], [], np.zeros(k)
    for cluster, group in enumerate(members):
        core, nodes, sparseness[cluster] = _inside(z[group])
        cores.append(core[nodes])
        internal.append(z[group[nodes]])
    separation = np.full((k, k), np.inf)
    for i in range(k):
        for j in range(i):
            reach = np.maximum(distances(internal[i], internal[j]), cores[i][:, None])
            separation[i, j] = np.maximum(reach, cores[j][None]).min()
            separation[j, i] = separation[i, j]
    nearest = separation.min(axis=1)
    sizes = np.array([len(group) for group in members])
    widest = np.maximum(nearest, sparseness)
    valid = (sizes > 1) & (widest > 0)
    validity = np.where(valid, nearest - sparseness, 0) / np.where(valid, widest, 1)
    return float(validity @ sizes / len(z))


def _inside(
    z: Float[np.ndarray, "m d"],
) -> tuple[Float[np.ndarray, " m"], Int[np.ndarray, " i"], float]:
    """Core distances, internal samples and sparseness of one cluster."""
    m, width = z.shape
    if m == 1:
        return np.zeros(1), np.zeros(1, np.int64), 0.0
    apart = distances(z, z)
    core = _core_distances(apart, width)
    reach = np.maximum(apart, np.maximum(core[:, None], core[None]))
    ends, length = _spanning_tree(reach, apart)
    degrees = np.bincount(ends.ravel(), minlength=m)
    inner = (degrees[ends] > 1).all(axis=1)
    if not inner.any():
        return core, np.arange(m), float(length.max())
    return core, np.flatnonzero(degrees > 1), float(length[inner].max())


def _spanning_tree(
    reach: Float[np.ndarray, "m m"], apart: Float[np.ndarray, "m m"]
) -> tuple[Int[np.ndarray, "e 2"], Float[np.ndarray, " e"]]:
    """Finds the minimum spanning tree by Prim's algorithm; of equal edges, the shortest.

    A sample far from all others has many edges of its core distance, and the tree, with it
    the index, would depend on the order of the samples.
    """
    m = len(reach)
    ends, length = np.empty((m - 1, 2), np.int64), np.empty(m - 1)
    outside, parent = np.arange(1, m), np.zeros(m, np.int64)
    near, short = reach[0].copy(), apart[0].copy()
    for edge in range(m - 1):
        equal = outside[near[outside] == near[outside].min()]
        point = int(equal[short[equal].argmin()])
        ends[edge], length[edge] = (point, parent[point]), near[point]
        outside = outside[outside != point]
        closer = (reach[point] < near) | (
            (reach[point] == near) & (apart[point] < short)
        )
        closer = outside[closer[outside]]
        near[closer], short[closer] = reach[point, closer], apart[point, closer]
        parent[closer] = point
    return ends, length


def _core_distances(
    apart: Float[np.ndarray, "m m"], width: int
) -> Float[np.ndarray, " m"]:
    """Computes the all-points core distance of each sample, in log space."""
    from scipy.special import logsumexp

    with np.errstate(divide="ignore"):
        # The inverse of the distance to an equal sample is infinite, and the core 0.
        inverse = -width * np.log(apart)
    np.fill_diagonal(inverse, -np.inf)
    return np.exp(-(logsumexp(inverse, axis=1) - np.log(len(apart) - 1)) / width)


def cvnn(
    z: Float[np.ndarray, "n d"],
    labelings: Sequence[ArrayLike],
    *,
    n_neighbors: int = NEIGHBORS,
    max_samples: int = MOST_SAMPLES,
    seed: int = 0,
) -> Float[np.ndarray, " m"]:
    """Clustering validation by nearest neighbors (CVNN), of labelings compared.

    Liu, Li, Xiong, Gao, Wu and Wu (2013). The separation of a labeling is the largest
    mean, over the samples of a cluster, of the share of their nearest neighbors in other
    clusters; the compactness is the sum over the clusters of the mean distance of two
    samples. Each is divided by the largest of the labelings compared, and the index is
    their sum: it has a meaning only next to those of other labelings of the same samples.

    Args:
      z: samples, in the space in which distances mean something.
      labelings: labels of the samples, each of shape [n]; any labels that sort.
      n_neighbors: nearest neighbors of each sample, below the number of samples.
      max_samples: largest number of samples used, drawn at random; time grows with its
        square.
      seed: of the random samples.

    Returns:
      The index of each labeling, in [0, 2]; lower is better.

    Raises:
      ValueError: a shape is wrong, or there is no labeling.

    References:
      Liu, Li, Xiong, Gao, Wu and Wu, `Understanding and Enhancement of Internal Clustering
      Validation Measures <https://doi.org/10.1109/TSMCB.2012.2220543>`_, 2013.

    Example:
      >>> z = np.array([[0.0], [1.0], [2.0], [40.0], [41.0], [42.0]])
      >>> cvnn(z, [[0, 0, 0, 1, 1, 1], [0, 1, 0, 1, 0, 1]], n_neighbors=2).round(2).tolist()
      [0.05, 2.0]
    """
    from sklearn.neighbors import NearestNeighbors

    check_positive_int("n_neighbors", n_neighbors)
    if not len(labelings):
        raise ValueError("labelings must hold at least one, got none.")
    checked = [_checked(z, labels) for labels in labelings]
    rows = _drawn(len(z), max_samples, seed)
    z = checked[0][0][rows]
    if n_neighbors >= len(z):
        raise ValueError(
            f"n_neighbors must be below the {len(z)} samples used, got {n_neighbors}."
        )
    near = NearestNeighbors(n_neighbors=n_neighbors).fit(z)
    near = near.kneighbors(return_distance=False)
    parts = []
    for _, codes in checked:
        codes = codes[rows]
        outside = (codes[near] != codes[:, None]).mean(axis=1)
        sizes = np.bincount(codes)
        shares = np.bincount(codes, weights=outside)[sizes > 0] / sizes[sizes > 0]
        compact = sum(mean_distance(z[codes == code]) for code in np.unique(codes))
        parts.append((shares.max(), compact))
    largest = np.max(parts, axis=0)
    # Where all labelings have 0, none is worse than another.
    return (np.array(parts) / np.where(largest > 0, largest, 1)).sum(axis=1)


def mean_distance(z: Float[np.ndarray, "m d"]) -> float:
    """Averages the distance over the pairs of samples; 0 for a single one."""
    from scipy.spatial.distance import pdist

    return float(pdist(z).mean()) if len(z) > 1 else 0.0


def distances(
    a: Float[np.ndarray, "m d"], b: Float[np.ndarray, "n d"]
) -> Float[np.ndarray, "m n"]:
    """Computes the Euclidean distance of each row of a to each row of b."""
    from scipy.spatial.distance import cdist

    return cdist(a, b)


def _checked(
    z: Float[np.ndarray, "n d"], labels: ArrayLike
) -> tuple[Float[np.ndarray, "n d"], Int[np.ndarray, " n"]]:
    """Checks samples and their labels; returns float64, and the labels from 0 on."""
    check_samples(z, "z")
    codes = factorize("labels", labels)[1]
    if len(codes) != len(z):
        raise ValueError(
            f"labels must hold one for each of the {len(z)} rows of z, got {len(codes)}."
        )
    return np.asarray(z, np.float64), codes


def _drawn(n: int, most: int, seed: int) -> Int[np.ndarray, " m"]:
    """Draws at most so many rows at random, in their order."""
    check_positive_int("max_samples", most)
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).permutation(n)[:most])
