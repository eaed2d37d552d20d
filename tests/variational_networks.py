"""Tiny variational networks, for Bernoulli pixels and for any numbers."""

from dataclasses import replace

import jax

from dec_jax.networks.architecture import Architecture, Dense

KEY = jax.random.key(0)
D, E = 8, 3
BERNOULLI = Architecture(
    (D,), (Dense(16), Dense(E, "linear")), "sigmoid", variational=True
)
GAUSSIAN = replace(BERNOULLI, output_activation="linear")


def with_log_variance(params, value):
    """The encoder gives this log-variance to every sample."""
    last = params["encoder"]["dense_1"]
    kernel, bias = (last[name] for name in ("kernel", "bias"))
    last = {"kernel": kernel.at[:, E:].set(0), "bias": bias.at[E:].set(value)}
    return params | {"encoder": params["encoder"] | {"dense_1": last}}
