"""Texts as samples: a file of one document a line, or a folder of text files."""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from dec_jax.data.dataset import Dataset, integer_labels
from dec_jax.data.table_files import decoded, is_number
from dec_jax.data.text_space import TextSpace, embed_texts, fit_text_space
from dec_jax.validation import expanded, near_path

TEXT_SUFFIX = ".txt"
NAME_LENGTH = 60  # characters of a document that name it


def dataset_from_texts(
    texts: Iterable[str],
    *,
    labels: Sequence[int | str] | None = None,
    name: str = "texts",
    source: str = "texts in memory",
    names: Sequence[str] | None = None,
    names_title: str = "text",
    space: TextSpace | None = None,
) -> Dataset:
    """Makes a `Dataset` of texts: weights of their terms, projected (`fit_text_space`).

    Args:
      texts: the documents.
      labels: class of each document, or None. They score, and never train.
      name: name of the data in results.
      source: one line that says where the data come from; messages begin with it.
      names: name of each document; None takes its first words.
      names_title: what the names are.
      space: the `Dataset.text_space` of other texts, to convert these in the same way.

    Returns:
      Samples float32 [n, e], rows whose mean square is 1.

    Raises:
      TypeError: a document is no text.
      ValueError: there are fewer than two documents, or no terms.
      ImportError: scikit-learn is not installed.

    Example:
      >>> data = dataset_from_texts(["red apples", "green apples", "red cars", "a car"])
      >>> data.x.shape, data.names[0]
      ((4, 3), 'red apples')
    """
    texts = list(texts)
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(
                f"{source}: documents must be text, got {type(text).__name__} in row {row}."
            )
    try:
        found = fit_text_space(texts) if space is None else space
    except ValueError as error:
        raise ValueError(f"{source}: {error}.") from error
    x = embed_texts(found, texts)
    if names is None:
        names = [first_words(text) for text in texts]
    given = None if labels is None else integer_labels(np.asarray(labels), source)
    return Dataset(
        name,
        x,
        given,
        None,
        source,
        1.0,
        names=tuple(names),
        names_title=names_title,
        text_space=found,
        notes=notes_of(found, x),
    )


def load_texts(
    path: str | os.PathLike[str],
    *,
    encoding: str | None = None,
    folder_labels: bool = False,
    space: TextSpace | None = None,
) -> Dataset:
    """Reads a `.txt` file of one document a line, or all `.txt` files of a folder.

    Args:
      path: the file, whose empty lines are left out, or the folder. Files in hidden
        folders are skipped.
      encoding: of the files; None finds it for each.
      folder_labels: True makes the first sub-folder of each file its class.
      space: as in `dataset_from_texts`.

    Returns:
      The data set, made by `dataset_from_texts`.

    Raises:
      FileNotFoundError: there is no such file or folder.
      ValueError: a file cannot be read, there are no documents, a file without a class
        folder, or what `dataset_from_texts` rejects.
    """
    path = expanded(path)
    if path.is_dir():
        names = find_texts(path)
        texts = [read_file(path / name, encoding) for name in names]
        labels = [class_of(path, name) for name in names] if folder_labels else None
        source = f"{len(names):,} text files in {path}"
        kind = "file"
    elif path.is_file():
        texts = [line.strip() for line in read_file(path, encoding).splitlines()]
        texts = [line for line in texts if line]
        check_words(path, texts)
        names, labels, source, kind = None, None, f"txt file {path}", "text"
    else:
        raise FileNotFoundError(f"The text file {path} does not exist{near_path(path)}")
    return dataset_from_texts(
        texts,
        labels=labels,
        name=path.resolve().stem,
        source=source,
        names=names,
        names_title=kind,
        space=space,
    )


def find_texts(folder: Path) -> list[str]:
    """Lists the text files of a folder and its sub-folders, as paths relative to it."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(
        path.as_posix()
        for path in found
        if path.suffix.lower() == TEXT_SUFFIX
        and not any(part.startswith(".") for part in path.parts)
    )


def read_file(path: Path, encoding: str | None) -> str:
    """Reads the text of a file."""
    try:
        return decoded(path.read_bytes(), encoding)[0]
    except (ValueError, LookupError, OSError) as error:
        raise ValueError(f"{path} cannot be read: {error}.") from error


def check_words(path: Path, texts: list[str]) -> None:
    """Raises ValueError for a file of numbers, which is a table."""
    words = re.split(r"[\s,;]+", " ".join(texts[:100]))
    if 2 * sum(map(is_number, words)) > len(words):
        raise ValueError(
            f"{path}: a .txt file must hold texts, one a line, got {texts[0][:40]!r} and "
            "mostly numbers; if it is a table, let its name end in .csv."
        )


def class_of(folder: Path, name: str) -> str:
    """Returns the first sub-folder of a file."""
    first, slash, _ = name.partition("/")
    if not slash:
        raise ValueError(
            f"{folder}: folder_labels needs every file in a folder of its class, and "
            f"{name} is in none."
        )
    return first


def first_words(text: str) -> str:
    """Shortens a text to its first words, on one line."""
    line = " ".join(text.split())
    if len(line) <= NAME_LENGTH:
        return line
    return line[: NAME_LENGTH - 3].rsplit(" ", 1)[0] + "..."


def notes_of(space: TextSpace, x: np.ndarray) -> tuple[str, ...]:
    """Says how texts were understood."""
    what = "pairs of letters" if space.pairs else "words"
    stop = ", without English stop words" if space.stop_words else ""
    notes = [
        f"texts: {len(space.terms):,} {what}{stop}, weighed by TF-IDF, in "
        f"{len(space.directions)} directions (truncated SVD)"
    ]
    empty = np.flatnonzero(~x.any(axis=1))
    if len(empty):
        shown = ", ".join(map(str, empty[:5])) + ", ..." * (len(empty) > 5)
        notes.append(f"{len(empty):,} without any of these (row {shown})")
    return tuple(notes)
