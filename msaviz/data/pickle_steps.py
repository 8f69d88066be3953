"""How is the program in a pickle run, so that no step costs more than its bytes are worth?

By Python's own reader, with steps of ours wherever the file says how much is to be made: what is announced must be there, numbers have at
most 64 bits, keys are plain, a call only takes notes (`pickle_notes`). The reader in C is no faster for arrays and cannot be guarded.
"""

from __future__ import annotations

import codecs
import pickle
import re
from collections.abc import Callable
from typing import Any, ClassVar

from msaviz.data.pickle_notes import ALLOWED, Budget, Name, Notes, UnsafePickle, told

NO_ESCAPE = re.compile(rb"\\(?:[^'\"abfnrtvx0-7]|[4-7][0-7]{2}|$)")
"""What Python warns of in a quoted string, once its pairs of backslashes are gone."""
SET = 216
"""Bytes of memory that an empty set takes, for one byte of the file."""
MOST_ARGUMENTS, LONGEST_NUMBER, LONGEST_LONG = 8, 40, 9
"""Arguments of a call; letters of a number that is written as text; bytes of an integer (64 bits and a sign)."""


class Reader(pickle._Unpickler):  # type: ignore[name-defined]
    """Runs the program in `file`; blocks of a mapped file, from `least` bytes on, become pieces of `view`.

    Frames, which only say how far to read ahead, are passed over.
    """

    dispatch: ClassVar[dict[int, Callable[..., None]]]
    stack: list[Any]
    memo: dict[int, Any]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, file: Any, budget: Budget, view: memoryview | None = None, least: int = 0):
        super().__init__(file, encoding="bytes")
        self.file, self.budget, self.view, self.least = file, budget, view, least
        self.read, self.readline = file.read, file.readline

    def load(self) -> Any:
        """What is left when the program stops."""
        self.metastack, self.stack = [], []
        self.append = self.stack.append
        read, dispatch = self.read, self.dispatch
        try:
            while step := read(1):
                dispatch[step[0]](self)
        except KeyError as error:
            if error.args != (step[0],) or step[0] in dispatch:
                raise
            raise ValueError(f"{step!r} is no step of a pickle") from None
        except pickle._Stop as stop:  # type: ignore[attr-defined]
            return stop.value
        raise EOFError("it ends before it stops")

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise UnsafePickle(f"it asks for `{told(module)}.{told(name)}`")
        return ALLOWED[module, name]

    def announced(self, count: int) -> int:
        """The little-endian number in the next `count` bytes, of bytes which must follow."""
        size = int.from_bytes(self.read(count), "little")
        rest = self.budget.size - self.file.tell()
        if size > rest:
            raise EOFError(f"it announces {size:,} more bytes and has {rest:,}")
        return size

    def block(self, count: int) -> Any:
        size = self.announced(count)
        if self.view is None or size < self.least:
            return self.read(size)
        start = self.file.tell()
        self.file.seek(size, 1)
        return self.view[start : start + size]

    def line(self) -> bytes:
        line = self.readline()
        if not line.endswith(b"\n"):
            raise EOFError("it ends within a name or a number")
        return line[:-1]

    def number(self) -> bytes:
        """A number that is written as text."""
        line = self.line()
        if len(line) > LONGEST_NUMBER:
            raise ValueError(f"a number of {len(line):,} letters")
        return line

    def top(self, kind: type) -> Any:
        """The value that a step changes, which must be a `kind`."""
        if type(self.stack[-1]) is not kind:
            raise ValueError(f"a step for a {kind.__name__} meets a {type(self.stack[-1]).__name__}")
        return self.stack[-1]

    def integer(self) -> None:
        line = self.number().removesuffix(b"L")
        self.append(line == b"01" if line in (b"00", b"01") else int(line, 0))

    def long(self, count: int) -> None:
        size = self.announced(count)
        if size > LONGEST_LONG:
            raise ValueError(f"an integer of {size:,} bytes")
        self.append(int.from_bytes(self.read(size), "little", signed=True))

    def quoted(self) -> None:
        line = self.line()
        if len(line) < 2 or line[0] != line[-1] or line[:1] not in (b"'", b'"') or NO_ESCAPE.search(line[1:-1].replace(b"\\\\", b"")):
            raise ValueError(f"a string that no Python wrote: {told(line)}")
        self.append(codecs.escape_decode(line[1:-1])[0])  # type: ignore[attr-defined]

    def fetch(self) -> None:
        self.append(self.memo[int(self.number())])

    def put(self) -> None:
        self.memo[int(self.number())] = self.stack[-1]

    def empty_set(self) -> None:
        self.budget.spend(SET)
        self.append(set())

    def frozen(self) -> None:
        members = self.pop_mark()
        self.append(frozenset(map(self.budget.key, members)))

    def add(self) -> None:
        members = self.pop_mark()
        self.top(set).update(map(self.budget.key, members))

    def append_one(self) -> None:
        value = self.stack.pop()
        self.top(list).append(value)

    def extend(self) -> None:
        values = self.pop_mark()
        self.top(list).extend(values)

    def fill(self, pairs: list[Any]) -> None:
        if len(pairs) % 2:
            raise ValueError("a key without a value")
        self.top(dict).update(zip(map(self.budget.key, pairs[::2]), pairs[1::2], strict=True))

    def set_one(self) -> None:
        pair = self.stack[-2:]
        del self.stack[-2:]
        self.fill(pair)

    def dictionary(self) -> None:
        pairs = self.pop_mark()
        self.append({})
        self.fill(pairs)

    def call(self) -> None:
        arguments, name = self.stack.pop(), self.stack[-1]
        if type(name) is not Name or type(arguments) is not tuple or len(arguments) > MOST_ARGUMENTS:
            raise ValueError(f"it calls a {type(name).__name__} with {type(arguments).__name__}, or with too many arguments")
        self.stack[-1] = name.call(self.budget, *arguments)

    def build(self) -> None:
        state, notes = self.stack.pop(), self.stack[-1]
        if type(notes) is Name:
            raise UnsafePickle("it tries to change a function")
        if not isinstance(notes, Notes):
            raise ValueError(f"it sets the state of a {type(notes).__name__}")
        notes.state = state

    def named(self) -> Any:
        return self.find_class(self.line().decode("utf-8"), self.line().decode("utf-8"))

    def instance(self) -> None:
        self.named()
        self.refuse("makes an object of a class")

    def refuse(self, what: str) -> None:
        raise UnsafePickle(f"it {what}")


