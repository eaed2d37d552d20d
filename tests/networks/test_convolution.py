import re
from functools import partial
from itertools import product

import chex
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from layers_by_loops import conv2d_by_loops

from dec_jax.networks import convolution
from dec_jax.networks.convolution import (
    conv2d,
    conv2d_transpose,
    conv_output_shape,
    transposed_output_shape,
)

# Image, kernel size, (channels, filters), strides, padding: odd sizes, rows that no
# window reaches, one channel, a kernel larger than the image, windows that leave gaps,
# larger images.
CASES = [
    ((6, 7), (3, 2), (3, 4), (1, 1), "valid"),
    ((6, 7), (3, 2), (3, 4), (1, 1), "same"),
    ((6, 7), (3, 2), (3, 4), (1, 1), "full"),
    ((8, 9), (3, 1), (2, 5), (2, 3), "valid"),
    ((8, 7), (5, 5), (2, 5), (2, 3), "same"),
    ((8, 7), (4, 3), (2, 3), (3, 2), "full"),
    ((9, 8), (5, 4), (1, 17), (1, 1), "valid"),
    ((9, 8), (3, 3), (1, 3), (2, 2), "same"),
    ((4, 4), (4, 4), (3, 5), (1, 1), "valid"),
    ((3, 3), (5, 5), (2, 3), (1, 1), "same"),
    ((14, 13), (4, 4), (3, 5), (1, 1), "valid"),
    ((30, 29), (3, 4), (2, 3), (2, 2), "same"),
]
cases = pytest.mark.parametrize(
    ("image", "kernel_size", "channels", "strides", "padding"), CASES
)
SOME = CASES[::4]
some_cases = pytest.mark.parametrize(
    ("image", "kernel_size", "channels", "strides", "padding"), SOME
)


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def arrays(image, kernel_size, channels, strides, padding, batch=2):
    """x, kernel and y of a case, and its sizes."""
    sizes = convolution.geometry(image, kernel_size, strides, padding)
    x = draw(batch, *image, channels[0])
    kernel = draw(*kernel_size, *channels, seed=1)
    return x, kernel, draw(batch, *sizes.output, channels[1], seed=2), sizes


def energy(kernel, x, **options):
    """A loss whose gradients need all three functions of each convolution."""
    y = jnp.tanh(conv2d(x, kernel, **options))
    back = conv2d_transpose(y, kernel, output_shape=x.shape[1:3], **options)
    return (back**2).mean()


@cases
def test_conv2d_matches_loops(image, kernel_size, channels, strides, padding):
    x, kernel, y, _ = arrays(image, kernel_size, channels, strides, padding)
    found = conv2d(x, kernel, strides=strides, padding=padding)
    expected = conv2d_by_loops(x, kernel, strides, padding)
    assert found.shape == y.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@cases
def test_conv2d_transpose_is_the_adjoint(
    image, kernel_size, channels, strides, padding
):
    x, kernel, y, _ = arrays(image, kernel_size, channels, strides, padding)
    options = {"output_shape": image, "strides": strides, "padding": padding}
    back = jax.jit(partial(conv2d_transpose, **options))(y, kernel)
    assert back.shape == x.shape
    there = np.vdot(conv2d_by_loops(x, kernel, strides, padding), y)
    np.testing.assert_allclose(np.vdot(x, back), there, rtol=1e-4, atol=1e-3)


@cases
def test_what_runs_on_cpu_agrees_with_what_runs_elsewhere(
    image, kernel_size, channels, strides, padding
):
    # Both are called directly: on a CPU the second is never chosen. The first takes five
    # images at once, two by two, or each by itself, by their size.
    case = (image, kernel_size, channels, strides, padding)
    x, kernel, y, sizes = arrays(*case, batch=5)
    given = {"x": (kernel, y), "kernel": (x, y), "y": (x, kernel)}
    for by, (on_cpu, elsewhere) in convolution.FUNCTIONS.items():
        found, expected = (
            jax.jit(partial(function, sizes))(*given[by])
            for function in (on_cpu, elsewhere)
        )
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4, err_msg=by)


def test_no_images_give_none_and_a_kernel_of_zeros():
    x, kernel, y, sizes = arrays(*CASES[0], batch=0)
    assert convolution.x_on_cpu(sizes, kernel, y).shape == x.shape
    assert not convolution.kernel_on_cpu(sizes, x, y).any()


