"""How is an array that lies in a file read piece by piece, so that memory does not grow with the file?

The pages of a memory-mapped file count as memory of the process once they were touched, until they are given back: `pieces` does so
after each slice. `Steps` is what `Ragged.from_padded` makes of a mapped array: the valid steps, looked up in the file when asked for.
As with every mapping, a file that is shortened while it is open ends the process; replacing it by another (rename) does no harm.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np

CHUNK_BYTES = 64 * 2**20
"""How much of an array is looked at in one go wherever a whole array could be too large for memory."""


class Steps:
    """The steps of `padded` [n t *w] that `valid` [n t] marks, as `dtype`: [s *w], read like an array and never held as a whole.

    Numbers and slices along the first axis only; what is returned is a copy. `np.asarray` reads everything.
    """

    def __init__(self, padded: np.ndarray, valid: np.ndarray, dtype: type = np.float32):
        self.padded, self.where, self.dtype = padded, np.flatnonzero(valid), np.dtype(dtype)
        self.shape = (len(self.where), *padded.shape[2:])

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return len(self.where)

    def __getitem__(self, rows: Any) -> np.ndarray:
        row, step = np.divmod(self.where[rows], self.padded.shape[1])
        with np.errstate(all="ignore"):  # numbers beyond float32 become infinite, which is told of the dataset
            return np.asarray(self.padded[row, step]).astype(self.dtype, copy=False)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("steps that lie in a file cannot be an array without a copy")
        whole = np.empty(self.shape, self.dtype if dtype is None else dtype)
        for rows in chunks(len(self), self.nbytes):
            whole[rows] = self[rows]
            release(self)
        return whole

    def __reduce__(self) -> tuple[Any, ...]:
        return np.asarray, (np.asarray(self),)  # another process gets the values, not the file


def chunks(rows: int, total_bytes: int) -> Iterator[slice]:
    """Slices that cover `rows` rows of an array of `total_bytes`, at most CHUNK_BYTES each."""
    size = max(1, rows * CHUNK_BYTES // max(total_bytes, 1))
    return (slice(start, min(start + size, rows)) for start in range(0, rows, size))


def places(values: np.ndarray | Steps, growth: int = 1) -> Iterator[slice]:
    """Slices that cover `values`, which are given back after each; `growth`: how many times as large the caller makes a slice."""
    for rows in chunks(len(values), growth * values.nbytes):
        yield rows
        release(values)


def pieces(values: np.ndarray | Steps, growth: int = 1) -> Iterator[np.ndarray]:
    """`values` in slices along the first axis; see `places`."""
    for rows in places(values, growth):
        yield values[rows]


def mapping(values: Any) -> mmap.mmap | None:
    """The file, mapped to be read only, that the values lie in; None where they lie in memory or may be written."""
    values = values.padded if isinstance(values, Steps) else values
    while isinstance(values, np.ndarray):
        values = values.base
    values = values.obj if isinstance(values, memoryview) else values
    return values if isinstance(values, mmap.mmap) and memoryview(values).readonly else None


def release(values: np.ndarray | Steps) -> None:
    """Give the touched pages of a mapped file back; they are read again when needed."""
    file = mapping(values)
    if file is not None and hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
        file.madvise(mmap.MADV_DONTNEED)
