from dataclasses import replace
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_training import CONFIG

from dec_jax import model
from dec_jax.clustering.kmeans import k_means
from dec_jax.evaluation.metrics import clustering_accuracy
from dec_jax.networks.architecture import dense_architecture
from dec_jax.networks.autoencoder import (
    decode,
    embed,
    encode,
    encode_distribution,
    init_params,
    reconstruct,
)
from dec_jax.networks.own import FunctionalNetwork
from dec_jax.objectives import DCN, DEC, IDEC, Batch, VaDE
from dec_jax.streaming import passes
from dec_jax.training import many_seeds
from dec_jax.training.cluster import assign, train
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.pretrain import PretrainConfig, pretrain_end_to_end
from dec_jax.training.state import init_state

KEY = jax.random.key(0)
DENSE = dense_architecture(8, hidden=(16,), embedding_dim=3)
PRETRAIN = PretrainConfig(epochs=5, batch_size=50, optimizer=Optimizer("adam", 1e-2))


def dense_modules():
    """The layers of `DENSE` as Flax modules."""
    return (
        nn.Sequential((nn.Dense(16), nn.relu, nn.Dense(3))),
        nn.Sequential((nn.Dense(16), nn.relu, nn.Dense(8))),
    )


FLAX = FunctionalNetwork.from_flax(*dense_modules(), input_shape=(8,))


def init(key):
    """The parameters of `DENSE` in the layout of two matrices and two biases."""
    params = init_params(key, DENSE)
    return {name: functional(params[name]) for name in ("encoder", "decoder")}


def functional(stack):
    return [(stack[name]["kernel"], stack[name]["bias"]) for name in sorted(stack)]


def mlp(params, x):
    (w1, b1), (w2, b2) = params
    return jax.nn.relu(x @ w1 + b1[None]) @ w2 + b2[None]


PURE = FunctionalNetwork(init, mlp, mlp, input_shape=(8,))


def flax_params(params):
    """Parameters of `DENSE` under the names of the modules."""
    return {
        name: {
            "layers_0": params[name]["dense_0"],
            "layers_2": params[name]["dense_1"],
        }
        for name in ("encoder", "decoder")
    }


def pure_params(params):
    return {name: functional(params[name]) for name in ("encoder", "decoder")}


over_networks = pytest.mark.parametrize(
    ("network", "layout"),
    [(FLAX, flax_params), (PURE, pure_params)],
    ids=["flax", "functions"],
)


@over_networks
def test_own_network_clusters_blobs(network, layout, blobs):
    x, labels = blobs
    config = replace(PRETRAIN, epochs=30)
    params, history = pretrain_end_to_end(KEY, x, architecture=network, config=config)
    assert history.loss[-1] < 0.5 * history.loss[0]
    z = embed(params, x, architecture=network)
    start = k_means(KEY, z, 4, n_init=2)
    state = init_state(KEY, params, start.centroids, start.labels, config=CONFIG)
    result = train(state, x, architecture=network, config=CONFIG)
    assert clustering_accuracy(labels, result.labels) > 0.95
    _, again = assign(result.state.params, x, architecture=network)
    np.testing.assert_array_equal(again, result.labels)


@over_networks
@pytest.mark.parametrize(
    "objective",
    [
        IDEC(),
        pytest.param(DEC(), marks=pytest.mark.slow),
        pytest.param(DCN(), marks=pytest.mark.slow),
    ],
)
def test_own_network_trains_as_the_equal_architecture(
    network, layout, objective, start, x
):
    def clustered(network, params):
        state = init_state(KEY, params, *start[1:], objective=objective, config=CONFIG)
        return train(state, x, architecture=network, objective=objective, config=CONFIG)

    own = clustered(network, layout(start[0]))
    dense = clustered(DENSE, start[0])
    np.testing.assert_array_equal(own.labels, dense.labels)
    np.testing.assert_allclose(own.q, dense.q, rtol=1e-4, atol=1e-6)


@over_networks
def test_own_network_has_the_gradients_of_the_equal_architecture(
    network, layout, start, x
):
    batch = Batch(x[:10], jnp.full((10, 4), 0.25), jnp.full(10, 0.1), KEY)

    def gradient(network, params):
        params = params | {"centroids": start[1]}
        loss = partial(IDEC().loss, batch=batch, architecture=network)
        return jax.grad(lambda params: loss(params)[0].total)(params)

    own = gradient(network, layout(start[0]))
    dense = gradient(DENSE, start[0])
    for name in ("encoder", "decoder"):
        jax.tree.map(
            partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6),
            own[name],
            layout(dense)[name],
        )


