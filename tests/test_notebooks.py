"""Are the notebooks thin, clean and true: the rules of the house, and each one run on a small run?"""

from __future__ import annotations

import ast
import json
import math
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from tiny_runs import DATA, trained

from msaviz.app import notebook as module
from msaviz.app.notebook import NotebookError, checked, find, index, notebooks, open_or_train, parameters_of, run_notebook

NAMES = (
    *("00_index", "01_quickstart", "02_data", "03_routing", "04_private_shared", "05_missing", "06_domains", "07_evolution"),
    *("08_attribution", "09_explore", "10_compare"),
)
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def cells(name: str, kind: str = "code") -> list:
    return [cell for cell in nbformat.read(find(name), as_version=4).cells if cell.cell_type == kind]


def test_the_notebooks_are_there():
    assert set(NAMES) <= set(notebooks())
    assert find("routing") == find("03_routing")


@pytest.mark.parametrize("name", sorted(notebooks()))
def test_rules_of_the_house(name):
    notebook = nbformat.read(find(name), as_version=4)
    nbformat.validate(notebook)
    first, second = notebook.cells[:2]
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    assert "?" in first.source, "the first cell asks the question"
    assert second.metadata.get("tags") == ["parameters"]
    assert notebook.metadata.kernelspec.name == "python3"
    code = "\n".join(cell.source for cell in cells(name))
    assert len([line for line in code.splitlines() if line.strip()]) <= 60
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells(name))
    kinds = {type(node) for node in ast.walk(ast.parse(code))}
    assert not kinds & {ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.For, ast.While}


@pytest.mark.parametrize("name", sorted(notebooks()))
def test_parameters_are_typed_and_commented_in_capitals(name):
    source = next(cell.source for cell in cells(name) if "parameters" in cell.metadata.get("tags", []))
    for line in source.splitlines():
        (node,) = ast.parse(line).body
        assert isinstance(node, ast.AnnAssign), line
        assert isinstance(node.target, ast.Name)
        assert node.target.id.isupper(), line
        assert "  # " in line, f"{line} has no comment"
    assert parameters_of(find(name))


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return trained(tmp_path_factory.mktemp("notebooks"), "derl-0")


def recorded(path: Path) -> dict:
    """The line of JSON that the last cell printed."""
    last = nbformat.read(path, as_version=4).cells[-1]
    return json.loads("".join(output.text for output in last.outputs if output.output_type == "stream" and output.name == "stdout"))


