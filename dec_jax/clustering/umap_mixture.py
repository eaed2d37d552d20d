"""Clustering of embeddings by UMAP and a Gaussian mixture, with umap-learn and scikit-learn.

McConville, Santos-Rodriguez, Piechocki and Craddock, `N2D: (Not Too) Deep Clustering via
Clustering the Local Manifold of an Autoencoded Embedding
<https://arxiv.org/abs/1908.05968>`_, ICPR 2020. It needs the extra `umap`.
`spectral` serves the same purpose on the device, faster and without further packages.
"""

import warnings
from importlib.util import find_spec

import numpy as np
from jaxtyping import Float, Int, Num
from numpy.typing import ArrayLike

from dec_jax.validation import (
    check_n_clusters,
    check_positive_int,
    check_samples,
    require,
)


def umap_mixture(
    z: ArrayLike, n_clusters: int, *, seed: int = 0, n_neighbors: int = 20
) -> Int[np.ndarray, " n"]:
    """Labels embeddings by a full-covariance Gaussian mixture on their UMAP.

    Args:
      z: embeddings, shape [n, d].
      n_clusters: number of clusters k, also the number of dimensions of the UMAP.
      seed: random seed of both.
      n_neighbors: number of neighbors of UMAP, reduced to n - 1 if n is smaller.

    Returns:
      Labels, [n] int32.

    Raises:
      ImportError: umap-learn is not installed.
      TypeError, ValueError: `z` is not finite numbers of shape [n, d], or k or
        `n_neighbors` is out of range.
    """
    values = np.asarray(z)
    check_samples(values, "z")
    check_n_clusters(n_clusters, len(values))
    check_positive_int("n_neighbors", n_neighbors)
    check_umap()
    points = umap_embedding(values, n_clusters, seed=seed, n_neighbors=n_neighbors)
    return _mixture(points, n_clusters, seed)


def check_umap() -> None:
    """Raises ImportError unless umap-learn is installed; for callers with work ahead."""
    # Not imported here: that takes seconds.
    if find_spec("umap") is None:
        require("umap", extra="umap", task="the UMAP of embeddings")


def umap_embedding(
    z: Num[np.ndarray, "n d"],
    n_components: int,
    *,
    seed: int = 0,
    n_neighbors: int = 20,
    min_dist: float = 0.0,
) -> Float[np.ndarray, "n k"]:
    """Embeds samples by UMAP (McInnes, Healy and Melville, 2018).

    Args:
      z: [n, d] samples.
      n_components: dimensions of the result.
      seed: random seed.
      n_neighbors: of each sample, reduced to n - 1 if n is smaller.
      min_dist: least distance of neighbors in the result.

    Returns:
      [n, n_components].
    """
    with warnings.catch_warnings():
        # Packages that UMAP imports warn about themselves.
        warnings.simplefilter("ignore")
        import umap

        model = umap.UMAP(
            n_neighbors=min(n_neighbors, len(z) - 1),
            n_components=n_components,
            min_dist=min_dist,
            random_state=seed,
            # UMAP with a seed runs a single job.
            n_jobs=1,
            # UMAP's spectral initialization fails with few samples.
            init="spectral" if len(z) > 4 * n_components else "random",
        )
        return np.asarray(model.fit_transform(z.astype(np.float32)))


def _mixture(
    points: Float[np.ndarray, "n k"], n_clusters: int, seed: int
) -> Int[np.ndarray, " n"]:
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(n_clusters, covariance_type="full", random_state=seed)
    return mixture.fit_predict(points.astype(np.float64)).astype(np.int32)
