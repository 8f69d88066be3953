"""How long does one wait for an answer of the explorer? Medians in milliseconds of processor time, which is what one waits for on a quiet
machine.

OMP_NUM_THREADS=1 python tests/benchmarks/bench_explore.py --run RUN (without one, a small DERL is trained for an epoch first)
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from tools import Row, arguments, finish, seconds, timed

from msaviz import Experiment, explore, train
from msaviz.app.whatif import Change, look

CLOCK = time.process_time


def measured(act: Callable[[int], object], repeats: int) -> list[float]:
    """Seconds of each call but the first; `act` is told which one it is."""
    return [seconds(partial(act, turn), CLOCK) for turn in range(-1, repeats)][1:]


def answers(run: Path, repeats: int) -> list[Row]:
    start = CLOCK()
    explorer = explore(run)
    rows = timed("explore", run.name, {"open": [CLOCK() - start]}, "ms")
    row, slider = explorer.utterance.value, next(iter(explorer.rates.values()))
    changed = look(explorer.run, row, Change(rates={explorer.spoken: 0.5}))
    many = explorer.rows[: min(100, len(explorer.rows) // 2)]
    asked: dict[str, Callable[[int], object]] = {
        "look": lambda turn: look(explorer.run, row, Change(rates={explorer.spoken: 0.5})),
        "tell": lambda turn: explorer._tell(changed),
        "explain": lambda turn: explorer._explain(changed),
        "slider": lambda turn: setattr(slider, "value", 0.3 + 0.1 * (turn % 2)),
        "another utterance": lambda turn: setattr(explorer, "selection", (int(explorer.rows[turn % 10]),)),
        f"select {len(many)}": lambda turn: setattr(explorer, "selection", many[turn % 2 :]),
        f"slider of {len(many)}": lambda turn: setattr(slider, "value", 0.3 + 0.1 * (turn % 2)),
    }
    return rows + timed("explore", run.name, {name: measured(act, repeats) for name, act in asked.items()}, "ms")


def main(options: argparse.Namespace) -> list[Row]:
    torch.set_num_threads(1)
    repeats = 2 if options.quick else options.repeats
    if options.run:
        return answers(Path(options.run), repeats)
    with tempfile.TemporaryDirectory() as folder:
        experiment = Experiment.model_validate({"model": "derl", "data": "synthetic:rows=300", "train": {"epochs": 1}})
        return answers(train(experiment, Path(folder) / "derl", progress=False).path, repeats)


if __name__ == "__main__":
    options = arguments(__doc__, run="", repeats=15)
    finish(main(options), options)
