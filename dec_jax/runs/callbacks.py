"""The events of a run, and the record that it keeps of itself."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import jax
import numpy as np

from dec_jax.evaluation.metrics import clustering_accuracy
from dec_jax.runs.checkpoint import CheckpointError
from dec_jax.training.state import History

NOT_A_RUN = "The progress in the newest checkpoint is not what a run writes."


class Phase(NamedTuple):
    """A long part of a run, such as pretraining.

    Attributes:
      title: the words for a progress bar, such as "pretraining".
      unit: the word for one step of it: "restart", "epoch", "step" or "interval".
      total: steps that it has at most.
      done: steps that a resumed run had taken before.
    """

    title: str
    unit: str
    total: int
    done: int = 0


class Step(NamedTuple):
    """One step of a phase: restarts of k-means, an epoch, an interval of clustering.

    Attributes:
      text: the number to watch, in words, such as "loss 0.01234".
      taken: steps that this one stands for.
      name: of the phase in a checkpoint: "pretrain0", "pretrain1", ..., "train"; empty
        where the phase cannot be resumed.
      state: the pytree of arrays that resumes the phase, or None. Its memory is reused
        after the callback returns.
      number: gradient steps of the phase so far.
      last: no further step of this phase follows.
    """

    text: str
    taken: int = 1
    name: str = ""
    state: Any = None
    number: int = 0
    last: bool = False


class Stage(NamedTuple):
    """Labels that a run went through, such as those of k-means on z.

    Attributes:
      name: of the method, such as "k-means on z".
      labels: [n] int32.
      centroids: [k, d] in the space that was clustered, or None.
      seconds: that the method took.
    """

    name: str
    labels: np.ndarray
    centroids: np.ndarray | None
    seconds: float


class Callbacks:
    """Receives the events of `fit`: subclass it, and override what you need.

    No time that a callback takes is counted as time of the run.

    Example:
      >>> class Losses(Callbacks):
      ...     def on_step(self, step):
      ...         print(step.text)
    """

    def on_phase(self, phase: Phase) -> None:
        """Is called before the first step of a phase."""

    def on_step(self, step: Step) -> bool | None:
        """Is called after each step; returning True stops the run.

        `fit` then raises `Stopped`.
        """

    def on_phase_end(self) -> None:
        """Is called after the last step of a phase, also when an error ends it."""

    def on_pretrained(self, params: Any) -> None:
        """Is called with the parameters of the pretrained autoencoder."""

    def on_stage(self, stage: Stage) -> None:
        """Is called with each labeling on the way."""

    def on_retry(self, line: str) -> None:
        """Is called with one line before a phase that diverged starts again."""


class Stopped(Exception):
    """A callback stopped the run, which can be resumed from its last checkpoint."""


@dataclass
class Record:
    """The numbers that a run reports, as JSON values; a resumed run starts with them.

    Attributes:
      stages: the scores of each labeling: "name", "seconds", and "acc", "nmi", "ari"
        where there are classes, else sizes and silhouette.
      seconds: by phase.
      pretraining_loss: the loss of each epoch, by the title of the pretraining stage.
      history: the columns of `History`, one entry an interval, and "acc".
      retries: one entry for each new attempt of a phase that diverged: the "phase", the
        "learning_rate" of the new attempt, and the "reason", in words.
    """

    stages: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    pretraining_loss: dict[str, list[float]] = field(default_factory=dict)
    history: dict[str, list] = field(
        default_factory=lambda: {name: [] for name in (*History._fields, "acc")}
    )
    retries: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def read(cls, entries: Any) -> "Record":
        """Makes a record of the progress in a checkpoint.

        Raises:
          CheckpointError: its entries are not those that a run writes.
        """
        blank = asdict(cls())
        if not _same_entries(entries, blank) or not (
            _same_entries(entries["history"], blank["history"])
            and len({len(column) for column in entries["history"].values()}) == 1
            and all(isinstance(stage, dict) for stage in entries["stages"])
            and all(isinstance(retry, dict) for retry in entries["retries"])
            and all(
                isinstance(each, int | float) for each in entries["seconds"].values()
            )
            and all(
                isinstance(row, list) for row in entries["pretraining_loss"].values()
            )
        ):
            raise CheckpointError(NOT_A_RUN)
        return cls(**entries)

    def add_interval(
        self, rows: History, labels: jax.Array | np.ndarray, classes: np.ndarray | None
    ) -> None:
        """Appends an interval, and its accuracy where the classes are known."""
        for name, column in zip(History._fields, rows, strict=True):
            self.history[name] += np.asarray(column).tolist()
        acc = None
        if classes is not None:
            acc = clustering_accuracy(classes, np.asarray(labels))
        self.history["acc"].append(acc)

    def reorder_clusters(self, order: np.ndarray) -> None:
        """Numbers the clusters anew; `order` holds the old numbers in the new order."""
        sizes = self.history["cluster_sizes"]
        self.history["cluster_sizes"] = [[row[old] for old in order] for row in sizes]

    def joined_history(self) -> History:
        """All intervals as arrays, those before a resume included."""
        return History(*(np.asarray(self.history[name]) for name in History._fields))

    @property
    def network_losses(self) -> list[float]:
        """The losses of the whole network's pretraining, not of a layer's."""
        return next(reversed(self.pretraining_loss.values()), [])


def _same_entries(found: Any, blank: dict[str, Any]) -> bool:
    """Tells whether an object of JSON has the names and the types of another one."""
    return (
        isinstance(found, dict)
        and found.keys() == blank.keys()
        and all(type(found[name]) is type(value) for name, value in blank.items())
    )


class PhaseEvents:
    """Tells callbacks of phases and steps, and counts their time; the base of `Phases`.

    Attributes:
      callbacks: told of each event.
      record: the numbers so far.
      clock: the time up to which all is counted.
      stopped: whether the last step was told to be the last.
    """

    def __init__(
        self, callbacks: Callbacks | None = None, record: Record | None = None
    ) -> None:
        self.callbacks = callbacks or Callbacks()
        self.record = record or Record()
        self.clock, self.stopped = time.monotonic(), False

    @contextmanager
    def _phase(self, phase: Phase) -> Iterator[None]:
        self.stopped = False
        self.callbacks.on_phase(phase)
        try:
            yield
        finally:
            self.callbacks.on_phase_end()

    def _step(self, seconds_of: str, step: Step) -> bool:
        """Counts the time of a step and tells of it; True stops the run."""
        self._count(seconds_of)
        self.stopped = bool(self.callbacks.on_step(step))
        # What a callback does, such as saving, is no time of the method.
        self.clock = time.monotonic()
        return self.stopped

    def _leave_if_stopped(self) -> None:
        if self.stopped:
            raise Stopped

    def _count(self, phase: str) -> None:
        """Adds the time since the phase began, or was last counted."""
        now = time.monotonic()
        seconds = self.record.seconds
        seconds[phase] = seconds.get(phase, 0.0) + now - self.clock
        self.clock = now
