from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
import tiny_training
from tiny_training import KEY, TINY

from dec_jax.clustering.kmeans import k_means
from dec_jax.evaluation.health import health, verdict
from dec_jax.networks.autoencoder import encode
from dec_jax.training.cluster import train
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.pretrain import PretrainConfig, pretrain_end_to_end
from dec_jax.training.state import History, init_state

CONFIG = replace(tiny_training.CONFIG, update_interval=20, max_intervals=12)


def pretrained_on(x):
    config = PretrainConfig(100, 64, Optimizer("adam", 0.01))
    return pretrain_end_to_end(KEY, x, architecture=TINY, config=config)[0]


@pytest.fixture(scope="module")
def params(x):
    return pretrained_on(x)


def clustered(params, x, n_clusters, config):
    """The result of DEC from k-means on z."""
    clusters = k_means(KEY, encode(params, x, architecture=TINY), n_clusters, n_init=5)
    start = (params, clusters.centroids, clusters.labels)
    state = init_state(KEY, *start, config=config)
    return train(state, x, architecture=TINY, config=config)


def kinds(found):
    return [warning.kind for warning in found.warnings]


def first_seen(history, kind):
    """After how many intervals a run that still lasts is first warned, or None."""
    for count in range(1, len(history.loss) + 1):
        rows = History(*(column[:count] for column in history))
        if kind in kinds(health(rows, ended=False)):
            return count
    return None


# Collapse that is provoked is seen while the run lasts.


def test_a_sound_run_is_healthy_all_along(params, x):
    result = clustered(params, x, 4, CONFIG)
    for count in range(1, 13):
        rows = History(*(column[:count] for column in result.history))
        assert kinds(health(rows)) == []
    found = health(result.history, final_q=result.q)
    assert found.healthy and found.n_empty == 0 and found.smallest == found.largest
    assert found.evenness == pytest.approx(1, abs=1e-12)


# A hundred times too large empties a cluster; a thousand times makes q say nothing.
@pytest.mark.parametrize("rate, kind", [(10.0, "died"), (100.0, "flat")])
def test_too_large_a_learning_rate_is_seen_before_the_end(params, x, rate, kind):
    config = replace(CONFIG, optimizer=Optimizer("sgd", rate))
    result = clustered(params, x, 4, config)
    assert len(result.history.loss) == 12
    assert first_seen(result.history, kind) == 2
    assert kind in kinds(health(result.history, final_q=result.q, ended=False))


@pytest.mark.slow
def test_far_too_many_clusters_are_seen_before_the_end(params, x):
    result = clustered(params, x, 50, CONFIG)
    assert result.history.cluster_sizes[0].min() > 0
    assert first_seen(result.history, "died") < 12
    assert "died" in kinds(health(result.history))


def test_numbers_that_are_no_longer_finite_are_seen(params, x):
    config = replace(CONFIG, optimizer=Optimizer("sgd", 1e30))
    result = clustered(params, x, 4, config)
    found = health(result.history, final_q=result.q)
    # Where all are NaN, sizes mean nothing.
    assert kinds(found) == ["not finite"]


def test_a_small_true_cluster_that_stays_is_no_warning(x):
    # The smallest has 3 of 200, below a tenth of the mean size, the largest 90 %.
    sizes = [180, 10, 7, 3]
    order = np.concatenate([np.arange(group, 200, 4)[:50] for group in range(4)])
    centers = np.asarray(x)[order].reshape(4, 50, 8).mean(axis=1)
    noise = np.random.default_rng(1).normal(scale=0.5, size=(200, 8))
    unbalanced = jnp.asarray(np.repeat(centers, sizes, axis=0) + noise, jnp.float32)
    result = clustered(pretrained_on(unbalanced), unbalanced, 4, CONFIG)
    assert sorted(np.bincount(result.labels)) == sorted(sizes)
    assert kinds(health(result.history, final_q=result.q)) == []


# Each rule by hand.


