"""A whole run of DEC, seconds by phase: `python -m benchmarks.end_to_end`.

The recipe `dec` on MNIST, 784-500-500-2000-10 in batches of 256, by the functions that the
experiments call, with fixed work: no tolerance ends it early. The peer is the DEC of ClustPy
(`pip install clustpy`), where it is installed: the same data, network, batch, epochs and
restarts of k-means. Images are not moved here, as the peer does not move them. All take
turns; medians of the rounds. A turn that compiles comes first and is told beside.

What the peer does in another way: p comes from each minibatch alone, where the paper and
ours refresh it from all samples; its steps are Adam's, of its own default learning rates;
k-means at its end clusters z once more, for labels that are not scored here. Its phases are
those that its public functions tell apart: a pretrained network can be given to DEC, and
the class that finds the first centroids. The accuracy of both stands beside the times. So
short a run is no measure of what either method reaches.
"""

import contextlib
import io
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.rows import arguments, save
from dec_jax.clustering.kmeans import k_means
from dec_jax.data.load import DatasetNotFoundError, load_dataset
from dec_jax.evaluation.metrics import clustering_accuracy
from dec_jax.networks.autoencoder import embed
from dec_jax.networks.precision import PRECISIONS
from dec_jax.recipes.dense import DataShape, Recipe, make_recipe
from dec_jax.runs import provenance
from dec_jax.training.augmentation import Augmentation
from dec_jax.training.cluster import train
from dec_jax.training.minibatches import steps_per_epoch
from dec_jax.training.pretrain import PretrainConfig, pretrain_end_to_end
from dec_jax.training.state import init_state

BATCH, CLUSTERS, SIDE = 256, 10, 28
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
LEAST = {"rows": CLUSTERS, "epochs": 1, "clustering_epochs": 1}


class Settings(NamedTuple):
    """How much work is done; the same for all."""

    rows: int
    epochs: int  # of pretraining
    clustering_epochs: int
    mnist: bool  # else made-up images


class Run(NamedTuple):
    """One turn."""

    seconds: dict[str, float]  # by phase; those that cannot be told apart are missing
    accuracy: float


class Clock:
    """Seconds of one phase after the other."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._began = self._last = time.perf_counter()

    def end(self, phase: str) -> None:
        """The phase ends here, and the next one begins."""
        now = time.perf_counter()
        self.seconds[phase] = now - self._last
        self._last = now

    def total(self) -> dict[str, float]:
        """All phases, and how long they took together."""
        return {**self.seconds, "total": self._last - self._began}


def has_mnist() -> bool:
    """Whether MNIST is here or can be had."""
    try:
        load_dataset("mnist")
    except DatasetNotFoundError:
        return False
    return True


def digits(settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Images in bytes, and their classes."""
    if not settings.mnist:
        return made_up(settings.rows)
    data = load_dataset("mnist")
    assert data.labels is not None
    return data.x[: settings.rows], data.labels[: settings.rows]


