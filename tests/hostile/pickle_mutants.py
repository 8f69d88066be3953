"""Spoils the field's files in every way it can think of and goes the whole way with each: load, a batch, inspect, as JSON.

Run as a process of its own, `python pickle_mutants.py FOLDER SEED COUNT`: the folder holds honest files; prints a line of JSON a mutant.
What is neither a dataset nor a ValueError with the file's name in it is printed whole, with what made it.
"""

from __future__ import annotations

import copy
import json
import pickle
import random
import resource
import signal
import sys
import traceback
import tracemalloc
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from msaviz import limits
from msaviz.data.inspect import inspect
from msaviz.data.load import load

SECONDS = 20
ADDRESSES = 8 * 2**30
WEIGH = 8
"""The memory of every eighth is measured, which is slow; the addresses of all are bounded."""
ODD: list[Any] = [
    *(None, True, 0, -1, 5, 2**40, 2**63, -(2**63), 0.5, float("nan"), float("inf"), 1e300, "", "text", b"\xff", "\ud800", "a\nb\x00c"),
    *([], (), {}, set(), [[]], [None], [None] * 6, [[1], [1, 2]], ["a"] * 6, [1.5] * 6, {"a": 1}, {1, 2}, [{}] * 6, [[[1]]] * 6),
    *(np.zeros(()), np.zeros(0), np.zeros((0, 3)), np.zeros((6, 0)), np.zeros((6, 0, 4)), np.zeros((6, 4, 0)), np.zeros((0, 3, 8))),
    *(np.zeros(6), np.ones((6, 1)), np.ones((6, 4)), np.ones((6, 8, 5)), np.ones((6, 3, 8)), np.ones((6, 1, 1, 1, 4)), np.ones((1,) * 40)),
    *(np.full(6, np.nan), np.full((6, 8, 5), np.nan), np.full(6, np.inf), np.full((6, 8, 5), 1e300), np.full((6, 3, 8), 2.0**40)),
    *(np.full(6, 7.0), np.full(6, -7), np.full(6, 2**62), np.full(6, 2**63, np.uint64), np.arange(6) / 7, np.arange(6), np.eye(6)),
    *(
        np.array(["a"] * 6),
        np.array(["1"] * 6),
        np.array(["nan"] * 6),
        np.array(["a", None, 3, [1], {}, 2.5], object),
        np.array([None] * 6),
    ),
    *(np.ones((6, 3, 8), "f2"), np.ones((6, 8, 5), ">f8"), np.ones((6, 8, 5), np.longdouble), np.ones((6, 8, 5), bool), np.ones((6, 7))),
    *([np.ones(4)] * 6, [np.ones((2, 4)), np.ones((3, 4))] * 3, [np.array("a")] * 6, [np.float32(1)] * 6, ["x" * 10_000, *"abcde"]),
]
OPTIONS = (
    *("",) * 6,
    ":text=vectors",
    ":text=wordpieces",
    ":text=ids",
    ":domain=video",
    ":domain=speaker",
    ":domain=dialogue",
    ":tasks=emotion",
)


