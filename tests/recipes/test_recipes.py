from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dec_jax.networks.architecture import dense_architecture
from dec_jax.networks.autoencoder import encode, init_params
from dec_jax.objectives import DCN, DEC, IDEC
from dec_jax.objectives.reconstruction import MeanReconstruction
from dec_jax.objectives.vade import VaDE
from dec_jax.recipes.adjust import adjust_recipe
from dec_jax.recipes.dense import RECIPES, DataShape, make_recipe
from dec_jax.recipes.recipe import clustering_start, default_recipe
from dec_jax.training.augmentation import Augmentation
from dec_jax.training.layerwise import LayerwiseConfig
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.state import SoftReset

MNIST = DataShape(70_000, 784, (28, 28, 1), name="mnist")
USPS = DataShape(9_298, 256, (16, 16, 1), input_scale=1.0, name="usps")
KEY = jax.random.key(0)
TABLE = DataShape(500, 12, input_scale=1.0, name="table")
ALJALBOUT = ("kld-conv", "kmeans-conv")
CONVOLUTIONAL = (*ALJALBOUT, "dec-da-conv", "iic")


CASES = [
    (name, shape)
    for name in RECIPES
    for shape in (MNIST, TABLE)
    if shape is MNIST or name not in CONVOLUTIONAL
]
over_data = pytest.mark.parametrize(("name", "shape"), CASES)


@over_data
def test_recipe_fits_the_data(name, shape):
    recipe = make_recipe(name, shape)
    assert recipe.architecture.input_dim == shape.input_dim
    # The published DEC multiplies bytes by 0.02.
    scale = 0.02 if name == "dec-paper" and shape is MNIST else shape.input_scale
    assert recipe.architecture.input_scale == scale
    assert recipe.source and recipe.expected


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in RECIPES
        if name not in (*CONVOLUTIONAL, "ace-dec", "den", "imsat")
    ],
)
def test_dense_recipes_have_the_papers_network(name):
    layers = make_recipe(name, MNIST).architecture.layers
    assert [layer.features for layer in layers] == [500, 500, 2000, 10]


@over_data
def test_recipe_hashes_by_value(name, shape):
    first, second = make_recipe(name, shape), make_recipe(name, shape)
    assert first == second
    assert hash(first) == hash(second)


@pytest.mark.parametrize("name", [name for name, shape in CASES if shape is TABLE])
def test_a_table_is_never_moved(name):
    # 784 columns of a table are not 28 x 28 pixels.
    recipe = make_recipe(name, DataShape(500, 784, image_shape=None, name="mnist"))
    phases = [recipe.train, recipe.pretrain]
    if isinstance(recipe.pretrain, LayerwiseConfig):
        phases[1:] = [recipe.pretrain.layer, recipe.pretrain.finetune]
    for phase in filter(None, phases):
        assert not phase.augmentation.moves_pixels
        assert phase.augmentation.image_shape is None


def test_dec_moves_images_of_the_shape_it_was_given():
    recipe = make_recipe("dec", DataShape(500, 12, (2, 3, 2)))
    light = Augmentation((2, 3, 2), rotation=10, shift=0.1)
    assert recipe.pretrain.augmentation == light
    assert recipe.train.augmentation == light


@pytest.mark.parametrize("name", ["dec", "idec", "dcn"])
def test_recipes_with_resets_change_the_clustering_phase_alone(name):
    plain, reset = make_recipe(name, USPS), make_recipe(f"{name}-brb", USPS)
    assert reset.train.soft_reset == SoftReset(every=20, keep=0.8)
    assert (reset.train.update_interval, reset.train.max_intervals) == (37, 400)
    assert reset.train.optimizer == Optimizer("adam", 1e-3)
    # 8 batches are passed three times, so that 22 steps are taken at least.
    few = DataShape(1797, 64, (8, 8, 1), name="digits")
    assert make_recipe(f"{name}-brb", few).train.update_interval == 24
    for part in ("architecture", "pretrain", "objective", "n_init", "start"):
        assert getattr(plain, part) == getattr(reset, part)
    few = adjust_recipe(reset, max_intervals=10)
    assert few.train.soft_reset == reset.train.soft_reset


