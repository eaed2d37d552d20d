from dataclasses import replace

import pytest

from dec_jax import DataShape, make_recipe
from dec_jax.networks.architecture import Architecture, Conv2D, Dense
from dec_jax.networks.architecture import dense_architecture as dense
from dec_jax.networks.autoencoder import encode, reconstruct
from dec_jax.runs import estimate


def test_flops_of_dense_layers_are_two_a_weight():
    network = dense(8, hidden=(16,), embedding_dim=3)
    weights = 8 * 16 + 16 * 3
    # Biases, activations and the scale of the input come on top.
    assert 2 * weights <= estimate.flops(network, encode) < 2.5 * weights
    assert 4 * weights <= estimate.flops(network, reconstruct) < 5 * weights


def test_time_grows_with_the_steps_of_each_phase(monkeypatch):
    monkeypatch.setattr(estimate, "product_rate", lambda precision: 1e9)
    recipe = make_recipe("dec", DataShape(n_samples=1000, input_dim=100))
    whole = estimate.expected_seconds(recipe, 1000)
    longer = replace(recipe.pretrain, epochs=2 * recipe.pretrain.epochs)
    pretraining = (
        estimate.expected_seconds(replace(recipe, pretrain=longer), 1000) - whole
    )
    more = replace(recipe.train, max_intervals=2 * recipe.train.max_intervals)
    clustering = estimate.expected_seconds(replace(recipe, train=more), 1000) - whole
    assert whole == pytest.approx(pretraining + clustering)


def test_a_decoder_that_is_trained_takes_its_time_too(monkeypatch):
    monkeypatch.setattr(estimate, "product_rate", lambda precision: 1e9)
    shape = DataShape(n_samples=1000, input_dim=100)

    def seconds_of_steps(name):
        recipe = make_recipe(name, shape)
        few, more = (
            estimate.expected_seconds(
                replace(recipe, train=replace(recipe.train, update_interval=steps)),
                1000,
            )
            for steps in (100, 200)
        )
        return (more - few) / recipe.train.max_intervals

    # The decoder is as large as the encoder.
    twice = 2 * seconds_of_steps("dec")
    assert seconds_of_steps("idec") == pytest.approx(twice, rel=0.01)


def test_a_time_is_told_from_a_minute_on(monkeypatch):
    recipe = make_recipe("dec", DataShape(n_samples=1000, input_dim=100))
    for seconds, line in (
        (59, ""),
        (70, "up to about 2 minutes a seed on this machine"),
        (620, "up to about 10 minutes a seed on this machine"),
        (7300, "up to about 2 hours a seed on this machine"),
    ):
        monkeypatch.setattr(estimate, "expected_seconds", lambda *_, s=seconds: s)
        assert estimate.time_line(recipe, 1000) == line


def test_convolutions_take_longer_than_their_flops():
    layers = (Conv2D(4, (3, 3)), Dense(2))
    assert estimate.slowdown(Architecture((8, 8, 1), layers)) > estimate.slowdown(
        dense(4)
    )


def test_a_product_of_matrices_is_measured():
    assert estimate.product_rate("float32") > 1e6
