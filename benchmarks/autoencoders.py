"""Do autoencoders train as well and as fast as in PyTorch? `python -m benchmarks.autoencoders`.

The four classic networks of `experiments.autoencoders` are trained by Adam here and in PyTorch,
from the same parameters, in minibatches of the same size and for the same number of epochs.
Each side draws its own shuffles and noise. One function computes the validation loss of both.
A loss is the mean of `--rounds` seeds; their standard deviation is printed at the end of the
row. A rate is that of the last seed. The peer's values are missing where PyTorch is.
"""

import statistics
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.common import Benchmark, new_row, timed
from benchmarks.tables import Row
from dec_jax.data.load import ARRAY_SUFFIXES, load_dataset
from dec_jax.networks.architecture import (
    Architecture,
    Conv2D,
    Dense,
    Layer,
    MaxPool2D,
    Step,
    Unpool2D,
)
from dec_jax.networks.autoencoder import Params, scale_input
from dec_jax.objectives.reconstruction import (
    LOG_VARIANCE_LIMITS,
    Reconstruction,
    Variational,
    check_range,
)
from dec_jax.runs.errors import UsageError
from dec_jax.training.augmentation import Augmentation
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.pretrain import (
    PretrainConfig,
    PretrainState,
    init_pretraining,
    pretrain_end_to_end,
    validation_loss,
)

KINDS = ("simple", "sparse", "denoising", "variational")
IN_ORDER = ("mnist", "fashion_mnist")  # whose last seventh is the published test part
NOISE = 0.2  # share of the pixels that salt and pepper replaces
SPARSITY = 1e-3  # weight of the L1 norm of z
WARM_UP = 5  # epochs of a sparse network without the penalty


class Task(NamedTuple):
    """A network, its training, and its data."""

    kind: str  # of KINDS
    dataset: str
    x: np.ndarray  # [n, d] to train on
    validation: np.ndarray  # [m, d]
    architecture: Architecture
    config: PretrainConfig


def task_of(
    kind: str, name: str, *, epochs: int, batch_size: int, limit: int | None = None
) -> Task:
    """Loads the data, of which the last seventh validates, and makes the network.

    Raises:
      ValueError: samples outside [0, 1], or a denoising network of samples without shape.
    """
    arrays = Path(name).suffix.lower() in ARRAY_SUFFIXES
    # Standardized values would leave [0, 1], the range of the sigmoid output.
    dataset = load_dataset(name, standardize=not arrays)
    if kind == "denoising" and dataset.image_shape is None:
        raise ValueError(f"--kinds denoising takes images, and {name} is a table.")
    n = len(dataset.x)
    n_train = n - n // 7
    if n < 7:
        raise ValueError(f"{name} must hold at least 7 samples, got {n}.")
    if limit is not None and not 1 <= limit <= n_train:
        raise ValueError(
            f"--limit must be from 1 to {n_train}, the samples to train on, got {limit}."
        )
    order = (
        np.arange(n) if name in IN_ORDER else np.random.default_rng(0).permutation(n)
    )
    shape: tuple[int, ...] = (dataset.x.shape[1],)
    layers: list[Layer] = [Dense(2000), Dense(500), Dense(500), Dense(10, "sigmoid")]
    objective: Reconstruction | Variational = Reconstruction()
    if kind == "sparse":
        objective = Reconstruction(sparsity=SPARSITY)
    elif kind == "variational":
        layers, objective = [Dense(500), Dense(10, "linear")], Variational()
    elif kind == "denoising":
        assert dataset.image_shape is not None
        shape, layers = dataset.image_shape, []
        for features in (64, 32, 16):
            layers += [Conv2D(features, (3, 3), padding="same")]
            layers += [MaxPool2D((2, 2), "same")]
    architecture = Architecture(
        shape,
        tuple(layers),
        "sigmoid",
        input_scale=dataset.input_scale,
        variational=kind == "variational",
    )
    check_range(dataset.x, architecture, name)
    config = PretrainConfig(
        epochs=epochs,
        batch_size=batch_size,
        optimizer=Optimizer("adam", 1e-3),
        augmentation=Augmentation(
            salt_and_pepper=NOISE if kind == "denoising" else 0.0
        ),
        objective=objective,
        patience=epochs,  # never stops early
    )
    x, validation = dataset.x[order[:n_train][:limit]], dataset.x[order[n_train:]]
    return Task(kind, dataset.name, x, validation, architecture, config)


