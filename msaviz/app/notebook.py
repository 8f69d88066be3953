"""How does a notebook of ours run with your parameters, and what does it use to open a run and to show a figure?"""

from __future__ import annotations

import ast
import hashlib
import json
import logging
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msaviz.app.kernels import Kernels
from msaviz.files import write_text
from msaviz.options import read_value
from msaviz.reading import read_json, reading

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from msaviz.training.run import Run
    from msaviz.viz.view import View

OURS = {"injected-parameters", "papermill-error-cell-tag"}
"""Tags of the cells that papermill adds to an executed copy."""


class NotebookError(ValueError):
    """A notebook that could not run to its end: the message names the notebook, the cell and the cause."""


def folders() -> list[Path]:
    """Where our notebooks lie: in the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    return [folder for folder in (package / "notebooks", package.parent / "notebooks") if folder.is_dir()]


def notebooks() -> dict[str, Path]:
    """Name -> file of every notebook of ours."""
    return {path.stem: path for folder in reversed(folders()) for path in sorted(folder.glob("[0-9]*.ipynb"))}


def find(name: str) -> Path:
    """The file of a notebook of ours ("03_routing", or "routing" for short) or of a path; ValueError lists what exists."""
    known = notebooks()
    short = {key.partition("_")[2]: path for key, path in known.items()}
    for candidate in (known.get(name), short.get(name), Path(name)):
        if candidate is not None and candidate.suffix == ".ipynb" and candidate.is_file():
            return candidate
    raise ValueError(f"no notebook is called {name!r}; these exist: {', '.join(known)} (or give the path of an .ipynb file)")


def run_notebook(name: str, out: str | Path, parameters: Mapping[str, Any] | None = None, *, timeout: int = 3600) -> Path:
    """Run a notebook in the current folder and write the executed copy into the folder `out`; return its path.

    Parameters are checked before anything runs: an unknown one raises ValueError. A failing cell, one that takes more
    than `timeout` seconds and a kernel that dies raise NotebookError; the copy then shows how far it came.
    """
    path = find(name)
    given = checked(path, parameters or {})
    target = Path(out) / path.name
    if target.exists() and target.samefile(path):
        raise ValueError(f"{out} is the notebook's own folder; choose another for the executed copy")
    return execute(path, target, given, timeout=timeout, kernels=Kernels())


def execute(path: Path, target: Path, parameters: Mapping[str, Any], *, timeout: int, kernels: Kernels) -> Path:
    """Run the notebook `path` with parameters that were checked; `target` appears when it has ended, well or not, and in one piece.

    Raises NotebookError as `run_notebook` does. Nothing that the kernel started outlives it.
    """
    import nbclient.exceptions
    import papermill

    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # it cannot read defaults with a colon; errors are told below
    # a FigureWidget would put plotly.js into the copy; the kernel's messages speak of its own local sockets, and of being stopped
    quiet = {"progress_bar": False, "store_widget_state": False, "extra_arguments": ["--log-level=50"]}
    stopped = ""
    with tempfile.TemporaryDirectory(prefix="msaviz-notebook-") as scratch:
        copy = Path(scratch) / path.name
        try:
            papermill.execute_notebook(
                path, copy, dict(parameters), execution_timeout=timeout, kernel_manager_class=kernels.manager(), **quiet
            )
        except papermill.PapermillExecutionError as error:
            stopped = f"{_stopped(copy)}: {error.ename}: {error.evalue}"
        except nbclient.exceptions.CellTimeoutError:
            stopped = f"{_stopped(copy)}: took more than {timeout} s"
        except nbclient.exceptions.DeadKernelError:
            if kernels.ended:
                raise NotebookError(f"{path.name}, {_stopped(copy)}: stopped") from None
            stopped = f"{_stopped(copy)}: its Python process died, perhaps for want of memory"
        finally:
            kernels.end()
        _keep(copy, target)
    if stopped:
        raise NotebookError(f"{path.name}, {stopped} (see {target})")
    return target


def _keep(copy: Path, target: Path) -> None:
    """Write the executed copy to where it was asked for, and let it say so."""
    found = json.loads(copy.read_text(encoding="utf-8"))
    found["metadata"].get("papermill", {})["output_path"] = str(target)
    write_text(target, json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def parameters_of(path: Path) -> dict[str, Any]:
    """Name -> default of the assignments in the cell tagged `parameters` (None where the default is computed).

    ValueError naming the file where it is no notebook, or that cell no Python.
    Read from the source's syntax tree: `papermill.inspect_notebook` reads line by line and loses any text with a colon in it.
    """
    with reading(path, "save it with Jupyter again"):
        cells = read_json(path)["cells"]
        source = "\n".join("".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", []))
        body = ast.parse(source).body
    found = {}
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        for target in targets:
            if isinstance(target, ast.Name):
                found[target.id] = _literal(node.value)  # type: ignore[union-attr]
    return found


def checked(path: Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with texts from the shell turned into the type of each default; ValueError names what is wrong."""
    known = parameters_of(path)
    found = {}
    for name, value in parameters.items():
        if name not in known:
            raise ValueError(f"{path.name} has no parameter {name!r}; it has {', '.join(known) or 'none'}")
        default = known[name]
        found[name] = str(value) if isinstance(default, str) and isinstance(value, str | Path) else read_value(value)
        wanted = (int, float) if type(default) is float else type(default)
        if default is not None and (not isinstance(found[name], wanted) or isinstance(found[name], bool) != isinstance(default, bool)):
            raise ValueError(f"{path.name}: {name} must be like its default {default!r}, got {value!r}")
    return found


