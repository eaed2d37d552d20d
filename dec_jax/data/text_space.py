"""The space of texts: weights of terms, projected on their main directions."""

import base64
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from dec_jax.validation import require

MOST_TERMS = 5_000
NO_VARIANCE = 1e-5  # share of the largest singular value
MOST_DIRECTIONS = 100
# Documents from which a term must be in two of them, and not in more than half.
MANY_DOCUMENTS = 20
MOST_SHARE = 0.5
# Of the words of an English text about 0.45 are English stop words, of others below 0.1.
ENGLISH = 0.25
# Scripts that put no spaces between words: Thai, kana, Chinese.
UNSPACED = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]")
WORD = r"(?u)\b[^\W\d_]\w+\b"


class TextSpace(NamedTuple):
    """Turns texts, those of training and new ones, into rows of numbers.

    Attributes:
      terms: words, or pairs of letters, in the order of the columns of `directions`.
      stop_words: whether English stop words were left out.
      pairs: whether the terms are pairs of letters, for scripts without spaces.
      idf: inverse document frequency of each term.
      directions: the projection.
    """

    terms: tuple[str, ...]
    stop_words: bool
    pairs: bool
    idf: Float[np.ndarray, " t"]
    directions: Float[np.ndarray, "e t"]


def fit_text_space(texts: Sequence[str]) -> TextSpace:
    """Finds the terms of texts, their weights, and their main directions.

    Terms are the 5,000 words that are in the most documents, but for words in a single
    document or in more than half of them (from 20 documents on), and but for English
    stop words where the texts are English. Their weights, (1 + log count) times the
    inverse document frequency, of length 1 in each document, are projected on their 100
    leading singular vectors, or fewer where documents or terms span fewer directions.

    Args:
      texts: the documents.

    Returns:
      The space.

    Raises:
      ValueError: there are fewer than two documents, or no terms.
      ImportError: scikit-learn is not installed.
    """
    text = require(
        "sklearn.feature_extraction.text", extra="data", task="reading texts"
    )
    decomposition = require("sklearn.decomposition", extra="data", task="reading texts")
    n = len(texts)
    if n < 2:
        raise ValueError(f"there must be at least 2 documents, got {n}")
    pairs, stop_words = is_unspaced(texts), is_english(texts)
    many = n >= MANY_DOCUMENTS
    vectorizer = text.TfidfVectorizer(
        **analysis(pairs),
        stop_words="english" if stop_words else None,
        sublinear_tf=True,
        min_df=2 if many else 1,
        max_df=MOST_SHARE if many else 1.0,
    )
    try:
        weights = vectorizer.fit_transform(texts)
    except ValueError:
        raise ValueError(
            "no word is in several documents and missing in others, so that nothing can be "
            "compared"
        ) from None
    terms = vectorizer.get_feature_names_out()
    frequent = np.argsort(-weights.getnnz(axis=0), kind="stable")[:MOST_TERMS]
    frequent.sort()
    space = TextSpace(
        tuple(terms[frequent].tolist()),
        stop_words,
        pairs,
        vectorizer.idf_[frequent].astype(np.float32),
        np.zeros((0, len(frequent)), np.float32),
    )
    weights = term_weights(space, texts)
    components = min(MOST_DIRECTIONS, n - 1, len(frequent) - 1)
    if components < 2:
        directions = np.eye(len(frequent), dtype=np.float32)[: max(1, components)]
    else:
        svd = decomposition.TruncatedSVD(components, random_state=0)
        directions = svd.fit(weights).components_.astype(np.float32)
        # Directions without any text, which new texts would fill, where terms are few.
        kept = svd.singular_values_ > NO_VARIANCE * svd.singular_values_[0]
        directions = directions[kept]
    return space._replace(directions=directions)


def embed_texts(space: TextSpace, texts: Sequence[str]) -> Float[np.ndarray, "n e"]:
    """Projects texts to rows whose mean square is 1; 0 for a text without any term."""
    rows = term_weights(space, texts) @ space.directions.T.astype(np.float64)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    # Rounding leaves a little of what is 0.
    scale = rows.shape[1] ** 0.5 / np.where(length > 1e-6, length, np.inf)
    return (rows * scale).astype(np.float32)


def term_weights(space: TextSpace, texts: Sequence[str]) -> Any:
    """Weighs the terms of texts: a sparse matrix [n, t] with rows of length 1."""
    text = require(
        "sklearn.feature_extraction.text", extra="data", task="reading texts"
    )
    vectorizer = text.TfidfVectorizer(
        **analysis(space.pairs), vocabulary=list(space.terms), sublinear_tf=True
    )
    vectorizer.idf_ = space.idf.astype(np.float64)
    return vectorizer.transform(texts)


def analysis(pairs: bool) -> dict[str, Any]:
    """Returns the settings by which texts are cut into terms."""
    if pairs:
        return {"analyzer": "char_wb", "ngram_range": (2, 2)}
    return {"token_pattern": WORD}


def is_unspaced(texts: Sequence[str]) -> bool:
    """Returns True for a script without spaces between words."""
    some = "".join(texts[:: max(1, len(texts) // 100)])[:100_000]
    letters = sum(map(str.isalpha, some))
    return len(UNSPACED.findall(some)) > 0.3 * max(1, letters)


def is_english(texts: Sequence[str]) -> bool:
    """Returns True if many words are English stop words."""
    text = require(
        "sklearn.feature_extraction.text", extra="data", task="reading texts"
    )
    some = " ".join(texts[:: max(1, len(texts) // 1000)]).lower()[:1_000_000]
    words = re.findall(r"[^\W\d_]+", some)
    known = sum(word in text.ENGLISH_STOP_WORDS for word in words)
    return known > ENGLISH * max(1, len(words))


def text_space_to_json(space: TextSpace | None) -> dict[str, Any] | None:
    """Converts a space to JSON values; the bytes of its arrays become text."""
    if space is None:
        return None
    return {
        "terms": list(space.terms),
        "stop_words": space.stop_words,
        "pairs": space.pairs,
        "idf": base64.b64encode(space.idf.astype("<f4").tobytes()).decode(),
        "directions": base64.b64encode(
            space.directions.astype("<f4").tobytes()
        ).decode(),
    }


def text_space_from_json(stored: dict[str, Any] | None) -> TextSpace | None:
    """Converts the JSON values of `text_space_to_json` back to a space."""
    if stored is None:
        return None
    idf, directions = (
        np.frombuffer(base64.b64decode(stored[name]), "<f4")
        for name in ("idf", "directions")
    )
    terms = tuple(stored["terms"])
    return TextSpace(
        terms,
        stored["stop_words"],
        stored["pairs"],
        idf,
        directions.reshape(-1, len(terms)),
    )
