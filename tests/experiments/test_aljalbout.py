"""Stages of the program of Aljalbout et al.: training, metrics, figures."""

import shlex
from dataclasses import replace
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import sklearn.manifold
from aljalbout_runs import BATCH_SIZE, N_SAMPLES, opened, program
from programs import interrupt_at, read_json

from dec_jax import model
from dec_jax.data import load as data
from dec_jax.evaluation import metrics
from dec_jax.plots import embedding as plots
from dec_jax.runs import phase_start
from dec_jax.runs.choices import choose_recipe
from dec_jax.runs.errors import UsageError
from experiments import aljalbout
from experiments import aljalbout_stages as stages


@pytest.fixture(scope="module")
def pretrained(few_digits, tmp_path_factory):
    """A run after --pretrain 3, in a folder that no test may change."""
    out = tmp_path_factory.mktemp("pretrained")
    run = opened(*few_digits, "--out", out, "--pretrain", 3)
    stages.pretrain(run, 3)
    return run


def copied(run, folder):
    """The run of a folder of its own, with all files there are."""
    folder.mkdir(exist_ok=True)
    for path in run.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    words = [str(folder) if word == str(run.folder) else word for word in run.command]
    return replace(run, folder=folder, command=tuple(words))


@pytest.fixture(scope="module")
def kld(pretrained, tmp_path_factory):
    """The run after --cluster 2 alone, whose loss is the published one."""
    run = copied(pretrained, tmp_path_factory.mktemp("kld"))
    answer = program(*run.command[3:], "--cluster", 2)
    return SimpleNamespace(run=run, **vars(answer))


@pytest.fixture(scope="module")
def both(kld, tmp_path_factory):
    """The run after the other loss as well."""
    run = copied(kld.run, tmp_path_factory.mktemp("both"))
    stages.cluster(run, 2, "kmeans")
    return run


def test_settings_are_those_of_the_recipe(pretrained):
    network, dataset = pretrained.architecture, pretrained.dataset
    recipe = choose_recipe("kmeans-conv", dataset, 10, network=network)
    own = pretrained.recipe("kmeans", 7)
    # p is refreshed once an epoch, and no label ends training.
    changed = {"update_interval": 3, "max_intervals": 7, "tolerance": 0}
    assert own.train == replace(recipe.train, batch_size=BATCH_SIZE, **changed)
    assert own.pretrain == replace(recipe.pretrain, batch_size=BATCH_SIZE, epochs=7)
    assert (own.architecture, own.objective) == (network, recipe.objective)


def test_pretrain_leaves_a_model_and_z_of_every_sample(pretrained):
    saved = model.load(pretrained.file("autoencoder"))
    z = np.load(pretrained.folder / "z-autoencoder.npy")
    assert z.shape == (N_SAMPLES, 5)
    assert (np.abs(z).max(axis=1) > 0).all()
    losses = saved.metadata["loss"]
    assert len(losses) == 3 and losses[-1] < losses[0]


def test_a_saved_network_keeps_its_batch_normalization(pretrained):
    saved = model.load(pretrained.file("autoencoder"))
    z = np.load(pretrained.folder / "z-autoencoder.npy")
    np.testing.assert_array_equal(model.transform(saved, pretrained.dataset), z)
    means = saved.params["batch_stats"]["encoder"]["batch_norm_0"]["mean"]
    assert (np.asarray(means) != 0).all()


def test_cluster_takes_the_kl_divergence_unless_told_otherwise(kld):
    assert kld.status == 0, kld.err
    names = {path.name for path in kld.run.folder.glob("*clustered*")}
    assert names == {"clustered-kld.safetensors", "z-clustered-kld.npy"}


@pytest.mark.parametrize("loss", ["kld", "kmeans"])
def test_each_loss_moves_network_and_centroids(both, loss):
    before = model.load(both.file("autoencoder"))
    after = model.load(both.file(f"clustered-{loss}"))
    z = model.transform(before, both.dataset)
    labels = stages.k_means_labels(both, "autoencoder", z)
    start = np.stack([z[labels == cluster].mean(axis=0) for cluster in range(10)])
    assert not np.allclose(after.params["centroids"], start, atol=1e-4)
    assert not np.array_equal(model.transform(after, both.dataset), z)
    assert after.n_clusters == 10


def test_the_two_losses_give_two_networks(both):
    kld, kmeans = (
        np.load(both.folder / f"z-clustered-{name}.npy") for name in ("kld", "kmeans")
    )
    assert kld.shape == kmeans.shape and not np.array_equal(kld, kmeans)


