"""Files that are written whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole_file(path: Path, ending: str = ".partial") -> Iterator[Path]:
    """Names a file to write to, and gives it the name `path` once it is whole.

    If writing fails, an existing file is unchanged, and nothing is left behind.

    Args:
      path: the file. An existing one is replaced.
      ending: what the name of the file to write to ends in.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     with whole_file(Path(folder) / "labels.csv") as partial:
      ...         name, _ = partial.name, partial.write_text("index,cluster")
      ...     name, [path.name for path in Path(folder).iterdir()]
      ('labels.csv.partial', ['labels.csv'])
    """
    partial = path.with_name(f"{path.name}{ending}")
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        # What is reported is the first failure, not that of tidying up.
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
