"""The Reuters sets of the clustering papers: news as weights of their frequent terms."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from dec_jax.data.arrays import UNREADABLE
from dec_jax.data.dataset import Dataset, integer_labels

# Where scikit-learn has the smallest file of RCV1 from.
RCV1_URL = "https://ndownloader.figshare.com/files/5976048"
# The four roots of RCV1's topics: corporate, economics, government, markets.
ROOTS = ("CCAT", "ECAT", "GCAT", "MCAT")
N_TERMS = 2000
REUTERS10K_SAMPLES = 10_000


def load_reuters21578(folder: Path) -> Dataset:
    """Reuters-21578, ModApte, one category a document: 8,293 documents of 65 classes.

    Not REUTERS-10K, and no results on that compare with it.

    Args:
      folder: holds counts.npz, a sparse matrix of term counts [n, terms] as
        `scipy.sparse.save_npz` writes it, and labels.npz with the array `labels` [n].

    Returns:
      `term_weights` of the counts, and the classes.

    Raises:
      ValueError: a file is damaged, or the two do not fit.
      ImportError: scikit-learn is not installed.
    """
    import scipy.sparse

    source = f"npz files in {folder}"
    for path in (folder / "counts.npz", folder / "labels.npz"):
        if not zipfile.is_zipfile(path):
            raise ValueError(
                f"{path} is not an npz file: it is no zip archive, or a truncated one; "
                "fetch it again."
            )
    try:
        counts = scipy.sparse.load_npz(folder / "counts.npz")
        with np.load(folder / "labels.npz", allow_pickle=False) as file:
            labels = file["labels"]
    except UNREADABLE as error:
        raise ValueError(
            f"{source}: counts.npz or labels.npz cannot be read ({error}); "
            "fetch them again."
        ) from error
    if labels.shape != counts.shape[:1]:
        raise ValueError(
            f"{source}: labels must hold one for each of the {counts.shape[0]} rows of "
            f"counts, got shape {labels.shape}."
        )
    x = term_weights(weighted(counts))
    return Dataset("reuters21578", x, integer_labels(labels, source), None, source, 1.0)


def load_reuters10k() -> Dataset:
    """REUTERS-10K: 10,000 of RCV1's documents with one of four root topics.

    Drawn with a fixed seed from scikit-learn's RCV1, which is downloaded once (656 MB) into
    its own folder (`SCIKIT_LEARN_DATA`). Papers drew theirs from the raw texts, each its
    own; scikit-learn has weighted terms of stems, so both differ a little from theirs.

    Returns:
      `term_weights`, and the roots as classes: CCAT, ECAT, GCAT and MCAT are 0 to 3.

    Raises:
      OSError: RCV1 is not there and cannot be downloaded.
      ImportError: scikit-learn is not installed.
    """
    rcv1 = fetch_rcv1()
    columns = [list(rcv1.target_names).index(root) for root in ROOTS]
    roots = rcv1.target[:, columns].toarray()
    documents = np.flatnonzero(roots.sum(axis=1) == 1)
    drawn = np.random.default_rng(1234).permutation(documents)[:REUTERS10K_SAMPLES]
    # The frequent terms are those of all of these documents, as papers have it.
    terms = frequent_terms(rcv1.data[documents])
    x = term_weights(rcv1.data[drawn][:, terms])
    labels = roots[drawn].argmax(axis=1).astype(np.int32)
    return Dataset("reuters10k", x, labels, None, "RCV1 of scikit-learn", 1.0)


def fetch_rcv1() -> Any:
    """scikit-learn's RCV1, from its folder or the network; OSError within seconds."""
    try:
        from sklearn.datasets import fetch_rcv1
    except ImportError as error:
        raise ImportError(
            "RCV1 is read with scikit-learn, which is not installed; run pip install "
            "'dec_jax[data]'."
        ) from error
    try:
        return fetch_rcv1(download_if_missing=False)
    except OSError:
        from dec_jax.data.tfds import check_connection

        check_connection(RCV1_URL)
    return fetch_rcv1()


def weighted(counts: Any) -> Any:
    """(1 + log count) x inverse document frequency of the frequent terms, sparse."""
    try:
        from sklearn.feature_extraction.text import TfidfTransformer
    except ImportError as error:
        raise ImportError(
            "Terms are weighted by scikit-learn, which is not installed; run pip install "
            "'dec_jax[data]'."
        ) from error
    counts = counts.tocsr().astype(np.float64)
    weights = TfidfTransformer(norm=None, sublinear_tf=True)
    return weights.fit_transform(counts[:, frequent_terms(counts)])


def frequent_terms(x: Any, n_terms: int = N_TERMS) -> np.ndarray:
    """The columns, in their order, of the terms that the most documents have."""
    n_documents = np.bincount(x.tocsr().indices, minlength=x.shape[1])
    return np.sort(np.argsort(-n_documents, kind="stable")[:n_terms])


def term_weights(x: Any) -> np.ndarray:
    """float32 [n, d] of a sparse [n, d]: rows of length sqrt(d), as DEC has documents.

    So the mean square of all values is 1. A document without any of the terms stays 0.
    """
    dense = x.toarray().astype(np.float32)
    length = np.linalg.norm(dense, axis=1, keepdims=True)
    return dense * (dense.shape[1] ** 0.5 / np.where(length > 0, length, 1))
