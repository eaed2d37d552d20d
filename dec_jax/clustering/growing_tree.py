"""A binary tree of clusters that grows by dividing leaves, and loses empty ones."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int

from dec_jax.clustering.hierarchy import Hierarchy


@dataclass
class GrowingTree:
    """A binary tree on the host, whose leaves lie in numbered slots of an array.

    Attributes:
      n_leaves: number of slots.
      slots: the slot of each leaf, by its number.
      children: the two children of each inner node, by its number; 0 is the first root.
      splits: for each inner node, the number of splits before its own.
    """

    n_leaves: int
    slots: dict[int, int] = field(default_factory=lambda: {0: 0})
    children: dict[int, tuple[int, int]] = field(default_factory=dict)
    splits: dict[int, int] = field(default_factory=dict)
    made: int = 1  # numbers given to nodes

    def grow(
        self, z: np.ndarray, centers: np.ndarray, rng: np.random.Generator
    ) -> tuple[list[int], np.ndarray] | None:
        """Divides the leaf of the largest sum of squared distances.

        Args:
          z: [n, e] of all samples.
          centers: [n_leaves, e] by slot.
          rng: of the starts of 2-means.

        Returns:
          The slots of the two new leaves, and their centers [2, e]; None if no leaf has two
          different samples.
        """
        from sklearn.cluster import KMeans

        leaves, labels, squares = self.nearest(z, centers)
        if len(leaves) == 1:
            squares = ((z - z.mean(axis=0)) ** 2).sum(axis=1)
        spread = np.bincount(labels, weights=squares, minlength=len(leaves))
        for place in np.argsort(-spread, kind="stable"):
            inside = z[labels == place]
            if len(inside) > 1 and (inside != inside[0]).any():
                break
        else:
            return None
        seed = int(rng.integers(2**31))
        halves = KMeans(2, n_init=20, random_state=seed).fit(inside)
        leaf = leaves[place]
        free = min(set(range(self.n_leaves)) - set(self.slots.values()))
        left, right = self.made, self.made + 1
        self.splits[leaf] = self.made // 2
        self.children[leaf] = (left, right)
        self.slots[left], self.slots[right] = self.slots.pop(leaf), free
        self.made += 2
        return [self.slots[left], free], halves.cluster_centers_

    def prune(self, alive: Bool[np.ndarray, " L"]) -> None:
        """Takes out the leaves whose slot is not alive; their siblings move up."""
        for slot in sorted(set(self.slots.values()) - set(np.flatnonzero(alive))):
            leaf = next(leaf for leaf, place in self.slots.items() if place == slot)
            parent = next(
                (up for up, both in self.children.items() if leaf in both), None
            )
            if parent is None:
                continue  # The root stays.
            pair = self.children.pop(parent)
            del self.slots[leaf], self.splits[parent]
            sibling = pair[pair[0] == leaf]
            # The sibling takes the number of its parent; what lies below it stays.
            if sibling in self.slots:
                self.slots[parent] = self.slots.pop(sibling)
            else:
                self.children[parent] = self.children.pop(sibling)
                self.splits[parent] = self.splits.pop(sibling)

    def arrays(self) -> tuple[Float[np.ndarray, "m L"], Int[np.ndarray, " m"]]:
        """Makes the arrays of `tree_losses`: the leaves below each node, and siblings."""
        members = np.zeros((2 * self.n_leaves - 2, self.n_leaves), np.float32)
        siblings = np.arange(len(members), dtype=np.int32)
        row = 0
        for pair in self.children.values():
            for place, node in enumerate(pair):
                members[
                    row + place, [self.slots[leaf] for leaf in self._below(node)]
                ] = 1
            siblings[row : row + 2] = row + 1, row
            row += 2
        return members, siblings

    def _below(self, node: int) -> list[int]:
        """Lists the leaves below a node."""
        if node in self.slots:
            return [node]
        return [leaf for child in self.children[node] for leaf in self._below(child)]

    def nearest(
        self, z: np.ndarray, centers: np.ndarray
    ) -> tuple[list[int], np.ndarray, np.ndarray]:
        """Finds the nearest leaf of each sample, as a place in the list of leaves."""
        from scipy.spatial.distance import cdist

        leaves = sorted(self.slots)
        apart = cdist(z, centers[[self.slots[leaf] for leaf in leaves]], "sqeuclidean")
        return leaves, apart.argmin(axis=1), apart.min(axis=1)

    def finished(
        self, z: np.ndarray, centers: np.ndarray
    ) -> tuple[Int[np.ndarray, " n"], Hierarchy, Float[np.ndarray, "k e"]]:
        """Prunes the leaves without samples, and numbers the others by size.

        Args:
          z: [n, e] of all samples.
          centers: [n_leaves, e] by slot.

        Returns:
          The leaf of each sample, int32; the tree, whose first merge takes back the last
          split; and the centers of the leaves.
        """
        leaves, labels, _ = self.nearest(z, centers)
        full = np.zeros(self.n_leaves, bool)
        full[[self.slots[leaves[place]] for place in np.unique(labels)]] = True
        self.prune(full)
        leaves, labels, _ = self.nearest(z, centers)
        sizes = np.bincount(labels, minlength=len(leaves))
        order = np.argsort(-sizes, kind="stable")
        number = {leaves[place]: rank for rank, place in enumerate(order)}
        merges: list[list[int]] = []
        for node in sorted(self.splits, key=lambda node: -self.splits[node]):
            number[node] = len(leaves) + len(merges)
            merges.append(sorted(number[child] for child in self.children[node]))
        hierarchy = Hierarchy(
            np.array(merges, np.int64).reshape(len(merges), 2),
            np.arange(len(merges), 0, -1.0) - 1,
            sizes[order].astype(np.int64),
        )
        slots = [self.slots[leaves[place]] for place in order]
        return np.argsort(order)[labels].astype(np.int32), hierarchy, centers[slots]
