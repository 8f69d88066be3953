"""Is the folder of a search from anywhere read without going where it points, and refused in one sentence where it is damaged?"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from endurance import tell, tries
from mutations import spoilt

from msaviz import Experiment, override
from msaviz.search.evolve import search
from msaviz.search.record import Search

TINY = override(
    Experiment(model="early_fusion", data="synthetic:rows=200"),
    {"model.dim": 8, "model.heads": 1, "model.layers": 0, "train.epochs": 1, "train.batch": 128},
)
OPTIONS = {"trials": 2, "population": 2, "epochs": 1, "seeds": 1, "finalists": 1, "controls": False, "genes": ("model.dropout",)}


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> Path:
    return search(TINY, tmp_path_factory.mktemp("search") / "s", **OPTIONS, progress=False).path


@pytest.fixture
def path(found, tmp_path) -> Path:
    return Path(shutil.copytree(found, tmp_path / "s"))


def used(path: Path) -> None:
    """All that a search tells."""
    found = Search.open(path)
    evolution = found.evolution
    assert evolution.trials["error"].dtype == float
    assert evolution.trials["trial"].dtype.kind == "i" or evolution.trials.empty
    assert evolution.genes["number"].dtype == float
    _ = found.winners, found.warnings, found.results, evolution.ranges


def changed(file: Path, **changes) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_the_right_search_is_read_and_not_written(path):
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    used(path)
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
    assert len(Search.open(path).evolution.trials) >= 2


@pytest.mark.parametrize(
    "storage", ["postgresql://evil.invalid/x", "grpc://evil.invalid:1", "sqlite:///{path}/new.db", "redis://evil.invalid"]
)
def test_no_storage_of_others_is_asked(path, storage, monkeypatch):
    asked = []
    monkeypatch.setattr("msaviz.search.record.open_storage", lambda *where: asked.append(where) or 1 / 0)
    changed(path / "search.json", storage=storage.format(path=path))
    used(path)
    with pytest.raises(ValueError, match="if you trust that place"):
        Search.open(path).study("nsga2")
    (path / "trials.csv").unlink()
    with pytest.raises(ValueError, match="if you trust that place"):
        _ = Search.open(path).evolution
    assert asked == []
    with pytest.raises(ZeroDivisionError):
        Search.open(path, connect=True).study("nsga2")
    assert len(asked) == 1


@pytest.mark.parametrize("name", ["../../elsewhere", "/etc", "..", "", "a/b"])
def test_winners_lie_in_the_folder(path, name):
    changed(path / "winners.json", winners={"nsga2": {"trial": 0, "runs": [name]}})
    with pytest.raises(ValueError, match="is no folder of a run") as error:
        Search.open(path).runs("nsga2")
    assert "winners.json" in str(error.value)


def test_a_journal_that_is_a_link_is_not_touched(path, tmp_path):
    target = tmp_path / "mine.txt"
    target.write_text("a line\nand one without an end")
    (path / "journal.log").unlink()
    (path / "journal.log").symlink_to(target)
    with pytest.raises(ValueError, match="is a link, or no plain file"):
        Search.open(path).study("nsga2")
    used(path)
    assert target.read_text() == "a line\nand one without an end"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("search.json", b"[]", "expected a JSON object"),
        ("search.json", b'{"name": 1}', "expected a text under 'name'"),
        ("search.json", b'{"name": "s", "storage": "", "settings": {}}', "settings|experiment: Field required"),
        ("winners.json", b'{"winners": []}', "winners.json: "),
        ("winners.json", b'{"winners": {"a": {"runs": []}}, "warnings": []}', "names of each winner's runs"),
        ("results.csv", b"a,b\n1,2\n", "expected the columns model"),
        ("journal.log", b"[" * 10**5 + b"\n", "journal.log: .*RecursionError"),
        ("journal.log", b'{"op_code": 99}\n', "journal.log: "),
        ("journal.log", b"\xff\n{}\n", "journal.log: "),
    ],
)
def test_a_damaged_file_is_named(path, name, content, said):
    (path / name).write_bytes(content)
    if name == "journal.log":
        used(path)  # what was last written is there too
        (path / "trials.csv").unlink()
    with pytest.raises(ValueError, match=said) as error:
        used(path)
    assert str(path / name) in str(error.value)


def test_mutated_searches_are_read_or_refused(path):
    names, count = ("search.json", "winners.json", "trials.csv", "genes.csv", "results.csv", "journal.log"), tries(60)

    def also(file: Path) -> None:
        """Of record and journal only one is there, so that the changed one is read."""
        if file.name == "journal.log":
            (path / "trials.csv").unlink()
        elif file.suffix == ".csv":
            (path / "journal.log").unlink()

    found = spoilt(path, [path / name for name in names], lambda: used(path), count, also)
    assert found["refused"] > count / 5
    tell("search folder, a file changed", count, **found)