def start(task: Task, key: jax.Array) -> PretrainState:
    """Draws the parameters and applies two remedies against a saturated sigmoid z.

    The last bias gives the mean image. From 0, the first steps would make every image
    darker, which saturates z for good. And a sparse network is first trained without its
    penalty, which would have the same effect on a z that carries no information yet.
    """
    network, config = task.architecture, task.config
    shared: dict[str, Any] = {"architecture": network, "n_samples": len(task.x)}
    state = init_pretraining(key, config=config, **shared)
    decoder = dict(state.params["decoder"])
    last = f"dense_{len(network.decoder_steps()) - 1}"
    if last in decoder:
        mean = scale_input(task.x, network).mean(axis=0).clip(0.01, 0.99)
        decoder[last] = {**decoder[last], "bias": jax.scipy.special.logit(mean)}
    state = state._replace(params={**state.params, "decoder": decoder})
    if task.kind != "sparse":
        return state
    warm_up = replace(config, epochs=WARM_UP, objective=Reconstruction(), patience=None)
    params, _ = pretrain_end_to_end(
        key, task.x, architecture=network, config=warm_up, state=state
    )
    return init_pretraining(key, config=config, params=params, **shared)


class Trained(NamedTuple):
    """The result of one side."""

    params: Params
    seconds: float


def ours(task: Task, key: jax.Array, state: PretrainState) -> Trained:
    """Trains for all epochs, after one that compiles."""
    settings: dict[str, Any] = {
        "architecture": task.architecture,
        "config": task.config,
        "state": state,
    }
    pretrain_end_to_end(key, task.x, on_epoch=lambda *_: True, **settings)
    seconds, (params, _) = timed(lambda: pretrain_end_to_end(key, task.x, **settings))
    return Trained(params, seconds)


class _Torch:
    """The same network in PyTorch, from our parameters."""

    def __init__(self, task: Task, params: Params) -> None:
        import torch

        self.torch, self.task, network = torch, task, task.architecture
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.steps = {
            "encoder": network.encoder_steps(),
            "decoder": network.decoder_steps(),
        }
        # PyTorch has the channels of a kernel first, and those of the larger image last.
        self.tensors = {
            name: {
                layer: {
                    kind: torch.tensor(
                        np.asarray(a).transpose(3, 2, 0, 1) if a.ndim == 4 else a,
                        device=self.device,
                    ).requires_grad_()
                    for kind, a in one.items()
                }
                for layer, one in params[name].items()
            }
            for name in self.steps
        }

    def params(self) -> Params:
        """The trained parameters, in our form."""
        return jax.tree.map(
            lambda a: jnp.asarray(
                np.transpose(a.detach().cpu().numpy(), (2, 3, 1, 0))
                if a.ndim == 4
                else a.detach().cpu().numpy()
            ),
            self.tensors,
        )

    def stack(self, name: str, x: Any, *, last_activation: bool = True) -> Any:
        """Applies the encoder or the decoder; images have the channels first."""
        steps = self.steps[name]
        for index, step in enumerate(steps):
            x = self._layer(name, index, step, x)
            if index < len(steps) - 1 or last_activation:
                activation = getattr(step.layer, "activation", "linear")
                x = x if activation == "linear" else getattr(self.torch, activation)(x)
        return x

    def _layer(self, name: str, index: int, step: Step, x: Any) -> Any:
        layer, functional = step.layer, self.torch.nn.functional
        if isinstance(layer, Dense):
            weights = self.tensors[name][f"dense_{index}"]
            return x @ weights["kernel"] + weights["bias"]
        if isinstance(layer, MaxPool2D):
            return functional.max_pool2d(x, layer.pool_size, ceil_mode=True)
        if isinstance(layer, Unpool2D):
            height, width, _ = step.output_shape
            for axis, times in zip((2, 3), layer.pool_size, strict=True):
                x = x.repeat_interleave(times, axis)
            return x[:, :, :height, :width]
        weights = self.tensors[name][f"conv_{index}"]
        # All convolutions of these networks are 3 x 3 and keep the size.
        conv = functional.conv2d if name == "encoder" else functional.conv_transpose2d
        return conv(x, weights["kernel"], weights["bias"], padding=1)

    def loss(self, x: Any) -> Any:
        """The loss of a minibatch."""
        torch, kind = self.torch, self.task.kind
        functional = torch.nn.functional
        if kind == "variational":
            mean, log_variance = self.stack("encoder", x).chunk(2, dim=1)
            log_variance = log_variance.clamp(*LOG_VARIANCE_LIMITS)
            z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
            logits = self.stack("decoder", z, last_activation=False)
            pixels = functional.binary_cross_entropy_with_logits(
                logits, x, reduction="none"
            )
            kl = 0.5 * (log_variance.exp() - 1 - log_variance + mean**2)
            return pixels.sum(1).mean() + kl.sum(1).mean()
        if kind == "denoising":
            x = x.reshape(len(x), *self.task.architecture.input_shape)
            x = x.permute(0, 3, 1, 2)
            noise = torch.rand_like(x)
            half = torch.full_like(x, 0.5)
            seen = torch.where(noise < NOISE, torch.bernoulli(half), x)
            return functional.mse_loss(
                self.stack("decoder", self.stack("encoder", seen)), x
            )
        z = self.stack("encoder", x)
        loss = functional.mse_loss(self.stack("decoder", z), x)
        objective = self.task.config.objective
        assert isinstance(objective, Reconstruction)
        return loss + objective.sparsity * z.abs().sum(1).mean()


