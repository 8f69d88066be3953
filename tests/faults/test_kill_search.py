"""Does a search that is killed at any moment lose no finished trial, keep its budget, and go on to the same record and winners?"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from endurance import tell, tries
from killing import changes, contents, killed_again, killed_before, leftovers, moments, same, undisturbed, whole

from msaviz import Experiment
from msaviz.search import storage, worker
from msaviz.search.evolve import search
from msaviz.search.record import Search

EXPERIMENT = Experiment(model="lmf", data="synthetic:rows=200", train={"epochs": 1, "threads": 1})
ASKED = {
    "trials": 4,
    "controls": False,
    "population": 2,
    "epochs": 1,
    "seeds": 1,
    "finalists": 1,
    "objectives": ("mae",),
    "progress": False,
}


def work(path: Path):
    return partial(search, EXPERIMENT, path, **ASKED)


def came_of(path: Path) -> tuple[list, dict[str, bytes]]:
    """What a finished search found, without what the clock says."""
    evolution = Search.open(path).evolution
    trials = evolution.trials.drop(columns="seconds")
    told = [trials.to_csv(), evolution.genes.to_csv()]
    files = contents(path, "search.json", "trials.csv", "environment.json")
    return told, {name: file for name, file in files.items() if not name.startswith("journal.log")}  # optuna's, with its locks


pytestmark = pytest.mark.filterwarnings("ignore:The value of .grace_period:UserWarning")


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """A lock on the journal that a killed process held, and a trial that it had asked for, are taken at once, not after ten seconds."""
    monkeypatch.setattr(storage, "GRACE", 0.2)
    monkeypatch.setattr(worker, "UNCLAIMED", 0.2)


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    total = changes(work(folder / "search"), folder)
    assert "results.csv" in whole(folder / "search")
    return came_of(folder / "search"), total


def finished(path: Path) -> set[tuple[str, int]]:
    """The trials whose answer is in the journal."""
    if not (path / "search.json").exists() or not (path / "journal.log").exists():
        return set()
    trials = Search.open(path).evolution.trials
    return {(row.arm, row.trial) for row in trials.itertuples() if row.state == "complete"}


def goes_on(path: Path, expected: tuple) -> None:
    whole(path)
    before = finished(path)
    undisturbed(work(path))
    assert before <= finished(path)
    assert (Search.open(path).evolution.trials["copy_of"] < 0).sum() == ASKED["trials"]
    record, files = came_of(path)
    assert record == expected[0]
    assert same(files, expected[1])
    assert [name for name in leftovers(path) if "journal" not in name] == []


def test_killed_before_any_change_of_a_file(tmp_path, expected):
    told, total = expected
    tried = moments(total, tries(2))
    killed = 0
    for number in tried:
        killed += killed_before(work(tmp_path / f"{number}"), tmp_path, number)
        goes_on(tmp_path / f"{number}", told)
    tell("kill -9 before a change of a file: search", killed, went_on_to_the_same_record=killed)
    assert killed


def test_killed_again_and_again_at_any_moment(tmp_path, expected):
    told, _ = expected
    seconds, kills, times = undisturbed(work(tmp_path / "timed")), 0, tries(1)
    for number in range(times):
        kills += killed_again(work(tmp_path / f"{number}"), tmp_path / f"{number}", seconds, 2)
        goes_on(tmp_path / f"{number}", told)
    tell("kill -9 at any moment: search", kills, went_on_to_the_same_record=kills)
    assert kills
