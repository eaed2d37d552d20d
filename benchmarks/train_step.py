"""Samples a second of training, beside PyTorch's: `python -m benchmarks.train_step`.

The pretraining of the recipe `dec` on uint8 images, with and without moving them, and its
clustering steps: our own programs, many steps in one, as the experiments run them. The
peer is the same network, loss and optimizer in PyTorch (bfloat16: autocast), where it is
installed: eager, and by `torch.compile`, on a GPU with CUDA graphs. Its learning rate is
constant where ours grows at first, so that the losses of the first epoch, told beside, are
not equal. The limit is a square product in the same precision, in the
same run. All take turns, several rounds; medians.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.rows import arguments, in_turns, save
from dec_jax.objectives import DEC
from dec_jax.recipes.dense import DataShape, make_recipe
from dec_jax.runs import provenance
from dec_jax.training.augmentation import Augmentation
from dec_jax.training.cluster import _train_intervals
from dec_jax.training.pretrain import PretrainConfig, _pretrain_epochs, init_pretraining
from dec_jax.training.state import TrainState, init_state

SAMPLES, SIDE, CLUSTERS = 16_384, 28, 10
WIDTH = SIDE * SIDE
LIMIT_SIZE = 2_048  # of the square product
EAGER, COMPILED = "PyTorch", "torch.compile"
Round = Callable[[], float]  # an epoch; the mean loss of its steps


def images() -> np.ndarray:
    """As many bytes as 16,384 digits have."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (SAMPLES, WIDTH), dtype=np.uint8)


def flops_per_sample(objective: str) -> float:
    """Of the matrix products: forward, and twice that backward, 2 a weight."""
    widths = [WIDTH, 500, 500, 2000, 10]
    weights = sum(a * b for a, b in zip(widths, widths[1:], strict=False))
    # DEC has no decoder. The gradient by the pixels is not needed.
    both = 2 if objective == "pretraining" else 1
    return 2 * (3 * both * weights - WIDTH * 500)


def pretraining(x: jax.Array, batch: int, precision: str, *, moved: bool) -> Round:
    """One epoch of ours."""
    recipe = make_recipe("dec", DataShape(SAMPLES, WIDTH, (SIDE, SIDE, 1)))
    assert isinstance(recipe.pretrain, PretrainConfig)
    config = replace(recipe.pretrain, batch_size=batch)
    if not moved:
        config = replace(config, augmentation=Augmentation())
    settings: dict[str, Any] = {
        "architecture": replace(recipe.architecture, precision=precision),
        "config": config,
    }
    state = init_pretraining(jax.random.key(0), n_samples=SAMPLES, **settings)

    def one() -> float:
        nonlocal state
        state, loss = _pretrain_epochs(state, x, num_epochs=1, **settings)
        jax.block_until_ready(state)
        return float(loss[0])

    return one


def clustering_start(
    batch: int, precision: str, *, moved: bool
) -> tuple[TrainState, dict[str, Any]]:
    """What DEC starts from, and its settings."""
    recipe = make_recipe("dec", DataShape(SAMPLES, WIDTH, (SIDE, SIDE, 1)))
    settings: dict[str, Any] = {
        "architecture": replace(recipe.architecture, precision=precision),
        "objective": DEC(),
        "config": replace(
            recipe.train,
            batch_size=batch,
            update_interval=SAMPLES // batch,
            augmentation=recipe.train.augmentation if moved else Augmentation(),
            tolerance=0.0,
        ),
    }
    network = init_pretraining(
        jax.random.key(0),
        architecture=settings["architecture"],
        config=PretrainConfig(),
        n_samples=SAMPLES,
    )
    state = init_state(
        jax.random.key(1),
        network.params,
        jax.random.normal(jax.random.key(2), (CLUSTERS, 10)),
        jnp.zeros(SAMPLES, jnp.int32),
        objective=settings["objective"],
        config=settings["config"],
    )
    return state, settings


def clustering(x: jax.Array, batch: int, precision: str) -> Round:
    """One interval of DEC of ours: a refresh of p, and an epoch of steps."""
    state, settings = clustering_start(batch, precision, moved=False)

    def one() -> float:
        nonlocal state
        state, history = _train_intervals(state, x, num_intervals=1, **settings)
        jax.block_until_ready(state)
        return float(history.loss[0])

    return one


def limit(precision: str) -> Callable[[], float]:
    """GFLOP/s of a product of two square matrices, now."""
    a = jnp.ones((LIMIT_SIZE, LIMIT_SIZE), precision)
    product = jax.jit(partial(jnp.matmul, preferred_element_type=jnp.float32))
    product(a, a).block_until_ready()

    def now() -> float:
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            product(a, a).block_until_ready()
            seconds.append(time.perf_counter() - start)
        return 2 * LIMIT_SIZE**3 / statistics.median(seconds) / 1e9

    return now


