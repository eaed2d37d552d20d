"""Agreement of several labelings of the same samples, without known classes.

pair_indices   labelings -> adjusted Rand index of each with each
supports       indices -> how much the others support each labeling
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_matrix, hstack

# Power of the adjusted Rand index in a labeling's support. On 33 small tables with known
# classes, each whole and as four random parts, powers of 3 to 6 chose labelings of a mean
# ACC of 0.899 to 0.900, a power of 1 of 0.882. `python -m benchmarks.quality` measures it.
POWER = 3


def pair_indices(
    labelings: Sequence[Int[np.ndarray, " n"]],
) -> Float[np.ndarray, "m m"]:
    """Computes the adjusted Rand index of each labeling with each (Hubert and Arabie, 1985).

    One product of the sparse matrix of samples and clusters with itself gives all tables of
    contingency.

    Args:
      labelings: m of them, integers from 0.

    Returns:
      [m, m] symmetric, in [-0.5, 1]; 1 with itself.

    Example:
      >>> pair_indices([np.array([0, 0, 1, 1]), np.array([1, 1, 0, 2])]).round(3).tolist()
      [[1.0, 0.571], [0.571, 1.0]]
    """
    m, n = len(labelings), len(labelings[0])
    rows, ones = np.arange(n), np.ones(n)
    widths = [int(labels.max()) + 1 for labels in labelings]
    members = [
        csr_matrix((ones, (rows, labels)), shape=(n, width))
        for labels, width in zip(labelings, widths, strict=True)
    ]
    joined = hstack(members, format="csr")
    counts = (joined.T @ joined).toarray()
    starts = np.concatenate([[0], np.cumsum(widths)])[:-1]
    choose_two = counts * (counts - 1) / 2
    together = np.add.reduceat(
        np.add.reduceat(choose_two, starts, axis=0), starts, axis=1
    )
    own, pairs = together.diagonal(), n * (n - 1) / 2
    chance = own[:, None] * own[None, :] / max(pairs, 1)
    span = (own[:, None] + own[None, :]) / 2 - chance
    # The span is 0 only if both labelings are one cluster, or both are all singletons.
    same = span <= 1e-12 * max(pairs, 1)
    found = np.where(same, 1.0, (together - chance) / np.where(same, 1.0, span))
    np.fill_diagonal(found, 1.0)
    return found.reshape(m, m)


def supports(pairs: Float[np.ndarray, "m m"]) -> Float[np.ndarray, " m"]:
    """Computes the support of each labeling among at least two.

    Args:
      pairs: from `pair_indices`.

    Returns:
      [m] the mean cube of the index with each of the others, those below 0 as 0.

    Example:
      >>> supports(np.array([[1, 0.5, 0], [0.5, 1, -0.1], [0, -0.1, 1]])).tolist()
      [0.0625, 0.0625, 0.0]
    """
    cubes = np.maximum(pairs, 0) ** POWER
    return (cubes.sum(axis=1) - 1) / (len(pairs) - 1)
