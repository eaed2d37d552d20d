"""`DeepEmbeddedClustering` keeps the conventions of scikit-learn."""

import copy
import pickle

import jaxtyping
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks

import dec_jax
from dec_jax.estimator import DeepEmbeddedClustering
from dec_jax.networks.architecture import dense_architecture

# Runs of few steps end while labels still change.
pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    # As KMeans does, it takes one cluster, which checks of scikit-learn ask for.
    pytest.mark.filterwarnings("ignore:n_clusters=1 puts all samples"),
]
SMALL = dense_architecture(8, hidden=(16,), embedding_dim=3)
SHORT = {"recipe": "dec", "network": SMALL, "epochs": 100, "max_intervals": 3}


def short(n_clusters=4, **settings):
    """An estimator whose runs take a second."""
    return DeepEmbeddedClustering(
        n_clusters, **{**SHORT, "random_state": 0, "baseline": False, **settings}
    )


@pytest.fixture(scope="module")
def fitted(blobs):
    return short().fit(blobs[0])


@pytest.fixture
def untyped(monkeypatch):
    """No types are checked in calls: scikit-learn stores settings of any type."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


# Checks of scikit-learn that train no more than once or twice; the others are slow.
QUICK = (
    "check_estimator_cloneable",
    "check_estimator_tags_renamed",
    "check_valid_tag_types",
    "check_estimator_repr",
    "check_no_attributes_set_in_init",
    "check_estimators_unfitted",
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_mixin_order",
    "check_parameters_default_constructible",
    "check_complex_data",
    "check_estimator_sparse_tag",
    "check_estimator_sparse_array",
    "check_estimators_empty_data_messages",
    "check_get_params_invariance",
    "check_set_params",
    "check_fit1d",
    "check_fit2d_1sample",
    "check_dict_unchanged",
)


@pytest.mark.parametrize("name", QUICK)
def test_estimator_passes_the_quick_checks_of_scikit_learn(name, untyped):
    estimator = DeepEmbeddedClustering(2, max_intervals=2, baseline=False)
    check = getattr(estimator_checks, name)
    check("DeepEmbeddedClustering", estimator)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_estimator_passes_all_checks_of_scikit_learn(untyped):
    estimator = DeepEmbeddedClustering(2, max_intervals=2, baseline=False)
    results = estimator_checks.check_estimator(estimator, on_fail=None)
    assert len(results) > 40
    assert [found for found in results if found["status"] == "failed"] == []


def test_fit_equals_the_function(blobs, fitted):
    x, _ = blobs
    options = {**SHORT, "seed": 0, "baseline": False}
    found = dec_jax.fit(x, 4, **options)
    np.testing.assert_array_equal(fitted.labels_, found.labels)
    np.testing.assert_array_equal(fitted.cluster_centers_, found.centroids)
    assert fitted.n_iter_ == found.n_steps
    assert fitted.stop_reason_ == found.stop_reason
    assert fitted.health_ == found.health
    assert fitted.opinion_ is None


def test_fit_finds_the_clusters_and_predict_the_same_labels(blobs, fitted):
    x, y = blobs
    assert adjusted_rand_score(y, fitted.labels_) > 0.7
    np.testing.assert_array_equal(fitted.predict(x), fitted.labels_)
    q = fitted.predict_proba(x)
    assert q.shape == (200, 4)
    np.testing.assert_array_equal(q.argmax(axis=1), fitted.labels_)
    assert fitted.transform(x).shape == (200, 3)
    assert fitted.cluster_centers_.shape == (4, 3)
    names = [f"deepembeddedclustering{i}" for i in range(3)]
    assert fitted.get_feature_names_out().tolist() == names


def test_fit_predict_and_fit_transform_equal_fit(blobs, fitted):
    x, _ = blobs
    np.testing.assert_array_equal(short().fit_predict(x), fitted.labels_)
    np.testing.assert_array_equal(short().fit_transform(x), fitted.transform(x))


@pytest.mark.parametrize(
    "again", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))]
)
def test_a_copy_predicts_the_same_bits(blobs, fitted, again):
    x, _ = blobs
    other = again(fitted)
    np.testing.assert_array_equal(other.predict_proba(x), fitted.predict_proba(x))
    assert other.health_ == fitted.health_
    assert other.history_.label_change.tolist() == fitted.history_.label_change.tolist()


def test_labels_of_training_come_back_whatever_the_units(blobs):
    x = 1234.5 * blobs[0].astype(np.float64) + 7
    found = short().fit(x)
    np.testing.assert_array_equal(found.predict(x), found.labels_)


def test_clone_has_the_settings_and_nothing_learned(fitted):
    other = clone(fitted)
    assert str(other.get_params()) == str(fitted.get_params())
    with pytest.raises(NotFittedError):
        other.predict(np.zeros((2, 8)))


def test_random_state_decides(blobs):
    x, _ = blobs
    draws = [short(random_state=np.random.RandomState(3)).fit(x) for _ in range(2)]
    np.testing.assert_array_equal(*(one.cluster_centers_ for one in draws))
    other = short(random_state=4).fit(x)
    assert (other.cluster_centers_ != draws[0].cluster_centers_).any()


def test_estimator_works_in_a_pipeline(blobs):
    x, y = blobs
    pipeline = make_pipeline(StandardScaler(), short())
    assert adjusted_rand_score(y, pipeline.fit_predict(x)) > 0.7
    assert pipeline.transform(x).shape == (200, 3)
    assert pipeline[-1].n_features_in_ == 8


def test_grid_search_compares_recipes(blobs):
    x, _ = blobs
    # Each fold of another number of rows would be compiled anew.
    every = np.arange(len(x))
    recipes = {"recipe": ["dec", "idec"]}
    search = GridSearchCV(short(), recipes, cv=[(every, every)] * 2).fit(x)
    assert search.best_score_ > 0.4
    assert search.predict(x).shape == (200,)


def test_score_is_the_silhouette_of_the_samples(blobs, fitted):
    from sklearn.metrics import silhouette_score

    x, _ = blobs
    expected = silhouette_score(x, fitted.labels_)
    assert fitted.score(x) == pytest.approx(expected, abs=1e-4)
    assert fitted.score(x[:1]) == -1


def test_a_frame_has_names_and_is_checked_by_them(blobs):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(blobs[0], columns=list("abcdefgh"))
    found = short().fit(frame)
    assert found.feature_names_in_.tolist() == list("abcdefgh")
    assert found.set_output(transform="pandas").transform(frame).shape == (200, 3)
    with pytest.raises(ValueError, match="feature names should match"):
        found.predict(frame[list("hgfedcba")])


def test_images_are_given_as_rows(blobs):
    pixels = np.round(10 * blobs[0] + 100).astype(np.uint8)
    found = short(image_shape=(2, 2, 2)).fit(pixels)
    assert found.model_.architecture.input_scale == 1 / 255
    assert found.model_.metadata["image_shape"] == [2, 2, 2]
    np.testing.assert_array_equal(found.predict(pixels), found.labels_)


def test_bytes_of_a_table_are_numbers(blobs):
    numbers = np.round(10 * blobs[0] + 100).astype(np.uint8)
    a, b = (short().fit(x) for x in (numbers, numbers.astype(np.float64)))
    np.testing.assert_array_equal(a.cluster_centers_, b.cluster_centers_)


def test_number_of_clusters_is_looked_for(blobs):
    found = short("auto").fit(blobs[0])
    assert len(found.cluster_centers_) == found.recommendation_.n_clusters == 4
    assert found.recommendation_.reasons


@pytest.mark.slow
def test_epochs_are_ignored_where_nothing_is_pretrained(blobs):
    settings = {"recipe": "auto", "network": None, "epochs": 3, "max_intervals": 2}
    assert short(**settings).fit(blobs[0]).labels_.shape == (200,)


def test_unstable_training_is_told(blobs):
    message = (
        "The training was not stable: .* of labels changed at the last refresh: train "
    )
    with pytest.warns(ConvergenceWarning, match=message) as caught:
        short(recipe="auto", network=None, max_intervals=2).fit(blobs[0])
    assert "--" not in str(caught[0].message)


# Mistakes: one line, before anything is compiled.


def test_fit_rejects_another_word_than_auto(blobs):
    message = "n_clusters must be an integer of at least 1 or one of auto, density, dip"
    with pytest.raises(ValueError, match=message):
        short("many").fit(blobs[0])


@pytest.mark.parametrize("k", [0, 2.5, 201])
def test_fit_rejects_a_wrong_number_of_clusters(blobs, k):
    with pytest.raises((TypeError, ValueError), match="n_clusters"):
        short(k).fit(blobs[0])


def test_fit_rejects_auto_for_three_samples():
    with pytest.raises(ValueError, match="At least 4 samples are needed to look for"):
        short("auto").fit(np.eye(3, 8))


def test_fit_rejects_an_unknown_recipe(blobs):
    with pytest.raises(ValueError, match="Unknown recipe 'deck'; did you mean 'dec'"):
        short(recipe="deck").fit(blobs[0])


def test_fit_rejects_a_sparse_matrix(blobs):
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match="dense data is required"):
        short().fit(sparse.csr_array(blobs[0]))


def test_fit_rejects_texts_and_dates_with_two_ways_out(untyped):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"age": [1.5, 2], "plan": ["a", "b"], "numbers": ["1", "2"]})
    frame["since"] = pd.to_datetime(["2020-01-01", "2021-01-01"])
    ways = "; encode them, .* or leave texts, .* dec_jax.fit.DataFrame, n_clusters"
    message = r"X must hold numbers alone, got columns 'plan' .texts., 'since' .dates."
    with pytest.raises(ValueError, match=message + ways):
        short(2).fit(frame)
    with pytest.raises(ValueError, match=r"got column 1 .texts.; encode it, "):
        short(2).fit(frame[["age", "plan"]].to_numpy())
    with pytest.raises(TypeError, match="or give the DataFrame or the file itself"):
        dec_jax.fit(frame[["age", "plan"]].to_numpy(), 2)


def test_fit_rejects_an_image_shape_that_does_not_fit(blobs):
    with pytest.raises(ValueError, match="image_shape must be"):
        short(image_shape=(3, 3)).fit(blobs[0])
