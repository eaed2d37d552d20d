"""A clustering objective of a user's own: soft k-means with a reconstruction loss."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dec_jax.clustering.assignment import squared_distances
from dec_jax.evaluation.metrics import clustering_accuracy
from dec_jax.networks.autoencoder import autoencode_batch
from dec_jax.objectives import (
    DEC,
    AutoencoderObjective,
    Batch,
    CentroidObjective,
    Losses,
    Objective,
    reconstruction_loss,
)
from dec_jax.training.cluster import train
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.state import TrainConfig, init_state

CONFIG = TrainConfig(
    10, 10, batch_size=50, tolerance=0.0, optimizer=Optimizer("adam", 1e-2)
)


@dataclass(frozen=True)
class SoftKMeans(CentroidObjective):
    """Distances to all centroids, weighted by q, plus the reconstruction loss."""

    trained: ClassVar[tuple[str, ...]] = ("encoder", "decoder", "centroids")
    clustering_weight: float = 1.0

    def assignment(self, params, z):
        return jax.nn.softmax(-squared_distances(z, params["centroids"]), axis=1)

    def loss(self, params, batch, *, architecture, axis_name=None):
        z, x_hat, batch_stats = autoencode_batch(
            params,
            batch.x,
            architecture=architecture,
            weights=batch.weights,
            axis_name=axis_name,
        )
        distances = squared_distances(z, params["centroids"])
        clustering = batch.weights @ (self.assignment(params, z) * distances).sum(
            axis=1
        )
        reconstruction = reconstruction_loss(batch.x, x_hat, weights=batch.weights)
        total = reconstruction + self.clustering_weight * clustering
        return Losses(total, clustering, reconstruction), batch_stats


def test_own_objective_is_an_objective():
    assert isinstance(SoftKMeans(), Objective)
    assert hash(SoftKMeans()) == hash(SoftKMeans())


def test_own_objective_clusters_blobs(start, x, blobs, architecture):
    objective = SoftKMeans()
    state = init_state(jax.random.key(1), *start, objective=objective, config=CONFIG)
    result = train(
        state, x, architecture=architecture, objective=objective, config=CONFIG
    )
    assert clustering_accuracy(blobs[1], result.labels) > 0.95
    for losses in (result.history.clustering, result.history.reconstruction):
        assert losses[-1] < 0.5 * losses[0]
    np.testing.assert_array_equal(result.labels, result.q.argmax(axis=1))


@dataclass(frozen=True)
class Bare(CentroidObjective):
    """All that a base class cannot give is the loss."""

    def loss(self, params, batch, *, architecture, axis_name=None):
        return Losses(*3 * [jnp.zeros(())]), {}


def test_own_objective_takes_the_defaults_of_its_base(start, x):
    params = {"centroids": start[1]}
    z = x[:5, :3]
    expected = DEC().assignment(params, z)
    np.testing.assert_array_equal(Bare().assignment(params, z), expected)
    assert (Bare().trained, Bare().fitted, Bare().alpha) == (DEC().trained, (), 1.0)
    assert Bare().extra_params(start[1]) == Bare().fit(params, z, start[2][:5]) == {}
    assert not Bare().refitted


def test_init_state_rejects_an_objective_whose_decoder_is_missing(start):
    params = {"encoder": start[0]["encoder"]}
    with pytest.raises(ValueError, match=r"SoftKMeans trains 'decoder', .*got \["):
        init_state(jax.random.key(1), params, *start[1:], objective=SoftKMeans())


def test_batch_names_its_fields_in_the_order_of_the_training_loop():
    batch = Batch(x=1, target=2, weights=3, key=4)
    assert tuple(batch) == (1, 2, 3, 4, None)


def test_loss_counts_no_padding(start, x, architecture):
    weights = jnp.array([0.5, 0.5, 0.0])
    losses = [
        SoftKMeans()
        .loss(
            start[0] | {"centroids": start[1]},
            Batch(rows, jnp.ones((3, 4)) / 4, weights, jax.random.key(0)),
            architecture=architecture,
        )[0]
        .total
        for rows in (x[:3], x[:3].at[2].set(100.0))
    ]
    np.testing.assert_allclose(*losses, rtol=1e-6)


def test_a_joint_method_needs_a_loss_of_z(start, x, architecture):
    batch = Batch(x[:8], x[:8], jnp.full(8, 1 / 8), jax.random.key(0))
    params = {**start[0], "centroids": start[1]}
    with pytest.raises(NotImplementedError, match="AutoencoderObjective must define"):
        AutoencoderObjective().loss(params, batch, architecture=architecture)
