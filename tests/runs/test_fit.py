from dataclasses import replace

import jax
import numpy as np
import pytest
from programs import blob_table, cluster, read_csv

from dec_jax import IDEC, assign, dense_architecture, k_means, load_dataset, model
from dec_jax.data.dataset import Dataset
from dec_jax.data.load import load_dataset as load
from dec_jax.evaluation.metrics import adjusted_rand_index
from dec_jax.networks.architecture_json import load_architecture
from dec_jax.recipes.dense import DataShape, make_recipe
from dec_jax.runs.callbacks import Callbacks, Stopped
from dec_jax.runs.choices import choose_recipe
from dec_jax.runs.experiment import take
from dec_jax.runs.fit import fit, place
from dec_jax.runs.phases import Phases
from dec_jax.training import many_seeds
from dec_jax.training.state import reorder_clusters

SETTINGS = {"recipe": "dec", "epochs": 2, "max_intervals": 3}


@pytest.fixture(scope="module")
def network(small):
    return load_architecture(str(small))


@pytest.fixture(scope="module")
def dataset(labeled):
    return load(str(labeled))


class Events(Callbacks):
    """Writes down the name of each event."""

    def __init__(self, stop_at=None):
        self.seen, self.stages, self.stop_at = [], {}, stop_at

    def on_phase(self, phase):
        self.seen.append(phase.title)

    def on_step(self, step):
        self.seen.append(f"step {step.name}".strip())
        return self.seen[-1] == self.stop_at

    def on_phase_end(self):
        self.seen.append("end")

    def on_pretrained(self, params):
        self.seen.append("pretrained")

    def on_stage(self, stage):
        self.seen.append(f"stage {stage.name}")
        self.stages[stage.name] = stage


@pytest.fixture(scope="module")
def fitted(dataset, network):
    events = Events()
    result = fit(dataset, network=network, callbacks=events, **SETTINGS)
    return result, events


def largest_first(result):
    """Numbers three clusters by size, as `fit` does at its end."""
    sizes = np.bincount(result.labels, minlength=3)
    return reorder_clusters(result, np.argsort(-sizes, kind="stable"))


# One result, however it is reached.


def test_fit_equals_the_stages_called_one_by_one(fitted, dataset, network):
    settings = {"dataset": dataset, "n_clusters": 3, "network": network, **SETTINGS}
    recipe = choose_recipe(**settings)
    phases = Phases(dataset, jax.numpy.asarray(dataset.x), recipe, 3)
    start = phases.start(phases.pretrain())
    result = phases.cluster(start)
    result = largest_first(result)
    np.testing.assert_array_equal(fitted[0].labels, result.labels)
    np.testing.assert_array_equal(fitted[0].q, result.q)
    np.testing.assert_array_equal(fitted[0].centroids, result.centroids)


def test_fit_equals_a_run_with_a_folder(fitted, on_blobs, tmp_path, no_figures):
    out = tmp_path / "out"
    run = cluster(*on_blobs, "--out", out)
    assert run.status == 0, run.err
    labels = [int(row["cluster"]) for row in read_csv(out / "labels.csv")]
    np.testing.assert_array_equal(fitted[0].labels, labels)
    saved = model.load(out / "model.safetensors")
    q = model.predict_proba(saved, load_dataset(str(on_blobs[0])))
    np.testing.assert_array_equal(fitted[0].predict_proba(load(str(on_blobs[0]))), q)
    written = [float(row["q"]) for row in read_csv(out / "labels.csv")]
    np.testing.assert_allclose(fitted[0].q.max(axis=1), written, atol=1e-6)


@pytest.mark.slow
def test_fit_equals_seeds_that_train_at_once(fitted, dataset):
    recipe = fitted[0].recipe
    x = place(dataset.x, None)
    runs = [Phases(dataset, x, recipe, 3, seed) for seed in (0, 1)]
    params, _ = many_seeds.pretrain(
        jax.numpy.stack([run.pretrain_key for run in runs]),
        x,
        architecture=recipe.architecture,
        config=recipe.pretrain,
    )
    pairs = zip(runs, many_seeds.unstack(params), strict=True)
    starts = many_seeds.stack([run.start(params) for run, params in pairs])
    first, _ = many_seeds.train(
        starts.state,
        x,
        architecture=recipe.network,
        objective=recipe.objective,
        config=recipe.train,
    )
    first = largest_first(first)
    np.testing.assert_array_equal(fitted[0].labels, first.labels)
    np.testing.assert_array_equal(fitted[0].q, first.q)


def test_result_belongs_to_one_set_of_parameters(fitted, dataset):
    result = fitted[0]
    q, labels = assign(
        result.model.params,
        dataset.x,
        architecture=result.recipe.network,
        objective=result.recipe.objective,
    )
    np.testing.assert_array_equal(result.labels, labels)
    np.testing.assert_allclose(result.q, q, rtol=1e-6)
    np.testing.assert_array_equal(result.labels, result.q.argmax(axis=1))
    np.testing.assert_array_equal(result.centroids, result.model.params["centroids"])
    np.testing.assert_allclose(result.z, result.transform(dataset), rtol=1e-5)


