"""Folders as runs leave them, without the training."""

import dataclasses

import jax
import numpy as np

from dec_jax import model
from dec_jax.data.dataset import Dataset
from dec_jax.evaluation.typical import typical_ranks
from dec_jax.networks.architecture import dense_architecture
from dec_jax.networks.autoencoder import init_params
from dec_jax.runs import folder as run_folder
from dec_jax.runs.json_files import read_checked, write_checked
from dec_jax.runs.settings import Settings


def image_data(n=60, shape=(6, 5, 1), names=None):
    """Bytes: images whose left, middle or right third is bright, in turn."""
    rng = np.random.default_rng(0)
    height, width, channels = shape
    images = rng.integers(0, 60, (n, height, width, channels), np.uint8)
    for row, image in enumerate(images):
        third = width // 3
        image[:, third * (row % 3) : third * (row % 3) + third] += 180
    classes = np.arange(n, dtype=np.int32) % 3
    x = images.reshape(n, -1)
    return Dataset("stripes", x, classes, shape, "made by hand", 1 / 255, names)


def write_run(folder, dataset, labels, n_clusters=None, *, source=None, opinion=None):
    """Writes the folder of a run of `dataset` that found `labels`."""
    folder.mkdir(parents=True, exist_ok=True)
    labels, n = np.asarray(labels), len(dataset.x)
    k = n_clusters or int(labels.max()) + 1
    rng = np.random.default_rng(0)
    q = np.full((n, k), 0.2 / max(k - 1, 1), np.float32)
    q[np.arange(n), labels] = 0.6 + 0.3 * rng.random(n)
    network = dense_architecture(dataset.x.shape[1], hidden=(), embedding_dim=3)
    network = dataclasses.replace(network, input_scale=dataset.input_scale)
    params = init_params(jax.random.key(0), network)
    params["centroids"] = jax.numpy.eye(k, 3)
    metadata = model.data_metadata(dataset)
    path = folder / run_folder.MODEL
    model.save(path, params, architecture=network, metadata=metadata)
    ranks = typical_ranks(labels, q.max(axis=1))
    table = (labels, q, dataset.labels, dataset.names, dataset.names_title, ranks)
    run_folder.write_labels(folder / "labels.csv", *table)
    settings = Settings(dataset=source or dataset.name, recipe="dec", n_clusters=k)
    recipe = {"pretrain": {"epochs": 2}, "train": {"tolerance": 0.001}}
    config = {"command": settings.as_json(), "recipe": recipe}
    write_checked(folder / "config.json", config)
    known = {} if dataset.labels is None else {"acc": 0.9, "nmi": 0.8, "ari": 0.7}
    unknown = {"smallest": 5, "largest": 9, "evenness": 0.9, "silhouette": None}
    health = {"healthy": True, "warnings": [], "max_q": 0.75, "evenness": 0.9}
    results = {
        "recipe": "dec",
        "dataset_sha256": dataset.sha256,
        "n_samples": n,
        "n_clusters": k,
        "seed": 0,
        "device": "1 CPU core",
        "versions": {"python": "3.13", "dec_jax": "0.1.0"},
        "commit": None,
        "seconds": {"pretraining": 1.0, "total": 2.5},
        "stages": [{"name": "DEC", "seconds": 1.5, **(known or unknown)}],
        "stop_reason": "no label changed",
        "health": {**health, "smallest": 5, "largest": 9},
        "opinion": opinion,
    }
    write_checked(folder / "results.json", results)
    rows = {
        "loss": [0.5, 0.4],
        "clustering": [0.5, 0.4],
        "reconstruction": [0.0, 0.0],
        "label_change": [1.0, 0.0],
        "acc": [np.nan, np.nan],
        "cluster_sizes": [[5, 9], [6, 8]],
        "max_q": [0.5, 0.7],
        "q_entropy": [0.5, 0.4],
        "reseeded": [0, 0],
    }
    run_folder.write_history(folder / "history.csv", {"pretraining": [0.3, 0.2]}, rows)
    return folder


def change_results(folder, **changes):
    """Replaces entries of results.json."""
    path = folder / "results.json"
    write_checked(path, read_checked(path, "write the run again") | changes)
