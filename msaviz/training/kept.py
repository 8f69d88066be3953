"""What did a run predict? Computed once, then kept in its folder."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
from torch import nn

from msaviz.files import write_json, write_text
from msaviz.reading import read_json
from msaviz.training.domains import unseen_domains
from msaviz.training.frames import read_frame
from msaviz.training.protocols import PREDICTIONS, evaluate_predictions
from msaviz.training.run import Run
from msaviz.training.selection import choose, named_selection

WHOLE = ("seed", "example")
WORDS = ("run", "model", "protocol", "split", "subset", "domain", "task")


@dataclass(frozen=True)
class Snapshot(Run):
    """A run as it was after an `epoch` (from 1) whose weights were kept."""

    epoch: int = 1

    @cached_property
    def _model(self) -> nn.Module:
        return self.model(self.epoch)

    @property
    def weights(self) -> Path:
        return self.snapshot(self.epoch)


def predicted(
    run: Run, protocol: str, *, split: str = "test", seed: int = 0, selection: str = "validation", task: str = ""
) -> pd.DataFrame:
    """`evaluate_predictions(run, protocol, …)`, kept as RUN/evaluations/….csv under a name that changes with the weights (and the task).

    With a `selection` that reads the test split, the predictions are those of the epoch that it chooses; its warning is among
    `attrs["warnings"]`, and the run must have kept the weights of that epoch (`train.snapshots`).
    """
    chosen = named_selection(selection)
    if chosen.split == "test":
        epoch = choose(run.history(), chosen, unseen=unseen_domains(run))
        run = Snapshot(run.path, epoch + 1)
    path = evaluation_path(run, protocol, split=split, seed=seed, task=task)
    frame = _read(path, run)
    if frame is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the same words are in attrs["warnings"], and shown beside the numbers
            frame = evaluate_predictions(run, protocol, split=split, seed=seed, task=task, progress=False)
        write_text(path, frame.to_csv(index=False))
        write_json(path.with_suffix(".json"), frame.attrs)
    if chosen.warning:
        frame.attrs["warnings"] = [chosen.warning, *frame.attrs["warnings"]]
    return frame


def evaluation_path(run: Run, protocol: str, *, split: str = "test", seed: int = 0, task: str = "") -> Path:
    """Where the predictions are kept; only those of another head than the main one name it."""
    head = f"-{task}" if task not in ("", run.spec.target) else ""
    weights = run.weights if isinstance(run, Snapshot) else run.path / "weights.safetensors"
    return run.path / "evaluations" / f"{protocol}{head}-{split}-seed{seed}-{_mark(weights, run.path)}.csv"


def weights_mark(folder: Path) -> str:
    """A short name for the content of a run's weights."""
    return _mark(folder / "weights.safetensors", folder)


def _mark(weights: Path, folder: Path) -> str:
    if not weights.is_file():
        if weights.parent != folder:
            raise FileNotFoundError(f"{folder} kept no {weights.relative_to(folder)}; train with --set train.snapshots=N (N = epochs: all)")
        raise FileNotFoundError(f"{folder} has no weights yet; finish it with `msaviz train … --out {folder} --resume`")
    with weights.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:10]


def _read(path: Path, run: Run) -> pd.DataFrame | None:
    """What was kept; None where nothing was, what is there is damaged, or by a version that kept other columns: it is made anew."""
    try:
        frame, about = read_frame(path, PREDICTIONS, WORDS, WHOLE), read_json(path.with_suffix(".json"))
    except (FileNotFoundError, ValueError):
        return None
    notes = about.get("warnings")
    if not (isinstance(notes, list) and all(isinstance(note, str) for note in notes)):
        return None
    frame["run"] = run.name  # the folder may have been renamed since
    frame.attrs |= about
    return frame
