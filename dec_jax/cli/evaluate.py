"""Scores a file of labels against known classes, another labeling, or the data.

LABELS and FILE are labels.csv of a run (or its folder), another table with a column of
labels, a .npy file, or a .txt file of one label a line. Samples are matched by a column
that names them in both, or else by their order.

    dec-jax evaluate runs/digits-best --truth classes.csv --column digit
    dec-jax evaluate runs/one --truth runs/other               # two runs compared
    dec-jax evaluate mine.txt --data table.csv                 # scores without classes
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dec_jax.cli.options import add_data_options, typed_path
from dec_jax.runs.compile_cache import check_programs
from dec_jax.runs.errors import UsageError, mistakes_of_use
from dec_jax.validation import shown

if TYPE_CHECKING:
    import numpy as np

    from dec_jax.data.label_files import LabelFile

HELP = "score labels against classes, other labels, or the data"
STOPPED_LINE = "Stopped before there was an answer."
MOST_CELLS = 25  # rows and columns of the confusion table
TITLES = {
    "acc": "ACC, clusters matched to classes",
    "nmi": "NMI, normalized mutual information",
    "ari": "ARI, adjusted Rand index",
    "ami": "AMI, adjusted mutual information",
    "homogeneity": "homogeneity",
    "completeness": "completeness",
    "v_measure": "V-measure",
    "fowlkes_mallows": "Fowlkes-Mallows index",
    "pair_precision": "precision of pairs",
    "pair_recall": "recall of pairs",
    "pair_f1": "F1 of pairs",
    "variation_of_information": "variation of information (nats, 0 is best)",
    "purity": "purity",
}
INTERNAL = {
    "silhouette": "silhouette (higher is better)",
    "davies_bouldin": "Davies-Bouldin (lower is better)",
    "calinski_harabasz": "Calinski-Harabasz (higher is better)",
    "dbcv": "DBCV (higher is better)",
    "cvnn": "CVNN (lower is better)",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add = parser.add_argument
    what = "file of labels, or the folder of a run"
    add("labels", metavar="LABELS", type=typed_path, help=what)
    what = "file with the known classes, or with other labels of the same samples"
    add("--truth", metavar="FILE", type=typed_path, help=what)
    what = "column of FILE with the labels (default: class, cluster or label)"
    add("--column", metavar="C", help=what)
    what = "the data that were clustered, for scores without classes"
    add("--data", metavar="FILE", type=typed_path, help=what)
    what = "column of the data to leave out, such as the classes"
    add("--label-column", metavar="NAME", help=what)
    add_data_options(parser)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Reads, scores and prints; returns the scores."""
    # Only now, because they load NumPy's and pandas' readers.
    from dec_jax.data.label_files import CLASSES, CLUSTERS, match_labels

    if options.truth is None and options.data is None:
        raise UsageError("--truth or --data must be given, got neither.")
    if options.truth is None and options.column is not None:
        raise UsageError("--column names a column of --truth, which is not given.")
    check_programs()
    scores: dict[str, Any] = {}
    # Nothing is printed before all was read and scored: a refusal is one line alone.
    told: list[str] = []
    with mistakes_of_use("column", "label_column", "data_dir"):
        first = read(options.labels, None, CLUSTERS)
        told.append(described("labels", options.labels, first))
        labelings = {"labels": first.labels}
        warning = ""
        if options.truth is not None:
            usual = (*CLASSES[:1], *CLUSTERS, *CLASSES[1:])
            second = read(options.truth, options.column, usual)
            matched = match_labels(first, second)
            told.append(described("truth", options.truth, second))
            told.append(matched_line(matched.by, matched.unused))
            # A file of labels alone has no names: its order is all that there is.
            if matched.unmatched and second.others:
                warning = shown(order_warning(matched.unmatched, first))
            labelings["truth"] = matched.truth
            scores |= agreement(matched.truth, first.labels, told)
            run = Path(options.labels)
            scores |= tree_purity(run, matched.truth, first.labels, told)
        if options.data is not None:
            x = samples(options, first)
            order = first.order()
            ordered = {name: labels[order] for name, labels in labelings.items()}
            scores["data"] = internal(x, ordered, told)
    if warning:
        print(warning, file=sys.stderr)
    print("\n".join(told))
    return scores


def read(name: str, column: str | None, usual: tuple[str, ...]) -> "LabelFile":
    """Reads a file of labels, or labels.csv of the folder of a run."""
    from dec_jax.data.label_files import read_labels

    path = Path(name)
    if path.is_dir():
        # Only now, because it loads jax.
        from dec_jax.runs.folder import LABELS, file_of_run

        path = file_of_run(path, LABELS)
    return read_labels(path, column=column, usual=usual)


