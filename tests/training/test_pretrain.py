from dataclasses import replace
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_training import PRETRAIN, TINY, fit
from training_state import restored, saved

from dec_jax.networks.architecture import dense_architecture
from dec_jax.networks.autoencoder import init_params, reconstruct
from dec_jax.objectives.reconstruction import Reconstruction, Variational
from dec_jax.training import pretrain
from dec_jax.training.augmentation import Augmentation
from dec_jax.training.minibatches import minibatch_plan
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.pretrain import (
    PretrainConfig,
    PretrainState,
    init_pretraining,
    pretrain_step,
)


@pytest.fixture(scope="module")
def x(blobs):
    return blobs[0]


@pytest.fixture(scope="module")
def run(x):
    """Parameters and losses of a whole run, and the state after each epoch, saved."""
    states = []
    params, history = fit(
        jax.random.key(0), x, on_epoch=lambda state, _: states.append(saved(state))
    )
    return params, history.loss, list(map(restored, states))


def test_params_are_trained_towards_the_samples(run, x):
    params, losses, _ = run
    start = init_params(jax.random.split(jax.random.key(0))[0], TINY)
    error = [
        float(((reconstruct(p, jnp.asarray(x), architecture=TINY) - x) ** 2).mean())
        for p in (start, params)
    ]
    assert error[1] < 0.7 * error[0]
    assert losses[-1] < 0.8 * losses[0]


def test_losses_are_one_an_epoch(run):
    losses = run[1]
    assert losses.shape == (PRETRAIN.epochs,) and losses.dtype == np.float32
    assert np.isfinite(losses).all()


def test_pretraining_depends_on_the_key_only(run, x):
    again = fit(jax.random.key(0), x)
    chex.assert_trees_all_equal(again[0], run[0])
    np.testing.assert_array_equal(again[1].loss, run[1])
    other = fit(jax.random.key(1), x, on_epoch=lambda *_: True)
    assert other[1].loss[0] != run[1][0]


def test_an_epoch_equals_a_python_loop_of_steps(run, x, key):
    state = init_pretraining(key, architecture=TINY, config=PRETRAIN, n_samples=len(x))
    settings = {"architecture": TINY, "config": PRETRAIN, "n_samples": len(x)}
    step = jax.jit(partial(pretrain_step, **settings))
    batches = minibatch_plan(
        jax.random.fold_in(state.key, 0), 0, num_steps=4, n_samples=200, batch_size=64
    )
    loss = 0.0
    for indices, weights in zip(*batches, strict=True):
        state, batch_loss = step(state, jnp.asarray(x)[indices], weights)
        loss += batch_loss
    chex.assert_trees_all_close(state.params, run[2][0].params, rtol=1e-4, atol=1e-6)
    # 200 samples in batches of 64: the weights of the epoch sum to 200 / 64.
    np.testing.assert_allclose(loss / (200 / 64), run[1][0], rtol=1e-5)


@pytest.mark.parametrize("epoch", [1, 5, 6])
def test_resuming_from_a_saved_state_equals_the_unbroken_run(run, x, epoch):
    params, losses, states = run
    # The key is drawn from at the start only: a resumed run does not look at it.
    resumed, rest = fit(jax.random.key(9), x, state=states[epoch - 1])
    chex.assert_trees_all_equal(resumed, params)
    np.testing.assert_array_equal(rest.loss, losses[epoch:])


def test_the_state_given_stays_usable(run, x, key):
    state = init_pretraining(key, architecture=TINY, config=PRETRAIN, n_samples=len(x))
    first, again = (fit(key, x, state=state) for _ in range(2))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(state))
    chex.assert_trees_all_equal(first, again)
    chex.assert_trees_all_equal(first[0], run[0])


def test_epochs_are_one_program_for_equal_settings(x, key):
    def settings():
        return {
            "architecture": dense_architecture(8, hidden=(15,), embedding_dim=3),
            "config": PretrainConfig(3, 64, Optimizer("adam", 0.01)),
        }

    before = pretrain._pretrain_epochs._cache_size()
    for _ in range(2):
        fit(key, x, **settings())
    assert pretrain._pretrain_epochs._cache_size() == before + 1


