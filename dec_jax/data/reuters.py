"""The Reuters sets of the clustering papers: news as weights of frequent terms."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from dec_jax.data.array_files import UNREADABLE
from dec_jax.data.dataset import Dataset, integer_labels
from dec_jax.data.download import check_connection
from dec_jax.validation import reason, require

# The smallest of the files of RCV1 that scikit-learn downloads.
RCV1_URL = "https://ndownloader.figshare.com/files/5976048"
# The four roots of RCV1's topics: corporate, economics, government, markets.
ROOTS = ("CCAT", "ECAT", "GCAT", "MCAT")
N_TERMS = 2000
REUTERS10K_SAMPLES = 10_000


def load_reuters21578(folder: Path) -> Dataset:
    """Loads Reuters-21578, ModApte split: 8,293 documents with one of 65 classes each.

    This set is not REUTERS-10K; results on the two cannot be compared.

    Args:
      folder: holds counts.npz, a sparse matrix of term counts [n, terms] as
        `scipy.sparse.save_npz` writes it, and labels.npz with the array `labels` [n].

    Returns:
      `term_weights` of the counts, and the classes.

    Raises:
      ValueError: a file is damaged, or the numbers of rows differ.
      ImportError: scikit-learn is not installed.
    """
    import scipy.sparse

    source = f"npz files in {folder}"
    for path in (folder / "counts.npz", folder / "labels.npz"):
        if not zipfile.is_zipfile(path):
            raise ValueError(
                f"{path} is not an npz file: it is no zip archive, or it is truncated; "
                "download it again."
            )
    try:
        counts = scipy.sparse.load_npz(folder / "counts.npz")
        with np.load(folder / "labels.npz", allow_pickle=False) as file:
            labels = file["labels"]
    except UNREADABLE as error:
        raise ValueError(
            f"{source}: counts.npz or labels.npz cannot be read ({reason(error)}); "
            "download them again."
        ) from error
    if labels.shape != counts.shape[:1]:
        raise ValueError(
            f"{source}: labels must hold one for each of the {counts.shape[0]} rows of "
            f"counts, got shape {labels.shape}."
        )
    x = term_weights(weighted(counts))
    return Dataset("reuters21578", x, integer_labels(labels, source), None, source, 1.0)


def load_reuters10k() -> Dataset:
    """Loads REUTERS-10K: 10,000 documents of RCV1 with exactly one of four root topics.

    They are sampled with a fixed seed from scikit-learn's RCV1, which is downloaded once
    (656 MB) into scikit-learn's own folder (`SCIKIT_LEARN_DATA`). Each paper sampled its
    own documents from the raw texts, and scikit-learn weights the terms of stemmed words,
    so documents and weights differ a little from those of the papers.

    Returns:
      `term_weights`, and the root topics as classes: CCAT, ECAT, GCAT and MCAT are 0 to 3.

    Raises:
      OSError: RCV1 is not in scikit-learn's folder and cannot be downloaded.
      ImportError: scikit-learn is not installed.
    """
    rcv1 = fetch_rcv1()
    columns = [list(rcv1.target_names).index(root) for root in ROOTS]
    roots = rcv1.target[:, columns].toarray()
    documents = np.flatnonzero(roots.sum(axis=1) == 1)
    drawn = np.random.default_rng(1234).permutation(documents)[:REUTERS10K_SAMPLES]
    # As in the papers, all of these documents count for which terms are frequent.
    terms = frequent_terms(rcv1.data[documents])
    x = term_weights(rcv1.data[drawn][:, terms])
    labels = roots[drawn].argmax(axis=1).astype(np.int32)
    return Dataset("reuters10k", x, labels, None, "RCV1 of scikit-learn", 1.0)


def fetch_rcv1() -> Any:
    """Loads scikit-learn's RCV1 from its folder or the network.

    Raises:
      OSError: within seconds if it is in no folder and there is no network.
    """
    datasets = require("sklearn.datasets", extra="data", task="the data set reuters10k")
    try:
        return datasets.fetch_rcv1(download_if_missing=False)
    except OSError:
        check_connection(RCV1_URL)
    return datasets.fetch_rcv1()


def weighted(counts: Any) -> Any:
    """Computes (1 + log count) x inverse document frequency of frequent terms, sparse."""
    text = require(
        "sklearn.feature_extraction.text", extra="data", task="weighting terms"
    )
    counts = counts.tocsr().astype(np.float64)
    weights = text.TfidfTransformer(norm=None, sublinear_tf=True)
    return weights.fit_transform(counts[:, frequent_terms(counts)])


def frequent_terms(x: Any, n_terms: int = N_TERMS) -> np.ndarray:
    """Returns the columns, in ascending order, of the terms in the most documents."""
    n_documents = np.bincount(x.tocsr().indices, minlength=x.shape[1])
    return np.sort(np.argsort(-n_documents, kind="stable")[:n_terms])


def term_weights(x: Any) -> np.ndarray:
    """Scales the rows of a sparse [n, d] to length sqrt(d), dense float32.

    The mean square of all values is then 1, as DEC has it for documents. A document
    without any of the terms stays 0.
    """
    dense = x.toarray().astype(np.float32)
    length = np.linalg.norm(dense, axis=1, keepdims=True)
    return dense * (dense.shape[1] ** 0.5 / np.where(length > 0, length, 1))
