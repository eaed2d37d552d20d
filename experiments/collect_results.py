"""Keeps the numbers of a finished run, and makes the tables of both READMEs.

python -m experiments.collect_results runs/mnist-dec    # keeps a run, of one seed or of several
python -m experiments.collect_results --add runs/more   # adds its seeds to those that are kept
python -m experiments.collect_results                   # makes the tables again
"""

import argparse
import json
import math
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

from dec_jax.evaluation.run_selection import HIGHER_IS_BETTER, rank_correlation
from dec_jax.runs import summary as report
from dec_jax.runs.errors import UsageError
from dec_jax.runs.phase_start import START_TITLES

HERE = Path(__file__).parent
KEPT = HERE / "results"
READMES = (HERE.parent / "README.md", HERE / "README.md")


def keep(run: Path, *, add: bool = False) -> Path:
    """Copies the numbers of a run, and its picture of the latent space, into `results/`.

    Args:
      run: folder of the run.
      add: its seeds join those that are kept of the same recipe and data, if any;
        otherwise they take their place.

    Returns:
      The file with the numbers.

    Raises:
      UsageError: the folder is not that of a finished run, or its seeds cannot join.
    """
    several = run / "summary.json"
    numbers = several if several.is_file() else run / "results.json"
    if not numbers.is_file():
        raise UsageError(
            "RUN must be the folder of a finished run, with a results.json or a "
            f"summary.json, got {run}."
        )
    found = json.loads(numbers.read_text())
    if "seed" in found and "stages" in found:
        found = report.summary([found])
    kind = f"autoencoder-{found['kind']}" if "kind" in found else found["recipe"]
    kind += f"-{found['start']}" if "start" in found else ""
    kind += f"-graph-{found['graph_rows']}" if "graph_rows" in found else ""
    kind += "-normalize" if "normalize" in found else ""
    kind += f"-reseed-{found['reseed_below']}" if "reseed_below" in found else ""
    target = KEPT / f"{found['dataset']}-{kind}.json"
    KEPT.mkdir(exist_ok=True)
    joined = add and target.is_file()
    if joined:
        found = with_seeds_of(json.loads(target.read_text()), found)
    target.write_text(json.dumps(found, indent=1) + "\n")
    if joined:
        return target
    picture = None
    if "seeds" in found:
        one = run / f"seed-{found['seeds'][0]}" if several.is_file() else run
        picture = one / "latent.png"
    if picture is not None and picture.is_file():
        shutil.copyfile(picture, target.with_name(f"{target.stem}-latent.png"))
    return target


