"""Does a mapped file give what a file read as a whole gives, in memory that does not grow with it, and refuse what is not there?"""

import mmap
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from data.test_mmsa_pickle import ROWS, rows

from msaviz.data import mapped, msa, unpickle
from msaviz.data.load import load
from msaviz.data.mapped import Steps, mapping, pieces
from msaviz.data.ragged import Ragged, occupied

HUGE = 10 * 2**40


@pytest.fixture
def small_limits(monkeypatch):
    monkeypatch.setattr(unpickle, "MAP_FILE", 0)
    monkeypatch.setattr(unpickle, "MAP_BLOCK", 64)


def padded(n=7, t=5, w=3, dtype=np.float32):
    g = np.random.default_rng(0)
    x, valid = g.normal(size=(n, t, w)).astype(dtype), g.random((n, t)) < 0.5
    x[1, 2, 0], valid[3] = np.nan, False
    return x, valid


def in_file(path, x):
    np.save(path, x)
    return np.load(path, mmap_mode="r")


@pytest.mark.parametrize("kind", ["f4", "fortran", ">f4", "f8", "i2", "one a step"])
def test_steps_are_read_like_the_array_that_they_stand_for(tmp_path, kind):
    x, valid = padded()
    x = np.asfortranarray(x) if kind == "fortran" else x[..., 0] if kind == "one a step" else np.nan_to_num(x).astype(kind)
    expected = Ragged.from_padded(x, valid)
    found = Ragged.from_padded(in_file(tmp_path / "x.npy", x), valid)
    assert isinstance(found.values, Steps)
    assert isinstance(expected.values, np.ndarray)
    np.testing.assert_array_equal(found.offsets, expected.offsets)
    for what in ("shape", "dtype", "ndim", "size", "nbytes"):
        assert getattr(found.values, what) == getattr(expected.values, what), what
    for at in (slice(None), slice(2, 9), [4, 0, 4], 3, np.arange(len(expected.values)) % 2 == 0, np.zeros(0, int)):
        np.testing.assert_array_equal(found.values[at], expected.values[at])
        assert found.values[at].dtype == expected.values.dtype
    for left, right in zip(found.padded(np.array([0, 3, 1])), expected.padded(np.array([0, 3, 1])), strict=True):
        np.testing.assert_array_equal(left, right)
    again = pickle.loads(pickle.dumps(found))  # for another process
    assert isinstance(again.values, np.ndarray)
    np.testing.assert_array_equal(again.values, expected.values)
    np.testing.assert_array_equal(occupied(np.atleast_3d(x)), (np.atleast_3d(x) != 0).any(-1))


def test_what_may_change_is_copied(tmp_path):
    x, valid = padded()
    for mode in ("r+", "c"):
        np.save(tmp_path / "x.npy", x)
        source = np.load(tmp_path / "x.npy", mmap_mode=mode)
        found = Ragged.from_padded(source, valid).values
        assert isinstance(found, np.ndarray)
        source[:] = 0
        np.testing.assert_array_equal(found, x[valid])
        assert mapping(source) is None


def write(path, content, protocol, monkeypatch):
    """A pickle that keeps even small arrays outside its frames, as any pickle does those of more than 64 KB."""
    with monkeypatch.context() as patch, path.open("wb") as file:
        patch.setattr(pickle._Framer, "_FRAME_SIZE_TARGET", 64)
        pickle._Pickler(file, protocol).dump(content)


def layouts():
    """Name -> (changes of the usual columns, aligned)."""
    x = rows()[0]
    return {
        "unaligned": ({}, False),
        "aligned": ({}, True),
        "vectors": ({"text_bert": None, "tokens": None}, False),
        "float64": ({m: x[m].astype(np.float64) for m in ("audio", "vision")}, False),
        "fortran": ({m: np.asfortranarray(x[m]) for m in ("audio", "vision")}, False),
        "big": ({m: x[m].astype(">f4") for m in ("audio", "vision")}, False),
        "objects": ({"audio": x["audio"].astype(object).astype(np.float32), "id": np.array(x["id"], object)}, False),
        "texts": ({"raw_text": np.array(["ein früher Satz"] * ROWS), "vision": None, "vision_lengths": None}, False),
        "flat": ({"audio": x["audio"].reshape(ROWS, -1), "audio_lengths": None}, False),
        "nan": ({"audio": np.where(x["audio"] > 1, np.nan, x["audio"])}, False),
    }