def theirs(task: Task, params: Params, seed: int) -> Trained | None:
    """Trains for all epochs in PyTorch; None where it is missing."""
    try:
        import torch
    except ImportError:
        return None
    torch.manual_seed(seed)
    network = _Torch(task, params)
    x = torch.tensor(
        np.asarray(scale_input(task.x, task.architecture)), device=network.device
    )
    optimizer = torch.optim.Adam(
        jax.tree.leaves(network.tensors), lr=task.config.optimizer.learning_rate
    )

    def train() -> None:
        for _ in range(task.config.epochs):
            order = torch.randperm(len(x), device=network.device)
            for rows in order.split(task.config.batch_size):
                optimizer.zero_grad()
                loss = network.loss(x[rows])
                loss.backward()
                optimizer.step()
        loss.item()  # waits for the device

    return Trained(seconds=timed(train)[0], params=network.params())


def measure(task: Task, seeds: int) -> list[Row]:
    """The rows of one kind: the loss and the rate."""
    losses: tuple[list[float], list[float]] = ([], [])
    rates: list[float] = []
    for seed in range(seeds):
        key, score_key = jax.random.split(jax.random.key(seed))
        state = start(task, key)
        sides = (ours(task, key, state), theirs(task, state.params, seed))
        rates = []
        for side, values in zip(sides, losses, strict=True):
            if side is None:
                continue
            loss = validation_loss(
                score_key,
                side.params,
                jnp.asarray(task.validation),
                architecture=task.architecture,
                config=task.config,
            )
            values.append(float(loss))
            rates.append(task.config.epochs * len(task.x) / side.seconds)
    name = f"{task.kind}, {task.dataset}, {task.config.epochs} epochs"
    means = [statistics.mean(values) for values in losses if values]
    return [
        new_row(
            f"validation loss, {name}",
            "",
            *means,
            # More than 1 is better for us, as in all tables.
            ratio=means[1] / means[0] if len(means) > 1 else None,
            losses=losses[0],
            peer_losses=losses[1],
        ),
        new_row(f"rate, {name}", "samples/s", *rates),
    ]


def remark(row: Row) -> str:
    """Means and standard deviations of the losses of both sides over the seeds."""
    parts = []
    for name, values in (
        ("ours", row.get("losses")),
        ("PyTorch", row.get("peer_losses")),
    ):
        if values:
            sd = statistics.stdev(values) if len(values) > 1 else 0.0
            parts.append(f"{name} {statistics.mean(values):.5g} +- {sd:.2g}")
    return ", ".join(parts)


def rows(options: Namespace) -> Iterator[Row]:
    """Two rows for each kind of network."""
    for kind in options.kinds:
        try:
            task = task_of(
                kind,
                options.dataset,
                epochs=options.epochs,
                batch_size=options.batch_size,
                limit=options.limit,
            )
        except (ValueError, OSError, ImportError) as error:
            raise UsageError(str(error)) from error
        yield from measure(task, options.rounds)


BENCHMARK = Benchmark(
    "autoencoders",
    __doc__,
    rows,
    rounds=3,
    options={
        "--kinds": {
            "nargs": "+",
            "choices": KINDS,
            "default": list(KINDS),
            "help": "networks",
        },
        "--dataset": {"default": "fashion_mnist", "help": "name or file of a data set"},
        "--epochs": {"default": 10, "help": "epochs of training"},
        "--batch-size": {"default": 2048, "help": "samples in a step"},
        "--limit": {"type": int, "help": "train on the first N samples only"},
    },
    remark=remark,
)

if __name__ == "__main__":
    BENCHMARK.main()
