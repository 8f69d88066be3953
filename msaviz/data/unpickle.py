"""How is a pickle read without letting it run anything?

A pickle is a program that may call any function it can name. Here it can name seven things (numpy's array, dtype, scalar
and buffer constructors, `_codecs.encode` and plain containers), and even these are stand-ins of ours that only take notes:
no function of numpy, and nothing else, ever runs with arguments chosen by the file. After the program has ended, the notes
are turned into arrays of plain kinds (bool, integers, floats, strings, objects that are themselves plain).
A large file of protocol 3 or later is mapped: its arrays are read-only views of the file, nothing of them is read before it is looked at.
Pickles of numpy 1 (`numpy.core`), numpy 2 (`numpy._core`) and Python 2 are read alike; byte strings become text (UTF-8, else Latin-1).
"""

from __future__ import annotations

import io
import math
import mmap
import os
import pickle
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

KINDS = "biufSUO?"
BYTES = (bytes, bytearray, memoryview)
MAP_FILE, MAP_BLOCK, MAP_SMALL = 64 * 2**20, 2**20, 16 * 2**20
"""Files from MAP_FILE bytes on are mapped, and blocks from MAP_BLOCK on left in them; a file of more than MAP_SMALL other bytes
is read as a whole, because reading a mapped one is slow for many small things (Python's own reader knows files only)."""
ENCODINGS = {"latin1", "latin-1", "iso-8859-1", "utf-8", "utf8", "ascii"}


class UnsafePickle(ValueError):
    """The pickle names something that is neither numpy data nor a plain container; it was not run."""


class _Notes:
    """Something that the file asked to build; `state` is what it said afterwards."""

    __slots__ = ("arguments", "state")

    def __init__(self, *arguments: Any):
        self.arguments, self.state = arguments, None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Dtype(_Notes):
    __slots__ = ()


class _Array(_Notes):
    __slots__ = ()


class _Buffer(_Notes):
    __slots__ = ()


class _Scalar(_Notes):
    __slots__ = ()


class _Container(_Notes):
    __slots__ = ()


class _Name:
    """A callable of ours under a name the file knows. It has no attribute that the file could set."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]):
        self._call = call

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise UnsafePickle("it tries to change a function")


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or _text(encoding).lower() not in ENCODINGS:
        raise UnsafePickle(f"it asks for the text encoding {encoding!r}")
    return text.encode(_text(encoding))


def _not_callable(*_: Any) -> Any:
    raise UnsafePickle("it calls numpy.ndarray directly")


def _plain(kind: type) -> _Name:
    def build(*arguments: Any) -> Any:
        if arguments and not all(isinstance(a, (list, tuple, dict, set, str, bytes, memoryview)) for a in arguments):
            raise UnsafePickle(f"it builds a {kind.__name__} from something that is no plain container")
        return kind(*arguments)

    return _Name(build)


_CORE = {"_reconstruct": _Array, "scalar": _Scalar}
ALLOWED: dict[tuple[str, str], _Name] = {
    **{(f"numpy.{core}.multiarray", name): _Name(kind) for core in ("core", "_core") for name, kind in _CORE.items()},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _Name(_Buffer) for core in ("core", "_core")},
    ("numpy", "ndarray"): _Name(_not_callable),
    ("numpy", "dtype"): _Name(_Dtype),
    ("_codecs", "encode"): _Name(_encode),
    ("collections", "OrderedDict"): _plain(dict),
    ("collections", "defaultdict"): _Name(lambda *_: {}),  # the factory is ignored
    **{(b, k.__name__): _plain(k) for b in ("builtins", "__builtin__") for k in (list, dict, tuple, set, frozenset, bytes, bytearray)},
}


class _Restricted:
    """What both readers admit."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise UnsafePickle(f"it asks for `{module}.{name}`")
        return ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise UnsafePickle("it refers to an object outside the file")


class _Reader(_Restricted, pickle.Unpickler):
    pass


class _MappedReader(_Restricted, pickle._Unpickler):  # the one in Python: the one in C copies every block
    dispatch: ClassVar = {**pickle._Unpickler.dispatch, pickle.BYTEARRAY8[0]: pickle._Unpickler.load_binbytes8}  # type: ignore[attr-defined]


class _Tedious(Exception):
    """The file holds so many small things that the reader in C is the better one."""


class _Mapped:
    """A mapped file as a reader wants it; a block comes as a view. Whatever is announced must be there."""

    __slots__ = ("file", "small", "view")

    def __init__(self, file: Any):
        self.file = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.view, self.small = memoryview(self.file), 0

    def readline(self) -> bytes:
        line = self.file.readline()
        if not line.endswith(b"\n"):
            raise EOFError("it ends within a name or a number")
        return line

    def read(self, size: int) -> Any:
        start, rest = self.file.tell(), len(self.file) - self.file.tell()
        if size > rest:
            raise EOFError(f"it announces {size:,} more bytes and has {rest:,}")
        if size >= MAP_BLOCK:
            self.file.seek(size, 1)
            return self.view[start : start + size]
        self.small += size
        if self.small > MAP_SMALL:
            raise _Tedious
        return self.file.read(size)


def loads(content: bytes, name: str = "the pickle") -> Any:
    """`load`, from bytes."""
    return _read(_Reader(io.BytesIO(content), encoding="bytes"), name)


