"""What is left, and what is said, when the disk is full, a folder cannot be written, or data vanish in the middle?"""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from endurance import tell, tries
from killing import contents, leftovers, moments, same, undisturbed, whole

from msaviz import Experiment, Run, train
from msaviz.app import notebook
from msaviz.app.cli import main
from msaviz.data import msa
from msaviz.data.load import load
from msaviz.files import atomic, write_array, write_json
from msaviz.training.checkpoint import write_checkpoint
from msaviz.training.loop import Trainer
from msaviz.training.written import write_weights

TRAIN = {"epochs": 2, "threads": 1, "validation_rates": (0.0,), "snapshots": 2}
EXPERIMENT = Experiment(model="lmf", data="synthetic:rows=200", train=TRAIN)


@contextmanager
def room(size: int):
    """No file may grow beyond `size` bytes: what a full disk does, to native writers too."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def full_at(nth: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """From its n-th file (from 0) on, the disk is full when a file is flushed; the list counts them."""
    calls, fsync = [], os.fsync

    def flush(file: int) -> None:
        calls.append(file)
        if len(calls) > nth:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(file)

    monkeypatch.setattr(os, "fsync", flush)
    return calls


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> dict[str, bytes]:
    return contents(train(EXPERIMENT, tmp_path_factory.mktemp("whole") / "run", progress=False).path)


def test_a_training_on_a_full_disk_names_the_file_and_goes_on_when_there_is_room(tmp_path, expected, monkeypatch):
    with monkeypatch.context() as patch:
        total = len(full_at(10**6, patch)) or len(counted(tmp_path / "counted", patch))
    tried = moments(total, tries(4))
    for nth in tried:
        path = tmp_path / f"{nth}"
        with monkeypatch.context() as patch:
            full_at(nth, patch)
            with pytest.raises(OSError, match=r"was not written: No space left on device.*make room") as full:
                train(EXPERIMENT, path, resume=True, progress=False)
        assert full.value.errno == errno.ENOSPC
        assert str(path) in str(full.value)
        whole(path)
        assert leftovers(path) == []
        train(EXPERIMENT, path, resume=True, progress=False)
        assert same(contents(path), expected)
    tell("full disk at any file: training", len(tried), resumed_to_equal_bytes=len(tried))


def counted(path: Path, patch: pytest.MonkeyPatch) -> list[int]:
    calls = full_at(10**6, patch)
    train(EXPERIMENT, path, progress=False)
    return calls


@pytest.mark.parametrize("size", [0, 100, 2_000, 20_000])
def test_every_writer_of_ours_tells_of_a_full_disk_and_keeps_what_was_there(tmp_path, size):
    import torch

    tensors = {"a": torch.randn(20_000), "b": torch.randn(500)}
    writers = {
        "checkpoint": partial(write_checkpoint, parts={"x": tensors}),
        "weights": partial(write_weights, weights=tensors),
        "array": partial(write_array, values=np.zeros(20_000)),
        "json": partial(write_json, value=["x" * 30_000]),
    }
    for name, write in writers.items():
        path = tmp_path / name
        path.write_text("old")
        with room(size), pytest.raises(OSError, match=f"{path} was not written") as full:
            write(path)
        assert "make room" in str(full.value)
        assert path.read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == sorted(writers)
    tell("full disk: writers", len(writers), old_kept=len(writers))


@pytest.mark.parametrize("size", [0, 100, 2_000, 20_000])
def test_a_container_on_a_full_disk_leaves_the_old_one_and_nothing_else(tmp_path, size, capsys):
    path = msa.save(load("synthetic:rows=200,seed=1"), tmp_path / "x.msa")
    before = contents(path)
    with room(size), pytest.raises(OSError, match="x.msa was not written.*make room"):
        msa.save(load("synthetic:rows=200,seed=2"), path, overwrite=True)
    assert same(contents(path), before)
    with room(size), pytest.raises(SystemExit) as stop:
        main(["data", "convert", "synthetic:rows=200", str(tmp_path / "y.msa")])
    assert stop.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len([line for line in said if line.startswith("msaviz: ")]) == 1
    assert os.listdir(tmp_path) == ["x.msa"]


def places(tmp_path: Path) -> dict[str, Path]:
    """Folders that nobody can make."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "nowhere").symlink_to("/proc/nothing/here")
    return {
        "a file": tmp_path / "file",
        "below a file": tmp_path / "file" / "run",
        "too long": tmp_path / ("x" * 300),
        "a loop": tmp_path / "loop" / "run",
        "nowhere": tmp_path / "nowhere" / "run",
        "read-only": Path("/proc/run"),
    }


