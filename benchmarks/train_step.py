"""Is training faster than in PyTorch? `python -m benchmarks.train_step`.

Samples a second of the recipe `dec` on uint8 images: pretraining with and without
augmentation, and clustering, with many steps in one program, as a run has them. The peer is
the same network, loss and optimizer in PyTorch, where it is installed: eager, and by
`torch.compile`, on a GPU with CUDA graphs. Its bfloat16 is autocast. Its learning rate is
constant and ours is warmed up, so that the losses of the first epoch, which are columns of
their own, differ. The limit is a product of two square matrices in the same precision, in
the same run. All alternate; the numbers are medians of the rounds.
"""

import statistics
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.common import (
    Benchmark,
    Column,
    continued,
    in_turns,
    medians,
    new_row,
    recorded,
    timed,
)
from benchmarks.tables import Row
from dec_jax.networks.own import change_network
from dec_jax.networks.precision import PRECISIONS
from dec_jax.recipes.dense import DataShape, Recipe, make_recipe
from dec_jax.training.augmentation import Augmentation
from dec_jax.training.cluster import _train_intervals
from dec_jax.training.minibatches import steps_per_epoch
from dec_jax.training.pretrain import (
    PretrainConfig,
    PretrainState,
    _pretrain_epochs,
    init_pretraining,
)
from dec_jax.training.state import TrainState, init_state

SAMPLES, SIDE, CLUSTERS = 16_384, 28, 10
WIDTH = SIDE * SIDE
LIMIT_SIZE = 2_048  # rows and columns of the limit's matrices
EAGER, COMPILED = "PyTorch", "torch.compile"
Epoch = Callable[[], float]  # trains for an epoch; returns the mean loss of its steps


