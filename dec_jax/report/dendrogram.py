"""The places of the lines and leaves of a dendrogram, which the template draws."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from dec_jax.clustering.hierarchy import Hierarchy

WIDTH = 560  # of the tree, from the root at the left to the leaves
ROW = 24  # between two leaves
MARGIN = 12


class Dendrogram(NamedTuple):
    """A tree as lines.

    Attributes:
      lines: of each merge, a path of SVG and the similarity of the two.
      leaves: of each cluster, its number and the y of its row, from the top.
      width, height: of the drawing, without the names of the leaves.
    """

    lines: list[tuple[str, float]]
    leaves: list[tuple[int, float]]
    width: int
    height: int


def dendrogram_of(tree: Hierarchy) -> Dendrogram:
    """Places a tree, with the leaves at the right in an order without crossings.

    Example:
      >>> tree = Hierarchy(np.array([[0, 2], [1, 3]]), np.array([1.0, 0.0]), np.full(3, 5))
      >>> dendrogram_of(tree).leaves
      [(1, 12.0), (0, 36.0), (2, 60.0)]
      >>> dendrogram_of(tree).lines[0][0]
      'M572,36H292V60H572'
    """
    k = len(tree.sizes)
    order = leaf_order(tree)
    y = np.zeros(2 * k - 1)
    y[order] = MARGIN + ROW * np.arange(k)
    x = MARGIN + WIDTH * (1 - np.concatenate([np.zeros(k), tree.heights]))
    lines = []
    for step, (a, b) in enumerate(tree.merges):
        node = k + step
        y[node] = (y[a] + y[b]) / 2
        path = f"M{x[a]:.4g},{y[a]:.4g}H{x[node]:.4g}V{y[b]:.4g}H{x[b]:.4g}"
        lines.append((path, float(tree.similarity[step])))
    leaves = [(int(leaf), float(y[leaf])) for leaf in order]
    return Dendrogram(lines, leaves, WIDTH + 2 * MARGIN, 2 * MARGIN + ROW * (k - 1))


def leaf_order(tree: Hierarchy) -> Int[np.ndarray, " k"]:
    """Orders the leaves so that each node's leaves are next to each other."""
    k = len(tree.sizes)
    below: dict[int, list[int]] = {leaf: [leaf] for leaf in range(k)}
    for step, (a, b) in enumerate(tree.merges):
        below[k + step] = below.pop(int(a)) + below.pop(int(b))
    return np.array(below[2 * k - 2], np.int64)
