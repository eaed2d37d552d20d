"""Term weights against loops, and both Reuters sets from small files of their form."""

import math
import os
from pathlib import Path

import joblib
import numpy as np
import pytest
import scipy.sparse

from dec_jax.data import reuters
from dec_jax.data.load import DatasetNotFoundError, load_dataset

REAL_DATA = Path(os.environ.get("DEC_JAX_DATA", "no folder"))
COUNTS = np.array([[2, 0, 1, 0], [1, 1, 0, 0], [0, 3, 0, 0], [5, 0, 0, 1]])


def weights_by_loops(counts):
    """(1 + log tf) (1 + log((1 + n) / (1 + df))), rows then of length sqrt(d)."""
    n, d = counts.shape
    out = np.zeros((n, d))
    for i in range(n):
        for j in range(d):
            if counts[i, j]:
                documents = sum(counts[k, j] > 0 for k in range(n))
                inverse = 1 + math.log((1 + n) / (1 + documents))
                out[i, j] = (1 + math.log(counts[i, j])) * inverse
        out[i] *= math.sqrt(d) / math.sqrt(sum(value**2 for value in out[i]))
    return out


def write_reuters21578(folder, counts=COUNTS, labels=(0, 0, 1, 2)):
    folder.mkdir()
    scipy.sparse.save_npz(
        folder / "counts.npz", scipy.sparse.csr_matrix(counts.astype(np.uint8))
    )
    np.savez(folder / "labels.npz", labels=np.array(labels, np.uint8), train_idx=[0])
    return folder


def test_weights_of_terms_are_those_of_loops(tmp_path):
    folder = write_reuters21578(tmp_path / "reuters21578")
    for data_dir in (tmp_path, folder):
        dataset = load_dataset("reuters21578", data_dir)
        np.testing.assert_allclose(dataset.x, weights_by_loops(COUNTS), rtol=1e-6)
        np.testing.assert_array_equal(dataset.labels, [0, 0, 1, 2])
        assert (dataset.x.dtype, dataset.image_shape) == (np.float32, None)
        assert dataset.source == f"npz files in {folder}"
        assert np.mean(dataset.x**2) == pytest.approx(1)


def test_the_terms_of_most_documents_are_kept_in_their_order():
    # In 3, 2, 1 and 1 documents; the first of two equals comes first.
    sparse = scipy.sparse.csr_matrix(COUNTS[:, [3, 1, 2, 0]])
    np.testing.assert_array_equal(reuters.frequent_terms(sparse, 3), [0, 1, 3])


def test_a_document_without_any_of_the_terms_stays_0():
    x = reuters.term_weights(scipy.sparse.csr_matrix([[0.0, 0.0], [3.0, 4.0]]))
    np.testing.assert_allclose(x, [[0, 0], [0.6 * 2**0.5, 0.8 * 2**0.5]], rtol=1e-6)


@pytest.mark.parametrize("name", ["counts.npz", "labels.npz"])
def test_a_damaged_file_is_refused(tmp_path, name):
    path = write_reuters21578(tmp_path / "reuters21578") / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    with pytest.raises(
        ValueError, match=f"{name} is not an npz file: .*download it again"
    ):
        load_dataset("reuters21578", tmp_path)
    np.savez(path, something=[1])
    with pytest.raises(ValueError, match=r"cannot be read \(.*download them again"):
        load_dataset("reuters21578", tmp_path)


def test_labels_that_do_not_fit_are_refused(tmp_path):
    write_reuters21578(tmp_path / "reuters21578", labels=(0, 1))
    message = r"one for each of the 4 rows of counts, got shape \(2,\)"
    with pytest.raises(ValueError, match=message):
        load_dataset("reuters21578", tmp_path)


def test_a_missing_file_is_named(tmp_path):
    (write_reuters21578(tmp_path / "reuters21578") / "labels.npz").unlink()
    message = "reuters21578 was not found: .* Put counts.npz, labels.npz into <folder>/"
    with pytest.raises(DatasetNotFoundError, match=message):
        load_dataset("reuters21578", tmp_path)


