import jax
import numpy as np
import pytest

from dec_jax.augment import Augmentation
from dec_jax.autoencoder import init_params
from dec_jax.objectives import DEC
from dec_jax.optimizer import Optimizer
from dec_jax.recipes import RECIPES, DataShape, make_recipe

MNIST = DataShape(70_000, 784, (28, 28, 1), name="mnist")
USPS = DataShape(9_298, 256, (16, 16, 1), input_scale=1.0, name="usps")
TABLE = DataShape(500, 12, input_scale=1.0, name="table")


@pytest.mark.parametrize("shape", [MNIST, TABLE], ids=["image", "table"])
@pytest.mark.parametrize("name", RECIPES)
def test_recipe_fits_the_data(name, shape):
    recipe = make_recipe(name, shape)
    assert recipe.architecture.input_dim == shape.input_dim
    assert recipe.architecture.input_scale == shape.input_scale
    widths = [layer.features for layer in recipe.architecture.layers]
    assert widths == [500, 500, 2000, 10]
    assert recipe.source and recipe.expected


@pytest.mark.parametrize("shape", [MNIST, TABLE], ids=["image", "table"])
@pytest.mark.parametrize("name", RECIPES)
def test_recipe_hashes_by_value(name, shape):
    first, second = make_recipe(name, shape), make_recipe(name, shape)
    assert first == second
    assert hash(first) == hash(second)


@pytest.mark.parametrize("name", RECIPES)
def test_a_table_is_never_moved(name):
    # 784 columns of a table are not 28 x 28 pixels.
    recipe = make_recipe(name, DataShape(500, 784, image_shape=None, name="mnist"))
    for phase in (recipe.pretrain, recipe.train):
        assert not phase.augmentation.moves_pixels
        assert phase.augmentation.image_shape is None


def test_dec_moves_images_of_the_shape_it_was_given():
    recipe = make_recipe("dec", DataShape(500, 12, (2, 3, 2)))
    moved = Augmentation((2, 3, 2), rotation=10, shift=0.1)
    assert recipe.pretrain.augmentation == moved
    assert recipe.train.augmentation == moved


def test_dec_has_the_clustering_phase_of_the_paper():
    recipe = make_recipe("dec", MNIST)
    assert recipe.objective == DEC(alpha=1.0)
    assert recipe.n_init == 20
    assert recipe.train.update_interval == 140
    assert recipe.train.batch_size == 256
    assert recipe.train.tolerance == 0.001
    assert recipe.train.optimizer.name == "sgd"
    assert recipe.train.optimizer.learning_rate == 0.01


@pytest.mark.parametrize(
    ("n_samples", "epochs"), [(70_000, 50), (1_797, 250), (90, 2_000)]
)
def test_dec_pretrains_small_data_for_2000_steps(n_samples, epochs):
    recipe = make_recipe("dec", DataShape(n_samples, 64, (8, 8, 1)))
    assert recipe.pretrain.epochs == epochs


def test_dec_refreshes_the_target_of_small_data_each_epoch():
    assert make_recipe("dec", DataShape(1_797, 64)).train.update_interval == 8


def test_dec_keras_has_the_published_settings_of_mnist():
    recipe = make_recipe("dec-keras", MNIST)
    assert recipe.pretrain.optimizer == Optimizer("sgd", 1.0, momentum=0.9)
    assert recipe.pretrain.epochs == 300
    assert recipe.pretrain.batch_size == 256
    assert recipe.pretrain.target == "clean"
    assert recipe.pretrain.augmentation == Augmentation()
    assert recipe.n_init == 20
    assert recipe.train.optimizer == Optimizer("sgd", 0.01, momentum=0.9)
    assert recipe.train.update_interval == 140
    assert recipe.train.tolerance == 0.001
    assert recipe.train.batch_size == 256
    assert recipe.train.augmentation == Augmentation()
    assert recipe.train.max_intervals == -(-20_000 // 140)


def test_dec_keras_draws_mnist_uniformly_within_1_over_the_root_of_fan_in():
    recipe = make_recipe("dec-keras", MNIST)
    params = init_params(jax.random.key(0), recipe.architecture)
    kernels = [np.asarray(leaf) for leaf in jax.tree.leaves(params) if leaf.ndim == 2]
    assert len(kernels) == 8
    for kernel in kernels:
        limit = 1 / np.sqrt(len(kernel))
        assert 0.99 * limit < np.abs(kernel).max() <= limit
        # The standard deviation of a uniform distribution over +-limit.
        np.testing.assert_allclose(kernel.std(), limit / np.sqrt(3), rtol=0.02)


def test_dec_keras_has_the_published_settings_of_usps():
    recipe = make_recipe("dec-keras", USPS)
    assert recipe.pretrain.optimizer == Optimizer("adam", 1e-3)
    assert recipe.pretrain.epochs == 50
    assert recipe.architecture.initializer == "glorot_uniform"
    assert recipe.train.update_interval == 30
    assert recipe.train.max_intervals == -(-20_000 // 30)


def test_make_recipe_rejects_an_unknown_name_with_the_nearest():
    message = "Unknown recipe 'dec-kera'; did you mean 'dec-keras'"
    with pytest.raises(ValueError, match=message):
        make_recipe("dec-kera", MNIST)