def test_predict_of_the_training_data_gives_its_labels(fitted, dataset):
    np.testing.assert_array_equal(fitted[0].predict(dataset), fitted[0].labels)


def test_predict_takes_numbers_in_the_units_of_fit(network):
    x, _ = blob_table()
    far_unit = 1000 * x
    result = fit(far_unit, 3, network=network, **SETTINGS)
    np.testing.assert_array_equal(result.predict(far_unit), result.labels)
    np.testing.assert_array_equal(result.predict(far_unit[:7]), result.labels[:7])


def test_clusters_are_numbered_by_size_and_the_model_agrees(fitted, dataset):
    result = fitted[0]
    sizes = np.bincount(result.labels, minlength=3)
    assert sizes.tolist() == sorted(sizes.tolist(), reverse=True)
    np.testing.assert_array_equal(result.q.argmax(axis=1), result.labels)
    np.testing.assert_array_equal(result.predict(dataset), result.labels)
    np.testing.assert_array_equal(
        result.model.params["centroids"], np.asarray(result.centroids)
    )


def test_another_seed_gives_another_result(fitted, dataset, network):
    other = fit(dataset, network=network, seed=1, baseline=False, **SETTINGS)
    assert not np.array_equal(other.q, fitted[0].q)


def test_the_baseline_changes_nothing_else(fitted, dataset, network):
    without = fit(dataset, network=network, baseline=False, **SETTINGS)
    np.testing.assert_array_equal(without.q, fitted[0].q)
    names = [stage["name"] for stage in without.stages]
    assert names == ["k-means on z", "dec"]


# Data.


def test_fit_takes_the_name_of_a_data_set(small_digits):
    network = load_architecture(str(small_digits))
    settings = {**SETTINGS, "recipe": "dec", "network": network, "baseline": False}
    result = fit("digits", **settings)
    assert result.labels.shape == (1797,)
    assert {"acc", "nmi", "ari"} <= set(result.stages[-1])


def test_fit_takes_gray_images_with_and_without_channels():
    x, y = blob_table()
    images = (255 * x.clip(0, 1)).astype(np.uint8).reshape(90, 6, 6)
    network = dense_architecture(36, hidden=(16,), embedding_dim=3)
    settings = {**SETTINGS, "recipe": "dec", "network": network, "baseline": False}
    plain, channels = (fit(a, 3, **settings) for a in (images, images[..., None]))
    np.testing.assert_array_equal(plain.q, channels.q)
    assert plain.recipe.architecture.input_scale == 1 / 255
    np.testing.assert_array_equal(plain.predict(images[:5]), plain.labels[:5])


def test_default_recipe_is_best_for_images_and_auto_for_tables(dataset):
    images = take(load_dataset("digits"), range(90))
    of_images, of_table = (choose_recipe(None, data, 3) for data in (images, dataset))
    assert (of_images.start, type(of_images.objective)) == ("spectral", IDEC)
    assert (of_table.start, of_table.pretrain) == ("judge", None)


# Events.


def test_events_come_in_the_order_of_the_phases(fitted):
    seen = fitted[1].seen
    restarts = ["step"] * 4
    intervals = ["step train"] * len(fitted[0].history.loss)
    assert seen == [
        *("k-means on the data", "step", "end", "stage k-means on the data"),
        *("pretraining", "step pretrain0", "step pretrain0", "end", "pretrained"),
        *("k-means on z", *restarts, "end", "stage k-means on z"),
        *("clustering", *intervals, "end", "stage dec"),
    ]


def test_stages_tell_labels_and_centroids(fitted, dataset):
    stages, result = fitted[1].stages, fitted[0]
    np.testing.assert_array_equal(stages["dec"].labels, result.labels)
    np.testing.assert_array_equal(stages["dec"].centroids, result.centroids)
    first = stages["k-means on the data"]
    nearest = ((dataset.x[:, None] - first.centroids) ** 2).sum(-1).argmin(1)
    np.testing.assert_array_equal(first.labels, nearest)
    # Numbered anew, by the sizes at the end.
    numbers = zip(
        stages["k-means on z"].labels, np.asarray(result.start.labels), strict=True
    )
    assert len(set(numbers)) == 3


@pytest.mark.parametrize(
    "stop_at, phase",
    [
        ("step", "k-means on the data"),
        ("step pretrain0", "pretraining"),
        ("step train", "clustering"),
    ],
)
def test_a_callback_that_returns_true_stops_the_run(dataset, network, stop_at, phase):
    events = Events(stop_at)
    with pytest.raises(Stopped):
        fit(dataset, network=network, callbacks=events, **SETTINGS)
    assert events.seen[-3:] == [phase, stop_at, "end"]


