"""A fake evaluation whose best genome is known, and small searches that use it."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from msaviz import Experiment
from msaviz.search.evolve import begin
from msaviz.search.proxy import Measured
from msaviz.search.record import Search
from msaviz.search.worker import work

DATA = "synthetic:rows=240"
GENES = ("model.dim", "model.layers", "model.dropout", "model.router", "model.orthogonality_weight", "model.reconstruction_weight")
EXPERIMENT = Experiment(model="derl", data=DATA)


def planted(experiment, dataset=None, parent=None, go_on=lambda *_: True) -> Measured:
    """The error is the distance to a known genome; a larger width costs parameters and brings nothing beyond 128."""
    m = experiment.model
    error = 0.2 * abs(m.layers - 3) + abs(m.dropout - 0.4) + 0.3 * (m.router != "top_k") + 0.1 * abs(m.dim - 128) / 32
    error += 0.3 * abs(m.orthogonality_weight - 1.5) + 0.3 * abs(m.reconstruction_weight - 0.2)
    parameters = 100 * m.dim * (1 + m.layers)
    epochs = experiment.train.epochs
    for epoch in range(1, epochs + 1):
        if not go_on(epoch, error + 0.1 * (epochs - epoch), parameters):
            return Measured(error + 0.1 * (epochs - epoch), parameters, epochs=epoch, pruned=True)
    return Measured(error, parameters, epochs=epochs)


def start(path: Path, storage: str = "", experiment: Experiment = EXPERIMENT, **options: Any) -> Search:
    told = {"trials": 12, "controls": False, "genes": GENES, "population": 4, "epochs": 1, **options}
    return begin(experiment, path, told, storage)


def record(search: Search) -> Any:
    """The frame of all trials without what the clock says."""
    return search.evolution.trials.drop(columns="seconds")


def killed_in(turn: int, flag: Path):
    """An evaluation that ends its whole process, as kill -9 does, the first time it is asked for the turn-th time."""
    calls = []

    def evaluate(*arguments):
        calls.append(1)
        if len(calls) == turn and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return planted(*arguments)

    return evaluate


if __name__ == "__main__":  # a worker process: FOLDER [TURN FLAG]
    folder, *rest = sys.argv[1:]
    slow = killed_in(int(rest[0]), Path(rest[1])) if rest else planted

    def evaluate(*arguments):
        time.sleep(0.01)
        return slow(*arguments)

    work(Search.open(folder, connect=True), evaluate)
