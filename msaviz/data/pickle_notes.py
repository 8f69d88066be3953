"""What may the program in a pickle do? It may take notes.

A pickle is a program that may call any function it can name. Here it can name seven things (numpy's array, dtype, scalar
and buffer constructors, `_codecs.encode` and plain containers), and even these are stand-ins of ours that only take notes:
no function of numpy, and nothing else, ever runs with arguments chosen by the file.

What it copies is counted (`Budget`), and only short text and numbers are hashed. `pickle_steps` runs it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from msaviz import limits

BYTES = (bytes, memoryview)
LONGEST_KEY = 4096
MOST_NUMBERS = 2**16
"""How often numbers may serve as keys or members of sets, in one file, where each is counted twice (as read, and in the result):
unlike those of text, their hashes can be made to collide, which so costs seconds at most."""
ENTRY = 100
"""Bytes of memory that an entry of a dict or set takes."""
ENCODINGS = {"latin1", "latin-1", "iso-8859-1", "utf-8", "utf8", "ascii"}


class UnsafePickle(ValueError):
    """The pickle names something that is neither numpy data nor a plain container; it was not run."""


class TooLarge(ValueError):
    """The file asks for more than its size allows; the message is whole."""


class Budget:
    """What a file of `size` bytes has asked for so far."""

    def __init__(self, name: str, size: int):
        self.name, self.size, self.asked, self.numbers = name, size, 0, 0

    def spend(self, asked: int) -> None:
        """Count `asked` more bytes; TooLarge where they are too many."""
        self.asked += asked
        try:
            limits.check(self.name, self.asked, self.size)
        except ValueError as error:
            raise TooLarge(str(error)) from None

    def key(self, value: Any) -> Any:
        """`value`, which may be a key or a member of a set; UnsafePickle where to hash or to compare it could take long."""
        if isinstance(value, (str, bytes)):
            if len(value) > LONGEST_KEY:
                raise UnsafePickle(f"a key or member of a set has {len(value):,} letters (at most {LONGEST_KEY:,})")
        elif isinstance(value, (int, float, np.number)):
            self.numbers += 1
            if self.numbers > MOST_NUMBERS:
                raise UnsafePickle(f"more than {MOST_NUMBERS:,} numbers are keys or members of sets")
        elif value is not None and not isinstance(value, (Scalar, np.bool_)):
            raise UnsafePickle(f"a key or member of a set is neither text nor a number ({type(value).__name__})")
        return value


class Notes:
    """Something that the file asked to build; `state` is what it said afterwards."""

    __slots__ = ("arguments", "state")

    def __init__(self, _: Budget, *arguments: Any):
        self.arguments = arguments
        self.state: Any = None


class Dtype(Notes):
    __slots__ = ()


class Array(Notes):
    __slots__ = ()


class Buffer(Notes):
    __slots__ = ()


class Scalar(Notes):
    __slots__ = ()


class Name:
    """A callable of ours under a name the file knows; it is given the budget first."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[..., Any]):
        self.call = call


def told(text: Any) -> str:
    """A text from the file, short and in plain letters, so that it can be shown; of anything else (it may be endless) the kind."""
    return ascii(text[:100])[1:-1] if isinstance(text, str) else f"a {type(text).__name__}"


def _encode(budget: Budget, text: Any, encoding: Any = "latin1") -> bytes:
    name = bytes(encoding).decode("latin-1") if isinstance(encoding, BYTES) and len(encoding) < 20 else encoding
    if not isinstance(text, str) or not isinstance(name, str) or name.lower() not in ENCODINGS:
        raise UnsafePickle(f"it asks for the text encoding '{told(name)}'")
    budget.spend(len(text))
    return text.encode(name)


def _not_callable(*_: Any) -> Any:
    raise UnsafePickle("it calls numpy.ndarray directly")


def _plain(kind: Callable[..., Any]) -> Name:
    """A container made of another; its keys and members must be plain."""

    def build(budget: Budget, content: Any = (), *encoding: Any) -> Any:
        if not isinstance(content, (list, tuple, dict, set, frozenset, str, *BYTES)):
            raise UnsafePickle("it builds a container from something that is no plain container")
        if kind is bytes and isinstance(content, str):
            return _encode(budget, content, *encoding)
        budget.spend(ENTRY * len(content))
        if kind is dict and not isinstance(content, dict):
            return {budget.key(key): value for key, value in (_pair(pair) for pair in content)}
        return kind(map(budget.key, content) if kind in (set, frozenset) else content)

    return Name(build)


def _pair(content: Any) -> tuple[Any, Any]:
    if not isinstance(content, (list, tuple)) or len(content) != 2:
        raise ValueError("a dict is made of something else than pairs")
    return content[0], content[1]


_CORE = {"_reconstruct": Array, "scalar": Scalar}
_CONTAINERS = {"list": list, "dict": dict, "tuple": tuple, "set": set, "frozenset": frozenset, "bytes": bytes, "bytearray": bytes}
ALLOWED: dict[tuple[str, str], Name] = {
    **{(f"numpy.{core}.multiarray", name): Name(kind) for core in ("core", "_core") for name, kind in _CORE.items()},
    **{(f"numpy.{core}.numeric", "_frombuffer"): Name(Buffer) for core in ("core", "_core")},
    ("numpy", "ndarray"): Name(_not_callable),
    ("numpy", "dtype"): Name(Dtype),
    ("_codecs", "encode"): Name(_encode),
    ("collections", "OrderedDict"): _plain(dict),
    ("collections", "defaultdict"): Name(lambda *_: {}),  # the factory is ignored
    **{(module, name): _plain(kind) for module in ("builtins", "__builtin__") for name, kind in _CONTAINERS.items()},
}
