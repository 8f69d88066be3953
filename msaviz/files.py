"""How is a file or a folder written so that it is always either whole or absent?"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from shutil import rmtree
from typing import IO, Any
from zlib import crc32

import numpy as np

PART = ".part"
HOST = f"{crc32(platform.node().encode()):08x}"
"""The machine, in the names of what is half written: of another one's processes nobody here can know whether they live."""
ASIDE = ".old"
HERE, EXCHANGE = -100, 2
"""AT_FDCWD and RENAME_EXCHANGE of renameat2(2)."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; on success it is flushed to disk and renamed over `path`, else removed.

    What killed writers of `path` left half written is removed first. OSError that names `path` where it cannot be written; what was
    there before is then still whole.
    """
    from safetensors import SafetensorError

    path, temporary = Path(path), None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(path)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=beginning(path), suffix=PART)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except (OSError, RuntimeError, SafetensorError) as error:
        if (told := unwritten(path, error)) is error:
            raise
        raise told from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it gets that name in one step, else it is removed.

    What killed writers of `path` left is removed first. ValueError where `path` is there by then and `overwrite` is not set, OSError
    where it cannot be written.
    """
    path, temporary = Path(path), None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(path)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=beginning(path), suffix=PART))
        yield temporary
        temporary.chmod(0o755)
        try:
            temporary.rename(path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            if not overwrite:
                raise ValueError(f"{path} was made by another process in the meantime; overwrite=True replaces it") from None
            _exchange(temporary, path)
    except OSError as error:
        if (told := unwritten(path, error)) is error:
            raise
        raise told from error
    finally:
        if temporary is not None:
            rmtree(temporary, ignore_errors=True)


def _exchange(new: Path, path: Path) -> None:
    """Let two folders change names in one step; where the system knows no such step, `path` is away for a moment."""
    try:
        swap = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, TypeError, OSError):
        swap = None
    if swap is not None and swap(HERE, os.fsencode(new), HERE, os.fsencode(path), EXCHANGE) == 0:
        return
    aside = Path(f"{new}{ASIDE}")
    path.rename(aside)
    new.rename(path)
    aside.rename(new)


@contextmanager
def flushed(path: Path) -> Iterator[IO[bytes]]:
    """The file, open for writing; on disk when the block ends."""
    with open(path, "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def beginning(path: Path) -> str:
    """How this process begins the names of what it writes before it is called `path`."""
    return f".{path.name}.{HOST}-{os.getpid()}-"


def remove_abandoned(path: Path) -> None:
    """Remove what processes of this machine that have ended left beside `path`; a folder that they put aside gets its name back."""
    for left in path.parent.glob(f".{escape(path.name)}.{HOST}-*{PART}*"):
        process = left.name.rpartition(f"{HOST}-")[2].partition("-")[0]
        if not process.isdigit() or _lives(int(process)):
            continue
        if left.name.endswith(ASIDE) and not path.exists():
            left.rename(path)
        elif left.is_dir():
            rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    """Whether there is a process of this number; True where the system cannot tell."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def unwritten(path: Path, error: Exception) -> Exception:
    """The error that says what was not written, and for a full disk what to do; one that is not about `path` is that error itself."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):  # torch raises its own over that of the system
        cause = cause.__cause__ or cause.__context__
    if cause is None and (named := re.search(r"os error (\d+)", str(error))):  # safetensors names its number only
        cause = OSError(int(named[1]), os.strerror(int(named[1])))
    if cause is None or (cause.filename is not None and Path(str(cause.filename)).parent != path.parent):
        return error
    if cause.errno is None or cause.errno in FULL:  # numpy says how many bytes it could write only
        told = f"{path} was not written: {cause.strerror or cause}. What was there before is whole; make room, then repeat the command"
        return OSError(cause.errno or errno.ENOSPC, told)
    return OSError(cause.errno, cause.strerror, str(path))


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