def test_step_is_traced_once_for_equal_settings(x, key):
    state = init_pretraining(key, architecture=TINY, config=PRETRAIN, n_samples=len(x))
    step = jax.jit(
        chex.assert_max_traces(pretrain_step, n=1),
        static_argnames=("architecture", "config", "n_samples"),
    )
    for _ in range(3):
        step(
            state,
            jnp.asarray(x[:8]),
            jnp.full(8, 1 / 8),
            architecture=replace(TINY),
            config=replace(PRETRAIN),
            n_samples=200,
        )


def test_on_epoch_sees_the_state_and_the_loss(run):
    _, losses, states = run
    assert [int(state.step) for state in states] == [4, 8, 12, 16, 20, 24]
    assert isinstance(states[0], PretrainState)
    chex.assert_trees_all_equal(states[-1].params, jax.device_get(run[0]))
    assert len(losses) == len(states)


def test_on_epoch_stops_by_true(run, x, key):
    params, history = fit(key, x, on_epoch=lambda state, row: int(state.step) == 8)
    np.testing.assert_array_equal(history.loss, run[1][:2])
    chex.assert_trees_all_equal(jax.device_get(params), run[2][1].params)


@pytest.fixture
def images(tiny_images):
    architecture = dense_architecture(70, hidden=(4,), embedding_dim=2)
    settings = Augmentation((5, 7, 2), rotation=40, masking=0.5)
    return jnp.asarray(tiny_images), architecture, settings


def loss_of_a_step(images, key, target, **changes):
    x, architecture, settings = images
    config = PretrainConfig(
        1, 6, Optimizer("sgd", 0.1), replace(settings, **changes), target
    )
    state = init_pretraining(key, architecture=architecture, config=config, n_samples=6)
    _, loss = pretrain_step(
        state,
        x,
        jnp.full(6, 1 / 6),
        architecture=architecture,
        config=config,
        n_samples=6,
    )
    return state, float(loss)


def test_target_clean_differs_from_target_distorted_where_pixels_move(images, key):
    clean, distorted = (
        loss_of_a_step(images, key, target)[1] for target in ("clean", "distorted")
    )
    assert abs(clean - distorted) > 1e-3


def test_masked_inputs_are_filled_in_under_either_target(images, key):
    # With nothing moved, both targets are the samples as they are.
    clean, distorted = (
        loss_of_a_step(images, key, target, rotation=0.0)[1]
        for target in ("clean", "distorted")
    )
    unmasked = loss_of_a_step(images, key, "clean", rotation=0.0, masking=0.0)[1]
    assert clean == distorted != unmasked


def test_each_step_and_each_device_draws_its_own_distortion(key, x):
    config = replace(PRETRAIN, augmentation=Augmentation(masking=0.5))
    state = init_pretraining(key, architecture=TINY, config=config, n_samples=200)
    # The same 16 samples on each of 1 and of 4 devices, in the first and second step.
    losses = [
        jax.pmap(
            partial(
                pretrain_step,
                architecture=TINY,
                config=config,
                n_samples=200,
                axis_name="devices",
            ),
            "devices",
            in_axes=(None, 0, 0),
            out_axes=None,
            devices=jax.devices()[:count],
        )(
            state._replace(step=jnp.int32(step)),
            jnp.stack([jnp.asarray(x[:16])] * count),
            jnp.full((count, 16), 1 / 16),
        )[1]
        for count in (1, 4)
        for step in (0, 1)
    ]
    assert len({round(float(loss), 4) for loss in losses}) == 4


def test_step_over_devices_equals_one_device(key, x):
    config = replace(PRETRAIN, augmentation=Augmentation())
    state = init_pretraining(key, architecture=TINY, config=config, n_samples=200)
    step = partial(pretrain_step, architecture=TINY, config=config, n_samples=200)
    batch = jnp.asarray(x[:64])
    whole, loss = jax.jit(step)(state, batch, jnp.full(64, 1 / 64))
    over_devices = jax.pmap(
        partial(step, axis_name="devices"),
        "devices",
        in_axes=(None, 0, 0),
        out_axes=None,
    )
    shares, mean = jax.block_until_ready(
        over_devices(state, batch.reshape(4, 16, 8), jnp.full((4, 16), 1 / 16))
    )
    np.testing.assert_allclose(mean, loss, rtol=1e-5)
    chex.assert_trees_all_close(shares.params, whole.params, atol=1e-5)


