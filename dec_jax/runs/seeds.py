"""A run with a folder: loads the data, runs each seed, and sums them up."""

import dataclasses
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from dec_jax.clustering.umap_mixture import check_umap
from dec_jax.data.arrays import far_rows
from dec_jax.data.dataset import Dataset
from dec_jax.data.load import load_dataset, load_default_dataset
from dec_jax.model.file import ModelError
from dec_jax.networks.architecture_json import architecture_to_json, load_architecture
from dec_jax.recipes.names import RECIPES
from dec_jax.recipes.recipe import Recipe, default_recipe
from dec_jax.runs import (
    checkpoint,
    devices,
    experiment,
    folder,
    seed_choice,
    summary,
)
from dec_jax.runs.callbacks import Stopped
from dec_jax.runs.choices import choose_recipe, data_shape
from dec_jax.runs.errors import (
    RunFailed,
    UsageError,
    diverged,
    flag,
    mistakes_of_use,
)
from dec_jax.runs.estimate import time_line
from dec_jax.runs.finished import autoencoder_file, is_finished
from dec_jax.runs.fit import check_batches, place
from dec_jax.runs.json_files import write_checked, write_json
from dec_jax.runs.k_search import check_search, resolve_n_clusters
from dec_jax.runs.lock import only_run_in
from dec_jax.runs.plain_words import search_lines
from dec_jax.runs.progress import image_bars
from dec_jax.runs.relabeled import write_consensus
from dec_jax.runs.run import SeedRun, pretrained_model
from dec_jax.runs.settings import Settings, read_config
from dec_jax.runs.signals import Stop
from dec_jax.runs.streamed import (
    check_streamed,
    is_streamed,
    memory_here,
    parse_bytes,
    streamed_dataset,
)
from dec_jax.runs.vectorized import VectorizedRun, check_vectorized
from dec_jax.validation import check_choice, shown

# Settings that the library's messages name, and that are options here.
NAMES = (
    *("data_dir", "encoder", "features", "names", "missing"),
    *(field.name for field in dataclasses.fields(Settings) if "_" in field.name),
)


ENCODED = "encoded"  # the folder of an encoder's vectors, beside those of runs


class Finished(NamedTuple):
    """A run that came to its end.

    Attributes:
      folder: of the run.
      dataset: what it clustered; None where not all samples were in memory, so that there
        can be no report.
    """

    folder: Path
    dataset: Dataset | None


def run(
    settings: Settings, options: Mapping[str, Any], *, program: str
) -> Finished | None:
    """Runs all seeds.

    Args:
      settings: from `resolve`.
      options: those that were given, among them "out", "resume", "data_dir", "devices"
        and "distributed", which are no settings of the result.
      program: the command as it is typed, for the line that resumes it.

    Returns:
      The folder and the data; None in a process of several that is not the first, which
      leaves no folder, and for a resumed run that had come to its end.

    Raises:
      UsageError: a mistake in what was asked for.
      RunFailed: the run diverged, or the disk is full or gone.
      KeyboardInterrupt: Ctrl-C; `RunStopped` says how to resume.
    """
    with devices.joined(options) as here, ExitStack() as held:
        return _run(settings, options, here, held, program=program)


class RunStopped(KeyboardInterrupt):
    """Ctrl-C stopped a run that can be resumed; its text says how."""


