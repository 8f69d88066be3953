"""Are reports, tables, executed notebooks and kept runs the old ones or the new ones, whatever ends those who write them?"""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import nbformat
import pytest
from endurance import tell, tries
from killing import changes, contents, killed_again, killed_before, leftovers, moments, quietly, same, undisturbed, whole

from msaviz import Experiment, train
from msaviz.app import notebook, report, results_table
from msaviz.app.notebook import open_or_train
from msaviz.training.results import results

TRAIN = {"epochs": 1, "threads": 1, "validation_rates": (0.0,)}
DATA = "synthetic:rows=200"
PROTOCOLS = ("clean", "subsets")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return train(Experiment(model="lmf", data=DATA, train=TRAIN), tmp_path_factory.mktemp("run") / "lmf", progress=False).path


@pytest.fixture
def pageless(monkeypatch):
    """The report without its pictures, which take a minute and write nothing."""
    monkeypatch.setattr(report, "chapters", lambda of: ())


def compared(out: Path):
    """What `msaviz compare` does: runs, results.csv, and its pages."""
    changed = {f"train.{key}": value for key, value in TRAIN.items()}

    def work():
        results_table.write(results(["lmf"], DATA, PROTOCOLS, seeds=1, out=out, changes=changed, progress=False))

    return quietly(work)


def told(folder: Path) -> dict[str, bytes]:
    return contents(folder, "environment.json")


def test_a_killed_comparison_goes_on_to_equal_bytes(tmp_path):
    total = changes(compared(tmp_path / "whole"), tmp_path)
    expected, tried = told(tmp_path / "whole"), moments(total, tries(3))
    killed = 0
    for number in tried:
        out = tmp_path / f"{number}"
        killed += killed_before(compared(out), tmp_path, number)
        whole(out)
        undisturbed(compared(out))
        assert same(told(out), expected)
        assert leftovers(out) == []
    assert killed
    tell("kill -9 before a change of a file: compare", killed, equal_bytes=killed)


def test_a_killed_comparison_at_any_moment(tmp_path):
    seconds, killed, times = undisturbed(compared(tmp_path / "whole")), 0, tries(1)
    for number in range(times):
        out = tmp_path / f"{number}"
        killed += killed_again(compared(out), out, seconds, 2)
        undisturbed(compared(out))
        assert same(told(out), told(tmp_path / "whole"))
        assert leftovers(out) == []
    tell("kill -9 at any moment: compare", killed, equal_bytes=killed)


def test_a_report_is_the_old_one_or_the_new_one(run, tmp_path, pageless):
    folder, page = tmp_path / "lmf", tmp_path / "page" / "report.html"
    shutil.copytree(run, folder)
    work = quietly(partial(report.report, folder, page))
    total = changes(work, tmp_path)
    expected, kept = page.read_bytes(), contents(folder)
    assert expected.endswith(b"</html>")
    tried = moments(total, tries(3))
    for number in tried:
        shutil.rmtree(folder / "evaluations")
        page.write_text("the old one")
        assert killed_before(work, tmp_path, number)
        assert page.read_bytes() in (b"the old one", expected)
        whole(folder)
        undisturbed(work)
        assert page.read_bytes() == expected
        assert same(contents(folder), kept)
        assert leftovers(tmp_path) == []
    tell("kill -9 before a change of a file: report", len(tried), equal_bytes=len(tried))


def test_a_run_of_a_notebook_is_kept_whole_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setenv("MSAVIZ_CACHE", str(tmp_path / "whole"))
    work = partial(open_or_train, model="lmf", data=DATA, **TRAIN)
    total = changes(work, tmp_path)
    expected = told(Path(work().path))
    tried = moments(total, tries(3))
    for number in tried:
        cache = tmp_path / f"{number}"
        monkeypatch.setenv("MSAVIZ_CACHE", str(cache))
        assert killed_before(work, tmp_path, number)
        whole(cache)
        undisturbed(work)
        assert same(told(Path(work().path)), expected)
        assert leftovers(cache) == []
    tell("kill -9 before a change of a file: open_or_train", len(tried), equal_bytes=len(tried))


def test_an_executed_notebook_is_the_old_copy_or_the_new_one(tmp_path):
    ran = tmp_path / "ran.ipynb"
    nbformat.write(nbformat.v4.new_notebook(metadata={"papermill": {}}), ran)
    target = tmp_path / "out" / "ran.ipynb"
    total = changes(partial(notebook._keep, ran, target), target.parent)
    for number in range(total):
        target.write_text("{}")
        assert killed_before(partial(notebook._keep, ran, target), target.parent, number)
        assert set(json.loads(target.read_text())) in (set(), {"cells", "metadata", "nbformat", "nbformat_minor"})
        notebook._keep(ran, target)
        assert leftovers(target.parent) == []
        assert whole(target.parent) == ["ran.ipynb"]
    tell("kill -9 before a change of a file: notebook", total, old_or_new=total)
