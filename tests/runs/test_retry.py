"""Phases that diverge: what a run tells, and `--retry`, which starts them again slower."""

from dataclasses import replace

import numpy as np
import pytest
from programs import (
    SHORT,
    assert_refused,
    blob_table,
    cluster,
    interrupt_at,
    read_csv,
    read_json,
)

from dec_jax.data.arrays import dataset_from_array
from dec_jax.networks.architecture import dense_architecture
from dec_jax.recipes.adjust import adjust_recipe, slowed
from dec_jax.runs import folder as run_folder
from dec_jax.runs.callbacks import Callbacks
from dec_jax.runs.choices import choose_recipe
from dec_jax.runs.fit import fit
from dec_jax.training.optimizer import Optimizer

# Too high for pretraining, whose rate is 20 times that of clustering, but not a tenth of it.
HIGH = 1000.0
# Too high for clustering from a network that was pretrained as it should, as above.
CLUSTERING_HIGH = 1e10
INF = "The pretraining loss is inf after epoch 2; lower the learning rate, now 20000."
NAN = (
    "Clustering diverged: q is no longer finite after interval 2; lower the learning "
    "rate, now 1e+10."
)


class Lines(Callbacks):
    """Keeps the lines on retries."""

    def __init__(self):
        self.lines = []

    def on_retry(self, line):
        self.lines.append(line)