def history_of(sizes, max_q=0.8, label_change=0.0, loss=0.1, converged=False):
    """A run that was looked at as often as there are rows of sizes."""
    sizes = np.asarray(sizes)
    column = np.ones(len(sizes), np.float32)
    return History(
        loss=loss * column,
        clustering=loss * column,
        reconstruction=0 * column,
        label_change=label_change * column,
        cluster_sizes=sizes,
        converged=np.full(len(sizes), converged),
        max_q=max_q * column,
        q_entropy=0.2 * column,
        reseeded=np.zeros(len(sizes), np.int32),
    )


@pytest.mark.parametrize(
    "sizes, expected",
    [
        # Mean size 100, so that a tenth of it is 10.
        ([[100, 100, 100, 100], [100, 100, 200, 0]], ["died"]),
        ([[100, 100, 100, 100], [100, 100, 191, 9]], ["died"]),
        ([[100, 100, 100, 100], [100, 100, 190, 10]], []),
        ([[182, 100, 100, 18], [191, 100, 100, 9]], []),
        ([[181, 100, 100, 19], [191, 100, 100, 9]], ["died"]),
        # Empty from the start is dead all the same.
        ([[200, 100, 100, 0], [200, 100, 100, 0]], ["died"]),
        # Of 4 clusters, 5/8 of the samples are halfway from a quarter to all of them.
        ([[160, 80, 80, 80], [251, 49, 50, 50]], ["runaway"]),
        ([[160, 80, 80, 80], [250, 50, 50, 50]], []),
        ([[240, 60, 50, 50], [280, 40, 40, 40]], []),
        ([[240, 60, 50, 50], [281, 39, 40, 40]], ["runaway"]),
        # Of 2, three quarters.
        ([[200, 200], [300, 100]], []),
        ([[200, 200], [301, 99]], ["runaway"]),
        # What came back is well again.
        ([[100, 100, 100, 100], [100, 100, 200, 0], [100, 100, 100, 100]], []),
        ([[400], [400]], []),
    ],
)
def test_sizes_are_judged_against_the_start(sizes, expected):
    assert kinds(health(history_of(sizes))) == expected


def test_a_warning_names_clusters_and_says_what_to_do():
    (died,) = health(history_of([[10] * 8, [40, 40] + [0] * 6])).warnings
    assert died.text == (
        "6 clusters (2, 3, 4, 5, 6 ...) are empty: lower the learning rate (--learning-rate), use fewer "
        "clusters, or reseed (--reseed-below)"
    )
    found = health(history_of([[100] * 4, [9, 291, 50, 50]])).warnings
    assert found[0].text.startswith(
        "cluster 0 is below 10% of the mean size 100 and 50% of the first size: lower"
    )
    assert found[1].text.startswith(
        "cluster 1 holds 73% of the samples, and the largest held 25% at first: lower"
    )


@pytest.mark.parametrize(
    "n_clusters, max_q, expected",
    [
        (10, 0.119, ["flat"]),
        (10, 0.121, []),
        (2, 0.59, ["flat"]),
        (2, 0.61, []),
        (1, 1.0, []),
    ],
)
def test_q_is_flat_near_an_even_share(n_clusters, max_q, expected):
    history = history_of([[50] * n_clusters], max_q=max_q)
    assert kinds(health(history)) == expected
    assert kinds(health(history, trained_by_q=False)) == []


@pytest.mark.parametrize(
    "max_q, expected",
    [
        ([0.5, 0.8, 0.9, 0.89], ["blurred"]),
        ([0.5, 0.8, 0.9, 0.892], []),
        ([0.5, 0.9, 0.8, 0.9], []),
        ([0.9], []),
    ],
)
def test_q_that_was_surer_before_is_blurred_in_the_end(max_q, expected):
    history = history_of([[50, 50]] * len(max_q), max_q=np.float32(max_q))
    assert kinds(health(history)) == expected
    # It may waver before the end, and where nothing pulls it to p.
    assert kinds(health(history, ended=False)) == []
    assert kinds(health(history, trained_by_q=False)) == []


