"""Convolutions written out, and biases that show in what a layer gives."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np


def with_random_biases(params, seed=0):
    """Biases start at 0, where an omitted one would not show."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda a: a if a.ndim == 2 else jnp.asarray(rng.normal(size=a.shape), a.dtype),
        params,
    )


def conv2d_by_loops(x, kernel, strides, padding):
    """One output pixel at a time, from the definitions of the three paddings."""
    x, kernel = np.asarray(x, np.float64), np.asarray(kernel, np.float64)
    pads = [(0, 0), (0, 0)]
    for axis in range(2):
        n, k, s = x.shape[1 + axis], kernel.shape[axis], strides[axis]
        if padding == "full":
            pads[axis] = (k - 1, k - 1)
        elif padding == "same":
            total = max((int(np.ceil(n / s)) - 1) * s + k - n, 0)
            pads[axis] = (total // 2, total - total // 2)
    x = np.pad(x, [(0, 0), *pads, (0, 0)])
    kh, kw = kernel.shape[:2]
    tops = range(0, x.shape[1] - kh + 1, strides[0])
    lefts = range(0, x.shape[2] - kw + 1, strides[1])
    y = np.empty((len(x), len(tops), len(lefts), kernel.shape[3]))
    for (i, top), (j, left) in product(enumerate(tops), enumerate(lefts)):
        window = x[:, top : top + kh, left : left + kw]
        y[:, i, j] = np.einsum("bhwc,hwcf->bf", window, kernel)
    return y


def convolved(images, layer):
    """The valid convolution of a layer, with its bias."""
    bias = np.asarray(layer["bias"], np.float64)
    return conv2d_by_loops(images, layer["kernel"], (1, 1), "valid") + bias