_KEPT = (
    *("PROTO", "STOP", "MARK", "POP", "POP_MARK", "DUP", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "BINFLOAT"),
    *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "LIST", "EMPTY_DICT", "STACK_GLOBAL", "UNICODE"),
    *("BINGET", "LONG_BINGET", "BINPUT", "LONG_BINPUT", "MEMOIZE", "SHORT_BINBYTES", "SHORT_BINUNICODE", "SHORT_BINSTRING"),
)
"""Steps that are harmless as Python runs them: what they make is small, and bytes that lack are missed at the next step."""
_OWN: dict[str, Callable[[Reader], Any]] = {
    "FRAME": lambda r: r.announced(8),
    "INT": Reader.integer,
    "LONG": Reader.integer,
    "LONG1": lambda r: r.long(1),
    "LONG4": lambda r: r.long(4),
    "FLOAT": lambda r: r.append(float(r.number())),
    "STRING": Reader.quoted,
    "BINSTRING": lambda r: r.append(r.block(4)),
    "BINBYTES": lambda r: r.append(r.block(4)),
    "BINBYTES8": lambda r: r.append(r.block(8)),
    "BYTEARRAY8": lambda r: r.append(r.block(8)),
    "BINUNICODE": lambda r: r.append(str(r.block(4), "utf-8", "surrogatepass")),
    "BINUNICODE8": lambda r: r.append(str(r.block(8), "utf-8", "surrogatepass")),
    "GET": Reader.fetch,
    "PUT": Reader.put,
    "EMPTY_SET": Reader.empty_set,
    "FROZENSET": Reader.frozen,
    "ADDITEMS": Reader.add,
    "APPEND": Reader.append_one,
    "APPENDS": Reader.extend,
    "SETITEM": Reader.set_one,
    "SETITEMS": lambda r: r.fill(r.pop_mark()),
    "DICT": Reader.dictionary,
    "REDUCE": Reader.call,
    "BUILD": Reader.build,
    "GLOBAL": lambda r: r.append(r.named()),
    "INST": Reader.instance,
    **dict.fromkeys(("OBJ", "NEWOBJ", "NEWOBJ_EX"), lambda r: r.refuse("makes an object of a class")),
    **dict.fromkeys(("EXT1", "EXT2", "EXT4"), lambda r: r.refuse("names a function by a number")),
    **dict.fromkeys(("PERSID", "BINPERSID", "NEXT_BUFFER", "READONLY_BUFFER"), lambda r: r.refuse("refers to something outside the file")),
}
_CODES: dict[str, int] = {name: getattr(pickle, name)[0] for name in [*_KEPT, *_OWN]}
Reader.dispatch = {code: _OWN.get(name) or pickle._Unpickler.dispatch[code] for name, code in _CODES.items()}  # type: ignore[attr-defined]