class Slow(BaseException):
    """A mutant that takes longer than SECONDS."""


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """The ways to everything inside, as keys and numbers."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def spoil(content: Any, draw: random.Random) -> Any:
    """One thing in the content replaced, dropped, doubled, cut, turned or renamed."""
    path = draw.choice([*places(content), ()])
    if not path:
        return copy.deepcopy(draw.choice(ODD))
    holder = content
    for key in path[:-1]:
        holder = holder[key]
    key, value = path[-1], holder[path[-1]]
    way = draw.random()
    if way < 0.5:
        holder[key] = copy.deepcopy(draw.choice(ODD))
    elif way < 0.6:
        del holder[key]
    elif way < 0.8 and isinstance(value, np.ndarray) and value.ndim:
        larger = value * 1e30 if value.dtype.kind == "f" else value
        holder[key] = draw.choice(
            [value[:-1], value[:0], value.T, value[..., :1], value[None], value.astype("O"), value.astype(str), larger]
        )
    elif way < 0.8 and isinstance(value, (list, str)):
        holder[key] = draw.choice([value[:-1], value * 2, value[:0], value[::-1], [value], tuple(value)])
    elif way < 0.9:
        holder[key] = draw.choice([[value], (value,), {"a": value}, str(value)[:50], np.array(value, object)])
    elif isinstance(holder, dict):
        holder[
            draw.choice(["labels", "video", "visual", "emotions", "emotion_labels", "emotion_names", "speaker", "valid", "dev", 1, "id"])
        ] = value
    return content


def bend(content: bytes, draw: random.Random) -> bytes:
    """A few bytes flipped, dropped, put in, doubled, moved, or numbers made huge."""
    data = bytearray(content)
    for _ in range(draw.choice([1, 1, 1, 2, 5, 20])):
        at, size = draw.randrange(len(data) + 1), draw.choice([1, 1, 2, 4, 8, 50])
        other = draw.randrange(len(data) + 1)
        way = draw.randrange(7)
        if way == 0:
            data[at : at + 1] = bytes([draw.randrange(256)])
        elif way == 1:
            del data[at : at + size]
        elif way == 2:
            data[at:at] = draw.randbytes(size)
        elif way == 3:
            data[at:at] = data[other : other + size]
        elif way == 4:
            data[at : at + size] = data[other : other + size]
        elif way == 5:
            data[at : at + 4] = draw.choice([0, 1, 255, 2**31 - 1, 2**31, 2**32 - 1]).to_bytes(4, "little")
        else:
            data[at : at + 1] = draw.choice([*b"()}]NKJh0.Rbtause2\x85\x86\x87\x8c\x8f\x90\x91\x93\x94"]).to_bytes(1, "little")
    return bytes(data)


def mutant(honest: list[Any], seed: int) -> tuple[bytes, str]:
    """(a file, the options behind its path)."""
    draw = random.Random(seed)
    content = copy.deepcopy(draw.choice(honest))
    whole = draw.random()
    for _ in range(draw.choice([1, 1, 2, 3]) if whole < 0.7 else 0):
        content = spoil(content, draw)
    if isinstance(content, list) and draw.random() < 0.8:
        content = tuple(content)
    data = pickle.dumps(content, draw.randrange(6))
    return (bend(data, draw) if whole > 0.6 else data), draw.choice(OPTIONS)


def whole_way(source: str) -> None:
    """Load, take a batch of each split, inspect; every number that a model would see is finite, every label one or none."""
    data = load(source)
    for split in data.splits.values():
        batch = split.batch(np.arange(min(len(split), 5)))
        assert all(x.isfinite().all() for x in batch.x.values() if x.is_floating_point())
        for name, task in data.spec.tasks.items():
            y = batch.labels[name]
            assert (not y.isinf().any()) if task.kind == "regression" else bool(((y >= -1) & (y < len(task.classes))).all())
    seen = inspect(data)
    str(seen), json.dumps(seen.to_dict())


def weighed(path: Path, options: str) -> str:
    """What `tried` says, or how much memory it took where that is more than twice what the file may have."""
    tracemalloc.start()
    came, peak = tried(path, options), tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return came if peak < 2 * limits.allowance(path.stat().st_size) else f"{peak:,} bytes of memory"


def tried(path: Path, options: str) -> str:
    """What came of it: read, refused, or the whole trace."""
    signal.alarm(SECONDS)
    try:
        whole_way(f"{path}{options}")
        came = "read"
    except ValueError as error:
        came = "refused" if path.name in str(error) else traceback.format_exc()
    except (Exception, Slow):
        came = traceback.format_exc()
    signal.alarm(0)
    return came


def stop(*_: Any) -> None:
    raise Slow


def main(folder: Path, seed: int, count: int) -> None:
    warnings.simplefilter("error")
    signal.signal(signal.SIGALRM, stop)
    honest = [pickle.loads(path.read_bytes()) for path in sorted(folder.glob("*.pickle"))]
    path = folder / "mutant.pkl"
    for base in honest:
        path.write_bytes(pickle.dumps(tuple(base) if isinstance(base, list) else base))
        whole_way(str(path))  # what is spoilt was whole
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    for number in range(seed, seed + count):
        content, options = mutant(honest, number)
        path.write_bytes(content)
        print(json.dumps({"seed": number, "options": options, "came": (tried if number % WEIGH else weighed)(path, options)}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
