from dataclasses import replace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dec_jax.networks.architecture import (
    Architecture,
    Conv2D,
    Dense,
    dense_architecture,
)
from dec_jax.networks.autoencoder import encode
from dec_jax.training.layerwise import (
    LayerwiseConfig,
    StageState,
    init_stage,
    pretrain_layerwise,
    pretraining_stages,
)
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.pretrain import PretrainConfig, pretrain_end_to_end

NET = dense_architecture(8, hidden=(16, 12), embedding_dim=3)
EACH = PretrainConfig(3, 64, Optimizer("adam", 0.01))
CONFIG = LayerwiseConfig(EACH, replace(EACH, epochs=4))


@pytest.fixture(scope="module")
def x(blobs):
    return blobs[0]


@pytest.fixture(scope="module")
def run(x):
    """Parameters and losses of a whole run, and the state after each epoch."""
    seen = []

    def save(index, state, row):
        seen.append((index, jax.tree.map(jnp.copy, state), row))

    return *fit(x, on_epoch=save), seen


def fit(x, **options):
    return pretrain_layerwise(
        jax.random.key(0), x, **({"architecture": NET, "config": CONFIG} | options)
    )


def test_each_layer_then_all_of_them_are_trained(run):
    _, histories, seen = run
    assert [len(history.loss) for history in histories] == [3, 3, 3, 4]
    assert [index for index, _, _ in seen] == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 4
    assert all(history.loss[-1] < history.loss[0] for history in histories)


def test_layers_see_and_give_back_what_the_paper_says():
    # The first layer sees clean samples and reconstructs real numbers, the others
    # reconstruct outputs of a ReLU; the embedding is linear and has no dropout.
    stages = pretraining_stages(NET, CONFIG)
    layers = [stage.architecture for stage in stages[:-1]]
    assert [layer.input_dim for layer in layers] == [8, 16, 12]
    assert [layer.output_activation for layer in layers] == ["linear", "relu", "relu"]
    assert [layer.layers[0].activation for layer in layers] == [
        "relu",
        "relu",
        "linear",
    ]
    dropout = [
        (stage.config.objective.input_dropout, stage.config.objective.hidden_dropout)
        for stage in stages[:-1]
    ]
    assert dropout == [(0.0, 0.2), (0.2, 0.2), (0.2, 0.0)]


def test_only_the_first_layer_normalizes_the_samples():
    network = replace(dense_architecture(6, hidden=(5, 4)), normalize=True)
    stages = pretraining_stages(network, CONFIG)
    found = [stage.architecture.normalize for stage in stages]
    assert found == [True, False, False, True]


def test_fine_tuning_has_no_corruption():
    # The last stage trains all layers together, without corruption.
    last = pretraining_stages(NET, CONFIG)[-1]
    assert last.config == CONFIG.finetune
    assert last.architecture == NET


def test_a_layer_is_trained_on_what_the_layers_before_it_make_of_the_samples(run, x):
    _, histories, seen = run
    key = jax.random.fold_in(jax.random.key(0), 1)
    after_first = seen[3][1].params  # as the second stage found them
    stage = pretraining_stages(NET, CONFIG)[1]
    before = Architecture((8,), NET.layers[:1])
    h = encode(after_first, jnp.asarray(x), architecture=before)
    params, history = pretrain_end_to_end(
        key, h, architecture=stage.architecture, config=stage.config
    )
    np.testing.assert_allclose(history.loss, histories[1].loss, rtol=1e-4)
    second = seen[6][1].params
    chex.assert_trees_all_close(
        (second["encoder"]["dense_1"], second["decoder"]["dense_1"]),
        (params["encoder"]["dense_0"], params["decoder"]["dense_0"]),
        rtol=1e-3,
        atol=1e-5,
    )


def test_a_stage_leaves_the_other_layers_alone(run):
    seen = run[2]
    first, second = seen[3][1].params, seen[6][1].params
    for name in ("dense_0", "dense_2"):
        chex.assert_trees_all_equal(first["encoder"][name], second["encoder"][name])


def test_fine_tuning_starts_from_the_layers(run, x):
    seen = run[2]
    params, history = pretrain_end_to_end(
        jax.random.key(0),
        x,
        architecture=NET,
        config=CONFIG.finetune,
        state=init_stage(
            jax.random.key(0),
            3,
            seen[9][1].params,
            architecture=NET,
            config=CONFIG,
            n_samples=len(x),
        ).state,
    )
    chex.assert_trees_all_equal(params, run[0])


def test_one_layer_equals_end_to_end(x):
    one = Architecture((8,), (Dense(3, "linear"),))
    config = replace(CONFIG, corruption=0.2)
    states = []
    pretrain_layerwise(
        jax.random.key(0),
        x,
        architecture=one,
        config=config,
        on_epoch=lambda index, state, _: states.append((index, state.params)),
    )
    layer = next(params for index, params in states if index == 1)
    key = jax.random.fold_in(jax.random.key(0), 0)
    whole, _ = pretrain_end_to_end(key, x, architecture=one, config=EACH)
    chex.assert_trees_all_equal(layer, whole)


def test_a_plain_config_is_end_to_end_pretraining(x):
    params, (history,) = fit(x, config=EACH)
    expected, expected_history = pretrain_end_to_end(
        jax.random.key(0), x, architecture=NET, config=EACH
    )
    chex.assert_trees_all_equal((params, history), (expected, expected_history))


@pytest.mark.parametrize("epoch", [1, 3, 5, 12, 13])
def test_resuming_from_a_saved_state_equals_the_unbroken_run(run, x, epoch):
    params, _, seen = run
    index, state, _ = seen[epoch - 1]
    resumed, _ = fit(x, start=(index, jax.tree.map(jnp.copy, state)))
    chex.assert_trees_all_equal(resumed, params)


def test_on_epoch_stops_by_true(x):
    _, histories = fit(x, on_epoch=lambda index, *_: index == 1)
    assert [len(history.loss) for history in histories] == [3, 1]


def test_init_stage_is_a_template_of_what_is_saved(run, x):
    for index, state, _ in run[2]:
        template = init_stage(
            jax.random.key(0),
            index,
            architecture=NET,
            config=CONFIG,
            n_samples=len(x),
        )
        assert isinstance(template, StageState)
        chex.assert_trees_all_equal_shapes_and_dtypes(template, state)


def test_layerwise_rejects_layers_that_are_not_dense(x):
    net = Architecture((2, 4, 1), (Conv2D(2, (2, 2)), Dense(3, "linear")))
    with pytest.raises(ValueError, match=r"needs Dense layers.*Conv2D as layers\[0\]"):
        fit(x, architecture=net)


@pytest.mark.parametrize("corruption", [-0.1, 1.0])
def test_layerwise_config_rejects_a_corruption(corruption):
    with pytest.raises(ValueError, match=rf"corruption must be in .*got {corruption}"):
        LayerwiseConfig(EACH, EACH, corruption=corruption)
