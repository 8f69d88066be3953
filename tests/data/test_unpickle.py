"""Does the restricted reader admit data, and nothing else, whatever wrote the pickle?"""

import builtins
import collections
import gzip
import io
import os
import pickle
import struct

import numpy as np
import pytest

from msaviz.data import unpickle

VALUES = {
    "f4": np.arange(6, dtype=np.float32).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big": np.arange(4, dtype=">i4"),
    "bool": np.array([True, False]),
    "text": np.array(["good", "früh"]),
    "objects": np.array(["a", None, 3], dtype=object),
    "empty": np.zeros((0, 5), np.float32),
    "scalar": np.float32(2.5),
    "list": [1, 2.5, "x", (True, None), {3, 4}],
    "ordered": collections.OrderedDict(a=1),
    "default": collections.defaultdict(list, a=[1]),
    "nested": {"a": [np.arange(3)]},
}


@pytest.fixture(params=["whole", "mapped"])
def loads(request, monkeypatch, tmp_path_factory):
    """From bytes in memory, and from a mapped file, as every large one is."""
    if request.param == "whole":
        return unpickle.loads
    monkeypatch.setattr(unpickle, "MAP_FILE", 0)
    monkeypatch.setattr(unpickle, "MAP_BLOCK", 16)

    def mapped(content, name="a.pkl"):
        path = tmp_path_factory.mktemp("mapped") / name
        path.write_bytes(content)
        return unpickle.load(path)

    return mapped


def same(a, b):
    if isinstance(b, np.ndarray):
        assert isinstance(a, np.ndarray)
        assert a.shape == b.shape
        assert a.dtype.kind == b.dtype.kind
        np.testing.assert_array_equal(a, b)
    elif isinstance(b, dict):
        assert list(a) == list(b)
        for key in b:
            same(a[key], b[key])
    elif isinstance(b, list) and any(isinstance(v, np.ndarray) for v in b):
        for x, y in zip(a, b, strict=True):
            same(x, y)
    else:
        assert a == b


@pytest.mark.parametrize("protocol", range(6))
def test_what_went_in_comes_out(protocol, loads):
    same(loads(pickle.dumps(VALUES, protocol=protocol)), VALUES)


@pytest.mark.parametrize("protocol", range(6))
def test_numpy_1_and_numpy_2_name_their_core_differently(protocol, loads):
    new = pickle.dumps(VALUES["nested"], protocol=protocol)
    assert b"numpy._core" in new
    old = new.replace(b"numpy._core", b"numpy.core")
    if protocol >= 4:  # framed: names carry their length
        old = old.replace(b"\x8c\x16numpy.core.multiarray", b"\x8c\x15numpy.core.multiarray")
        old = old.replace(b"\x8c\x13numpy.core.numeric", b"\x8c\x12numpy.core.numeric")
        frame = struct.unpack("<Q", old[3:11])[0] - (len(new) - len(old))
        old = old[:3] + struct.pack("<Q", frame) + old[11:]
    same(loads(old), VALUES["nested"])


