"""Names of the rows of an array, from a text file."""

from dataclasses import replace
from pathlib import Path

from dec_jax.data.dataset import Dataset
from dec_jax.validation import expanded, near_path, shown


def with_names(dataset: Dataset, path: Path) -> Dataset:
    """Names the rows of a data set by the lines of a text file.

    Args:
      dataset: the rows.
      path: a text file (UTF-8) with one name a line; a line may be empty.

    Returns:
      The data set with these names, in which control characters are escaped.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is no UTF-8 text, or has another number of lines.

    Example:
      >>> import tempfile
      >>> from dec_jax.data.arrays import dataset_from_array
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = Path(folder) / "names.txt"
      ...     _ = path.write_text("first\\nsecond\\n")
      ...     with_names(dataset_from_array([[1.0], [2.0]]), path).names
      ('first', 'second')
    """
    path = expanded(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"names {shown(str(path))}: there is no such file{near_path(path)}"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"names {shown(str(path))} is not UTF-8 text: {error}; save it as UTF-8."
        ) from error
    # Not `splitlines`, which also splits at characters that may stand in a name.
    lines = text.removesuffix("\n").split("\n")
    n = len(dataset.x)
    if len(lines) != n:
        raise ValueError(
            f"names {shown(str(path))} must hold a line for each of the {n:,} rows of "
            f"{dataset.name}, got {len(lines):,} lines."
        )
    return replace(dataset, names=tuple(map(shown, lines)), names_title="name")
