import warnings

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm
from sklearn.mixture import GaussianMixture

from dec_jax.clustering.mixture import Mixture, fit_mixture, log_joint, log_posterior

K, D = 4, 3
RNG = np.random.default_rng(0)
MIXTURE = Mixture(
    jnp.log(jnp.asarray([0.1, 0.2, 0.3, 0.4])),
    jnp.asarray(RNG.normal(size=(K, D)), jnp.float32),
    jnp.asarray(RNG.normal(size=(K, D)), jnp.float32),
)
Z = 2 * RNG.normal(size=(12, D)).astype(np.float32)

transforms = pytest.mark.parametrize(
    "transform", [lambda f: f, jax.jit], ids=["eager", "jit"]
)


def log_joint_by_loops(z, mixture):
    """log pi_c plus the log density of each coordinate, in float64."""
    log_weights, means, log_variances = (np.asarray(a, np.float64) for a in mixture)
    out = np.zeros((len(z), len(means)))
    for i, z_i in enumerate(z.astype(np.float64)):
        for c in range(len(means)):
            out[i, c] = log_weights[c]
            for j in range(len(z_i)):
                deviation = np.exp(0.5 * log_variances[c, j])
                out[i, c] += norm.logpdf(z_i[j], means[c, j], deviation)
    return out


@transforms
def test_log_joint_equals_loops(transform):
    found = transform(log_joint)(jnp.asarray(Z), MIXTURE)
    np.testing.assert_allclose(found, log_joint_by_loops(Z, MIXTURE), rtol=1e-5)


@transforms
def test_log_posterior_equals_loops(transform):
    found = transform(log_posterior)(jnp.asarray(Z), MIXTURE)
    joint = log_joint_by_loops(Z, MIXTURE)
    expected = joint - logsumexp(joint, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("distance", [1e3, 1e10, 1e25, -1e25])
@pytest.mark.parametrize("log_variance", [-20.0, 0.0, 20.0])
def test_posterior_and_gradient_are_finite_however_far(distance, log_variance):
    # The densities of all clusters underflow to 0 there; their logarithms do not.
    mixture = MIXTURE._replace(log_variances=jnp.full((K, D), log_variance))
    z = jnp.full((2, D), distance)

    def score(z, mixture):
        return (jnp.exp(log_posterior(z, mixture)) * jnp.arange(4.0)[None, :]).sum()

    found = log_posterior(z, mixture)
    chex.assert_tree_all_finite((found, jax.grad(score, (0, 1))(z, mixture)))
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1, rtol=1e-5)


def test_posterior_of_one_cluster_is_one():
    one = jax.tree.map(lambda a: a[:1], MIXTURE)
    np.testing.assert_array_equal(log_posterior(jnp.asarray(Z), one), np.zeros((12, 1)))


def hard_start(z, labels, k):
    """Shares, means and variances of the labeled samples, by loops."""
    parts = [z[labels == c].astype(np.float64) for c in range(k)]
    weights = np.array([len(part) / len(z) for part in parts])
    means = np.stack([part.mean(axis=0) for part in parts])
    variances = np.stack([part.var(axis=0) for part in parts]) + 1e-6
    return weights, means, variances


@pytest.fixture(scope="module")
def data():
    """300 samples of overlapping, stretched clusters far from 0, and wrong labels."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, K, 300)
    means, scales = 3 * rng.normal(size=(K, D)), rng.uniform(0.3, 1.5, size=(K, D))
    z = means[labels] + scales[labels] * rng.normal(size=(300, D)) + 50
    moved = np.where(rng.random(300) < 0.3, rng.integers(0, K, 300), labels)
    return z.astype(np.float32), moved.astype(np.int32)


@transforms
@pytest.mark.parametrize("max_iter", [1, 7, 100])
def test_fit_equals_scikit_learns_from_the_same_start(data, transform, max_iter):
    z, labels = data
    weights, means, variances = hard_start(z, labels, K)
    theirs = GaussianMixture(
        K,
        covariance_type="diag",
        weights_init=weights,
        means_init=means,
        precisions_init=1 / variances,
        max_iter=max_iter,
        tol=1e-3,
    )
    with warnings.catch_warnings():
        # Of having stopped before it converged, which is wanted.
        warnings.simplefilter("ignore")
        theirs.fit(z.astype(np.float64))

    def fitted(z, labels):
        return fit_mixture(z, labels, K, max_iter=max_iter)

    ours = transform(fitted)(jnp.asarray(z), jnp.asarray(labels))
    np.testing.assert_allclose(np.exp(ours.log_weights), theirs.weights_, rtol=2e-3)
    np.testing.assert_allclose(ours.means, theirs.means_, rtol=1e-4)
    variances = np.exp(ours.log_variances)
    np.testing.assert_allclose(variances, theirs.covariances_, rtol=1e-2)
    labels = np.asarray(log_posterior(jnp.asarray(z), ours)).argmax(axis=1)
    assert (labels == theirs.predict(z)).mean() > 0.99


def test_fit_finds_clusters_from_some_wrong_labels(blobs):
    x, labels = blobs
    start = labels.copy()
    start[::10] = 0
    mixture = fit_mixture(jnp.asarray(x), jnp.asarray(start), 4)
    found = np.asarray(log_posterior(jnp.asarray(x), mixture)).argmax(axis=1)
    np.testing.assert_array_equal(found, labels)


def test_fit_of_an_empty_cluster_and_of_equal_samples_is_finite():
    z = jnp.concatenate([jnp.zeros((5, D)), jnp.ones((5, D))])
    labels = jnp.asarray([0] * 5 + [1] * 5, jnp.int32)
    mixture = fit_mixture(z, labels, 3)
    chex.assert_tree_all_finite(mixture)
    np.testing.assert_allclose(np.exp(mixture.log_weights), [0.5, 0.5, 0], atol=1e-5)
    np.testing.assert_allclose(mixture.means[:2], [[0] * D, [1] * D], atol=1e-5)
    np.testing.assert_allclose(np.exp(mixture.log_variances[:2]), 1e-6, rtol=0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"z": np.full((4, 2), np.nan, np.float32)}, "z must be finite"),
        ({"labels": np.zeros(3, np.int32)}, r"labels must have shape \(4,\).*got \(3,"),
        ({"n_clusters": 5}, "n_clusters must be <= the number of samples"),
        ({"max_iter": 0}, "max_iter must be at least 1, got 0"),
    ],
)
def test_fit_rejects_a_value(change, message):
    given = {
        "z": np.zeros((4, 2), np.float32),
        "labels": np.zeros(4, np.int32),
        "n_clusters": 2,
    }
    with pytest.raises(ValueError, match=message):
        fit_mixture(**{**given, **change})
