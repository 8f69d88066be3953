"""How long until something is there: the package, the shell's first line, the first figure of a notebook, a report?

Each number is the median of fresh processes, taken in turn, with all files in the page cache. `--mmsa PYTHON` names the interpreter of an
environment that holds MMSA (default: `.peers/mmsa/bin/python` if it is there), whose import is then timed beside ours.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from tools import Row, alternating, arguments, finish, medians, seconds, timed

ROOT = Path(__file__).parents[2]
PEER = ROOT / ".peers" / "mmsa" / "bin" / "python"
LIGHT = 0.05
"""What a bare interpreter spends on our import, over what it spends on that of torch: nothing heavy is loaded."""
EXPERIMENT = ("derl", "--data", "synthetic:rows=200", "--set", "train.epochs=1", "--set", "model.dim=16", "--set", "model.hidden=16")
FIRST_FIGURE = """
from msaviz import TABLES, VIEWS, Run
trace = Run.open({run!r}).observe("test")
VIEWS["expert_usage"](TABLES["expert_usage"](trace)).to_json()
"""


def shell(*words: str) -> list[str]:
    """The command line of `msaviz` in this environment."""
    return [str(Path(sys.executable).with_name("msaviz")), *words]


def called(command: Sequence[str]) -> None:
    """Run to the end in a process of its own; CalledProcessError, with what it said, where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        done.check_returncode()


def first_figure(run: Path) -> None:
    """Start a kernel, import, observe a finished run, make a table and a view, and wait until the figure's JSON is there."""
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="python3", startup_timeout=120)
    try:
        reply = client.execute_interactive(FIRST_FIGURE.format(run=str(run)), timeout=300, output_hook=lambda message: None)
        if reply["content"]["status"] != "ok":
            raise RuntimeError(f"the first figure failed: {reply['content']['evalue']}")
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def imports(peer: Path) -> dict[str, list[str]]:
    """What is started, by name."""
    python = [sys.executable, "-c"]
    found = {
        "python -c pass": [*python, "pass"],
        "import msaviz": [*python, "import msaviz"],
        "import msaviz.viz": [*python, "import msaviz.viz"],
        "import torch": [*python, "import torch"],
        "msaviz's trainer": [*python, "from msaviz import train"],
        "msaviz --help": shell("--help"),
        "msaviz list models": shell("list", "models"),
    }
    return found | ({"import MMSA": [str(peer), "-c", "import MMSA"]} if peer.is_file() else {})


def starting(peer: Path, repeats: int) -> Iterator[Row]:
    """Imports and the shell."""
    calls: dict[str, Callable[[], object]] = {name: partial(called, command) for name, command in imports(peer).items()}
    times = alternating(calls, repeats)
    middle = medians(times)
    yield from timed("startup", "fresh process", times)
    for name in ("import msaviz", "import msaviz.viz"):
        bare = middle["python -c pass"]
        ratio = max(0.0, middle[name] - bare) / (middle["import torch"] - bare)
        yield Row("startup", "fresh process", name, "of import torch", ratio, "x", f"at most {LIGHT:g}x", ratio <= LIGHT)
    if "import MMSA" in middle:
        ratio = middle["msaviz's trainer"] / middle["import MMSA"]
        yield Row("startup", "fresh process", "msaviz's trainer", "of import MMSA", ratio, "x", "at most 1x", ratio <= 1)


def notebook(folder: Path, repeats: int) -> Iterator[Row]:
    """The first figure in a fresh kernel, of a run that is there."""
    called(shell("train", *EXPERIMENT, "--out", str(folder / "tiny"), "--quiet"))
    times = alternating({"first figure": partial(first_figure, folder / "tiny")}, repeats)
    yield from timed("startup", "fresh kernel", times)


def reporting(folder: Path) -> Iterator[Row]:
    """What `make report` calls, one after the other, once."""
    runs = {model: folder / model for model in ("derl", "early_fusion")}
    for model, run in runs.items():
        spent = seconds(partial(called, shell("train", model, "--data", "synthetic", "--quiet", "--out", str(run))))
        yield Row("startup", "make report", f"train {model}", "time", spent, "s")
    command = shell("report", *map(str, runs.values()), "--out", str(folder / "report.html"))
    yield Row("startup", "make report", "report", "time", seconds(partial(called, command)), "s")


def main(options: argparse.Namespace) -> list[Row]:
    repeats = 1 if options.quick else options.repeats
    rows = list(starting(Path(options.mmsa), repeats))
    with tempfile.TemporaryDirectory() as folder:
        rows += notebook(Path(folder), repeats)
        if not options.quick:
            rows += reporting(Path(folder))
    return rows


if __name__ == "__main__":
    options = arguments(__doc__, mmsa=str(PEER))
    finish(main(options), options)
