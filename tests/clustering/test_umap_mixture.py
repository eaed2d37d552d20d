import sys

import numpy as np
import pytest

from dec_jax.clustering.umap_mixture import umap_mixture
from dec_jax.evaluation.metrics import clustering_accuracy


@pytest.mark.slow  # importing umap compiles for ten seconds
def test_finds_blobs_and_repeats_itself(blobs):
    x, labels = blobs
    found = umap_mixture(x, 4, seed=3)
    assert found.dtype == np.int32
    assert clustering_accuracy(labels, found) == 1
    np.testing.assert_array_equal(found, umap_mixture(x, 4, seed=3))


def test_rejects_more_clusters_than_samples(blobs):
    with pytest.raises(ValueError, match="Cannot place 9 centroids on 5 samples"):
        umap_mixture(blobs[0][:5], 9)


def test_rejects_samples_that_are_not_finite():
    with pytest.raises(ValueError, match="z must be finite"):
        umap_mixture(np.full((30, 2), np.inf, np.float32), 2)


def test_rejects_no_neighbors(blobs):
    with pytest.raises(ValueError, match="n_neighbors must be at least 1, got 0"):
        umap_mixture(blobs[0], 4, n_neighbors=0)


def test_rejects_a_machine_without_umap(blobs, monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(
        ImportError, match=r'needs umap-learn: pip install "dec_jax\[umap\]"'
    ):
        umap_mixture(blobs[0], 4)
