"""Which runs of a report are the same experiment with other seeds, and how is each called?"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd

from msaviz.app.results import evaluated, predicted
from msaviz.options import paths, validated
from msaviz.training.experiment import Experiment
from msaviz.training.run import Run


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed only, under one label; `names` are their names, unique in the report."""

    label: str
    runs: tuple[Run, ...]
    names: tuple[str, ...] = field(default=())

    @cached_property
    def first(self) -> Run:
        """The run that is looked into."""
        return self.runs[0]

    @property
    def seeds(self) -> list[int]:
        return [run.experiment.seed for run in self.runs]

    def sweep(self, protocol: str, split: str, selection: str = "validation") -> pd.DataFrame:
        """The protocol's frame of all runs of the group, with the label for `model`, so that curves bear the report's names."""
        frames = [evaluated(run, protocol, split=split, selection=selection) for run in self.runs]
        return self._joined(frames).assign(model=self.label)

    def predictions(self, protocol: str, split: str) -> pd.DataFrame:
        """The protocol's predictions of all runs of the group."""
        frames = [predicted(run, protocol, split=split) for run in self.runs]
        joined = self._joined(frames)
        joined.attrs |= frames[0].attrs
        return joined

    def warnings(self, protocol: str, split: str, selection: str = "validation") -> list[str]:
        """What must be said beside the protocol's numbers, each sentence once."""
        found = [note for run in self.runs for note in evaluated(run, protocol, split=split, selection=selection).attrs.get("warnings", [])]
        return list(dict.fromkeys(found))

    def _joined(self, frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
        return pd.concat([f.assign(run=name) for f, name in zip(frames, self.names, strict=True)], ignore_index=True)


def grouped(runs: Sequence[str | Path | Run]) -> list[Group]:
    """The runs in groups, in the order given; ValueError for an unfinished one."""
    opened = list({Path(r.path).resolve(): r for r in map(Run.open, runs)}.values())
    if not opened:
        raise ValueError("name at least one run")
    for run in opened:
        if not run.done:
            raise ValueError(f"{run.path} is not finished; go on with it: msaviz train … --out {run.path} --resume")
    names = _unique(opened)
    members: dict[str, list[int]] = {}
    for i, run in enumerate(opened):
        members.setdefault(_without_seed(run), []).append(i)
    models = [opened[index[0]].model_name for index in members.values()]
    found = []
    for model, index in zip(models, members.values(), strict=True):
        label = model if models.count(model) == 1 else f"{model} ({names[index[0]]})"
        found.append(Group(label, tuple(opened[i] for i in index), tuple(names[i] for i in index)))
    return found


def _unique(runs: Sequence[Run]) -> list[str]:
    """Folder names; with the parent's name before them where two are alike."""
    names = [run.name for run in runs]
    return [name if names.count(name) == 1 else f"{run.path.resolve().parent.name}/{name}" for run, name in zip(runs, names, strict=True)]


def _without_seed(run: Run) -> str:
    experiment = {k: v for k, v in run.options["experiment"].items() if k != "seed"}
    return json.dumps([experiment, run.options["data"]["fingerprint"]], sort_keys=True)


def replay(run: Run) -> str:
    """The command that trains this run again."""
    experiment = run.experiment
    plain = validated(Experiment, {"model": run.model_name, "data": experiment.data, "seed": experiment.seed})
    before, now = paths(plain), paths(experiment)
    changed = [f"{k}={v if isinstance(v, str) else json.dumps(v)}" for k, v in now.items() if before.get(k, None) != v or k not in before]
    words = ["msaviz", "train", run.model_name, "--data", experiment.data, "--out", str(run.path), "--seed", str(experiment.seed)]
    return shlex.join([*words, *(word for change in changed for word in ("--set", change))])
