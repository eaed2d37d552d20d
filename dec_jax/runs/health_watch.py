"""Looks after the health of a run: warns while it lasts, sums it up at its end."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from dec_jax.evaluation.health import Health, health
from dec_jax.objectives import DCN
from dec_jax.recipes.recipe import Recipe
from dec_jax.training.state import History

NUMBERS = (
    *("n_empty", "smallest", "largest", "evenness", "max_q", "q_entropy"),
    "label_change",
)


class Watch:
    """Says what looks wrong, each kind of warning once in a run."""

    def __init__(
        self, columns: Mapping[str, Sequence], recipe: Recipe, who: str = ""
    ) -> None:
        self.columns, self.who = columns, who
        self.by_q = not isinstance(recipe.objective, DCN)
        # At the first look a learner has learned nothing: its clusters mean nothing.
        self.skipped = 0 if recipe.learner is None else 1
        self.said: set[str] = set()

    def look(self, bar: tqdm) -> None:
        """After an interval: warns above the bar of what was not there before."""
        if len(self.columns["loss"]) <= self.skipped:
            return
        for warning in self._health(ended=False).warnings:
            if warning.kind not in self.said:
                self.said.add(warning.kind)
                number = len(self.columns["loss"])
                line = f"warning: {self.who}interval {number}: {warning.text}"
                bar.write(line, file=sys.stderr)

    def entry(self, q: np.ndarray) -> dict[str, Any]:
        """What results.json says of the run, whose final q is given."""
        found = self._health(final_q=q)
        return {
            "healthy": found.healthy,
            "warnings": [warning.text for warning in found.warnings],
            **{name: getattr(found, name) for name in NUMBERS},
        }

    def _health(self, **options: Any) -> Health:
        history = History(*(np.asarray(self.columns[name]) for name in History._fields))
        return health(history, first=self.skipped, trained_by_q=self.by_q, **options)
