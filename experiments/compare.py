"""Compares k-means on pixels, k-means on an embedding, and DEC, on held-out digits.

Shaikh, `Introduction to Unsupervised Deep Learning <https://www.analyticsvidhya.com/blog/
2018/05/essentials-of-deep-learning-trudging-into-unsupervised-deep-learning/>`_, Analytics
Vidhya, 2018, took 49,000 digits of MNIST, fitted the three to 70 % of them, and reported
NMI of the other 30 %: 0.498, 0.744 and 0.765.

    python -m experiments.compare --seeds 5                    # MNIST's first 49,000
    python -m experiments.compare --data digits/Images/train   # the article's own files

The seed of a run splits the data and decides all other random numbers. k-means assigns a
new digit to the nearest of its centroids. DEC is saved as one file, which is loaded again
to predict. Classes score the held-out part, and choose nothing. In 2018 scikit-learn
divided NMI by the geometric mean of the entropies: that number is shown next to the
published one.
"""

import argparse
import os
import statistics
import sys
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from dec_jax import model, plots, squared_distances
from dec_jax.data.dataset import Dataset
from dec_jax.data.load import load_dataset
from dec_jax.evaluation.metrics import classification_report
from dec_jax.evaluation.stage_scores import class_scores
from dec_jax.recipes.names import PRECISIONS
from dec_jax.recipes.recipe import Recipe
from dec_jax.runs import summary as report
from dec_jax.runs.callbacks import Stage
from dec_jax.runs.choices import choose_recipe, number_of_clusters
from dec_jax.runs.errors import UsageError, check_least, exit_status, mistakes_of_use
from dec_jax.runs.experiment import (
    facts,
    open_folder,
    print_head,
    stoppable,
    take,
    take_first,
)
from dec_jax.runs.fit import place, run_phases
from dec_jax.runs.json_files import write_json
from dec_jax.runs.phases import Phases
from dec_jax.runs.run import BarsOnly
from dec_jax.runs.signals import Stop

PROGRAM = "python -m experiments.compare"
PUBLISHED_NMI = (0.498, 0.744, 0.765)
ARTICLE_SAMPLES = 49_000
RESTARTS = 20  # of k-means on pixels
SCORES = ("acc", "nmi", "ari", "nmi_geometric")


def parser() -> argparse.ArgumentParser:
    """Makes the parser of the options."""
    out = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Compares k-means on pixels, k-means on the embedding of an "
        "autoencoder, and DEC, on data that they were not fitted to.",
    )
    add = out.add_argument
    add("--recipe", metavar="NAME", default="dec", help="of DEC (default dec)")
    data = out.add_mutually_exclusive_group()
    what = "data set or file, with labels (default mnist)"
    data.add_argument("--dataset", metavar="NAME", default="mnist", help=what)
    what = "the article's files instead: a folder of PNGs, in it or above it train.csv"
    what = f"{what} with the columns filename and label"
    data.add_argument("--data", metavar="DIR", help=what)
    add("--data-dir", metavar="DIR", help="of data sets (default $DEC_JAX_DATA)")
    what = "take the first N samples (default: 49,000 of mnist, all of other data)"
    add("--limit", metavar="N", type=int, help=what)
    add("--seeds", metavar="N", type=int, default=1, help="how many (default 1)")
    add("--seed", metavar="S", type=int, default=0, help="the first one (default 0)")
    add("--epochs", metavar="N", type=int, help="pretrain for N epochs")
    add("--max-intervals", metavar="N", type=int, help="most intervals of clustering")
    what = "of matrix products: float32 (default), or bfloat16"
    add("--precision", choices=PRECISIONS, default="float32", help=what)
    add("--out", metavar="DIR", help="folder (default runs/<data set>-compare)")
    return out


def main(arguments: list[str]) -> int:
    """Compares; returns the exit status."""
    settings = vars(parser().parse_args(arguments))
    stopped = "Stopped; seeds that had ended keep their results."
    return exit_status(lambda: run(settings), stopped)


