"""How are sequences of unequal length kept, and cut into padded batches, without a loop over rows?

A `Ragged` is one flat array of steps and the offsets of its rows; `Strings` is the same for text. Both work alike on arrays
in memory and on memory-mapped files; a Ragged made of a mapped array keeps no values of its own (`msaviz.data.mapped`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from msaviz.data.mapped import Steps, mapping, pieces


@dataclass(frozen=True, eq=False)
class Ragged:
    """n sequences: row i is `values[offsets[i] : offsets[i + 1]]`; values are [s w] (frames) or [s] (token ids, flags)."""

    values: np.ndarray  # or Steps, which are read like an array
    offsets: np.ndarray  # int64[n + 1], from 0 to s, never falling

    def __post_init__(self) -> None:
        _check(self.offsets, len(self.values), "steps")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """int64[n]: steps of each row; 0 says that the row has no such sequence."""
        return np.diff(self.offsets)

    def row(self, row: int) -> np.ndarray:
        """The steps of one row, unpadded."""
        return np.asarray(self.values[self.offsets[row] : self.offsets[row + 1]])

    def index(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(int64[b t], bool[b t]): where in `values` each padded step lies (`len(values)` on padding), and which are valid.

        t is the longest of these rows, at least 1.
        """
        start = np.asarray(self.offsets[rows])[:, None]
        length = np.asarray(self.offsets[rows + 1])[:, None] - start
        step = np.arange(max(int(length.max(initial=0)), 1))
        valid = step < length
        return np.where(valid, start + step, len(self.values)), valid

    def padded(self, rows: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """([b t *w] with zeros on padding, bool[b t]) for these rows (None: all)."""
        index, valid = self.index(np.arange(len(self)) if rows is None else np.asarray(rows))
        out = np.zeros((*valid.shape, *self.values.shape[1:]), self.values.dtype)
        out[valid] = self.values[index[valid]]
        return out, valid

    def take(self, rows: np.ndarray) -> Ragged:
        """These rows as a new Ragged (copied)."""
        rows = np.asarray(rows, dtype=np.int64)
        index, valid = self.index(rows)
        return Ragged(np.asarray(self.values[index[valid]]), offsets_of(self.lengths[rows]))

    @classmethod
    def from_padded(cls, padded: np.ndarray, valid: np.ndarray, dtype: type = np.float32) -> Ragged:
        """Keep the valid steps of `padded` [n t *w] as `dtype`: copied, so that it can be let go, or left in the file it is mapped from."""
        with np.errstate(over="ignore"):  # a number too large becomes infinite: a trap that is told, and 0 in a batch
            values = cast(np.ndarray, Steps(padded, valid, dtype)) if mapping(padded) else padded[valid].astype(dtype, copy=False)
        return cls(values, offsets_of(valid.sum(1)))

    @classmethod
    def from_rows(cls, rows: Sequence[np.ndarray], dtype: type = np.float32) -> Ragged:
        """From a list of [t_i *w] arrays."""
        with np.errstate(over="ignore"):
            values = np.concatenate([np.asarray(row) for row in rows]).astype(dtype, copy=False)
        return cls(values, offsets_of([len(row) for row in rows]))

    @classmethod
    def absent(cls, rows: int, like: Ragged) -> Ragged:
        """`rows` empty sequences of the same kind and width: the modality is missing everywhere."""
        return cls(np.zeros((0, *like.values.shape[1:]), like.values.dtype), np.zeros(rows + 1, np.int64))


class Strings(Sequence[str]):
    """Many strings as one UTF-8 blob and offsets; each is decoded when asked for."""

    def __init__(self, blob: np.ndarray, offsets: np.ndarray, name: str = "texts"):
        _check(offsets, len(blob), "bytes")
        self.blob, self.offsets, self.name = blob, offsets, name

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row):  # type: ignore[override]
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        row = range(len(self))[row]
        try:
            return bytes(self.blob[self.offsets[row] : self.offsets[row + 1]]).decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{self.name}: row {row} is no text ({error})") from None

    @classmethod
    def pack(cls, strings: Sequence[str]) -> Strings:
        """The same strings, packed."""
        encoded = [text.encode("utf-8") for text in strings]
        return cls(np.frombuffer(b"".join(encoded), np.uint8), offsets_of([len(text) for text in encoded]))


def _check(offsets: np.ndarray, size: int, of: str) -> None:
    """ValueError unless the offsets cut `size` things into rows."""
    if np.ndim(offsets) != 1 or len(offsets) < 1 or offsets.dtype.kind != "i" or offsets[0] != 0 or offsets[-1] != size:
        raise ValueError(f"offsets must run from 0 to {size} (the number of {of}), in whole numbers")
    if (offsets[1:] < offsets[:-1]).any():
        row = int(np.flatnonzero(offsets[1:] < offsets[:-1])[0])
        raise ValueError(f"offsets must never fall; after {offsets[row]} stands {offsets[row + 1]} (row {row})")


def offsets_of(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """int64[n + 1]: where each row starts, and the end."""
    return np.concatenate([[0], np.cumsum(np.asarray(lengths, dtype=np.int64))]).astype(np.int64)


def prefix(lengths: np.ndarray, steps: int) -> np.ndarray:
    """bool[n t]: True on the first `lengths[i]` of `steps` steps."""
    return np.arange(steps) < np.asarray(lengths)[:, None]


def hull(occupied: np.ndarray) -> np.ndarray:
    """bool[n t]: True from the first to the last True of each row (all False where there is none)."""
    seen = np.maximum.accumulate(occupied, axis=1)
    ahead = np.maximum.accumulate(occupied[:, ::-1], axis=1)[:, ::-1]
    return seen & ahead


def occupied(padded: np.ndarray) -> np.ndarray:
    """bool[n t]: which steps of [n t w] hold anything but zeros (NaN counts as something)."""
    parts = [(piece != 0).any(-1) for piece in pieces(padded)]
    return np.concatenate(parts) if parts else np.zeros(padded.shape[:2], bool)
