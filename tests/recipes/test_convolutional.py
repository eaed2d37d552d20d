from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dec_jax.networks.architecture_json import load_architecture
from dec_jax.networks.autoencoder import encode, init_params, reconstruct
from dec_jax.objectives import DEC
from dec_jax.recipes.convolutional import learner_network
from dec_jax.recipes.dense import DataShape, make_recipe
from dec_jax.training.augmentation import Augmentation
from dec_jax.training.cluster import train
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.pretrain import pretrain_end_to_end
from dec_jax.training.state import init_state

MNIST = DataShape(70_000, 784, (28, 28, 1), name="mnist")
USPS = DataShape(9_298, 256, (16, 16, 1), input_scale=1.0, name="usps")
TABLE = DataShape(500, 12, input_scale=1.0, name="table")
ALJALBOUT = ("kld-conv", "kmeans-conv")


@pytest.mark.parametrize(
    ("image_shape", "kernel", "step", "second"),
    [
        ((8, 8, 1), 5, 2, (2, 2, 64)),
        ((28, 28, 1), 5, 2, (7, 7, 64)),
        ((32, 32, 3), 5, 2, (8, 8, 64)),
        ((33, 20, 3), 9, 4, (5, 3, 64)),
        ((128, 128, 1), 17, 8, (8, 8, 64)),
    ],
)
def test_learner_sees_larger_images_through_larger_filters(
    image_shape, kernel, step, second
):
    network = learner_network(image_shape, 3)
    first = network.layers[0]
    assert (first.kernel_size, first.strides) == ((kernel,) * 2, (step,) * 2)
    assert network.shapes[2:] == (second, (512,), (3,))


@pytest.mark.parametrize("name", ALJALBOUT)
@pytest.mark.parametrize(
    ("n_samples", "image_shape", "epochs"),
    [(1_440, (128, 128, 1), 90), (70_000, (28, 28, 1), 15)],
)
def test_aljalbout_pretrains_few_images_for_longer(
    name, n_samples, image_shape, epochs
):
    width = image_shape[0] * image_shape[1]
    recipe = make_recipe(name, DataShape(n_samples, width, image_shape))
    assert recipe.pretrain.epochs == epochs


@pytest.mark.parametrize("name", ALJALBOUT)
def test_convolutional_recipes_have_the_networks_of_their_sets(name):
    coil20 = DataShape(1_440, 128 * 128, (128, 128, 1), name="coil20")
    assert make_recipe(name, MNIST).architecture == load_architecture("mnist-conv-deep")
    # The published one.
    assert make_recipe(name, coil20).architecture.embedding_dim == 320
    assert make_recipe(name, coil20).architecture.batch_norm


def test_convolutional_recipes_move_images_but_not_before_k_means():
    light = Augmentation((28, 28, 1), rotation=10, shift=0.1)
    kld, kmeans = (make_recipe(name, MNIST) for name in ALJALBOUT)
    assert kld.pretrain == kmeans.pretrain
    assert kld.pretrain.augmentation == kld.train.augmentation == light
    assert kld.pretrain.target == "distorted"
    assert kmeans.train.augmentation == Augmentation()


@pytest.mark.parametrize("name", ALJALBOUT)
def test_convolutional_recipes_rejects_images_without_a_network(name):
    with pytest.raises(ValueError, match=r"28 x 28 and.*got image_shape \(16, 16, 1\)"):
        make_recipe(name, USPS)


# ConvDEC-DA: Guo et al. (2018).


def test_dec_da_conv_has_the_published_network_and_settings_of_mnist():
    recipe = make_recipe("dec-da-conv", MNIST)
    assert recipe.architecture == load_architecture("dec-conv")
    sides = [shape[0] for shape in recipe.architecture.shapes]
    assert sides == [28, 14, 7, 3, 10]
    light = Augmentation((28, 28, 1), rotation=10, shift=0.1)
    for phase in (recipe.pretrain, recipe.train):
        assert phase.optimizer == Optimizer("adam", 1e-3)
        assert (phase.batch_size, phase.augmentation) == (256, light)
    assert (recipe.pretrain.epochs, recipe.pretrain.target) == (500, "distorted")
    assert (recipe.objective, recipe.n_init) == (DEC(), 20)
    assert (recipe.train.update_interval, recipe.train.tolerance) == (140, 0.001)
    assert recipe.train.max_intervals == -(-20_000 // 140)
    assert make_recipe("dec-da-conv", USPS).train.update_interval == 30


@pytest.mark.parametrize(
    ("image_shape", "last"),
    [
        ((28, 28, 1), (3, 3)),
        ((16, 16, 1), (2, 2)),
        ((8, 8, 1), (1, 1)),
        ((96, 96, 3), (12, 12)),
        ((12, 12, 1), (1, 1)),
        # Without zeros around it, nothing would be left of these.
        ((7, 30, 1), (1, 4)),
        ((1, 1, 2), (1, 1)),
    ],
)
def test_dec_da_conv_takes_images_of_any_size(image_shape, last):
    shape = DataShape(500, int(np.prod(image_shape)), image_shape)
    network = make_recipe("dec-da-conv", shape).architecture
    assert network.shapes[-2] == (*last, 128)
    params = jax.eval_shape(lambda: init_params(jax.random.key(0), network))
    x = jax.ShapeDtypeStruct((3, shape.input_dim), np.float32)
    x_hat = jax.eval_shape(partial(reconstruct, architecture=network), params, x)
    assert x_hat.shape == (3, shape.input_dim)


@pytest.mark.slow
@pytest.mark.parametrize("side", [8, 9])
def test_dec_da_conv_pretrains_and_trains(side):
    shape = DataShape(40, side**2, (side, side, 1))
    recipe = make_recipe("dec-da-conv", shape)
    x = np.random.default_rng(0).integers(0, 256, (40, side**2), np.uint8)
    network = recipe.architecture
    params, history = pretrain_end_to_end(
        jax.random.key(0),
        x,
        architecture=network,
        config=replace(recipe.pretrain, epochs=3),
    )
    assert history.loss[-1] < history.loss[0]
    z = encode(params, x, architecture=network)
    config = replace(recipe.train, update_interval=2, max_intervals=2)
    settings = {"objective": recipe.objective, "config": config}
    labels = jnp.arange(40, dtype=jnp.int32) % 3
    state = init_state(jax.random.key(1), params, z[:3], labels, **settings)
    result = train(state, x, architecture=network, **settings)
    assert result.n_steps == 4 and np.isfinite(result.q).all()


def test_dec_da_conv_rejects_a_table():
    with pytest.raises(ValueError, match="dec-da-conv needs images, got a table; use"):
        make_recipe("dec-da-conv", TABLE)
