"""Is an archive of arrays from anywhere either read, or refused in one clear sentence before it costs anything?"""

from __future__ import annotations

import io
import os
import random
import struct
import time
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from endurance import tell, tries
from mutations import counted, in_child, mutated, outcome

from msaviz.data.load import load

N = 12
RIGHT = {
    "audio": np.arange(N * 8, dtype=np.float32).reshape(N, 4, 2) + 1,
    "text": np.ones((N, 3), np.float32),
    "y": np.linspace(-3, 3, N),
    "id": np.array([f"v{i}_{i}" for i in range(N)]),
    "split": np.array(["train", "valid", "test"] * (N // 3)),
}


def npy(shape: Any, descr: Any = "<f4", values=b"", header=None) -> bytes:
    """A .npy file that claims what it likes."""
    text = header if header is not None else f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}"
    raw = text.encode("latin1") + b" " * (-(len(text) + 11) % 64) + b"\n"
    length = struct.pack("<H", len(raw)) if len(raw) < 2**16 else struct.pack("<I", len(raw))
    return b"\x93NUMPY" + (b"\x01\x00" if len(raw) < 2**16 else b"\x02\x00") + length + raw + values


def archive(path: Path, members: dict[str, bytes] | list[tuple[str, bytes]], compress=zipfile.ZIP_DEFLATED) -> Path:
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(path, "w", compress) as file:
        for name, data in members.items() if isinstance(members, dict) else members:
            file.writestr(name, data)
    return path


def plain(**changes) -> dict[str, bytes]:
    """The members of a right archive, some of them changed; bytes stand for themselves."""
    found = {}
    for key, value in {**RIGHT, **changes}.items():
        stream = io.BytesIO()
        if not isinstance(value, bytes):
            np.save(stream, value, allow_pickle=True)
        found[f"{key}.npy"] = value if isinstance(value, bytes) else stream.getvalue()
    return found


def used(path: Path) -> None:
    """Read all, and see that nothing is handed out that is no number."""
    data = load(path)
    for split in data.splits.values():
        batch = split.batch(np.arange(len(split)))
        assert all(x.isfinite().all() for x in batch.x.values() if x.is_floating_point())
        assert [len(split.ids[i]) >= 0 for i in range(len(split))]
        assert not any(y.is_floating_point() and y.isinf().any() for y in batch.labels.values())


def test_the_right_archive_is_read(tmp_path):
    used(archive(tmp_path / "a.npz", plain()))
    data = load(archive(tmp_path / "f.npz", plain(audio=np.asfortranarray(RIGHT["audio"]))))
    np.testing.assert_array_equal(data["train"].sequences["audio"].row(1), RIGHT["audio"][3])


HUGE, DEEP = 10**12, "(" * 5000 + ")" * 5000
CLAIMS = {
    "rows": (npy((HUGE, 2)), r"audio.npy': it claims \[1000000000000, 2\] of float32, 8,000,000,000,\d+ bytes, but has"),
    "product": (npy((2**40, 2**40)), "it claims"),
    "nothing times much": (npy((N, HUGE, 0)), "unfold to"),
    "negative": (npy((-4, 2), values=b"\0" * 32), "shape"),
    "flag as side": (npy("(True, 2)", values=b"\0" * 8), "shape|valid"),
    "no shape": (npy("None"), "shape"),
    "a number": (npy("()", values=b"\0" * 4), "expected 12 rows"),
    "records": (npy((N,), [("a", "<f4")], b"\0" * 48), "expected numbers"),
    "objects": (npy((N,), "|O", b"\0" * 96), "Python objects, which are not read"),
    "raw bytes": (npy((N,), "|V4", b"\0" * 48), "expected numbers"),
    "dates": (npy((N,), "<M8[ns]", b"\0" * 96), "expected numbers"),
    "complex": (npy((N, 2), "<c8", b"\0" * 192), "expected numbers"),
    "sub-arrays": (npy((N,), ("<f4", (2,)), b"\0" * 96), "expected numbers|shape"),
    "code": (npy((), header="{'descr': __import__('os').system('touch canary'), 'fortran_order': False, 'shape': (1,)}"), "header"),
    "deep": (npy((), header=f"{{'descr': {DEEP}}}"), "header"),
    "large header": (npy((), header="{" + " " * 70000 + "}"), "large|header"),
    "cut": (npy((N, 4, 2), values=b"\0" * 9), "it claims"),
    "no magic": (b"hello", "magic|header"),
    "format": (b"\x93NUMPY\x03\x00" + b"\0" * 80, "format 3.0"),
    "empty": (b"", "magic|EOF|header"),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_what_a_member_claims_is_compared_with_what_it_has(tmp_path, claim, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data, said = CLAIMS[claim]
    path = archive(tmp_path / "a.npz", plain(audio=data))
    with pytest.raises(ValueError, match=said) as error:
        load(path)
    assert str(path) in str(error.value)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"y": np.full(N, np.nan)}, "no label at all"),
        ({"y": np.zeros((0,))}, "expected y_train"),
        ({"y": np.array(["1"] * N)}, "y must hold numbers"),
        ({"y": np.ones((N, 2, 2))}, "y must hold numbers"),
        ({"id": np.ones((N, 2))}, r"id must hold numbers or text \[12\]"),
        ({"length": np.ones(N)}, "length must hold whole numbers"),
        ({"length": np.full(N, -1)}, "row 0 says -1"),
        ({"has_audio": np.array(["x"] * N)}, "has_audio must hold flags"),
        ({"split": np.array(["train", "other", "test"] * 4)}, "split names 'other'"),
        ({"audio": np.ones((N, 4, 0))}, "expected numbers"),
        ({"../../x": np.ones((N, 2))}, "a modality's name is letters"),
        ({"words": np.array(["a b"] * N), "text": np.ones((N, 2), bool)}, "expected numbers"),
    ],
)
def test_a_column_that_cannot_be_is_told(tmp_path, changes, said):
    path = archive(tmp_path / "a.npz", plain(**changes))
    with pytest.raises(ValueError, match=said) as error:
        load(path)
    assert str(path) in str(error.value)