@pytest.fixture(scope="module", autouse=True)
def no_pictures():
    """No run of this file draws."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(run_folder, "figures_of", lambda *_: {})
        yield


@pytest.fixture(scope="module")
def options(labeled, small):
    """Of a run whose pretraining diverges."""
    return (
        *(labeled, "--recipe", "dcn", "--architecture", small, *SHORT),
        # The epoch at which a loss overflows depends on the precision.
        *("--learning-rate", HIGH, "--precision", "float32"),
    )


@pytest.fixture(scope="module")
def pretraining(options, tmp_path_factory):
    """A run that pretrains twice."""
    out = tmp_path_factory.mktemp("pretraining") / "out"
    return out, cluster(*options, "--retry", "--out", out)


@pytest.fixture(scope="module")
def clustering_options(on_blobs, tmp_path_factory):
    """Of a run whose clustering diverges."""
    out = tmp_path_factory.mktemp("autoencoder") / "out"
    exact = (*on_blobs, "--precision", "float32")
    assert cluster(*exact, "--out", out).status == 0
    return (*exact, "--pretrained", out, "--learning-rate", CLUSTERING_HIGH)


@pytest.fixture(scope="module")
def clustering(clustering_options, tmp_path_factory):
    """A run that clusters twice."""
    out = tmp_path_factory.mktemp("clustering") / "out"
    return out, cluster(*clustering_options, "--retry", "--out", out)


def test_pretraining_that_diverges_starts_again_at_a_tenth_of_its_rate(pretraining):
    out, run = pretraining
    assert run.status == 0, run.err
    line = f"retry 1 of 2: pretraining starts again with a learning rate of 2000: {INF}"
    assert [text for text in run.out.splitlines() if "retry" in text] == [line]
    assert read_json(out / "results.json")["retries"] == [
        {"phase": "pretraining", "reason": INF, "learning_rate": 2000.0}
    ]


def test_clustering_that_diverges_starts_again_at_a_tenth_of_its_rate(clustering):
    out, run = clustering
    assert run.status == 0, run.err
    assert (
        run.out.count("retry 1 of 2: clustering starts again with a learning rate ")
        == 1
    )
    assert read_json(out / "results.json")["retries"] == [
        {"phase": "clustering", "reason": NAN, "learning_rate": 1e9}
    ]
    # The intervals of the attempt that failed do not count.
    rows = read_csv(out / "history.csv")
    assert [row["phase"] for row in rows].count("clustering") == 3


def assert_same(out, whole):
    """The files of a resumed run are those of the unbroken one."""
    for name in ("labels.csv", "history.csv", "model.safetensors"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()
    retries, expected = (
        read_json(folder / "results.json")["retries"] for folder in (out, whole)
    )
    assert retries == expected


# Before the divergence, and within the second attempt.
@pytest.mark.slow
@pytest.mark.parametrize("attempt", [1, 2])
@pytest.mark.parametrize(
    ("phase", "given"),
    [("pretraining", "options"), ("clustering", "clustering_options")],
    ids=["pretraining", "clustering"],
)
def test_run_with_a_retry_resumes_exactly(
    phase, given, attempt, request, tmp_path, monkeypatch
):
    whole, _ = request.getfixturevalue(phase)
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        interrupt_at(patched, phase, 1, nth=attempt)
        options = request.getfixturevalue(given)
        assert cluster(*options, "--retry", "--out", out).status == 130
    resumed = cluster("--resume", out)
    assert resumed.status == 0, resumed.err
    assert resumed.out.count("retry 1 of 2") == (attempt == 1)
    assert_same(out, whole)


def test_a_run_that_diverges_names_the_options_that_help(
    options, clustering_options, tmp_path
):
    run = cluster(*options, "--out", tmp_path / "first")
    assert (run.status, run.err.splitlines()[-1]) == (
        1,
        f"error: {INF} --learning-rate is that of clustering, 1000 here, and pretraining "
        "changes by the same factor; try 100, or give --retry, which tries lower rates by "
        "itself.",
    )
    run = cluster(*clustering_options, "--out", tmp_path / "second")
    assert run.status == 1
    assert run.err.splitlines()[-1].startswith(f"error: {NAN} --learning-rate is that")
    assert not (tmp_path / "second" / "results.json").exists()


def test_retries_rejects_seeds_that_train_at_once(labeled, tmp_path):
    run = cluster(
        *(labeled, "--retry", "--vectorized", "--seeds", 2, "--out", tmp_path / "out")
    )
    message = (
        "--retry needs seeds that run one after the other; leave --vectorized out."
    )
    assert_refused(run, message, tmp_path / "out")


# In Python.


@pytest.fixture(scope="module")
def recipe():
    """That of the runs above."""
    network = dense_architecture(36, hidden=(16,), embedding_dim=3)
    changes = {"epochs": SHORT[1], "max_intervals": SHORT[3], "precision": "float32"}
    dataset = dataset_from_array(blob_table()[0])
    return choose_recipe("dcn", dataset, 3, network=network, **changes)


def test_a_retry_of_fit_is_a_run_at_the_lower_rate(recipe):
    x, _ = blob_table()
    high, told = adjust_recipe(recipe, learning_rate=HIGH), Lines()
    found = fit(x, 3, recipe=high, retry=True, baseline=False, callbacks=told)
    expected = fit(x, 3, recipe=slowed(high, pretraining=0.1), baseline=False)
    np.testing.assert_array_equal(found.q, expected.q)
    assert found.pretraining_loss == expected.pretraining_loss
    assert [entry["learning_rate"] for entry in found.retries] == [2000.0]
    assert len(told.lines) == 1 and expected.retries == []


def test_fit_rejects_a_rate_that_two_retries_do_not_mend(recipe):
    message = (
        r"now 200000\. learning_rate is that of clustering, 1e\+06 here, and pretraining "
        r"changes by the same factor; retries were in vain: try 1000\."
    )
    high, told = adjust_recipe(recipe, learning_rate=1e6), Lines()
    with pytest.raises(FloatingPointError, match=message):
        fit(
            *(blob_table()[0], 3),
            recipe=high,
            retry=True,
            baseline=False,
            callbacks=told,
        )
    assert [line[:12] for line in told.lines] == ["retry 1 of 2", "retry 2 of 2"]


def one_step_at(recipe, rate):
    """The recipe with a pretraining of one step of gradient descent."""
    pretrain = replace(recipe.pretrain, epochs=1, optimizer=Optimizer("sgd", rate))
    return replace(recipe, pretrain=pretrain)


def test_fit_rejects_parameters_of_the_last_step_that_are_not_finite(recipe):
    # Its loss is that of the parameters before it.
    x, _ = blob_table()
    with pytest.raises(
        FloatingPointError, match="after the last epoch of pretraining;"
    ):
        fit(100 * x, 3, recipe=one_step_at(recipe, 3e38), standardize=False)


def test_fit_rejects_an_embedding_that_is_too_large(recipe):
    message = "embedding of the pretrained network is too large for float32; lower the"
    with pytest.raises(FloatingPointError, match=message):
        fit(blob_table()[0], 3, recipe=one_step_at(recipe, 1e25))