def with_seeds_of(kept: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Joins the seeds of two runs of one recipe on the same data.

    Scores by which a seed is chosen compare the seeds of one run: they are left out.

    Raises:
      UsageError: a seed is in both, or something other than the seeds differs.
    """
    if "seeds" not in kept or "seeds" not in more:
        raise UsageError("--add joins runs of recipes, got one of another experiment.")
    twice = sorted(set(kept["seeds"]) & set(more["seeds"]))
    if twice:
        raise UsageError(
            f"--add needs seeds that are not kept yet, got {twice} again; keep the run "
            "without --add to replace them."
        )
    for name, of in {
        "samples": lambda run: run["n_samples"],
        "precision": lambda run: run["precision"],
        "jax": lambda run: run["versions"]["jax"],
        "stages": lambda run: ", ".join(run["stages"]),
    }.items():
        if of(kept) != of(more):
            raise UsageError(
                f"--add needs runs of the same {name}, got {of(more)} beside {of(kept)}."
            )
    alike = ("dataset", "recipe", "precision", "n_samples")
    joined = {name: kept[name] for name in (*alike, *report.CHANGES) if name in kept}
    versions = kept["versions"].items()
    joined["versions"] = {
        name: version
        for name, version in versions
        if more["versions"].get(name) == version
    }
    for name, between in (("commit", ", "), ("device", "; ")):
        found = between.join([kept[name], more[name]]).split(between)
        joined[name] = between.join(dict.fromkeys(found))
    seeds = kept["seeds"] + more["seeds"]

    def both(old: list[Any], new: list[Any]) -> list[Any]:
        return [value for _, value in sorted(zip(seeds, old + new, strict=True))]

    for name in ("seeds", *report.SCORES, "seconds"):
        joined[name] = both(kept[name], more[name])
    joined["stages"] = {
        stage: {name: both(old[name], more["stages"][stage][name]) for name in old}
        for stage, old in kept["stages"].items()
    }
    return joined


def seeds_of(kept: dict[str, Any]) -> str:
    """Names the seeds of a row: "0-4", "0, 2" or "2 only"."""
    seeds = kept["seeds"]
    if len(seeds) == 1:
        return f"{seeds[0]} only"
    if seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}-{seeds[-1]}"
    return ", ".join(map(str, seeds))


def mean_sd_range(values: list[float], scale: float = 100, digits: int = 1) -> str:
    """Mean, standard deviation, least and most, as one cell of the table."""
    if len(values) == 1:
        return f"{scale * values[0]:.{digits}f}"
    mean, sd = statistics.fmean(values), statistics.stdev(values)
    low, high = min(values), max(values)
    numbers = [f"{scale * value:.{digits}f}" for value in (mean, sd, low, high)]
    return "{} ± {} ({} to {})".format(*numbers)


# What was published for the method on the data, ACC / NMI in percent, and where.
PUBLISHED = {
    "mnist-dec": "84.3 / 80.0 (Xie et al. 2016); 91.2 / 86.9 (DEC-keras)",
    "mnist-best": "98.8 / 96.6 (ASPC-DA); 98.5 / 96.0 (ConvDEC-DA)",
    "mnist-dec-paper": "84.3 / 80.0 (Xie et al. 2016)",
    "mnist-dec-keras": "91.2 / 86.9 (DEC-keras, mean of 10)",
    "mnist-idec": "88.1 / 86.7 (Guo et al. 2017)",
    "mnist-dcn": "83 / 81 (Yang et al. 2017)",
    "mnist-vade": "94.5 (Jiang et al. 2017)",
    "mnist-dec-da": "98.5 / 95.7 (FcDEC-DA, Guo et al. 2018)",
    "mnist-idec-da": "98 (FcIDEC-DA, Guo et al. 2018)",
    "mnist-dec-da-conv": "98.5 / 96.0 (ConvDEC-DA)",
    "mnist-kld-conv": "85.9 / 82.5 (Aljalbout et al. 2018)",
    "mnist-kmeans-conv": "78.1 / 79.6 (Aljalbout et al. 2018)",
    "coil20-kld-conv": "76.2 / 84.8 (Aljalbout et al. 2018)",
    "coil20-kmeans-conv": "74.5 / 84.6 (Aljalbout et al. 2018)",
    "usps-dec": "76.3 / 78.7 (DEC-keras, mean of 10)",
    "usps-best": "98.7 / 96.2 (ConvDEC-DA); 95.8 / 90.1 (N2D)",
    "fashion_mnist-best": "67.2 / 68.4 (N2D)",
    "fashion_mnist-dec": "61.8 / 65.1 (DEC-keras, mean of 10)",
    "fashion_mnist-dec-spectral": "61.8 / 65.1 (DEC-keras, mean of 10)",
    "fashion_mnist-dec-normalize": "61.8 / 65.1 (DEC-keras, mean of 10)",
    "fashion_mnist-dec-keras": "61.8 / 65.1 (DEC-keras, mean of 10)",
    "coil20-best": "93 / 96.5 (ICA-BSS graph); NMI 100 (JULE)",
    "mnist-n2d": "97.9 / 94.2 (McConville et al. 2020)",
    "coil20-den": "72.5 / 87.0 (Huang et al. 2014)",
    "mnist-imsat": "98.4 (Hu et al. 2017)",
    "mnist-iic": "99.2, mean of five heads 98.4 (Ji et al. 2019)",
}


def kept_results() -> dict[str, dict[str, Any]]:
    """Reads all kept results, by file name without its ending, in order."""
    return {
        path.stem: json.loads(path.read_text()) for path in sorted(KEPT.glob("*.json"))
    }


def called(kept: dict[str, Any]) -> str:
    """Names the recipe, with the options that change it."""
    start = f" --start {kept['start']}" if "start" in kept else ""
    graph = f" --graph-rows {kept['graph_rows']}" if "graph_rows" in kept else ""
    normalize = " --normalize" if "normalize" in kept else ""
    reseed = f" --reseed-below {kept['reseed_below']}" if "reseed_below" in kept else ""
    return f"`{kept['recipe']}{start}{graph}{normalize}{reseed}`"


def device_of(kept: dict[str, Any]) -> str:
    """Names the device and, if not float32, the precision."""
    where = f"{kept['device']}, jax {kept['versions']['jax']}"
    precision = kept.get("precision", "float32")
    return where if precision == "float32" else f"{where}, {precision}"


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """Makes a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def recipes_table() -> str:
    """Tables a row for each recipe and data set."""
    head = ["data", "recipe", "published ACC / NMI %", "seeds", "ACC %", "NMI %"]
    head += ["ARI %", "k-means on z, ACC %", "minutes a seed", "device"]
    rows = [
        [
            kept["dataset"],
            called(kept),
            PUBLISHED.get(name, ""),
            seeds_of(kept),
            *(mean_sd_range(kept[score]) for score in ("acc", "nmi", "ari")),
            mean_sd_range(z["acc"])
            if (z := kept["stages"].get("k-means on z"))
            else "",
            mean_sd_range(kept["seconds"], 1 / 60),
            device_of(kept),
        ]
        for name, kept in kept_results().items()
        if "stages" in kept and kept.get("recipe") != "compare"
    ]
    return markdown(head, rows)


def best_table() -> str:
    """Tables a row for each data set that `best` clustered, next to k-means."""
    head = ["data", "samples", "k-means on pixels, ACC %", "`best`, ACC %", "NMI %"]
    rows = [
        [
            kept["dataset"],
            f"{kept['n_samples']:,}",
            mean_sd_range(next(iter(kept["stages"].values()))["acc"]),
            mean_sd_range(kept["acc"]),
            mean_sd_range(kept["nmi"]),
            mean_sd_range(kept["seconds"], 1 / 60),
        ]
        for kept in kept_results().values()
        if kept.get("recipe") == "best"
    ]
    return markdown([*head, "minutes"], rows)


def starts_table() -> str:
    """Tables a row for each run that starts from other labels than those of k-means."""
    head = ["data", "recipe", "start", "k-means on z, ACC %", "start, ACC %"]
    head += ["start, NMI %", "after training, ACC %"]
    rows = []
    for kept in kept_results().values():
        stages = kept.get("stages", {})
        for title in START_TITLES.values():
            if title in stages:
                start = stages[title]
                scores = [stages["k-means on z"]["acc"], start["acc"], start["nmi"]]
                cells = map(mean_sd_range, [*scores, kept["acc"]])
                rows.append([kept["dataset"], called(kept), title, *cells])
    return markdown(head, rows)


def choose_k_table() -> str:
    """Tables a row for each data set whose number of clusters was looked for."""
    head = ["data", "classes", "recommended k", "decided", "k of each view", "device"]
    rows = [
        [
            kept["dataset"],
            str(kept["n_classes"]),
            str(kept["recommended"]),
            "yes" if kept["decided"] else "no",
            ", ".join(
                f"{view} {kept['n_clusters'][kept[view].index(max(kept[view]))]}"
                for view in ("support", "eigengap", "silhouette")
            ),
            device_of(kept),
        ]
        for kept in kept_results().values()
        if "recommended" in kept
    ]
    return markdown(head, rows)


def compare_table() -> str:
    """Tables a row for each method of `compare.py`, scored on held-out samples."""
    head = ["data", "method", "published NMI", "NMI, geometric", "NMI", "ACC %"]
    rows = [
        [
            kept["dataset"],
            method,
            "" if stage["published_nmi"] is None else f"{stage['published_nmi']:.3f}",
            mean_sd_range(stage["nmi_geometric"], 1, 3),
            mean_sd_range(stage["nmi"], 1, 3),
            mean_sd_range(stage["acc"]),
            device_of(kept),
        ]
        for kept in kept_results().values()
        if kept.get("recipe") == "compare"
        for method, stage in kept["stages"].items()
    ]
    return markdown([*head, "device"], rows)


def autoencoders_table() -> str:
    """Tables a row for each autoencoder of `autoencoders.py`."""
    head = ["data", "kind", "validation loss", "validation MSE", "active share of z"]
    head += ["epochs (best)", "minutes", "device"]
    rows = [
        [
            kept["dataset"],
            kept["kind"],
            f"{kept['validation_loss']:.5g}",
            f"{kept['validation_mse']:.5f}",
            f"{kept['active_fraction']:.1%}" if "active_fraction" in kept else "",
            f"{kept['epochs']} ({kept['best_epoch']})",
            f"{kept['seconds'] / 60:.1f}",
            device_of(kept),
        ]
        for kept in kept_results().values()
        if "kind" in kept
    ]
    return markdown(head, rows)


def ranks_table() -> str:
    """Tables Spearman's correlation of each label-free score with ACC, over all seeds.

    Ranks are those within a run's own seeds, so that easy data do not stand out.
    """
    rows = []
    for score in HIGHER_IS_BETTER:
        found = [
            (value, acc, name)
            for name, kept in kept_results().items()
            if score in kept.get("label_free", ()) and None not in kept["acc"]
            for value, acc in zip(kept["label_free"][score], kept["acc"], strict=True)
            if value is not None
        ]
        values, accuracies, sets = zip(*found, strict=True) if found else ((), (), ())
        rho = rank_correlation(score, values, accuracies, sets=sets)
        shown = "" if math.isnan(rho) else f"{rho:.2f}"
        rows.append([f"`{score}`", shown, str(len(found)), str(len(set(sets)))])
    return markdown(["score", "Spearman's rho with ACC", "seeds", "runs"], rows)


# Each is in one of the READMEs.
TABLES = {
    "best": best_table,
    "recipes": recipes_table,
    "starts": starts_table,
    "ranks": ranks_table,
    "choose-k": choose_k_table,
    "compare": compare_table,
    "autoencoders": autoencoders_table,
}


def main(arguments: list[str]) -> int:
    """Keeps the runs that are named, then writes the tables; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.collect_results",
        description="Keeps the numbers of finished runs in experiments/results, and "
        "makes the tables of both READMEs again.",
    )
    parser.add_argument(
        "runs", metavar="RUN", type=Path, nargs="*", help="folder of a run"
    )
    parser.add_argument(
        "--add",
        action="store_true",
        help="add the seeds of the runs to those that are kept of the same recipe and "
        "data, instead of replacing them",
    )
    status = 0
    options = parser.parse_args(arguments)
    for run in options.runs:
        try:
            print(f"kept {keep(run, add=options.add)}")
        except UsageError as error:
            print(f"error: {error}", file=sys.stderr)
            status = 2
    for readme in READMES:
        text = readme.read_text()
        for name, table in TABLES.items():
            begin, end = (f"<!-- {name}: {edge} -->" for edge in ("begin", "end"))
            if begin in text:
                before, rest = text.split(begin)
                text = f"{before}{begin}\n{table()}\n{end}{rest.split(end)[1]}"
        readme.write_text(text)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
