"""All seeds of an experiment at once: pretraining and clustering are a program each.

What a seed leaves behind is what it leaves on its own, and so is what it draws from its
key; k-means, which fills a device by its restarts, takes one seed after the other.
"""

import math
import shutil
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from dec_jax.runs import checkpoint
from dec_jax.training import many_seeds
from dec_jax.networks.autoencoder import Params
from dec_jax.training.pretrain import PretrainConfig, PretrainHistory, PretrainState
from dec_jax.recipes.dense import Recipe
from dec_jax.training.state import History, TrainResult, TrainState
from dec_jax.runs import summary as report
from dec_jax.runs.errors import UsageError
from dec_jax.runs.progress import Stop, Stopped, bar_of
from dec_jax.runs.run import CHECKPOINTS, SAVE_SECONDS, Clustering, SeedRun
from dec_jax.runs.health_watch import Watch


def check_vectorized(
    settings: Mapping[str, Any], recipe: Recipe, mesh: Mesh | None
) -> None:
    """Raises UsageError unless seeds can run at once."""
    if mesh is not None:
        raise UsageError(
            f"--vectorized needs one device, got {mesh.size}; give --devices 1, or leave "
            "--vectorized out."
        )
    layerwise = not isinstance(recipe.pretrain, PretrainConfig)
    if layerwise and settings["pretrained"] is None:
        raise UsageError(
            f"--vectorized needs pretraining end to end, and recipe {settings['recipe']} "
            "pretrains layer by layer; give --pretrained, or leave --vectorized out."
        )


