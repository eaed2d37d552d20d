"""A run: load, pretrain, place centroids, train, report; each seed after the other."""

import dataclasses
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import jax
from tqdm import tqdm

from dec_jax.runs import checkpoint
from dec_jax.model import file as model_file
from dec_jax.networks.architecture_json import architecture_to_json, load_architecture
from dec_jax.data.load import load_dataset, load_default_dataset
from dec_jax.data.dataset import Dataset
from dec_jax.training.layerwise import LayerwiseConfig
from dec_jax.training.pretrain import PretrainConfig
from dec_jax.recipes.dense import DataShape, Recipe, make_recipe
from dec_jax.clustering.umap_mixture import check_umap
from dec_jax.validation import check_n_clusters
from dec_jax.runs import devices
from dec_jax.runs import provenance
from dec_jax.runs import summary as report
from dec_jax.runs import folder as run_folder
from dec_jax.runs import seed_choice
from dec_jax.cli.options import DATA_OPTIONS
from dec_jax.runs.errors import STOPPED, UsageError, flag
from dec_jax.runs.progress import Stop, Stopped, bar_of
from dec_jax.runs.run import AUTOENCODER, SeedRun
from dec_jax.runs.vectorized import VectorizedRun, check_vectorized


def run(settings: dict[str, Any], options: dict[str, Any], *, program: str) -> int:
    """Runs all seeds; returns the exit status."""
    with devices.joined(options) as here:
        return _run(settings, options, here, program=program)


def _run(
    settings: dict[str, Any],
    options: dict[str, Any],
    here: devices.Here,
    *,
    program: str,
) -> int:
    mesh = here.mesh
    folder = Path(options["resume"]) if "resume" in options else None
    try:
        dataset, note = _load(settings, options, folder)
        n_clusters = _n_clusters(settings["n_clusters"], dataset)
        recipe = recipe_of(settings, dataset, len(dataset.x), n_clusters)
        if recipe.start == "umap":
            check_umap()
    except (ValueError, TypeError, OSError, ImportError) as error:
        raise UsageError(str(error)) from error
    if mesh is not None:
        devices.check_batches(recipe, len(dataset.x), mesh)
    if settings["vectorized"]:
        check_vectorized(settings, recipe, mesh)
    identity = _identity(recipe, dataset, n_clusters)
    if folder is not None:
        _check_same_run(folder, identity)
    if note:
        print(note)
    if here.scratch is not None:
        folder = here.scratch
    elif folder is None:
        out = options.get("out", f"runs/{dataset.name}-{settings['recipe']}")
        folder = run_folder.prepare(
            Path(out), explicit="out" in options, resumable=True
        )
        # The data set that stood in for a missing one is the one to resume with.
        settings = {**settings, "dataset": settings["dataset"] or dataset.name}
        run_folder.write_json(
            folder / "config.json", {"command": settings, "note": note, **identity}
        )
    print(
        f"dec_jax on {provenance.device()}, jax {jax.__version__}\n"
        f"{dataset.name}: {len(dataset.x):,} samples of {dataset.x.shape[1]} values "
        f"({dataset.source}); {n_clusters} cluster{'s' * (n_clusters > 1)}, "
        f"recipe {settings['recipe']}\n"
        f"results: {folder}"
    )
    if dataset.deviation != 1:
        print(f"numbers are divided by {dataset.deviation:.4g} (see --no-standardize)")
    if mesh is not None:
        print(devices.described(len(dataset.x), mesh))
    seeds = range(settings["seed"], settings["seed"] + settings["seeds"])
    x = devices.place(dataset.x, mesh)
    with Stop() as stop:

        def one(seed: int) -> SeedRun:
            inner = folder if len(seeds) == 1 else folder / f"seed-{seed}"
            # In its own folder a seed is a run of one, in whose company it may have run.
            alone = {"seeds": 1, "seed": seed, "vectorized": False}
            config = {"command": {**settings, **alone}, "note": note, **identity}
            pretrained = autoencoder_file(settings["pretrained"], seed)
            return SeedRun(
                dataset, x, recipe, n_clusters, inner, config, stop, pretrained
            )

        try:
            if settings["vectorized"]:
                config = {"command": settings, "note": note, **identity}
                runs = [one(seed) for seed in seeds]
                results = VectorizedRun(runs, folder, config, stop).run()
            else:
                results = [_alone(one(seed)) for seed in seeds]
        except (Stopped, KeyboardInterrupt):
            again = ["--resume", str(folder)]
            for name in ("data_dir", "devices"):
                if name in options:
                    again += [flag(name), str(options[name])]
            print(
                f"\nStopped. Go on with:\n  {program} {shlex.join(again)}",
                file=sys.stderr,
            )
            return STOPPED
        except (
            checkpoint.CheckpointError,
            model_file.ModelError,
            FloatingPointError,
        ) as error:
            raise UsageError(str(error)) from error
    # Only the first process has the folders of seeds that a resumed run finds done.
    if len(seeds) > 1 and here.scratch is None:
        summary = report.summary(results)
        if len(seeds) >= seed_choice.FEWEST:
            summary |= seed_choice.choose_seed(folder, results)
        run_folder.write_json(folder / "summary.json", summary)
        print(report.spread(results))
        if "chosen_seed" in summary:
            print(seed_choice.choice_line(summary))
    return 0