def images(n_samples: int) -> np.ndarray:
    """Random bytes, a row for each image."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (n_samples, WIDTH), dtype=np.uint8)


def flops_per_sample(phase: str) -> float:
    """FLOPs of the matrix products: 2 a weight forward, and twice as many backward."""
    widths = [WIDTH, 500, 500, 2000, 10]
    weights = sum(a * b for a, b in zip(widths, widths[1:], strict=False))
    # DEC has no decoder. The gradient with respect to the pixels is not needed.
    both = 2 if phase == "pretraining" else 1
    return 2 * (3 * both * weights - WIDTH * 500)


def dec_recipe(
    n_samples: int, batch: int, precision: str, *, augmented: bool
) -> Recipe:
    """The recipe `dec` for images of 28 x 28 bytes; an interval is an epoch."""
    recipe = make_recipe("dec", DataShape(n_samples, WIDTH, (SIDE, SIDE, 1)))
    assert isinstance(recipe.pretrain, PretrainConfig)
    shared: dict[str, Any] = {"batch_size": batch}
    if not augmented:
        shared["augmentation"] = Augmentation()
    return replace(
        recipe,
        architecture=change_network(recipe.architecture, precision=precision),
        pretrain=replace(recipe.pretrain, **shared),
        train=replace(
            recipe.train,
            update_interval=steps_per_epoch(n_samples, batch),
            tolerance=0.0,
            **shared,
        ),
    )


def pretraining_start(
    n_samples: int, batch: int, precision: str, *, augmented: bool, seed: int = 0
) -> tuple[PretrainState, dict[str, Any]]:
    """The state before pretraining, and the settings of its functions."""
    recipe = dec_recipe(n_samples, batch, precision, augmented=augmented)
    settings: dict[str, Any] = {
        "architecture": recipe.architecture,
        "config": recipe.pretrain,
    }
    state = init_pretraining(jax.random.key(seed), n_samples=n_samples, **settings)
    return state, settings


def clustering_start(
    n_samples: int, batch: int, precision: str, *, augmented: bool, seed: int = 0
) -> tuple[TrainState, dict[str, Any]]:
    """A state before clustering, of random parameters, and the settings of its functions."""
    recipe = dec_recipe(n_samples, batch, precision, augmented=augmented)
    settings = {
        "architecture": recipe.architecture,
        "objective": recipe.objective,
        "config": recipe.train,
    }
    params_key, state_key, centroids_key = (
        jax.random.key(3 * seed + i) for i in range(3)
    )
    network = init_pretraining(
        params_key,
        architecture=recipe.architecture,
        config=PretrainConfig(),
        n_samples=n_samples,
    )
    width = recipe.architecture.embedding_dim
    state = init_state(
        state_key,
        network.params,
        jax.random.normal(centroids_key, (CLUSTERS, width)),
        jnp.zeros(n_samples, jnp.int32),
        objective=recipe.objective,
        config=recipe.train,
    )
    return state, settings


def pretraining(x: jax.Array, batch: int, precision: str, *, augmented: bool) -> Epoch:
    """An epoch of pretraining."""
    state, settings = pretraining_start(len(x), batch, precision, augmented=augmented)
    return continued(
        lambda state: _pretrain_epochs(state, x, num_epochs=1, **settings), state
    )


def clustering(x: jax.Array, batch: int, precision: str) -> Epoch:
    """An interval of DEC: a refresh of p, and an epoch of steps."""
    state, settings = clustering_start(len(x), batch, precision, augmented=False)
    return continued(
        lambda state: _train_intervals(state, x, num_intervals=1, **settings), state
    )


def limit(precision: str) -> Callable[[], float]:
    """Measures the GFLOP/s of a product of two square matrices, at each call anew."""
    a = jnp.ones((LIMIT_SIZE, LIMIT_SIZE), precision)
    product = jax.jit(partial(jnp.matmul, preferred_element_type=jnp.float32))
    timed(lambda: product(a, a))  # compiles

    def measured() -> float:
        seconds = in_turns({"product": lambda: product(a, a)}, 3)
        return 2 * LIMIT_SIZE**3 / medians(seconds)["product"] / 1e9

    return measured


def torch_pretraining(
    x: np.ndarray, batch: int, precision: str, *, compiled: bool = False
) -> Epoch | None:
    """An epoch of pretraining in PyTorch without augmentation; None where it is missing."""
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

    def loss_of(batch: Any) -> Any:
        with torch.autocast(device, torch.bfloat16, precision == "bfloat16"):
            return torch.nn.functional.mse_loss(network(batch).float(), batch)

    if compiled:
        # CUDA graphs save a GPU most of the time that Python takes; a CPU has none.
        mode = "reduce-overhead" if device == "cuda" else "default"
        loss_of = torch.compile(loss_of, mode=mode)

    def one() -> float:
        losses = []
        for rows in torch.randperm(len(x), device=device).split(batch):
            optimizer.zero_grad()
            loss = loss_of(data[rows].float() / 255)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return torch.stack(losses).mean().item()

    return one


def first_calls(programs: dict[str, Epoch]) -> dict[str, dict[str, float]]:
    """Seconds and loss of each program's first epoch, which compiles it.

    PyTorch's compiler needs a C++ compiler. If it fails, its program is removed.
    """
    found = {}
    for name, program in list(programs.items()):
        try:
            seconds, loss = timed(program)
        except Exception as error:
            if name != COMPILED:
                raise
            print(f"{name} does not run here: {str(error).splitlines()[0]}")
            del programs[name]
            continue
        found[name] = {"first_call": seconds, "loss": loss}
    return found


def measure(batch: int, precision: str, rounds: int) -> list[Row]:
    """The rows of one batch size and precision."""
    pixels = images(SAMPLES)
    x = jnp.asarray(pixels)
    ours: dict[str, Epoch] = {
        "pretraining": pretraining(x, batch, precision, augmented=False),
        "pretraining, moved images": pretraining(x, batch, precision, augmented=True),
        "clustering": clustering(x, batch, precision),
    }
    peers = {
        name: torch_pretraining(pixels, batch, precision, compiled=name == COMPILED)
        for name in (EAGER, COMPILED)
    }
    programs = {**ours, **{name: peer for name, peer in peers.items() if peer}}
    first = first_calls(programs)
    limits: list[float] = []
    everything = {**programs, "limit": recorded(limit(precision), limits)}
    seconds = medians(in_turns(everything, rounds))
    rates = {name: SAMPLES / seconds[name] for name in programs}
    rows = []
    for name in ours:
        flops = flops_per_sample(name.split(",")[0])
        beside = [one for one in (EAGER, COMPILED) if one in rates]
        for peer in beside if name == "pretraining" and beside else [""]:
            words = f"{name}, beside {peer}" if peer == COMPILED else name
            row = new_row(
                f"{words}, batch {batch}, {precision}",
                "samples/s",
                rates[name],
                rates.get(peer),
                limit_fraction=rates[name] * flops / 1e9 / statistics.median(limits),
                peer_loss=first[peer]["loss"] if peer else None,
                **first[name],
            )
            rows.append(row)
    return rows


def rows(options: Namespace) -> Iterator[Row]:
    """All batch sizes, in both precisions."""
    for batch in options.batch:
        for precision in PRECISIONS:
            yield from measure(batch, precision, options.rounds)


BENCHMARK = Benchmark(
    "train_step",
    __doc__,
    rows,
    rounds=5,
    options={
        "--batch": {
            "nargs": "+",
            "default": [256, 1024, 4096, 8192],
            "help": "samples in a step",
        }
    },
    columns=[
        Column("first call s", "first_call", ".1f"),
        Column("loss", "loss", ".5f"),
        Column("peer's loss", "peer_loss", ".5f"),
    ],
)

if __name__ == "__main__":
    BENCHMARK.main()
