"""What a long step shows while it lasts, and how Ctrl-C ends it."""

import signal
import sys
from typing import Any

import jax
from tqdm import tqdm

from dec_jax.clustering.kmeans import KMeansResult, k_means
from dec_jax.clustering.spectral import spectral_clustering
from dec_jax.parallel.processes import any_process
from dec_jax.clustering.umap_mixture import umap_mixture

RESTARTS_AT_ONCE = 5  # of k-means, between two ticks of its bar


class Stop:
    """Ctrl-C as a question that the loops ask: finish the step, save, then leave."""

    def __init__(self) -> None:
        self.pressed = self.asked = False

    def __enter__(self) -> "Stop":
        self.previous = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self.previous)

    def agree(self) -> None:
        """Asks all processes, at a step that all of them are at."""
        if jax.process_count() > 1:
            self.asked = any_process(self.pressed)

    def _ask(self, *_: object) -> None:
        if self.pressed:
            raise KeyboardInterrupt
        self.pressed = True
        # Several processes must stop at the same step.
        self.asked = jax.process_count() == 1
        print("\nStopping after this step (Ctrl-C again: at once) ...", file=sys.stderr)


class Stopped(Exception):
    """The run was left in the middle, and can be resumed."""


def bar_of(title: str, total: int, done: int, unit: str) -> tqdm:
    """A progress bar; in a log file a line now and then instead of many a second."""
    return tqdm(
        desc=f"{title:<17}",
        total=total,
        initial=done,
        unit=unit,
        mininterval=0.2 if sys.stderr.isatty() else 30,
        bar_format="{desc} {percentage:3.0f}% |{bar:20}| {n_fmt}/{total_fmt} "
        "[{elapsed}<{remaining}{postfix}]",
    )


# What the labelings of a recipe's `start` are called, k-means apart.
TITLES = {"spectral": "spectral on z", "umap": "UMAP, mixture"}


def labeled(
    start: str, key: jax.Array, z: Any, n_clusters: int, stop: Stop
) -> tuple[str, Any]:
    """The labeling of z that a recipe starts from, if not k-means, and its title.

    Raises:
      ImportError: umap-learn is needed and not installed.
      Stopped: Ctrl-C was pressed.
    """
    title = TITLES[start]

    def step() -> None:
        bar.update()
        if stop.asked:
            raise Stopped

    with bar_of(title, 3 if start == "spectral" else 1, 0, "step") as bar:
        if start == "spectral":
            found = spectral_clustering(key, z, n_clusters, on_step=step)
            bar.set_postfix_str(f"modularity {found.modularity:.4f}", refresh=False)
            return title, found.labels
        seed = int(jax.random.randint(key, (), 0, 2**31 - 1))
        labels = umap_mixture(z, n_clusters, seed=seed)
        step()
    return title, labels


def best_k_means(
    key: jax.Array, x: Any, n_clusters: int, *, n_init: int, title: str, stop: Stop
) -> KMeansResult:
    """The best of `n_init` restarts by inertia, some at a time for bar and Ctrl-C.

    Raises:
      Stopped: Ctrl-C was pressed.
    """
    found = []
    with bar_of(title, n_init, 0, "restart") as bar:
        for first in range(0, n_init, RESTARTS_AT_ONCE):
            count = min(RESTARTS_AT_ONCE, n_init - first)
            part = jax.random.fold_in(key, first)
            found.append(k_means(part, x, n_clusters, n_init=count))
            best = min(found, key=lambda result: float(result.inertia))
            bar.set_postfix_str(f"inertia {float(best.inertia):.4g}", refresh=False)
            bar.update(count)
            if stop.asked:
                raise Stopped
    return best
