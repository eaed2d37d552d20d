"""Joins the clusters of a run to fewer, along the hierarchy that it found.

Writes one line a sample: its coarser cluster, and the cluster of the run (part).

    dec-jax cut runs/photos-best -k 4                # writes photos-best-4-clusters.csv
    dec-jax cut runs/photos-best -k 4 --out four.csv
"""

import argparse
from pathlib import Path

from dec_jax.cli.options import typed_path
from dec_jax.runs.errors import UsageError, mistakes_of_use
from dec_jax.validation import shown

HELP = "join the clusters of a run to fewer"
STOPPED_LINE = "Stopped; nothing was written."


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add = parser.add_argument
    add("run", metavar="RUN", type=typed_path, help="folder of a finished run")
    what = "number of coarser clusters"
    add("-k", "--n-clusters", metavar="K", type=int, required=True, help=what)
    what = "table to write, one that does not exist yet"
    add("--out", metavar="FILE", type=typed_path, help=what)


def run(options: argparse.Namespace) -> None:
    """Cuts the tree, writes the table, and prints which clusters were joined."""
    # Only now, because they load jax.
    import numpy as np

    from dec_jax.clustering.hierarchy import cut_hierarchy
    from dec_jax.runs.folder import LABELS, file_of_run
    from dec_jax.runs.hierarchy_file import HIERARCHY, read_hierarchy
    from dec_jax.runs.relabeled import read_rows, write_relabeled

    path = file_of_run(Path(options.run), HIERARCHY)
    if path.name != HIERARCHY or not path.is_file():
        raise UsageError(
            f"{options.run} must be the folder of a run, got no {HIERARCHY}."
        )
    default = f"{path.parent.resolve().name}-{options.n_clusters}-clusters.csv"
    out = Path(options.out or default)
    if out.exists():
        raise UsageError(f"{out} exists already; name another file by --out.")
    with mistakes_of_use("n_clusters"):
        tree = read_hierarchy(path)
        groups = cut_hierarchy(tree, options.n_clusters).tolist()
        rows = read_rows(path.with_name(LABELS), len(groups))
        parts = [int(row["cluster"]) for row in rows]
        columns = {"cluster": [groups[part] for part in parts], "part": parts}
        write_relabeled(out, rows, columns)
    for group in range(options.n_clusters):
        joined = [part for part, its in enumerate(groups) if its == group]
        count = int(np.sum(tree.sizes[joined]))
        named = ", ".join(map(str, joined))
        print(
            f"cluster {group}: {count:,} samples, of cluster{'s' * (len(joined) > 1)} {named}"
        )
    print(f"clusters of all samples: {shown(str(out))}")
