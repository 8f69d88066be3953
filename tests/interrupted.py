"""A training that is stopped after some of its epochs were saved, and then goes on: shared by the tests of resuming."""

from __future__ import annotations

from pathlib import Path

import pytest

from msaviz import Experiment, Run, train
from msaviz.training.loop import Trainer


def resumed(experiment: Experiment, path: Path, monkeypatch: pytest.MonkeyPatch, *, after: int = 1) -> Run:
    """The run of a training that was interrupted `after` so many saves, and resumed to its end."""
    save, calls = Trainer.save, []

    def broken(self, run):
        save(self, run)
        calls.append(run)
        if len(calls) == after:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "save", broken)
        with pytest.raises(KeyboardInterrupt):
            train(experiment, path, progress=False)
    return train(experiment, path, resume=True, progress=False)
