"""Do notebooks that run one after the other, at the same time, or alone show the same, number for number?"""

from __future__ import annotations

import json
from pathlib import Path

from test_notebooks_all import written

from msaviz.app.notebook import run_notebook
from msaviz.app.notebooks import run_notebooks

TRAIN = """
from msaviz.app.notebook import open_or_train, show
from msaviz.catalog import TABLES, VIEWS
run = open_or_train(model=MODEL, data="synthetic:rows=200", epochs=1)
print(run.history()["value"].map(float.hex).tolist())
"""
SHOW = """
view = VIEWS["prediction_scatter"]
show(view, TABLES[view.table](run.observe("test")))
"""


def shown(path: Path) -> list:
    """All outputs of the executed copy, as they are in the file."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell["outputs"] for cell in cells if cell["cell_type"] == "code"]


def test_serial_parallel_and_alone_are_equal(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "pids").mkdir()
    names = [
        written(tmp_path / "source", f"{model}", TRAIN, SHOW, parameters=f'MODEL: str = "{model}"') for model in ("early_fusion", "haemsa")
    ]
    found = {}
    for way, workers in (("serial", 1), ("parallel", 2)):
        monkeypatch.setenv("MSAVIZ_CACHE", str(tmp_path / way))  # each trains its own
        outcomes = run_notebooks(names, tmp_path / f"{way}-out", {"PIDS": str(tmp_path / "pids")}, workers=workers, progress=False)
        assert [one.error for one in outcomes] == ["", ""]
        found[way] = [shown(one.path) for one in outcomes]
    monkeypatch.setenv("MSAVIZ_CACHE", str(tmp_path / "alone"))
    alone = run_notebook(names[0], tmp_path / "alone-out", {"PIDS": str(tmp_path / "pids")})
    assert found["serial"] == found["parallel"]
    assert shown(alone) == found["serial"][0]
    texts = json.dumps(found["serial"])
    assert texts.count("0x1.") > 40
    assert texts.count("application/vnd.plotly.v1+json") == 2
