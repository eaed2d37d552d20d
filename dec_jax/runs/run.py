"""One seed of a run with a folder: `fit` with bars, checkpoints and files; resumable."""

import dataclasses
import json
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from dec_jax import model
from dec_jax.data.dataset import Dataset
from dec_jax.evaluation.label_free import cluster_sizes
from dec_jax.evaluation.second_opinion import with_open_number
from dec_jax.evaluation.stability import cluster_stability
from dec_jax.networks.autoencoder import Params
from dec_jax.networks.own import change_network
from dec_jax.parallel.processes import any_process, text_from_first
from dec_jax.recipes.recipe import Recipe
from dec_jax.runs import (
    checkpoint,
    experiment,
    folder,
    hierarchy_file,
    odd_files,
    provenance,
    summary,
)
from dec_jax.runs.callbacks import Callbacks, Phase, Record, Step
from dec_jax.runs.errors import UsageError
from dec_jax.runs.finished import AUTOENCODER, CHECKPOINTS, RESULTS, finished_results
from dec_jax.runs.fit import FitResult, run_phases
from dec_jax.runs.health_watch import HealthWatch, health_entry
from dec_jax.runs.json_files import write_checked
from dec_jax.runs.phase_start import Start
from dec_jax.runs.progress import bar_of
from dec_jax.runs.seed_choice import seed_scores
from dec_jax.runs.signals import Stop
from dec_jax.runs.streamed import is_streamed, phases_of
from dec_jax.streaming import Source
from dec_jax.validation import expanded, shown

SAVE_SECONDS = 20  # between two checkpoints; what a killed run may have to do again


