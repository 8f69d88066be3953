"""What does every benchmark share: its options, calls timed in turn, rows, and the table of them?

A benchmark is a file `bench_*.py` whose `main(options) -> list[Row]` measures, and whose last lines are
`options = arguments(__doc__)` and `finish(main(options), options)`; `run.py` finds it, runs it in a process of its own and puts all rows
in one table.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Row:
    """One number: what was measured of whom; `low` and `high` are the quartiles of repeated calls, where there were some."""

    benchmark: str
    case: str
    subject: str
    metric: str
    value: float
    unit: str
    target: str = ""
    met: bool | None = None
    low: float | None = None
    high: float | None = None


def arguments(doc: str | None, argv: Sequence[str] | None = None, **defaults: object) -> argparse.Namespace:
    """The options every benchmark takes (--json, --quick, --repeats), and one of its own for each further default."""
    defaults = {"repeats": 5, **defaults}
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=None, metavar="PATH", help="write the rows there")
    parser.add_argument("--quick", action="store_true", help="fewer sizes and repeats: does it run at all?")
    for name, default in defaults.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(default, bool):
            parser.add_argument(flag, action="store_true", default=default)
        else:
            parser.add_argument(flag, type=str if default is None else type(default), default=default, help=f"{default}, unless told")
    return parser.parse_args(argv)


def seconds(call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of one call, by the clock on the wall unless told, undisturbed by the sweeping of what others left."""
    swept = gc.isenabled()
    gc.disable()
    try:
        start = clock()
        call()
        return clock() - start
    finally:
        if swept:
            gc.enable()


def alternating(
    functions: Mapping[str, Callable[[], object]], repeats: int, warm: int = 1, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of each call of each function, taken in turn (there and back), so that a slow minute of the machine hits all alike.

    `clock` time.process_time counts what the processor did: the same on a quiet machine, and steadier on a busy one, for one thread.
    """
    for _ in range(warm):
        for function in functions.values():
            function()
    times: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(repeats):
        for name in list(functions)[:: 1 if turn % 2 == 0 else -1]:
            times[name].append(seconds(functions[name], clock))
    return times


def medians(times: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The median of each function's times."""
    return {name: float(np.median(values)) for name, values in times.items()}


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """The lower and the upper quartile: half of the calls took something between them."""
    low, high = np.quantile(values, (0.25, 0.75))
    return float(low), float(high)


def timed(benchmark: str, case: str, times: Mapping[str, Sequence[float]], unit: str = "s") -> list[Row]:
    """A row for each function: its median with quartiles, in `unit` (s or ms)."""
    scale = {"s": 1.0, "ms": 1e3}[unit]
    found = []
    for name, values in times.items():
        low, high = quartiles(values)
        found.append(Row(benchmark, case, name, "median", float(np.median(values)) * scale, unit, low=low * scale, high=high * scale))
    return found


def write(rows: Iterable[Row], path: Path | None, **facts: object) -> None:
    """Rows (and facts about the machine) as JSON at `path`, whole or not at all; nothing without a path."""
    if path is None:
        return
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps({**facts, "rows": [asdict(row) for row in rows]}, indent=1))
    os.replace(part, path)


def read(path: Path) -> list[Row]:
    """The rows that `write` left at `path`; none where nothing lies."""
    return [Row(**row) for row in json.loads(Path(path).read_text())["rows"]] if Path(path).exists() else []


def table(rows: Iterable[Row]) -> str:
    """Rows as aligned text; whether a target was met stands there in words."""
    lines = [("benchmark", "case", "subject", "metric", "value", "quartiles", "target", "met")]
    for row in rows:
        spread = "" if row.low is None or row.high is None else f"{number(row.low)} to {number(row.high)}"
        met = "" if row.met is None else "met" if row.met else "MISSED"
        lines.append((row.benchmark, row.case, row.subject, row.metric, f"{number(row.value)} {row.unit}".strip(), spread, row.target, met))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    right = {4, 5}
    return "\n".join(
        "  ".join(cell.rjust(w) if i in right else cell.ljust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))).rstrip()
        for line in lines
    )


def number(value: float) -> str:
    """Three figures or so, never an exponent for what one reads at a glance."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def finish(rows: Sequence[Row], options: argparse.Namespace) -> None:
    """Leave a benchmark's rows: as text on the screen, as JSON where it was asked for."""
    write(rows, options.json)
    print(table(rows))
