"""Compares methods with those of ClustPy, side by side: `python -m benchmarks.methods digits`.

Both get the same samples, network (d-500-500-2000-10), batches of 256, and epochs of
pretraining and of clustering, which no tolerance ends early. Learning rates and weights of
losses are each library's own, because they are tuned to its own losses. Samples are not
augmented. Both start from k-means on z, and each seed is a run of its own, the two
libraries in turn. A first run of one epoch, which compiles, is not counted. The peer is
missing where ClustPy is not installed (`pip install clustpy`).

"""

import argparse
import contextlib
import io
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.quality import datasets, new_parser, save_rows
from dec_jax.data.dataset import Dataset
from dec_jax.evaluation.metrics import clustering_accuracy
from dec_jax.networks.architecture import dense_architecture
from dec_jax.parallel.hardware import device_name
from dec_jax.recipes.adjust import adjust_recipe
from dec_jax.recipes.dense import DataShape, make_recipe
from dec_jax.runs.errors import check_least, exit_status
from dec_jax.runs.fit import fit
from dec_jax.training.augmentation import Augmentation
from dec_jax.training.minibatches import steps_per_epoch

BATCH = 256
HIDDEN, EMBEDDING = (500, 500, 2000), 10
# Our recipe, and the class of ClustPy.
METHODS = {"dec": "DEC", "idec": "IDEC", "dcn": "DCN", "dkm": "DKM", "aec": "AEC"}
PAGE = Path(__file__).parents[1] / "docs" / "reproducing.md"
BEGIN, END = "<!-- methods: begin -->", "<!-- methods: end -->"
SAVED = "methods-cpu"  # the saved results that the page shows


class Work(NamedTuple):
    """The amount of work, which is the same for both libraries."""

    epochs: int
    clustering_epochs: int


Program = Callable[[np.ndarray, int, Work, int], np.ndarray]


def ours(name: str) -> Program:
    """Makes a function that clusters samples [n, d] by a recipe of this library."""

    def run(x: np.ndarray, k: int, work: Work, seed: int) -> np.ndarray:
        shape = DataShape(len(x), x.shape[1], input_scale=1.0, n_clusters=k)
        network = dense_architecture(
            x.shape[1], hidden=HIDDEN, embedding_dim=EMBEDDING, input_scale=1.0
        )
        recipe = adjust_recipe(
            make_recipe(name, shape, network),
            epochs=work.epochs,
            max_intervals=work.clustering_epochs,
            batch_size=BATCH,
            precision="float32",
        )
        train = replace(
            recipe.train,
            update_interval=steps_per_epoch(len(x), BATCH),
            tolerance=0.0,
            augmentation=Augmentation(),
        )
        recipe = replace(recipe, train=train)
        return fit(
            x, k, recipe=recipe, seed=seed, standardize=False, baseline=False
        ).labels

    return run


def clustpy(name: str) -> Program | None:
    """Makes a function that clusters by a class of ClustPy; None where it is missing."""
    try:
        import torch
        from clustpy import deep
        from clustpy.deep.neural_networks import FeedforwardAutoencoder
    except ImportError:
        return None

    def run(x: np.ndarray, k: int, work: Work, seed: int) -> np.ndarray:
        torch.manual_seed(seed)
        network = FeedforwardAutoencoder(
            [x.shape[1], *HIDDEN, EMBEDDING],
            activation_fn=torch.nn.ReLU,
            random_state=seed,
        )
        method = getattr(deep, name)(
            k,
            batch_size=BATCH,
            neural_network=network,
            pretrain_epochs=work.epochs,
            clustering_epochs=work.clustering_epochs,
            device=torch.device("cpu"),
            random_state=seed,
        )
        # ClustPy prints messages and progress bars.
        nowhere = io.StringIO()
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            method.fit(x)
        # DEC and IDEC also have labels of a later k-means, which are not the method's.
        return getattr(method, "dec_labels_", method.labels_)

    return run


def unit_range(dataset: Dataset) -> np.ndarray:
    """Returns the samples as rows [n, d] of float32, bytes and pixels from 0 to 1."""
    x = dataset.x.reshape(len(dataset.x), -1).astype(np.float32)
    return x * np.float32(dataset.input_scale)