def test_best_moves_images_further_in_clustering_than_in_pretraining():
    recipe = make_recipe("best", DataShape(500, 12, (2, 3, 2)))
    assert recipe.pretrain.augmentation == Augmentation(
        (2, 3, 2), rotation=10, shift=0.1
    )
    assert recipe.train.augmentation == Augmentation(
        (2, 3, 2), rotation=15, shift=0.1, scale=0.1, shear=10
    )
    assert make_recipe("n2d", DataShape(500, 12, (2, 3, 2))).train.augmentation == (
        recipe.pretrain.augmentation
    )


def test_best_has_a_learner_for_many_images_alone():
    recipe = make_recipe("best", replace(USPS, n_clusters=7))
    assert recipe.learner.input_shape == (16, 16, 1)
    assert recipe.learner.input_scale == 1.0
    assert recipe.learner.embedding_dim == 7
    assert recipe.network == recipe.learner
    assert recipe.objective == DEC()
    # What else there is does not differ.
    few = make_recipe("best", replace(USPS, n_samples=4_999))
    table = make_recipe("best", DataShape(70_000, 784))
    given = make_recipe("best", MNIST, dense_architecture(784, hidden=(9,)))
    for other in (few, table, given):
        assert other.learner is None
        assert other.network == other.architecture
        assert other.objective == IDEC()
    assert few.pretrain == replace(recipe.pretrain, epochs=few.pretrain.epochs)
    for name in ("frozen_target_intervals", "keep_cluster_sizes", "augmentation"):
        assert getattr(few.train, name) == getattr(recipe.train, name), name


@pytest.mark.parametrize("n_samples", [5_000, 9_298, 70_000, 200_000])
def test_a_learner_takes_enough_steps_on_small_data(n_samples):
    train = make_recipe("best", replace(MNIST, n_samples=n_samples)).train
    assert train.max_intervals * train.update_interval >= 3_000
    # But not more epochs than it needs on large data.
    epochs = train.max_intervals * train.update_interval / (n_samples / 256)
    assert train.max_intervals >= 12 and (n_samples < 60_000 or epochs < 13)


def test_first_params_are_those_after_pretraining_or_of_a_learner():
    best = make_recipe("best", USPS)
    network = replace(best.architecture, layers=best.architecture.layers[-1:])
    params, centroids = init_params(KEY, network), jnp.ones((10, 4))
    dec = make_recipe("dec", USPS)
    assert clustering_start(dec, KEY, params, centroids) == (params, centroids)
    learner, first = clustering_start(best, KEY, params, centroids)
    assert list(learner) == ["encoder"]
    z = encode(learner, jnp.ones((2, 256)), architecture=best.learner)
    assert z.shape == (2, 10)
    apart = np.linalg.norm(first[:, None] - first[None], axis=-1)
    np.testing.assert_allclose(apart, np.sqrt(32) * (1 - np.eye(10)), rtol=1e-6)
    # The draws are neither those of shuffling nor of another seed.
    other, _ = clustering_start(best, jax.random.key(5), params, centroids)
    kernels = [one["encoder"]["dense_2"]["kernel"] for one in (learner, other)]
    assert np.abs(kernels[0] - kernels[1]).max() > 0.01


def test_first_params_refuse_another_number_of_clusters():
    best = make_recipe("best", USPS)
    with pytest.raises(
        ValueError, match="has a network for 10 clusters, got 3 centroids"
    ):
        clustering_start(best, KEY, {}, jnp.ones((3, 10)))


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


@pytest.mark.parametrize(
    ("n_samples", "batch_size"), [(70_000, 256), (1_797, 256), (600, 200), (300, 152)]
)
@pytest.mark.parametrize("name", ["best", "auto"])
def test_few_samples_are_divided_into_even_batches(name, n_samples, batch_size):
    recipe = make_recipe(name, DataShape(n_samples, 64, (8, 8, 1)))
    assert recipe.pretrain.batch_size == recipe.train.batch_size == batch_size
    recipe = make_recipe(name, DataShape(n_samples, 64))
    assert recipe.train.batch_size == batch_size


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


