"""How is a file read that somebody else may have written: as what it claims to be, or as one clear error?"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile

JSON_BYTES = 64 * 2**20
"""A larger text of others is not read: what we write as JSON (a header, options, a history) is far smaller."""
MISREAD = (
    *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError, EOFError, SyntaxError, MemoryError),
    *(BadZipFile, zlib.error, struct.error, UnpicklingError, AssertionError),
)
"""What the readers of numpy, pandas, torch, optuna and of Python itself raise for a file that is not what it seems (a RecursionError is
a RuntimeError)."""


@contextmanager
def reading(path: str | Path, remedy: str = "") -> Iterator[None]:
    """Whatever fails inside because of what the file or folder `path` holds is one ValueError that names it and the `remedy`."""
    try:
        yield
    except MISREAD as error:
        said = " ".join(str(error).split())
        if isinstance(error, ValueError) and str(path) in str(error):
            raise
        said = said[:300] if isinstance(error, ValueError) else f"{type(error).__name__}: {said[:300]}"
        raise ValueError(f"{path}: {said}{f'; {remedy}' if remedy else ''}") from error


def plain_file(path: str | Path) -> Path:
    """The path, if a plain file is there (a pipe would never end); else FileNotFoundError that names it."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing, or no plain file")
    return path


def read_text(path: str | Path, most: int = JSON_BYTES) -> str:
    """The UTF-8 text of a plain file of at most `most` bytes; FileNotFoundError where there is none, else ValueError, both naming it."""
    if (size := plain_file(path).stat().st_size) > most:
        raise ValueError(f"{path}: refused, because its {size:,} bytes are more than such a file may have ({most:,})")
    with reading(path):
        return Path(path).read_text(encoding="utf-8")


def read_json(path: str | Path) -> dict[str, Any]:
    """The JSON object in a file that others may have written; FileNotFoundError and ValueError name it."""
    text = read_text(path)
    with reading(path):
        return parse_object(text)


def parse_object(text: str) -> dict[str, Any]:
    """The JSON object that `text` holds; ValueError for anything else, for a key that stands twice and for what is nested too deeply."""
    try:
        found = json.loads(text, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError(f"expected a JSON object {{...}}; got a {type(found).__name__}")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {max(keys, key=keys.count)[:80]!r} stands twice")
    return found