def made_up(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy copies of ten patterns, in bytes, and which pattern each one is."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 192, (CLUSTERS, SIDE * SIDE), dtype=np.uint8)
    labels = np.arange(rows, dtype=np.int32) % CLUSTERS
    noise = rng.integers(0, 64, (rows, SIDE * SIDE), dtype=np.uint8)
    return patterns[labels] + noise, labels


def recipe_of(settings: Settings, precision: str) -> Recipe:
    """The recipe `dec` with as much work as asked for, on images as they are."""
    shape = DataShape(settings.rows, SIDE * SIDE, (SIDE, SIDE, 1))
    recipe = make_recipe("dec", shape)
    assert isinstance(recipe.pretrain, PretrainConfig)
    still: dict[str, Any] = {"augmentation": Augmentation(), "batch_size": BATCH}
    return replace(
        recipe,
        architecture=replace(recipe.architecture, precision=precision),
        pretrain=replace(recipe.pretrain, epochs=settings.epochs, **still),
        train=replace(
            recipe.train,
            update_interval=steps_per_epoch(settings.rows, BATCH),
            max_intervals=settings.clustering_epochs,
            tolerance=0.0,
            **still,
        ),
    )


_embed = jax.jit(embed, static_argnames="architecture")


def ours(settings: Settings, precision: str) -> Run:
    """All phases of ours."""
    recipe = recipe_of(settings, precision)
    network, config = recipe.architecture, recipe.train
    assert isinstance(recipe.pretrain, PretrainConfig)
    pretrain_key, kmeans_key, train_key = jax.random.split(jax.random.key(0), 3)
    clock = Clock()
    images, classes = digits(settings)
    x = jax.block_until_ready(jnp.asarray(images))
    clock.end("load")
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
    # The last interval ends the phase; what `train` does after it are the final labels.
    result = train(
        state,
        x,
        architecture=network,
        objective=recipe.objective,
        config=config,
        on_interval=lambda state, history: clock.end(f"interval {int(state.step)}"),
    )
    clock.end("final labels")
    seconds = clock.total()
    intervals = [name for name in seconds if name.startswith("interval")]
    seconds["clustering"] = sum(seconds.pop(name) for name in intervals)
    seconds[PHASES[5]] = seconds["clustering"] + seconds["final labels"]
    return Run(seconds, clustering_accuracy(classes, result.labels))


def clustpy(settings: Settings) -> Callable[[], Run] | None:
    """All phases of ClustPy's DEC; None where it is missing."""
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
            """Tells when the first centroids are found."""

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
        # It prints what it does, and its bars.
        nowhere = io.StringIO()
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            return run()

    return quietly


def measure(settings: Settings, rounds: int) -> list[dict[str, Any]]:
    """The rows of each precision of ours; the peer, which has one, beside float32."""
    programs: dict[str, Callable[[], Run]] = {
        precision: partial(ours, settings, precision) for precision in PRECISIONS
    }
    peer = clustpy(settings)
    if peer is not None:
        programs[PEER] = peer
    turns: dict[str, list[Run]] = {name: [] for name in programs}
    # Before the rounds, a turn that compiles.
    for _ in range(1 + rounds):
        for name, program in programs.items():
            turns[name].append(program())
    rows = []
    for precision in PRECISIONS:
        theirs = turns.get(PEER) if precision == "float32" else None
        for phase in PHASES:
            rows.append(row(f"{phase}, {precision}", phase, turns[precision], theirs))
        rows.append(accuracy_row(precision, turns[precision], theirs))
    return rows


def row(
    case: str, phase: str, mine: list[Run], theirs: list[Run] | None
) -> dict[str, Any]:
    """Seconds of one phase: of the turn that compiles, and the median of the others."""

    def median(runs: list[Run]) -> float:
        return statistics.median(run.seconds[phase] for run in runs[1:])

    # The files are read by the same function in both.
    if theirs is not None and (phase == "load" or phase not in theirs[0].seconds):
        theirs = None
    peer = None if theirs is None else median(theirs)
    return {
        "case": case,
        "ours": median(mine),
        "peer": peer,
        "ratio": None if peer is None else peer / median(mine),
        "limit_fraction": None,
        "unit": "s",
        "first_call": mine[0].seconds[phase],
        "peer_first_call": None if theirs is None else theirs[0].seconds[phase],
    }


def accuracy_row(
    precision: str, mine: list[Run], theirs: list[Run] | None
) -> dict[str, Any]:
    """What the last turns found: what is fast and wrong shows here."""
    return {
        "case": f"accuracy, {precision}",
        "ours": mine[-1].accuracy,
        "peer": None if theirs is None else theirs[-1].accuracy,
        "ratio": None,
        "limit_fraction": None,
        "unit": "ACC",
        "first_call": None,
        "peer_first_call": None,
    }


def line(row: dict[str, Any]) -> str:
    """A row as it is printed."""
    names = ("ours", "peer", "ratio", "first_call", "peer_first_call")
    cells = ["-" if row[name] is None else f"{row[name]:.2f}" for name in names]
    return f"{row['case']:<40}{row['unit']:<5}" + "".join(f"{c:>10}" for c in cells)


def main() -> None:
    """Measures and prints a table."""
    parser = arguments(__doc__, rounds=3)
    for name, default, text in (
        ("rows", 10_000, "images"),
        ("epochs", 1, "passes over them in pretraining"),
        ("clustering-epochs", 2, "passes over them in clustering"),
    ):
        text += f" (default {default})"
        parser.add_argument(
            f"--{name}", metavar="N", type=int, default=default, help=text
        )
    options = parser.parse_args()
    for name, least in (("rounds", 1), *LEAST.items()):
        if getattr(options, name) < least:
            option = name.replace("_", "-")
            raise SystemExit(
                f"--{option} must be at least {least}, got {getattr(options, name)}."
            )
    settings = Settings(
        *(options.rows, options.epochs, options.clustering_epochs), has_mnist()
    )
    present = len(digits(settings)[0])
    if present < settings.rows:
        raise SystemExit(f"--rows {settings.rows}: MNIST has {present:,} images.")
    data = "MNIST" if settings.mnist else "made-up bytes, as MNIST is not here"
    print(
        f"{settings.rows:,} rows of {data}, on {provenance.device()}, jax "
        f"{jax.__version__}\n{'':<45}{'ours':>10}{PEER:>10}{'ratio':>10}"
        f"{'first':>10}{'theirs':>10}"
    )
    rows = measure(settings, options.rounds)
    print("\n".join(map(line, rows)))
    if options.save:
        save("end_to_end", rows, {**vars(options), "data": data})


if __name__ == "__main__":
    main()
