"""Times a whole run of DEC, phase by phase: `python -m benchmarks.end_to_end`.

Seconds of the recipe `dec` on MNIST, 784-500-500-2000-10 in batches of 256, without
augmentation and with a fixed number of epochs, as no tolerance ends clustering early. The
peer is the DEC of ClustPy (`pip install clustpy`), where it is installed, with the same data,
network, batch size, epochs and restarts of k-means. All alternate; the numbers are medians of
the rounds. A turn that compiles comes first and has columns of its own.

ClustPy differs in four ways. It computes p from each minibatch alone, where the paper and this
library refresh it from all samples. Its optimizer is Adam with learning rates of its own. At
the end it runs k-means on z once more, for labels that are not scored here. And it has fewer
phases, those that its public functions separate: DEC takes a pretrained network, and the class
that finds the first centroids. The accuracy of both is reported too, but after so few epochs it
does not show what either method reaches.
"""

import contextlib
import io
import statistics
import time
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.common import Benchmark, Column, new_row
from benchmarks.tables import Row
from benchmarks.train_step import CLUSTERS, WIDTH, dec_recipe
from dec_jax.clustering.kmeans import k_means
from dec_jax.data.load import DatasetNotFoundError, load_dataset
from dec_jax.evaluation.metrics import clustering_accuracy
from dec_jax.networks.autoencoder import embed
from dec_jax.networks.precision import PRECISIONS
from dec_jax.recipes.dense import Recipe
from dec_jax.runs.errors import UsageError, check_least
from dec_jax.training.cluster import train
from dec_jax.training.pretrain import PretrainConfig, pretrain_end_to_end
from dec_jax.training.state import init_state

BATCH = 256
PHASES = (
    "load",
    "pretraining",
    "k-means on z",
    "clustering",
    "final labels",
    "clustering and final labels",
    "total",
)
PEER = "ClustPy"


class Settings(NamedTuple):
    """The amount of work, which is the same for all."""

    rows: int
    epochs: int  # of pretraining
    clustering_epochs: int
    mnist: bool  # else made-up images


class Run(NamedTuple):
    """The measurements of one turn."""

    seconds: dict[str, float]  # by phase, of those that can be separated
    accuracy: float


class Clock:
    """Measures the seconds of one phase after the other."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._began = self._last = time.perf_counter()

    def end(self, phase: str) -> None:
        """Ends this phase and begins the next one."""
        now = time.perf_counter()
        self.seconds[phase] = now - self._last
        self._last = now

    def total(self) -> dict[str, float]:
        """Seconds of each phase, and of all together."""
        return {**self.seconds, "total": self._last - self._began}


def has_mnist() -> bool:
    """Reports whether MNIST is here or can be downloaded."""
    try:
        load_dataset("mnist")
    except DatasetNotFoundError:
        return False
    return True


def digits(settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Loads or makes images in bytes, and their classes."""
    if not settings.mnist:
        return made_up(settings.rows)
    data = load_dataset("mnist")
    assert data.labels is not None
    return data.x[: settings.rows], data.labels[: settings.rows]