def test_a_warning_of_blur_says_when_q_was_surest_and_looks_at_the_final_q():
    history = history_of([[1, 1]] * 3, max_q=np.float32([0.6, 0.9, 0.9]))
    final_q = np.array([[0.8, 0.2], [0.2, 0.8]])
    (blurred,) = health(history, final_q=final_q).warnings
    assert blurred.text == (
        "mean max q fell from 0.900 at interval 1 to 0.800: stop training at interval 1 "
        "(--max-intervals 1)"
    )
    # Before the first step there is no training to keep.
    from_the_start = history_of([[1, 1]] * 2, max_q=np.float32([0.9, 0.8]))
    (blurred,) = health(from_the_start).warnings
    assert blurred.text == (
        "mean max q fell from 0.900 at interval 0 to 0.800: lower the learning rate (--learning-rate)"
    )
    # A cluster that died says more.
    died = history_of([[50, 50, 50], [75, 75, 0]], max_q=np.float32([0.9, 0.8]))
    assert kinds(health(died)) == ["died"]


def test_looks_before_the_first_that_counts_are_forgotten():
    sizes = [[399, 1, 0, 0], [100, 100, 100, 100], [120, 90, 95, 95]]
    history = history_of(sizes, max_q=np.float32([0.99, 0.8, 0.79]))
    assert kinds(health(history)) == ["blurred"]
    (blurred,) = health(history, first=1).warnings
    assert "0.800 at interval 1 to 0.79" in blurred.text
    assert health(history, first=1, final_q=np.eye(4)[np.arange(400) % 4]).healthy
    # Of a run that has not come so far, the last look is all there is.
    assert health(history, first=9).healthy
    with pytest.raises(ValueError, match="first must be 0 or more, .* got -1"):
        health(history, first=-1)


def test_labels_may_move_until_the_end():
    history = history_of([[100] * 4, [100] * 4], label_change=0.02)
    assert kinds(health(history, ended=False)) == []
    (moving,) = health(history).warnings
    assert moving.text == (
        "2.0% of labels changed at the last refresh: train for longer (--max-intervals "
        "in a new run, and --pretrained with this run's autoencoder)"
    )
    assert health(history_of([[100] * 4], label_change=0.01)).healthy


def test_an_interval_without_a_step_has_no_loss_and_is_well():
    assert health(history_of([[50, 50]], loss=np.nan, converged=True)).healthy
    assert kinds(health(history_of([[50, 50]], loss=np.nan))) == ["not finite"]
    assert kinds(health(history_of([[50, 50]], max_q=np.nan))) == ["not finite"]


def test_final_q_is_the_last_look():
    q = np.tile(np.array([[0.9, 0.1]], np.float32), (4, 1))
    found = health(history_of([[2, 2]]), final_q=q)
    assert kinds(found) == ["died", "runaway"]
    assert (found.n_empty, found.smallest, found.largest) == (1, 0, 4)
    assert found.evenness == 0
    assert found.max_q == pytest.approx(0.9)
    entropy = -(0.9 * np.log(0.9) + 0.1 * np.log(0.1))
    assert found.q_entropy == pytest.approx(entropy / np.log(2))


def test_health_rejects_a_history_without_a_row():
    with pytest.raises(ValueError, match="history must have at least one interval"):
        health(history_of(np.zeros((0, 4), int)))


def test_health_rejects_q_of_other_samples():
    message = r"final_q must have shape \(4, 2\).*got \(5, 2\)"
    with pytest.raises(ValueError, match=message):
        health(history_of([[2, 2]]), final_q=np.full((5, 2), 0.5))


# One line at the end of a run.


def test_verdict_of_a_stable_training_has_its_numbers():
    text = verdict([], smallest=5412, largest=8001, evenness=0.984, max_q=0.931)
    assert text == (
        "training was stable: clusters of 5,412 to 8,001 samples (evenness 0.98 of 1), "
        "mean q of the own cluster 0.93 of 1"
    )


def test_verdict_of_an_unstable_training_has_its_warnings():
    found = health(history_of([[2, 2], [4, 0]]))
    numbers = {name: getattr(found, name) for name in ("smallest", "largest")}
    numbers |= {"evenness": found.evenness, "max_q": found.max_q}
    text = verdict([warning.text for warning in found.warnings], **numbers)
    assert text.startswith("training was unstable: cluster 1 is empty: lower the learn")
    assert text.count("; cluster 0 holds 100% of the samples") == 1
    assert "healthy" not in text
