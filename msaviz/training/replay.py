"""Does a run repeat itself: trained again from what its folder says, are the numbers the same to the bit?"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from msaviz.training.frames import read_frame
from msaviz.training.loop import train
from msaviz.training.run import PREDICTED, Run, environment
from msaviz.training.weights import read_weights

KEY = ["epoch", "split", "domain", "metric"]


@dataclass(frozen=True)
class Replay:
    """What came of training a run again."""

    differences: tuple[str, ...]
    """What is not the same, a sentence each; none: history, weights and predictions are equal to the bit."""
    surroundings: tuple[str, ...]
    """What the numbers depend on besides the run's folder and is not as it was, such as another version of torch."""

    @property
    def equal(self) -> bool:
        return not self.differences

    def __str__(self) -> str:
        verdict = "equal: history, weights and predictions are the same to the bit" if self.equal else "not equal"
        around = [f"not as it was: {one}" for one in self.surroundings] or ["the environment is as it was"] * (not self.equal)
        return "\n".join([verdict, *(f"  {one}" for one in (*self.differences, *around))])


def replay(run: str | Path | Run, out: str | Path | None = None, *, progress: bool = True) -> Replay:
    """Train the run's experiment again, with as many threads, in the folder `out` (None: one that is removed afterwards), and compare.

    Raises ValueError for a run that is not finished or whose data have changed since, and where `out` is not empty.
    """
    run = Run.open(run)
    if not run.done:
        raise ValueError(f"{run.path} is not finished, so there is nothing to compare with; go on with `msaviz train` and --resume")
    _ = run.dataset  # or it says that the data have changed
    if out is not None and Path(out).exists() and (not Path(out).is_dir() or any(Path(out).iterdir())):
        raise ValueError(f"{out} exists and is not empty; choose a new folder for the repetition")
    with nullcontext(str(out)) if out is not None else tempfile.TemporaryDirectory(prefix="msaviz-replay-") as folder:
        with _threads(run.environment.get("threads")):
            again = train(run.experiment, folder, progress=progress)
            surroundings = tuple(_changes(run.environment, environment()))
        return Replay((*_history(run, again), *_weights(run, again), *_predictions(run, again)), surroundings)


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _changes(then: dict, now: dict) -> Iterator[str]:
    a, b = ({**about, **about.get("packages", {})} for about in (then, now))
    yield from (f"{key}: {a.get(key)} then, {b.get(key)} now" for key in sorted({*a, *b} - {"packages"}) if a.get(key) != b.get(key))


def _history(then: Run, now: Run) -> Iterator[str]:
    """The first number that differs, and how many do."""
    a, b = (run.history().set_index(KEY)["value"] for run in (then, now))
    if not a.index.equals(b.index):
        yield f"history: {len(a)} numbers of {_epochs(a)} epochs then, {len(b)} of {_epochs(b)} now"
        return
    differs = ~((a == b) | (a.isna() & b.isna()))
    if differs.any():
        epoch, split, domain, metric = a.index[differs][0]
        yield (
            f"history: {int(differs.sum())} of {len(a)} numbers differ, first {metric} ({split}, {domain}) in epoch {epoch + 1}: "
            f"{float(a[differs].iloc[0])!r} then, {float(b[differs].iloc[0])!r} now"
        )


def _epochs(values: pd.Series) -> int:
    return values.index.get_level_values("epoch").nunique()


def _weights(then: Run, now: Run) -> Iterator[str]:
    """The tensor that differs most, and how many do."""
    a, b = (read_weights(run.path / "weights.safetensors") for run in (then, now))
    if [(k, v.shape, v.dtype) for k, v in sorted(a.items())] != [(k, v.shape, v.dtype) for k, v in sorted(b.items())]:
        yield f"weights: other tensors ({len(a)} then, {len(b)} now)"
        return
    apart = {k: (a[k].double() - b[k].double()).abs().max().item() for k in a if not torch.equal(_bits(a[k]), _bits(b[k]))}
    if apart:
        most = max(apart, key=apart.__getitem__)
        yield f"weights: {len(apart)} of {len(a)} tensors differ, most {most}, by {apart[most]:.3g}"


def _bits(values: torch.Tensor) -> torch.Tensor:
    return values.reshape(-1).view(torch.uint8)


def _predictions(then: Run, now: Run) -> Iterator[str]:
    a, b = (read_frame(run.path / "predictions.csv", PREDICTED, words=PREDICTED) for run in (then, now))
    if not a.equals(b):
        yield f"predictions: {int((a != b).any(axis=1).sum()) if a.shape == b.shape else 'all'} of {len(a)} rows differ"