@cases
def test_gradients_in_a_scan_keep_the_fast_order_of_axes(
    image, kernel_size, channels, strides, padding
):
    # What the module is for; any other order is tens of times slower here on CPU.
    x, kernel, _, _ = arrays(image, kernel_size, channels, strides, padding, batch=16)
    gradients = jax.grad(partial(energy, strides=strides, padding=padding), (0, 1))

    def step(carry, _):
        return jax.tree.map(lambda w, g: w - g, carry, gradients(*carry)), None

    program = jax.jit(lambda *carry: jax.lax.scan(step, carry, None, length=2)[0])
    text = program.lower(kernel, x).compile().as_text()
    assert set(re.findall(r"dim_labels=(\S+?),? ", text)) <= {"b01f_01io->b01f"}
    assert "reversal" not in text


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_gradients_elsewhere_than_on_cpu_are_those_of_jax(platform):
    x, kernel, _, sizes = arrays(*CASES[4])

    def ours(x, kernel):
        return conv2d(x, kernel, strides=(2, 3), padding="same").sum()

    def theirs(x, kernel):
        return convolution.native(sizes, x, kernel).sum()

    orders = []
    for loss in (ours, theirs):
        program = jax.jit(jax.value_and_grad(loss, (0, 1)))
        exported = jax.export.export(program, platforms=[platform])(x, kernel)
        orders.append(
            sorted(re.findall(r"dim_numbers = (\S+)", str(exported.mlir_module())))
        )
    assert orders[0] == orders[1]
    assert len(orders[0]) == 3


class TestUnderTransforms(chex.TestCase):
    @chex.variants(with_jit=True, without_jit=True, with_device=True, with_pmap=True)
    def test_gradients_are_those_of_jax(self):
        x, kernel, _, sizes = arrays(*CASES[4])

        def expected(kernel, x):
            y = jnp.tanh(convolution.native(sizes, x, kernel))
            return (convolution.x_of(sizes, kernel, y) ** 2).mean()

        ours = partial(energy, strides=sizes.strides, padding="same")
        found = self.variant(jax.grad(ours, (0, 1)))(kernel, x)
        wanted = jax.jit(jax.grad(expected, (0, 1)))(kernel, x)
        chex.assert_trees_all_close(found, wanted, rtol=1e-4, atol=1e-5)


@some_cases
def test_second_gradients_are_those_of_jax(
    image, kernel_size, channels, strides, padding
):
    x, kernel, y, sizes = arrays(image, kernel_size, channels, strides, padding)
    ours = partial(conv2d, strides=strides, padding=padding)

    def slope(conv, kernel):
        return (jax.grad(lambda k: (conv(x, k) ** 3).sum())(kernel) ** 2).mean()

    found = jax.jit(jax.grad(partial(slope, ours)))(kernel)
    expected = jax.jit(jax.grad(partial(slope, partial(convolution.native, sizes))))(
        kernel
    )
    np.testing.assert_allclose(
        found, expected, rtol=1e-3, atol=1e-3 * abs(expected).max()
    )


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)], ids=str)
def test_gradients_under_vmap_equal_each(axes):
    kernels, xs = draw(3, 3, 3, 2, 4), draw(3, 2, 6, 5, 2, seed=1)
    given = [
        a if axis == 0 else a[0] for a, axis in zip((kernels, xs), axes, strict=True)
    ]
    gradients = jax.jit(jax.grad(energy, (0, 1)))
    together = jax.jit(jax.vmap(jax.grad(energy, (0, 1)), axes))(*given)
    for i in range(3):
        each = gradients(
            kernels[i if axes[0] == 0 else 0], xs[i if axes[1] == 0 else 0]
        )
        one = jax.tree.map(lambda a, i=i: a[i], together)
        chex.assert_trees_all_close(one, each, rtol=1e-4, atol=1e-6)


def test_gradients_of_several_kernels_group_no_convolutions():
    # Grouped, they are two to three times slower on CPU than one after the other.
    kernels, xs = draw(3, 3, 3, 2, 4), draw(3, 2, 6, 5, 2, seed=1)
    program = jax.jit(jax.vmap(jax.grad(energy, (0, 1))))
    text = program.lower(kernels, xs).compile().as_text()
    assert "convolution(" in text
    assert "group_count" not in text


def test_steps_in_a_scan_equal_a_loop():
    x, kernel = draw(4, 6, 5, 2), draw(3, 3, 2, 4, seed=1)
    step = jax.jit(lambda kernel: kernel - jax.grad(energy)(kernel, x))
    scanned, _ = jax.lax.scan(lambda k, _: (step(k), None), kernel, None, length=3)
    np.testing.assert_allclose(scanned, step(step(step(kernel))), rtol=1e-4, atol=1e-6)