def test_dec_paper_has_the_published_schedule():
    # 50,000 iterations a layer and 100,000 for all; an epoch has 274.
    recipe = make_recipe("dec-paper", MNIST)
    assert recipe.pretrain.corruption == 0.2
    assert recipe.pretrain.layer.epochs == -(-50_000 // 274)
    assert recipe.pretrain.finetune.epochs == -(-100_000 // 274)
    for phase in (recipe.pretrain.layer, recipe.pretrain.finetune):
        assert phase.optimizer.learning_rate == 0.05
        assert (phase.optimizer.schedule, phase.optimizer.decay_every) == (
            "step",
            20_000,
        )
    assert recipe.architecture.initializer == "xie_normal"
    assert recipe.train.update_interval == 160


def test_idec_dcn_and_dec_share_one_pretraining():
    recipes = [make_recipe(name, MNIST) for name in ("dec", "idec", "dcn")]
    assert len({(recipe.architecture, recipe.pretrain) for recipe in recipes}) == 1
    assert [recipe.objective for recipe in recipes] == [DEC(), IDEC(), DCN()]


# VaDE: Jiang et al. (2017).


def test_vade_has_the_published_settings_of_mnist():
    recipe = make_recipe("vade", MNIST)
    optimizer = recipe.train.optimizer
    assert (optimizer.name, optimizer.learning_rate) == ("adam", 0.002)
    assert (optimizer.schedule, optimizer.decay_every) == ("step", 10 * 700)
    assert (optimizer.decay_rate, optimizer.least_rate) == (0.9, 2e-4)
    assert optimizer.epsilon == 1e-4
    assert (recipe.train.batch_size, recipe.train.update_interval) == (100, 700)
    # Nothing but the schedule ends it.
    assert (recipe.train.max_intervals, recipe.train.tolerance) == (300, 0)
    assert recipe.train.augmentation == Augmentation()
    assert recipe.objective == VaDE()
    assert recipe.pretrain.objective == MeanReconstruction()
    assert recipe.start == "k-means"


@pytest.mark.parametrize(("shape", "output"), [(MNIST, "sigmoid"), (TABLE, "linear")])
def test_vade_takes_images_as_bernoulli_and_tables_as_gaussian(shape, output):
    network = make_recipe("vade", shape).architecture
    assert (network.variational, network.output_activation) == (True, output)


@pytest.mark.parametrize("name", RECIPES)
def test_make_recipe_takes_another_network(name):
    network = dense_architecture(256, hidden=(30,), embedding_dim=5)
    recipe = make_recipe(name, USPS, network)
    assert recipe.architecture.layers == network.layers
    assert recipe.architecture.input_scale == USPS.input_scale


def test_make_recipe_rejects_a_network_for_other_samples():
    message = "architecture must take 784 values, as the samples have, got one for 9"
    with pytest.raises(ValueError, match=message):
        make_recipe("dec", MNIST, dense_architecture(9))


def test_make_recipe_rejects_an_unknown_name_with_the_nearest():
    message = "Unknown recipe 'dec-kera'; did you mean 'dec-keras'"
    with pytest.raises(ValueError, match=message):
        make_recipe("dec-kera", MNIST)


@pytest.mark.parametrize(("shape", "name"), [(MNIST, "best"), (TABLE, "auto")])
def test_default_recipe_is_best_for_images_and_auto_for_tables(shape, name):
    assert default_recipe(shape) == name


def test_recipe_rejects_a_graph_of_no_rows():
    recipe = make_recipe("best", MNIST)
    assert recipe.graph_rows == 100_000
    with pytest.raises(ValueError, match="graph_rows must be at least 1, got 0"):
        replace(recipe, graph_rows=0)


@pytest.mark.parametrize("name", ["dec", "dec-paper"])
def test_a_learning_rate_changes_both_phases_by_one_factor(name):
    recipe = make_recipe(name, DataShape(5_000, 784))
    slower = adjust_recipe(recipe, learning_rate=0.003)
    assert slower.train.optimizer.learning_rate == 0.003
    phases = [
        [one.pretrain.layer, one.pretrain.finetune]
        if name == "dec-paper"
        else [one.pretrain]
        for one in (recipe, slower)
    ]
    for before, after in zip(*phases, strict=True):
        rate = 0.3 * before.optimizer.learning_rate
        assert after.optimizer.learning_rate == pytest.approx(rate)
    assert adjust_recipe(recipe) == recipe


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
def test_adjust_recipe_rejects_a_learning_rate(rate):
    recipe = make_recipe("dec", DataShape(5_000, 784))
    with pytest.raises(ValueError, match="learning_rate must be finite and above 0"):
        adjust_recipe(recipe, learning_rate=rate)
