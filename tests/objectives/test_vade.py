from dataclasses import replace
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dec_jax import model
from dec_jax.clustering.kmeans import k_means
from dec_jax.clustering.mixture import Mixture, fit_mixture, log_posterior
from dec_jax.evaluation.metrics import clustering_accuracy
from dec_jax.networks.architecture import Architecture, Dense, dense_architecture
from dec_jax.networks.autoencoder import embed, encode_distribution, init_params
from dec_jax.objectives import DCN, DEC, IDEC, Batch, Objective
from dec_jax.objectives.reconstruction import (
    MeanReconstruction,
    PretrainObjective,
    likelihood_loss,
)
from dec_jax.objectives.vade import VaDE, mixture_kl, prior
from dec_jax.training.cluster import train, train_step
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.pretrain import PretrainConfig, pretrain_end_to_end
from dec_jax.training.refresh import refresh_targets
from dec_jax.training.state import TrainConfig, init_state

B, D, E, K = 12, 8, 3, 4
KEY = jax.random.key(0)
BERNOULLI = Architecture(
    (D,), (Dense(16), Dense(E, "linear")), "sigmoid", variational=True
)
GAUSSIAN = replace(BERNOULLI, output_activation="linear")
over_outputs = pytest.mark.parametrize(
    "network", [BERNOULLI, GAUSSIAN], ids=["bernoulli", "gaussian"]
)
RNG = np.random.default_rng(0)
X = RNG.random((B, D)).astype(np.float32)
P = np.full((B, K), 1 / K, np.float32)
WEIGHTS = np.array([1 / 8] * 8 + [0] * 4, np.float32)
MEAN, LOG_VARIANCE = (RNG.normal(size=(B, E)).astype(np.float32) for _ in range(2))
PRIOR = {
    "centroids": jnp.asarray(RNG.normal(size=(K, E)), jnp.float32),
    "log_variances": jnp.asarray(RNG.normal(size=(K, E)), jnp.float32),
    "log_weights": jnp.asarray(RNG.normal(size=K), jnp.float32),
}
CONFIG = TrainConfig(
    update_interval=5,
    max_intervals=4,
    batch_size=64,
    tolerance=0.0,
    optimizer=Optimizer("adam", 1e-3),
)


def with_log_variance(params, value):
    """The encoder gives this log-variance to every sample."""
    last = params["encoder"]["dense_1"]
    kernel, bias = (last[name] for name in ("kernel", "bias"))
    last = {"kernel": kernel.at[:, E:].set(0), "bias": bias.at[E:].set(value)}
    return params | {"encoder": params["encoder"] | {"dense_1": last}}


@pytest.fixture(scope="module")
def params():
    return init_params(KEY, BERNOULLI) | PRIOR


def loss(params, network=BERNOULLI, key=KEY, p=P, weights=WEIGHTS):
    batch = Batch(*map(jnp.asarray, (X, p, weights)), key)
    return VaDE().loss(params, batch, architecture=network)[0]


def gamma_by_loops(z, log_weights, means, log_variances):
    """Equation 16 for one z, as probabilities in float64."""
    shares = []
    for c in range(K):
        share = np.exp(log_weights[c])
        for j in range(E):
            variance = np.exp(log_variances[c, j])
            square = (z[j] - means[c, j]) ** 2 / variance
            share *= np.exp(-0.5 * square) / np.sqrt(2 * np.pi * variance)
        shares.append(share)
    return np.array(shares) / sum(shares)


def kl_by_loops(gamma, mean, log_variance, log_weights, means, log_variances):
    """What equation 12 of Jiang et al. (2017) takes off the likelihood of one sample."""
    kl = 0.0
    for c in range(K):
        for j in range(E):
            variance = np.exp(log_variances[c, j])
            square = (mean[j] - means[c, j]) ** 2
            term = log_variances[c, j] + np.exp(log_variance[j]) / variance
            kl += 0.5 * gamma[c] * (term + square / variance)
        kl -= gamma[c] * np.log(np.exp(log_weights[c]) / gamma[c])
    for j in range(E):
        kl -= 0.5 * (1 + log_variance[j])
    return kl


def decoded_by_numpy(params, z):
    """The decoder before its last activation."""
    layers = params["decoder"]
    first, last = (layers[name] for name in sorted(layers))
    hidden = np.maximum(z @ first["kernel"] + first["bias"], 0)
    return hidden @ last["kernel"] + last["bias"]


