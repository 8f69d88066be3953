"""How is a run asked about another task than its main one?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from msaviz.data.missing import Corruption
from msaviz.types import Spec, heads_of, label_of


@dataclass(frozen=True)
class Head:
    """A run that is asked about one head: that task comes first in its `spec`, and `predict` is that head's; the rest is the run's own."""

    run: Any
    task: str

    def __getattr__(self, name: str) -> Any:
        return getattr(self.run, name)

    @property
    def spec(self) -> Spec:
        """The run's spec with this head's task as the main one."""
        spec = self.run.spec
        return replace(spec, tasks={self.task: heads_of(spec)[self.task], **spec.tasks})

    @cached_property
    def dataset(self) -> Any:
        """The run's data, with the labels of this head where it is derived from the main one."""
        spec, data = self.run.spec, self.run.dataset
        if self.task in spec.tasks:
            return data
        labels = {s: {t: torch.from_numpy(np.array(y)) for t, y in part.labels.items()} for s, part in data.splits.items()}
        derived = {s: {**part.labels, self.task: label_of(labels[s], self.task, spec).numpy()} for s, part in data.splits.items()}
        return replace(data, splits={s: replace(part, labels=derived[s]) for s, part in data.splits.items()})

    def predict(self, split: str = "test", missingness: Corruption | None = None, seed: int = 0) -> np.ndarray:
        """Predictions of this head (`Run.predict`)."""
        return self.run.predict(split, missingness, seed, task=self.task)


def about(run: Any, task: str = "") -> Any:
    """The run itself for its main task (""), else the `Head`; ValueError naming the heads that data like these allow."""
    tasks = heads_of(run.spec)
    if task and task not in tasks:
        raise ValueError(f"{run.name}: the data have no task {task!r}; a model may have heads for {', '.join(tasks)}")
    return run if task in ("", run.spec.target) else Head(run, task)
