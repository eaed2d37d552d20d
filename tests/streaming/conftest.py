"""The blobs in a file, and the start of clustering them."""

import numpy as np
import pytest
from tiny_training import KEY, TINY

from dec_jax import streaming
from dec_jax.clustering import kmeans
from dec_jax.networks.autoencoder import embed, init_params
from dec_jax.streaming import passes


@pytest.fixture(scope="module")
def source(blobs, tmp_path_factory):
    path = tmp_path_factory.mktemp("stream") / "blobs.npy"
    np.save(path, blobs[0])
    return streaming.NpySource(path)


@pytest.fixture(scope="module")
def start(blobs):
    """An untrained network, and k-means centroids and labels of its embedding."""
    params = init_params(KEY, TINY)
    z = embed(params, blobs[0], architecture=TINY)
    clusters = kmeans.k_means(KEY, z, 4, n_init=2)
    return params, clusters.centroids, clusters.labels


@pytest.fixture
def small_blocks(monkeypatch):
    """Passes over the samples read 64 of them at a time, and look at 45 of their z."""
    monkeypatch.setattr(passes, "rows_at_once", lambda architecture: 64)
    monkeypatch.setattr(passes, "GROUP_VALUES", 4 * 45)
