"""Pickles that would run something, or never end, in a reader that trusts them: put together step by step, by name."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import zipfile

CANARY = "canary-was-here"
"""The file that a success would leave."""
COMMAND = f"touch {CANARY}"

CALLS = [
    *("os.system", "posix.system", "nt.system", "os.popen", "os.execl", "os.mkdir", "os.remove", "os.putenv", "posix.mkdir"),
    *("subprocess.Popen", "subprocess.call", "subprocess.check_output", "subprocess.getoutput", "pty.spawn", "commands.getoutput"),
    *("builtins.eval", "builtins.exec", "builtins.compile", "builtins.getattr", "builtins.setattr", "builtins.__import__"),
    *("builtins.breakpoint", "builtins.open", "builtins.globals", "builtins.type", "builtins.map", "builtins.input", "builtins.object"),
    *("__builtin__.eval", "__builtin__.file", "__builtin__.apply", "__builtin__.reduce", "builtins.int", "builtins.complex"),
    *("functools.partial", "functools.reduce", "operator.attrgetter", "operator.methodcaller", "operator.itemgetter", "itertools.repeat"),
    *("types.FunctionType", "types.CodeType", "types.ModuleType", "marshal.loads", "code.interact", "pdb.run", "timeit.timeit"),
    *("importlib.import_module", "importlib._bootstrap._gcd_import", "runpy.run_path", "runpy._run_code", "pkgutil.resolve_name"),
    *("webbrowser.open", "urllib.request.urlopen", "urllib2.urlopen", "socket.create_connection", "http.client.HTTPConnection"),
    *("shutil.rmtree", "shutil.copyfile", "tempfile.mkstemp", "pathlib.Path", "pathlib.PosixPath", "io.open", "_io.FileIO", "codecs.open"),
    *("ctypes.CDLL", "multiprocessing.util.spawnv_passfds", "asyncio.create_subprocess_shell", "platform.popen", "logging.config.listen"),
    *("copyreg._reconstructor", "copy_reg._reconstructor", "copyreg.__newobj__", "copyreg.add_extension", "pickle.loads", "_pickle.loads"),
    *("_codecs.decode", "_codecs.lookup", "_codecs.register", "codecs.encode", "collections.Counter", "collections.namedtuple"),
    *("numpy.load", "numpy.fromfile", "numpy.memmap", "numpy.save", "numpy.f2py.compile", "numpy.ctypeslib.load_library", "numpy.loadtxt"),
    *(
        "numpy.testing._private.utils.runstring",
        "numpy.distutils.exec_command.exec_command",
        "numpy.lib.npyio.DataSource",
        "numpy.frombuffer",
    ),
    *("numpy.core._internal._ctypes", "numpy.core.multiarray.fromstring", "numpy._core.multiarray.array", "numpy.core.records.recarray"),
    *("numpy.random._pickle.__randomstate_ctor", "numpy.ma.core._mareconstruct", "numpy.matrixlib.defmatrix.matrix"),
    *("torch.load", "torch._utils._rebuild_tensor_v2", "torch.storage._load_from_bytes", "torch.hub.load", "torch.serialization.load"),
    *("torch.utils.collect_env.run", "torch.jit.unsupported_tensor_ops.execWrapper", "torch._inductor.codecache.compile_file"),
    *("pandas.read_pickle", "pandas.io.pickle.read_pickle", "pandas._libs.internals._unpickle_block", "pandas.DataFrame"),
    *(
        "joblib.load",
        "joblib.numpy_pickle.NumpyArrayWrapper",
        "cloudpickle.loads",
        "cloudpickle.cloudpickle._make_function",
        "dill._dill._eval_repr",
    ),
    *(
        "sklearn.svm._classes.SVC",
        "yaml.unsafe_load",
        "jsonpickle.decode",
        "pip.main",
        "msaviz.data.unpickle.load",
        "msaviz.files.write_text",
    ),
    *(
        "__main__.anything",
        "sys.exit",
        "os._exit",
        "posix._exit",
        "signal.raise_signal",
        "faulthandler._sigsegv",
        "gc.get_objects",
        "sys.settrace",
    ),
]
"""module.name of what has been called by pickles found in the wild, or could be."""
DOTTED = [
    *(("os", "path.os.system"), ("_codecs", "encode.__globals__"), ("_codecs", "encode.__class__"), ("numpy", "dtype.__class__.__base__")),
    *(
        ("numpy", "ndarray.tofile"),
        ("numpy", "f2py.os.system"),
        ("builtins", "list.__subclasses__"),
        ("collections", "OrderedDict.fromkeys"),
    ),
    *(
        ("numpy.core.multiarray", "_reconstruct.__self__"),
        ("builtins", "dict.__class__.__subclasses__"),
        ("collections", "abc.sys.modules"),
    ),
]
"""Ways to something else through an admitted name."""
CONFUSABLE = [
    *(("numpу", "dtype"), ("numpy", "dtуpe"), ("ｎumpy", "dtype"), ("numpy ", "dtype"), ("numpy\x00", "dtype"), ("Numpy", "dtype")),
    *(("_codecs", "encode\u200b"), ("builtins", "ⅼist"), ("./numpy", "dtype"), ("numpy/core", "multiarray"), ("", "dtype"), ("numpy", "")),
]
ADMITTED = {
    "dtype": b"cnumpy\ndtype\n",
    "ndarray": b"cnumpy\nndarray\n",
    "array": b"cnumpy.core.multiarray\n_reconstruct\n",
    "scalar": b"cnumpy._core.multiarray\nscalar\n",
    "buffer": b"cnumpy.core.numeric\n_frombuffer\n",
    "encode": b"c_codecs\nencode\n",
    "list": b"cbuiltins\nlist\n",
    "bytearray": b"c__builtin__\nbytearray\n",
    "defaultdict": b"ccollections\ndefaultdict\n",
    "OrderedDict": b"ccollections\nOrderedDict\n",
}
STATES = {
    "setstate": b"}X\x0c\x00\x00\x00__setstate__cos\nsystem\ns",
    "dict": b"}X\x08\x00\x00\x00__dict__}s",
    "class": b"}X\x09\x00\x00\x00__class__cos\nsystem\ns",
    "slots": b"N}X\x05\x00\x00\x00_callcos\nsystem\ns\x86",
    "plain": b"}X\x01\x00\x00\x00aK\x01s",
}


def text(value: str) -> bytes:
    encoded = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def call(module: str, name: str, form: str, argument: bytes = text(COMMAND)) -> bytes:
    """A program that calls `module.name(argument)` in one of the ways that pickles have."""
    line = b"%s\n%s\n" % (module.encode("utf-8", "surrogatepass"), name.encode("utf-8", "surrogatepass"))
    stacked = text(module) + text(name) + b"\x93"
    body = {
        "reduce": b"c" + line + argument + b"\x85R",
        "reduce old": b"(c" + line + b"(V" + COMMAND.encode() + b"\ntRl",
        "stack": b"\x80\x04" + stacked + argument + b"\x85R",
        "framed": b"\x80\x04\x95" + struct.pack("<Q", len(stacked + argument) + 3) + stacked + argument + b"\x85R",
        "inst": b"(" + argument + b"i" + line,
        "obj": b"(c" + line + argument + b"o",
        "newobj": b"\x80\x02c" + line + argument + b"\x85\x81",
        "newobj_ex": b"\x80\x04" + stacked + argument + b"\x85}\x92",
        "build": b"\x80\x02c" + line + b"}" + text("a") + argument + b"sb",
        "bare": b"c" + line,
    }
    return body[form] + b"."


FORMS = ("reduce", "reduce old", "stack", "framed", "inst", "obj", "newobj", "newobj_ex", "build", "bare")


def wrapped() -> dict[str, bytes]:
    """An honest call of a command, hidden."""
    evil = call("os", "system", "reduce")
    part = evil[:-1]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("archive/data.pkl", evil)
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85X\x01\x00\x00\x00b\x87R"
    objects = b"cnumpy\ndtype\nX\x02\x00\x00\x00O8K\x00K\x01\x87R(K\x03X\x01\x00\x00\x00|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb"
    return {
        "in an object array": array + b"(K\x01K\x01\x85" + objects + b"\x89]" + part + b"atb.",
        "in a dict": b"}" + text("train") + part + b"s.",
        "as a key": b"}" + part + b"K\x01s.",
        "dropped at once": part + b"0N.",
        "after a mark that is dropped": b"(" + part + b"1N.",
        "as the factory of a defaultdict": b"ccollections\ndefaultdict\ncos\nsystem\n\x85R" + text("a") + text(COMMAND) + b"s.",
        "as a state setter": b"cos\nsystem\n}" + text(COMMAND) + b"\x86R0N.",
        "as an encoding": b"c_codecs\nencode\n" + text("a") + text("rot13") + b"\x86R.",
        "in bytes": b"\x80\x03B" + struct.pack("<I", len(evil)) + evil + b".",
        "gzip": gzip.compress(evil),
        "zip, as torch saves": archive.getvalue(),
        "joblib": b"\x80\x04cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}" + text("subclass") + b"cnumpy\nndarray\nsb.",
        "persistent": b"Pos.system\n.",
        "persistent, binary": text("os.system") + b"Q.",
        "extension 1": b"\x80\x02\x82\xf0" + text(COMMAND) + b"\x85R.",
        "extension 2": b"\x80\x02\x83\xf0\x00" + text(COMMAND) + b"\x85R.",
        "extension 4": b"\x80\x02\x84\xf0\x00\x00\x00" + text(COMMAND) + b"\x85R.",
        "buffer outside": b"\x80\x05\x97.",
        "buffer, read only": b"\x80\x05C\x01a\x98.",
        "second pickle": pickle.dumps(1) + evil,
    }


EXTENSION = 240
"""The number that the process which tries these has given to os.system."""
HARMLESS = {"in bytes": COMMAND, "second pickle": 1}
"""What is read of those that are data after all: text, or what comes before."""


def attacks() -> dict[str, bytes]:
    """Name -> pickle. The admitted names in every way but the meant one, all others in all ways."""
    found = {f"{name} ({form})": call(*name.rsplit(".", 1), form) for name in CALLS for form in FORMS}
    found |= {f"{m}/{n} ({form})": call(m, n, form) for m, n in (*DOTTED, *CONFUSABLE) for form in ("reduce", "stack", "bare")}
    for name, steps in ADMITTED.items():
        found |= {f"{name}, state {state}": b"\x80\x02" + steps + made + b"b." for state, made in STATES.items()}
        found |= {f"{name}(), state {state}": b"\x80\x02" + steps + b")R" + made + b"b." for state, made in STATES.items()}
        found |= {
            f"{name}, {way}": b"\x80\x04" + steps + end for way, end in (("newobj", b")\x81."), ("newobj_ex", b")}\x92."), ("bare", b"."))
        }
        found[f"{name}, called with itself"] = steps + steps + b"\x85R."
        found[f"{name}, called with itself, protocol 0"] = b"(" + steps + steps + b"o."
    return found | wrapped()


def counted(code: bytes, size: int, rest: bytes = b"abc") -> bytes:
    width = {b"B": 4, b"X": 4, b"T": 4, b"\x8b": 4}.get(code, 8)
    return b"\x80\x05" + code + size.to_bytes(width, "little") + rest + b"."


def array(shape: bytes, dtype: bytes = b"f4", data: bytes = b"C\x00") -> bytes:
    """The steps of an array of this shape (steps), dtype (text) and content (steps)."""
    kind = (
        b"cnumpy\ndtype\n" + text(dtype.decode()) + b"K\x00K\x01\x87R(K\x03" + text("<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    return b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01" + shape + kind + b"\x89" + data + b"tb"


def bombs() -> dict[str, bytes]:
    """Name -> a small pickle that asks for years or for gigabytes."""
    million = 300_000
    big = b"\x8a\x09" + (2**62).to_bytes(9, "little")
    pair = b"K\x01K\x01\x86"
    text_of = b"X" + struct.pack("<I", 2**16) + b"a" * 2**16
    found = {
        "key of tuples": b"\x80\x04}" + pair + b"".join(b"\x94h" + bytes([i]) + b"\x86" for i in range(60)) + b"K\x01s.",
        "set of tuples": b"\x80\x04\x8f(" + pair + b"".join(b"\x94h" + bytes([i]) + b"\x86" for i in range(60)) + b"\x90.",
        "frozenset of tuples": b"\x80\x04(" + pair + b"".join(b"\x94h" + bytes([i]) + b"\x86" for i in range(60)) + b"\x91.",
        "frozensets": b"\x80\x04(K\x01\x91" + b"".join(b"\x94(h" + bytes([i]) + b"h" + bytes([i]) + b"\x86\x91" for i in range(60)) + b".",
        "set made of tuples": b"\x80\x04cbuiltins\nset\n("
        + pair
        + b"".join(b"\x94h" + bytes([i]) + b"\x86" for i in range(60))
        + b"t\x85R.",
        "dict made of tuples": b"\x80\x04cbuiltins\ndict\n("
        + pair
        + b"".join(b"\x94h" + bytes([i]) + b"\x86" for i in range(60))
        + b"K\x01\x86t\x85R.",
        "tuples within each other": b"\x80\x02)" + b"\x85" * million + b".",
        "lists within each other": b"\x80\x02" + b"]" * million + b"a" * (million - 1) + b".",
        "marks": b"(" * million + b".",
        "memo of 2**31": b"\x80\x02]r\xff\xff\xff\x7f.",
        "memo of a long number": b"]p" + b"9" * 100_000 + b"\n.",
        "long of 2 GB": b"\x80\x02\x8b\xff\xff\xff\x7fabc.",
        "negative long": b"\x80\x02\x8b\xff\xff\xff\xffabc.",
        "long of a megabyte": b"\x80\x02\x8b" + struct.pack("<i", million) + b"\x7f" * million + b".",
        "number of a million digits": b"I" + b"9" * million + b"\n.",
        "number of a million hexadecimal digits": b"L0x" + b"f" * million + b"L\n.",
        "float of a million digits": b"F" + b"9" * million + b"\n.",
        "object array of 10**12": b"\x80\x04" + array(b"\x8a\x06" + (10**12).to_bytes(6, "little") + b"\x85", b"O8", b"]") + b".",
        "empty array of 2**62 rows": b"\x80\x04" + array(big + b"K\x00\x86") + b".",
        "empty array of 2**62 columns": b"\x80\x04" + array(b"K\x00" + big + b"\x86") + b".",
        "shape that overflows": b"\x80\x04" + array(big + big + big + b"K\x04\x86\x87") + b".",
        "strings of no length": b"\x80\x04" + array(b"\x8a\x06" + (10**12).to_bytes(6, "little") + b"\x85", b"S0") + b".",
        "strings of 2**31 letters": b"\x80\x04" + array(b"K\x00\x85", b"U2147483647") + b".",
        "negative shape": b"\x80\x04" + array(b"J\xff\xff\xff\xff\x85") + b".",
        "10,000 axes": b"\x80\x04" + array(b"(" + b"K\x01" * 10_000 + b"t", data=b"C\x04abcd") + b".",
        "text encoded again and again": b"\x80\x02" + text_of + b"q\x00]q\x01(" + b"c_codecs\nencode\nh\x00\x85R" * 50_000 + b"e.",
        "list copied again and again": b"\x80\x02](" + b"K\x01" * 50_000 + b"eq\x00](" + b"cbuiltins\nlist\nh\x00\x85R" * 50_000 + b"e.",
        "call with a million arguments": b"\x80\x02(" + b"N" * million + b"tq\x00](" + b"cnumpy\ndtype\nh\x00R" * 50_000 + b"e.",
        "long keys that are equal": b"\x80\x02}" + text_of + b"q\x00N" + (text_of + b"q\x01N") + b"u.",
        "numbers as keys": b"\x80\x02}(" + b"".join(b"J" + struct.pack("<i", i) + b"N" for i in range(300_000)) + b"u.",
    }
    found |= {f"{2**31 - 1:,} bytes announced by {code!r}": counted(code, 2**31 - 1) for code in (b"B", b"X", b"T")}
    found |= {f"2**60 bytes announced by {code!r}": counted(code, 2**60) for code in (b"\x8d", b"\x8e", b"\x96", b"\x95")}
    levels = b"".join(b"](" + b"h" + bytes([i]) + b"h" + bytes([i]) + b"e\x94" for i in range(40))
    found["shape of laughs"] = (
        b"\x80\x04" + b"](K\x01e\x94" + b"".join(b"](h" + bytes([i]) + b"h" + bytes([i]) + b"e\x94" for i in range(40)) + array(b"") + b"."
    )
    found["laughs of lists"] = b"\x80\x04](K\x01e\x94" + levels + b"."
    found["laughs of dicts"] = (
        b"\x80\x04}\x94"
        + b"".join(b"}(NhiI01\nhie".replace(b"hi", b"h" + bytes([i])).replace(b"e", b"u") + b"\x94" for i in range(40))
        + b"."
    )
    found["one array many times"] = (
        b"\x80\x04" + array(b"M\x00\x10\x85", b"f4", b"B\x00\x40\x00\x00" + bytes(2**14)) + b"\x94](" + b"h\x00" * 200_000 + b"e."
    )
    return found