def executed(name: str, folder: Path, **parameters: object) -> tuple[dict, list]:
    path = run_notebook(name, folder, parameters, timeout=240)
    assert path.stat().st_size < 2_000_000  # no plotly.js in it
    assert list(folder.iterdir()) == [path]
    outputs = [output for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code" for output in cell.outputs]
    figures = [o for o in outputs if "application/vnd.plotly.v1+json" in o.get("data", {})]
    assert not any("widget" in kind for o in outputs for kind in o.get("data", {}))
    assert all(o.data["application/vnd.plotly.v1+json"]["config"]["showSendToCloud"] is False for o in figures)
    return recorded(path), figures


def test_quickstart(run, tmp_path):
    found, figures = executed("01_quickstart", tmp_path, RUN=str(run))
    assert found["run"] == "derl-0"
    assert found["scores"].keys() == found["floors"].keys()
    assert 0 < found["scores"]["mae"] < 3
    assert len(figures) == 3


def test_data(tmp_path):
    found, figures = executed("02_data", tmp_path, SOURCE=DATA)
    assert sum(found["rows"].values()) == 200
    assert found["modalities"] == ["text", "audio", "vision"]
    assert len(figures) == 2


def test_routing(run, tmp_path):
    found, figures = executed("03_routing", tmp_path, RUN=str(run))
    assert {router.split("/")[0] for router in found["routers"]} == {"private", "shared"}
    assert 0 <= found["dead_experts"] <= 2 * len(found["routers"])
    assert {"domain", "label", "modality", "time"} <= set(found["information"])
    assert len(figures) == 10


def test_private_shared(run, tmp_path):
    found, figures = executed("04_private_shared", tmp_path, RUN=str(run))
    assert {"fused", "shared/text", "private/vision"} <= set(found["spaces"])
    assert all(math.isfinite(value) for value in found["read_best"].values())
    assert len(figures) == 4


def test_missing(run, tmp_path):
    found, figures = executed("05_missing", tmp_path, RUN=str(run), RATES=[0.0, 0.9])
    assert found["warnings"] == []
    assert 0 < found["mean"]["mae"] < 3
    assert len(figures) == 3


def test_domains(tmp_path):
    found, figures = executed("06_domains", tmp_path, DATA=f"{DATA},shift=1", EPOCHS=2, SNAPSHOTS=2)
    assert found["domains"] == ["film", "meal", "phone"]
    assert found["epochs"] == [1, 2]
    assert found["gaps"] > 0
    assert found["knocked_out"] == 4
    for scores in (*found["value"].values(), *found["floor"].values()):
        assert set(scores) == {"film", "phone", "meal", "mean", "worst"}
        assert scores["mean"] == scores["worst"] == scores["meal"]  # the only unseen domain
    assert all(0 < scores["mean"] < 3 for scores in found["value"].values())
    assert len(figures) == 12


def test_evolution(tmp_path):
    small = {"DATA": DATA, "TRIALS": 2, "POPULATION": 2, "EPOCHS": 1, "SEEDS": 1}
    found, figures = executed("07_evolution", tmp_path, **small)
    assert set(found["mae"]) == set(found["floor"]) == set(found["best"]) == {"nsga2", "random", "default"}
    assert all(0 < value < 4 for value in (*found["mae"].values(), *found["best"].values()))
    assert found["trials"] >= 6  # copies come on top
    assert len(figures) == 9


def test_attribution(run, tmp_path):
    methods = "integrated_gradients,feature_ablation"
    found, figures = executed("08_attribution", tmp_path, RUN=str(run), LIMIT=16, METHODS=methods, STEPS=24)
    assert found["utterances"] == 16
    assert found["gaps"].keys() == found["gains"].keys() == found["pointing"].keys() == set(methods.split(","))
    assert found["gaps"]["integrated_gradients"] < 0.01
    assert all(0 <= share <= 1 for share in found["pointing"].values())
    assert len(figures) == 13


def test_explore(run, tmp_path):
    found, figures = executed("09_explore", tmp_path, RUN=str(run))
    assert found["utterances"] == 30
    assert found["selected"] == 1
    assert len(figures) == 5  # plain ones, where nobody watches


def test_the_index_names_every_notebook_once():
    found = index()
    assert found["notebook"].tolist() == list(notebooks())
    assert found["what you learn"].str.endswith("?").all(), "each begins with a bold question"
    assert (found["minutes"].dropna() > 0).all()
    assert not found.set_index("notebook")["minutes"][list(NAMES)].isna().any(), "how long it takes is kept in the notebook"
    row = found.set_index("notebook").loc["03_routing"]
    assert row["what you learn"].startswith("Which expert works for what")
    assert row["parameters"].split(", ") == list(parameters_of(find("03_routing")))
    assert index("missing")["notebook"].tolist() == ["05_missing"]
    assert index("no such name").empty


def test_the_index_bears_a_notebook_that_says_nothing(tmp_path, monkeypatch):
    broken(tmp_path, PARAMETERS)
    monkeypatch.setattr(module, "notebooks", lambda: {"broken": tmp_path / "broken.ipynb"})
    (row,) = index().to_dict("records")
    assert (row["notebook"], row["what you learn"], row["parameters"]) == ("broken", "", "RUN, RATE, COUNT, RATES")
    assert math.isnan(row["minutes"])


def test_index(tmp_path):
    found, figures = executed("00_index", tmp_path, NAME="0")
    assert found["notebooks"] == [name for name in notebooks() if "0" in name]
    assert found["minutes"] > 0
    assert figures == []


def test_compare(run, tmp_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("compared")
    others = [trained(folder, "derl-1", seed=1), trained(folder, "plain", model="early_fusion")]
    found, figures = executed("10_compare", tmp_path, RUNS=", ".join(map(str, [run, *others])))
    assert found["models"] == {"derl": 2, "early_fusion": 1}
    assert found["metric"] == "mae"
    assert all(0 < value < 3 for value in (*found["value"].values(), *found["floor"].values()))
    assert found["published"] == 57
    assert len(figures) == 3


def test_compare_trains_what_it_is_not_given(tmp_path):
    small = {"MODELS": "unimodal", "DATA": DATA, "EPOCHS": 1, "PROTOCOL": "clean", "PUBLISHED": "nothing"}
    found, figures = executed("10_compare", tmp_path, **small)
    assert found["models"] == {"unimodal": 2}
    assert found["wins"] == []  # alone
    assert found["published"] == 0
    assert len(figures) == 3


def test_a_small_run_is_trained_once_and_kept():
    small = {"data": DATA, "model": "early_fusion", "epochs": 1}
    first = open_or_train(**small)
    stamp = (first.path / "weights.safetensors").stat().st_mtime_ns
    again = open_or_train(**small)
    assert again.path == first.path
    assert (again.path / "weights.safetensors").stat().st_mtime_ns == stamp
    assert open_or_train(first.path).path == first.path
    assert [entry.name for entry in first.path.parent.iterdir()] == [first.path.name]


# -- what goes wrong is told in one sentence ---------------------------------------------------------------------------


def broken(folder: Path, *sources: str) -> str:
    notebook = new_notebook(metadata={"kernelspec": KERNEL}, cells=[new_code_cell(source) for source in sources])
    notebook.cells[0].metadata["tags"] = ["parameters"]
    path = folder / "broken.ipynb"
    nbformat.write(notebook, path)
    return str(path)


PARAMETERS = 'RUN: str = "a:b"\nRATE: float = 0.5\nCOUNT: int = 3\nRATES: list = [0.1]'


def test_an_unknown_notebook_lists_what_exists(tmp_path):
    with pytest.raises(ValueError, match="01_quickstart, 02_data"):
        run_notebook("nonsense", tmp_path)


def test_an_unknown_parameter_runs_nothing(tmp_path):
    with pytest.raises(ValueError, match=r"no parameter 'NONSENSE'; it has RUN"):
        run_notebook("01_quickstart", tmp_path, {"NONSENSE": 1})
    assert list(tmp_path.iterdir()) == []


def test_texts_from_the_shell_become_what_their_default_is(tmp_path):
    path = Path(broken(tmp_path, PARAMETERS))
    assert parameters_of(path) == {"RUN": "a:b", "RATE": 0.5, "COUNT": 3, "RATES": [0.1]}
    assert checked(path, {"RUN": "12", "RATE": "1", "COUNT": "7", "RATES": "[0, 1]"}) == {
        "RUN": "12",
        "RATE": 1,
        "COUNT": 7,
        "RATES": [0, 1],
    }
    with pytest.raises(ValueError, match="COUNT must be like its default 3, got 'x'"):
        checked(path, {"COUNT": "x"})
    with pytest.raises(ValueError, match="COUNT must be like"):
        checked(path, {"COUNT": "true"})


def test_a_failing_cell_is_named(tmp_path):
    name = broken(tmp_path, PARAMETERS, "print(COUNT)", "1 / 0")
    with pytest.raises(NotebookError, match=r"broken.ipynb, cell 3 \(1 / 0\): ZeroDivisionError: division by zero"):
        run_notebook(name, tmp_path / "out", {"COUNT": 4})
    assert (tmp_path / "out" / "broken.ipynb").is_file()


def test_a_slow_cell_is_named(tmp_path):
    name = broken(tmp_path, PARAMETERS, "import time; time.sleep(60)")
    with pytest.raises(NotebookError, match=r"broken.ipynb, cell 2 \(import time.*\): took more than 2 s"):
        run_notebook(name, tmp_path / "out", timeout=2)


def test_a_dead_kernel_is_named(tmp_path):
    name = broken(tmp_path, PARAMETERS, "import os; os._exit(1)")
    with pytest.raises(NotebookError, match=r"broken.ipynb, cell 2 \(import os.*\): its Python process died"):
        run_notebook(name, tmp_path / "out")


def test_a_notebook_is_never_written_over_itself(tmp_path):
    with pytest.raises(ValueError, match="own folder"):
        run_notebook(broken(tmp_path, PARAMETERS), tmp_path)


def test_where_notebooks_are_looked_for():
    assert all(folder.name == "notebooks" for folder in module.folders())
