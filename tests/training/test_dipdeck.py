"""DipDECK: its loss and tests against slow versions, and runs on the blobs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_training import KEY, TINY

from dec_jax.clustering.dip import dip, dip_p_value, dip_p_values
from dec_jax.evaluation.metrics import adjusted_rand_index, clustering_accuracy
from dec_jax.networks.architecture import Architecture, Conv2D
from dec_jax.networks.autoencoder import init_params
from dec_jax.training.dipdeck import (
    DipDECKConfig,
    clustering_loss,
    dipdeck,
)
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.pretrain import PretrainConfig, pretrain_end_to_end

CONFIG = DipDECKConfig(
    n_clusters=10, epochs=4, batch_size=64, optimizer=Optimizer("adam", 1e-3)
)


def clustering_loss_by_loops(z, places, labels, weights, alive, shares):
    """Equations 3 and 4 of Leiber et al. (2021), over the clusters that are alive."""
    numbers = [j for j in range(len(places)) if alive[j]]
    apart = [
        np.linalg.norm(places[i] - places[j])
        for i in numbers
        for j in numbers
        if i != j
    ]
    deviation = np.std(apart, ddof=1) if len(apart) > 2 else 0
    total = 0.0
    for i, label in enumerate(labels):
        for j in numbers:
            total += shares[i] * weights[label, j] * np.sum((z[i] - places[j]) ** 2)
    return (1 + deviation) / np.mean(apart) * total


@pytest.mark.parametrize("alive", [[1, 1, 1, 1], [1, 0, 1, 1], [0, 1, 0, 1]])
def test_clustering_loss_matches_its_equations(alive):
    rng = np.random.default_rng(0)
    alive = np.array(alive, bool)
    z, places = rng.normal(size=(9, 3)), rng.normal(size=(4, 3))
    labels = rng.choice(np.flatnonzero(alive), 9)
    weights = rng.random((4, 4)) * alive[:, None] * alive[None]
    shares = np.append(np.full(8, 1 / 8), 0.0)
    given = [np.float32(it) for it in (z, places, weights, shares)]
    found = clustering_loss(
        *map(jnp.asarray, (given[0], given[1], labels, given[2], alive, given[3]))
    )
    expected = clustering_loss_by_loops(z, places, labels, weights, alive, shares)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_clustering_loss_has_finite_gradients_where_centroids_meet():
    places = jnp.zeros((3, 2))
    gradient = jax.grad(clustering_loss, argnums=1)(
        jnp.ones((4, 2)),
        places,
        jnp.array([0, 0, 1, 1]),
        jnp.full((3, 3), 0.5),
        jnp.array([True, True, False]),
        jnp.full(4, 0.25),
    )
    assert jnp.isfinite(gradient).all()


def test_p_values_are_of_the_samples_on_the_line_between_centroids():
    rng = np.random.default_rng(0)
    places = np.array([[0.0, 0.0], [1.0, 0.0], [9.0, 0.0]])
    labels = np.repeat([0, 1, 2], [100, 100, 60])
    z = places[labels] + rng.normal(size=(260, 2))
    found = dip_p_values(z, labels, places)
    assert (found == found.T).all() and (found.diagonal() == 0).all()
    both = z[:200] @ (places[1] - places[0])
    assert found[0, 1] == pytest.approx(dip_p_value(dip(both), 200))
    assert found[0, 1] > 0.3 and found[0, 2] < 0.01


def test_of_a_far_larger_cluster_the_nearest_samples_are_tested():
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], [400, 40])
    z = np.array([[0.0, 0.0], [5.0, 0.0]])[labels] + rng.normal(size=(440, 2))
    places = np.array([[0.0, 0.0], [5.0, 0.0]])
    away = ((z[:400] - places[1]) ** 2).sum(axis=1)
    nearest = z[:400][np.argsort(away)[:80]]
    line = np.concatenate([z[400:], nearest]) @ (places[1] - places[0])
    found = dip_p_values(z, labels, places, size_ratio=2.0)
    assert found[0, 1] == pytest.approx(dip_p_value(dip(line), 120))


@pytest.fixture(scope="module")
def many():
    """1,600 samples in 4 far clusters: tests of 50 samples tell one group from two badly."""
    rng = np.random.default_rng(0)
    truth = np.arange(1600) % 4
    x = 4 * np.eye(4, 8)[truth] + rng.normal(scale=0.5, size=(1600, 8))
    return x.astype(np.float32), truth


@pytest.fixture(scope="module")
def pretrained(many):
    config = PretrainConfig(epochs=10, batch_size=64, optimizer=Optimizer("adam", 1e-2))
    return pretrain_end_to_end(KEY, many[0], architecture=TINY, config=config)[0]


@pytest.mark.slow
def test_the_number_of_blobs_is_found(many, pretrained):
    x, truth = many
    seen = []

    def on_epoch(since, k):
        seen.append((since, k))

    found = dipdeck(
        KEY, pretrained, x, architecture=TINY, config=CONFIG, on_epoch=on_epoch
    )
    assert found.n_clusters == 4
    assert clustering_accuracy(truth, found.labels) == 1
    assert found.history == [k for _, k in seen]
    assert (np.diff(found.history) <= 0).all()
    # The last merge is followed by all epochs.
    assert seen[-1][0] == CONFIG.epochs
    assert (np.diff(np.bincount(found.labels)) <= 0).all()
    assert found.centroids.shape == (4, 3)


def test_the_same_key_gives_the_same_clusters(many, pretrained):
    first, second = (
        dipdeck(KEY, pretrained, many[0], architecture=TINY, config=CONFIG)
        for _ in range(2)
    )
    assert adjusted_rand_index(first.labels, second.labels) == 1
    np.testing.assert_array_equal(first.centroids, second.centroids)


def test_a_callback_ends_training(many, pretrained):
    found = dipdeck(
        KEY,
        pretrained,
        many[0],
        architecture=TINY,
        config=CONFIG,
        on_epoch=lambda *_: True,
    )
    assert len(found.history) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_clusters": 1}, "n_clusters must be at least 2, got 1"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"threshold": 0.0}, r"threshold must be in \(0, 1\], got 0.0"),
        ({"size_ratio": 0.5}, "size_ratio must be finite and at least 1, got 0.5"),
        (
            {"clustering_weight": -1.0},
            "clustering_weight must be finite and at least 0",
        ),
    ],
)
def test_config_rejects_settings_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        DipDECKConfig(**options)


def test_dipdeck_rejects_few_samples_and_batch_norm(blobs):
    params = init_params(KEY, TINY)
    with pytest.raises(ValueError, match="Cannot place 10 centroids on 5 samples"):
        dipdeck(KEY, params, blobs[0][:5], architecture=TINY, config=CONFIG)
    network = Architecture((2, 4, 1), (Conv2D(3, (2, 4), "linear"),), batch_norm=True)
    with pytest.raises(ValueError, match="without batch normalization; use dense_arch"):
        dipdeck(
            KEY,
            init_params(KEY, network),
            blobs[0],
            architecture=network,
            config=CONFIG,
        )