def described(title: str, name: str, found: "LabelFile") -> str:
    """Describes a file of labels in a line."""
    import numpy as np

    of = f", column {found.column}" if found.column else ""
    groups, n = len(np.unique(found.labels)), len(found.labels)
    return shown(f"{title:<7} {name}{of}: {n:,} samples, {groups:,} different labels")


def matched_line(by: str, unused: int) -> str:
    """Tells how the samples of two files were matched."""
    how = f"by column {by}" if by else "by their order"
    rest = f"; {unused:,} of truth are not among the labels" if unused else ""
    return shown(f"matched {how}{rest}")


def order_warning(column: str, labels: "LabelFile") -> str:
    """Warns that samples of two files may not belong together."""
    only = "LABELS" if column in labels.others else "FILE of --truth"
    text = (
        f"warning: only {only} has the column {column}, which could name the samples: the "
        "rows of both must be in one order."
    )
    if column in labels.others:
        return text
    return (
        f"{text} A run keeps such a column with dec-jax cluster --id-column {column}."
    )


def agreement(
    truth: "np.ndarray", labels: "np.ndarray", told: list[str]
) -> dict[str, Any]:
    """Tells the scores against the truth, and the confusion table."""
    import numpy as np

    from dec_jax.evaluation.comparison import compare_labels
    from dec_jax.evaluation.metrics import confusion_table

    found = compare_labels(truth, labels)._asdict()
    told += ["", *(f"{TITLES[name]:<44}{it:9.4f}" for name, it in found.items())]
    sides = len(np.unique(truth)), len(np.unique(labels))
    if max(sides) > MOST_CELLS:
        text = (
            f"{sides[0]:,} x {sides[1]:,} cells, more than {MOST_CELLS} x {MOST_CELLS}"
        )
        told += ["", f"no confusion table of {text}"]
        return found
    table = confusion_table(truth, labels)
    told += ["", confusion_text(table.index, table.columns, table.to_numpy())]
    return found


def tree_purity(
    path: Path, truth: "np.ndarray", labels: "np.ndarray", told: list[str]
) -> dict[str, float]:
    """Tells the purity of the hierarchy of a run, if LABELS is a run that has one."""
    if not path.is_dir():
        return {}
    from dec_jax.evaluation.tree_purity import dendrogram_purity
    from dec_jax.runs.folder import LABELS, file_of_run
    from dec_jax.runs.hierarchy_file import HIERARCHY, read_hierarchy

    file = file_of_run(path, LABELS).with_name(HIERARCHY)
    if not file.is_file():
        return {}
    purity = dendrogram_purity(truth, labels, read_hierarchy(file))
    title = "dendrogram purity (leaves: the purity above)"
    told += ["", f"{title:<44}{purity:9.4f}"]
    return {"dendrogram_purity": purity}


def confusion_text(classes: Any, clusters: Any, counts: "np.ndarray") -> str:
    """Formats a confusion table, matched cells on the diagonal."""
    names = [shown(str(name))[:16] for name in classes]
    heads = [shown(str(name))[:12] for name in clusters]
    width = max(len("truth \\ labels"), *map(len, names))
    widths = [
        max(len(head), *(len(f"{count:,}") for count in column)) + 2
        for head, column in zip(heads, counts.T, strict=True)
    ]
    lines = [
        f"{name:<{width}}"
        + "".join(f"{cell:>{wide}}" for cell, wide in zip(cells, widths, strict=True))
        for name, cells in [
            ("truth \\ labels", heads),
            *zip(names, [[f"{it:,}" for it in row] for row in counts], strict=True),
        ]
    ]
    return "\n".join(lines)


def samples(options: argparse.Namespace, first: "LabelFile") -> "np.ndarray":
    """Loads the data, of which there must be a sample for each label."""
    from dec_jax.data.load import load_dataset

    dataset = load_dataset(
        options.data, options.data_dir, label_column=options.label_column
    )
    if len(dataset.x) != len(first.labels):
        raise UsageError(
            f"--data {options.data} must have a sample for each of the "
            f"{len(first.labels):,} labels, got {len(dataset.x):,}."
        )
    return dataset.x


def internal(
    x: "np.ndarray", labelings: dict[str, "np.ndarray"], told: list[str]
) -> dict[str, Any]:
    """Tells the scores without classes of each labeling."""
    from dec_jax.evaluation.density import internal_scores

    found = internal_scores(x, list(labelings.values()))
    told += ["", f"{'in the data':<44}" + "".join(f"{it:>12}" for it in labelings)]
    for name, title in INTERNAL.items():
        if name == "cvnn" and len(found) == 1:
            told.append("CVNN compares labelings: it needs --truth")
            continue
        told.append(f"{title:<44}" + "".join(f"{it[name]:12.4f}" for it in found))
    return dict(zip(labelings, found, strict=True))