def equal(a, b):
    """Everything, to the bit."""
    assert (a.spec, a.fingerprint, a.traps, a.contextual, a.unknown) == (b.spec, b.fingerprint, b.traps, b.contextual, b.unknown)
    for m, pair in a.normalisation.items():
        np.testing.assert_array_equal(pair, b.normalisation[m])
    for split in a.splits:
        x, y = a[split], b[split]
        assert (list(x.ids), list(x.texts), list(x.token_strings)) == (list(y.ids), list(y.texts), list(y.token_strings))
        for m in a.spec.modalities:
            left, right = (np.asarray(s.sequences[m].values) for s in (x, y))
            assert left.tobytes() == right.tobytes()
            assert left.dtype == right.dtype
            np.testing.assert_array_equal(x.sequences[m].offsets, y.sequences[m].offsets)
            assert x.batch([5, 2]).x[m].equal(y.batch([5, 2]).x[m])
        for task in a.spec.tasks:
            np.testing.assert_array_equal(x.labels[task], y.labels[task])


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("layout", layouts())
def test_a_mapped_file_holds_the_same_dataset_and_converts_to_the_same_bytes(tmp_path, monkeypatch, layout, protocol):
    changes, aligned = layouts()[layout]
    path = tmp_path / "a.pkl"
    content = {s: rows(i, aligned=aligned, **changes)[0] for i, s in enumerate(("train", "valid", "test"))}
    write(path, content, protocol, monkeypatch)
    whole = load(path)
    assert all(isinstance(s.values, np.ndarray) for s in whole["train"].sequences.values())
    saved = msa.save(whole, tmp_path / "whole.msa")
    monkeypatch.setattr(unpickle, "MAP_FILE", 0)
    monkeypatch.setattr(unpickle, "MAP_BLOCK", 64)
    monkeypatch.setattr(mapped, "CHUNK_BYTES", 256)
    assert isinstance(load(path)["train"].sequences["audio"].values, Steps)
    converted = msa.convert(path, tmp_path / "mapped.msa")
    monkeypatch.undo()
    files = sorted(f.relative_to(saved) for f in saved.rglob("*") if f.is_file())
    assert files == sorted(f.relative_to(converted) for f in converted.rglob("*") if f.is_file())
    different = {str(f) for f in files if (saved / f).read_bytes() != (converted / f).read_bytes()}
    assert different <= {"normalisation.audio.npy", "normalisation.vision.npy"}  # chunks of 256 bytes round otherwise
    monkeypatch.setattr(unpickle, "MAP_FILE", 0)
    monkeypatch.setattr(unpickle, "MAP_BLOCK", 64)
    equal(load(path), whole)
    msa.convert(path, converted, overwrite=True)
    assert all((saved / f).read_bytes() == (converted / f).read_bytes() for f in files)


@pytest.mark.parametrize("opcode", [pickle.BINBYTES8, pickle.BYTEARRAY8, pickle.BINUNICODE8, pickle.FRAME])
def test_what_is_not_there_is_refused_before_anything_is_allocated(tmp_path, small_limits, opcode):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.PROTO + b"\x05" + opcode + HUGE.to_bytes(8, "little") + b"x" * 200 + b".")
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"a.pkl is no complete pickle \(it announces 10,995,116,277,760 more bytes and has 201\): is the"):
        unpickle.load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize(
    "program",
    [
        pickle.BININT1 + b"\0" + pickle.BININT1 + b"\0" + pickle.SETITEM,
        pickle.EMPTY_DICT + pickle.BININT1 + b"\0" + pickle.BININT1 + b"\1" + pickle.SETITEM + pickle.BUILD,
        pickle.MARK + pickle.BININT1 + b"\0" + pickle.APPENDS,
        pickle.EMPTY_TUPLE + pickle.NEWOBJ,
        pickle.EMPTY_TUPLE + pickle.REDUCE,
    ],
)
def test_a_program_can_do_nothing_to_the_file_that_its_blocks_lie_in(tmp_path, small_limits, program):
    path = tmp_path / "a.pkl"
    content = pickle.PROTO + b"\x04" + pickle.BINBYTES + (100).to_bytes(4, "little") + b"x" * 100 + program + pickle.STOP
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a.pkl(: refused, because it makes an object| is damaged)"):
        unpickle.load(path)
    assert path.read_bytes() == content


