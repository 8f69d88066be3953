"""What do two processes do to one folder: one works, the other waits or says so, and a killed one holds nothing?"""

from __future__ import annotations

import errno
import os
import signal
import time
from functools import partial
from pathlib import Path

import filelock
import pytest
from endurance import tell, tries
from killing import contents, ended, forked, killed_after, leftovers, same, undisturbed, whole

from msaviz import Experiment, Run, train
from msaviz.app.cli import main
from msaviz.app.notebook import open_or_train
from msaviz.files import atomic, write_text
from msaviz.locks import LOCK, Held, locked
from msaviz.training import jobs
from msaviz.training.jobs import Job, perform

TRAIN = {"epochs": 2, "threads": 1, "validation_rates": (0.0,)}
EXPERIMENT = Experiment(model="lmf", data="synthetic:rows=200", train=TRAIN)


def holding(folder: Path, seconds: float = 60.0) -> tuple[int, int]:
    """A process that holds a folder."""

    def hold():
        with locked(folder, "training"):
            (folder / "held").touch()
            time.sleep(seconds)

    child = forked(hold)
    while not (folder / "held").exists():
        time.sleep(0.01)
    return child


def freed(child: tuple[int, int]) -> None:
    os.kill(child[0], signal.SIGKILL)
    assert ended(*child)


def test_the_second_training_says_who_trains_there_and_a_killed_one_holds_nothing(tmp_path, capsys):
    child = holding(tmp_path / "run")
    begun = time.monotonic()
    with pytest.raises(SystemExit) as stop:
        main(["train", "lmf", "--data", EXPERIMENT.data, "--out", str(tmp_path / "run"), "--quiet"])
    assert stop.value.code == 2
    assert f"process {child[0]} is training in {tmp_path / 'run'} already" in capsys.readouterr().err
    assert time.monotonic() - begun < 5
    freed(child)
    assert train(EXPERIMENT, tmp_path / "run", progress=False).done
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP], ids=["ENOSYS", "ENOLCK", "EOPNOTSUPP"])
def test_where_the_file_system_has_no_locks_a_file_names_the_holder_until_it_is_gone(tmp_path, monkeypatch, code):
    def none(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(filelock._unix.fcntl if hasattr(filelock, "_unix") else __import__("fcntl"), "flock", none)
    child = holding(tmp_path)
    with pytest.raises(Held, match=f"process {child[0]} is training in .* already.*delete {tmp_path}"), locked(tmp_path, "training"):
        pass
    freed(child)
    with locked(tmp_path, "training"), pytest.raises(Held, match=f"process {os.getpid()}"), locked(tmp_path, "training"):
        pass
    assert [name for name in os.listdir(tmp_path) if name not in ("held", LOCK)] == []
    with locked(tmp_path, "training"):
        pass


def test_two_trainings_begun_at_once_make_one_run(tmp_path):
    """Whichever comes second either refuses or finds it done; the files are those of one training."""
    train(EXPERIMENT, tmp_path / "alone", progress=False)

    def attempt(path):
        try:
            train(EXPERIMENT, path, resume=True, progress=False)
        except Held:
            os._exit(0)

    for number in range(tries(2)):
        path = tmp_path / f"{number}"
        children = [forked(partial(attempt, path)) for _ in range(2)]
        assert [ended(*child) for child in children] == [False, False]
        assert same(contents(path), contents(tmp_path / "alone"))
    tell("two processes at once: training", tries(2), equal_bytes=tries(2))


def test_a_run_that_another_process_trains_is_waited_for_after_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "AGAIN", 0.05)
    paths = [tmp_path / name for name in "ab"]
    child = holding(paths[0], 2.0)
    asked = [Job(EXPERIMENT, path, protocols=("clean",)) for path in paths]
    assert perform(asked, progress=False) == {}
    assert not ended(*child)
    assert (paths[1] / "done").stat().st_mtime < (paths[0] / "done").stat().st_mtime
    assert whole(paths[0])


def test_two_comparisons_on_one_folder_share_the_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "AGAIN", 0.05)
    asked = [Job(EXPERIMENT.model_copy(update={"seed": seed}), tmp_path / "runs" / f"{seed}", protocols=("clean",)) for seed in range(3)]

    def comparison():
        assert perform(asked, progress=False) == {}

    children = [forked(comparison) for _ in range(2)]
    assert [ended(*child) for child in children] == [False, False]
    assert all(job.measured for job in asked)
    assert leftovers(tmp_path) == []
    tell("two processes at once: compare", 1, failed_runs=0)


def test_two_notebooks_that_want_one_run_train_it_once(tmp_path, monkeypatch):
    monkeypatch.setenv("MSAVIZ_CACHE", str(tmp_path))
    children = [forked(partial(open_or_train, model="lmf", data=EXPERIMENT.data, **TRAIN)) for _ in range(3)]
    assert [ended(*child) for child in children] == [False] * 3
    (run,) = tmp_path.glob("runs/*/lmf-tiny")
    assert Run(run).done
    assert leftovers(tmp_path) == []
    tell("two processes at once: open_or_train", 3, runs=1)


def test_writers_of_one_file_leave_one_of_their_texts(tmp_path):
    """Two reports to one file: it is one or the other, never a mixture, and no half is left, whoever is killed."""
    texts = [letter * 300_000 for letter in "ab"]

    def write(text):
        for _ in range(200):
            write_text(tmp_path / "report.html", text)

    times = tries(3)
    for _ in range(times):
        other = forked(partial(write, texts[0]))
        killed_after(partial(write, texts[1]), 0.05)
        assert not ended(*other)
        assert (tmp_path / "report.html").read_text() in texts
        undisturbed(partial(write_text, tmp_path / "report.html", texts[0]))
        assert os.listdir(tmp_path) == ["report.html"]
    tell("two processes at once: one file", times, one_of_the_texts=times)


def test_what_a_living_process_is_writing_is_left_alone(tmp_path):
    with atomic(tmp_path / "x") as first:
        first.write_text("first")
        write_text(tmp_path / "x", "second")
        assert (tmp_path / "x").read_text() == "second"
    assert (tmp_path / "x").read_text() == "first"