def test_every_sample_of_every_epoch_counts(both):
    params = model.load(both.file("clustered-kmeans")).params
    start = both.recipe("kmeans", 2).objective.initial_count
    given = np.asarray(params["counts"] - start).sum()
    assert given == 2 * N_SAMPLES


def test_ctrl_c_ends_after_the_epoch_and_keeps_it(few_digits, tmp_path, monkeypatch):
    interrupt_at(monkeypatch, "pretraining", 2)
    # The same number of epochs as elsewhere, whose program is compiled already.
    answer = program(*few_digits, "--out", tmp_path, "--pretrain", 3, "--cluster", 1)
    path = tmp_path / "autoencoder.safetensors"
    assert answer.status == 130
    assert f"Stopped; {path} holds epoch 2 of 3." in answer.err
    saved = model.load(path)
    assert len(saved.metadata["loss"]) == 2
    z = np.load(tmp_path / "z-autoencoder.npy")
    np.testing.assert_array_equal(
        model.transform(saved, data.load_dataset(few_digits[1])), z
    )
    assert not (tmp_path / "clustered-kld.safetensors").exists()


def test_ctrl_c_during_clustering_keeps_the_epoch(pretrained, tmp_path, monkeypatch):
    run = copied(pretrained, tmp_path / "run")
    interrupt_at(monkeypatch, "clustering", 1)
    answer = program(*run.command[3:], "--cluster", 2, "--metrics")
    assert answer.status == 130
    assert "clustered-kld.safetensors holds epoch 1 of 2." in answer.err
    assert len(model.load(run.file("clustered-kld")).metadata["loss"]) == 1
    assert not (run.folder / "metrics.json").exists()


def test_ctrl_c_during_k_means_changes_no_file(kld, tmp_path, monkeypatch):
    run = copied(kld.run, tmp_path / "run")
    before = {path: path.read_bytes() for path in run.folder.iterdir()}
    interrupt_at(monkeypatch, "k-means on z", 5)
    answer = program(*run.command[3:], "--cluster", 2)
    assert answer.status == 130
    assert answer.err.endswith("\nStopped; each file is of its last epoch.\n")
    assert {path: path.read_bytes() for path in run.folder.iterdir()} == before


def test_a_loss_that_is_no_number_leaves_the_last_epoch(pretrained, tmp_path):
    run = copied(pretrained, tmp_path / "run")
    before = run.file("autoencoder").read_bytes()
    training = stages.Epochs(run, "autoencoder", "kld", 1)
    message = "loss is nan after epoch 1 .*--learning-rate"
    with pytest.raises(FloatingPointError, match=message):
        training.save(model.load(run.file("autoencoder")).params, float("nan"))
    assert run.file("autoencoder").read_bytes() == before


def test_load_rejects_another_network_and_other_data(pretrained):
    other = replace(
        pretrained, architecture=aljalbout.find_network("mnist", "1").architecture
    )
    with pytest.raises(
        UsageError, match="holds another network than .*change -a, -d or"
    ):
        other.load("autoencoder")
    changed = replace(pretrained.dataset, x=pretrained.dataset.x + 1)
    with pytest.raises(UsageError, match="or is of other data than few"):
        replace(pretrained, dataset=changed).load("autoencoder")


# Metrics.


def test_metrics_needs_one_loss_and_not_both(kld):
    answer = program(*kld.run.command[3:], "--metrics")
    assert answer.status == 0, answer.err
    command = shlex.join([*kld.run.command, "--cluster", "N", "--loss", "kmeans"])
    path = kld.run.file("clustered-kmeans")
    assert f"{path} is missing; make it by: {command}\n" in answer.out
    content = read_json(kld.run.folder / "metrics.json")
    assert content["epochs"] == {"autoencoder": 3, "clustered-kld": 2}
    assert (content["dataset"], content["n_samples"]) == ("few", N_SAMPLES)
    assert {"device", "versions", "commit"} <= set(content)
    for row in content["rows"]:
        cells = f"{row['acc']:7.3f}{row['nmi']:7.3f}{row['ari']:7.3f}"
        assert f"{row['space']:<18}{row['labels']:<10}{cells}\n" in answer.out


