"""How is a pickle read without letting it run anything?

The program in the file only takes notes (`pickle_notes`, `pickle_steps`). After it has ended, they are turned into arrays of plain kinds
(bool, integers, floats, strings, objects that are themselves plain). How large the value is when every reference counts as a copy is held
against the size of the file (`limits`), so that whatever is made of it later stays in proportion.
A large file is mapped: its arrays are read-only views of the file, nothing of them is read before it is looked at.
Pickles of numpy 1 (`numpy.core`), numpy 2 (`numpy._core`) and Python 2 are read alike; byte strings become text (UTF-8, else Latin-1).
"""

from __future__ import annotations

import io
import math
import mmap
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np

from msaviz.data.pickle_notes import BYTES, Array, Budget, Buffer, Dtype, Notes, Scalar, TooLarge, UnsafePickle, told
from msaviz.data.pickle_steps import Reader

__all__ = ["TooLarge", "UnsafePickle", "array", "load", "loads"]

KINDS = "biufSUO?"
MAP_FILE, MAP_BLOCK = 64 * 2**20, 2**20
"""Files from MAP_FILE bytes on are mapped, and blocks from MAP_BLOCK on left in them."""
DEEPEST = 50
"""Containers within each other."""
MOST_AXES = 64
REFERENCE = 8
"""Bytes that a container takes for each thing that it holds."""
SHORT = 64
OTHERS = {
    b"version https://git-lfs": "a Git LFS pointer, not the data: fetch the file itself (`git lfs pull`)",
    b"<!": "a web page, not a pickle: the download failed",
    b"<html": "a web page, not a pickle: the download failed",
    b"\x1f\x8b": "compressed (gzip): unpack it first",
    b"PK\x03\x04": "a zip archive (as torch.save and numpy.savez write them), not a pickle",
}
"""How files begin that are often taken for pickles, and what they are."""
NUMBERS = {int, float, bool, type(None)}


def loads(content: bytes, name: str = "the pickle") -> Any:
    """`load`, from bytes."""
    budget = Budget(name, len(content))
    return _read(Reader(io.BytesIO(content), budget), budget)


def load(path: str | Path) -> Any:
    """The plain value that the pickle at `path` holds: dicts, lists, numbers, text and numpy arrays (possibly read-only views).

    Raises UnsafePickle (a ValueError) when it names anything else, ValueError when it is damaged, no pickle or a bomb.
    """
    with open(path, "rb") as file:
        head, size = file.read(64), os.fstat(file.fileno()).st_size
        file.seek(0)
        for start, what in OTHERS.items():
            if head.lstrip().startswith(start):
                raise ValueError(f"{path} is {what}")
        budget = Budget(str(path), size)
        if size and size >= MAP_FILE:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            return _read(Reader(mapped, budget, memoryview(mapped), MAP_BLOCK), budget)
        return _read(Reader(file, budget), budget)


def array(value: Any) -> np.ndarray:
    """The array that plain, perhaps nested lists mean; ValueError where their rows are of different shapes.

    Text becomes objects, because numpy would give each as much room as the longest one has.
    """
    try:
        return value if isinstance(value, np.ndarray) else np.asarray(value, dtype=object if _holds_text(value) else None)
    except ValueError:
        raise ValueError("its rows are of different shapes") from None


def _holds_text(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(_holds_text, value))
    return value.dtype.kind in "UO" if isinstance(value, np.ndarray) else isinstance(value, str)


def _read(reader: Reader, budget: Budget) -> Any:
    name = budget.name
    try:
        value, unfolded = _Resolver(budget)(reader.load())
        budget.spend(unfolded)
        return value
    except TooLarge:
        raise
    except UnsafePickle as error:
        raise UnsafePickle(
            f"{name}: refused, because {error}. Only numpy arrays and plain containers are read, and nothing was executed. "
            "If you trust the file, re-save its content as numpy arrays (numpy.savez, or a pickle of dicts of arrays)."
        ) from None
    except (EOFError, pickle.UnpicklingError, struct.error) as error:
        raise ValueError(f"{name} is no complete pickle ({error}): is the download complete?") from None
    except MemoryError:
        raise ValueError(f"{name} is damaged: it announces more bytes than fit into memory") from None
    except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
        raise ValueError(f"{name} is damaged: {type(error).__name__}: {str(error)[:500]}") from None