def _run(
    settings: Settings,
    options: Mapping[str, Any],
    here: devices.Here,
    held: ExitStack,
    *,
    program: str,
) -> Finished | None:
    mesh = here.mesh
    resumed = Path(options["resume"]) if "resume" in options else None
    if resumed is not None and here.scratch is None:
        held.enter_context(only_run_in(resumed))
    before = {} if resumed is None else read_config(resumed)
    note, others = before.get("note"), before.get("other_numbers", [])
    with mistakes_of_use(*NAMES):
        if resumed is None and settings.dataset is None:
            dataset, note = load_default_dataset(options.get("data_dir"))
        else:
            settings, dataset = load_or_stream(settings, options)
        network = settings.architecture and load_architecture(settings.architecture)
        wanted, reasons = settings.n_clusters, []
        if isinstance(wanted, str):
            check_search(wanted, dataset)
            check_before_search(settings, options)
            print("looking for the number of clusters ...", file=sys.stderr)
        k, found = resolve_n_clusters(
            wanted,
            dataset,
            network=network or None,
            epochs=settings.epochs,
            precision=settings.precision,
        )
        if found is not None:
            wanted, reasons, others = k, search_lines(found), list(found.others)
        if k < 2:
            raise UsageError(
                f"-k must be at least 2, got {k}, the number of classes; one cluster would "
                "hold all samples."
            )
        name = settings.recipe or default_recipe(data_shape(dataset, k))
        recipe = choose_recipe(
            name, dataset, k, network=network or None, **settings.changes
        )
        if recipe.start == "umap":
            check_umap()
        if mesh is not None:
            check_batches(recipe, len(dataset.x), mesh)
        check_streamed(dataset, recipe, mesh)
        if resumed is None:
            # Before a folder is made; each seed loads its own again.
            for seed in range(settings.seed, settings.seed + settings.seeds):
                if (file := autoencoder_file(settings.pretrained, seed)) is not None:
                    pretrained_model(file, recipe, name)
    if settings.vectorized:
        check_vectorized(settings.pretrained, recipe, name, mesh)
        if is_streamed(dataset):
            raise UsageError(
                "--vectorized needs all samples in memory; leave it out, or give a larger "
                "--memory."
            )
    # A resumed run has the data, the recipe and the precision that were chosen here.
    settings = dataclasses.replace(
        settings,
        dataset=settings.dataset or dataset.name,
        n_clusters=wanted,
        recipe=name,
        precision=recipe.architecture.precision,
    )
    identity = _identity(recipe, dataset, k)
    config = {
        "command": settings.as_json(),
        "note": note,
        "other_numbers": others,
        **identity,
    }
    if resumed is not None:
        _check_same_run(resumed, identity)
        if is_finished(resumed, settings, dataset):
            return None
    if note:
        print(note)
    if here.scratch is not None:
        out = here.scratch
    elif resumed is not None:
        out = resumed
    else:
        asked = Path(options.get("out", f"runs/{dataset.name}-{name}"))
        out = folder.prepare(asked, explicit="out" in options, resumable=True)
        held.enter_context(only_run_in(out))
        with failures_of_disk(out, options, program):
            write_checked(out / "config.json", config)
    task = f"{k} cluster{'s' * (k > 1)}, recipe {name}"
    experiment.print_head(dataset, task, out, recipe.architecture.precision)
    if resumed is None and mesh is None:
        ahead = dataclasses.replace(recipe, pretrain=None)
        line = time_line(ahead if settings.pretrained else recipe, len(dataset.x))
        reasons = [*reasons, *filter(None, [line])]
    if recipe.start == "spectral" and len(dataset.x) > recipe.graph_rows:
        reasons = [*reasons, graph_line(recipe.graph_rows)]
    print("".join(f"  {reason}\n" for reason in reasons), end="")
    is_table = dataset.image_shape is None and not is_streamed(dataset)
    far = far_rows(dataset.x) if is_table else 0
    if far:
        print(
            f"warning: {far} row{'s' * (far > 1)} lie{'s' * (far == 1)} far away from all "
            "others and may decide the clusters; remove them if they are mistakes"
        )
    if isinstance(dataset.deviation, tuple):
        print("each column is divided by its own deviation (see --no-standardize)")
    elif dataset.deviation != 1:
        print(f"numbers are divided by {dataset.deviation:.4g} (see --no-standardize)")
    if mesh is not None:
        print(devices.rows_on_devices(len(dataset.x), mesh))
    seeds = range(settings.seed, settings.seed + settings.seeds)
    x = place(dataset.x, mesh)
    with Stop() as stop, failures_of_disk(out, options, program):

        def one(seed: int) -> SeedRun:
            inner = out if len(seeds) == 1 else out / f"seed-{seed}"
            # In its own folder a seed is a run of one, in whose company it may have run.
            alone = dataclasses.replace(settings, seeds=1, seed=seed, vectorized=False)
            own = {**config, "command": alone.as_json()}
            file = autoencoder_file(settings.pretrained, seed)
            return SeedRun(dataset, x, recipe, k, inner, own, stop, file)

        try:
            if settings.vectorized:
                runs = [one(seed) for seed in seeds]
                results = VectorizedRun(runs, out, config, stop).run()
            else:
                results = [_alone(one(seed)) for seed in seeds]
        except (Stopped, KeyboardInterrupt):
            command = _resume_command(out, options, program)
            raise RunStopped(f"Stopped. Resume it with:\n  {command}") from None
        except checkpoint.CheckpointError as error:
            raise UsageError(f"{error} Start a new run instead.") from error
        except ModelError as error:
            raise UsageError(str(error)) from error
        except FloatingPointError as error:
            line = diverged(
                *(error, recipe.train.optimizer.learning_rate),
                learning_rate="--learning-rate",
                retry="--retry",
                retried=settings.retry,
            )
            raise RunFailed(line) from error
        # Only the first process has the folders of seeds that a resumed run finds done.
        if here.scratch is not None:
            return None
        if len(seeds) > 1:
            _sum_up(results, out)
    if is_streamed(dataset):
        print("no report.html, which needs all samples in memory")
        return Finished(out, None)
    return Finished(out, dataset)


def check_before_search(settings: Settings, options: Mapping[str, Any]) -> None:
    """Raises for mistakes that would otherwise be told after a search of a minute."""
    if settings.recipe is not None:
        check_choice("recipe", settings.recipe, RECIPES)
    if "out" in options:
        folder.check_empty(Path(options["out"]), resumable=True)