def loss_by_loops(params, key, network):
    """Equation 12 in float64: mean reconstruction and mean divergence of the batch."""
    mean, log_variance = (
        np.asarray(a, np.float64)
        for a in encode_distribution(params, jnp.asarray(X), architecture=network)
    )
    noise = np.asarray(jax.random.normal(key, (B, E)), np.float64)
    z = mean + np.exp(0.5 * log_variance) * noise
    output = decoded_by_numpy(jax.tree.map(np.float64, params), z)
    log_weights = np.float64(params["log_weights"])
    log_weights = log_weights - np.log(np.exp(log_weights).sum())
    clusters = (log_weights, *map(np.float64, (PRIOR["centroids"],)))
    clusters = (*clusters, np.float64(params["log_variances"]))
    reconstruction = kl = 0.0
    for i in range(B):
        for x, o in zip(X[i], output[i], strict=True):
            if network is GAUSSIAN:
                reconstruction += WEIGHTS[i] * (x - o) ** 2
            else:
                p = 1 / (1 + np.exp(-o))
                reconstruction -= WEIGHTS[i] * (x * np.log(p) + (1 - x) * np.log(1 - p))
        gamma = gamma_by_loops(z[i], *clusters)
        kl += WEIGHTS[i] * kl_by_loops(gamma, mean[i], log_variance[i], *clusters)
    return reconstruction, kl


# The bound.


@over_outputs
@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_loss_equals_its_slow_copy(params, network, transform):
    key = jax.random.key(5)
    losses = transform(partial(loss, network=network, key=key))(params)
    reconstruction, kl = loss_by_loops(params, key, network)
    np.testing.assert_allclose(losses.reconstruction, reconstruction, rtol=1e-4)
    np.testing.assert_allclose(losses.clustering, kl, rtol=1e-4)
    np.testing.assert_allclose(losses.total, reconstruction + kl, rtol=1e-4)


def test_loss_is_mapped_over_parameters(params):
    stacked = jax.tree.map(lambda a: jnp.stack([a, 0.5 * a]), params)
    mapped = jax.vmap(loss)(stacked)
    first = jax.tree.map(lambda a: a[0], mapped)
    chex.assert_trees_all_close(first, loss(params), rtol=1e-5)


def test_mixture_kl_of_a_single_cluster_that_is_the_posterior_is_zero():
    one = Mixture(jnp.zeros(1), jnp.asarray(MEAN[:1]), jnp.asarray(LOG_VARIANCE[:1]))
    given = jnp.asarray(MEAN[:1]), jnp.asarray(LOG_VARIANCE[:1])
    np.testing.assert_allclose(mixture_kl(jnp.zeros((1, 1)), *given, one), 0, atol=1e-6)


def test_mixture_kl_is_never_below_zero():
    log_gamma = jax.nn.log_softmax(
        jnp.asarray(RNG.normal(size=(B, K)), jnp.float32), axis=1
    )
    rows = (log_gamma, jnp.asarray(MEAN), jnp.asarray(LOG_VARIANCE))

    def of_one(*row):
        return mixture_kl(*(a[None] for a in row), prior(PRIOR))

    assert (jax.vmap(of_one)(*rows) > 0).all()


def test_the_target_is_not_looked_at(params):
    other = RNG.dirichlet(np.ones(K), B).astype(np.float32)
    assert loss(params) == loss(params, p=other)


def test_padding_is_not_looked_at(params):
    x = jnp.asarray(X)
    given = (jnp.asarray(P), jnp.asarray(WEIGHTS), KEY)
    batch = Batch(x.at[8:].set(1.0), *given)
    padded = VaDE().loss(params, batch, architecture=BERNOULLI)[0]
    chex.assert_trees_all_close(padded, loss(params), rtol=1e-6)


def test_each_key_draws_its_own_z(params):
    assert loss(params) == loss(params)
    assert loss(params) != loss(params, key=jax.random.key(1))


@partial(jax.jit, static_argnames="network")
def total_and_gradient(params, network=BERNOULLI):
    return jax.value_and_grad(lambda params: loss(params, network).total)(params)


