"""Runs that are trained once for all tests of the app: so small that they know nothing, but whole."""

from __future__ import annotations

from pathlib import Path

from msaviz.training.experiment import Experiment
from msaviz.training.loop import train

DATA = "synthetic:rows=200"
SMALL = {"dim": 16, "hidden": 16, "experts": 2, "summary": 1, "heads": 2}


def trained(folder: Path, name: str, *, model: str = "derl", seed: int = 0, **options: object) -> Path:
    """The folder of a run of one epoch, trained if it is not there yet."""
    config = {"name": model, **(SMALL if model == "derl" else {})}
    experiment = Experiment(model=config, data=DATA, seed=seed, train={"epochs": 1, "validation_rates": (0.0, 0.5), **options})
    return train(experiment, folder / name, progress=False).path
