"""The recipes that maximize mutual information, and start from a new network."""

import jax
import jax.numpy as jnp
import pytest

from dec_jax.networks.architecture import dense_architecture
from dec_jax.objectives import IIC, IMSAT
from dec_jax.recipes.dense import DataShape, make_recipe
from dec_jax.recipes.recipe import clustering_start
from dec_jax.training.augmentation import Augmentation
from dec_jax.training.optimizer import Optimizer

MNIST = DataShape(70_000, 784, (28, 28, 1), name="mnist")
USPS = DataShape(9_298, 256, (16, 16, 1), input_scale=1.0, n_clusters=7)
TABLE = DataShape(500, 12, input_scale=1.0, name="table")


def test_imsat_has_the_published_settings_of_mnist():
    recipe = make_recipe("imsat", MNIST)
    layers = recipe.network.layers
    assert [layer.features for layer in layers] == [1200, 1200, 10]
    assert recipe.network.batch_norm
    assert recipe.objective == IMSAT(
        information_weight=0.1, marginal_weight=4.0, radius=0.25
    )
    train = recipe.train
    assert (train.batch_size, train.optimizer) == (250, Optimizer("adam", 2e-3))
    assert (train.update_interval, train.max_intervals) == (280, 50)
    # The other distortion of the paper, in addition.
    assert train.augmentation == Augmentation((28, 28, 1), rotation=10, shift=0.1)


def test_iic_rotates_as_published():
    recipe = make_recipe("iic", MNIST)
    assert recipe.objective == IIC(marginal_weight=1.0)
    assert recipe.train.augmentation.rotation == 25
    assert recipe.network.batch_norm


def test_iic_rejects_a_table():
    with pytest.raises(ValueError, match="iic needs images, got a table; use imsat"):
        make_recipe("iic", TABLE)


@pytest.mark.parametrize("name", ["imsat", "iic"])
def test_a_new_network_has_an_output_for_each_cluster(name):
    recipe = make_recipe(name, USPS)
    assert recipe.pretrain is None
    assert recipe.network == recipe.learner == recipe.architecture
    assert recipe.network.embedding_dim == 7
    assert recipe.network.input_scale == 1.0
    params, centroids = clustering_start(
        recipe, jax.random.key(0), {}, jnp.zeros((7, 256))
    )
    assert set(params) == {"encoder", "batch_stats"}
    assert centroids.shape == (7, 7)


@pytest.mark.parametrize("name", ["imsat", "iic"])
def test_a_given_network_is_pretrained(name):
    network = dense_architecture(256, hidden=(9,))
    recipe = make_recipe(name, USPS, network)
    assert recipe.pretrain == make_recipe("dec", USPS).pretrain
    assert recipe.learner is None
    assert recipe.network.layers == network.layers


@pytest.mark.parametrize("n_samples", [500, 9_298, 70_000])
@pytest.mark.parametrize(("name", "least"), [("imsat", 2000), ("iic", 6000)])
def test_small_data_get_as_many_steps(name, least, n_samples):
    train = make_recipe(name, DataShape(n_samples, 64, (8, 8, 1))).train
    assert train.update_interval * train.max_intervals >= least
    # Whole epochs, so that labels are compared after each sample was seen.
    assert train.update_interval % -(-n_samples // train.batch_size) == 0
