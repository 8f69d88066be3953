"""How long does one wait for an answer of the explorer? Run as a script; prints medians in milliseconds of processor
time, which is what one waits for on a quiet machine.

OMP_NUM_THREADS=1 python tests/benchmarks/bench_explore.py RUN
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from msaviz import explore
from msaviz.app.whatif import Change, look

REPEATS = 15


def milliseconds(act: Callable[[int], object]) -> float:
    """Median of REPEATS calls; `act` is told which one it is."""
    times = []
    for turn in range(-1, REPEATS):
        start = time.process_time()
        act(turn)
        times.append(time.process_time() - start)
    return statistics.median(times[1:]) * 1e3


def main(run: Path) -> None:
    start = time.process_time()
    explorer = explore(run)
    print(f"{'open':>24} {(time.process_time() - start) * 1e3:8.0f} ms")
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
    for name, act in asked.items():
        print(f"{name:>24} {milliseconds(act):8.0f} ms")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