@over_networks
def test_own_network_encodes_and_decodes_as_the_equal_architecture(
    network, layout, start, x
):
    own = layout(start[0])
    for function in (encode, embed, reconstruct):
        np.testing.assert_allclose(
            function(own, x, architecture=network),
            function(start[0], x, architecture=DENSE),
            rtol=1e-5,
            atol=1e-6,
        )


def test_many_seeds_and_streaming_take_an_own_network(x):
    keys = jnp.stack([jax.random.key(seed) for seed in range(2)])
    stacked, _ = many_seeds.pretrain(keys, x, architecture=FLAX, config=PRETRAIN)
    alone, _ = pretrain_end_to_end(
        jax.random.key(1), x, architecture=FLAX, config=PRETRAIN
    )
    second = jax.tree.map(lambda leaf: leaf[1], stacked)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-4), second, alone)
    z = passes.embed(alone, np.asarray(x), architecture=FLAX)
    np.testing.assert_array_equal(z, embed(alone, x, architecture=FLAX))


class Convolutional(nn.Module):
    """Images of one channel to z of 2."""

    features: int = 3

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(self.features, (3, 3))(x))
        return nn.Dense(2)(x.reshape(len(x), -1))


class Deconvolutional(nn.Module):
    @nn.compact
    def __call__(self, z):
        return nn.Conv(1, (3, 3))(nn.Dense(20)(z).reshape(-1, 4, 5, 1))


def test_own_network_sees_images_in_their_shape_and_scaled():
    network = FunctionalNetwork.from_flax(
        Convolutional(), Deconvolutional(), input_shape=(4, 5, 1), input_scale=0.5
    )
    params = init_params(KEY, network)
    images = np.random.default_rng(0).integers(0, 9, (6, 4, 5), np.uint8)
    seen = jnp.asarray(images, jnp.float32)[..., None] * 0.5
    z = Convolutional().apply({"params": params["encoder"]}, seen)
    np.testing.assert_allclose(encode(params, images, architecture=network), z)
    x_hat = Deconvolutional().apply({"params": params["decoder"]}, z)
    found = reconstruct(params, images, architecture=network)
    np.testing.assert_allclose(found, x_hat.reshape(6, 20), rtol=1e-6)


def test_networks_of_equal_modules_are_equal_and_hash_by_value():
    again = FunctionalNetwork.from_flax(*dense_modules(), input_shape=(8,))
    other = FunctionalNetwork.from_flax(nn.Dense(3), nn.Dense(8), input_shape=(8,))
    assert again == FLAX and hash(again) == hash(FLAX)
    assert other != FLAX


def test_from_flax_draws_from_the_key(key):
    first, second = (init_params(k, FLAX) for k in jax.random.split(key))
    kernels = (params["encoder"]["layers_0"]["kernel"] for params in (first, second))
    assert abs(np.subtract(*kernels)).max() > 0.01


# A network without a decoder.

ENCODER = FunctionalNetwork.from_flax(dense_modules()[0], input_shape=(8,))


def test_a_network_without_decoder_is_clustered_by_dec(start, x):
    params = init_params(KEY, ENCODER)
    assert list(params) == ["encoder"]
    state = init_state(KEY, params, *start[1:], config=CONFIG)
    result = train(state, x, architecture=ENCODER, config=CONFIG)
    assert result.n_steps > 0


def test_pretraining_rejects_a_network_without_decoder(x):
    with pytest.raises(ValueError, match=r"Reconstruction needs .* decoder, .*None; "):
        pretrain_end_to_end(KEY, x, architecture=ENCODER, config=PRETRAIN)


@pytest.mark.parametrize("objective", [IDEC(), DCN()])
def test_objective_rejects_a_network_without_decoder(objective, x):
    name = type(objective).__name__
    with pytest.raises(ValueError, match=f"{name} needs a network with a decoder"):
        objective.check(x, ENCODER)


def test_decode_rejects_a_network_without_decoder():
    params = init_params(KEY, ENCODER)
    with pytest.raises(ValueError, match="decode needs a network with a decoder"):
        decode(params, jnp.zeros((2, 3)), architecture=ENCODER)