class BarsOnly(Callbacks):
    """Shows a progress bar for each phase, and stops on Ctrl-C."""

    def __init__(self, stop: Stop) -> None:
        self.stop, self.bar = stop, None

    bar: tqdm | None

    def on_phase(self, phase: Phase) -> None:
        """Opens a bar."""
        self.bar = bar_of(phase.title, phase.total, phase.done, phase.unit)

    def on_retry(self, line: str) -> None:
        """Prints the line."""
        print(line)

    def on_step(self, step: Step) -> bool:
        """Moves the bar."""
        if self.bar is not None:
            if step.text:
                self.bar.set_postfix_str(step.text, refresh=False)
            self.bar.update(step.taken)
        self.stop.agree()
        return self.stop.asked

    def on_phase_end(self) -> None:
        """Closes the bar."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None


class SeedCallbacks(BarsOnly):
    """Saves checkpoints, warns of collapse, and writes the pretrained autoencoder."""

    def __init__(self, run: "SeedRun") -> None:
        super().__init__(run.stop)
        self.run = run
        self.watch = HealthWatch(run.record, run.recipe)
        self.saved_at = time.monotonic()

    def on_step(self, step: Step) -> bool:
        """Moves the bar; saves now and then, at the end of a phase, and before a stop."""
        if step.name == "train" and self.bar is not None:
            self.watch.look(self.bar)
        asked = super().on_step(step)
        if step.name:
            due = any_process(time.monotonic() - self.saved_at > SAVE_SECONDS)
            if due or step.last or asked:
                self.run.save(step)
                self.saved_at = time.monotonic()
        return asked

    def on_pretrained(self, params: Params) -> None:
        """Writes the autoencoder, for `--pretrained` of other runs."""
        self.run.save_autoencoder(params)


class SeedRun:
    """One seed, from samples to a folder of results, resumable between any two steps."""

    def __init__(
        self,
        dataset: Dataset,
        x: jax.Array | Source,
        recipe: Recipe,
        n_clusters: int,
        folder: Path,
        config: dict[str, Any],
        stop: Stop,
        pretrained: Path | None = None,
    ) -> None:
        self.dataset, self.recipe, self.n_clusters = dataset, recipe, n_clusters
        self.folder, self.config, self.stop = folder, config, stop
        self.pretrained = pretrained
        # Kept from now on: the checkout may change while the run uses what it loaded.
        provenance.commit()
        self.seed: int = config["command"]["seed"]
        self.phases = phases_of(dataset)(
            *(dataset, x, recipe, n_clusters, self.seed),
            retry=config["command"]["retry"],
        )
        # Entries of results.json for a seed that ran at once with others.
        self.together: dict[str, Any] = {}

    def run(self) -> dict[str, Any]:
        """Runs or resumes all phases; returns the content of results.json."""
        if (finished := self.finished_before()) is not None:
            return finished
        self.folder.mkdir(parents=True, exist_ok=True)
        saved = checkpoint.restore(
            self.folder / CHECKPOINTS,
            {**self.pretraining_templates(), "train": self.phases.blank_start},
            settings=self.config,
        )
        resumed: tuple[int, Any] | Start | None = None
        if saved is not None:
            self.phases.record = Record.read(saved.progress)
            print(resumed_line(self.record))
            resumed = saved.state
            if saved.phase != "train":
                resumed = (int(saved.phase.removeprefix("pretrain")), saved.state)
        params = None
        if self.pretrained is not None and not isinstance(resumed, Start):
            params, resumed = self.load_pretrained(self.pretrained), None
        self.phases.callbacks = SeedCallbacks(self)
        return self.finish(run_phases(self.phases, params=params, resumed=resumed))

    @property
    def record(self) -> Record:
        """The numbers so far."""
        return self.phases.record

    def pretraining_templates(self) -> dict[str, Callable[[], Any]]:
        """The shapes of the states that a checkpoint of pretraining may hold."""
        return {
            f"pretrain{index}": partial(self.phases.blank_pretraining, index)
            for index in range(len(self.phases.stages))
        }

    def finished_before(self) -> dict[str, Any] | None:
        """Reads the results of an earlier run that came to its end."""
        found = finished_results(self.folder, self.seed, self.dataset.sha256)
        return json.loads(text_from_first(json.dumps(found)))

    def load_pretrained(self, path: Path) -> Params:
        """Loads the autoencoder of an earlier run, instead of pretraining one."""
        found = pretrained_model(path, self.recipe, self.config["command"]["recipe"])
        # The work was done, if not by this run: it counts in the total.
        seconds = found.metadata.get("pretraining_seconds", 0.0)
        self.record.seconds["pretraining"] = seconds
        print(shown(f"pretrained: {path}"))
        return found.params

    def save(self, step: Step) -> None:
        """Writes a checkpoint."""
        checkpoint.save(
            self.folder / CHECKPOINTS,
            step.state,
            phase=step.name,
            step=step.number,
            settings=self.config,
            progress=dataclasses.asdict(self.record),
        )

    def save_autoencoder(self, params: Params) -> None:
        """Writes the pretrained autoencoder, for `--pretrained` of other runs."""
        seconds = self.record.seconds["pretraining"]
        model.save(
            self.folder / AUTOENCODER,
            params,
            architecture=self.recipe.architecture,
            metadata={**self.origin(), "pretraining_seconds": seconds},
        )

    def origin(self) -> dict[str, Any]:
        """Entries of a model file that tell of its data, recipe and seed."""
        return {
            **model.data_metadata(self.dataset),
            "recipe": self.config["command"]["recipe"],
            "seed": self.seed,
        }

    def finish(self, result: FitResult) -> dict[str, Any]:
        """Writes model and tables, results.json, and figures last; returns the results."""
        if result.opinion is not None:
            opinion = with_open_number(result.opinion, self.config["other_numbers"])
            result = dataclasses.replace(result, opinion=opinion)
        folder.write_tables(
            self.folder, self.dataset, result, self.record, self.origin()
        )
        # Odd rows, and neighbors of clusters, are found by comparing all samples.
        if not is_streamed(self.dataset):
            odd_files.try_odd_rows(self.folder, self.dataset, result)
            hierarchy_file.try_hierarchy(self.folder, self.dataset, result)
        results = self.results(result)
        write_checked(self.folder / "config.json", self.config)
        write_checked(self.folder / RESULTS, results)
        results["figures"] = folder.write_figures(
            self.folder, self.dataset, result, self.record
        )
        write_checked(self.folder / RESULTS, results)
        shutil.rmtree(self.folder / CHECKPOINTS, ignore_errors=True)
        return results

    def dataset_path(self) -> str | None:
        """The place of the data whose rows have names, for `dec-jax sort`."""
        path = expanded(self.config["command"]["dataset"])
        return str(path.absolute()) if self.dataset.names else None

    def results(self, result: FitResult) -> dict[str, Any]:
        """The content of results.json but for the figures."""
        losses, seconds = result.pretraining_loss, self.record.seconds
        command, x = self.config["command"], self.phases.x
        loss = losses[-1] if losses else None
        return {
            "recipe": command["recipe"],
            **{name: command.get(name) for name in summary.CHANGES},
            **experiment.facts(self.dataset),
            "dataset_path": self.dataset_path(),
            "note": self.config["note"],
            "n_clusters": self.n_clusters,
            "seed": self.seed,
            "n_devices": 1 if is_streamed(self.dataset) else len(x.sharding.device_set),
            "n_processes": jax.process_count(),
            "precision": self.recipe.architecture.precision,
            "seconds": {**seconds, "total": sum(seconds.values())},
            "stages": result.stages,
            "n_iter": result.n_steps,
            "stop_reason": result.stop_reason,
            "retries": result.retries,
            "pretraining_loss": loss,
            "pretrained": str(self.pretrained) if self.pretrained else None,
            "cluster_sizes": cluster_sizes(result.labels, self.n_clusters).tolist(),
            "health": health_entry(result.health),
            "opinion": result.opinion and result.opinion.as_json(),
            "stability": stability_entry(result),
            "label_free": seed_scores(result, self.recipe.objective, loss),
            "figures": [],
            **self.together,
        }


def pretrained_model(path: Path, recipe: Recipe, name: str) -> model.Model:
    """Loads the autoencoder of an earlier run.

    Raises:
      UsageError: it has clusters, or another network than the recipe of that name.
      FileNotFoundError, ModelError: there is no such file, or it is damaged.
    """
    found = model.load(path)
    if found.n_clusters is not None:
        raise UsageError(
            f"--pretrained {path}: must be an autoencoder, got a model with clusters; "
            f"give the {AUTOENCODER} of its run."
        )
    # Parameters have no precision: it is that of their products.
    precision = found.architecture.precision
    if change_network(recipe.architecture, precision=precision) != found.architecture:
        raise UsageError(
            f"--pretrained {path}: its network is another one than that of recipe {name}."
        )
    return found


def stability_entry(result: FitResult) -> list[float | None] | None:
    """The stability of each cluster among the labelings of simple methods."""
    if result.opinion is None or result.alternatives is None:
        return None
    own, others = result.labels[result.alternatives.rows], result.alternatives.judgment
    found = cluster_stability(own, list(others.labels), result.q.shape[1])
    return [None if np.isnan(value) else float(value) for value in found]


def resumed_line(record: Record) -> str:
    """One line on where a resumed run continues."""
    epochs = sum(map(len, record.pretraining_loss.values()))
    intervals = len(record.history["loss"])
    return f"resumed after {epochs} epochs, {intervals} intervals of clustering"
