"""How is a file written so that it is always either whole or absent, and a folder by one process at a time?"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

LOCK = ".lock"
"""The file in a folder that whoever writes there holds; the system frees it when its process ends, however it ends."""


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; on success it is flushed to disk and renamed over `path`, else removed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def locked(folder: str | Path, doing: str) -> Iterator[None]:
    """Be the only process that writes into `folder`; what killed writers left half written there is removed first.

    ValueError at once where another process (or thread) holds it; `doing` says for what, such as "training".
    """
    from filelock import FileLock, Timeout

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        holder = (folder / LOCK).read_text(encoding="ascii", errors="replace").strip()
        who = f"process {holder}" if holder.isdigit() else "another process"
        raise ValueError(f"{who} is {doing} in {folder} already; wait until it ends, or choose another folder") from None
    try:
        (folder / LOCK).write_text(f"{os.getpid()}\n", encoding="ascii")
        for left in folder.glob(".*.part"):
            left.unlink(missing_ok=True)
        yield
    finally:
        with suppress(OSError):
            (folder / LOCK).unlink()  # while it is held: who waits for it sees that it is gone and makes a new one
        lock.release()


def write_text(path: str | Path, text: str) -> None:
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, allow_nan=True) + "\n")


def write_array(path: str | Path, values: np.ndarray) -> None:
    """A .npy file, no pickle inside."""
    with atomic(path) as temporary, open(temporary, "wb") as file:
        np.save(file, values, allow_pickle=False)


def read_array(path: str | Path) -> np.ndarray | None:
    """What `write_array` wrote; None if there is no such file or it cannot be read."""
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None


def cache_folder() -> Path:
    """Where computed things may be kept between runs: MSAVIZ_CACHE, or msaviz in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("MSAVIZ_CACHE") or Path(base) / "msaviz")