COMMANDS = {
    "train": ["train", "lmf", "--data", "synthetic:rows=200", "--quiet", "--out"],
    "compare": [
        "compare",
        "--models",
        "lmf",
        "--data",
        "synthetic:rows=200",
        "--seeds",
        "1",
        "--quiet",
        "--set",
        "train.epochs=1",
        "--out",
    ],
    "search": ["search", "lmf", "--data", "synthetic:rows=200", "--trials", "1", "--no-controls", "--quiet", "--out"],
    "convert": ["data", "convert", "synthetic:rows=200"],
}


@pytest.mark.parametrize("place", ["a file", "below a file", "too long", "a loop", "nowhere", "read-only"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_place_where_nothing_can_be_written_is_one_line(tmp_path, capsys, command, place):
    path = places(tmp_path)[place]
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(SystemExit) as stop:
        main([*COMMANDS[command], str(path)])
    assert stop.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert line.startswith("msaviz: ")
    assert path.name[:40] in line or path.parent.name in line
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == before


def test_a_folder_deleted_while_it_is_trained_is_said_and_not_made_anew_without_its_options(tmp_path, monkeypatch):
    save = Trainer.save

    def removed(self, run):
        shutil.rmtree(run.path)
        save(self, run)

    monkeypatch.setattr(Trainer, "save", removed)
    with pytest.raises(FileNotFoundError, match="was removed.*give the same command again"):
        train(EXPERIMENT, tmp_path / "run", progress=False)
    assert not (tmp_path / "run" / "checkpoint").exists()
    monkeypatch.undo()
    assert train(EXPERIMENT, tmp_path / "run", progress=False).done


def interrupted(path: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> Experiment:
    """A training that stopped after its first epoch."""
    experiment = EXPERIMENT.model_copy(update={"data": source})
    save = Trainer.save

    def stopped(self, run):
        save(self, run)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "save", stopped)
        with pytest.raises(KeyboardInterrupt):
            train(experiment, path, progress=False)
    return experiment


def test_data_that_changed_or_are_gone_are_told_before_anything_is_mixed(tmp_path, monkeypatch):
    """The container has the same size and the same times as before: its content tells."""
    source = msa.save(load("synthetic:rows=200,seed=1"), tmp_path / "x.msa")
    times = {p.relative_to(source): p.stat() for p in source.rglob("*")}
    experiment = interrupted(tmp_path / "run", str(source), monkeypatch)
    kept = contents(tmp_path / "run")
    msa.save(load("synthetic:rows=200,seed=2"), source, overwrite=True)
    for name, stat in times.items():
        os.utime(source / name, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(ValueError, match="has changed since .* bring the old data back, or train anew into another folder"):
        train(experiment, tmp_path / "run", resume=True, progress=False)
    shutil.rmtree(source)
    with pytest.raises(ValueError, match="no data at .*x.msa"):
        train(experiment, tmp_path / "run", resume=True, progress=False)
    assert same(contents(tmp_path / "run"), kept)
    msa.save(load("synthetic:rows=200,seed=1"), source)
    assert train(experiment, tmp_path / "run", resume=True, progress=False).done
    shutil.rmtree(source)
    from msaviz.training import run as cached

    cached._whole.cache_clear()
    cached._dataset.cache_clear()
    with pytest.raises(ValueError, match="no data at .*x.msa"):
        Run.open(tmp_path / "run").predict("test")


def test_an_error_inside_that_is_about_another_file_stays_what_it_is(tmp_path):
    with pytest.raises(FileNotFoundError, match="elsewhere"), atomic(tmp_path / "x"):
        (tmp_path / "elsewhere" / "y").read_text()
    with pytest.raises(RuntimeError, match="no matter of disks"), atomic(tmp_path / "x"):
        raise RuntimeError("no matter of disks")
    assert os.listdir(tmp_path) == []


def test_a_cache_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv("MSAVIZ_CACHE", str(tmp_path / "file"))
    with pytest.raises(OSError, match=str(tmp_path / "file")):
        notebook.open_or_train(model="lmf", data="synthetic:rows=200", epochs=1)


def test_a_small_real_disk_that_fills_up(tmp_path):
    """A file system of four megabytes, where this process may mount one."""
    if os.geteuid() or not shutil.which("mount") or os.system(f"mount -t tmpfs -o size=4m tmpfs {tmp_path} 2>/dev/null"):
        pytest.skip("mounting a small file system takes root and the right to mount")
    try:
        with pytest.raises(OSError, match="No space left on device"):
            all(train(EXPERIMENT, tmp_path / f"{number}", progress=False) for number in range(40))
        last = tmp_path / f"{max(int(p.name) for p in tmp_path.iterdir())}"
        whole(tmp_path)
        assert leftovers(tmp_path) == []
        shutil.rmtree(tmp_path / "0")
        undisturbed(partial(train, EXPERIMENT, last, resume=True, progress=False))
        assert Run(last).done
    finally:
        os.system(f"umount {tmp_path}")