def test_gradients_of_a_sharded_batch_equal_one_device():
    x, kernel = draw(8, 6, 5, 2), draw(3, 3, 2, 4, seed=1)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharded = jax.device_put(x, NamedSharding(mesh, PartitionSpec("data")))
    found = jax.jit(jax.grad(energy))(kernel, sharded)
    np.testing.assert_allclose(found, jax.grad(energy)(kernel, x), rtol=1e-4, atol=1e-6)


def test_conv2d_by_hand():
    x = jnp.arange(1.0, 4.0).reshape(1, 1, 3, 1)
    kernel = jnp.array([10.0, 1.0]).reshape(1, 2, 1, 1)
    found = {
        padding: conv2d(x, kernel, padding=padding).ravel().tolist()
        for padding in ("valid", "same", "full")
    }
    # 10 * left + right; "same" adds its zero on the right.
    assert found == {
        "valid": [12, 23],
        "same": [12, 23, 30],
        "full": [1, 12, 23, 30],
    }


def test_conv2d_transpose_by_hand():
    # Strides of 2 spread each pixel as (10, 1) of its own; the last column gets none.
    y, kernel = jnp.array([[1.0, 2.0]]), jnp.array([10.0, 1.0])
    x = conv2d_transpose(
        y.reshape(1, 1, 2, 1),
        kernel.reshape(1, 2, 1, 1),
        output_shape=(1, 5),
        strides=(1, 2),
    )
    assert x.ravel().tolist() == [10, 1, 20, 2, 0]


@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
@pytest.mark.parametrize("padding", ["valid", "same", "full"])
def test_conv2d_undoes_the_natural_shape_of_its_transpose(strides, padding):
    for image, kernel_size in product([(4, 5), (2, 7)], [(1, 1), (2, 1), (1, 3)]):
        size = transposed_output_shape(image, kernel_size, strides, padding)
        assert conv_output_shape(size, kernel_size, strides, padding) == image


def test_transposed_output_shape_by_hand():
    sizes = [
        transposed_output_shape((7, 3), (3, 2), (2, 1), p)
        for p in ("valid", "same", "full")
    ]
    assert sizes == [(15, 4), (14, 3), (11, 2)]


X, KERNEL = draw(2, 4, 4, 3), draw(3, 3, 3, 5)


def test_conv2d_rejects_other_channels_than_the_kernel_has():
    with pytest.raises(
        ValueError, match=r"kernel must be \[kh, kw, c, f\] for x of \[b, h, w, c\]"
    ):
        conv2d(X[..., :2], KERNEL)


def test_conv2d_transpose_rejects_other_channels_than_the_kernel_has():
    with pytest.raises(ValueError, match=r"kernel must be .* for x of \[b, h, w, f\]"):
        conv2d_transpose(X, KERNEL, output_shape=(6, 6))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: conv2d(x, KERNEL),
        lambda x: conv2d_transpose(x, KERNEL, output_shape=(6, 6)),
    ],
    ids=["conv2d", "conv2d_transpose"],
)
def test_every_operation_rejects_flat_images(call):
    with pytest.raises(
        ValueError, match=r"x must be \[b, h, w, c\], got shape \(2, 48\)"
    ):
        call(X.reshape(2, -1))


def test_conv2d_rejects_a_kernel_larger_than_a_valid_image():
    with pytest.raises(
        ValueError, match="padding 'valid' needs an image .* use 'same'"
    ):
        conv2d(X[:, :2], KERNEL)


def test_conv2d_rejects_an_unknown_padding():
    with pytest.raises(ValueError, match="Unknown padding 'sane'; did you mean 'same'"):
        conv2d(X, KERNEL, padding="sane")


def test_conv2d_rejects_strides_that_are_no_pair():
    with pytest.raises(ValueError, match="strides must be a tuple of 2 sizes, got 2"):
        conv2d(X, KERNEL, strides=2)


def test_conv2d_rejects_strides_of_0():
    with pytest.raises(ValueError, match="strides must be at least 1, got 0"):
        conv2d(X, KERNEL, strides=(0, 1))


def test_conv2d_transpose_rejects_an_output_shape_that_does_not_give_x():
    with pytest.raises(
        ValueError, match=r"x must have the \(5, 4\) pixels .* got \(4, 4\)"
    ):
        conv2d_transpose(draw(2, 4, 4, 5), KERNEL, output_shape=(7, 6))


def test_transposed_output_shape_rejects_a_size_below_1():
    with pytest.raises(ValueError, match=r"padding 'full' must leave .* got \(0, 0\)"):
        transposed_output_shape((2, 2), (3, 3), (1, 1), "full")