class VectorizedRun:
    """Seeds whose training is one program, resumable between any two steps.

    Checkpoints hold the states of all seeds, in the folder of the run. The number after
    the name of a phase is that of the seeds in it.
    """

    def __init__(
        self,
        runs: Sequence[SeedRun],
        folder: Path,
        config: dict[str, Any],
        stop: Stop,
    ) -> None:
        self.runs, self.at_work = runs, list(runs)
        self.config, self.stop = config, stop
        self.checkpoints = folder / CHECKPOINTS
        self.recipe, self.x = runs[0].recipe, runs[0].x
        self.failed: dict[str, str] = {}  # why, by seed
        self.saved_at = self.clock = time.monotonic()

    def run(self) -> list[dict[str, Any]]:
        """All phases; the results of each seed.

        Raises:
          FloatingPointError: of some seeds; the others are finished then.
          Stopped: Ctrl-C was pressed.
        """
        results = self._finished_before()
        self.at_work = [run for run in self.runs if run.seed not in results]
        if self.at_work:
            results |= self._work()
        if self.failed:
            said = [f"seed {seed}: {reason}" for seed, reason in self.failed.items()]
            raise FloatingPointError(" ".join(said))
        shutil.rmtree(self.checkpoints, ignore_errors=True)
        return [results[run.seed] for run in self.runs]

    def _finished_before(self) -> dict[int, dict[str, Any]]:
        results = {}
        for run in self.runs:
            if (found := run.finished_before()) is not None:
                results[run.seed] = found
                print(report.table(found))
        return results

    def _work(self) -> dict[int, dict[str, Any]]:
        """The results of the seeds that are not finished yet."""
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
            starts = many_seeds.stack(
                [
                    run.place_centroids(params)
                    for run, params in zip(self.at_work, networks, strict=True)
                ]
            )
        return self._finish(self._train(starts), starts)

    def _restored(self) -> checkpoint.Checkpoint | None:
        """Where an earlier run stopped, without the seeds that were finished since."""
        templates: dict[str, Any] = {}
        for n in range(1, len(self.runs) + 1):
            templates[f"pretrain{n}"] = partial(self._blank, "pretrain", n)
            templates[f"train{n}"] = partial(self._blank, "train", n)
        saved = checkpoint.restore(self.checkpoints, templates, settings=self.config)
        if saved is None:
            return None
        seeds, failed = saved.progress["seeds"], saved.progress["failed"]
        if any(run.seed not in seeds + [*map(int, failed)] for run in self.at_work):
            # The results of a seed were taken away: what is saved does not lead to them.
            return None
        self.failed = failed
        self.at_work = [run for run in self.at_work if run.seed in seeds]
        places = [seeds.index(run.seed) for run in self.at_work]
        for run, place in zip(self.at_work, places, strict=True):
            run.progress = saved.progress["runs"][place]
        if not places:
            return None
        epochs, intervals = (
            max(map(len, columns))
            for columns in (
                [self._losses(run) for run in self.at_work],
                [run.progress["history"]["loss"] for run in self.at_work],
            )
        )
        print(f"resumed after {epochs} epochs, {intervals} intervals of clustering")
        return saved._replace(state=many_seeds.take(saved.state, places))

    def _networks(self, saved: checkpoint.Checkpoint | None) -> list[Params]:
        """The pretrained autoencoder of each seed."""
        for run in self.at_work:
            if not run.progress["stages"]:
                run.baseline()
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
        title = self.runs[0].stages[0].title
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
                jnp.stack([run.pretrain_key for run in self.at_work]),
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
                f"learning rate, now {rate}."
            )
        self.at_work = [run for run in self.at_work if str(run.seed) not in self.failed]
        return networks

    def _train(self, starts: Clustering) -> list[TrainResult]:
        config, objective = self.recipe.train, self.recipe.objective
        watches = [
            Watch(run.progress["history"], self.recipe, f"seed {run.seed}, ")
            for run in self.at_work
        ]

        def on_interval(states: TrainState, rows: list[History | None]) -> bool:
            labels, changes = np.asarray(states.labels), []
            for run, watch, own, row in zip(
                self.at_work, watches, labels, rows, strict=True
            ):
                if row is not None:
                    run.record(row, own)
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
        if any(result.stop_reason.startswith("stopped") for result in results):
            self._leave_if_asked()
        return results

    def _finish(
        self, results: Sequence[TrainResult], starts: Clustering
    ) -> dict[int, dict[str, Any]]:
        """Has each seed write what it found."""
        finished = {}
        for place, (run, result) in enumerate(zip(self.at_work, results, strict=True)):
            self._leave_if_asked()
            if not np.isfinite(result.q).all():
                reason = f"Clustering failed: {result.stop_reason}."
                self.failed[str(run.seed)] = reason
                continue
            run.beside = {"vectorized": len(self.at_work)}
            print(f"\nseed {run.seed}")
            finished[run.seed] = run.finish(result, many_seeds.take(starts, place))
            print(report.table(finished[run.seed]))
        return finished

    def _losses(self, run: SeedRun) -> list[float]:
        """The losses of pretraining that a seed has had."""
        title = run.stages[0].title
        return run.progress["pretraining_loss"].setdefault(title, [])

    def _leave_if_asked(self) -> None:
        if self.stop.asked:
            raise Stopped

    def _count(self, phase: str) -> None:
        """Gives each seed its share of the time since the phase was last counted."""
        now = time.monotonic()
        share = (now - self.clock) / len(self.at_work)
        for run in self.at_work:
            seconds = run.progress["seconds"]
            seconds[phase] = seconds.get(phase, 0.0) + share
        self.clock = now

    def _tick(
        self, phase: str, states: Any, steps: jax.Array, *, finished: bool = False
    ) -> bool:
        """Between two epochs or intervals: saves now and then; True if asked to stop."""
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
                    "runs": [run.progress for run in self.at_work],
                    "failed": self.failed,
                },
            )
            # Saving is not part of the method: it is not counted.
            self.saved_at = self.clock = time.monotonic()
        return self.stop.asked

    def _blank(self, phase: str, n: int) -> Any:
        """States of n seeds as checkpoints hold them, of no meaning."""
        run = self.runs[0]
        one = run.blank_stage(0).state if phase == "pretrain" else run.blank_training()
        return many_seeds.stack([one] * n)
