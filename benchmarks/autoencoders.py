"""The classic autoencoders beside PyTorch's: `python -m benchmarks.autoencoders`.

The networks, the data and the start of `experiments.autoencoders`, as many epochs of Adam
in PyTorch, from the same parameters and in minibatches of the same size; each draws its
shuffles and its noise. One function scores the validation samples of both. A row is the mean
of some seeds, and what is printed below it their deviations. Rates are those of the last
seed. Where PyTorch is missing, ours stands alone.
"""

import statistics
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.rows import arguments, save
from dec_jax.networks.architecture import Dense, MaxPool2D, Step, Unpool2D
from dec_jax.networks.autoencoder import Params, scale_input
from dec_jax.objectives.reconstruction import LOG_VARIANCE_LIMITS, Reconstruction
from dec_jax.runs import provenance
from dec_jax.runs.progress import Stop
from dec_jax.training.pretrain import pretrain_end_to_end, validation_loss
from experiments.autoencoder_run import NOISE, Task, prepared, start
from experiments.autoencoders import KINDS, Settings


class Trained(NamedTuple):
    """What one side gives."""

    params: Params
    seconds: float


def ours(task: Task, key: jax.Array) -> Trained:
    """All epochs, after one that compiles."""
    settings: dict[str, Any] = {
        "architecture": task.architecture,
        "config": task.config,
        "state": start(task, key, Stop()),
    }
    first, _ = pretrain_end_to_end(key, task.x, on_epoch=lambda *_: True, **settings)
    jax.block_until_ready(first)
    began = time.perf_counter()
    params, _ = pretrain_end_to_end(key, task.x, **settings)
    jax.block_until_ready(params)
    return Trained(params, time.perf_counter() - began)


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
        # Kernels of images have the channels first, those of the larger image last.
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
        """Our parameters, of what was trained."""
        return jax.tree.map(
            lambda a: jnp.asarray(
                np.transpose(a.detach().cpu().numpy(), (2, 3, 1, 0))
                if a.ndim == 4
                else a.detach().cpu().numpy()
            ),
            self.tensors,
        )

    def stack(self, name: str, x: Any, *, last_activation: bool = True) -> Any:
        """The encoder or the decoder; images have the channels first."""
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
            of = self.tensors[name][f"dense_{index}"]
            return x @ of["kernel"] + of["bias"]
        if isinstance(layer, MaxPool2D):
            return functional.max_pool2d(x, layer.pool_size, ceil_mode=True)
        if isinstance(layer, Unpool2D):
            height, width, _ = step.output_shape
            for axis, times in zip((2, 3), layer.pool_size, strict=True):
                x = x.repeat_interleave(times, axis)
            return x[:, :, :height, :width]
        of = self.tensors[name][f"conv_{index}"]
        # Of these networks all convolutions are 3 x 3 and keep the size.
        conv = functional.conv2d if name == "encoder" else functional.conv_transpose2d
        return conv(x, of["kernel"], of["bias"], padding=1)

    def loss(self, x: Any) -> Any:
        """Of a minibatch, as the kind has it."""
        torch, kind = self.torch, self.task.settings.kind
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


def theirs(task: Task, key: jax.Array, seed: int) -> Trained | None:
    """All epochs in PyTorch; None where it is missing."""
    try:
        import torch
    except ImportError:
        return None
    torch.manual_seed(seed)
    network = _Torch(task, start(task, key, Stop()).params)
    x = torch.tensor(
        np.asarray(scale_input(task.x, task.architecture)), device=network.device
    )
    optimizer = torch.optim.Adam(
        [a for a in jax.tree.leaves(network.tensors)],
        lr=task.config.optimizer.learning_rate,
    )
    began = time.perf_counter()
    for _ in range(task.config.epochs):
        order = torch.randperm(len(x), device=network.device)
        for rows in order.split(task.config.batch_size):
            optimizer.zero_grad()
            loss = network.loss(x[rows])
            loss.backward()
            optimizer.step()
    loss.item()
    return Trained(network.params(), time.perf_counter() - began)


def measure(task: Task, seeds: int) -> list[dict[str, Any]]:
    """The rows of one kind: the loss, and the rate."""
    losses: tuple[list[float], list[float]] = ([], [])
    score: dict[str, Any] = {
        "architecture": task.architecture,
        "config": task.config,
    }
    rates: list[float] = []
    for seed in range(seeds):
        key, score_key = jax.random.split(jax.random.key(seed))
        sides = (ours(task, key), theirs(task, key, seed))
        rates = []
        for side, found in zip(sides, losses, strict=True):
            if side is None:
                continue
            loss = validation_loss(
                score_key, side.params, jnp.asarray(task.validation), **score
            )
            found.append(float(loss))
            rates.append(task.config.epochs * len(task.x) / side.seconds)
    name = f"{task.settings.kind}, {task.dataset.name}, {task.config.epochs} epochs"
    rows = []
    for what, unit, pair in (
        ("validation loss", "", [statistics.mean(one) for one in losses if one]),
        ("rate", "samples/s", rates),
    ):
        peer = pair[1] if len(pair) > 1 else None
        # More than 1 is better for us in both.
        better = None if peer is None else pair[0] / peer
        if better is not None and what != "rate":
            better = 1 / better
        rows.append(
            {
                "case": f"{what}, {name}",
                "ours": pair[0],
                "peer": peer,
                "ratio": better,
                "limit_fraction": None,
                "unit": unit,
            }
        )
    rows[0] |= {"losses": losses[0], "peer_losses": losses[1]}
    return rows


def shard_like(row: dict[str, Any]) -> str:
    """The losses of both sides over the seeds."""
    parts = []
    for name, values in (("ours", row["losses"]), ("PyTorch", row["peer_losses"])):
        if values:
            sd = statistics.stdev(values) if len(values) > 1 else 0.0
            parts.append(f"{name} {statistics.mean(values):.5g} +- {sd:.2g}")
    return ", ".join(parts)


def main() -> None:
    """Measures and prints a table."""
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--dataset", default="fashion_mnist")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=2048)
    parser.add_argument("--limit", type=int, help="train on the first N samples only")
    options = parser.parse_args()
    print(f"on {provenance.device()}, jax {jax.__version__}, {options.rounds} seeds")
    print(f"{'case':<58}{'ours':>10}{'PyTorch':>10}{'better':>8}")
    rows = []
    for kind in options.kinds:
        settings = Settings(
            kind,
            dataset=options.dataset,
            epochs=options.epochs,
            batch_size=options.batch_size,
            limit=options.limit,
            # All epochs: no early stopping.
            patience=options.epochs,
        )
        found = measure(prepared(settings), options.rounds)
        rows += found
        for row in found:
            peer = "-" if row["peer"] is None else f"{row['peer']:.5g}"
            ratio = "-" if row["ratio"] is None else f"{row['ratio']:.2f}"
            print(f"{row['case']:<58}{row['ours']:>10.5g}{peer:>10}{ratio:>8}")
        print(f"  {shard_like(found[0])}", flush=True)
    if options.save:
        save("autoencoders", rows, vars(options))


if __name__ == "__main__":
    main()