def load(path: str | Path) -> Any:
    """The plain value that the pickle at `path` holds: dicts, lists, numbers, text and numpy arrays (possibly read-only views).

    Raises UnsafePickle (a ValueError) when it names anything else, ValueError when it is damaged or no pickle.
    """
    with open(path, "rb") as file:
        head = file.read(64)
        file.seek(0)
        if head.startswith(b"version https://git-lfs"):
            raise ValueError(f"{path} is a Git LFS pointer, not the data: fetch the file itself (`git lfs pull`)")
        if head.lstrip().startswith((b"<!", b"<html")):
            raise ValueError(f"{path} is a web page, not a pickle: the download failed")
        if head[:1] == b"\x80" and head[1:2] >= b"\3" and os.fstat(file.fileno()).st_size >= MAP_FILE:
            with suppress(_Tedious):
                return _read(_MappedReader(_Mapped(file), encoding="bytes"), str(path))
        return _read(_Reader(file, encoding="bytes"), str(path))


def _read(reader: Any, name: str) -> Any:
    try:
        return _resolve(reader.load(), {}, set())
    except UnsafePickle as error:
        raise UnsafePickle(
            f"{name}: refused, because {error}. Only numpy arrays and plain containers are read, and nothing was executed. "
            "If you trust the file, re-save its content as numpy arrays (numpy.savez, or a pickle of dicts of arrays)."
        ) from None
    except (EOFError, pickle.UnpicklingError, struct.error) as error:
        raise ValueError(f"{name} is no complete pickle ({error}): is the download complete?") from None
    except RecursionError:
        raise UnsafePickle(f"{name}: refused, because it is nested too deeply. Nothing was executed.") from None
    except MemoryError:
        raise ValueError(f"{name} is damaged: it announces more bytes than fit into memory") from None
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, AssertionError) as error:
        raise ValueError(f"{name} is damaged: {type(error).__name__}: {error}") from None


def _text(value: Any) -> Any:
    """bytes of Python 2 -> str."""
    if not isinstance(value, BYTES):
        return value
    value = bytes(value)
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _resolve(value: Any, done: dict[int, tuple[Any, Any]], open_: set[int]) -> Any:
    """Replace notes by arrays, everywhere inside; `done` keeps shared objects shared (and alive, so that ids stay theirs)."""
    if value is None or isinstance(value, (bool, int, float, complex, str)):
        return value
    if isinstance(value, BYTES):
        return _text(value)
    if id(value) in done:
        return done[id(value)][1]
    if id(value) in open_:
        raise UnsafePickle("it contains itself")
    open_.add(id(value))

    def inner(v: Any) -> Any:
        return _resolve(v, done, open_)

    if isinstance(value, dict):
        result: Any = {inner(k): inner(v) for k, v in value.items()}
    elif isinstance(value, (list, tuple, set, frozenset)):
        result = type(value)(inner(v) for v in value)
    elif isinstance(value, (_Array, _Buffer, _Scalar)):
        result = _build(value, inner)
    elif isinstance(value, _Dtype):
        result = str(_dtype(value))
    else:
        raise UnsafePickle(f"it holds a bare function or class ({type(value).__name__})")
    open_.discard(id(value))
    done[id(value)] = (value, result)
    return result


def _build(notes: _Notes, inner: Callable[[Any], Any]) -> Any:
    """The array or number that the notes describe."""
    if isinstance(notes, _Array):
        if not isinstance(notes.state, tuple) or len(notes.state) < 4:
            raise ValueError("an array without its content")
        shape, dtype, fortran, data = notes.state[-4:]
        return _array(data, _dtype(dtype), shape, "F" if fortran else "C", inner)
    if isinstance(notes, _Buffer):
        data, dtype, shape, order = notes.arguments[:4]
        return _array(data, _dtype(dtype), shape, _text(order), inner)
    dtype, data = notes.arguments[:2]
    return _array(data, _dtype(dtype), (), "C", inner)[()]


def _dtype(notes: Any) -> np.dtype:
    """A plain dtype from the notes (kind and size, then the byte order in the state)."""
    if not isinstance(notes, _Dtype) or not notes.arguments:
        raise ValueError("an array without a dtype")
    code = _text(notes.arguments[0])
    if not isinstance(code, str) or code.lstrip("<>|=")[:1] not in KINDS or not (code.lstrip("<>|=")[1:] or "0").isdigit():
        raise UnsafePickle(f"it holds an array of kind {code!r}, which is neither numbers nor text")
    order = _text(notes.state[1]) if isinstance(notes.state, tuple) and len(notes.state) > 1 else "="
    if isinstance(notes.state, tuple) and any(part is not None for part in notes.state[2:5]):
        raise UnsafePickle("it holds a structured array")
    dtype = np.dtype(code)
    return dtype.newbyteorder(order) if order in ("<", ">") else dtype


def _array(data: Any, dtype: np.dtype, shape: Any, order: str, inner: Callable[[Any], Any]) -> np.ndarray:
    shape = tuple(int(n) for n in shape)
    if min(shape, default=0) < 0:
        raise ValueError(f"an array of shape {shape}")
    layout: Any = "F" if order == "F" else "C"
    if dtype.hasobject:
        if not isinstance(data, list) or len(data) != math.prod(shape):
            raise ValueError("an object array whose content does not fit its shape")
        flat = np.empty(len(data), object)
        for i, item in enumerate(data):  # element by element: numpy would try to unfold sequences
            flat[i] = inner(item)
        return flat.reshape(shape, order=layout)
    if isinstance(data, str):
        data = data.encode("latin-1")
    if not isinstance(data, BYTES) or len(data) != dtype.itemsize * math.prod(shape):
        raise ValueError(f"an array of shape {shape} and dtype {dtype} whose content has another size")
    if not dtype.itemsize or not len(data):
        return np.zeros(shape, dtype)
    array = np.frombuffer(data, dtype).reshape(shape, order=layout)
    return np.char.decode(array, "latin-1") if dtype.kind == "S" else array
