"""Warnings of collapse while a run lasts."""

import sys
from typing import Any

from tqdm import tqdm

from dec_jax.evaluation.health import Health
from dec_jax.recipes.recipe import Recipe
from dec_jax.runs.callbacks import Record
from dec_jax.runs.fit import run_health

NUMBERS = (
    "n_empty",
    "smallest",
    "largest",
    "evenness",
    "max_q",
    "q_entropy",
    "label_change",
)


class HealthWatch:
    """Warns of what looks wrong, once a run for each kind of warning."""

    def __init__(self, record: Record, recipe: Recipe, who: str = "") -> None:
        self.record, self.recipe, self.who = record, recipe, who
        self.warned: set[str] = set()

    def look(self, bar: tqdm) -> None:
        """Warns, above the bar, of what was not there at the interval before."""
        number = len(self.record.history["loss"])
        # At its first interval a learner has learned nothing: its clusters mean nothing.
        if number <= (self.recipe.learner is not None):
            return
        for warning in run_health(self.record, self.recipe, ended=False).warnings:
            if warning.kind not in self.warned:
                self.warned.add(warning.kind)
                line = f"warning: {self.who}interval {number}: {warning.text}"
                bar.write(line, file=sys.stderr)


def health_entry(found: Health) -> dict[str, Any]:
    """The entry "health" of results.json."""
    return {
        "healthy": found.healthy,
        "warnings": [warning.text for warning in found.warnings],
        **{name: getattr(found, name) for name in NUMBERS},
    }
