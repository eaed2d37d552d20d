"""k-means on pixels, k-means on an embedding, and DEC, on digits that none was fitted to.

Shaikh, `Introduction to Unsupervised Deep Learning <https://www.analyticsvidhya.com/blog/
2018/05/essentials-of-deep-learning-trudging-into-unsupervised-deep-learning/>`_, Analytics
Vidhya, 2018: 49,000 digits of MNIST, the three fitted to 70 % of them, NMI of the other
30 %: 0.498, 0.744 and 0.765.

    python -m experiments.compare --seeds 5                    # MNIST's first 49,000
    python -m experiments.compare --data digits/Images/train   # the article's own files

The seed of a run splits the data and starts all else. k-means gives a new digit to the
nearest of its centroids; DEC is saved as one file, which is loaded again to predict.
Labels score what is held out, and choose nothing. scikit-learn divided NMI by the
geometric mean of the entropies in 2018: that number stands beside the published one.
"""

import argparse
import contextlib
import dataclasses
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dec_jax.cli.options import PRECISIONS
from dec_jax.runs.compile_cache import keep_programs
from dec_jax.runs.errors import UsageError, check_least, exit_status

if TYPE_CHECKING:
    import jax
    import numpy as np

    from dec_jax.data.dataset import Dataset
    from dec_jax.recipes.dense import Recipe
    from dec_jax.runs.progress import Stop

PROGRAM = "python -m experiments.compare"
PIXELS, EMBEDDING = "k-means on pixels", "k-means on z"
PUBLISHED_NMI = (0.498, 0.744, 0.765)
ARTICLE_SAMPLES = 49_000
N_INIT = 20  # restarts of k-means on pixels
SCORES = ("acc", "nmi", "ari", "nmi_geometric")


def parser() -> argparse.ArgumentParser:
    """The options."""
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
    """Compares; returns the exit status: 0, 2 for a mistake, 130 for Ctrl-C."""
    settings = vars(parser().parse_args(arguments))
    stopped = "Stopped; seeds that had ended keep their results."
    return exit_status(lambda: run(settings), stopped)


