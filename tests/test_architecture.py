"""Does the house stand as it is drawn: imports go down only, names load lazily, files stay short, no pickle is trusted?"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "msaviz"
FLOORS = {
    **dict.fromkeys(("types", "options", "catalog", "files", "limits", "locks", "reading", "terminal"), 1),
    **dict.fromkeys(("data", "nn", "interpret", "viz"), 2),
    "models": 3,
    "training": 4,
    "search": 5,
    **dict.fromkeys(("app", "__main__"), 6),
}
WINGS = ("data", "nn", "interpret", "viz")
HEAVY = ("umap", "sklearn", "captum", "transformers", "papermill", "nbclient", "scipy", "optuna")
FILES = sorted(PACKAGE.rglob("*.py"))


def part(module: str) -> str:
    """ "msaviz.data.load" -> "data"."""
    return module.split(".")[1] if "." in module else "msaviz"


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(path: Path, *, only_top: bool = False) -> Iterator[tuple[int, str]]:
    """(line, module) of every import in a file, those inside functions too; what only a type checker reads is left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    unread = {
        id(n)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.unparse(branch.test)
        for n in ast.walk(branch)
    }
    package = name_of(path).split(".") if path.name == "__init__.py" else name_of(path).split(".")[:-1]
    for node in tree.body if only_top else ast.walk(tree):
        if id(node) in unread:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(package[: len(package) - node.level + 1]) + "." if node.level else ""
            base = f"{start}{node.module or ''}".rstrip(".")
            whole = base == "msaviz"  # `from msaviz import data` names a module
            yield from ((node.lineno, f"{base}.{alias.name}" if whole else base) for alias in node.names)


def culprits(path: Path) -> list[str]:
    here = part(name_of(path))
    if here == "msaviz":  # the front door exposes every floor, lazily
        return []
    found = []
    for line, module in imported(path):
        there = part(module)
        if not module.startswith("msaviz.") or there == here:
            continue
        wrong = there not in FLOORS or FLOORS[there] > FLOORS[here] or (here in WINGS and there in WINGS)
        if wrong:
            found.append(f"{path.relative_to(ROOT)}:{line} ({here}) imports {module} ({there})")
    return found


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_go_down_and_wings_never_meet(path):
    assert part(name_of(path)) in {*FLOORS, "msaviz"}, f"{path} stands on no floor"
    assert culprits(path) == []


def test_the_law_catches_a_culprit(tmp_path, monkeypatch):
    file = tmp_path / "msaviz" / "viz" / "bad.py"
    file.parent.mkdir(parents=True)
    inside = ("from msaviz.interpret.table import Table", "from ..training import run", "from msaviz import data", "import msaviz.types")
    file.write_text("\n    ".join(["import pandas\ndef f():", *inside]))
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    told = culprits(file)
    assert [line.partition(" imports ")[2] for line in told] == [
        "msaviz.interpret.table (interpret)",
        "msaviz.training (training)",
        "msaviz.data (data)",
    ]
    assert told[0].startswith("msaviz/viz/bad.py:3 (viz)")


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nothing_heavy_at_import(path):
    heavy = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for line, module in imported(path, only_top=True)
        if module.split(".")[0] in HEAVY
    ]
    assert heavy == []


@pytest.mark.parametrize(("module", "limit"), [("msaviz", 0.2), ("msaviz.viz", None), ("msaviz.viz.theme", None), ("msaviz.app.cli", 0.5)])
def test_import_is_quick_and_loads_no_torch(module, limit):
    code = f"import sys, time; start = time.process_time(); import {module}; print(time.process_time() - start, 'torch' in sys.modules)"
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout.split() for _ in range(2)
    ]
    assert all(torch == "False" for _, torch in runs)
    assert limit is None or min(float(spent) for spent, _ in runs) < limit


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_and_functions_stay_short(path):
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = {f"{path.relative_to(ROOT)}:{f.lineno} {f.name}": _lines(f) for f in functions if _lines(f) > 40}
    assert len(source.splitlines()) <= 300
    assert long == {}


def _lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the body, without the docstring and the signature."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0  # type: ignore[operator]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_file_says_which_question_it_answers(path):
    source = path.read_text(encoding="utf-8")
    assert not source.strip() or ast.get_docstring(ast.parse(source)), f"{path.relative_to(ROOT)} has no docstring"


RUNNING = re.compile(
    r"eval|exec|compile|os\.(system|popen)|(\w+\.)*(__import__|getoutput|getstatusoutput|mktemp|mmap_pickle)"
    r"|(c?pickle|cloudpickle|dill|shelve|marshal|joblib|jsonpickle)\.\w+|(pd|pandas)\.(read_pickle|read_hdf)|yaml\.(load|load_all|unsafe_load)"
    r"|torch\.(hub|jit)\.load"
)
"""Calls that run what they read, or a shell, or leave a name for others to take."""


def trusting(tree: ast.AST) -> list[str]:
    """What in a file takes a text or a file for code: calls by name, or an import that hides the name."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in ("pickle", "joblib", "marshal", "shelve", "yaml", "dill"):
            found += [
                f"from {node.module} import {a.name}"
                for a in node.names
                if a.name in ("load", "loads", "load_all", "unsafe_load", "Unpickler", "*")
            ]
        if not isinstance(node, ast.Call):
            continue
        function, given = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
        wrong = RUNNING.fullmatch(function) is not None
        wrong |= function == "torch.load" and given.get("weights_only") != "True"
        wrong |= function in ("np.load", "numpy.load") and given.get("allow_pickle") != "False"
        wrong |= given.get("allow_pickle", "False") != "False" or given.get("weights_only", "True") != "True"
        wrong |= given.get("shell", "False") != "False" or given.get("trust_remote_code", "False") != "False"
        found += [f"{node.lineno}: {function}"] * wrong
    return found


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_pickle_is_trusted(path):
    """`pickle` runs what it reads: only the restricted unpickler may touch it; torch.load reads weights only, numpy no objects."""
    known = ("pickle.", "__import__") if path.name.startswith(("unpickle", "pickle_")) else ()
    assert [call for call in trusting(ast.parse(path.read_text(encoding="utf-8"))) if not any(k in call for k in known)] == []


@pytest.mark.parametrize(
    "code",
    [
        *(
            "pickle.load(f)",
            "pickle.Unpickler(f)",
            "joblib.load(f)",
            "eval(x)",
            "exec(x)",
            "os.system(x)",
            "yaml.load(f)",
            "tempfile.mktemp()",
        ),
        *("torch.load(f)", "torch.load(f, weights_only=False)", "np.load(f)", "np.load(f, allow_pickle=True)", "pd.read_pickle(f)"),
        *("subprocess.run(x, shell=True)", "np.lib.format.read_array(f, allow_pickle=True)", "from pickle import loads"),
        *("AutoModel.from_pretrained(x, trust_remote_code=True)", "subprocess.getoutput(x)", "torch.load(f, weights_only=trust)"),
    ],
)
def test_the_law_catches_what_trusts(code):
    assert len(trusting(ast.parse(code))) == 1
    assert trusting(ast.parse("torch.load(f, weights_only=True); np.load(f, allow_pickle=False); re.compile(x); model.eval()")) == []