def test_a_small_file_that_announces_too_much_says_so():
    content = pickle.PROTO + b"\x05" + pickle.BINBYTES8 + (2**62).to_bytes(8, "little") + b"."
    with pytest.raises(ValueError, match="it announces 4,611,686,018,427,387,904 more bytes and has 1"):
        unpickle.loads(content)


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_a_file_cut_anywhere_is_told(tmp_path, small_limits, protocol):
    path = tmp_path / "a.pkl"
    whole = pickle.dumps({"train": rows()[0]}, protocol=protocol)
    for end in np.linspace(2, len(whole) - 1, 97).astype(int):
        path.write_bytes(whole[:end])
        with pytest.raises(ValueError, match=r"a.pkl is (no complete pickle|damaged)"):
            unpickle.load(path)


def test_only_blocks_are_left_in_the_file(tmp_path, monkeypatch, small_limits):
    content = {"x": np.arange(100.0), "small": np.arange(3), "raw": b"b" * 100, "grown": bytearray(b"c" * 100), "words": ["word"] * 500}
    path = tmp_path / "a.pkl"
    for protocol in (3, 4, 5):
        write(path, content, protocol, monkeypatch)
        found = unpickle.load(path)
        np.testing.assert_array_equal(found["x"], content["x"])
        assert mapping(found["x"]) is not None
        assert not found["x"].flags.writeable
        assert mapping(found["small"]) is None
        assert (found["raw"], found["grown"], found["words"]) == ("b" * 100, "c" * 100, content["words"])


def peak_share(act, path):
    """The most that `act` held at a time, as a share of the file."""
    tracemalloc.start()
    act(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / path.stat().st_size


def test_memory_does_not_grow_with_the_file(tmp_path, monkeypatch):
    x = np.random.default_rng(0).normal(size=(1_000, 50, 100)).astype(np.float32)  # 20 MB, all steps valid
    content = {"train": {"audio": x, "audio_lengths": [50] * len(x), "regression_labels": np.linspace(-3, 3, len(x))}}
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(content, protocol=4))
    monkeypatch.setattr(mapped, "CHUNK_BYTES", 2**18)

    def convert(path):
        msa.convert(path, tmp_path / "a.msa", overwrite=True)

    load(path)  # imports
    assert peak_share(load, path) > 0.9
    assert peak_share(convert, path) > 0.9
    monkeypatch.setattr(unpickle, "MAP_FILE", 2**20)
    assert peak_share(load, path) < 0.2
    assert peak_share(convert, path) < 0.2


def file_pages():
    """Bytes of mapped files that this process holds in memory."""
    return int(Path("/proc/self/status").read_text().partition("RssFile:")[2].split()[0]) * 1024


@pytest.mark.skipif(not hasattr(mmap, "MADV_DONTNEED") or not Path("/proc/self/status").exists(), reason="pages are counted on Linux")
def test_pages_are_given_back(tmp_path, monkeypatch):
    monkeypatch.setattr(mapped, "CHUNK_BYTES", 2**20)
    x = in_file(tmp_path / "x.npy", np.ones((8_192, 1_024), np.float32))  # 32 MB
    before = file_pages()
    most = max(file_pages() for piece in pieces(x) if piece.sum() > 0)
    assert most - before < 8 * 2**20
    assert x.sum() == x.size
    assert file_pages() - before > 24 * 2**20  # what is not given back stays