def python_2_array(raw: bytes, count: int) -> bytes:
    """What Python 2's cPickle (protocol 2) writes for {'audio': float32 array, 'raw_text': ['...']}: byte strings throughout."""

    def short(text: bytes) -> bytes:
        return b"U" + bytes([len(text)]) + text

    dtype = b"cnumpy\ndtype\n" + short(b"f4") + b"K\x00K\x01\x87R(K\x03" + short(b"<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + short(b"b") + b"\x87R"
    array += b"(K\x01K" + bytes([count]) + b"\x85" + dtype + b"\x89" + short(raw) + b"tb"
    texts = b"](" + short("früh".encode()) + short(b"caf\xe9") + b"e"
    return b"\x80\x02}(" + short(b"audio") + array + short(b"raw_text") + texts + b"u."


def test_python_2_bytes_become_text_and_arrays(loads):
    values = np.array([1.5, -2.0, 300.0], dtype=np.float32)
    found = loads(python_2_array(values.tobytes(), 3))
    np.testing.assert_array_equal(found["audio"], values)
    assert found["audio"].dtype == np.float32
    assert found["raw_text"] == ["früh", "café"]  # UTF-8, else Latin-1


class Calls:
    """Pickles as a call of `function(*arguments)`."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def touched(tmp_path):
    return list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (os.system, "posix.system"),
        (builtins.eval, ".eval`"),
        (builtins.exec, ".exec`"),
        (builtins.getattr, ".getattr`"),
        (builtins.open, "io.open"),
        (os.mkdir, "posix.mkdir"),
        (np.fromfile, "fromfile"),
        (np.save, "numpy.save"),
        (io.BytesIO, "_io.BytesIO"),
    ],
)
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {"train": {"audio": [x]}}, lambda x: np.array([x, None], dtype=object)])
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_calls_are_refused_by_name_and_nothing_runs(tmp_path, monkeypatch, loads, function, name, wrap, protocol):
    monkeypatch.chdir(tmp_path)
    content = pickle.dumps(wrap(Calls(function, "touched")), protocol=protocol)
    with pytest.raises(unpickle.UnsafePickle, match=r"refused, because it asks for .*Nothing was executed|nothing was executed") as error:
        loads(content, "evil.pkl")
    assert name in str(error.value)
    assert "evil.pkl" in str(error.value)
    assert not touched(tmp_path)


def test_gadgets_made_of_admitted_names_do_nothing(loads):
    stranger = b"cnumpy\nndarray\n(K\x05tR."  # ndarray(5) called directly
    with pytest.raises(unpickle.UnsafePickle, match=r"calls numpy.ndarray"):
        loads(stranger)
    build = b"c_codecs\nencode\n}(X\x01\x00\x00\x00aK\x01ub."  # BUILD on a function: would set its attributes
    with pytest.raises(unpickle.UnsafePickle, match="change a function"):
        loads(build)
    codec = b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x05\x00\x00\x00rot13tR."
    with pytest.raises(unpickle.UnsafePickle, match="rot13"):
        loads(codec)
    with pytest.raises(unpickle.UnsafePickle, match="bare function"):
        loads(b"cnumpy\ndtype\n.")
    with pytest.raises(unpickle.UnsafePickle, match="makes an object of a class"):
        loads(b"\x80\x02cnumpy\ndtype\n)\x81.")


def test_a_lying_array_is_damaged_not_dangerous(loads):
    honest = pickle.dumps(np.arange(4, dtype=np.int32), protocol=2)
    for lie in (honest.replace(b"K\x04\x85", b"K\x40\x85"), honest.replace(b"K\x04\x85", b"J\xff\xff\xff\xff\x85")):
        assert lie != honest
        with pytest.raises(ValueError, match="is damaged"):
            loads(lie)
    with pytest.raises(unpickle.UnsafePickle, match="neither numbers nor text"):
        loads(pickle.dumps(np.zeros(2, dtype=[("a", "f4")])))
    with pytest.raises(unpickle.UnsafePickle, match="neither numbers nor text"):
        loads(pickle.dumps(np.zeros(2, dtype="M8[s]")))


def test_cycles_and_depth_are_refused(loads):
    loop: list = []
    loop.append(loop)
    with pytest.raises(unpickle.UnsafePickle, match="contains itself"):
        loads(pickle.dumps(loop))
    with pytest.raises(unpickle.UnsafePickle, match="nested too deeply"):
        loads(b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".")


@pytest.mark.parametrize("protocol", [2, 4])
def test_values_that_their_kind_does_not_have_are_refused_or_mended(protocol, loads):
    """A bool of 2 and a letter beyond Unicode would be undefined further on; half a letter cannot be written anywhere."""
    flags = pickle.dumps(np.array([True] * 5), protocol=protocol)
    with pytest.raises(ValueError, match="is damaged: ValueError: an array of True and False that holds something else"):
        loads(flags.replace(b"\x01" * 5, b"\x02" * 5))
    letters = np.array(["abc"])
    letters.view(np.uint32)[1] = 0x110000
    with pytest.raises(ValueError, match="text that holds no characters"):
        loads(pickle.dumps(letters, protocol=protocol))
    assert loads(pickle.dumps(np.array(["a\ud800c"]), protocol=protocol)).tolist() == ["a?c"]
    assert loads(pickle.dumps(["a\ud800c", "\udfff" * 100], protocol=protocol)) == ["a?c", "?" * 100]


@pytest.mark.parametrize("key", [(1, 2), frozenset({1}), "k" * 5_000])
def test_keys_are_short_text_or_numbers(key, loads):
    for value in ({key: 1}, {key}, frozenset({key}), [{key: 1}]):
        for protocol in (0, 2, 4):
            with pytest.raises(unpickle.UnsafePickle, match="a key or member of a set"):
                loads(pickle.dumps(value, protocol))
    assert loads(pickle.dumps({np.int64(3): 1, np.float32(2.5): 2, None: 3, True: 4, "a": 5})) == {3: 1, 2.5: 2, None: 3, True: 4, "a": 5}
    with pytest.raises(ValueError, match="two keys, or members of a set, are the same"):
        loads(pickle.dumps({"a": 1, b"a": 2}))


def test_a_string_of_python_2_is_read_without_a_warning(loads):
    assert loads(b"S'it\\'s \\\\d \\x41\\n'\n.") == "it's \\d A\n"
    for strange in (b"S'\\d'\n.", b"S'a\\'\n.", b"S'\\777'\n.", b"Sa\n.", b"S'\n."):
        with pytest.raises(ValueError, match="is damaged: ValueError: a string that no Python wrote"):
            loads(strange)


def test_shared_things_may_be_many_but_not_without_end(loads, monkeypatch):
    labels, array = ["Positive", "Negative"] * 20_000, np.arange(1000)
    assert loads(pickle.dumps(labels)) == labels
    found = loads(pickle.dumps([array] * 100))
    assert all(item is found[0] for item in found)
    many = pickle.dumps([[array] * 1000] * 1000)
    with pytest.raises(unpickle.TooLarge, match=r"bytes unfold to 8,[0-9,]+ \(allowed: .*MSAVIZ_READ_LIMIT"):
        loads(many)
    monkeypatch.setenv("MSAVIZ_READ_LIMIT", str(10**11))
    assert len(loads(many)) == 1000


def test_a_file_that_is_no_pickle_says_what_it_is(tmp_path):
    path = tmp_path / "mosi.pkl"
    for content, expected in [
        (pickle.dumps(VALUES)[:200], "is the download complete"),
        (b"", "is the download complete"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>", "web page"),
        (gzip.compress(b"x"), "is compressed"),
        (b"PK\x03\x04", "is a zip archive"),
    ]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=expected):
            unpickle.load(path)
