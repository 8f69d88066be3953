"""How many samples a second does each model train and read on an unaligned MOSI-sized file, and where does the time go?

50/500/375 steps, widths 768/20/5, as in the usual unaligned MOSI pickle; random values, one thread, text vectors precomputed.
Lengths are random up to the full ones (`--full`: all full). Models alternate; medians are shown; `--profile MODEL` shows hot spots.
Training is an epoch of the real loop, timed by the processor's clock (so that other work on the machine takes nothing away); under
torchrun (`python -m torch.distributed.run --standalone --nproc-per-node 2 THIS`) that of all processes together, by the clock on the
wall. A model may be told options behind a colon, `tfn:encoder=pooled`; commas stand between models.

Below the rates: what this machine multiplies at best (square float32 matrices, one thread), the multiplications and additions that a
model's training is counted to need, hence the fewest seconds that a sample can take, and how many times that it takes.
"""

from __future__ import annotations

import argparse
import gc
import resource
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from tools import Row, arguments, finish, medians, quartiles
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from msaviz.catalog import MODELS
from msaviz.data.dataset import Dataset
from msaviz.data.load import parse
from msaviz.data.missing import Mixture, corrupt
from msaviz.training.experiment import Experiment
from msaviz.training.loop import Trainer
from msaviz.training.parallel import join_processes, leave_processes

STEPS = {"text": (50, 768), "vision": (500, 20), "audio": (375, 5)}
POOLED = ("tfn:encoder=pooled", "lmf:encoder=pooled")
TARGETS: dict[str, float] = dict.fromkeys(POOLED, 1000.0) | dict.fromkeys(("derl", "midg", "haemsa"), 100.0)
"""Least samples a second in training."""
PEAK = 900.0
"""Most MB of the process, with its data and all models that it compares."""