def made_up(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Makes noisy copies of ten patterns, in bytes, and the number of each one's pattern."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 192, (CLUSTERS, WIDTH), dtype=np.uint8)
    labels = np.arange(rows, dtype=np.int32) % CLUSTERS
    noise = rng.integers(0, 64, (rows, WIDTH), dtype=np.uint8)
    return patterns[labels] + noise, labels


def recipe_of(settings: Settings, precision: str) -> Recipe:
    """The recipe `dec` with this amount of work, without augmentation."""
    recipe = dec_recipe(settings.rows, BATCH, precision, augmented=False)
    assert isinstance(recipe.pretrain, PretrainConfig)
    return replace(
        recipe,
        pretrain=replace(recipe.pretrain, epochs=settings.epochs),
        train=replace(recipe.train, max_intervals=settings.clustering_epochs),
    )


_embed = jax.jit(embed, static_argnames="architecture")


def run_stages(key: jax.Array, x: jax.Array, recipe: Recipe, clock: Clock) -> Any:
    """Pretrains, runs k-means on z, and trains; returns the labels."""
    pretrain_key, kmeans_key, train_key = jax.random.split(key, 3)
    network, config = recipe.architecture, recipe.train
    assert isinstance(recipe.pretrain, PretrainConfig)
    params, _ = pretrain_end_to_end(
        pretrain_key, x, architecture=network, config=recipe.pretrain
    )
    jax.block_until_ready(params)
    clock.end("pretraining")
    z = _embed(params, x, architecture=network)
    found = k_means(kmeans_key, z, CLUSTERS, n_init=recipe.n_init)
    jax.block_until_ready(found)
    clock.end("k-means on z")
    state = init_state(
        *(train_key, params, found.centroids, found.labels),
        objective=recipe.objective,
        config=config,
    )
    # After the last interval, `train` computes the final labels.
    result = train(
        state,
        x,
        architecture=network,
        objective=recipe.objective,
        config=config,
        on_interval=lambda state, history: clock.end(f"interval {int(state.step)}"),
    )
    clock.end("final labels")
    return result.labels


def ours(settings: Settings, precision: str) -> Run:
    """A turn of this library."""
    recipe = recipe_of(settings, precision)
    clock = Clock()
    images, classes = digits(settings)
    x = jax.block_until_ready(jnp.asarray(images))
    clock.end("load")
    labels = run_stages(jax.random.key(0), x, recipe, clock)
    seconds = clock.total()
    intervals = [name for name in seconds if name.startswith("interval")]
    seconds["clustering"] = sum(seconds.pop(name) for name in intervals)
    seconds[PHASES[5]] = seconds["clustering"] + seconds["final labels"]
    return Run(seconds, clustering_accuracy(classes, labels))


def clustpy(settings: Settings) -> Callable[[], Run] | None:
    """A turn of ClustPy's DEC; None where it is missing."""
    try:
        import torch
        from clustpy.deep import DEC
        from clustpy.deep.neural_networks import FeedforwardAutoencoder
        from sklearn.cluster import KMeans
    except ImportError:
        return None
    n_init = recipe_of(settings, "float32").n_init

    def run() -> Run:
        clock = Clock()
        images, classes = digits(settings)
        x = images.astype(np.float32) / 255
        clock.end("load")
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        network = FeedforwardAutoencoder(
            [x.shape[1], 500, 500, 2000, 10],
            activation_fn=torch.nn.ReLU,
            work_on_copy=False,
            random_state=0,
        ).to(device)
        network.fit(settings.epochs, batch_size=BATCH, data=x)
        clock.end("pretraining")

        class TimedKMeans(KMeans):
            """Ends the phase when the first centroids are found."""

            def fit(self, *args: Any, **options: Any) -> Any:
                super().fit(*args, **options)
                clock.end("k-means on z")
                return self

        method = DEC(
            CLUSTERS,
            batch_size=BATCH,
            neural_network=network,
            clustering_epochs=settings.clustering_epochs,
            initial_clustering_class=TimedKMeans,
            initial_clustering_params={"n_init": n_init},
            device=device,
            random_state=0,
        )
        method.fit(x)
        clock.end(PHASES[5])
        return Run(clock.total(), clustering_accuracy(classes, method.dec_labels_))

    def quietly() -> Run:
        # ClustPy prints messages and progress bars.
        nowhere = io.StringIO()
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            return run()

    return quietly


def measure(settings: Settings, rounds: int) -> list[Row]:
    """The rows of each precision; the peer, which has one, is next to float32."""
    programs: dict[str, Callable[[], Run]] = {
        precision: partial(ours, settings, precision) for precision in PRECISIONS
    }
    peer = clustpy(settings)
    if peer is not None:
        programs[PEER] = peer
    turns: dict[str, list[Run]] = {name: [] for name in programs}
    # The first turn compiles.
    for _ in range(1 + rounds):
        for name, program in programs.items():
            turns[name].append(program())
    rows = []
    for precision in PRECISIONS:
        theirs = turns.get(PEER) if precision == "float32" else None
        for phase in PHASES:
            rows.append(row(f"{phase}, {precision}", phase, turns[precision], theirs))
        # Shows a program that is fast and wrong.
        peer_accuracy = None if theirs is None else theirs[-1].accuracy
        accuracy = turns[precision][-1].accuracy
        rows.append(
            new_row(
                f"accuracy, {precision}",
                "ACC",
                accuracy,
                peer_accuracy,
                first_call=None,
                peer_first_call=None,
            )
        )
    return rows


def row(case: str, phase: str, mine: list[Run], theirs: list[Run] | None) -> Row:
    """Seconds of one phase: of the turn that compiles, and the median of the others."""

    def median(runs: list[Run]) -> float:
        return statistics.median(run.seconds[phase] for run in runs[1:])

    # The same function reads the files for both.
    if theirs is not None and (phase == "load" or phase not in theirs[0].seconds):
        theirs = None
    return new_row(
        case,
        "s",
        median(mine),
        None if theirs is None else median(theirs),
        first_call=mine[0].seconds[phase],
        peer_first_call=None if theirs is None else theirs[0].seconds[phase],
    )


def prepare(options: Namespace) -> None:
    """Checks the options and chooses the images."""
    check_least(vars(options), rows=CLUSTERS, epochs=1, clustering_epochs=1)
    mnist = has_mnist()
    options.data = "MNIST" if mnist else "made-up bytes, as MNIST is not here"
    present = len(digits(settings_of(options))[0])
    if present < options.rows:
        raise UsageError(f"--rows {options.rows}: MNIST has {present:,} images.")
    print(f"{options.rows:,} rows of {options.data}")


def settings_of(options: Namespace) -> Settings:
    """The amount of work that the options ask for."""
    work = (options.rows, options.epochs, options.clustering_epochs)
    return Settings(*work, mnist=options.data == "MNIST")


def rows(options: Namespace) -> list[Row]:
    """All phases, in both precisions."""
    return measure(settings_of(options), options.rounds)


BENCHMARK = Benchmark(
    "end_to_end",
    __doc__,
    rows,
    rounds=3,
    options={
        "--rows": {"default": 10_000, "help": "number of images"},
        "--epochs": {"default": 1, "help": "epochs of pretraining"},
        "--clustering-epochs": {"default": 2, "help": "epochs of clustering"},
    },
    columns=[
        Column("first call s", "first_call", ".2f"),
        Column("peer's first call", "peer_first_call", ".2f"),
    ],
    prepare=prepare,
)

if __name__ == "__main__":
    BENCHMARK.main()
