"""Matrix products in bfloat16: operands are rounded, and sums stay float32.

This is the mixed precision of Micikevicius et al. (ICLR 2018) without loss scaling, which
bfloat16 does not need because it has the exponents of float32. Parameters, activations,
distances, losses and the optimizer stay float32.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

PRECISIONS = ("float32", "bfloat16")


@jax.custom_vjp
def bfloat16_product(
    x: Float[Array, "b i"], kernel: Float[Array, "i o"]
) -> Float[Array, "b o"]:
    """Matrix product of operands rounded to bfloat16, summed and returned in float32.

    Both gradients are computed in the same way. Under JAX's own rule their cotangent is
    float32, and the backward pass, two thirds of a step, runs at the speed of float32.
    """
    return _forward(x, kernel)[0]


def _forward(
    x: Float[Array, "b i"], kernel: Float[Array, "i o"]
) -> tuple[Float[Array, "b o"], tuple[Array, Array]]:
    operands = x, kernel = _rounded(x), _rounded(kernel)
    return _product(x, kernel, ((1,), (0,))), operands


def _backward(
    operands: tuple[Array, Array], cotangent: Float[Array, "b o"]
) -> tuple[Float[Array, "b i"], Float[Array, "i o"]]:
    x, kernel = operands
    rounded = _rounded(cotangent)
    of_kernel = jax.lax.platform_dependent(
        x, rounded, cpu=_sum_over_rows_on_cpu, default=_sum_over_rows
    )
    return _product(rounded, kernel, ((1,), (1,))), of_kernel


bfloat16_product.defvjp(_forward, _backward)


def _rounded(x: jax.Array) -> jax.Array:
    return x.astype(jnp.bfloat16)


def _product(
    a: jax.Array, b: jax.Array, contracted: tuple[tuple[int], tuple[int]]
) -> jax.Array:
    return jax.lax.dot_general(
        a, b, (contracted, ((), ())), preferred_element_type=jnp.float32
    )


def _sum_over_rows(x: Array, cotangent: Array) -> Float[Array, "i o"]:
    return _product(x, cotangent, ((0,), (0,)))


def _sum_over_rows_on_cpu(x: Array, cotangent: Array) -> Float[Array, "i o"]:
    """`_sum_over_rows` on the CPU, where XLA has no bfloat16 routine for first axes.

    XLA folds a plain transpose back into the product, which then runs in float32 at half
    the speed. A row of zeros below the transposed matrix prevents that.
    """
    below = jnp.zeros((1, x.shape[0]), x.dtype)
    turned = jnp.concatenate([x.T, below])
    return _product(turned, cotangent, ((1,), (0,)))[: x.shape[1]]


def dot_general_of(precision: str) -> Any:
    """The product for a Flax layer; None is Flax's default."""
    if precision == "float32":
        return None

    def dot_general(
        x: jax.Array, kernel: jax.Array, dimensions: Any, **_: Any
    ) -> jax.Array:
        assert x.ndim == kernel.ndim == 2 and dimensions == (((1,), (0,)), ((), ()))
        return bfloat16_product(x, kernel)

    return dot_general
