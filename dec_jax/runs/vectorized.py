"""All seeds of a run at once: pretraining and clustering are one program each.

Each seed leaves the files that it leaves on its own, and draws the same random numbers.
k-means fills a device by its restarts, and takes one seed after the other.
"""

import dataclasses
import math
import shutil
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from dec_jax.networks.autoencoder import Params
from dec_jax.recipes.recipe import Recipe
from dec_jax.runs import checkpoint, summary
from dec_jax.runs.callbacks import NOT_A_RUN, Record, Stopped
from dec_jax.runs.errors import UsageError
from dec_jax.runs.fit import result_of
from dec_jax.runs.health_watch import HealthWatch
from dec_jax.runs.phase_start import Start
from dec_jax.runs.phases import not_finite
from dec_jax.runs.progress import bar_of
from dec_jax.runs.run import (
    CHECKPOINTS,
    SAVE_SECONDS,
    BarsOnly,
    SeedRun,
    resumed_line,
)
from dec_jax.runs.signals import Stop
from dec_jax.training import many_seeds
from dec_jax.training.loop import STOPPED
from dec_jax.training.pretrain import PretrainConfig, PretrainHistory, PretrainState
from dec_jax.training.state import History, TrainResult, TrainState
from dec_jax.validation import shown


def check_vectorized(
    pretrained: str | None, recipe: Recipe, name: str, mesh: Mesh | None
) -> None:
    """Raises UsageError unless seeds can run at once.

    Args:
      pretrained: the value of --pretrained.
      recipe: the settings.
      name: of the recipe.
      mesh: the devices of the run.
    """
    if mesh is not None:
        raise UsageError(
            f"--vectorized needs one device, got {mesh.size}; give --devices 1, or leave "
            "--vectorized out."
        )
    if not isinstance(recipe.pretrain, PretrainConfig) and pretrained is None:
        raise UsageError(
            f"--vectorized needs pretraining end to end, and recipe {name} pretrains "
            "layer by layer; give --pretrained, or leave --vectorized out."
        )


