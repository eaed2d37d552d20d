"""Rows of a mapped file, read in any order without leaving its pages in memory."""

import mmap
import os
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import IO

import numpy as np

# Reading one row of a mapped file brings up to 16 pages around it into memory, 64 KiB. Each
# reader copies this number of rows, and then gives back the pages, 4 MiB.
ROWS_AT_ONCE = 64
MAPPED_AT_ONCE = 2**16
# A disk serves many readers at once, whereas a single reader waits for each page.
READERS = 16


class MappedRows:
    """Rows of a mapped file, which are copied so that none of its pages stay resident.

    Args:
      file: file open for reading; it may be closed afterwards.
      shape: (n, d).
      dtype: dtype of the values.
      offset: number of bytes before the first row.

    Attributes:
      x: a map of all rows; rows read through it become resident.
    """

    def __init__(
        self, file: IO[bytes], shape: tuple[int, int], dtype: np.dtype, offset: int = 0
    ) -> None:
        self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        flat = np.frombuffer(self._map, dtype, shape[0] * shape[1], offset)
        self.x = flat.reshape(shape)
        self._offset = offset
        # The map outlives `file`; reads past the map need a descriptor of their own.
        self._file = os.dup(file.fileno()) if hasattr(os, "preadv") else -1
        if self._file >= 0:
            weakref.finalize(self, os.close, self._file)

    def read(self, rows: np.ndarray | slice) -> np.ndarray:
        """Returns a copy of these rows."""
        if isinstance(rows, slice):
            self._advise("MADV_NORMAL")
            out = self.x[rows].copy()
            self._advise("MADV_DONTNEED")
            return out
        # Rows are read in the order of the file, because disks read forwards fastest.
        # order[i] is the place in `out` of the i-th row of the file.
        order = np.argsort(rows, kind="stable")
        ordered = rows[order]
        # Reading ahead helps if most rows follow one another, and wastes memory if not.
        neighbors = np.mean(np.diff(ordered) <= 1) > 0.5 if len(rows) > 1 else False
        self._advise("MADV_NORMAL" if neighbors else "MADV_RANDOM")
        out = np.empty((len(rows), self.x.shape[1]), self.x.dtype)
        copy = partial(self._copy, ordered, order, out, self._are_far_apart(ordered))
        with ThreadPoolExecutor(READERS) as readers:
            list(readers.map(copy, range(min(READERS, -(-len(rows) // ROWS_AT_ONCE)))))
        return out

    def _are_far_apart(self, ordered: np.ndarray) -> bool:
        """Tells whether `_fetch` reads these rows sooner than `_copy`, if it can at all."""
        first, last = (int(ordered[0]), int(ordered[-1])) if len(ordered) else (0, 0)
        # Each row brings its surrounding pages into memory: is that more than they span?
        apart = (last - first) * self.x[0].nbytes > len(ordered) * MAPPED_AT_ONCE
        return self._file >= 0 and apart and first >= 0 and last < len(self.x)

    def _copy(
        self,
        ordered: np.ndarray,
        order: np.ndarray,
        out: np.ndarray,
        far_apart: bool,
        reader: int,
    ) -> None:
        """Copies the rows of one reader: pieces of 64 rows, in turn with the others."""
        for start in range(reader * ROWS_AT_ONCE, len(out), READERS * ROWS_AT_ONCE):
            piece = slice(start, start + ROWS_AT_ONCE)
            if far_apart:
                self._fetch(ordered[piece], order[piece], out)
            else:
                out[order[piece]] = self.x[ordered[piece]]
                # Other readers may still need a page: they just read it again.
                self._advise("MADV_DONTNEED")

    def _fetch(self, rows: np.ndarray, places: np.ndarray, out: np.ndarray) -> None:
        """Reads each row by a call to the system, which touches no page around it."""
        width = self.x[0].nbytes
        into = memoryview(out.view(np.uint8).reshape(-1))
        for row, place in zip(rows.tolist(), places.tolist(), strict=True):
            to, at = into[place * width :][:width], self._offset + row * width
            if os.preadv(self._file, [to], at) != width:
                raise OSError(
                    f"The file must keep its size while it is read, got an end before "
                    f"row {row}; write it again."
                )

    def _advise(self, advice: str) -> None:
        if hasattr(mmap, advice):
            self._map.madvise(getattr(mmap, advice))
