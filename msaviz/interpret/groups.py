"""Which group does an utterance belong to: its domain, or a bin of its label?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from msaviz.interpret.trace import Trace
from msaviz.types import Task

KINDS = ("all", "domain", "label")


@dataclass(frozen=True)
class Grouping:
    """`codes`: Int[n], the group of each utterance as a position in `names`; -1 for none (an utterance without a label)."""

    codes: np.ndarray
    names: tuple[str, ...]

    def one_hot(self) -> np.ndarray:
        """Float[n g]; a row of zeros where the code is -1."""
        return (self.codes[:, None] == np.arange(len(self.names))).astype(np.float32)


def binned(values: np.ndarray, task: Task) -> Grouping:
    """Labels (or predictions) in words: negative, neutral, positive for a real number, the class name for a class.

    Neutral is the middle sixth of the scale around its centre: |y| <= .5 on [-3, 3], the middle class of Acc-7.
    """
    if task.kind == "classes":
        return Grouping(np.asarray(values, dtype=int), tuple(task.classes))
    values = np.asarray(values, dtype=float)
    centre, half = (task.low + task.high) / 2, (task.high - task.low) / 12
    known = np.nan_to_num(values, nan=centre)
    codes = np.where(known < centre - half, 0, np.where(known > centre + half, 2, 1))
    return Grouping(np.where(np.isnan(values), -1, codes), ("negative", "neutral", "positive"))


def grouping(trace: Trace, by: str) -> Grouping:
    """The utterances of a trace grouped by "all", "domain" or "label"."""
    if by == "all":
        return Grouping(np.zeros(len(trace.examples), dtype=int), ("all",))
    if by == "domain":
        return Grouping(torch.cat([batch.domain for batch in trace.batches]).numpy().astype(int), tuple(trace.spec.domains))
    if by == "label":
        return binned(trace.examples["label"].to_numpy(), trace.spec.task)
    raise ValueError(f"cannot group by {by!r}; these exist: {', '.join(KINDS)}")
