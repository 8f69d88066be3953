"""Reads every file of a folder while the interpreter tells of all it does; prints a line of JSON for each: what came of it, how, how long.

Run as a process of its own: `python pickle_watch.py FOLDER`; the current folder is where a success would leave its canary.
"""

from __future__ import annotations

import copyreg
import json
import os
import resource
import sys
import time
from pathlib import Path

from attacks import EXTENSION

from msaviz.data import unpickle
from msaviz.data.load import load

MEMORY = 6 * 2**30
"""Bytes of addresses that the process may have: torch takes most of them."""
QUIET = {"builtins.id", "mmap.__new__", "object.__getattr__", "sys._getframe", "os.listdir", "os.scandir", "gc.get_objects"}
"""Events that have no effect, beside opening to read."""


def happened(event: str, arguments: tuple) -> str | None:
    """What an audit event says, None where it is harmless."""
    if event in QUIET or (event == "open" and (arguments[1] in ("r", "rb", None) and not arguments[2] & (os.O_WRONLY | os.O_RDWR))):
        return None
    return f"{event} {arguments!r}"[:200]


def outcome(read, path: Path) -> str:
    try:
        return f"read {read(path)!r}"[:300]
    except ValueError as error:
        return f"{type(error).__name__} {error}"


def main(folder: Path) -> None:
    copyreg.add_extension("os", "system", EXTENSION)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    paths, events = sorted(folder.iterdir()), []
    for first in paths[:1]:  # imports happen now
        outcome(load, first), outcome(unpickle.load, first)
    mapped = unpickle.MAP_FILE
    sys.addaudithook(lambda event, arguments: events.append(told) if (told := happened(event, arguments)) else None)
    for path in paths:
        start = time.perf_counter()
        found = [outcome(unpickle.load, path), outcome(load, path)]
        unpickle.MAP_FILE = 0
        found.append(outcome(unpickle.load, path))
        unpickle.MAP_FILE = mapped
        print(json.dumps({"file": path.name, "found": found, "events": events[:], "seconds": time.perf_counter() - start}))
        events.clear()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