def _text(value: Any) -> Any:
    """bytes of Python 2 -> str; halves of characters, which no file can be written with, become question marks."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
    if not isinstance(value, BYTES):
        return value
    value = bytes(value)
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


class _Resolver:
    """Replaces notes by arrays, everywhere inside; gives (value, the bytes that it unfolds to if every reference is a copy)."""

    def __init__(self, budget: Budget):
        self.budget = budget
        self.done: dict[int, tuple[Any, Any, int]] = {}  # keeps shared objects shared, and alive, so that ids stay theirs
        self.open: set[int] = set()

    def __call__(self, value: Any) -> tuple[Any, int]:
        if type(value) in NUMBERS:
            return value, 0
        if type(value) is str and len(value) <= SHORT and value.isascii():
            return value, len(value)
        known = id(value)
        if known in self.done:
            _, result, size = self.done[known]
            return result, size
        if known in self.open:
            raise UnsafePickle("it contains itself")
        if len(self.open) >= DEEPEST:
            raise UnsafePickle(f"it is nested too deeply (more than {DEEPEST} containers within each other)")
        self.open.add(known)
        result, size = self._new(value)
        self.open.discard(known)
        self.done[known] = (value, result, size)
        return result, size

    def _new(self, value: Any) -> tuple[Any, int]:
        if isinstance(value, (str, *BYTES)):
            return _text(value), len(value)
        if isinstance(value, (list, tuple)):
            kinds = set(map(type, value))
            if kinds <= NUMBERS:
                return value, REFERENCE * len(value)
            if kinds == {str} and all(map(str.isascii, value)):
                return value, REFERENCE * len(value) + sum(map(len, value))
            inner = [self(item) for item in value]
            return type(value)(v for v, _ in inner), sum(size + REFERENCE for _, size in inner)
        if isinstance(value, (dict, set, frozenset)):
            return self._hashed(value)
        if isinstance(value, (Array, Buffer, Scalar)):
            return self._build(value)
        if isinstance(value, Dtype):
            return str(_dtype(value)), REFERENCE
        raise UnsafePickle(f"it holds a bare function or class ({type(value).__name__})")

    def _hashed(self, value: dict[Any, Any] | set[Any] | frozenset[Any]) -> tuple[Any, int]:
        keys = [(self.budget.key(key), size) for key, size in (self(key) for key in value)]
        if isinstance(value, dict):
            inner = [self(item) for item in value.values()]
            result: Any = {key: item for (key, _), (item, _) in zip(keys, inner, strict=True)}
        else:
            inner, result = [], (set if isinstance(value, set) else frozenset)(key for key, _ in keys)
        if len(result) != len(value):
            raise ValueError("two keys, or members of a set, are the same text or number")
        return result, sum(size + REFERENCE for _, size in [*keys, *inner])

    def _build(self, notes: Notes) -> tuple[Any, int]:
        """The array or number that the notes describe."""
        if isinstance(notes, Array):
            if not isinstance(notes.state, tuple) or len(notes.state) < 4:
                raise ValueError("an array without its content")
            shape, dtype, fortran, data = notes.state[-4:]
            return self._array(data, _dtype(dtype), shape, "F" if fortran else "C")
        if isinstance(notes, Buffer):
            data, dtype, shape, order = notes.arguments[:4]
            return self._array(data, _dtype(dtype), shape, _text(order))
        dtype, data = notes.arguments[:2]
        array, size = self._array(data, _dtype(dtype), (), "C")
        return array[()], size

    def _array(self, data: Any, dtype: np.dtype, shape: Any, order: str) -> tuple[np.ndarray, int]:
        if not isinstance(shape, (tuple, list)) or len(shape) > MOST_AXES or not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError("an array whose shape is no short tuple of sizes")
        count, layout = math.prod(shape), "F" if order == "F" else "C"
        if count == 0 and max(shape) > self.budget.size:
            raise ValueError(f"an array of shape {shape} that holds nothing")
        self.budget.spend(math.prod(n or 1 for n in shape) * dtype.itemsize)
        if dtype.hasobject:
            return self._objects(data, tuple(shape), layout)
        if not isinstance(data, BYTES) or len(data) != dtype.itemsize * count or (count and not dtype.itemsize):
            raise ValueError(f"an array of shape {shape} and dtype {dtype} whose content has another size")
        if not count:
            return np.zeros(shape, dtype), 0
        array = np.frombuffer(_checked(data, dtype), dtype).reshape(shape, order=layout)
        array = np.char.decode(array, "latin-1") if dtype.kind == "S" else array
        return array, array.nbytes

    def _objects(self, data: Any, shape: tuple[int, ...], layout: Any) -> tuple[np.ndarray, int]:
        if not isinstance(data, list) or len(data) != math.prod(shape):
            raise ValueError("an object array whose content does not fit its shape")
        flat, total = np.empty(len(data), object), REFERENCE * len(data)
        for i, item in enumerate(data):  # element by element: numpy would try to unfold sequences
            flat[i], size = self(item)
            total += size
        return flat.reshape(shape, order=layout), total


def _checked(data: Any, dtype: np.dtype) -> Any:
    """The content; ValueError where it holds no values of its kind: True and False are 1 and 0, text consists of characters."""
    if dtype.kind == "b" and np.frombuffer(data, np.uint8).max() > 1:
        raise ValueError("an array of True and False that holds something else")
    if dtype.kind == "U":
        codes = np.frombuffer(data, np.dtype("u4").newbyteorder(dtype.byteorder))
        if codes.max() > 0x10FFFF:
            raise ValueError("an array of text that holds no characters")
        if (half := (codes >= 0xD800) & (codes < 0xE000)).any():
            return np.where(half, ord("?"), codes).astype(codes.dtype)
    return data


def _dtype(notes: Any) -> np.dtype:
    """A plain dtype from the notes (kind and size, then the byte order in the state)."""
    if not isinstance(notes, Dtype) or not notes.arguments:
        raise ValueError("an array without a dtype")
    code = _text(notes.arguments[0]) if isinstance(notes.arguments[0], (str, *BYTES)) and len(notes.arguments[0]) < SHORT else ""
    size = code.lstrip("<>|=")
    if size[:1] not in tuple(KINDS) or not (size[1:] or "0").isdecimal() or not code.isascii():
        raise UnsafePickle(f"it holds an array of kind '{told(code)}', which is neither numbers nor text")
    state = notes.state if isinstance(notes.state, tuple) else ()
    if any(part is not None for part in state[2:5]):
        raise UnsafePickle("it holds a structured array")
    order = _text(state[1]) if len(state) > 1 and isinstance(state[1], (str, *BYTES)) and len(state[1]) < SHORT else "="
    dtype = np.dtype(code)
    return dtype.newbyteorder(order) if order in ("<", ">") else dtype
