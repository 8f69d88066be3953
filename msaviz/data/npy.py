"""What does a `.npy` claim to hold, and is it true, before anything is allocated for it?

Python objects are never read, nor what no dataset of ours is made of: records, dates, complex numbers, raw bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from tokenize import TokenError
from typing import IO

import numpy as np

KINDS = "biufUS"
"""Kinds of numpy's types that are read: flags, numbers and text."""


@dataclass(frozen=True)
class Header:
    """The first bytes of a `.npy`."""

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    start: int
    """Where the values begin."""

    @property
    def bytes(self) -> int:
        """What the values take."""
        return prod(self.shape) * self.dtype.itemsize

    @property
    def asked(self) -> int:
        """What reading may cost: an array that is empty along one axis is as long as it says along the others."""
        return prod(max(1, side) for side in self.shape) * max(1, self.dtype.itemsize)


def read_header(stream: IO[bytes]) -> Header:
    """What stands at the beginning of the stream, which then stands before the values; ValueError for what is not read."""
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"a .npy of format {version[0]}.{version[1]}, which plain arrays do not need")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        shape, fortran, dtype = read(stream)
    except (ValueError, RecursionError, MemoryError, SyntaxError, TypeError, TokenError) as error:  # of literal_eval and numpy.dtype
        raise ValueError(f"its .npy header cannot be read ({' '.join(str(error).split())[:100]})") from None
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are not read; save plain arrays")
    if dtype.kind not in KINDS or dtype.subdtype is not None:
        raise ValueError(f"it holds {dtype}; expected numbers, flags or text")
    if any(isinstance(side, bool) or side < 0 for side in shape):
        raise ValueError(f"its .npy header claims the shape {list(shape)}")
    return Header(tuple(shape), dtype, fortran, stream.tell())


def read_values(stream: IO[bytes], header: Header) -> np.ndarray:
    """The values that the header describes, from the stream that stands before them; ValueError if it ends early."""
    values = np.empty(header.shape[::-1] if header.fortran else header.shape, header.dtype)
    room = values.reshape(-1).view(np.uint8).data if values.nbytes else memoryview(b"")
    done = 0
    while done < len(room):
        piece = stream.read(min(len(room) - done, 2**20))
        if not piece:
            raise ValueError(f"it ends after {done:,} of {len(room):,} bytes")
        room[done : done + len(piece)] = piece
        done += len(piece)
    return values.T if header.fortran else values
