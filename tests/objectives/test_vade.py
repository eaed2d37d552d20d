"""VaDE in training: the first prior, steps, resuming, and what is refused."""

from dataclasses import replace
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_training
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from training_state import restored, saved
from variational_networks import BERNOULLI, KEY, D, E, with_log_variance

from dec_jax import model
from dec_jax.clustering.kmeans import k_means
from dec_jax.clustering.mixture import fit_mixture, log_posterior
from dec_jax.evaluation.metrics import clustering_accuracy
from dec_jax.networks.architecture import dense_architecture
from dec_jax.networks.autoencoder import embed
from dec_jax.objectives import DCN, DEC, IDEC
from dec_jax.objectives.reconstruction import MeanReconstruction
from dec_jax.objectives.vade import VaDE, prior
from dec_jax.training.cluster import train, train_step
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.pretrain import PretrainConfig, pretrain_end_to_end
from dec_jax.training.refresh import refresh_targets
from dec_jax.training.state import init_state

CONFIG = replace(tiny_training.CONFIG, optimizer=Optimizer("adam", 2e-3))


# The first prior, and q.


@pytest.fixture(scope="module")
def x(blobs):
    """The blobs in [0, 1]."""
    low, high = blobs[0].min(), blobs[0].max()
    return jnp.asarray((blobs[0] - low) / (high - low))


@pytest.fixture(scope="module")
def start(x):
    """A pretrained network, and k-means centroids and labels of its z."""
    network, _ = pretrain_end_to_end(
        KEY,
        x,
        architecture=BERNOULLI,
        config=PretrainConfig(
            epochs=60,
            batch_size=50,
            optimizer=Optimizer("adam", 1e-2),
            objective=MeanReconstruction(),
        ),
    )
    clusters = k_means(KEY, embed(network, x, architecture=BERNOULLI), 4, n_init=2)
    return network, clusters.centroids, clusters.labels


SETTINGS = {"architecture": BERNOULLI, "objective": VaDE(), "config": CONFIG}
STATIC = ("architecture", "objective", "config")
refresh = jax.jit(refresh_targets, static_argnames=STATIC)


def state_of(start, config=CONFIG):
    return init_state(KEY, *start, objective=VaDE(), config=config)


def run(start, x, config=CONFIG, **options):
    settings = SETTINGS | {"config": config}
    return train(state_of(start, config), x, **settings, **options)


def test_first_refresh_fits_the_mixture_to_z(start, x):
    state = refresh(state_of(start), x, **SETTINGS)
    z = embed(state.params, x, architecture=BERNOULLI)
    mixture = fit_mixture(z, start[2], 4)
    np.testing.assert_array_equal(state.params["centroids"], mixture.means)
    np.testing.assert_array_equal(state.params["log_variances"], mixture.log_variances)
    np.testing.assert_array_equal(state.params["log_weights"], mixture.log_weights)
    q = np.exp(log_posterior(z, mixture))
    np.testing.assert_array_equal(state.labels, q.argmax(axis=1))


def test_a_later_refresh_fits_nothing(start, x):
    state = refresh(state_of(start), x, **SETTINGS)
    state = state._replace(
        step=state.step + 5,
        params=state.params | {"log_weights": jnp.log(jnp.array([0.1, 0.2, 0.3, 0.4]))},
    )
    later = refresh(state, x, **SETTINGS)
    chex.assert_trees_all_equal(later.params, state.params)


def test_before_any_refresh_clusters_have_even_weights_and_variance_1(start):
    mixture = prior(state_of(start).params)
    np.testing.assert_allclose(np.exp(mixture.log_weights), [0.25] * 4, rtol=1e-6)
    np.testing.assert_array_equal(mixture.log_variances, np.zeros((4, E)))
    np.testing.assert_array_equal(mixture.means, start[1])


def test_four_devices_refresh_as_one(start, x):
    state = state_of(start)
    one = refresh(state, x, **SETTINGS)
    mesh = Mesh(np.array(jax.devices()), ("data",))
    state = jax.device_put(state, NamedSharding(mesh, PartitionSpec()))
    spread = jax.device_put(x, NamedSharding(mesh, PartitionSpec("data")))
    four = refresh(state, spread, **SETTINGS)
    chex.assert_trees_all_close(
        saved(four)._asdict(), saved(one)._asdict(), rtol=1e-3, atol=1e-4
    )
    np.testing.assert_array_equal(four.labels, one.labels)


# Steps.


@pytest.mark.slow
def test_step_over_devices_equals_one_device(start, x):
    # Each device draws its own z: with next to no variance, all draw the mean.
    start = (with_log_variance(start[0], -30.0), *start[1:])
    config = replace(CONFIG, optimizer=Optimizer("sgd", 1e-3))
    settings = SETTINGS | {"config": config}
    state = refresh(state_of(start, config), x, **settings)
    step = partial(train_step, **settings)
    batch, p = x[:64], state.targets[:64]
    whole, losses = jax.jit(step)(state, batch, p, jnp.full(64, 1 / 64))
    shares, mean_losses = jax.block_until_ready(
        jax.pmap(
            partial(step, axis_name="devices"),
            "devices",
            in_axes=(None, 0, 0, 0),
            out_axes=None,
        )(
            state,
            batch.reshape(4, 16, D),
            p.reshape(4, 16, 4),
            jnp.full((4, 16), 1 / 16),
        )
    )
    np.testing.assert_allclose(mean_losses, losses, rtol=1e-4)
    chex.assert_trees_all_close(
        saved(shares)._asdict(), saved(whole)._asdict(), atol=1e-4
    )