def test_bytes_equal_their_scaled_floats(key):
    x = np.random.default_rng(0).integers(0, 256, (200, 8)).astype(np.uint8)
    stop = {"on_epoch": lambda *_: True}
    as_bytes, _ = fit(key, x, **stop)
    as_floats, _ = fit(key, x.astype(np.float32) / np.float32(255), **stop)
    chex.assert_trees_all_close(as_bytes, as_floats, atol=1e-5)


# A multiple of the batch (no partial batch), fewer samples than the batch, one sample.
@pytest.mark.parametrize("n", [128, 40, 1])
def test_any_number_of_samples_will_do(key, x, n):
    config = PretrainConfig(1, 64, Optimizer("adam", 0.01, schedule="one-cycle"))
    params, history = fit(key, x[:n], config=config)
    chex.assert_tree_all_finite((params, history.loss))


def test_duplicate_rows_and_constant_columns_stay_finite(key):
    x = np.tile(np.array([[1, 1, 1, 1, 1, 1, 1, 0]], np.float32), (200, 1))
    params, history = fit(key, x)
    chex.assert_tree_all_finite((params, history.loss))


@pytest.mark.parametrize(
    "x, error, message",
    [
        (
            np.zeros((20, 7), np.float32),
            ValueError,
            r"x must have 8 columns.*\(20, 7\)",
        ),
        (np.full((20, 8), np.nan), ValueError, "x must be finite: column 0"),
        (np.zeros(20), ValueError, r"x must have shape \[n, d\]"),
        (np.zeros((0, 8)), ValueError, "x is empty"),
        (np.full((20, 8), "a"), TypeError, "x must be numeric"),
        ([[0.0] * 8], TypeError, "x must be an array, got list"),
    ],
)
def test_pretrain_end_to_end_rejects_samples(key, x, error, message):
    before = pretrain._pretrain_epochs._cache_size()
    with pytest.raises(error, match=message):
        fit(key, x)
    assert pretrain._pretrain_epochs._cache_size() == before


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
        ({"epochs": 1.5}, TypeError, "epochs must be an integer, got 1.5"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"patience": 0}, ValueError, "patience must be at least 1, got 0"),
        ({"target": "claen"}, ValueError, "'claen'; did you mean 'clean'"),
    ],
)
def test_pretrain_config_rejects_a_value(options, error, message):
    with pytest.raises(error, match=message):
        PretrainConfig(**options)


def test_pretraining_says_where_the_loss_diverged(key, x):
    config = replace(PRETRAIN, optimizer=Optimizer("sgd", 1e30))
    with pytest.raises(
        FloatingPointError, match=r"after epoch 1; lower the learning rate"
    ):
        fit(key, 1e3 * x, config=config)


VAE = replace(TINY, variational=True, output_activation="sigmoid")


@pytest.mark.parametrize(
    "architecture, objective, message",
    [
        (VAE, Reconstruction(), "pretrain this one with Variational"),
        (TINY, Variational(), "needs an architecture with variational=True"),
        (
            replace(VAE, output_activation="linear"),
            Variational(),
            "needs the output activation 'sigmoid'.*got 'linear'",
        ),
    ],
)
def test_pretrain_rejects_an_objective_of_another_kind(
    key, x, architecture, objective, message
):
    with pytest.raises(ValueError, match=message):
        fit(
            key,
            np.abs(x) / 99,
            architecture=architecture,
            config=replace(PRETRAIN, objective=objective),
        )


def test_pretrain_rejects_pixels_that_are_no_probabilities(key, x):
    config = replace(PRETRAIN, objective=Variational())
    with pytest.raises(ValueError, match=r"x must be in \[0, 1\] for Bernoulli"):
        fit(key, x, architecture=VAE, config=config)
    with pytest.raises(ValueError, match=r"validation must be in \[0, 1\]"):
        fit(key, np.abs(x) / 99, architecture=VAE, config=config, validation=x)


def test_variational_training_lowers_the_bound(key):
    x = np.random.default_rng(0).integers(0, 256, (200, 8)).astype(np.uint8)
    config = replace(PRETRAIN, objective=Variational(), epochs=20)
    _, history = fit(key, x, architecture=VAE, config=config)
    assert history.loss[-1] < history.loss[0]
