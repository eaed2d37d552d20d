"""Looks for the number of clusters, without labels.

Images are embedded by an autoencoder (of an earlier run, or pretrained here as the recipe
`dec` does), other data are taken as they are. For every k from 2 to --most: the agreement of
simple methods (support), the eigengap of the graph of nearest neighbors, the agreement of
halves of the data (stability) and the silhouette. Prints a table, the number that they
point to, and whether the data decide it; draws the four.

    dec-jax choose-k mnist --pretrained runs/mnist-best
    dec-jax choose-k table.csv --label-column species
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dec_jax.cli.options import (
    add_data_options,
    add_image_options,
    add_table_options,
    typed_path,
)
from dec_jax.recipes.names import PRECISIONS
from dec_jax.runs.compile_cache import check_programs
from dec_jax.runs.errors import UsageError, check_least, mistakes_of_use
from dec_jax.runs.settings import TABLE_OPTIONS
from dec_jax.validation import check_seed
from dec_jax.writing import whole_file

if TYPE_CHECKING:
    import numpy as np

    from dec_jax.data.dataset import Dataset
    from dec_jax.evaluation.n_clusters import Sweep

HELP = "look for the number of clusters"
STOPPED_LINE = "Stopped before there was an answer."
READING = (
    *("image_size", "image_mode", "image_fit", "features", "encoder"),
    *("labels_csv", "folder_labels", "skip_unreadable", "names"),
    *TABLE_OPTIONS,
)
VIEWS = ("support", "eigengap", "stability", "silhouette")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add = parser.add_argument
    add("dataset", metavar="DATA", type=typed_path, help="data set, file or folder")
    add_data_options(parser)
    add_table_options(parser)
    what = "autoencoder of an earlier run: its folder, or a .safetensors file"
    add("--pretrained", metavar="PATH", type=typed_path, help=what)
    add("--epochs", metavar="N", type=int, help="pretrain for N epochs")
    what = "largest number of clusters (default 20)"
    add("--most", metavar="K", type=int, help=what)
    add("--seed", metavar="S", type=int, default=0, help="default 0")
    what = "of matrix products (default: the one that is faster on this machine)"
    add("--precision", choices=PRECISIONS, help=what)
    what = "folder (default runs/<data set>-choose-k)"
    add("--out", metavar="DIR", type=typed_path, help=what)
    add_image_options(parser)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Embeds, sweeps, draws; returns the content of results.json."""
    settings = vars(options)
    check_least(settings, most=2, epochs=1)
    with mistakes_of_use():
        check_seed(settings["seed"], "--seed")
    # Here and below only now, because they load jax.
    import jax
    import numpy as np

    from dec_jax.data.load import load_dataset
    from dec_jax.evaluation.n_clusters import sweep_n_clusters
    from dec_jax.runs import experiment
    from dec_jax.runs.json_files import write_json
    from dec_jax.runs.k_search import numbers_to_try, recommended
    from dec_jax.runs.plain_words import search_lines
    from dec_jax.runs.progress import bar_of, image_bars
    from dec_jax.runs.seeds import ENCODED
    from dec_jax.runs.signals import Stop

    check_programs()
    reading = {name: settings[name] for name in READING}
    bars = image_bars(settings["encoder"])
    with mistakes_of_use(*READING, "data_dir"), bars as progress:
        dataset = load_dataset(
            settings["dataset"],
            settings["data_dir"],
            **reading,
            standardize=not settings["no_standardize"],
            encoder_cache=Path(settings["out"] or "runs/new").parent / ENCODED,
            progress=progress,
        )
    n = len(dataset.x)
    if settings["most"] is not None and settings["most"] >= n:
        raise UsageError(
            f"--most must be below the {n} samples, got {settings['most']}."
        )
    numbers = numbers_to_try(n, settings["most"])
    if not numbers:
        raise UsageError(
            f"At least 4 samples are needed to look for the number of clusters, got {n}."
        )
    z = embedded_before(dataset, settings)
    default = f"runs/{dataset.name}-choose-k"
    config = {"command": settings}
    folder = experiment.open_folder(settings["out"], default, config)
    experiment.print_head(dataset, f"2 to {numbers[-1]} clusters", folder)
    if z is None:
        z = embedded(jax.random.key(settings["seed"]), dataset, settings)
    with Stop() as stop, bar_of("numbers k", len(numbers), 0, "k") as bar:

        def on_k(_: int) -> bool:
            bar.update()
            return stop.asked

        sweep = sweep_n_clusters(
            z,
            numbers,
            seed=settings["seed"],
            by_direction=dataset.by_direction,
            on_k=on_k,
        )
    found = recommended(sweep)
    if stop.asked:
        # Of larger numbers nothing is known.
        found = found._replace(decided=False)
        print(f"Stopped after k = {sweep.n_clusters[-1]}: of those that were tried,")
    print(table(sweep))
    print("\n".join(search_lines(found)))
    classes = dataset.n_classes
    results = {
        "recipe": "choose-k",
        **experiment.facts(dataset),
        "seed": settings["seed"],
        "recommended": found.n_clusters,
        "decided": found.decided,
        "reasons": found.reasons,
        "n_classes": classes,
        **{name: np.asarray(it).tolist() for name, it in sweep._asdict().items()},
    }
    write_json(folder / "results.json", results)
    draw(sweep, found.n_clusters, folder / "n_clusters.png")
    return results


