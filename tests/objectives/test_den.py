"""Deep Embedding Network: Huang, Huang, Wang and Wang (2014)."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dec_jax.evaluation.metrics import clustering_accuracy
from dec_jax.networks.architecture import dense_architecture
from dec_jax.networks.autoencoder import embed, init_params, reconstruct
from dec_jax.objectives import DEN, Batch, Objective
from dec_jax.objectives.den import group_norms, neighbor_shares
from dec_jax.training.cluster import train
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.state import TrainConfig, init_state

KEY = jax.random.key(0)
WEIGHTS = np.array([1 / 8] * 8 + [0] * 4, np.float32)
NETWORK = dense_architecture(8, hidden=(16,), embedding_dim=4)
OBJECTIVE = DEN(locality_weight=0.3, sparsity_weight=0.2)
CONFIG = TrainConfig(
    10, 6, batch_size=50, tolerance=0.0, optimizer=Optimizer("adam", 1e-3)
)


@pytest.fixture(scope="module")
def params(x):
    network = init_params(KEY, NETWORK)
    z = embed(network, x[:4], architecture=NETWORK)
    return network | {"centroids": z}


def batch_of(x):
    return Batch(x, jnp.ones((len(x), 4)) / 4, jnp.asarray(WEIGHTS), KEY)


def neighbors_by_loops(x, n_neighbors):
    """Squared distances to the nearest samples that count, by pair (row, neighbor)."""
    pairs = {}
    for i in range(8):
        squares = {j: ((x[i] - x[j]) ** 2).sum() for j in range(8) if j != i}
        for j in sorted(squares, key=squares.get)[:n_neighbors]:
            pairs[i, j] = squares[j]
    return pairs


def test_neighbor_shares_equal_loops():
    x = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    x[8:] = x[0]  # they pad the batch
    found = neighbor_shares(jnp.asarray(x), jnp.asarray(WEIGHTS > 0), 3)
    pairs = neighbors_by_loops(x, 3)
    t = np.mean(list(pairs.values()))
    expected = np.zeros((12, 12))
    for (i, j), square in pairs.items():
        expected[i, j] = np.exp(-square / t)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_a_single_sample_has_no_neighbors():
    np.testing.assert_array_equal(
        neighbor_shares(jnp.ones((1, 3)), jnp.array([True]), 2), [[0.0]]
    )


def test_group_norms_by_hand():
    z = jnp.array([[3.0, 4.0, 0.0, 0.0], [0.0, 1.0, 2.0, 0.0]])
    root = np.sqrt(2)
    np.testing.assert_allclose(group_norms(z, 2), [5 * root, 3 * root], rtol=1e-5)
    np.testing.assert_allclose(group_norms(z, 1), [7, 3], rtol=1e-5)


def test_loss_equals_loops(params, x):
    losses, new = OBJECTIVE.loss(params, batch_of(x[:12]), architecture=NETWORK)
    rows = np.asarray(x[:12])
    z = np.asarray(embed(params, x[:12], architecture=NETWORK))
    x_hat = np.asarray(reconstruct(params, x[:12], architecture=NETWORK))
    pairs = neighbors_by_loops(rows, 2)
    t = np.mean(list(pairs.values()))
    locality = sparsity = reconstruction = 0.0
    for (i, j), square in pairs.items():
        locality += WEIGHTS[i] * np.exp(-square / t) * ((z[i] - z[j]) ** 2).sum()
    for i in range(8):
        for group in (z[i, :2], z[i, 2:]):
            sparsity += WEIGHTS[i] * np.sqrt(2) * np.linalg.norm(group)
        reconstruction += WEIGHTS[i] * np.mean((rows[i] - x_hat[i]) ** 2)
    clustering = 0.3 * locality + 0.2 * sparsity
    np.testing.assert_allclose(losses.clustering, clustering, rtol=1e-4)
    np.testing.assert_allclose(losses.total, reconstruction + clustering, rtol=1e-4)
    assert new == {}


def test_gradients_are_finite_where_z_is_0(params, x):
    zeros = params | {"encoder": jax.tree.map(jnp.zeros_like, params["encoder"])}

    def total(params):
        return OBJECTIVE.loss(params, batch_of(x[:12]), architecture=NETWORK)[0].total

    chex.assert_tree_all_finite(jax.grad(total)(zeros))


def test_padding_counts_nothing(params, x):
    one, other = (
        OBJECTIVE.loss(params, batch_of(rows), architecture=NETWORK)[0]
        for rows in (x[:12], x[:12].at[8:].set(10.0))
    )
    # Distances are rounded in relation to the mean of all rows.
    chex.assert_trees_all_close(one, other, rtol=1e-4)


def test_den_clusters_blobs_and_steps_k_means(params, x, blobs):
    labels = jnp.asarray(blobs[1])
    start = (params, params["centroids"], labels)
    settings = {"architecture": NETWORK, "objective": DEN(), "config": CONFIG}
    state = init_state(KEY, *start, objective=DEN(), config=CONFIG)
    result = train(state, x, **settings)
    assert clustering_accuracy(blobs[1], result.labels) > 0.95
    assert result.history.loss[-1] < result.history.loss[0]
    assert np.abs(result.centroids - np.asarray(start[1])).max() > 0.1


def test_den_is_an_objective_that_hashes_by_value():
    assert isinstance(DEN(), Objective)
    assert DEN() == DEN() and hash(DEN()) == hash(DEN()) and DEN() != OBJECTIVE


def test_check_rejects_an_embedding_that_has_no_groups(x):
    message = "group_size must divide the width of the embedding, 4, got 3; .* of 3"
    with pytest.raises(ValueError, match=message):
        DEN(group_size=3).check(x, NETWORK)


@pytest.mark.parametrize("name", ["locality_weight", "sparsity_weight"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_den_rejects_a_weight(name, value):
    with pytest.raises(ValueError, match=f"{name} must be finite .*got {value}"):
        DEN(**{name: value})


@pytest.mark.parametrize("name", ["group_size", "n_neighbors"])
def test_den_rejects_a_number_below_1(name):
    with pytest.raises(ValueError, match=f"{name} must be .*got 0"):
        DEN(**{name: 0})