class VectorizedRun:
    """Seeds whose training is one program, resumable between any two steps.

    Checkpoints hold the states of all seeds, in the folder of the run. The number after
    the name of a phase is that of the seeds in it.
    """

    def __init__(
        self, runs: Sequence[SeedRun], folder: Path, config: dict[str, Any], stop: Stop
    ) -> None:
        self.runs, self.at_work = runs, list(runs)
        self.config, self.stop = config, stop
        self.checkpoints = folder / CHECKPOINTS
        self.recipe, self.x = runs[0].recipe, runs[0].phases.x
        self.failed: dict[str, str] = {}  # the reason, by seed
        self.saved_at = self.clock = time.monotonic()
        for run in runs:
            run.phases.callbacks = BarsOnly(stop)

    def run(self) -> list[dict[str, Any]]:
        """Runs or resumes all phases; returns the results of each seed.

        Raises:
          FloatingPointError: some seeds diverged; the others are finished then.
          Stopped: Ctrl-C was pressed.
        """
        results = self._finished_before()
        self.at_work = [run for run in self.runs if run.seed not in results]
        if self.at_work:
            results |= self._work()
        if self.failed:
            reasons = [f"seed {seed}: {reason}" for seed, reason in self.failed.items()]
            raise FloatingPointError(" ".join(reasons))
        shutil.rmtree(self.checkpoints, ignore_errors=True)
        return [results[run.seed] for run in self.runs]

    def _finished_before(self) -> dict[int, dict[str, Any]]:
        results = {}
        for run in self.runs:
            if (found := run.finished_before()) is not None:
                results[run.seed] = found
                print(shown(f"seed {run.seed}: finished before, in {run.folder}"))
        return results

    def _work(self) -> dict[int, dict[str, Any]]:
        """Finishes the seeds that were not finished before."""
        for run in self.at_work:
            run.folder.mkdir(parents=True, exist_ok=True)
        saved = self._restored()
        if not self.at_work:
            return {}
        names = ", ".join(str(run.seed) for run in self.at_work)
        print(f"\nseeds {names} at once")
        if saved is not None and saved.phase.startswith("train"):
            starts = saved.state
        else:
            networks = self._networks(saved)
            if not self.at_work:
                return {}
            pairs = zip(self.at_work, networks, strict=True)
            starts = many_seeds.stack([run.phases.start(net) for run, net in pairs])
        return self._finish(self._train(starts), starts)

    def _restored(self) -> checkpoint.Checkpoint | None:
        """Restores where an earlier run stopped, without the seeds finished since."""
        templates: dict[str, Any] = {}
        for n in range(1, len(self.runs) + 1):
            templates[f"pretrain{n}"] = partial(self._blank, "pretrain", n)
            templates[f"train{n}"] = partial(self._blank, "train", n)
        saved = checkpoint.restore(self.checkpoints, templates, settings=self.config)
        if saved is None:
            return None
        seeds, failed, records = _read_progress(saved.progress)
        if any(run.seed not in seeds + [*map(int, failed)] for run in self.at_work):
            # The results of a seed were taken away: what is saved does not lead to them.
            return None
        self.failed = failed
        self.at_work = [run for run in self.at_work if run.seed in seeds]
        places = [seeds.index(run.seed) for run in self.at_work]
        for run, place in zip(self.at_work, places, strict=True):
            run.phases.record = records[place]
        if not places:
            return None
        longest = max(
            (run.record for run in self.at_work),
            key=lambda record: (
                sum(map(len, record.pretraining_loss.values())),
                len(record.history["loss"]),
            ),
        )
        print(resumed_line(longest))
        return saved._replace(state=many_seeds.take(saved.state, places))

    def _networks(self, saved: checkpoint.Checkpoint | None) -> list[Params]:
        """Pretrains or loads the autoencoder of each seed."""
        for run in self.at_work:
            if not run.record.stages:
                run.phases.baseline()
        if self.config["command"]["pretrained"] is None:
            return self._pretrain(None if saved is None else saved.state)
        return [
            run.load_pretrained(run.pretrained)
            for run in self.at_work
            if run.pretrained is not None
        ]

    def _pretrain(self, states: PretrainState | None) -> list[Params]:
        """Pretrains all seeds; those whose loss is no longer finite are left out."""
        config = self.recipe.pretrain
        assert isinstance(config, PretrainConfig)
        losses = [self._losses(run) for run in self.at_work]
        done = max(map(len, losses))
        title = self.runs[0].phases.stages[0].title
        self.clock = time.monotonic()

        def on_epoch(states: PretrainState, rows: list[PretrainHistory | None]) -> bool:
            new = [math.nan if row is None else float(row.loss) for row in rows]
            for kept, row, loss in zip(losses, rows, new, strict=True):
                kept += [] if row is None else [loss]
            mean = np.mean([loss for loss in new if math.isfinite(loss)] or [math.nan])
            bar.set_postfix_str(f"mean loss {mean:.5f}", refresh=False)
            bar.update()
            finished = bar.n == config.epochs
            return self._tick("pretrain", states, states.step, finished=finished)

        with bar_of(title, config.epochs, done, "epoch") as bar:
            stacked, _ = many_seeds.pretrain(
                jnp.stack([run.phases.pretrain_key for run in self.at_work]),
                self.x,
                architecture=self.recipe.architecture,
                config=config,
                states=states,
                on_epoch=on_epoch,
            )
        self._leave_if_asked()
        networks, rate = [], config.optimizer.learning_rate
        for run, kept, params in zip(
            self.at_work, losses, many_seeds.unstack(stacked), strict=True
        ):
            if math.isfinite(kept[-1]):
                run.save_autoencoder(params)
                networks.append(params)
                continue
            self.failed[str(run.seed)] = (
                f"The pretraining loss is {kept[-1]} after epoch {len(kept)}; lower the "
                f"learning rate, now {rate:g}."
            )
        self.at_work = [run for run in self.at_work if str(run.seed) not in self.failed]
        return networks

    def _train(self, starts: Start) -> list[TrainResult]:
        config, objective = self.recipe.train, self.recipe.objective
        watches = [
            HealthWatch(run.record, self.recipe, f"seed {run.seed}, ")
            for run in self.at_work
        ]

        def on_interval(states: TrainState, rows: list[History | None]) -> bool:
            labels, changes = np.asarray(states.labels), []
            for run, watch, own, row in zip(
                self.at_work, watches, labels, rows, strict=True
            ):
                if row is not None:
                    run.record.add_interval(row, own, run.dataset.labels)
                    watch.look(bar)
                    changes.append(row.label_change[-1])
            changed = f"labels changed {np.mean(changes):.2%}"
            bar.set_postfix_str(f"{changed}, {len(changes)} seeds", refresh=False)
            bar.update()
            state = starts._replace(state=states)
            return self._tick("train", state, states.step)

        done = int(starts.state.step.max()) // config.update_interval
        self.clock = time.monotonic()
        with bar_of("clustering", config.max_intervals, done, "interval") as bar:
            results = many_seeds.train(
                starts.state,
                self.x,
                architecture=self.recipe.network,
                objective=objective,
                config=config,
                on_interval=on_interval,
            )
        self._count("clustering")
        if any(result.stop_reason == STOPPED for result in results):
            self._leave_if_asked()
        return results

    def _finish(
        self, results: Sequence[TrainResult], starts: Start
    ) -> dict[int, dict[str, Any]]:
        """Lets each seed write its files."""
        finished = {}
        for place, (run, result) in enumerate(zip(self.at_work, results, strict=True)):
            self._leave_if_asked()
            if not np.isfinite(result.q).all():
                rate = self.recipe.train.optimizer.learning_rate
                self.failed[str(run.seed)] = not_finite(run.record, rate)
                continue
            run.together = {"vectorized": len(self.at_work)}
            print(f"\nseed {run.seed}")
            found = result_of(run.phases, many_seeds.take(starts, place), result)
            finished[run.seed] = run.finish(found)
            print(summary.table(finished[run.seed], run.folder))
        return finished

    def _losses(self, run: SeedRun) -> list[float]:
        """The losses of pretraining that a seed has had."""
        title = run.phases.stages[0].title
        return run.record.pretraining_loss.setdefault(title, [])

    def _leave_if_asked(self) -> None:
        if self.stop.asked:
            raise Stopped

    def _count(self, phase: str) -> None:
        """Gives each seed its share of the time since the phase was last counted."""
        now = time.monotonic()
        share = (now - self.clock) / len(self.at_work)
        for run in self.at_work:
            seconds = run.record.seconds
            seconds[phase] = seconds.get(phase, 0.0) + share
        self.clock = now

    def _tick(
        self, phase: str, states: Any, steps: jax.Array, *, finished: bool = False
    ) -> bool:
        """Saves now and then between two epochs or intervals; True stops the run."""
        self._count("clustering" if phase == "train" else "pretraining")
        due = time.monotonic() - self.saved_at > SAVE_SECONDS
        if due or finished or self.stop.asked:
            checkpoint.save(
                self.checkpoints,
                states,
                phase=f"{phase}{len(self.at_work)}",
                step=int(steps.max()),
                settings=self.config,
                progress={
                    "seeds": [run.seed for run in self.at_work],
                    "runs": [dataclasses.asdict(run.record) for run in self.at_work],
                    "failed": self.failed,
                },
            )
            # Saving is not part of the method: it is not counted.
            self.saved_at = self.clock = time.monotonic()
        return self.stop.asked

    def _blank(self, phase: str, n: int) -> Any:
        """States of n seeds with the shapes of real ones."""
        phases = self.runs[0].phases
        if phase == "pretrain":
            return many_seeds.stack([phases.blank_pretraining(0).state] * n)
        return many_seeds.stack([phases.blank_start()] * n)


def _read_progress(
    progress: dict[str, Any],
) -> tuple[list[int], dict[str, str], list[Record]]:
    """Reads the seeds at work, the reasons of those that failed, and the records."""
    types = {"seeds": list, "runs": list, "failed": dict}
    if not all(isinstance(progress.get(name), types[name]) for name in types) or len(
        progress["seeds"]
    ) != len(progress["runs"]):
        raise checkpoint.CheckpointError(NOT_A_RUN)
    records = [Record.read(entries) for entries in progress["runs"]]
    return progress["seeds"], progress["failed"], records