def embedded_before(
    dataset: "Dataset", settings: dict[str, Any]
) -> "np.ndarray | None":
    """Embeds the samples by the autoencoder of an earlier run, if one is named."""
    from dec_jax import model
    from dec_jax.model.file import ModelError
    from dec_jax.runs.finished import autoencoder_file

    path = autoencoder_file(settings["pretrained"], settings["seed"])
    if path is None:
        return None
    try:
        return model.transform(model.load(path), dataset)
    except (ModelError, ValueError) as error:
        raise UsageError(f"--pretrained {path}: {error}") from error


def embedded(key: Any, dataset: "Dataset", settings: dict[str, Any]) -> "np.ndarray":
    """Embeds images by an autoencoder that is pretrained here; takes others as they are."""
    from dec_jax.runs.k_search import pretrained_embedding, pretraining_of
    from dec_jax.runs.progress import bar_of

    if dataset.image_shape is None:
        return dataset.x
    network, config = pretraining_of(
        dataset, epochs=settings["epochs"], precision=settings["precision"]
    )
    with bar_of("pretraining", config.epochs, 0, "epoch") as bar:

        def on_epoch(_: Any, row: Any) -> None:
            bar.set_postfix_str(f"loss {row.loss:.5f}", refresh=False)
            bar.update()

        return pretrained_embedding(key, dataset, network, config, on_epoch)


def table(sweep: "Sweep") -> str:
    """Tables the views, one line for each k."""
    lines = [f"{'k':>4}" + "".join(f"{view:>12}" for view in VIEWS)]
    for index, k in enumerate(sweep.n_clusters):
        numbers = (getattr(sweep, view)[index] for view in VIEWS)
        lines.append(f"{k:>4}" + "".join(f"{number:>12.4f}" for number in numbers))
    return "\n".join(lines)


def draw(sweep: "Sweep", recommended: int, path: Path) -> None:
    """Draws the four views over k, the recommended k marked."""
    from matplotlib.ticker import MaxNLocator

    from dec_jax.plots.embedding import COLORS, new_figure

    figure = new_figure(9.6, 5.4)
    for panel, view in zip(figure.subplots(2, 2).flat, VIEWS, strict=True):
        panel.plot(sweep.n_clusters, getattr(sweep, view), "o-", color=COLORS[0])
        panel.axvline(recommended, color=COLORS[1], linestyle="--")
        panel.set(title=view, xlabel="number of clusters")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    with whole_file(path) as partial:
        figure.savefig(partial, format="png")
