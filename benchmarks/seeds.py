"""Several seeds at once, beside one after another: `python -m benchmarks.seeds`.

Seconds in which N seeds of the recipe `dec` take an epoch of pretraining, and an interval
of clustering (a refresh of p, then an epoch of steps), on made-up images: all in one
program of `dec_jax.training.many_seeds`, and by the programs of a single run, one seed after another.
The limit is one seed alone: N for the price of one. All take turns, several rounds;
medians. The aim is 5 seeds on a GPU for less than twice the time of one.
"""

import statistics
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.rows import arguments, in_turns, save
from dec_jax.recipes.dense import DataShape, make_recipe
from dec_jax.runs import provenance
from dec_jax.training import many_seeds
from dec_jax.training.cluster import _train_intervals
from dec_jax.training.pretrain import PretrainConfig, _pretrain_epochs, init_pretraining
from dec_jax.training.state import init_state

SIDE, CLUSTERS = 28, 10
SAMPLES = 16_384
AIM = 2.0  # times one seed, for 5 of them on a GPU
Round = Callable[[], None]


def images(samples: int) -> jax.Array:
    """Random bytes, a row an image."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (samples, SIDE * SIDE), dtype=np.uint8)
    return jnp.asarray(pixels)


def recipe_of(x: jax.Array, batch: int, precision: str) -> tuple[Any, Any, Any]:
    """Network and settings of the recipe; an interval of clustering is an epoch."""
    shape = DataShape(len(x), SIDE * SIDE, (SIDE, SIDE, 1))
    recipe = make_recipe("dec", shape)
    assert isinstance(recipe.pretrain, PretrainConfig)
    return (
        replace(recipe.architecture, precision=precision),
        replace(recipe.pretrain, batch_size=batch),
        replace(
            recipe.train,
            batch_size=batch,
            update_interval=len(x) // batch,
            tolerance=0.0,
        ),
    )


def pretraining(
    x: jax.Array, batch: int, precision: str, n_seeds: int, at_once: int
) -> tuple[Round, Round]:
    """An epoch of each seed: in one program, and one after another."""
    architecture, config, _ = recipe_of(x, batch, precision)
    settings = {"architecture": architecture, "config": config}
    states = [
        init_pretraining(jax.random.key(seed), n_samples=len(x), **settings)
        for seed in range(n_seeds)
    ]
    stacked, active = many_seeds.stack(states), jnp.ones(n_seeds, bool)

    def together() -> None:
        nonlocal stacked
        stacked, _ = many_seeds._pretrain_epoch(
            stacked, active, x, at_once=at_once, **settings
        )
        jax.block_until_ready(stacked)

    def apart() -> None:
        for seed, state in enumerate(states):
            states[seed], _ = _pretrain_epochs(state, x, num_epochs=1, **settings)
            jax.block_until_ready(states[seed])

    return together, apart


def clustering(
    x: jax.Array, batch: int, precision: str, n_seeds: int, at_once: int
) -> tuple[Round, Round]:
    """An interval of each seed: in one program, and one after another."""
    architecture, pretrain, config = recipe_of(x, batch, precision)
    objective = make_recipe("dec", DataShape(len(x), SIDE * SIDE)).objective
    settings = {"architecture": architecture, "objective": objective, "config": config}
    states = []
    for seed in range(n_seeds):
        key = jax.random.key(seed)
        network = init_pretraining(
            key, architecture=architecture, config=pretrain, n_samples=len(x)
        )
        centroids = jax.random.normal(key, (CLUSTERS, architecture.embedding_dim))
        labels = jnp.zeros(len(x), jnp.int32)
        states.append(
            init_state(
                *(key, network.params, centroids, labels),
                objective=objective,
                config=config,
            )
        )
    stacked, active = many_seeds.stack(states), jnp.ones(n_seeds, bool)

    def together() -> None:
        nonlocal stacked
        stacked, _ = many_seeds._train_intervals(
            stacked, active, x, num_intervals=1, at_once=at_once, **settings
        )
        jax.block_until_ready(stacked)

    def apart() -> None:
        for seed, state in enumerate(states):
            states[seed], _ = _train_intervals(state, x, num_intervals=1, **settings)
            jax.block_until_ready(states[seed])

    return together, apart


PHASES = {"pretraining": pretraining, "clustering": clustering}


def measure(
    x: jax.Array,
    n_seeds: int,
    batch: int,
    precision: str,
    rounds: int,
    at_once: int | None = None,
) -> list[dict[str, Any]]:
    """A row for each phase."""
    width = at_once or many_seeds.default_at_once(n_seeds)
    rows = []
    for phase, programs in PHASES.items():
        together, apart = programs(x, batch, precision, n_seeds, width)
        _, one = programs(x, batch, precision, 1, 1)
        everyone = {"together": together, "apart": apart, "one": one}
        in_turns(everyone, 1)  # compiles
        seconds = in_turns(everyone, rounds)
        median = {name: statistics.median(found) for name, found in seconds.items()}
        # Of each round, whose parts are neighbors in time.
        ratio, share = (
            statistics.median(
                other / ours
                for ours, other in zip(seconds["together"], seconds[name], strict=True)
            )
            for name in ("apart", "one")
        )
        shared = f", {width} at once" if width < n_seeds else ""
        rows.append(
            {
                "case": f"{phase}, {n_seeds} seeds{shared}, batch {batch}, {precision}",
                "ours": median["together"],
                "peer": median["apart"],
                "ratio": ratio,
                "limit_fraction": share,
                "unit": "s",
                "one": median["one"],
                "n_seeds": n_seeds,
                "at_once": width,
            }
        )
    return rows


def main() -> None:
    """Measures and prints a table."""
    parser = arguments(__doc__, rounds=5)
    add = parser.add_argument
    add("--seeds", metavar="N", type=int, nargs="+", default=[1, 2, 5])
    add(
        "--at-once",
        metavar="N",
        type=int,
        help="seeds that share a step (default: all, on a CPU 1)",
    )
    add("--batch", type=int, default=256)
    add("--precision", default="float32")
    add("--samples", type=int, default=SAMPLES)
    options = parser.parse_args()
    print(
        f"s an epoch or interval on {provenance.device()}, jax {jax.__version__}\n"
        f"{'case':<56}{'at once':>9}{'in turn':>9}{'ratio':>7}{'times one':>11}"
    )
    x = images(options.samples)
    rows = []
    for n_seeds in options.seeds:
        for row in measure(
            *(x, n_seeds, options.batch, options.precision, options.rounds),
            at_once=options.at_once,
        ):
            rows.append(row)
            times_one = 1 / row["limit_fraction"]
            missed = jax.default_backend() != "cpu" and n_seeds == 5 and times_one > AIM
            print(
                f"{row['case']:<56}{row['ours']:>9.3f}{row['peer']:>9.3f}"
                f"{row['ratio']:>7.2f}{times_one:>11.2f}"
                f"{f'  above {AIM:g}' if missed else ''}",
                flush=True,
            )
    if options.save:
        save("seeds", rows, vars(options))


if __name__ == "__main__":
    main()
