from types import SimpleNamespace

import jaxtyping
import numpy as np
import pytest

from dec_jax.evaluation.label_free import silhouette
from dec_jax.objectives import DEC, IDEC
from dec_jax.runs import folder as run_folder
from dec_jax.runs import seed_choice
from dec_jax.runs.errors import UsageError

LABELS = np.arange(60) % 3


@pytest.fixture
def any_type(monkeypatch):
    """Stand-ins for results are allowed: they have the fields that count."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture
def folder(tmp_path):
    """Seeds 4 to 6, of which 5 alone agrees in part with both others."""
    runs = [np.where(np.arange(60) < 20, 0, LABELS), LABELS, LABELS.copy()]
    runs[2][40:] = 0
    for seed, labels in zip((4, 5, 6), runs, strict=True):
        (tmp_path / f"seed-{seed}").mkdir()
        path = tmp_path / f"seed-{seed}/labels.csv"
        run_folder.write_labels(path, labels, np.eye(3)[labels], None)
    return tmp_path


def results_of(seeds):
    scores = dict.fromkeys(seed_choice.SCORES, 0.5)
    return [
        {"seed": seed, "label_free": {**scores, "silhouette": None}} for seed in seeds
    ]


@pytest.mark.parametrize("content", [None, "", "index\n0\n", "cluster\nx\n"])
def test_choose_seed_rejects_labels_that_are_damaged(folder, content):
    path = folder / "seed-5/labels.csv"
    path.unlink() if content is None else path.write_text(content)
    results = [{**one, "n_samples": 60} for one in results_of((4, 5, 6))]
    with pytest.raises(
        UsageError, match="seed-5/labels.csv is missing or damaged; rem"
    ):
        seed_choice.choose_seed(folder, results)


def test_seed_that_agrees_most_is_chosen(folder):
    found = seed_choice.choose_seed(folder, results_of((4, 5, 6)))
    assert found["chosen_seed"] == 5
    names = {*seed_choice.SCORES, "stability", "stability_nmi"}
    assert set(found["label_free"]) == names
    assert found["label_free"]["max_q"] == [0.5, 0.5, 0.5]
    # JSON has no NaN.
    assert found["label_free"]["silhouette"] == [None, None, None]


def test_seeds_finished_without_scores_are_chosen_among(folder):
    found = seed_choice.choose_seed(folder, [{"seed": seed} for seed in (4, 5, 6)])
    assert found["chosen_seed"] == 5
    assert found["label_free"]["max_q"] == [None, None, None]


def test_choice_line_says_how_the_chosen_seed_did():
    summary = {
        "seeds": [4, 5, 6],
        "chosen_seed": 5,
        "label_free": {"stability": [0.5, 0.75, 0.6]},
        "acc": [0.7, 0.95, 0.9],
    }
    line = "chosen without labels: seed 5, which agrees most with the others (mean ARI 0.750)"
    assert seed_choice.choice_line(summary) == f"{line}; its ACC 0.950, mean 0.850"
    unlabeled = {**summary, "acc": [None] * 3}
    assert seed_choice.choice_line(unlabeled) == line


@pytest.mark.parametrize(
    "objective, reconstruction", [(DEC(), 0.04), (IDEC(), 0.02)], ids=["dec", "idec"]
)
def test_seed_scores_take_the_last_numbers(any_type, objective, reconstruction):
    q = np.full((60, 3), 0.1)
    q[np.arange(60), LABELS] = 0.8
    z = np.eye(3)[LABELS] + np.random.default_rng(0).normal(scale=0.1, size=(60, 3))
    # The last interval only found that labels had stopped changing.
    history = SimpleNamespace(
        clustering=[0.3, 0.2, float("nan")],
        reconstruction=[0.03, 0.02, float("nan")],
    )
    result = SimpleNamespace(labels=LABELS, q=q, z=z, history=history)
    scores = seed_choice.seed_scores(result, objective, 0.04)
    expected = {
        "reconstruction": reconstruction,
        "clustering": 0.2,
        "silhouette": silhouette(z, LABELS),
        "max_q": 0.8,
        "evenness": 1.0,
    }
    assert scores == pytest.approx(expected)


def test_seed_scores_of_one_cluster_have_no_silhouette(any_type):
    history = SimpleNamespace(clustering=[float("nan")], reconstruction=[0.0])
    one = {"labels": np.zeros(60, int), "q": np.full((60, 1), 1.0)}
    result = SimpleNamespace(**one, z=np.zeros((60, 2)), history=history)
    scores = seed_choice.seed_scores(result, DEC(), None)
    assert (
        scores["silhouette"] is scores["clustering"] is scores["reconstruction"] is None
    )
