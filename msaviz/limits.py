"""How much may a file of others ask for?

A small file can name an enormous array, unpack to gigabytes of zeros, or hold one list a billion times. Whatever is unfolded from a file
(unpacked, allocated, every shared thing counted wherever it occurs) may have FLOOR bytes in any case, and RATIO times the file's own size.
MSAVIZ_READ_LIMIT, in bytes, takes the place of FLOOR for a file of yours that truly is so empty.
"""

from __future__ import annotations

import os

FLOOR = 2**30
RATIO = 100
VARIABLE = "MSAVIZ_READ_LIMIT"


def allowance(size: int) -> int:
    """Bytes that may be unfolded from a file of `size` bytes."""
    given = os.environ.get(VARIABLE, "")
    if given and not given.isdigit():
        raise ValueError(f"{VARIABLE} is a number of bytes, not {given!r}")
    return max(int(given or FLOOR), RATIO * size)


def check(name: object, asked: int, size: int) -> None:
    """ValueError if `asked` bytes are more than a file of `size` bytes may unfold to; call it before anything is allocated."""
    if asked > allowance(size):
        raise ValueError(
            f"{name}: refused, because its {size:,} bytes unfold to {asked:,} (allowed: {allowance(size):,}). "
            f"If you trust the file, set the environment variable {VARIABLE} to a number of bytes"
        )