def test_an_error_of_a_callback_ends_the_phase(dataset, network):
    class Broken(Events):
        def on_step(self, step):
            raise KeyError("lost")

    events = Broken()
    with pytest.raises(KeyError, match="lost"):
        fit(dataset, network=network, callbacks=events, **SETTINGS)
    assert events.seen == ["k-means on the data", "end"]


# Nothing else.


def test_fit_writes_and_prints_nothing(dataset, network, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    fit(dataset, network=network, **SETTINGS)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


TABLE = blob_table()[0]
MISTAKES = {
    "clusters": ({}, "n_clusters must be given for array, which has no labels"),
    "none": ({"n_clusters": 0}, "n_clusters"),
    "many": (
        {"n_clusters": 91},
        "n_clusters must be at most 90, the number of samples",
    ),
    "recipe": ({"recipe": "dec-kera"}, "did you mean 'dec-keras'"),
    "epochs": ({"recipe": "dec", "epochs": 0}, "epochs must be at least 1, got 0"),
    "intervals": ({"max_intervals": 0}, "max_intervals must be at least 1, got 0"),
    "frozen": (
        {"recipe": "best", "max_intervals": 3},
        "max_intervals must be at least 5 here, got 3: the recipe spends the first 4 ",
    ),
    "batch": ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
    "precision": ({"precision": "float16"}, "precision must be one of|'float16'"),
    "network": (
        {"network": dense_architecture(8)},
        "architecture must take 36 values|network must take 36 values",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_fit_rejects_a_wrong_argument_before_it_computes(mistake, monkeypatch):
    changes, message = MISTAKES[mistake]
    arguments = {} if mistake == "clusters" else {"n_clusters": 3, **changes}
    monkeypatch.setattr(Phases, "baseline", lambda _: pytest.fail("computes"))
    with pytest.raises(ValueError, match=message) as caught:
        fit(TABLE, **arguments)
    assert "\n" not in str(caught.value)


def test_fit_rejects_samples_that_are_not_finite():
    x = TABLE.copy()
    x[5, 7] = np.nan
    with pytest.raises(ValueError, match="x must be finite: column 7 holds NaN"):
        fit(x, 3)


def test_fit_rejects_a_network_next_to_settings(dataset, network):
    shape = DataShape(90, 36, input_scale=dataset.input_scale)
    with pytest.raises(ValueError, match="network cannot be given together with"):
        fit(dataset, recipe=make_recipe("dec", shape), network=network)


def test_settings_of_ones_own_are_taken(dataset, network):
    shape = DataShape(90, 36, input_scale=dataset.input_scale, n_clusters=3)
    recipe = make_recipe("dec", shape, network)
    recipe = replace(recipe, objective=IDEC(), n_init=5)
    events = Events()
    result = fit(dataset, callbacks=events, **{**SETTINGS, "recipe": recipe})
    assert result.stages[-1]["name"] == "dec"
    start = events.seen.index("k-means on z")
    assert events.seen[start : start + 3] == ["k-means on z", "step", "end"]
    assert "decoder" in result.model.params


def test_unlabeled_samples_are_scored_without_classes(dataset, network):
    bare = replace(dataset, labels=None)
    result = fit(bare, 3, network=network, baseline=False, **SETTINGS)
    names = {"name", "seconds", "smallest", "largest", "evenness", "silhouette"}
    assert set(result.stages[-1]) == names
    sizes = np.bincount(result.labels, minlength=3)
    assert result.stages[-1]["largest"] == sizes.max()
    assert (result.health.smallest, result.health.largest) == (sizes.min(), sizes.max())
    assert isinstance(bare, Dataset)


def test_one_cluster_is_warned_of(dataset, network):
    options = {"recipe": "dec", "network": network, "epochs": 1, "max_intervals": 1}
    with pytest.warns(UserWarning, match="n_clusters=1 puts all samples into one"):
        result = fit(dataset, 1, **options, baseline=False)
    assert not result.labels.any()


def test_the_start_is_k_means_on_z(fitted, dataset):
    start, phases = (
        fitted[0].start,
        Phases(dataset, place(dataset.x, None), fitted[0].recipe, 3),
    )
    # All restarts of the recipe, by hand: five at a time, each part with its own key.
    parts = [
        k_means(jax.random.fold_in(phases.z_key, first), start.z, 3, n_init=5)
        for first in (0, 5, 10, 15)
    ]
    best = min(parts, key=lambda part: float(part.inertia))
    # The numbers are those of the end.
    assert adjusted_rand_index(np.asarray(start.labels), np.asarray(best.labels)) == 1


def test_a_result_is_shown_in_one_line(fitted):
    result = fitted[0] if isinstance(fitted, tuple) else fitted.result
    sizes = np.bincount(result.labels)
    assert repr(result).startswith(
        f"FitResult of recipe dec: 90 samples in {len(sizes)} clusters of {sizes.min()} to "
        f"{sizes.max()}; training "
    )
    assert "\n" not in repr(result)