def run(settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Every seed: split, fit, predict, score; returns what each results.json holds."""
    check_least(settings, limit=1, seeds=1, epochs=1, max_intervals=1)
    # Here and below only now, because they load jax.
    import jax
    from dec_jax.runs.runner import recipe_of

    from dec_jax.runs import folder as run_folder
    from dec_jax.runs import provenance
    from dec_jax.runs import summary as report
    from dec_jax.runs.progress import Stop, Stopped
    from dec_jax.validation import check_n_clusters

    try:
        # Needed only at the end, which is a bad time to miss them.
        import matplotlib  # noqa: F401
        import safetensors  # noqa: F401
        import sklearn  # noqa: F401

        dataset, available = load(settings)
        n_clusters = dataset.n_classes
        if n_clusters is None:
            raise UsageError(f"The data have no labels to score by: {dataset.source}.")
        n_fitted = len(split(len(dataset.x), settings["seed"])[0])
        check_n_clusters(n_clusters, n_fitted)
        recipe = recipe_of(settings, dataset, n_fitted, n_clusters)
    except (ValueError, TypeError, OSError, ImportError) as error:
        raise UsageError(str(error)) from error
    out = settings["out"] or f"runs/{dataset.name}-compare"
    folder = run_folder.prepare(Path(out), explicit=settings["out"] is not None)
    facts = {
        "recipe": "compare",
        "method": settings["recipe"],
        "dataset": dataset.name,
        "dataset_source": dataset.source,
        "dataset_sha256": dataset.sha256,
        "n_samples": len(dataset.x),
        "n_fitted": n_fitted,
        "n_clusters": n_clusters,
        "device": provenance.device(),
        "versions": provenance.versions(),
        "precision": settings["precision"],
        "commit": provenance.commit(),
    }
    run_folder.write_json(folder / "config.json", {"command": settings, **facts})
    print(
        f"dec_jax on {facts['device']}, jax {jax.__version__}\n"
        f"{dataset.name}: {len(dataset.x):,} of {available:,} samples of "
        f"{dataset.x.shape[1]} values ({dataset.source}); {n_fitted:,} to fit to, "
        f"{len(dataset.x) - n_fitted:,} held out; {n_clusters} clusters, recipe "
        f"{settings['recipe']}\nresults: {folder}"
    )
    results: list[dict[str, Any]] = []
    with Stop() as stop:
        try:
            for seed in range(settings["seed"], settings["seed"] + settings["seeds"]):
                inner = folder / f"seed-{seed}" if settings["seeds"] > 1 else folder
                inner.mkdir(exist_ok=True)
                print(f"\nseed {seed}")
                found = run_seed(dataset, recipe, n_clusters, seed, inner, stop)
                results.append({**facts, "seed": seed, **found})
                run_folder.write_json(inner / "results.json", results[-1])
                print(f"of the held-out part:\n{report.table(results[-1])}")
        except Stopped:
            raise KeyboardInterrupt from None
        except FloatingPointError as error:
            raise UsageError(str(error)) from error
    # Beside other data what is published would say nothing; --data keeps the default.
    is_article = settings["dataset"] == "mnist"
    summed = summary(results, PUBLISHED_NMI if is_article else None)
    if len(results) > 1:
        run_folder.write_json(folder / "summary.json", summed)
        print(report.spread(results))
    print(nmi_table(summed["stages"]))
    return results


# Data and settings.


def load(settings: dict[str, Any]) -> "tuple[Dataset, int]":
    """The samples to be used, and how many there were."""
    from dec_jax.data.load import load_dataset

    name: str = settings["dataset"]
    options: dict[str, Any] = {}
    if settings["data"] is not None:
        # With a slash at its end it is a folder, whatever it is called.
        name = os.path.join(settings["data"], "")
        # A train.csv in the folder is meant, even where some images have no row in it.
        own = Path(name, "train.csv")
        # In gray, as the article reads them.
        options["image_mode"] = "gray"
        options["labels_csv"] = own if own.is_file() else None
    dataset = load_dataset(name, settings["data_dir"], **options)
    available = len(dataset.x)
    limit = settings["limit"] or (ARTICLE_SAMPLES if name == "mnist" else available)
    if limit > available:
        raise UsageError(
            f"--limit must be at most {available:,}, the samples there are, got {limit:,}."
        )
    return part(dataset, range(limit)), available


def split(n_samples: int, seed: int) -> "tuple[np.ndarray, np.ndarray]":
    """Rows to fit to, 70 %, and rows held out, drawn by the seed."""
    import numpy as np

    rows = np.random.default_rng(seed).permutation(n_samples)
    n_fitted = n_samples * 7 // 10
    return rows[:n_fitted], rows[n_fitted:]


def part(dataset: "Dataset", rows: "np.ndarray | range") -> "Dataset":
    """The samples of some rows."""
    labels = None if dataset.labels is None else dataset.labels[rows]
    return dataclasses.replace(dataset, x=dataset.x[rows], labels=labels, names=None)


# One seed.


def run_seed(
    dataset: "Dataset",
    recipe: "Recipe",
    n_clusters: int,
    seed: int,
    folder: Path,
    stop: "Stop",
) -> dict[str, Any]:
    """Fits the three to one part of the data, and scores them on the other."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from dec_jax import model
    from dec_jax.clustering.spectral import cluster_means
    from dec_jax.recipes.recipe import clustering_start
    from dec_jax.runs import summary as report
    from dec_jax.runs.progress import best_k_means, labeled
    from dec_jax.training.cluster import train
    from dec_jax.training.layerwise import pretrain_layerwise, pretraining_stages
    from dec_jax.training.state import init_state

    fitted, held_out = (part(dataset, rows) for rows in split(len(dataset.x), seed))
    x = jnp.asarray(fitted.x)
    keys = jax.random.split(jax.random.key(seed), 4)
    pixel_key, pretrain_key, z_key, train_key = keys
    architecture, objective = recipe.architecture, recipe.objective
    seconds: dict[str, float] = {}

    with timed(PIXELS, seconds):
        on_pixels = best_k_means(
            pixel_key, x, n_clusters, n_init=N_INIT, title=PIXELS, stop=stop
        )
    epochs = [
        s.config.epochs for s in pretraining_stages(architecture, recipe.pretrain)
    ]
    with phase("pretraining", sum(epochs), "epoch", seconds, stop) as tick:
        params, losses = pretrain_layerwise(
            pretrain_key,
            x,
            architecture=architecture,
            config=recipe.pretrain,
            on_epoch=lambda _stage, _state, row: tick(f"loss {row.loss:.5f}"),
        )
    autoencoder = model.Model(params, architecture)
    with timed(EMBEDDING, seconds):
        z = model.transform(autoencoder, fitted)
        on_z = best_k_means(
            z_key, z, n_clusters, n_init=recipe.n_init, title=EMBEDDING, stop=stop
        )
    centroids, labels = on_z.centroids, on_z.labels
    if recipe.start != "k-means":
        with timed(recipe.start, seconds):
            key = jax.random.fold_in(z_key, 1)
            _, found = labeled(recipe.start, key, z, n_clusters, stop)
        labels = jnp.asarray(found)
        centroids = cluster_means(jnp.asarray(z), labels, n_clusters)
    intervals = recipe.train.max_intervals
    method: dict[str, Any] = {"objective": objective, "config": recipe.train}
    with phase("clustering", intervals, "interval", seconds, stop) as tick:
        result = train(
            init_state(
                train_key,
                *clustering_start(recipe, train_key, params, centroids),
                labels,
                **method,
            ),
            x,
            architecture=recipe.network,
            on_interval=lambda _state, rows: tick(
                f"labels changed {rows.label_change[-1]:.2%}"
            ),
            **method,
        )
    if not np.isfinite(result.q).all():
        raise FloatingPointError(f"Clustering failed: {result.stop_reason}.")
    path = model.save(
        folder / "model.safetensors",
        result.state.params,
        architecture=recipe.network,
        alpha=objective.alpha,
        metadata={**model.data_metadata(fitted), "seed": seed},
    )
    z = model.transform(autoencoder, held_out)
    predicted = {
        PIXELS: nearest(held_out.x, on_pixels.centroids),
        EMBEDDING: nearest(z, on_z.centroids),
        type(objective).__name__: model.predict(model.load(path), held_out),
    }
    classes = held_out.labels
    assert classes is not None  # `run` asked for them
    write_report(folder, classes, predicted)
    stages = [
        {"name": name, **report.scores(classes, labels, geometric=True)}
        # k-means is a phase of its own name.
        | {"seconds": seconds.get(name, seconds["clustering"])}
        for name, labels in predicted.items()
    ]
    return {
        "seconds": {**seconds, "total": sum(seconds.values())},
        "stages": stages,
        "n_iter": result.n_steps,
        "stop_reason": result.stop_reason,
        "pretraining_loss": float(np.asarray(losses[-1].loss)[-1]),
    }


@contextlib.contextmanager
def timed(title: str, seconds: dict[str, float]) -> Iterator[None]:
    """Notes how long a phase took."""
    start = time.monotonic()
    yield
    seconds[title] = time.monotonic() - start


@contextlib.contextmanager
def phase(
    title: str, total: int, unit: str, seconds: dict[str, float], stop: "Stop"
) -> Iterator[Callable]:
    """A bar, whose tick says if Ctrl-C was pressed; notes the time, leaves if it was."""
    from dec_jax.runs.progress import Stopped, bar_of

    with timed(title, seconds), bar_of(title, total, 0, unit) as bar:

        def tick(text: str) -> bool:
            bar.set_postfix_str(text, refresh=False)
            bar.update()
            return stop.asked

        yield tick
    if stop.asked:
        raise Stopped


def nearest(x: "np.ndarray", centroids: "jax.Array") -> "np.ndarray":
    """The nearest centroid of each sample."""
    import jax.numpy as jnp
    import numpy as np

    from dec_jax.clustering.assignment import squared_distances

    distances = squared_distances(jnp.asarray(x, jnp.float32), centroids)
    return np.asarray(distances.argmin(axis=1))


def write_report(
    folder: Path, labels_true: "np.ndarray", predicted: "dict[str, np.ndarray]"
) -> None:
    """report.txt, class by class, and confusion.png of the last method."""
    from dec_jax.evaluation.metrics import classification_report
    from dec_jax.plots.embedding import confusion_matrix

    texts = []
    for name, labels in predicted.items():
        texts.append(f"{name}\n\n{classification_report(labels_true, labels)}")
    (folder / "report.txt").write_text("\n\n".join(texts))
    figure = confusion_matrix(labels_true, labels)
    figure.savefig(folder / "confusion.png", dpi=120)


# All seeds.


def summary(
    results: list[dict[str, Any]], published: tuple[float, ...] | None
) -> dict[str, Any]:
    """The numbers of all seeds, in the form in which results are committed."""
    from dec_jax.runs import summary as report

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
    """NMI by the article's mean of entropies, beside what it published."""
    words = ("mean", "sd", "min", "max", "article")
    lines = [f"\n{'NMI, geometric':<25} " + "".join(f"{word:>8}" for word in words)]
    for name, stage in stages.items():
        values = *stage["spread"]["nmi_geometric"].values(), stage["published_nmi"]
        cells = ["-" if value is None else f"{value:.3f}" for value in values]
        lines.append(f"{name:<25} " + "".join(f"{cell:>8}" for cell in cells))
    return "\n".join(lines)


if __name__ == "__main__":
    keep_programs()
    sys.exit(main(sys.argv[1:]))
