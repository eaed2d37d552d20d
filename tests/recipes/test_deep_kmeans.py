"""The recipes that train an autoencoder together with a loss of k-means."""

from dataclasses import replace

import pytest

from dec_jax.objectives import AEC, DEN, DKM, ACeDeC
from dec_jax.recipes.dense import DataShape, make_recipe
from dec_jax.training.augmentation import Augmentation
from dec_jax.training.optimizer import Optimizer

MNIST = DataShape(70_000, 784, (28, 28, 1), name="mnist")
TABLE = DataShape(500, 12, input_scale=1.0, name="table")


def test_dkm_has_the_published_settings_of_mnist():
    recipe = make_recipe("dkm", MNIST)
    assert recipe.pretrain.epochs == 50
    assert recipe.pretrain.optimizer == Optimizer("adam", 1e-3)
    # lambda 1 of a sum over 784 values, alpha 1000.
    assert recipe.objective == DKM(1 / 784, inverse_temperature=1000.0)
    assert recipe.train.optimizer == Optimizer("adam", 1e-3)
    # 20 times 5 epochs.
    assert (recipe.train.update_interval, recipe.train.max_intervals) == (274, 100)
    assert recipe.train.tolerance == 0


def test_aec_differs_from_dkm_in_its_clustering_phase_alone():
    aec, dkm = make_recipe("aec", MNIST), make_recipe("dkm", MNIST)
    assert (aec.architecture, aec.pretrain) == (dkm.architecture, dkm.pretrain)
    assert aec.objective == AEC(clustering_weight=0.1)
    assert aec.train.optimizer == Optimizer("adam", 1e-4)
    # Centroids and labels are updated after each epoch.
    assert (aec.train.update_interval, aec.train.max_intervals) == (274, 50)


def test_ace_dec_has_room_for_a_shared_space():
    recipe = make_recipe("ace-dec", MNIST)
    layers = recipe.architecture.layers
    assert [layer.features for layer in layers] == [500, 500, 2000, 20]
    assert recipe.objective == ACeDeC(clustering_weight=1.0)
    assert recipe.train.optimizer == Optimizer("adam", 1e-4)
    assert (recipe.train.batch_size, recipe.train.max_intervals) == (128, 150)
    assert recipe.train.update_interval == 547
    assert recipe.architecture.input_scale == 1 / 255


def test_den_has_a_group_of_two_dimensions_for_each_cluster():
    recipe = make_recipe("den", replace(MNIST, n_clusters=7))
    assert recipe.architecture.embedding_dim == 14
    assert recipe.objective == DEN(0.5 / 784, 1 / 784, group_size=2, n_neighbors=2)
    assert recipe.train.optimizer == Optimizer("adam", 1e-3)
    assert (recipe.train.update_interval, recipe.train.max_intervals) == (274, 100)


@pytest.mark.parametrize("name", ["dkm", "aec", "ace-dec", "den"])
def test_samples_are_not_augmented(name):
    recipe = make_recipe(name, MNIST)
    for phase in (recipe.pretrain, recipe.train):
        assert phase.augmentation == Augmentation()


@pytest.mark.parametrize("name", ["dkm", "aec", "ace-dec", "den"])
def test_small_tables_get_narrower_layers_and_more_epochs(name):
    recipe = make_recipe(name, TABLE)
    widths = [layer.features for layer in recipe.architecture.layers]
    assert widths[:-1] == [62, 62, 250]
    assert recipe.pretrain.epochs == 1000
