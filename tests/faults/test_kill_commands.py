"""Do commands end when they are asked to, with all that they started, and do workers end with a command that was killed?"""

from __future__ import annotations

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
from endurance import tell
from killing import Broken, ended, forked, leftovers, whole

from msaviz.app.cli import main

ASKED = ["--data", "synthetic:rows=200", "--set", "train.threads=1", "--set"]
TRAIN = ["train", "lmf", "--quiet", *ASKED, "train.epochs=2000", "--out"]
COMPARE = ["compare", "--models", "lmf", "--seeds", "4", "--workers", "2", "--quiet", *ASKED, "train.epochs=2000", "--out"]
SEARCH = ["search", "lmf", "--workers", "2", "--trials", "8", "--no-controls", "--epochs", "500", "--quiet", *ASKED]


def command(arguments: list[str], said: Path) -> None:
    """The console script, in this process, with what it says on stderr in a file."""
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT), 2)
    sys.stderr = os.fdopen(2, "w", buffering=1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        main(arguments)
    except SystemExit as end:
        os._exit(int(str(end.code)))


def started(arguments: list[str], out: Path, files: str, count: int, workers: int) -> tuple[int, int]:
    """A command that has made so many `files` in its folder, and has so many workers: (its process, its traceback)."""
    child, reader = forked(partial(command, [*arguments, str(out)], out.with_suffix(".said")))
    until = time.monotonic() + 120
    while len(list(out.glob(files))) < count or len(psutil.Process(child).children()) < workers:
        assert time.monotonic() < until
        assert os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None, out.with_suffix(".said").read_text()
        time.sleep(0.05)
    return child, reader


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return psutil.wait_procs(processes, timeout=20)[1]


CASES = [
    pytest.param(TRAIN, "checkpoint", 1, 0, signal.SIGTERM, id="train-term"),
    pytest.param(COMPARE, "runs/*/checkpoint", 2, 2, signal.SIGTERM, id="compare-term"),
    pytest.param(COMPARE, "runs/*/checkpoint", 2, 2, signal.SIGKILL, id="compare-kill", marks=pytest.mark.slow),
    pytest.param([*SEARCH, "train.epochs=1", "--out"], "journal.log", 1, 2, signal.SIGTERM, id="search-term", marks=pytest.mark.slow),
    pytest.param([*SEARCH, "train.epochs=1", "--out"], "journal.log", 1, 2, signal.SIGKILL, id="search-kill", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("arguments", "files", "count", "workers", "ending"), CASES)
def test_an_ended_command_leaves_whole_files_and_no_process(tmp_path, arguments, files, count, workers, ending):
    out = tmp_path / "out"
    child, reader = started(arguments, out, files, count, workers)
    mine = psutil.Process(child).children(recursive=True)
    begun = time.monotonic()
    os.kill(child, ending)
    if ending == signal.SIGKILL:
        assert ended(child, reader)
    else:
        with pytest.raises(Broken, match=f"exit code {128 + signal.SIGTERM}"):
            ended(child, reader)
        assert time.monotonic() - begun < 20
        said = [line for line in out.with_suffix(".said").read_text().splitlines() if line.startswith(("msaviz", "Traceback", "stopped"))]
        assert [line.partition(";")[0] for line in said] == ["msaviz: stopped. What was done is kept"]
    assert alive(mine) == []
    tell(f"{ending.name}: {arguments[0]}", 1, processes_left=0, seconds=round(time.monotonic() - begun))
    assert whole(out)
    if ending == signal.SIGTERM and not workers:
        assert leftovers(out) == []