@pytest.mark.skipif(
    not (REAL_DATA / "reuters21578").is_dir(), reason="no reuters21578 in DEC_JAX_DATA"
)
def test_reuters21578_as_published():
    dataset = load_dataset("reuters21578", REAL_DATA)
    assert dataset.x.shape == (8293, 2000)
    assert dataset.n_classes == 65
    np.testing.assert_array_equal(np.bincount(dataset.labels)[:3], [3713, 2055, 321])
    np.testing.assert_allclose((dataset.x**2).mean(axis=1), 1, rtol=1e-4)


def write_rcv1(folder, monkeypatch, topics, x):
    """The files that scikit-learn keeps of RCV1 once it is downloaded."""
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(folder))
    names = np.array(["C15", "CCAT", "ECAT", "GCAT", "MCAT"], dtype=object)
    (folder / "RCV1").mkdir(parents=True)
    for name, value in {
        "samples": scipy.sparse.csr_matrix(x),
        "sample_id": np.arange(len(x), dtype=np.uint32),
        "sample_topics": scipy.sparse.csr_matrix(topics.astype(np.uint8)),
        "topics_names": names,
    }.items():
        joblib.dump(value, folder / "RCV1" / f"{name}_py3.pkl")


def test_reuters10k_has_the_documents_of_one_root(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    topics = rng.random((60, 5)) < 0.3
    topics[:, 0] = True  # a topic that is no root
    x = rng.random((60, 7)) * (rng.random((60, 7)) < 0.7)
    write_rcv1(tmp_path, monkeypatch, topics, x)
    dataset = load_dataset("reuters10k")
    own = [row for row in range(60) if sum(topics[row, 1:]) == 1]
    assert 10 < len(own) < 50
    # In another order: each row is found by its direction.
    found = dataset.x / np.linalg.norm(dataset.x, axis=1, keepdims=True)
    wanted = x[own] / np.linalg.norm(x[own], axis=1, keepdims=True)
    order = (found @ wanted.T).argmax(axis=1)
    assert sorted(order) == list(range(len(own)))
    np.testing.assert_allclose(found, wanted[order], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose((dataset.x**2).mean(axis=1), 1, rtol=1e-5)
    roots = [int(topics[row, 1:].argmax()) for row in own]
    np.testing.assert_array_equal(dataset.labels, np.array(roots)[order])
    np.testing.assert_array_equal(load_dataset("reuters10k").x, dataset.x)


def test_reuters10k_is_a_draw_of_some_documents_and_terms(tmp_path, monkeypatch):
    monkeypatch.setattr(reuters, "REUTERS10K_SAMPLES", 5)
    topics = np.tile([False, False, True, False, False], (20, 1))
    topics[0, 1] = True  # a second root: not among those drawn from
    x = 1.0 + np.arange(20 * 2100).reshape(20, 2100) % 17
    x[3:, :100] = 0  # terms of few documents
    write_rcv1(tmp_path, monkeypatch, topics, x)
    dataset = load_dataset("reuters10k")
    assert dataset.x.shape == (5, 2000)
    np.testing.assert_array_equal(dataset.labels, [1] * 5)
    wanted = x[1:, 100:] / np.linalg.norm(x[1:, 100:], axis=1, keepdims=True)
    agreements = dataset.x @ wanted.T / 2000**0.5
    np.testing.assert_allclose(agreements.max(axis=1), 1, rtol=1e-5)
    assert len(set(agreements.argmax(axis=1))) == 5


def test_reuters10k_without_a_network_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    for variable in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    for variable in ("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    message = "reuters10k was not found: scikit-learn has no RCV1 yet, and .*fetch_rcv1"
    with pytest.raises(DatasetNotFoundError, match=message):
        load_dataset("reuters10k")
