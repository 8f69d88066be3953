"""How many samples a second does each model train and read on an unaligned MOSI-sized file, and where does the time go?

50/500/375 steps, widths 768/20/5, as in the usual unaligned MOSI pickle; random values, one thread, text vectors precomputed.
Lengths are random up to the full ones (`--full`: all full). Models alternate; medians are printed; `--profile MODEL` shows hot spots.
Training is an epoch of the real loop; under torchrun (`python -m torch.distributed.run --standalone --nproc-per-node 2 THIS`) that of
all processes together.
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
from msaviz.training.loop import Trainer
from msaviz.training.parallel import join_processes, leave_processes

STEPS = {"text": (50, 768), "vision": (500, 20), "audio": (375, 5)}


def dataset(rows: int, full: bool) -> Dataset:
    g = np.random.default_rng(0)
    arrays = {m: g.normal(size=(rows, t, w)).astype(np.float32) for m, (t, w) in STEPS.items()}
    lengths = {m: np.full(rows, t) if full else g.integers(t // 10, t + 1, rows) for m, (t, _) in STEPS.items()}
    return Dataset.from_arrays(y=g.uniform(-3, 3, rows).astype(np.float32), lengths=lengths, splits=np.repeat("train", rows), **arrays)


def reading(trainer: Trainer) -> float:
    """Samples a second that the system reads in eval mode."""
    system, split = trainer.system.eval(), trainer.learnt
    start = now(trainer.device)
    with torch.inference_mode():
        for batch in split.batches(32, shuffle=True):
            system(corrupt(batch, Mixture(), seed=0, unknown=trainer.dataset.unknown).to(trainer.device))
    return len(split) / (now(trainer.device) - start)


def training(trainer: Trainer) -> float:
    """Samples a second over an epoch."""
    start = now(trainer.device)
    trainer._train_epoch()
    return len(trainer.learnt) / (now(trainer.device) - start)


def now(device: torch.device) -> float:
    """Seconds, once the device has done what it was asked."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=320)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--models", default=",".join(MODELS), help="names, separated by commas")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or auto")
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--profile", metavar="MODEL")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rank, world = join_processes()
    data = dataset(options.rows, options.full)
    names = [options.profile] if options.profile else options.models.split(",")
    train = {"device": options.device, "precision": options.precision}
    trainers = {m: Trainer(Experiment.model_validate({"model": m, "train": train}), data, None, rank, world) for m in names}
    if options.profile:
        with torch.profiler.profile() as profile:
            training(trainers[options.profile])
        print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=15, max_name_column_width=40))
        return leave_processes(world)
    found = {m: {"train": [], "read": []} for m in trainers}
    for trainer in trainers.values():
        training(trainer)  # the first epoch pays for what is made once
    for _ in range(options.repeats):
        for m, trainer in trainers.items():
            found[m]["train"].append(training(trainer))
            found[m]["read"].append(reading(trainer))
    if rank == 0:
        show(found, data, trainers[names[0]].device, world)
    return leave_processes(world)


def show(found: dict[str, dict[str, list[float]]], data: Dataset, device: torch.device, world: int) -> None:
    print(f"{world} process{'es' * (world > 1)} on {device}\n{'model':>14} {'train /s':>9} {'read /s':>9}")
    for m, rates in found.items():
        print(f"{m:>14} {median(rates['train']):9.0f} {median(rates['read']):9.0f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size = sum(s.values.nbytes for s in data.splits["train"].sequences.values()) / 2**20
    print(f"peak memory of the process {peak:.0f} MB (the data as float32: {size:.0f} MB)")
    print(json.dumps({"samples_per_second": {m: {k: median(v) for k, v in r.items()} for m, r in found.items()}, "peak_mb": peak}))


if __name__ == "__main__":
    main()