def run(settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Compares for each seed; returns the content of each results.json."""
    check_least(settings, limit=1, seeds=1, epochs=1, max_intervals=1)
    with mistakes_of_use("data_dir", "max_intervals"):
        dataset = load(settings)
        if dataset.labels is None:
            raise UsageError(f"The data have no labels to score by: {dataset.source}.")
        first = settings["seed"]
        seeds = range(first, first + settings["seeds"])
        fitted, held_out = split(dataset, first)
        k = number_of_clusters(dataset.n_classes, fitted)
        recipe = choose_recipe(
            settings["recipe"],
            fitted,
            k,
            epochs=settings["epochs"],
            max_intervals=settings["max_intervals"],
            precision=settings["precision"],
        )
    known = {
        "recipe": "compare",
        "method": settings["recipe"],
        **facts(dataset),
        "n_fitted": len(fitted.x),
        "n_clusters": k,
        "precision": settings["precision"],
    }
    default, config = f"runs/{dataset.name}-compare", {"command": settings, **known}
    folder = open_folder(settings["out"], default, config)
    task = f"{len(fitted.x):,} to fit to, {len(held_out.x):,} held out; {k} clusters"
    print_head(dataset, f"{task}, recipe {settings['recipe']}", folder)
    results = []
    with stoppable() as stop:
        for seed in seeds:
            inner = folder / f"seed-{seed}" if len(seeds) > 1 else folder
            inner.mkdir(exist_ok=True)
            print(f"\nseed {seed}")
            found = run_seed(dataset, recipe, k, seed, inner, stop)
            results.append({**known, "seed": seed, **found})
            write_json(inner / "results.json", results[-1])
            print(f"of the held-out part:\n{report.table(results[-1])}")
    # The published numbers are of MNIST; --data keeps the default.
    published = PUBLISHED_NMI if settings["dataset"] == "mnist" else None
    summed = summary(results, published)
    if len(results) > 1:
        write_json(folder / "summary.json", summed)
        print(report.over_seeds(results))
    print(nmi_table(summed["stages"]))
    return results


def load(settings: dict[str, Any]) -> Dataset:
    """Loads the samples to be used."""
    name, limit = settings["dataset"], settings["limit"]
    if settings["data"] is None:
        dataset = load_dataset(name, settings["data_dir"])
    else:
        # With a slash at its end it is a folder, whatever its name.
        name = os.path.join(settings["data"], "")
        # A train.csv in the folder is meant, even where some images have no row in it.
        own = Path(name, "train.csv")
        labels_csv = own if own.is_file() else None
        # In gray, as the article reads them.
        dataset = load_dataset(
            name, settings["data_dir"], image_mode="gray", labels_csv=labels_csv
        )
    return take_first(dataset, limit or (ARTICLE_SAMPLES if name == "mnist" else None))


def split(dataset: Dataset, seed: int) -> tuple[Dataset, Dataset]:
    """Draws the 70 % to fit to and the 30 % held out."""
    rows = np.random.default_rng(seed).permutation(len(dataset.x))
    n_fitted = len(rows) * 7 // 10
    return take(dataset, rows[:n_fitted]), take(dataset, rows[n_fitted:])


class Watched(BarsOnly):
    """Shows progress bars, and keeps the autoencoder and the centroids of each stage."""

    def __init__(self, stop: Stop) -> None:
        super().__init__(stop)
        self.params: Any = None
        self.centroids: dict[str, np.ndarray] = {}

    def on_pretrained(self, params: Any) -> None:
        """Keeps the parameters of the autoencoder."""
        self.params = params

    def on_stage(self, stage: Stage) -> None:
        """Keeps the centroids of k-means on x, of k-means on z, and of the end."""
        if stage.centroids is not None:
            self.centroids[stage.name] = stage.centroids


def run_seed(
    dataset: Dataset, recipe: Recipe, k: int, seed: int, folder: Path, stop: Stop
) -> dict[str, Any]:
    """Fits the three to one part of the data, and scores them on the other."""
    fitted, held_out = split(dataset, seed)
    watched = Watched(stop)
    phases = Phases(fitted, place(fitted.x, None), recipe, k, seed, watched)
    # As `fit` does, but always with all restarts.
    phases.baseline(RESTARTS)
    result = run_phases(phases, baseline=False)
    on_x, dec = result.stages[0]["name"], result.stages[-1]["name"]

    path = model.save(
        folder / "model.safetensors",
        result.model.params,
        architecture=result.model.architecture,
        alpha=result.model.alpha,
        metadata={**result.model.metadata, "seed": seed},
    )
    autoencoder = model.Model(watched.params, recipe.architecture)
    z = model.transform(autoencoder, held_out)
    predicted = {
        on_x: nearest(held_out.x, watched.centroids[on_x]),
        "k-means on z": nearest(z, watched.centroids["k-means on z"]),
        dec: model.predict(model.load(path), held_out),
    }
    classes = held_out.labels
    assert classes is not None  # `run` checks it.
    write_report(folder, classes, predicted)
    seconds = result.seconds
    stages = [
        {"name": name, **class_scores(classes, labels, geometric=True)}
        | {"seconds": seconds.get(name, seconds["clustering"])}
        for name, labels in predicted.items()
    ]
    return {
        "seconds": {**seconds, "total": sum(seconds.values())},
        "stages": stages,
        "n_iter": result.n_steps,
        "stop_reason": result.stop_reason,
        "pretraining_loss": result.pretraining_loss[-1],
    }


def nearest(x: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Finds the nearest centroid of each sample."""
    distances = squared_distances(jnp.asarray(x, jnp.float32), jnp.asarray(centroids))
    return np.asarray(distances.argmin(axis=1))


def write_report(
    folder: Path, classes: np.ndarray, predicted: dict[str, np.ndarray]
) -> None:
    """Writes report.txt, class by class, and confusion.png of the last method."""
    texts = [
        f"{name}\n\n{classification_report(classes, labels)}"
        for name, labels in predicted.items()
    ]
    (folder / "report.txt").write_text("\n\n".join(texts))
    last = list(predicted.values())[-1]
    figure = plots.confusion_matrix(classes, last)
    figure.savefig(folder / "confusion.png", dpi=120)


def summary(
    results: list[dict[str, Any]], published: tuple[float, ...] | None
) -> dict[str, Any]:
    """Joins the numbers of all seeds, in the form in which results are kept."""
    summed = report.summary(results)
    for index, stage in enumerate(summed["stages"].values()):
        rows = [result["stages"][index] for result in results]
        stage["nmi_geometric"] = [row["nmi_geometric"] for row in rows]
        stage["published_nmi"] = published and published[index]
        stage["spread"] = {name: spread([row[name] for row in rows]) for name in SCORES}
    return {**summed, "method": results[0]["method"]}


def spread(values: list[float]) -> dict[str, float | None]:
    """Mean, standard deviation (of several), least and most."""
    sd = statistics.stdev(values) if len(values) > 1 else None
    mean = statistics.fmean(values)
    return {"mean": mean, "sd": sd, "min": min(values), "max": max(values)}


def nmi_table(stages: dict[str, Any]) -> str:
    """Tables NMI by the article's mean of entropies, next to what it published."""
    words = ("mean", "sd", "min", "max", "article")
    lines = [f"\n{'NMI, geometric':<25} " + "".join(f"{word:>8}" for word in words)]
    for name, stage in stages.items():
        values = *stage["spread"]["nmi_geometric"].values(), stage["published_nmi"]
        cells = ["-" if value is None else f"{value:.3f}" for value in values]
        lines.append(f"{name:<25} " + "".join(f"{cell:>8}" for cell in cells))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