def index(name: str = "") -> pd.DataFrame:
    """A row a notebook of ours whose name contains `name`: what one learns there (its first question), minutes of a headless run with
    the defaults on two cores (NaN where nobody measured them), and its parameters."""
    import pandas as pd

    found = {key: json.loads(path.read_text(encoding="utf-8")) for key, path in notebooks().items() if name in key}
    rows = [
        {
            "notebook": key,
            "what you learn": _question("".join(content["cells"][0]["source"])),
            "minutes": float(content["metadata"].get("msaviz", {}).get("minutes", "nan")),
            "parameters": ", ".join(parameters_of(notebooks()[key])),
        }
        for key, content in found.items()
    ]
    return pd.DataFrame(rows, columns=["notebook", "what you learn", "minutes", "parameters"])


def _question(text: str) -> str:
    """The first bold question of a text in Markdown, in one line; empty where there is none."""
    found = re.search(r"\*\*([^*]+\?)\*\*", text)
    return " ".join(found.group(1).split()) if found else ""


def _literal(node: ast.expr | None) -> Any:
    try:
        return None if node is None else ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):  # computed, or nothing that Python could compute
        return None


def _stopped(executed: Path) -> str:
    """Which cell a notebook stopped at: its number in the original, where papermill's own cells are not counted, and its first line."""
    cells = json.loads(executed.read_text(encoding="utf-8"))["cells"] if executed.exists() else []
    cells = [cell for cell in cells if not OURS.intersection(cell["metadata"].get("tags", []))]
    bad = [n for n, cell in enumerate(cells) if cell["cell_type"] == "code" and not _finished(cell)]
    if not bad:
        return "after its last cell"
    line = "".join(cells[bad[0]]["source"]).strip().split("\n")[0]
    return f"cell {bad[0] + 1} ({line})"


def _finished(cell: dict[str, Any]) -> bool:
    """Whether a cell ran well; papermill marks one that was cut off as completed, but the kernel never replied to it."""
    about = cell["metadata"]
    empty = not "".join(cell["source"]).strip()
    return empty or ("shell.execute_reply" in about.get("execution", {}) and not about.get("papermill", {}).get("exception"))


# -- what the notebooks use -------------------------------------------------------------------------------------------


def open_or_train(path: str | Path = "", *, model: str = "derl", data: str = "synthetic", seed: int = 0, **train: Any) -> Run:
    """The run at `path`; with an empty path a small one, trained now and kept in the cache folder for the next notebook.

    `train` are training options, e.g. `epochs=3`. The kept run is trained anew whenever the package's code changes.
    """
    from msaviz.files import cache_folder
    from msaviz.locks import when_free
    from msaviz.training.experiment import Experiment
    from msaviz.training.loop import train as train_
    from msaviz.training.run import Run

    if str(path):
        return Run.open(path)
    experiment = Experiment(model=model, data=data, seed=seed, train=train)  # type: ignore[arg-type]
    code = max(file.stat().st_mtime_ns for file in Path(__file__).parents[1].rglob("*.py"))
    key = hashlib.sha256(f"{experiment.model_dump_json()}{code}".encode()).hexdigest()[:12]
    kept = cache_folder() / "runs" / key / f"{model}-tiny"
    return when_free(lambda: train_(experiment, kept, resume=True, progress=False))  # another notebook may train the same one


def show(view: View, frame: pd.DataFrame, **options: Any) -> None:
    """Draw `frame` in the notebook and say under it in one sentence what the picture shows."""
    from msaviz.viz.theme import CONFIG

    view(frame, **options).show(config=CONFIG)
    if not frame.empty:
        print(view.read(frame))


def display(figure: go.Figure, title: str) -> None:
    """Show a figure of your own in the house style."""
    from msaviz.viz.theme import CONFIG, styled

    styled(figure, title=title).show(config=CONFIG)
