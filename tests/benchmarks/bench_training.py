"""How many samples a second does each model train and read on an unaligned MOSI-sized file, and where does the time go?

50/500/375 steps, widths 768/20/5, as in the usual unaligned MOSI pickle; random values, one thread, text vectors precomputed.
Lengths are random up to the full ones (`--full`: all full). Models alternate; medians are printed; `--profile MODEL` shows hot spots.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from statistics import median

import numpy as np
import torch

from msaviz.catalog import MODELS
from msaviz.data.dataset import Dataset
from msaviz.data.missing import Mixture, corrupt
from msaviz.training.experiment import Experiment
from msaviz.training.system import build

STEPS = {"text": (50, 768), "vision": (500, 20), "audio": (375, 5)}


def dataset(rows: int, full: bool) -> Dataset:
    g = np.random.default_rng(0)
    arrays = {m: g.normal(size=(rows, t, w)).astype(np.float32) for m, (t, w) in STEPS.items()}
    lengths = {m: np.full(rows, t) if full else g.integers(t // 10, t + 1, rows) for m, (t, _) in STEPS.items()}
    return Dataset.from_arrays(y=g.uniform(-3, 3, rows).astype(np.float32), lengths=lengths, splits=np.repeat("train", rows), **arrays)


def one_pass(system, split, unknown, optimizer=None) -> float:
    """Samples a second over the split; a training pass when there is an optimizer."""
    system.train(optimizer is not None)
    start = time.perf_counter()
    for batch in split.batches(32, shuffle=True):
        batch = corrupt(batch, Mixture(), seed=0, unknown=unknown)
        with torch.set_grad_enabled(optimizer is not None):
            output = system(batch)
            if optimizer is not None:
                loss = (output.prediction - batch.y).abs().mean() + sum(output.losses.values())
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return len(split) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=320)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--profile", metavar="MODEL")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = dataset(options.rows, options.full)
    split = data.splits["train"]
    systems = {m: build(data.spec, Experiment(model=m)) for m in MODELS if options.profile in (None, m)}
    optimizers = {m: torch.optim.AdamW(s.parameters()) for m, s in systems.items()}
    if options.profile:
        with torch.profiler.profile() as profile:
            one_pass(systems[options.profile], split, data.unknown, optimizers[options.profile])
        print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=15, max_name_column_width=40))
        return
    found = {m: {"train": [], "read": []} for m in systems}
    for _ in range(options.repeats):
        for m, system in systems.items():
            found[m]["train"].append(one_pass(system, split, data.unknown, optimizers[m]))
            found[m]["read"].append(one_pass(system, split, data.unknown))
    print(f"{'model':>14} {'train /s':>9} {'read /s':>9}")
    for m, rates in found.items():
        print(f"{m:>14} {median(rates['train']):9.0f} {median(rates['read']):9.0f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size = sum(s.values.nbytes for s in split.sequences.values()) / 2**20
    print(f"peak memory of the process {peak:.0f} MB (the data as float32: {size:.0f} MB)")
    print(json.dumps({"samples_per_second": {m: {k: median(v) for k, v in r.items()} for m, r in found.items()}, "peak_mb": peak}))


if __name__ == "__main__":
    main()
