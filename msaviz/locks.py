"""How is a folder written by one process at a time, whatever ends it?"""

from __future__ import annotations

import errno
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

LOCK = ".lock"
"""The file in a folder that whoever writes there holds; the system frees it when its process ends, however it ends."""
LONGEST = 10.0
"""Seconds between two looks whether a folder is free, at most."""
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


class Held(ValueError):
    """Another process writes into the folder."""


@contextmanager
def locked(folder: str | Path, doing: str) -> Iterator[None]:
    """Be the only process that writes into `folder`.

    Held (a ValueError) at once where another process (or thread) holds it; `doing` says for what, such as "training".
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lock, soft = _lock(folder, doing)
    try:
        if not soft:
            (folder / LOCK).write_text(f"{os.getpid()}\n", encoding="ascii")
        yield
    finally:
        if not soft:
            with suppress(OSError):
                (folder / LOCK).unlink()  # while it is held: who waits for it sees that it is gone and makes a new one
        lock.release()


def when_free(work: Callable[[], T]) -> T:
    """What `work` returns; it is tried again for as long as another process writes into the folder that it needs."""
    pause = 0.5
    while True:
        try:
            return work()
        except Held:
            time.sleep(pause)
            pause = min(2 * pause, LONGEST)


def _lock(folder: Path, doing: str) -> tuple[Any, bool]:
    """(the lock of `folder`, taken, whether it is a soft one): on file systems without locks a file that says who holds it."""
    from filelock import FileLock, SoftFileLock, Timeout

    with warnings.catch_warnings(action="ignore"):  # that the file system has no locks
        lock = FileLock(folder / LOCK, timeout=0)
        try:
            try:
                lock.acquire()
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
                lock = SoftFileLock(folder / f"{LOCK}.held", timeout=0)
                lock.acquire()
        except Timeout:
            raise Held(_held(Path(lock.lock_file), doing, isinstance(lock, SoftFileLock))) from None
    return lock, isinstance(lock, SoftFileLock)


def _held(file: Path, doing: str, soft: bool) -> str:
    try:
        holder = file.read_text(encoding="ascii", errors="replace").partition("\n")[0].strip()
    except OSError:  # it was freed in this moment
        holder = ""
    who = f"process {holder}" if holder.isdigit() else "another process"
    gone = f" (if there is no such process any more, on any machine, delete {file})" if soft else ""
    return f"{who} is {doing} in {file.parent} already; wait until it ends, or choose another folder{gone}"
