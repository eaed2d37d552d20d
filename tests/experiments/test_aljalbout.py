import builtins
import gzip
import json
import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import sklearn.manifold
from programs import interrupt_at, read_json
from programs import program as run_program

from dec_jax import model
from dec_jax.data import load as data
from dec_jax.evaluation import metrics
from dec_jax.networks.architecture import Conv2D
from dec_jax.plots import embedding as plots
from dec_jax.runs import phases
from dec_jax.runs.errors import UsageError
from dec_jax.runs.fit import choose_recipe
from dec_jax.runs.signals import Stop
from experiments import aljalbout
from experiments import aljalbout_stages as stages

# 210 samples in batches of 100: the last batch of an epoch is a partial one.
N_SAMPLES, BATCH_SIZE = 210, 100
CONVOLUTIONS = [
    {"type": "Input", "output_shape": [1, 8, 8]},
    {
        "type": "Conv2D",
        "num_filters": 4,
        "filter_size": [3, 3],
        "non_linearity": "rectify",
    },
    {"type": "MaxPool2D*", "filter_size": [2, 2]},
    {
        "type": "Conv2D",
        "num_filters": 5,
        "filter_size": [3, 3],
        "non_linearity": "linear",
    },
]
DENSE = [
    {"type": "Input", "output_shape": [1, 8, 8]},
    {"type": "Dense", "num_units": 3, "non_linearity": "linear"},
]


def network_file(folder):
    """Three networks; a name that starts with "fc" has meant a fully connected one."""
    networks = [
        {"name": "dense", "layers": DENSE},
        {"name": "fc-not", "batch_size": BATCH_SIZE, "layers": CONVOLUTIONS},
        {"use_batch_norm": 1, "batch_size": BATCH_SIZE, "layers": CONVOLUTIONS},
    ]
    for network in networks:
        network["output_non_linearity"] = "linear"
    path = folder / "tiny.json"
    path.write_text(json.dumps(networks))
    return path


def program(*arguments):
    """Runs the program in this process."""
    return run_program(aljalbout.main, *arguments)


def opened(*arguments):
    options = aljalbout.parser().parse_args([str(argument) for argument in arguments])
    return aljalbout.open_run(options, Stop())


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    """-d and -a of some digits and the network with batch normalization."""
    folder = tmp_path_factory.mktemp("data")
    digits = data.load_dataset("digits")
    images = digits.x[:N_SAMPLES].reshape(-1, 8, 8)
    np.savez(folder / "few.npz", x=images, y=digits.labels[:N_SAMPLES])
    return ("-d", folder / "few.npz", "-a", f"{network_file(folder)}:2")


@pytest.fixture(scope="module")
def pretrained(arguments, tmp_path_factory):
    """A run after --pretrain 3, in a folder that no test may change."""
    out = tmp_path_factory.mktemp("pretrained")
    run = opened(*arguments, "--out", out, "--pretrain", 3)
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


@pytest.fixture(autouse=True)
def nobody_answers(monkeypatch):
    """A program that asks a question would wait for ever."""
    monkeypatch.setattr(builtins, "input", lambda *_: pytest.fail("asks for a command"))


# Data and network.


@pytest.mark.parametrize(
    ("dataset", "index", "name", "width"),
    [
        ("mnist", "0", "mnist-conv-dense", 32),
        ("mnist", "1", "mnist-conv", 120),
        ("coil20", "0", "coil20-conv", 320),
        ("digits", "mnist-conv", "mnist-conv", 120),
    ],
)
def test_an_index_is_the_published_one(dataset, index, name, width):
    network = aljalbout.find_network(dataset, index)
    assert (network.name, network.architecture.embedding_dim) == (name, width)


def test_a_file_may_hold_a_list(tmp_path):
    path = network_file(tmp_path)
    found = [
        aljalbout.find_network("digits", f"{path}{index}") for index in ("", ":1", ":2")
    ]
    assert [network.name for network in found] == ["dense", "fc-not", "tiny"]
    assert [network.batch_size for network in found] == [None, 100, 100]


def test_layers_and_not_a_name_say_what_a_network_is(tmp_path):
    network = aljalbout.find_network("digits", f"{network_file(tmp_path)}:1")
    assert isinstance(network.architecture.layers[0], Conv2D)
    assert network.architecture.input_shape == (8, 8, 1)


@pytest.mark.parametrize(
    ("dataset", "wanted", "message"),
    [
        (
            "mnist",
            "2",
            r"-a 2 is no shipped network for mnist \(known: 0 is mnist-conv-",
        ),
        ("digits", "0", r"-a 0 is no shipped network for digits \(known: none\)"),
        ("digits", "mnist-cnv", "did you mean 'mnist-conv'"),
        ("digits", "none.json", "none.json cannot be read"),
    ],
)
def test_find_network_rejects_what_there_is_not(dataset, wanted, message):
    with pytest.raises((UsageError, ValueError), match=message):
        aljalbout.find_network(dataset, wanted)


def test_find_network_rejects_an_index_beyond_the_list(tmp_path):
    path = network_file(tmp_path)
    with pytest.raises(UsageError, match=r"tiny.json:3: .* ends with .*tiny.json:2"):
        aljalbout.find_network("digits", f"{path}:3")


