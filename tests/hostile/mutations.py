"""Files as they come out of a bad disk or a bad hand, and a child process in which reading them can do no harm."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ANCHORS = (b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"NUMPY", b"'descr'", b"'shape'")
"""Where an archive or an array says what it is: bytes there matter more than those of the values."""
BINARY = (".npy", ".safetensors")
STRANGE = (None, True, -1, 0, 1.5, 1e400, -1e400, float("nan"), 2**31, 2**70, 10**12, "", "../../etc", "a\0b", "\u202e", "x" * 5000)
STRANGE_MANY = ([], {}, [[]], ["a", "a"], [1, 2], [-1, 10**15], {"": {}}, {"a": [1e308]}, [None])


def mutated(data: bytes, dice: random.Random) -> bytes:
    """One to four bytes or stretches changed, half of them where the structure is told."""
    spots = [at for anchor in ANCHORS for at in _places(data, anchor)]
    out = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        if not out:
            break
        near = dice.choice(spots) + dice.randint(0, 90) if spots and dice.random() < 0.6 else dice.randrange(len(out))
        at = min(near, len(out) - 1)
        kind = dice.randrange(7)
        if kind <= 1:
            out[at] ^= 1 << dice.randrange(8)
        elif kind == 2:
            out[at : at + 4] = dice.choice((b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\xff\xff\xff\x7f", b"9999", b"-111"))
        elif kind == 3:
            del out[at : at + dice.choice((1, 2, 7, 100))]
        elif kind == 4:
            out[at:at] = dice.randbytes(dice.choice((1, 3, 50)))
        elif kind == 5:
            out[at:at] = out[at : at + dice.choice((8, 200))]
        else:
            del out[at if dice.random() < 0.5 else max(0, len(out) - dice.randint(1, 300)) :]
    return bytes(out)


def _places(data: bytes, anchor: bytes) -> list[int]:
    found, at = [], data.find(anchor)
    while at >= 0 and len(found) < 60:
        found.append(at)
        at = data.find(anchor, at + 1)
    return found


def spliced(tree: Any, dice: random.Random) -> Any:
    """The JSON value with one to three of its parts replaced by something strange, removed, or called otherwise."""
    tree = json.loads(json.dumps(tree))
    for _ in range(dice.randint(1, 3)):
        node, key = tree, None
        path: list[tuple[Any, Any]] = [(tree, None)]
        while isinstance(node, dict | list) and node and (len(path) == 1 or dice.random() < 0.75):
            key = dice.choice([*node]) if isinstance(node, dict) else dice.randrange(len(node))
            path.append((node, key))
            node = node[key]
        holder, key = path[-1]
        if key is None or key not in (holder if isinstance(holder, dict) else range(len(holder))):
            continue
        kind = dice.randrange(6)
        if kind == 0:
            del holder[key]
        elif kind == 1 and isinstance(holder, dict):
            holder[str(dice.choice(("../x", "a/b", "", "audio", "..", "q")))] = holder.pop(key)
        elif kind == 2 and isinstance(holder[key], int | float):
            holder[key] = holder[key] * dice.choice((-1, 0, 1000, 10**9)) + dice.choice((0, 1, -1))
        else:
            holder[key] = dice.choice(STRANGE if dice.random() < 0.6 else STRANGE_MANY)
    return tree


def mutated_text(data: bytes, dice: random.Random) -> bytes:
    """A JSON or CSV text with its parts replaced where it is JSON, else with bytes changed."""
    try:
        if dice.random() < 0.8:
            return json.dumps(spliced(json.loads(data), dice)).encode()
    except ValueError:
        pass
    return mutated(data, dice)


def spoilt(
    folder: Path, files: Sequence[Path], used: Callable[[], Any], count: int, also: Callable[[Path], Any] = lambda file: None
) -> dict:
    """How often a folder was read or refused, with one of its files mutated each time; `also` is told which one and may change more.

    In a child process with little memory; all files are as before afterwards. AssertionError names seed and number of a mutation that
    ended otherwise.
    """
    kept, seed = {file: file.read_bytes() for file in files}, random.randrange(10**9)

    def once(number: int) -> str:
        dice = random.Random(f"{seed} {number}")
        file = dice.choice(files)
        file.write_bytes((mutated if file.suffix in BINARY else mutated_text)(kept[file], dice))
        also(file)
        try:
            return outcome(used, folder)
        except Exception as error:
            raise AssertionError(f"mutation {number} of {file.name}, seed {seed}") from error
        finally:
            for name, content in kept.items():
                if name == file or not name.exists():
                    name.write_bytes(content)

    def all_of_them() -> dict[str, int]:
        with warnings.catch_warnings(action="ignore"):
            return counted([once(number) for number in range(count)])

    return in_child(all_of_them, seconds=3500)


def in_child(work: Callable[[], Any], *, seconds: int = 600, more_bytes: int = 3 * 2**30) -> Any:
    """What `work` returns (as JSON), done in a forked process with `more_bytes` of memory; AssertionError if it crashes or hangs."""
    out, into = os.pipe()
    child = os.fork()
    if not child:
        try:
            now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (now + more_bytes, now + more_bytes))
            signal.alarm(seconds)
            told = json.dumps({"result": work()})
        except BaseException:
            told = json.dumps({"failed": traceback.format_exc()[-3000:]})
        with os.fdopen(into, "w") as file:
            file.write(told)
        os._exit(0)
    os.close(into)
    with os.fdopen(out) as file:
        said = file.read()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, f"the child ended with {os.waitstatus_to_exitcode(status)}"
    told = json.loads(said)
    assert "failed" not in told, told["failed"]
    return told["result"]


def outcome(read: Callable[[], Any], *names: Path) -> str:
    """ "read" or "refused": a ValueError or a missing file that names one of `names` in one short line; anything else goes on upwards."""
    try:
        read()
    except (ValueError, FileNotFoundError) as error:
        said = str(error)
        assert any(str(name) in said for name in names), f"names no file: {said[:300]}"
        assert len(said) < 3000, f"{len(said)} characters: {said[:200]}"
        return "refused"
    return "read"


def counted(several: list[str]) -> dict[str, int]:
    return dict(Counter(several))
