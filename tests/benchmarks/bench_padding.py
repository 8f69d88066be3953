"""Does padding cost anything, and does time follow the valid steps?

The unaligned MOSI-sized file of `bench_training`, filled to .1, .2, ..., 1.0 of its steps. Padding costs nothing if a file filled to a
tenth takes as long as the same rows in a file that is cut to their longest (samples a second, padded over cut: 1). And time ought to follow
what is valid: the exponent of samples a second is -1 where it does, and 0 where the valid steps do not matter. A model that averages long
sequences in at most so many windows follows its windows: once they are full, longer sequences cost it nothing.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from bench_training import dataset, rates, trainer_of
from tools import Row, arguments, finish, medians

FILLS = tuple(round(0.1 * i, 1) for i in range(1, 11))
LEAST = 0.95
"""Of the speed on a file without padding."""


def windows(lengths: np.ndarray, frames: int | None) -> np.ndarray:
    """Windows that an encoder makes of so many valid steps: ceil(length / ceil(length / frames)); the steps where it makes none."""
    return lengths if frames is None else -(-lengths // -(-lengths // frames))


def main(options: argparse.Namespace) -> list[Row]:
    """Samples and valid steps a second by fill, and the exponents of training in the valid steps and in the windows (see the module)."""
    torch.set_num_threads(1)
    names = options.models.split(",")
    if options.quick:
        options.rows, options.repeats = min(options.rows, 64), 1
    rows, found = [], {m: [] for m in names}
    for fill in FILLS[:: 3 if options.quick else 1]:
        data = dataset(options.rows, fill=fill)
        lengths = [s.lengths for s in data.splits["train"].sequences.values()]
        valid = float(sum(steps.mean() for steps in lengths))
        trainers = {m: trainer_of(m, data, options) for m in names}
        for m, middle in medians(rates(trainers, options.repeats)["training"]).items():
            frames = getattr(trainers[m].experiment.model, "frames", None)
            found[m].append((valid, float(sum(windows(steps, frames).mean() for steps in lengths)), middle))
            rows.append(Row("padding", f"fill {fill}", m, "training", middle, "samples/s"))
            rows.append(Row("padding", f"fill {fill}", m, "valid steps", middle * valid, "steps/s"))
    both = {"padded": dataset(options.rows, fill=FILLS[0]), "cut": dataset(options.rows, fill=FILLS[0], cut=True)}
    for m in names:
        middle = medians(rates({name: trainer_of(m, data, options) for name, data in both.items()}, options.repeats)["training"])
        ratio = middle["padded"] / middle["cut"]
        rows.append(Row("padding", f"fill {FILLS[0]}", m, "training, padded / cut", ratio, "x", f">= {LEAST}", ratio >= LEAST))
    for m, points in found.items():
        steps, read, middle = np.log(np.array(points)).T
        by_steps, by_windows = (float(np.polyfit(x, middle, 1)[0]) for x in (steps, read))
        rows.append(Row("padding", "all fills", m, "exponent in valid steps", by_steps, ""))
        rows.append(Row("padding", "all fills", m, "exponent in windows", by_windows, ""))
    return rows


if __name__ == "__main__":
    models = "derl,early_fusion,mult"
    options = arguments(__doc__, rows=160, repeats=3, models=models, device="cpu", precision="float32")
    finish(main(options), options)
