"""Does a training that is killed at any moment leave whole files, and go on to the very bytes of an uninterrupted one?"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from endurance import tell, tries
from killing import changes, contents, killed_again, killed_before, leftovers, moments, same, undisturbed, whole

from msaviz import Experiment, train

OPTIONS = {"epochs": 2, "threads": 1, "snapshots": 2, "ema": 0.9, "validation_rates": (0.0,), "log_test": True}
EXPERIMENT = Experiment(model="lmf", data="synthetic:rows=200", train=OPTIONS)


def work(path: Path):
    return partial(train, EXPERIMENT, path, resume=True, progress=False)


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    assert changes(work(folder / "run"), folder) > 30
    assert "checkpoint" not in whole(folder / "run")
    return contents(folder / "run")


def resumed(path: Path, expected: dict[str, bytes]) -> bool:
    """The files are whole as they are, and after going on the bytes of a training that nobody killed, with nothing beside them."""
    whole(path)
    undisturbed(work(path))
    assert leftovers(path) == []
    return same(contents(path), expected)


def test_killed_before_any_change_of_a_file(tmp_path, expected):
    total = changes(work(tmp_path / "counted"), tmp_path)
    tried = moments(total, tries(5))
    equal = 0
    for number in tried:
        assert killed_before(work(tmp_path / f"{number}"), tmp_path, number)
        equal += resumed(tmp_path / f"{number}", expected)
    tell("kill -9 before a change of a file: training", len(tried), resumed_to_equal_bytes=equal)


def test_killed_again_and_again_at_any_moment(tmp_path, expected):
    seconds, kills, times = undisturbed(work(tmp_path / "timed")), 0, tries(2)
    for number in range(times):
        path = tmp_path / f"{number}"
        kills += killed_again(work(path), path, seconds, 3)
        resumed(path, expected)
    tell("kill -9 at any moment: training", kills, resumed_to_equal_bytes=kills)
    assert kills
