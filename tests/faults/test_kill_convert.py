"""Is a container the old one or the new one, whole, at every moment, whatever ends those who write it?"""

from __future__ import annotations

import os
import random
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from endurance import tell, tries
from killing import changes, contents, ended, forked, killed_after, killed_before, leftovers, moments, undisturbed

from msaviz import files
from msaviz.data import msa
from msaviz.data.load import load

OLD, NEW = "synthetic:rows=200,seed=1", "synthetic:rows=200,seed=2"


@pytest.fixture(scope="module")
def datasets():
    return {source: load(source) for source in (OLD, NEW)}


@pytest.fixture
def container(tmp_path, datasets) -> Path:
    return msa.save(datasets[OLD], tmp_path / "data" / "x.msa")


def held_by(path: Path, datasets) -> str:
    """Which source a container holds: to the bit, with nothing of another."""
    found = load(path)
    source = next(s for s, d in datasets.items() if d.fingerprint == found.fingerprint)
    for name, split in datasets[source].splits.items():
        for one, two in zip(found[name].sequences.values(), split.sequences.values(), strict=True):
            assert np.array_equal(one.values, two.values)
    return source


def test_an_overwritten_container_is_the_old_or_the_new_and_the_next_writer_cleans_up(container, datasets):
    work = partial(msa.save, datasets[NEW], container, overwrite=True)
    total = changes(work, container.parent)
    assert held_by(container, datasets) == NEW
    assert leftovers(container.parent) == []
    tried, found = moments(total, tries(6)), []
    for number in tried:
        msa.save(datasets[OLD], container, overwrite=True)
        assert leftovers(container.parent) == []
        assert killed_before(work, container.parent, number)
        found.append(held_by(container, datasets))
    assert found == sorted(found), "the old one until the one step that makes it the new one"
    tell("kill -9 before a change of a file: data convert", len(tried), old=found.count(OLD), new=found.count(NEW))


def test_killed_at_any_moment_it_holds_old_or_new(container, datasets):
    work = partial(msa.save, datasets[NEW], container, overwrite=True)
    seconds, found = undisturbed(work), []
    for _ in range(tries(5)):
        msa.save(datasets[OLD], container, overwrite=True)
        killed_after(work, random.uniform(0, seconds))
        found.append(held_by(container, datasets))
    work()
    assert leftovers(container.parent) == []
    tell("kill -9 at any moment: data convert", len(found), old=found.count(OLD), new=found.count(NEW))


def test_a_first_container_is_whole_or_absent(tmp_path, datasets):
    work = partial(msa.save, datasets[NEW], tmp_path / "x.msa")
    for number in moments(changes(partial(msa.save, datasets[NEW], tmp_path / "y.msa"), tmp_path), tries(6)):
        assert killed_before(work, tmp_path, number)
        assert not (tmp_path / "x.msa").exists() or held_by(tmp_path / "x.msa", datasets) == NEW
        (tmp_path / "x.msa").exists() and (tmp_path / "x.msa").rename(tmp_path / f"done-{number}")
    work()
    assert leftovers(tmp_path) == []


def test_without_an_exchange_in_one_step_the_next_writer_puts_back_what_was_put_aside(container, datasets, monkeypatch):
    """Systems other than Linux: two renames, and a moment without a container between them."""
    monkeypatch.setattr(files.ctypes, "CDLL", lambda *_, **__: None)
    work = partial(msa.save, datasets[NEW], container, overwrite=True)
    rename, renames, gone = Path.rename, [], []

    def doomed(nth):
        def counted(path, target):
            renames.append(path)
            if len(renames) == nth:
                os.kill(os.getpid(), signal.SIGKILL)
            return rename(path, target)

        monkeypatch.setattr(Path, "rename", counted)
        work()

    for nth in (1, 2, 3, 4):
        assert ended(*forked(partial(doomed, nth)))
        gone.append(not container.exists())
        with pytest.raises(ValueError, match="overwrite=True"), files.atomic_folder(container) as part:
            (part / "x").touch()
        assert held_by(container, datasets) == (NEW if nth == 4 else OLD)
        assert leftovers(container.parent) == []
    assert gone == [False, False, True, False]


def test_two_writers_at_once_and_a_reader_that_never_meets_a_half(container, datasets):
    """Writers in two processes replace it again and again; every reader finds one of the two, whole."""
    times = tries(6)

    def write(source):
        for _ in range(times):
            msa.save(datasets[source], container, overwrite=True)

    children = [forked(partial(write, source)) for source in (OLD, NEW)]
    found = []
    while any(os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None for child, _ in children):
        found.append(held_by(container, datasets))
    assert [ended(*child) for child in children] == [False, False]
    assert leftovers(container.parent) == []
    tell("opened while two processes replace it: container", len(found), whole=len(found))
    assert found


def test_of_two_first_writers_one_wins_and_the_other_says_so(tmp_path, datasets, monkeypatch):
    write = msa._write

    def slow(dataset, folder, progress):
        write(dataset, folder, progress)
        if dataset is datasets[OLD]:
            msa.save(datasets[NEW], tmp_path / "x.msa")  # another process was quicker

    monkeypatch.setattr(msa, "_write", slow)
    with pytest.raises(ValueError, match="made by another process"):
        msa.save(datasets[OLD], tmp_path / "x.msa")
    assert held_by(tmp_path / "x.msa", datasets) == NEW
    assert leftovers(tmp_path) == []
    assert contents(tmp_path)