def _alone(one: SeedRun) -> dict[str, Any]:
    """The results of one seed, on its own."""
    print(f"\nseed {one.seed}")
    results = one.run()
    print(report.table(results))
    return results


def _load(
    settings: dict[str, Any], options: dict[str, Any], folder: Path | None
) -> tuple[Dataset, str | None]:
    """The data set, and why it is not MNIST if nobody asked for another."""
    data_dir = options.get("data_dir")
    name = settings["dataset"]
    if folder is None and name is None:
        return load_default_dataset(data_dir)
    note = None
    if folder is not None:
        note = json.loads((folder / "config.json").read_text()).get("note")
    reading = {option: settings[option] for option in DATA_OPTIONS}
    reading["standardize"] = not settings["no_standardize"]
    bars: list[tqdm] = []

    def progress(done: int, total: int) -> None:
        # Only a folder of images takes long enough for a bar.
        if not bars:
            bars.append(bar_of("reading images", total, 0, "file"))
        bars[0].update(done - bars[0].n)

    try:
        return load_dataset(name, data_dir, **reading, progress=progress), note
    finally:
        for bar in bars:
            bar.close()


def autoencoder_file(path: str | None, seed: int) -> Path | None:
    """The file that --pretrained means: itself, or of the same seed in a run's folder."""
    if path is None:
        return None
    given = Path(path)
    tried = [given, given / f"seed-{seed}" / AUTOENCODER, given / AUTOENCODER]
    for file in tried:
        if file.is_file():
            return file
    raise UsageError(
        f"--pretrained {path}: no {AUTOENCODER} there for seed {seed}; give that file, "
        "or the folder of a run that wrote one."
    )


def _n_clusters(wanted: int | None, dataset: Dataset) -> int:
    n_clusters = wanted if wanted is not None else dataset.n_classes
    if n_clusters is None:
        raise UsageError(
            f"{dataset.name} has no labels to count classes by; give --n-clusters."
        )
    check_n_clusters(n_clusters, len(dataset.x))
    return n_clusters


def recipe_of(
    settings: dict[str, Any], dataset: Dataset, n_samples: int, n_clusters: int
) -> Recipe:
    """The named recipe for these data, with what the command line changes in it."""
    shape = DataShape(
        n_samples=n_samples,
        input_dim=dataset.x.shape[1],
        image_shape=dataset.image_shape,
        input_scale=dataset.input_scale,
        n_clusters=n_clusters,
        name=dataset.name,
    )
    network = settings.get("architecture")
    recipe = make_recipe(
        settings["recipe"],
        shape,
        None if network is None else load_architecture(network),
    )
    pretrain = {
        "epochs": settings["epochs"],
        "batch_size": settings.get("batch_size"),
    }
    clustering = {
        "max_intervals": settings["max_intervals"],
        "batch_size": settings.get("batch_size"),
        "reseed_below": settings.get("reseed_below"),
    }
    changes: dict[str, Any] = {"precision": settings["precision"]}
    if settings.get("normalize"):
        changes["normalize"] = True
    architecture, learner = (
        network and dataclasses.replace(network, **changes)
        for network in (recipe.architecture, recipe.learner)
    )
    assert architecture is not None
    return dataclasses.replace(
        recipe,
        architecture=architecture,
        learner=learner,
        pretrain=_shortened(recipe.pretrain, _given(pretrain)),
        train=dataclasses.replace(recipe.train, **_given(clustering)),
        start=settings.get("start") or recipe.start,
    )


def _shortened(
    config: PretrainConfig | LayerwiseConfig, changes: dict[str, Any]
) -> PretrainConfig | LayerwiseConfig:
    """Other epochs or another batch; of layer-wise pretraining, for every stage."""
    if isinstance(config, PretrainConfig):
        return dataclasses.replace(config, **changes)
    return dataclasses.replace(
        config,
        layer=dataclasses.replace(config.layer, **changes),
        finetune=dataclasses.replace(config.finetune, **changes),
    )


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}


def _identity(recipe: Recipe, dataset: Dataset, n_clusters: int) -> dict[str, Any]:
    """What two runs must share for one to go on where the other stopped."""
    settings = dataclasses.asdict(recipe)
    # Words about the settings may change without the settings.
    del settings["source"], settings["expected"]
    settings["objective"]["name"] = type(recipe.objective).__name__
    settings["architecture"] = architecture_to_json(recipe.architecture)
    if recipe.learner is not None:
        settings["learner"] = architecture_to_json(recipe.learner)
    return {
        "n_clusters": n_clusters,
        "dataset": {"name": dataset.name, "sha256": dataset.sha256},
        "recipe": settings,
    }


def _check_same_run(folder: Path, identity: dict[str, Any]) -> None:
    """Raises UsageError unless the run in the folder had these data and settings."""
    stored = json.loads((folder / "config.json").read_text())
    # The command was compared when it was read, the seed stands in it.
    found = {name: stored.get(name) for name in identity}
    if difference := checkpoint.first_difference(found, identity):
        raise UsageError(f"--resume {folder}: that is another run: {difference}")