def torch_pretraining(
    x: np.ndarray, batch: int, precision: str, *, compiled: bool = False
) -> Round | None:
    """One epoch of PyTorch, images as they are; None where it is missing."""
    try:
        import torch
    except ImportError:
        return None
    device = "cuda" if torch.cuda.is_available() else "cpu"
    widths = [WIDTH, 500, 500, 2000, 10, 2000, 500, 500, WIDTH]
    layers: list[Any] = []
    for index, (a, b) in enumerate(zip(widths, widths[1:], strict=False)):
        layers.append(torch.nn.Linear(a, b))
        if index not in (3, 7):
            layers.append(torch.nn.ReLU())
    network = torch.nn.Sequential(*layers).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    data = torch.from_numpy(x).to(device)

    def loss_of(seen: Any) -> Any:
        with torch.autocast(device, torch.bfloat16, precision == "bfloat16"):
            return torch.nn.functional.mse_loss(network(seen).float(), seen)

    if compiled:
        # CUDA graphs, which spare a GPU most of what Python costs; a CPU has none.
        mode = "reduce-overhead" if device == "cuda" else "default"
        loss_of = torch.compile(loss_of, mode=mode)

    def one() -> float:
        losses = []
        for rows in torch.randperm(SAMPLES, device=device).split(batch):
            optimizer.zero_grad()
            loss = loss_of(data[rows].float() / 255)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return torch.stack(losses).mean().item()

    return one


def first_calls(programs: dict[str, Round]) -> dict[str, dict[str, float]]:
    """Seconds and loss of each program's first epoch, which compiles it.

    Of PyTorch's compiler, which is no part of this project and needs one of C++, a
    failure leaves its row out.
    """
    found = {}
    for name, one in list(programs.items()):
        start = time.perf_counter()
        try:
            loss = one()
        except Exception as error:
            if name != COMPILED:
                raise
            print(f"{name} does not run here: {str(error).splitlines()[0]}")
            del programs[name]
            continue
        found[name] = {"first_call": time.perf_counter() - start, "loss": loss}
    return found


def measure(batch: int, precision: str, rounds: int) -> list[dict[str, Any]]:
    """The rows of one batch size and precision."""
    bytes_ = images()
    x = jnp.asarray(bytes_)
    ours = {
        "pretraining": pretraining(x, batch, precision, moved=False),
        "pretraining, moved images": pretraining(x, batch, precision, moved=True),
        "clustering": clustering(x, batch, precision),
    }
    peers = {
        name: torch_pretraining(bytes_, batch, precision, compiled=name == COMPILED)
        for name in (EAGER, COMPILED)
    }
    everyone = {**ours, **{name: one for name, one in peers.items() if one}}
    first = first_calls(everyone)
    speed = limit(precision)
    speeds: list[float] = []

    def measured_limit() -> float:
        speeds.append(speed())
        return speeds[-1]

    # Its own time is of no interest.
    everyone["limit"] = measured_limit
    seconds = in_turns(everyone, rounds)
    rates = {name: SAMPLES / statistics.median(took) for name, took in seconds.items()}
    rows = []
    for name in ours:
        flops = flops_per_sample(name.split(",")[0])
        common = {
            "ours": rates[name],
            "limit_fraction": rates[name] * flops / 1e9 / statistics.median(speeds),
            "unit": "samples/s",
            **first[name],
        }
        beside = [""]
        if name == "pretraining":
            beside = [one for one in (EAGER, COMPILED) if one in rates] or [""]
        for one in beside:
            words = f"{name}, beside {one}" if one == COMPILED else name
            theirs = rates.get(one)
            rows.append(
                {
                    "case": f"{words}, batch {batch}, {precision}",
                    "peer": theirs,
                    "ratio": None if theirs is None else rates[name] / theirs,
                    "peer_loss": None if theirs is None else first[one]["loss"],
                    **common,
                }
            )
    return rows


def main() -> None:
    """Measures and prints a table."""
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("--batch", type=int, nargs="+", default=[256, 1024, 4096, 8192])
    options = parser.parse_args()
    head = f"{'case':<58}{'ours':>9}{'PyTorch':>9}{'ratio':>7}{'of limit':>10}{'first s':>9}"
    head += f"{'loss':>9}{'theirs':>9}"
    print(f"samples/s on {provenance.device()}, jax {jax.__version__}\n{head}")
    rows = []
    for batch in options.batch:
        for precision in ("float32", "bfloat16"):
            for row in measure(batch, precision, options.rounds):
                rows.append(row)
                peer = "-" if row["peer"] is None else f"{row['peer']:.0f}"
                ratio = "-" if row["ratio"] is None else f"{row['ratio']:.2f}"
                loss = row["peer_loss"]
                print(
                    f"{row['case']:<58}{row['ours']:>9.0f}{peer:>9}{ratio:>7}"
                    f"{row['limit_fraction']:>10.0%}{row['first_call']:>9.1f}"
                    f"{row['loss']:>9.5f}{'-' if loss is None else f'{loss:.5f}':>9}",
                    flush=True,
                )
    if options.save:
        save("train_step", rows, vars(options))


if __name__ == "__main__":
    main()
