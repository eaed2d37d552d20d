"""Rows that are odd: copies of other rows, and rows far away from all others."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Num
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from dec_jax.evaluation.judge import method_space

MOST_ROWS = 10_000  # whose distances are compared; the time grows with their square
MOST_VALUES = 50_000_000  # of these rows together; wide rows are fewer
NEIGHBOR = 5  # the neighbor whose distance tells how far a row is from all others
# Share of the median distance to the nearest neighbor below which rows are nearly equal.
NEARLY = 0.05
# Columns from which that is rare among rows that have nothing to do with each other.
FEWEST_COLUMNS = 4
# Quartile ranges above the upper quartile beyond which a distance is an outlier's.
FAR = 3.0
# It is also this many times the upper quartile: the rows of a lattice have no spread.
FARTHER = 1.5


class OddRows(NamedTuple):
    """Groups of equal or nearly equal rows, and rows far away from all others.

    Attributes:
      copies: [m] rows that have a copy, group by group.
      groups: [m] the number of the group of each, from 0.
      equal: [m] whether the row is equal to the first row of its group, value by value.
      outliers: [o] rows, the farthest first.
      distances: [o] of the outliers to their fifth neighbor.
      bound: the distance beyond which a row is an outlier.
      n_compared: number of rows whose distances were compared.
    """

    copies: Int[np.ndarray, " m"]
    groups: Int[np.ndarray, " m"]
    equal: np.ndarray
    outliers: Int[np.ndarray, " o"]
    distances: Float[np.ndarray, " o"]
    bound: float
    n_compared: int


def odd_rows(
    x: Num[np.ndarray, "n d"],
    z: Num[np.ndarray, "n e"],
    *,
    by_direction: bool = True,
) -> OddRows:
    """Finds copies of rows, and rows far away from all others.

    Rows that are equal value by value are found among all. Distances are compared in
    `method_space`, among all rows or 10,000 drawn at random: rows nearer than a twentieth
    of the median distance to the nearest other row are nearly equal (in 4 columns and
    more), and rows whose distance to the fifth neighbor lies more than three quartile
    ranges above the upper quartile, and is 1.5 times as large, are outliers.

    Args:
      x: samples.
      z: the same samples in the space in which distances mean something: an embedding
        of images, `x` itself for a table.
      by_direction: as in `method_space`.

    Returns:
      The rows, by number.

    Example:
      >>> x = np.random.default_rng(0).uniform(size=(50, 2))
      >>> x = np.concatenate([x, x[:1], [[9, 9]]])
      >>> found = odd_rows(x, x)
      >>> found.copies.tolist(), found.outliers.tolist()
      ([0, 50], [51])
    """
    n = len(x)
    first = first_equal(x)
    kept = np.unique(first)
    most = min(MOST_ROWS, max(100, MOST_VALUES // z.shape[1]))
    if len(kept) > most:
        drawn = np.random.default_rng(0).permutation(len(kept))[:most]
        kept = kept[np.sort(drawn)]
    pairs = [np.stack([np.arange(n), first], axis=1)]
    outliers, distances, bound = np.zeros(0, int), np.zeros(0), np.inf
    if len(kept) > NEIGHBOR:
        some = np.asarray(z[kept], np.float32)
        space = method_space(some, by_direction=by_direction)
        away, nearest = nearest_of(space)
        bound = outlier_bound(away[:, -1])
        order = np.argsort(-away[:, -1], kind="stable")
        order = order[away[order, -1] > bound]
        outliers, distances = kept[order], away[order, -1]
        if space.shape[1] >= FEWEST_COLUMNS:
            near = away[:, 0] < NEARLY * np.median(away[:, 0])
            pairs.append(np.stack([kept[near], kept[nearest[near, 0]]], axis=1))
    left, right = np.concatenate(pairs).T
    links = coo_matrix((np.ones(len(left)), (left, right)), shape=(n, n))
    groups = connected_components(links, directed=False)[1]
    several = np.flatnonzero(np.bincount(groups)[groups] > 1)
    copies = several[np.argsort(groups[several], kind="stable")]
    _, starts, numbers = np.unique(
        groups[copies], return_index=True, return_inverse=True
    )
    equal = first[copies] == first[copies[starts]][numbers]
    return OddRows(copies, numbers, equal, outliers, distances, float(bound), len(kept))


def first_equal(x: Num[np.ndarray, "n d"]) -> Int[np.ndarray, " n"]:
    """Finds the first row that is equal to each row, value by value.

    Example:
      >>> first_equal(np.array([[1, 2], [3, 4], [1, 2]])).tolist()
      [0, 1, 0]
    """
    seen: dict[bytes, int] = {}
    # 0.0 and -0.0 are equal, but for their bytes.
    rows = (np.ascontiguousarray(row + 0).tobytes() for row in x)
    return np.array([seen.setdefault(row, index) for index, row in enumerate(rows)])


def nearest_of(space: Float[np.ndarray, "m e"]) -> tuple[np.ndarray, np.ndarray]:
    """Finds distances and numbers of each row's nearest other rows, nearest first."""
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=NEIGHBOR).fit(space)
    # Without rows of its own, a search leaves each row itself out.
    return search.kneighbors()


def outlier_bound(distances: Float[np.ndarray, " m"]) -> float:
    """Computes the distance that lies far above the upper quartile of all."""
    low, high = np.percentile(distances, [25, 75])
    return float(max(high + FAR * (high - low), FARTHER * high))
