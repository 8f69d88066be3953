"""Does any program of pickle's steps, and any noise, end as a plain value or as one error, and every plain value come back as it was?"""

import math
import pickle
import struct
import time
from collections import Counter

import numpy as np
import pytest
from endurance import tell, tries
from hostile import attacks
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from msaviz.data import unpickle

NAME = "some file.pkl"
SECONDS = 5
PLAIN = (type(None), bool, int, float, str, np.generic)
quiet = {"deadline": None, "suppress_health_check": list(HealthCheck)}

SMALL = st.integers(0, 4).map(lambda i: bytes([i]))
CODES = [getattr(pickle, name) for name in pickle.__all__ if name.isupper() and isinstance(getattr(pickle, name), bytes)]
LITERALS = st.one_of(
    st.sampled_from(
        [b"N", b"\x88", b"\x89", b"]", b"}", b")", b"\x8f", b"I01\n", b"I7\n", b"L7L\n", b"F0.5\n", b"S'a'\n", b"S'\\d'\n", b"Vtext\n"]
    ),
    st.integers(0, 255).map(lambda i: b"K" + bytes([i])),
    st.integers(-(2**31), 2**31 - 1).map(lambda i: b"J" + struct.pack("<i", i)),
    st.floats().map(lambda x: b"G" + struct.pack(">d", x)),
    st.text(max_size=5).map(attacks.text),
    st.binary(max_size=8).map(lambda b: b"C" + bytes([len(b)]) + b),
    st.binary(max_size=12).map(lambda b: b"\x8a" + bytes([len(b)]) + b),
)
STEPS = st.one_of(
    LITERALS,
    st.sampled_from(
        [b"(", b"0", b"1", b"2", b"a", b"b", b"d", b"e", b"l", b"o", b"R", b"s", b"t", b"u", b"\x81", b"\x85", b"\x86", b"\x87"]
    ),
    st.sampled_from(
        [b"\x90", b"\x91", b"\x92", b"\x93", b"\x94", b"\x97", b"\x98", b"Q", b"(", b"(", b"t", b"e", b"u", b"R", b"b", b"\x94"]
    ),
    st.tuples(st.sampled_from([b"h", b"q"]), SMALL).map(b"".join),
    st.sampled_from(list(attacks.ADMITTED.values())),
    st.sampled_from(
        [attacks.array(b"K\x01\x85", b"f4", b"C\x04abcd"), attacks.array(b"K\x02\x85", b"O8", b"](K\x01Ne"), attacks.array(b"K\x00\x85")]
    ),
    st.sampled_from(
        [b"cnumpy\ndtype\n" + attacks.text("f4") + b"K\x00K\x01\x87R", b"c_codecs\nencode\n" + attacks.text("abcd") + b"\x85R"]
    ),
)
PROGRAMS = st.lists(STEPS, max_size=40).map(lambda steps: b"\x80\x04" + b"".join(steps) + b".")
NOISE = st.one_of(
    st.binary(max_size=200),
    st.lists(st.sampled_from(CODES), max_size=60).map(b"".join),
    st.binary(max_size=60).map(lambda b: b"\x80\x04" + b),
)


def plain(value) -> bool:
    """Whether a value consists of nothing but what readers admit."""
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "biufU" or (value.dtype.kind == "O" and all(map(plain, value.ravel())))
    if isinstance(value, dict):
        return all(map(plain, value)) and all(map(plain, value.values()))
    return all(map(plain, value)) if isinstance(value, (list, tuple, set, frozenset)) else isinstance(value, PLAIN)


def tried(content: bytes, came: Counter) -> None:
    start = time.perf_counter()
    try:
        value = unpickle.loads(content, NAME)
        came["read"] += 1
        assert plain(value)
    except ValueError as error:
        came["refused"] += 1
        said = str(error)
        assert (NAME in said, len(said) < 2_000) == (True, True), said
    assert time.perf_counter() - start < SECONDS


@pytest.mark.parametrize(("what", "contents", "few"), [("programs of pickle's steps", PROGRAMS, 400), ("noise as a pickle", NOISE, 200)])
def test_anything_ends_as_a_plain_value_or_as_one_error(what, contents, few):
    came: Counter = Counter()
    settings(max_examples=tries(few), **quiet)(given(contents)(lambda content: tried(content, came)))()
    assert came["refused"] > few / 4
    tell(what, came.total(), **came)


def test_bytes_of_real_programs_may_change():
    """Flips, cuts and insertions in a pickle of everything that is admitted."""
    draw, came = np.random.default_rng(), Counter()
    content = {
        "a": [np.arange(3.0), np.array(["x", None], object)],
        "b": {1, 2},
        "c": ("t", b"raw", 2.5, np.float32(1)),
        "d": np.array(["é"]),
    }
    honest = [pickle.dumps(content, protocol) for protocol in range(6)]
    for number in range(tries(1500)):
        data = bytearray(honest[number % 6])
        for at in draw.integers(0, len(data), draw.integers(1, 4)):
            data[at : at + draw.integers(0, 3)] = draw.bytes(draw.integers(0, 3))
        tried(bytes(data), came)
    assert came["refused"] > came["read"] / 10
    tell("pickles with a few bytes changed", came.total(), **came)


NUMBERS = st.one_of(arrays.integer_dtypes(endianness="?"), arrays.floating_dtypes(endianness="?"))
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False),
    st.text(),
    arrays.arrays(st.one_of(NUMBERS, arrays.boolean_dtypes()), arrays.array_shapes(min_dims=0, min_side=0)),
    arrays.arrays(
        "U4", arrays.array_shapes(max_dims=2), elements=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4)
    ),
    arrays.arrays(object, arrays.array_shapes(max_dims=2), elements=st.one_of(st.none(), st.text(), st.integers(0, 9))),
    st.frozensets(st.one_of(st.text(), st.integers(0, 9))),
)
KEYS = st.one_of(st.text(), st.integers(-9, 9))
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner), st.tuples(inner, inner), st.dictionaries(KEYS, inner), st.lists(inner).map(lambda v: [v, v])),
)


def same(found, made) -> None:
    """Equal in kind, shape and value."""
    if isinstance(made, np.ndarray):
        assert (found.shape, found.dtype.kind, found.dtype.itemsize) == (made.shape, made.dtype.kind, made.dtype.itemsize) or not made.size
        np.testing.assert_array_equal(found, made)
    elif isinstance(made, dict):
        assert list(found) == list(made)
        for key in made:
            same(found[key], made[key])
    elif isinstance(made, (list, tuple)):
        assert type(found) is type(made)
        assert len(found) == len(made)
        for one, other in zip(found, made, strict=True):
            same(one, other)
    else:
        assert found == made or (math.isnan(found) and math.isnan(made))
        assert type(found) is type(made)


def test_what_went_in_comes_out_by_every_protocol():
    count = Counter()

    @settings(max_examples=tries(100), **quiet)
    @given(VALUES, st.integers(0, 5))
    def go(value, protocol):
        count["read"] += 1
        same(unpickle.loads(pickle.dumps(value, protocol)), value)

    go()
    tell("plain values and arrays through six protocols", count.total(), **count)
