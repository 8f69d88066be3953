"""How fast is all of it, here and now? The one entry: every benchmark, each in a process of its own, one thread, one table.

python tests/benchmarks/run.py [--only moe,tables] [--quick] [--json bench.json]

A benchmark that fails is told in one line, and the others go on (the exit code is then 1). Ctrl-C leaves what was measured. What a
benchmark says on its way lies in `NAME.log` in the folder of `--logs`.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tools import Row, read, seconds, table, write

HERE = Path(__file__).parent
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
INTERRUPTED = 130


def benchmarks(folder: Path = HERE) -> dict[str, Path]:
    """Name -> file of every benchmark: what lies there is what there is."""
    return {path.stem.removeprefix("bench_"): path for path in sorted(folder.glob("bench_*.py"))}


def wanted(only: str, found: dict[str, Path]) -> dict[str, Path]:
    """The benchmarks named in `only`, separated by commas, in that order; all of them for "". Raises ValueError for an unknown name."""
    names = [name.strip() for name in only.split(",") if name.strip()] or list(found)
    if unknown := [name for name in names if name not in found]:
        raise ValueError(f"no benchmark is called {unknown[0]!r}; these exist: {', '.join(found)}")
    return {name: found[name] for name in names}


def measure(file: Path, log: Path, arguments: Sequence[str]) -> tuple[list[Row], str]:
    """(what a benchmark measured, why it failed: "" if it did not), run in a process of its own with one thread."""
    result = log.with_suffix(".json")
    command = [sys.executable, str(file), "--json", str(result), *arguments]
    environment = {**os.environ, **dict.fromkeys(THREADS, "1"), "PYTHONUNBUFFERED": "1"}
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment)
        try:
            code = process.wait()
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return read(result), "" if code == 0 else (lines[-1] if lines else f"exit code {code}, without a word")


def machine() -> dict[str, object]:
    """What the numbers depend on: the processor, its cores, torch, and how fast one thread multiplies matrices right now."""
    import torch

    torch.set_num_threads(1)
    square, repeats = torch.randn(1024, 1024), 5
    best = min(seconds(lambda: square @ square) for _ in range(repeats))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": processor(),
        "cores": cores,
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "matmul_gflops": round(2 * 1024**3 / best / 1e9, 1),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def processor() -> str:
    """The processor's own name, where the system tells it."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.exists() else []
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor() or platform.machine()
    )


def run(chosen: dict[str, Path], logs: Path, arguments: Sequence[str], path: Path | None) -> int:
    """Measure one after the other, keeping what is there after each; the exit code."""
    facts = machine()
    words = f"one thread multiplies {facts['matmul_gflops']} GFLOP/s, load {facts['load']}, torch {facts['torch']}"
    print(f"{facts['cpu']}, {facts['cores']} cores, {words}", flush=True)
    rows: list[Row] = []
    failed: dict[str, str] = {}
    code = 0
    for turn, (name, file) in enumerate(chosen.items(), 1):
        print(f"[{turn}/{len(chosen)}] {name} ... ", end="", flush=True)
        start = time.perf_counter()
        try:
            found, why = measure(file, logs / f"{name}.log", arguments)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            code = INTERRUPTED
            break
        rows += found
        failed |= {name: why} if why else {}
        told = f"FAILED: {why}" if why else f"{len(found)} rows"
        print(f"{told} ({time.perf_counter() - start:.0f} s)", flush=True)
        write(rows, path, machine=facts, failed=failed)
    write(rows, path, machine=facts, failed=failed)
    print(f"\n{table(rows)}\n\n{summary(rows, failed)}")
    return code or int(bool(failed))


def summary(rows: Sequence[Row], failed: dict[str, str]) -> str:
    """How many targets were met, and who failed."""
    aimed = [row for row in rows if row.met is not None]
    words = f"{sum(bool(row.met) for row in aimed)} of {len(aimed)} targets met"
    return f"{words}; failed: {', '.join(failed)}" if failed else words


def parsed(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="NAMES", help=f"separated by commas, of: {', '.join(benchmarks())}")
    parser.add_argument("--quick", action="store_true", help="fewer sizes and repeats: does it run at all?")
    parser.add_argument("--json", type=Path, default=None, metavar="PATH", help="write all rows and facts about the machine there")
    parser.add_argument("--logs", type=Path, default=None, metavar="FOLDER", help="a temporary one, unless told")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    options = parsed(argv)
    try:
        chosen = wanted(options.only, benchmarks())
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as temporary:
        logs = options.logs or Path(temporary)
        logs.mkdir(parents=True, exist_ok=True)
        return run(chosen, logs, ["--quick"] if options.quick else [], options.json)


if __name__ == "__main__":
    raise SystemExit(main())