def measure(dataset: Dataset, name: str, work: Work, seeds: int) -> dict[str, Any]:
    """Runs one method of both libraries in turn, and scores them."""
    assert dataset.labels is not None
    x, k = unit_range(dataset), len(np.unique(dataset.labels))
    found = {"ours": ours(name), "peer": clustpy(METHODS[name])}
    programs = {who: run for who, run in found.items() if run is not None}
    for run in programs.values():
        run(x, k, Work(1, 1), 0)
    row: dict[str, Any] = {
        "dataset": dataset.name,
        "n_samples": len(x),
        "method": name,
        **work._asdict(),
    }
    acc: dict[str, list[float]] = {who: [] for who in programs}
    seconds: dict[str, list[float]] = {who: [] for who in programs}
    for seed in range(seeds):
        for who, run in programs.items():
            start = time.perf_counter()
            labels = run(x, k, work, seed)
            seconds[who].append(time.perf_counter() - start)
            acc[who].append(clustering_accuracy(dataset.labels, labels))
    return {**row, "acc": acc, "seconds": seconds}


def spread(scores: list[float] | None) -> str:
    """Scores in % as mean, standard deviation, least and most."""
    if not scores:
        return "-"
    acc = 100 * np.array(scores)
    sd = acc.std(ddof=1) if len(acc) > 1 else 0.0
    return f"{acc.mean():.1f} ± {sd:.1f} ({acc.min():.1f} to {acc.max():.1f})"


def markdown(rows: list[dict[str, Any]]) -> str:
    """The rows as a table for a page; the ratio is the median over the seeds."""
    heads = ["data", "method", "ACC %, ours", "ACC %, ClustPy"]
    heads += ["seconds, ours", "seconds, ClustPy", "ratio"]
    lines = [f"| {' | '.join(heads)} |", f"| {' | '.join(['---'] * len(heads))} |"]
    for row in rows:
        own, peer = (np.array(row["seconds"].get(it, [])) for it in ("ours", "peer"))
        cells = [f"{row['dataset']} ({row['n_samples']:,})", f"`{row['method']}`"]
        cells += [spread(row["acc"].get(it)) for it in ("ours", "peer")]
        cells += [f"{np.median(it):.1f}" if len(it) else "-" for it in (own, peer)]
        cells += [f"{np.median(peer / own):.2f}" if len(peer) else "-"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def run(options: argparse.Namespace) -> None:
    """Measures, prints and saves."""
    check_least(vars(options), epochs=1, clustering_epochs=1, seeds=1)
    work = Work(options.epochs, options.clustering_epochs)
    print(f"methods on {device_name()}, float32, {work.epochs} epochs of pretraining")
    rows = []
    for dataset in datasets(options.datasets or ["digits"]):
        for name in options.methods:
            rows.append(measure(dataset, name, work, options.seeds))
            print(markdown(rows[-1:]).splitlines()[-1], flush=True)
            # A run that is stopped leaves the rows that it has.
            if options.save:
                save(options.save, rows, work)


def save(name: str, rows: list[dict[str, Any]], work: Work) -> None:
    """Writes the rows to benchmarks/results, and the table into its page."""
    facts = save_rows(name, rows)
    if name == SAVED:
        counts = f"{work.epochs} and {work.clustering_epochs} epochs"
        text = f"On {facts['device']}, {counts}:\n\n{markdown(rows)}"
        page = PAGE.read_text()
        head, tail = page.split(BEGIN)[0], page.split(END)[1]
        PAGE.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}")


def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    out = new_parser("methods", __doc__, save=True)
    names = list(METHODS)
    what = f"of {', '.join(names)} (default: all)"
    out.add_argument("--methods", choices=names, nargs="+", default=names, help=what)
    for option, default, what in (
        ("--epochs", 50, "of pretraining"),
        ("--clustering-epochs", 50, "of clustering"),
        ("--seeds", 3, "0, 1, ..."),
    ):
        out.add_argument(option, type=int, default=default, help=what)
    options = out.parse_args(arguments)
    return exit_status(lambda: run(options), "Stopped.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