def test_decode_rejects_params_without_decoder(start):
    with pytest.raises(
        ValueError, match="must have an entry 'decoder', got .'encoder'"
    ):
        decode({"encoder": start[0]["encoder"]}, jnp.zeros((2, 3)), architecture=DENSE)


# What cannot be a network.


@pytest.mark.parametrize(
    "task",
    [
        lambda module, x: init_params(KEY, module),
        lambda module, x: encode({}, x, architecture=module),
        lambda module, x: pretrain_end_to_end(KEY, x, architecture=module),
    ],
    ids=["init_params", "encode", "pretrain_end_to_end"],
)
def test_stage_rejects_a_bare_module(task, x):
    message = "architecture must be .*got Sequential; .*from_flax"
    with pytest.raises(TypeError, match=message):
        task(dense_modules()[0], x)


def test_train_rejects_a_bare_module(start, x):
    state = init_state(KEY, *start, config=CONFIG)
    with pytest.raises(TypeError, match="got Sequential; .*from_flax"):
        train(state, x, architecture=dense_modules()[0], config=CONFIG)


def test_own_network_rejects_variational_tasks(x):
    with pytest.raises(ValueError, match="variational=True, got False"):
        VaDE().check(x, FLAX)
    with pytest.raises(ValueError, match="variational=True, got False"):
        encode_distribution(init_params(KEY, FLAX), x, architecture=FLAX)


def without_decoder(key):
    return {"encoder": init(key)["encoder"]}


@pytest.mark.parametrize(
    ("arguments", "changes", "error", "message"),
    [
        (
            (init, mlp, mlp),
            {"input_shape": [8]},
            TypeError,
            "input_shape must be a tup",
        ),
        ((init, mlp, mlp), {"input_shape": ()}, ValueError, "at least one axis"),
        ((init, mlp, mlp), {"input_scale": 0.0}, ValueError, "positive, got 0.0"),
        ((init, mlp, mlp), {"rows_at_once": 0}, ValueError, "rows_at_once .*got 0"),
        (
            (without_decoder, mlp, mlp),
            {},
            ValueError,
            r"'decoder'\], got \['encoder'\]",
        ),
        ((init, mlp), {}, ValueError, r"entries \['encoder'\], got \['decoder'"),
        ((lambda key: [], mlp), {}, ValueError, r"\['encoder'\], got list"),
        (
            (init, lambda p, x: mlp(p, x).sum(axis=1), mlp),
            {},
            ValueError,
            r"encode must return z of shape \[b, e\], got shape \(2,\) .*; flatten",
        ),
        (
            (init, mlp, lambda p, z: mlp(p, z)[:, :5]),
            {},
            ValueError,
            r"decode must return .*\(2, 8\) .*got shape \(2, 5\)",
        ),
    ],
)
def test_functional_network_rejects_a_field(arguments, changes, error, message):
    with pytest.raises(error, match=message):
        FunctionalNetwork(*arguments, **{"input_shape": (8,)} | changes)


class Normalized(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.BatchNorm(use_running_average=True)(nn.Dense(3)(x))


def test_from_flax_rejects_running_averages():
    with pytest.raises(
        ValueError, match=r"encoder must .*\['batch_stats'\]; use Layer"
    ):
        FunctionalNetwork.from_flax(Normalized(), input_shape=(8,))


def test_from_flax_rejects_settings_that_do_not_hash():
    with pytest.raises(
        TypeError, match=r"must be hashable, got .*; use tuples .*nn.Sequential\(\("
    ):
        FunctionalNetwork.from_flax(nn.Sequential([nn.Dense(3)]), input_shape=(8,))


def test_from_flax_rejects_a_function():
    with pytest.raises(
        TypeError, match="encoder must be a flax.linen module, got func"
    ):
        FunctionalNetwork.from_flax(mlp, input_shape=(8,))


# Models.


def test_a_model_of_an_own_network_predicts(start, x):
    params = flax_params(start[0]) | {"centroids": start[1]}
    found = model.predict(model.Model(params, FLAX), x)
    expected = model.predict(model.Model(start[0] | {"centroids": start[1]}, DENSE), x)
    np.testing.assert_array_equal(found, expected)


def test_save_rejects_an_own_network(tmp_path, start):
    with pytest.raises(TypeError, match="save needs an Architecture, .*numpy.savez"):
        model.save(tmp_path / "model", flax_params(start[0]), architecture=FLAX)
    assert list(tmp_path.iterdir()) == []
