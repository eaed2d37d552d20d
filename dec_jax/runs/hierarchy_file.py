"""hierarchy.json: the tree over the clusters of a run."""

import sys
from pathlib import Path

import numpy as np

from dec_jax.clustering.hierarchy import Hierarchy, cluster_hierarchy
from dec_jax.data.dataset import Dataset
from dec_jax.evaluation.judge import method_space
from dec_jax.runs.errors import UsageError
from dec_jax.runs.fit import FitResult
from dec_jax.runs.json_files import read_checked, write_checked
from dec_jax.validation import one_line

HIERARCHY = "hierarchy.json"
AGAIN = "run dec-jax cluster again in a new folder"


def try_hierarchy(folder: Path, dataset: Dataset, result: FitResult) -> None:
    """Writes the tree over the clusters of a run; a failure costs one line.

    Args:
      folder: of the run.
      dataset: what was clustered.
      result: of `fit`; neighbors of images are looked for in the embedding that clustering
        started from, those of other data in the data as they are.
    """
    try:
        images = dataset.image_shape is not None
        x = np.asarray(result.start.z) if images else dataset.x
        space = method_space(x, by_direction=dataset.by_direction)
        tree = cluster_hierarchy(space, result.labels, result.q.shape[1])
        write_hierarchy(folder / HIERARCHY, tree)
    # The run is done and saved: whatever this raises must not take it back.
    except Exception as error:
        line = f"warning: {HIERARCHY} was not written: {one_line(error)}"
        print(line, file=sys.stderr)


def write_hierarchy(path: Path, tree: Hierarchy) -> None:
    """Writes a tree: its leaves with their samples, and its merges, the first one first."""
    k = len(tree.sizes)
    merges = [
        {
            "node": k + step,
            "children": pair.tolist(),
            "similarity": float(tree.similarity[step]),
            "height": float(tree.heights[step]),
        }
        for step, pair in enumerate(tree.merges)
    ]
    write_checked(path, {"sizes": tree.sizes.tolist(), "merges": merges})


def read_hierarchy(path: Path) -> Hierarchy:
    """Reads a tree.

    Raises:
      UsageError: the file is missing or damaged.
    """
    content = read_checked(path, AGAIN)
    try:
        sizes = np.array(content["sizes"], np.int64)
        pairs = [one["children"] for one in content["merges"]]
        merges = np.array(pairs, np.int64).reshape(len(pairs), 2)
        similarity = np.array([one["similarity"] for one in content["merges"]], float)
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path} is damaged; {AGAIN}.") from error
    k = len(sizes)
    made = k + np.arange(len(merges))[:, None]
    once = len(np.unique(merges)) == merges.size
    if len(merges) != k - 1 or not once or (merges >= made).any() or (merges < 0).any():
        raise UsageError(f"{path} is damaged; {AGAIN}.")
    return Hierarchy(merges, similarity, sizes)