@pytest.mark.parametrize("value", [-1e4, 1e4, 1e30])
@pytest.mark.parametrize("name", ["encoder", "log_variances", "log_weights"])
@over_outputs
def test_loss_and_gradient_are_finite_at_any_log_variance(params, network, name, value):
    if name == "encoder":
        extreme = with_log_variance(params, value)
    else:
        changed = params[name].at[0].set(value)
        extreme = params | {name: changed}
    chex.assert_tree_all_finite(total_and_gradient(extreme, network))


@pytest.mark.parametrize("distance", [1e8, 1e15, -1e25])
def test_loss_and_gradient_are_finite_however_far_the_clusters_are(params, distance):
    # Trap V1: in probability space each density is 0, and gamma 0 / 0.
    far = params | {"centroids": params["centroids"] + distance}
    far |= {"log_variances": jnp.full((K, E), -30.0)}
    chex.assert_tree_all_finite(total_and_gradient(far))


def test_gradient_reaches_network_and_prior(params):
    _, gradient = total_and_gradient(params)
    assert set(gradient) == set(VaDE.trained)
    for name in VaDE.trained:
        assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(gradient[name])) > 0


def test_likelihood_of_a_certain_wrong_pixel_is_finite():
    x, output = jnp.array([[0.0, 1.0]]), jnp.array([[500.0, -500.0]])
    found = likelihood_loss(x, output, architecture=BERNOULLI)
    np.testing.assert_allclose(found, 1000, rtol=1e-6)


def test_vade_is_an_objective_that_hashes_by_value():
    assert isinstance(VaDE(), Objective)
    assert VaDE() == VaDE() and hash(VaDE()) == hash(VaDE())
    assert set(VaDE.fitted) <= set(VaDE.trained)


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


def saved(state):
    return jax.device_get(state._replace(key=jax.random.key_data(state.key)))


def restored(state):
    state = jax.tree.map(jnp.asarray, state)
    return state._replace(key=jax.random.wrap_key_data(state.key))


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
    longer = replace(
        CONFIG, max_intervals=30, batch_size=50, optimizer=Optimizer("adam", 2e-3)
    )
    result = run(start, x, longer)
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


def test_intervals_at_once_and_a_resumed_run_equal_one_at_a_time(start, x):
    states = []
    one = run(start, x, on_interval=lambda state, _: states.append(saved(state)))
    at_once = run(start, x, intervals_per_call=4)
    chex.assert_trees_all_equal(saved(at_once.state), saved(one.state))
    resumed = train(restored(states[1]), x, **SETTINGS)
    chex.assert_trees_all_equal(saved(resumed.state), saved(one.state))


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


def test_model_rejects_half_a_mixture(params, tmp_path):
    half = {name: value for name, value in params.items() if name != "log_weights"}
    with pytest.raises(ValueError, match="and lack log_weights"):
        model.save(tmp_path / "model.safetensors", half, architecture=BERNOULLI)


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


def test_vade_takes_any_samples_with_a_linear_output():
    VaDE().check(np.full((2, D), -5.0), GAUSSIAN)


@pytest.mark.parametrize("objective", [DEC(), IDEC(), DCN()])
def test_other_methods_rejects_a_variational_network(start, x, objective):
    state = init_state(KEY, *start, objective=objective, config=CONFIG)
    name = type(objective).__name__
    with pytest.raises(ValueError, match=f"{name} needs .* variational=False; .*VaDE"):
        train(state, x, **SETTINGS | {"objective": objective})


# Pretraining.


def mean_loss(params, network=BERNOULLI, **options):
    batch = Batch(*map(jnp.asarray, (X, X, WEIGHTS)), KEY)
    return MeanReconstruction().loss(params, batch, architecture=network, **options)[0]


@over_outputs
@pytest.mark.parametrize("train", [True, False])
def test_mean_reconstruction_is_the_bound_without_noise_and_prior(
    params, network, train
):
    quiet = with_log_variance(params, -30.0)
    expected = loss(quiet, network).reconstruction
    found = mean_loss(params, network, train=train)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_mean_reconstruction_leaves_the_log_variance_alone(params):
    network = {name: params[name] for name in ("encoder", "decoder")}
    gradient = jax.grad(mean_loss)(network)["encoder"]["dense_1"]
    assert np.abs(gradient["kernel"][:, :E]).max() > 0
    np.testing.assert_array_equal(gradient["kernel"][:, E:], np.zeros((16, E)))


def test_mean_reconstruction_is_a_pretraining_objective():
    assert isinstance(MeanReconstruction(), PretrainObjective)


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
