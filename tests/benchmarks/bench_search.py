"""What does a search cost beside the trainings in it? `python tests/benchmarks/bench_search.py [--rows 240 --trials 12 --epochs 2]`

Overhead: seconds of the engine (asking, storing, answering) for each trial, beside the same experiments trained by the trainer alone.
Workers: trained trials a minute. Kill: what one kill -9 in the middle costs, beside the uninterrupted search.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from tools import Row, arguments, finish

from msaviz import Experiment, override
from msaviz.search.evolve import begin, explore
from msaviz.search.proxy import searched, short
from msaviz.search.record import Search, recorded
from msaviz.training.loop import Trainer


def fresh(folder: Path, name: str, args: argparse.Namespace) -> Search:
    experiment = override(Experiment(model=args.model, data=f"synthetic:rows={args.rows}"), {"model.dim": 8})
    options = {"trials": args.trials, "population": 6, "epochs": args.epochs, "controls": False, "prune": False, "inherit": False}
    return begin(experiment, folder / name, {**options, "genes": ("model.layers", "model.dropout", "train.lr")})


def spent(search: Search, workers: int = 1) -> float:
    start = time.perf_counter()
    explore(search, workers=workers, progress=False)
    return time.perf_counter() - start


def bare(search: Search) -> float:
    """Seconds of the same experiments in a plain loop."""
    settings, dataset = search.settings, searched(search.settings.experiment)
    trained = [t for t in recorded(search.study(settings.sampler)) if "copy_of" not in t.user_attrs]
    start = time.perf_counter()
    for trial in trained:
        Trainer(short(settings.genome.decode(trial.params), settings.epochs), dataset).fit(progress=False)
    return time.perf_counter() - start


def killed(search: Search) -> float:
    """Seconds of a search whose worker process is killed when half is done, and that then goes on."""
    start = time.perf_counter()
    worker = subprocess.Popen([sys.executable, "-m", "msaviz.search.worker", str(search.path)])
    while search.evolution.trained.shape[0] < search.settings.trials // 2:
        time.sleep(0.05)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    subprocess.run([sys.executable, "-m", "msaviz.search.worker", str(search.path)], check=True)
    return time.perf_counter() - start


def row(args: argparse.Namespace, subject: str, metric: str, value: float, unit: str) -> Row:
    return Row("search", f"{args.model}, {args.rows} rows, {args.trials} trials of {args.epochs} epochs", subject, metric, value, unit)


def main(args: argparse.Namespace) -> list[Row]:
    torch.set_num_threads(1)
    if args.quick:
        args = argparse.Namespace(**{**vars(args), "rows": 200, "trials": 4, "epochs": 1})
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        spent(fresh(folder, "warm", argparse.Namespace(**{**vars(args), "trials": 1})))
        one = fresh(folder, "one", args)
        whole, alone = spent(one), bare(one)
        rows = [
            row(args, "bare training", "a trial", alone / args.trials, "s"),
            row(args, "search, this process", "a trial", whole / args.trials, "s"),
            row(args, "search, this process", "overhead", 100 * (whole / alone - 1), "%"),
        ]
        for workers in (1, 2):
            taken = whole if workers == 1 else spent(fresh(folder, f"workers-{workers}", args), workers)
            rows.append(row(args, f"{workers} worker(s)", "trials a minute", 60 * args.trials / taken, "/min"))
        process = fresh(folder, "process", args)
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "msaviz.search.worker", str(process.path)], check=True)
        plain = time.perf_counter() - start
        rows.append(row(args, "a worker process", "in all", plain, "s"))
        rows.append(row(args, "one kill -9 in the middle", "more than without", killed(fresh(folder, "killed", args)) - plain, "s"))
    return rows


if __name__ == "__main__":
    options = arguments(__doc__, model="derl", rows=240, trials=12, epochs=2)
    finish(main(options), options)