@pytest.mark.parametrize("name", ["MNIST", "mnist"])
def test_mnist_is_all_of_it(tmp_path, name):
    (tmp_path / "mnist").mkdir()
    for part, n in (("train", 6), ("t10k", 4)):
        pixels = bytes([0, 0, 8, 3, *(0, 0, 0, n), *(0, 0, 0, 28), *(0, 0, 0, 28)])
        images = tmp_path / "mnist" / f"{part}-images-idx3-ubyte.gz"
        images.write_bytes(gzip.compress(pixels + bytes(range(n)) * 784))
        labels = tmp_path / "mnist" / f"{part}-labels-idx1-ubyte.gz"
        labels.write_bytes(gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, n, *range(n)])))
    run = opened("-d", name, "-a", 1, "--pretrain", 1, "--data-dir", tmp_path)
    assert len(run.dataset.x) == 10
    assert run.folder == Path("runs/aljalbout-mnist-mnist-conv")
    assert (run.network, run.batch_size) == ("mnist-conv", 100)
    assert run.architecture.batch_norm and run.architecture.input_scale == 1 / 255


def test_the_command_line_names_the_settings(arguments, tmp_path):
    more = ("--batch-size", 7, "--seed", 3, "--learning-rate", 0.5, "--out", tmp_path)
    run = opened(*arguments, *more, "--metrics")
    assert (run.batch_size, run.seed, run.folder) == (7, 3, tmp_path)
    settings = run.recipe("kld", 2).train
    assert (settings.batch_size, settings.optimizer.learning_rate) == (7, 0.5)


def test_settings_are_those_of_the_recipe(pretrained):
    network, dataset = pretrained.architecture, pretrained.dataset
    recipe = choose_recipe("kmeans-conv", dataset, 10, network=network)
    own = pretrained.recipe("kmeans", 7)
    # p is refreshed once an epoch, and no label ends training.
    changed = {"update_interval": 3, "max_intervals": 7, "tolerance": 0}
    assert own.train == replace(recipe.train, batch_size=BATCH_SIZE, **changed)
    assert own.pretrain == replace(recipe.pretrain, batch_size=BATCH_SIZE, epochs=7)
    assert (own.architecture, own.objective) == (network, recipe.objective)


@pytest.mark.parametrize("option", ["--pretrain", "--cluster", "--batch-size"])
def test_open_run_rejects_numbers_below_1(arguments, option):
    with pytest.raises(UsageError, match=f"{option} must be at least 1, got 0"):
        opened(*arguments, "--metrics", option, 0)


def test_open_run_rejects_a_network_for_other_images(arguments):
    message = r"takes samples of shape \(28, 28, 1\), and those of few have \(8, 8, 1\)"
    with pytest.raises(UsageError, match=message):
        opened(*arguments[:2], "-a", "mnist-conv", "--metrics")


def test_main_rejects_a_call_without_a_stage(arguments):
    answer = program(*arguments)
    assert answer.status == 2
    assert answer.err.startswith("error: give at least one of --pretrain N, --cluster")


def test_main_rejects_data_without_labels(arguments, tmp_path):
    np.savez(tmp_path / "unlabeled.npz", x=np.zeros((9, 8, 8), np.float32))
    answer = program("-d", tmp_path / "unlabeled.npz", *arguments[2:], "--pretrain", 1)
    assert answer.status == 2
    assert "error: unlabeled has no labels, which count clusters" in answer.err


def test_main_rejects_a_learning_rate_of_0(arguments, tmp_path):
    answer = program(
        *arguments, "--out", tmp_path, *shlex.split("--pretrain 1 --learning-rate 0")
    )
    assert (answer.status, list(tmp_path.iterdir())) == (2, [])
    assert answer.err == "error: --learning-rate must be finite and above 0, got 0.0.\n"


# Training.


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


def test_a_stage_names_the_command_of_the_one_before(arguments, tmp_path):
    answer = program(*arguments, "--out", tmp_path / "new", "--cluster", 1)
    assert answer.status == 2
    assert answer.err.count("\n") == 1
    path, _, command = answer.err.removeprefix("error: ").partition(
        " is missing; make it by: "
    )
    assert Path(path) == tmp_path / "new" / "autoencoder.safetensors"
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "experiments.aljalbout"]
    assert words[-2:] == ["--pretrain", "N"]
    options = vars(aljalbout.parser().parse_args([*words[3:-1], "1"]))
    given = vars(
        aljalbout.parser().parse_args(
            [*map(str, arguments), "--out", f"{tmp_path}/new"]
        )
    )
    assert options == {**given, "pretrain": 1}


def test_ctrl_c_ends_after_the_epoch_and_keeps_it(arguments, tmp_path, monkeypatch):
    interrupt_at(monkeypatch, "pretraining", 2)
    # The same number of epochs as elsewhere, whose program is compiled already.
    answer = program(*arguments, "--out", tmp_path, "--pretrain", 3, "--cluster", 1)
    path = tmp_path / "autoencoder.safetensors"
    assert answer.status == 130
    assert f"Stopped; {path} holds epoch 2 of 3." in answer.err
    saved = model.load(path)
    assert len(saved.metadata["loss"]) == 2
    z = np.load(tmp_path / "z-autoencoder.npy")
    np.testing.assert_array_equal(
        model.transform(saved, data.load_dataset(arguments[1])), z
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
    results, k_means = [], phases.k_means

    def watched(key, x, n_clusters, *, n_init):
        results.append((n_init, k_means(key, x, n_clusters, n_init=n_init)))
        return results[-1][1]

    monkeypatch.setattr(phases, "k_means", watched)
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


@pytest.mark.parametrize("stage", ["--metrics", "--visualize"])
def test_evaluation_names_the_command_of_pretraining(arguments, tmp_path, stage):
    answer = program(*arguments, "--out", tmp_path, stage)
    assert answer.status == 2
    assert "autoencoder.safetensors is missing; make it by: python -m" in answer.err
    assert list(tmp_path.iterdir()) == []


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
