"""What is left of a folder when its writer is ended, as kill -9 ends it, at any moment and before any change of a file?

A trial forks this process, which has imported everything: the child does the work in milliseconds, and dies after a time, or before
the n-th change (an audit hook of the interpreter is told of each file that is opened for writing, renamed, removed, made).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import torch
from safetensors.torch import load_file

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.truncate"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
Work = Callable[[], object]


class Broken(AssertionError):
    """The work raised in its child: the message is its traceback."""


def forked(work: Work) -> tuple[int, int]:
    """(process, the end of a pipe that its traceback comes from) of a child that does the work and ends."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12, about threads: none of them holds a lock here
        child = os.fork()
    if child:
        os.close(writer)
        return child, reader
    code = 0
    try:
        torch.set_num_threads(1)
        os.fsync = lambda file: None  # what the system holds in memory outlives a killed process, and a disk takes its time
        work()
    except BaseException:
        os.write(writer, traceback.format_exc()[-4000:].encode())
        code = 1
    finally:
        os._exit(code)


def ended(child: int, reader: int) -> bool:
    """Whether the child was killed; Broken if it failed by itself."""
    with open(reader, "rb") as told:
        trouble = told.read().decode()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if trouble or code not in (0, -signal.SIGKILL):
        raise Broken(f"exit code {code}\n{trouble}")
    return code == -signal.SIGKILL


def killed_after(work: Work, seconds: float) -> bool:
    """Do the work in a child that is killed after a time; False if it was done before."""
    child, reader = forked(work)
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and not os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        time.sleep(min(left, 0.002))
    os.kill(child, signal.SIGKILL)
    return ended(child, reader)


def killed_before(work: Work, folder: Path, change: int) -> bool:
    """Do the work in a child that is killed before its n-th change (from 0) under `folder`; False if there are not so many."""

    def doomed() -> None:
        for number, _ in enumerate(_hooked(work, folder, lambda number: number == change and os.kill(os.getpid(), signal.SIGKILL))):
            assert number == 0

    return ended(*forked(doomed))


def changes(work: Work, folder: Path) -> int:
    """How many changes the work makes under `folder`, which it really does (in a child)."""
    reader, writer = os.pipe()

    def counted() -> None:
        for count in _hooked(work, folder, lambda number: None):
            os.write(writer, str(count).encode())

    ended(*forked(counted))
    os.close(writer)
    with open(reader, "rb") as told:
        return int(told.read())


def _hooked(work: Work, folder: Path, before: Callable[[int], object]) -> Iterator[int]:
    """Do the work, call `before` ahead of every change, yield their number. Only for a child: a hook stays for ever."""
    count, inside = 0, str(folder.absolute())

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        counts = event == "ctypes.dlsym" and arguments[1] == "renameat2"  # a call of the system without an event follows
        if event == "open" or event in CHANGES:
            path = os.fsdecode(arguments[0]) if isinstance(arguments[0], str | bytes | os.PathLike) else ""
            here = path.startswith(inside) or (path and not os.path.isabs(path))  # rmtree names what lies in an open folder
            counts = here and (event in CHANGES or arguments[2] & WRITING)
        if counts:
            before(count)
            count += 1

    sys.addaudithook(hook)
    work()
    yield count


def moments(total: int, wanted: int) -> list[int]:
    """So many of the changes, spread over all of them and another selection each time; all where there are not more."""
    edges = [total * number // wanted for number in range(wanted + 1)]
    return list(range(total)) if wanted >= total else [random.randrange(low, high) for low, high in pairwise(edges)]


def undisturbed(work: Work) -> float:
    """Do the work in a child that nobody kills; how many seconds it took."""
    start = time.perf_counter()
    assert not ended(*forked(work))
    return time.perf_counter() - start


READERS: dict[str, Callable[[Path], object]] = {
    ".json": lambda path: json.loads(path.read_text(encoding="utf-8")),
    ".jsonl": lambda path: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()],
    ".csv": lambda path: pd.read_csv(path) if path.read_text(encoding="utf-8").endswith("\n") else 1 / 0,
    ".safetensors": load_file,
    ".ipynb": lambda path: nbformat.read(path, as_version=4),
    "checkpoint": lambda path: torch.load(path, weights_only=True),
    "done": lambda path: float(path.read_text(encoding="utf-8").split()[-1]),
}


def whole(folder: Path) -> list[str]:
    """The names of the files under `folder`, each of which was read to its end; what begins with a dot is not there for a reader."""
    names = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        if reader := READERS.get(path.suffix or path.name):
            try:
                reader(path)
            except Exception as error:
                raise AssertionError(f"{name} is no whole file: {type(error).__name__}: {error}") from error
        names.append(name)
    return names


def killed_again(work: Work, folder: Path, seconds: float, times: int) -> int:
    """How often the work was killed, of so many times at any moment of its `seconds`; all files are whole after each."""
    kills = 0
    for _ in range(times):
        kills += killed_after(work, random.uniform(0, seconds))
        whole(folder)
    return kills


def leftovers(folder: Path) -> list[str]:
    """What no finished work leaves: half-written files and scratch folders (a lock stays, and holds nothing)."""
    return [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.name.startswith((".", "tmp")) and not p.name.endswith(".lock")]


def contents(folder: Path, *but: str) -> dict[str, bytes]:
    """Name -> bytes of every file under `folder` that is there for a reader."""
    files = [p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".") and p.name not in but]
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def same(found: dict[str, bytes], expected: dict[str, bytes]) -> bool:
    """Whether two folders hold the same names and bytes; AssertionError names what differs and shows the first difference."""
    assert sorted(found) == sorted(expected)
    for name, content in expected.items():
        if found[name] != content:
            at = next((n for n, (a, b) in enumerate(zip(found[name], content, strict=False)) if a != b), len(content))
            raise AssertionError(
                f"{name} differs at {at}: {found[name][max(0, at - 60) : at + 60]} != {content[max(0, at - 60) : at + 60]}"
            )
    return True


def quietly(work: Work) -> Work:
    """The same work, silent."""

    def silent() -> None:
        with contextlib.redirect_stdout(StringIO()), contextlib.redirect_stderr(StringIO()):
            work()

    return silent