def test_metrics_score_k_means_and_q_of_every_space(both):
    rows = stages.metrics(both)
    assert [(row["space"], row["labels"]) for row in rows] == [
        ("pixels", "k-means"),
        ("autoencoder", "k-means"),
        ("clustered-kld", "k-means"),
        ("clustered-kld", "argmax q"),
        ("clustered-kmeans", "k-means"),
        ("clustered-kmeans", "argmax q"),
    ]
    classes = both.dataset.labels
    saved = model.load(both.file("clustered-kmeans"))
    labels = model.predict(saved, both.dataset)
    assert rows[-1]["acc"] == metrics.clustering_accuracy(classes, labels)
    assert rows[-1]["nmi"] == metrics.normalized_mutual_info(classes, labels)
    assert rows[-1]["ari"] == metrics.adjusted_rand_index(classes, labels)
    z = np.load(both.folder / "z-clustered-kmeans.npy")
    found = stages.k_means_labels(both, "clustered-kmeans", z)
    assert rows[-2]["acc"] == metrics.clustering_accuracy(classes, found)


def test_k_means_has_20_restarts_and_keeps_the_best(pretrained, monkeypatch):
    results, k_means = [], phase_start.k_means

    def watched(key, x, n_clusters, *, n_init):
        results.append((n_init, k_means(key, x, n_clusters, n_init=n_init)))
        return results[-1][1]

    monkeypatch.setattr(phase_start, "k_means", watched)
    labels = stages.k_means_labels(pretrained, "pixels", pretrained.dataset.x)
    assert sum(n_init for n_init, _ in results) == 20
    best = min((found for _, found in results), key=lambda found: found.inertia)
    np.testing.assert_array_equal(labels, best.labels)


@pytest.mark.parametrize(
    ("name", "line", "note"),
    [
        ("mnist", "  0.860  0.820  0.800             0.859  0.825", "60,000 samples"),
        ("coil20", "  0.860  0.820  0.800             0.762  0.848", "network 0"),
    ],
)
def test_published_numbers_stand_beside_ours(pretrained, monkeypatch, name, line, note):
    monkeypatch.setattr(stages, "saved_models", lambda run: {})
    run = replace(pretrained, dataset=replace(pretrained.dataset, name=name))
    (pixels,) = stages.metrics(run)
    assert pixels["published"] == stages.PUBLISHED[name][0]
    ours = {"acc": 0.86, "nmi": 0.82, "ari": 0.8, "labels": "k-means"}
    row = {**ours, "space": "clustered-kld", "published": stages.PUBLISHED[name][2]}
    lines = stages.table(run, [row]).splitlines()
    assert lines[0].endswith("ARI   published: ACC    NMI")
    assert lines[1].endswith(line)
    assert note in lines[2] and "geometric" in lines[2]


def test_a_network_of_an_earlier_autoencoder_is_noted(kld, tmp_path, capsys):
    run = copied(kld.run, tmp_path / "run")
    stages.saved_models(run)
    assert "started from" not in capsys.readouterr().out
    saved = model.load(run.file("autoencoder"))
    model.save(
        run.file("autoencoder"),
        jax.tree.map(lambda leaf: 2 * leaf, saved.params),
        architecture=saved.architecture,
        metadata=saved.metadata,
    )
    stages.saved_models(run)
    note = f"note: {run.file('clustered-kld')} started from an earlier autoencoder."
    assert note in capsys.readouterr().out


# Figures.


def test_visualize_draws_what_there_is(both, kld, pretrained):
    for run, names in (
        (pretrained, ["pixels", "autoencoder"]),
        (kld.run, ["pixels", "autoencoder", "clustered-kld"]),
        (both, list(stages.SPACES)),
    ):
        paths = stages.visualize(run)
        assert [path.name for path in paths] == [f"{name}.png" for name in names]
        assert all(path.read_bytes()[:4] == b"\x89PNG" for path in paths)


def test_tsne_sees_a_limited_number_of_samples(pretrained, tmp_path, monkeypatch):
    run = copied(pretrained, tmp_path / "run")
    shapes = []

    class FirstTwoColumns:
        def __init__(self, n_components, *, perplexity, **others):
            assert n_components == 2 and perplexity < 80

        def fit_transform(self, x):
            shapes.append(x.shape)
            return x[:, :2]

    monkeypatch.setattr(sklearn.manifold, "TSNE", FirstTwoColumns)
    monkeypatch.setattr(stages, "MOST_DRAWN", 80)
    paths = stages.visualize(run, tsne=True)
    assert [path.name for path in paths] == ["pixels-tsne.png", "autoencoder-tsne.png"]
    assert shapes == [(80, 64), (80, 5)]


def test_wide_axes_are_the_principal_axes():
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(30, 12)) @ rng.normal(size=(12, 12)) * 20).astype(np.int16)
    wide, known = stages.wide_axes(x), plots.principal_axes(x)
    for ours, theirs in zip(wide, known, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-9)