def test_infinite_and_huge_values_are_masked(tmp_path):
    audio = np.where(np.arange(N)[:, None, None] % 2, RIGHT["audio"].astype(float), 1e300)
    path = archive(tmp_path / "a.npz", plain(audio=audio, y=np.where(np.arange(N) % 3, RIGHT["y"], np.inf)))
    used(path)
    assert any("values are NaN or infinite" in trap for trap in load(path).traps)


def lying(path: Path, field: int, value: bytes) -> Path:
    """The archive whose directory says something else about its first member."""
    data = bytearray(archive(path, plain()).read_bytes())
    at = data.find(b"PK\x01\x02") + field
    data[at : at + len(value)] = value
    path.write_bytes(data)
    return path


def overlapping(path: Path, members: int) -> Path:
    """One compressed run of zeros under many names."""
    archive(path, {"audio.npy": npy((2**16, 64), values=bytes(2**24))})
    data = path.read_bytes()
    start, end = data.find(b"PK\x01\x02"), data.find(b"PK\x05\x06")
    entry, tail = data[start:end], bytearray(data[end:])
    name = b"audio.npy"
    entries = b"".join(entry.replace(name, b"a%04d.npy" % i) for i in range(members))
    tail[8:12] = struct.pack("<HH", members, members)
    tail[12:16] = struct.pack("<I", len(entries))
    path.write_bytes(data[:start] + entries + bytes(tail))
    return path


BOMBS = {
    "zeros": lambda path: archive(path, plain(audio=npy((2**24,), values=bytes(2**26)))),
    "overlapping": lambda path: overlapping(path, 500),
    "a size that lies": lambda path: lying(path, 24, struct.pack("<I", 2**31 - 1)),
    "a place that lies": lambda path: lying(path, 42, struct.pack("<I", 2**31 - 1)),
    "encrypted": lambda path: lying(path, 8, b"\x01\x00"),
    "another compression": lambda path: lying(path, 10, b"\x0e\x00"),
    "bzip2": lambda path: archive(path, plain(), zipfile.ZIP_BZIP2),
    "twice": lambda path: archive(path, [*plain().items(), *plain().items()]),
    "nested": lambda path: archive(path, {"a.npz": archive(path, plain()).read_bytes()}),
    "many": lambda path: archive(path, {f"a{i}.npy": b"" for i in range(20_000)}, zipfile.ZIP_STORED),
    "cut": lambda path: path.write_bytes(archive(path, plain()).read_bytes()[:-40]) and path,
    "no archive": lambda path: path.write_bytes(b"PK\x05\x06" + b"\xff" * 18) and path,
    "empty": lambda path: path.write_bytes(b"") or path,
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_in_little_memory_and_time(tmp_path, bomb, monkeypatch):
    monkeypatch.setattr("msaviz.limits.FLOOR", 2**22)
    path = BOMBS[bomb](tmp_path / "a.npz")

    def read() -> list:
        start = time.process_time()
        return [outcome(lambda: load(path), path), time.process_time() - start]

    said, seconds = in_child(read, more_bytes=100 * 2**20)
    assert said == "refused"
    assert seconds < 5


def test_a_pipe_and_a_plain_array_are_no_archive(tmp_path):
    os.mkfifo(tmp_path / "a.npz")
    np.save(tmp_path / "b.npy", np.ones(3))
    for path in (tmp_path / "a.npz", tmp_path / "b.npy"):
        with pytest.raises(ValueError, match="of no kind that we read"):
            load(path)


def fuzz(path: Path, data: bytes, count: int, seed: int) -> dict[str, int]:
    """What came of so many mutations; each must end within seconds."""

    def once(number: int) -> str:
        path.write_bytes(mutated(data, random.Random(f"{seed} {number}")))
        start = time.process_time()
        said = outcome(lambda: used(path), path)
        assert time.process_time() - start < 10, f"{seed} {number} took {time.process_time() - start:.1f} s"
        return said

    def all_of_them() -> dict[str, int]:
        with warnings.catch_warnings(action="ignore"):
            return counted([_told(once, number) for number in range(count)])

    return in_child(all_of_them, seconds=3500)


def _told(once, number: int) -> str:
    try:
        return once(number)
    except Exception as error:
        raise AssertionError(f"mutation {number}") from error


def test_mutated_archives_are_read_or_refused(tmp_path):
    count, seed = tries(150), random.randrange(10**9)
    data = archive(tmp_path / "a.npz", plain(), zipfile.ZIP_STORED).read_bytes()
    found = fuzz(tmp_path / "a.npz", data, count, seed)
    assert found["refused"] > count / 10, (seed, found)
    tell("small .npz, bytes changed", count, **found)


def test_mutated_real_archives_are_read_or_refused(tmp_path, real_data):
    count, seed = tries(12), random.randrange(10**9)
    found = fuzz(tmp_path / "a.npz", (real_data / "youtube_seq.npz").read_bytes(), count, seed)
    assert sum(found.values()) == count, (seed, found)
    tell("real .npz, bytes changed", count, **found)