def dataset(rows: int, full: bool = False, fill: float | None = None, cut: bool = False) -> Dataset:
    """Random values; lengths uniform up to the full ones, all full, or within a fifth of `fill` of the file's steps; `cut`: no longer
    than the longest row."""
    g = np.random.default_rng(0)
    arrays = {m: g.normal(size=(rows, t, w)).astype(np.float32) for m, (t, w) in STEPS.items()}
    if fill is not None and fill < 1:
        share = fill * g.uniform(0.8, 1.2, rows)
        lengths = {m: np.rint(share * t).astype(int).clip(1, t) for m, (t, _) in STEPS.items()}
    else:
        lengths = {m: np.full(rows, t) if full or fill else g.integers(t // 10, t + 1, rows) for m, (t, _) in STEPS.items()}
    if cut:
        arrays = {m: x[:, : lengths[m].max()] for m, x in arrays.items()}
    return Dataset.from_arrays(y=g.uniform(-3, 3, rows).astype(np.float32), lengths=lengths, splits=np.repeat("train", rows), **arrays)


def trainer_of(model: str, data: Dataset, options: argparse.Namespace, rank: int = 0, world: int = 1) -> Trainer:
    """The loop of this model, with the options behind its colon."""
    name, told = parse(model)
    train = {"device": options.device, "precision": options.precision}
    return Trainer(Experiment.model_validate({"model": {"name": name, **told}, "train": train}), data, None, rank, world)


def read_all(trainer: Trainer) -> None:
    """The train split once, in eval mode."""
    system = trainer.system.eval()
    with torch.inference_mode():
        for batch in trainer.learnt.batches(32, shuffle=True):
            system(corrupt(batch, Mixture(), seed=0, unknown=trainer.dataset.unknown).to(trainer.device))


def timed(trainer: Trainer, call: Callable[[], None]) -> float:
    """Samples a second of a pass over the train split: by the processor's clock where one thread does it all, else by the wall's."""
    alone = trainer.device.type == "cpu" and trainer.world == 1
    clock = time.process_time if alone else time.perf_counter
    gc.collect()
    start = clock()
    call()
    if trainer.device.type == "cuda":
        torch.cuda.synchronize(trainer.device)
    return len(trainer.learnt) / (clock() - start)


def rates(trainers: Mapping[str, Trainer], repeats: int) -> dict[str, dict[str, list[float]]]:
    """Training and reading of each, in turn, after an epoch that pays for what is made once."""
    found: dict[str, dict[str, list[float]]] = {"training": {m: [] for m in trainers}, "reading": {m: [] for m in trainers}}
    for trainer in trainers.values():
        trainer._train_epoch()
    for _ in range(repeats):
        for m, trainer in trainers.items():
            found["training"][m].append(timed(trainer, trainer._train_epoch))
            found["reading"][m].append(timed(trainer, lambda trainer=trainer: read_all(trainer)))
    return found


def rows_of(case: str, found: Mapping[str, Mapping[str, list[float]]]) -> list[Row]:
    """Medians and quartiles; training beside its target, and the memory of the process."""
    rows = []
    for metric, models in found.items():
        for m, middle in medians(models).items():
            least = TARGETS.get(m) if metric == "training" else None
            low, high = quartiles(models[m])
            met = None if least is None else middle >= least
            rows.append(Row("training", case, m, metric, middle, "samples/s", f">= {least:,.0f}" if least else "", met, low, high))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [*rows, Row("training", case, "process", "peak memory", peak, "MB", f"< {PEAK:.0f}", peak < PEAK)]


# -- padding ---------------------------------------------------------------------------------------------------------


# -- floor -----------------------------------------------------------------------------------------------------------


def multiplying(size: int) -> float:
    """GFLOP/s of a product of two square float32 matrices: the best of some, each long enough to be timed."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    calls, best = max(1, int(2e8 / size**3)), 0.0
    for _ in range(12):
        start = time.process_time()
        for _ in range(calls):
            torch.mm(a, b)
        best = max(best, 2e-9 * calls * size**3 / (time.process_time() - start))
    return best


Shape = tuple[int, ...]


def attention_flop(q: Shape, k: Shape, v: Shape, *_: object, **__: object) -> int:
    """Of the fused attention on the CPU, which torch's counter does not know."""
    return sdpa_flop_count(q, k, v)


def attention_backward_flop(gradient: Shape, q: Shape, k: Shape, v: Shape, *_: object, **__: object) -> int:
    return sdpa_backward_flop_count(gradient, q, k, v)


def lstm_flop(x: Shape, inward: Shape, recurrent: Shape, *_: object, **__: object) -> int:
    """Of one fused layer: a multiplication and an addition for each weight, step and row."""
    return 2 * int(np.prod(x[:-1])) * (int(np.prod(inward)) + int(np.prod(recurrent)))


def lstm_backward_flop(*shapes: Any, **more: object) -> int:
    return 2 * lstm_flop(*shapes, **more)


def counted(trainer: Trainer) -> float:
    """Multiplications and additions of a batch, forward and backward, for a sample: products of matrices, fused attention and LSTMs."""
    aten = torch.ops.aten
    mapping = {
        aten._scaled_dot_product_flash_attention_for_cpu: attention_flop,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: attention_backward_flop,
        aten.mkldnn_rnn_layer: lstm_flop,
        aten.mkldnn_rnn_layer_backward: lstm_backward_flop,
    }
    batch = trainer.learnt.batch(np.arange(32)).to(trainer.device)
    with FlopCounterMode(display=False, custom_mapping=mapping) as counter:
        torch.stack(list(trainer.objective(trainer.system.train(), batch, 0.0).values())).sum().backward()
    return counter.get_total_flops() / len(batch)


def floors(trainers: Mapping[str, Trainer], found: Mapping[str, list[float]]) -> list[Row]:
    """What the machine can, what each model needs, and how far it is from that."""
    speed = {size: multiplying(size) for size in (64, 128, 256, 512)}
    rows = [Row("training", "floor", f"{size} x {size}", "matmul", rate, "GFLOP/s") for size, rate in speed.items()]
    for m, middle in medians(found).items():
        need = counted(trainers[m])
        least = need / (1e9 * max(speed.values()))
        rows.append(Row("training", "floor", m, "needed", need / 1e6, "MFLOP/sample"))
        rows.append(Row("training", "floor", m, "at best", 1e3 * least, "ms/sample"))
        rows.append(Row("training", "floor", m, "taken", 1e3 / middle, "ms/sample"))
        rows.append(Row("training", "floor", m, "taken / at best", 1 / (middle * least), "x"))
    return rows


def profile(model: str, data: Dataset, options: argparse.Namespace) -> None:
    """The hot spots of an epoch."""
    trainer = trainer_of(model, data, options)
    with torch.profiler.profile() as found:
        trainer._train_epoch()
    print(found.key_averages().table(sort_by="self_cpu_time_total", row_limit=15, max_name_column_width=40))


def main(options: argparse.Namespace) -> list[Row]:
    torch.set_num_threads(1)
    rank, world = join_processes()
    if options.quick:
        options.rows, options.repeats = min(options.rows, 64), 1
    names = options.models.split(",") if options.models else [*MODELS, *(m for m in POOLED if parse(m)[0] in MODELS)]
    data = dataset(options.rows, options.full)
    if options.profile:
        profile(options.profile, data, options)
        return []
    trainers = {m: trainer_of(m, data, options, rank, world) for m in names}
    found = rates(trainers, options.repeats)
    where = f"{world} process{'es' * (world > 1)} on {trainers[names[0]].device}, {'full' if options.full else 'random'} lengths"
    rows = rows_of(where, found) + floors(trainers, found["training"])
    leave_processes(world)
    return rows if rank == 0 else []


if __name__ == "__main__":
    options = arguments(__doc__, rows=320, repeats=3, models="", full=False, profile="", device="cpu", precision="float32")
    found = main(options)
    if found:
        finish(found, options)