def graph_line(rows: int) -> str:
    """One line on the sample whose neighbor graph stands for that of all samples."""
    return (
        f"the neighbor graph has a sample of {rows:,}, whose clusters the others join "
        "(--graph-rows)"
    )


def load_or_stream(
    settings: Settings, options: Mapping[str, Any]
) -> tuple[Settings, Dataset]:
    """Loads the data of a run, or leaves in their file those that memory cannot hold.

    Returns:
      The settings, which then hold the memory, so that a resumed run chooses the same; and
      the data.
    """
    given, k = settings.memory, settings.n_clusters
    limit = memory_here() if given is None else parse_bytes(given)
    # Other options than --no-standardize need the loader, or are refused by it.
    plain = {**settings.reading, "standardize": True} == Settings().reading
    in_memory_before = "resume" in options and given is None
    may_stream = plain and settings.limit is None and not in_memory_before
    if may_stream and settings.dataset and limit:
        dataset = streamed_dataset(
            settings.dataset,
            k if isinstance(k, int) else None,
            limit,
            standardize=not settings.no_standardize,
        )
        if dataset is not None:
            return dataclasses.replace(settings, memory=given or str(limit)), dataset
    return settings, load_data(settings, options)


def load_data(settings: Settings, options: Mapping[str, Any]) -> Dataset:
    """Loads the data of a run, with a bar where there are images to read.

    Args:
      settings: of the run.
      options: those that were given; "data_dir" is the folder with named data sets, and
        "resume" or "out" the folder of the run.
    """
    out = options.get("resume") or options.get("out") or "runs/new"
    with image_bars(settings.encoder) as progress:
        dataset = load_dataset(
            settings.dataset or "mnist",
            options.get("data_dir"),
            **settings.reading,
            encoder_cache=Path(out).parent / ENCODED,
            progress=progress,
        )
    if settings.limit is None:
        return dataset
    return experiment.take_sample(dataset, settings.limit)


def _alone(one: SeedRun) -> dict[str, Any]:
    """Runs one seed on its own, and prints its table."""
    print(f"\nseed {one.seed}")
    before = one.finished_before()
    if before is not None:
        print(shown(f"finished before, in {one.folder}"))
        return before
    results = one.run()
    print(summary.table(results, one.folder))
    return results


def _sum_up(results: list[dict[str, Any]], out: Path) -> None:
    """Writes and prints the numbers of several seeds together."""
    summed = summary.summary(results)
    if len(results) >= seed_choice.FEWEST:
        summed |= seed_choice.choose_seed(out, results)
    write_json(out / "summary.json", summed)
    print(summary.over_seeds(results))
    if "chosen_seed" in summed:
        print(seed_choice.choice_line(summed))
        numbers = [result["seed"] for result in results]
        print(write_consensus(out, numbers, results[0]["n_clusters"]))


@contextmanager
def failures_of_disk(
    out: Path, options: Mapping[str, Any], program: str
) -> Iterator[None]:
    """Turns an error of the disk into `RunFailed`, which tells how to go on.

    Args:
      out: the folder of the run.
      options: those that were given.
      program: the command as it is typed.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        named = f"{error.filename} cannot be written or read: " * bool(error.filename)
        fix = "free space or mend the folder, and start the run again"
        if (out / "config.json").exists():
            fix = (
                "what was saved before is kept; free space or mend the folder, and go on "
                f"by {_resume_command(out, options, program)}"
            )
        raise RunFailed(f"{named}{reason}; {fix}") from error


def _resume_command(out: Path, options: Mapping[str, Any], program: str) -> str:
    """The command that resumes a run."""
    again = ["--resume", str(out)]
    for name in ("data_dir", "devices"):
        if name in options:
            again += [flag(name), str(options[name])]
    return f"{program} {shown(shlex.join(again))}"


def _identity(recipe: Recipe, dataset: Dataset, n_clusters: int) -> dict[str, Any]:
    """The entries that two runs must share for one to resume the other."""
    settings = dataclasses.asdict(recipe)
    # Words about the settings may change without the settings.
    del settings["source"], settings["expected"]
    settings["objective"]["name"] = type(recipe.objective).__name__
    for name in ("architecture", "learner"):
        network = getattr(recipe, name)
        settings[name] = network and architecture_to_json(network)
    return {
        "n_clusters": n_clusters,
        "dataset": {"name": dataset.name, "sha256": dataset.sha256},
        "recipe": settings,
    }


def _check_same_run(resumed: Path, identity: dict[str, Any]) -> None:
    """Raises UsageError unless the run in the folder had these data and settings."""
    stored = read_config(resumed)
    # The command was compared when it was read, the seed stands in it.
    found = {name: stored.get(name) for name in identity}
    if difference := checkpoint.first_difference(found, identity):
        raise UsageError(f"--resume {resumed}: that is another run: {difference}")