def test_each_device_and_each_step_draws_its_own_z(start, x):
    # The same samples everywhere: only the draw can differ.
    state = refresh(state_of(start), x, **SETTINGS)

    def total(state, x, p, weights):
        given = SETTINGS | {"axis_name": "devices"}
        return train_step(state, x, p, weights, **given)[1].total

    def over_devices(state, count):
        mapped = jax.pmap(
            total,
            "devices",
            in_axes=(None, 0, 0, 0),
            out_axes=None,
            devices=jax.devices()[:count],
        )
        rows = (jnp.stack([a[:16]] * count) for a in (x, state.targets))
        return float(mapped(state, *rows, jnp.full((count, 16), 1 / 16)))

    first = over_devices(state, 1)
    assert over_devices(state, 1) == first
    assert over_devices(state, 2) != first
    assert over_devices(state._replace(step=state.step + 1), 1) != first


def test_training_finds_the_clusters_and_lowers_the_bound(start, x, blobs):
    result = run(start, x, replace(CONFIG, max_intervals=30))
    assert clustering_accuracy(blobs[1], result.labels) > 0.98
    history = result.history
    assert history.loss[-1] < history.loss[0] - 0.5
    np.testing.assert_allclose(
        history.loss, history.reconstruction + history.clustering, rtol=1e-5
    )
    np.testing.assert_allclose(result.q.sum(axis=1), 1, rtol=1e-5)
    before = state_of(start).params
    for name in VaDE.trained:
        moved = jax.tree.map(
            lambda a, b: np.abs(a - b).max(), result.state.params[name], before[name]
        )
        assert max(jax.tree.leaves(moved)) > 1e-3


@pytest.mark.slow
def test_intervals_at_once_and_a_resumed_run_equal_one_at_a_time(start, x):
    states = []
    one = run(start, x, on_interval=lambda state, _: states.append(saved(state)))
    at_once = run(start, x, intervals_per_call=4)
    chex.assert_trees_all_equal(saved(at_once.state), saved(one.state))
    resumed = train(restored(states[1]), x, **SETTINGS)
    chex.assert_trees_all_equal(saved(resumed.state), saved(one.state))


@pytest.mark.slow
def test_an_emptied_cluster_starts_again_as_the_largest_on_another_sample(start, x):
    network, centroids, labels = start
    config = replace(CONFIG, reseed_below=0.1)
    # The mixture starts the fifth with all samples' mean, and next to no weight.
    first = (network, jnp.concatenate([centroids, centroids[:1]]), labels)
    state = init_state(KEY, *first, objective=VaDE(), config=config)
    alone = refresh(state, x, **SETTINGS).params
    state = refresh(state, x, **SETTINGS | {"config": config})
    for name in ("log_weights", "log_variances"):
        value = state.params[name]
        np.testing.assert_array_equal(value[:4], alone[name][:4])
        assert any((value[4] == value[c]).all() for c in range(4))
    assert np.bincount(state.labels, minlength=5).min() > 0


# To a file and back.


def test_a_loaded_model_predicts_what_training_gave(start, x, tmp_path):
    result = run(start, x)
    path = model.save(
        tmp_path / "model.safetensors",
        result.state.params,
        architecture=BERNOULLI,
        alpha=VaDE().alpha,
    )
    loaded = model.load(path)
    q = model.predict_proba(loaded, np.asarray(x))
    assert q.tobytes() == result.q.tobytes()
    np.testing.assert_array_equal(model.predict(loaded, np.asarray(x)), result.labels)
    assert loaded.n_clusters == 4


# What is refused.


PLAIN = dense_architecture(D, hidden=(16,), embedding_dim=E)


@pytest.mark.parametrize(
    ("network", "low", "message"),
    [
        (PLAIN, 0.0, "VaDE needs an architecture with variational=True, got False"),
        (
            replace(BERNOULLI, output_activation="relu"),
            0.0,
            "VaDE needs the output activation 'sigmoid'.* or 'linear', got 'relu'",
        ),
        (BERNOULLI, -0.5, r"x must be in \[0, 1\] for Bernoulli pixels, got -0.5 to"),
    ],
)
def test_vade_rejects_a_network_and_samples(start, x, network, low, message):
    state = state_of(start)
    settings = SETTINGS | {"architecture": network}
    with pytest.raises(ValueError, match=message):
        train(state, x.at[0, 0].set(low), **settings)


@pytest.mark.parametrize("objective", [DEC(), IDEC(), DCN()])
def test_other_methods_rejects_a_variational_network(start, x, objective):
    state = init_state(KEY, *start, objective=objective, config=CONFIG)
    name = type(objective).__name__
    with pytest.raises(ValueError, match=f"{name} needs .* variational=False; .*VaDE"):
        train(state, x, **SETTINGS | {"objective": objective})


@pytest.mark.parametrize(
    ("network", "low", "message"),
    [
        (PLAIN, 0.0, "MeanReconstruction needs .* variational=True, got False"),
        (BERNOULLI, -1.0, r"x must be in \[0, 1\] for Bernoulli pixels, got -1 to"),
    ],
)
def test_mean_reconstruction_rejects_a_network_and_samples(x, network, low, message):
    config = PretrainConfig(epochs=1, objective=MeanReconstruction())
    with pytest.raises(ValueError, match=message):
        pretrain_end_to_end(
            KEY, x.at[0, 0].set(low), architecture=network, config=config
        )
