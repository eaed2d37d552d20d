"""What moving the images takes of a training step: `python -m benchmarks.augment`.

Milliseconds of our own steps of the recipe `dec`, pretraining and clustering, many in one
program, on images that are moved and on images as they are, which is the limit. Both, and
moving a batch on its own, take turns, several rounds; medians. The aim is at most a
quarter of a step.
"""

import statistics
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import train_step
from benchmarks.rows import arguments, in_turns, save
from dec_jax.networks.autoencoder import scale_input
from dec_jax.runs import provenance
from dec_jax.training.augmentation import augment
from dec_jax.training.cluster import train_step as step_of_dec
from dec_jax.training.state import TrainState

AIM = 0.25


def clustering(x: jax.Array, batch: int, precision: str, *, moved: bool) -> Any:
    """An epoch of steps of DEC without the refresh of p, in one program."""
    state, settings = train_step.clustering_start(batch, precision, moved=moved)
    weights = jnp.full(batch, 1 / batch)
    p = jnp.full((len(x), train_step.CLUSTERS), 1 / train_step.CLUSTERS)
    order = jax.random.permutation(jax.random.key(3), len(x))
    plan = order[: len(x) // batch * batch].reshape(-1, batch)

    @jax.jit
    def epoch(state: TrainState, x: jax.Array, p: jax.Array) -> TrainState:
        def step(state: TrainState, rows: jax.Array) -> tuple[TrainState, None]:
            return step_of_dec(state, x[rows], p[rows], weights, **settings)[0], None

        return jax.lax.scan(step, state, plan)[0]

    return lambda: jax.block_until_ready(epoch(state, x, p))


def moving(x: jax.Array, batch: int, precision: str) -> Any:
    """The same images moved and nothing else."""
    _, settings = train_step.clustering_start(batch, precision, moved=True)
    blocks = x[: len(x) // batch * batch].reshape(-1, batch, x.shape[1])

    @jax.jit
    def epoch(blocks: jax.Array) -> jax.Array:
        def move(total: jax.Array, block: jax.Array) -> tuple[jax.Array, None]:
            key = jax.random.fold_in(jax.random.key(0), total.astype(jnp.int32))
            seen = scale_input(block, settings["architecture"])
            seen = augment(key, seen, settings["config"].augmentation)
            return total + seen.sum(), None

        return jax.lax.scan(move, jnp.zeros(()), blocks)[0]

    return lambda: epoch(blocks).block_until_ready()


def measure(batch: int, precision: str, rounds: int) -> list[dict[str, Any]]:
    """A row for pretraining and one for clustering."""
    x = jnp.asarray(train_step.images())
    steps = len(x) // batch
    programs = {"moving": moving(x, batch, precision)}
    for moved in (True, False):
        kind = "moved" if moved else "still"
        programs[f"pretraining, {kind}"] = train_step.pretraining(
            x, batch, precision, moved=moved
        )
        programs[f"clustering, {kind}"] = clustering(x, batch, precision, moved=moved)
    in_turns(programs, 1)  # compiles
    seconds = in_turns(programs, rounds)
    rows = []
    for phase in ("pretraining", "clustering"):
        moved_s, still_s = (seconds[f"{phase}, {kind}"] for kind in ("moved", "still"))
        # Of each round, whose two halves are neighbors in time.
        ratios = [still / moved for still, moved in zip(still_s, moved_s, strict=True)]
        rows.append(
            {
                "case": f"{phase}, batch {batch}, {precision}",
                "ours": 1e3 * statistics.median(moved_s) / steps,
                "peer": None,
                "ratio": None,
                "limit_fraction": statistics.median(ratios),
                "unit": "ms",
                "still": 1e3 * statistics.median(still_s) / steps,
                "moving": 1e3 * statistics.median(seconds["moving"]) / steps,
            }
        )
    return rows


def main() -> None:
    """Measures and prints a table."""
    parser = arguments(__doc__, rounds=7)
    parser.add_argument("--batch", type=int, nargs="+", default=[256, 1024])
    options = parser.parse_args()
    print(f"ms a step on {provenance.device()}, jax {jax.__version__}")
    print(f"{'case':<34}{'moved':>8}{'still':>8}{'moving alone':>14}{'share':>7}")
    rows = []
    for batch in options.batch:
        for precision in ("float32", "bfloat16"):
            for row in measure(batch, precision, options.rounds):
                rows.append(row)
                share = 1 - row["limit_fraction"]
                print(
                    f"{row['case']:<34}{row['ours']:>8.2f}{row['still']:>8.2f}"
                    f"{row['moving']:>14.2f}{share:>7.0%}"
                    f"{'' if share <= AIM else f'  above {AIM:.0%}'}",
                    flush=True,
                )
    if options.save:
        save("augment", rows, vars(options))


if __name__ == "__main__":
    main()
