"""Clusters two tables whose groups are known, and tells where clusters and groups differ.

    python -m experiments.known_groups
    python -m experiments.known_groups --table wine --out runs/wine

The tables are those of scikit-learn, written as CSV files with the names of their columns:
178 wines of three cultivars, and 569 tumors of the breast, benign or malignant. `dec-jax
cluster` never trains with the group; it is compared afterwards. Prints clusters against
groups, what sets each cluster apart, the rules that tell clusters apart, and whether the
rows that differ are the doubtful ones. Draws the two columns that tell most.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dec_jax.runs.errors import exit_status
from experiments.worked import check_command, new_parser, run_command

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

PROGRAM = "python -m experiments.known_groups"
# The column with the group in each table.
GROUPS = {"wine": "cultivar", "breast_cancer": "diagnosis"}
DOUBTFUL = 1 / 3  # rank within a cluster below which a row counts as doubtful


def parser() -> argparse.ArgumentParser:
    """Makes the parser of the options."""
    out = new_parser(PROGRAM, "Clusters two tables whose groups are known.")
    what = f"one of them alone: {' or '.join(GROUPS)}"
    out.add_argument("--table", choices=tuple(GROUPS), help=what)
    return out


def main(arguments: list[str]) -> int:
    """Clusters; returns the exit status."""
    options, further = parser().parse_known_args(arguments)
    return exit_status(
        lambda: run(vars(options), further), "Stopped before all tables were clustered."
    )


def run(options: dict[str, Any], further: list[str]) -> None:
    """Writes, clusters and compares each table."""
    check_command("cluster", "table.csv", *further)
    # Only now, because it loads jax.
    from dec_jax.runs.folder import prepare

    default = "runs/known-groups"
    out = prepare(Path(options["out"] or default), explicit=options["out"] is not None)
    for name in [options["table"]] if options["table"] else GROUPS:
        table, found = out / f"{name}.csv", out / f"{name}-run"
        k = write_table(name, table)
        given = ("--label-column", GROUPS[name], "--out", found)
        run_command("cluster", table, "-k", k, *given, *further)
        compare(table, GROUPS[name], found, out / f"{name}.webp")


def write_table(name: str, path: Path) -> int:
    """Writes a table of scikit-learn as CSV; returns the number of its groups."""
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")(as_frame=True)
    groups = bunch.target_names[bunch.target]
    bunch.data.assign(**{GROUPS[name]: groups}).to_csv(path, index=False)
    return len(bunch.target_names)


def compare(table: Path, column: str, found: Path, picture: Path) -> None:
    """Prints and draws what the clusters are, and how they differ from the groups.

    Args:
      table: the CSV file.
      column: of the groups in it.
      found: folder of the run.
      picture: the file to draw to.
    """
    import pandas as pd

    from dec_jax.data.load import load_dataset
    from dec_jax.report.content import readable_columns, rules, traits

    rows = pd.read_csv(found / "labels.csv")
    groups = pd.read_csv(table)[column]
    print(f"\nclusters and known groups\n{pd.crosstab(groups, rows['cluster'])}")
    print("\nwhat sets each cluster apart (clusters.csv)")
    for one in pd.read_csv(found / "clusters.csv").itertuples():
        print(f"cluster {one.cluster}, {one.size} rows: {one.content}")

    labels = rows["cluster"].to_numpy()
    columns = readable_columns(load_dataset(table, label_column=column))
    if tree := rules(columns, labels):
        print(f"\nrules that are right for {tree.share:.0%} of the rows\n{tree.text}")
    differ = differing(rows["cluster"], groups)
    doubtful = (rows["typical"] < DOUBTFUL)[differ].sum()
    print(
        f"\n{differ.sum()} of {len(rows)} rows are not of their cluster's commonest group; "
        f"{doubtful} of them are in the least typical third of their cluster"
    )
    # The first two columns that tell clusters apart.
    ranked = [traits(columns, labels, cluster) for cluster in set(labels.tolist())]
    titles = [own[0].title for own in ranked] + [trait.title for trait in ranked[0]]
    first, second = list(dict.fromkeys(titles))[:2]
    values = {one.title: one.values for one in columns}
    draw(values, (first, second), labels, differ.to_numpy(), picture)
    print(f"picture: {picture}")


def differing(clusters: "pd.Series", groups: "pd.Series") -> "pd.Series":
    """Marks the rows whose group is not the commonest one of their cluster."""
    commonest = groups.groupby(clusters).agg(lambda own: own.mode()[0])
    return groups != clusters.map(commonest)


def draw(
    values: "dict[str, np.ndarray]",
    titles: tuple[str, str],
    labels: "np.ndarray",
    differ: "np.ndarray",
    path: Path,
) -> None:
    """Draws two columns in the colors of the clusters, with a ring where groups differ."""
    from dec_jax.plots.embedding import COLORS, new_figure

    x, y = (values[title] for title in titles)
    figure = new_figure(6.4, 4.4)
    panel = figure.subplots()
    for cluster in set(labels.tolist()):
        own = labels == cluster
        name = f"cluster {cluster}"
        panel.scatter(x[own], y[own], s=18, color=COLORS[cluster], label=name)
    name = "other group than most of its cluster"
    panel.scatter(
        x[differ], y[differ], s=60, facecolors="none", edgecolors="black", label=name
    )
    panel.set(xlabel=titles[0], ylabel=titles[1])
    panel.legend(fontsize=8)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
