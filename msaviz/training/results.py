"""Which model is best on these data, over several seeds, on complete input and where input is missing?

Models x objectives x data x seeds are trained once each and tested under every protocol: the table of a paper. A run that is done is
found, wherever its folder lies under OUT or under one of `reuse`, if its options and the content of its data are those that are asked for.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from msaviz.data.load import load
from msaviz.files import write_text
from msaviz.interpret.results import COLUMNS, MEASURED
from msaviz.options import override, validated
from msaviz.training import domains
from msaviz.training.compare import changes_for, check, folder_name, tell
from msaviz.training.experiment import Experiment
from msaviz.training.gains import Trial, comparison
from msaviz.training.jobs import Job, perform
from msaviz.training.kept import predicted
from msaviz.training.metrics import floor
from msaviz.training.protocols import PROTOCOLS as EVERY
from msaviz.training.published import named_in
from msaviz.training.run import Run
from msaviz.types import Task

PROTOCOLS = tuple(name for name in EVERY if name != domains.PROTOCOL)
DEFAULTS: Mapping[str, Any] = {"train.threads": 1}
"""Options that the runs of a table have unless they are told otherwise."""
OWN = ("model", "model.name", "objective", "objective.name", "data", "seed")
IDLE = ("data", "train.threads", "train.device", "train.log_test", "train.snapshots")
"""Options in which a run that is found may differ: its data are known by their content, and the others change no result."""
COMPLETE = "complete"


@dataclass(frozen=True)
class Results:
    """What came out: `frame` has the columns of the table `results` (published figures among them), `tasks` the main task by dataset."""

    frame: pd.DataFrame
    runs: tuple[Path, ...]
    path: Path
    tasks: Mapping[str, Task]
    failed: Mapping[str, str] = field(default_factory=dict)
    """Run's name -> error, of those that could not be trained; the table is without them."""
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Source:
    """One dataset of the table, as the jobs and the figures need it."""

    source: str
    name: str
    fingerprint: str
    task: Task
    floor: Mapping[str, float]


def results(
    models: Sequence[str],
    data: str | Sequence[str],
    protocols: Sequence[str] = ("clean", "missing", "subsets"),
    *,
    objectives: Sequence[str] = ("erm",),
    seeds: int | Sequence[int] = 3,
    out: str | Path = "results",
    changes: Mapping[str, Any] | None = None,
    reuse: Sequence[str | Path] = (),
    against: str = "",
    workers: int = 1,
    scheduler: str | None = None,
    progress: bool = True,
) -> Results:
    """Train what is missing, test all of it under every protocol (checkpoints by validation), and write OUT/results.csv.

    `changes`: dotted paths, for all runs or, behind a prefix, for one model or objective ("midg:model.experts"). `against`: the "model"
    or "model/objective" over which gains are measured (paired bootstrap over test utterances); empty: the first one. `workers`,
    `scheduler`: see `msaviz.training.jobs.perform`. Raises ValueError for what does not exist.
    """
    start = time.perf_counter()
    seeds = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    models, objectives, changes = list(dict.fromkeys(models)), list(dict.fromkeys(objectives)), dict(changes or {})
    protocols = list(dict.fromkeys(protocols))
    check(models, objectives, seeds, changes, workers, OWN)
    reference = _reference(against, models, objectives)
    if strange := [p for p in protocols if p not in PROTOCOLS] or ([] if protocols else ["none"]):
        raise ValueError(f"no protocol of a results table is called {strange[0]!r}; these exist: {', '.join(PROTOCOLS)}")
    sources = [_read(str(source)) for source in ([data] if isinstance(data, str | Path) else data)]
    if len({s.name for s in sources}) < len(sources):  # two files of one name, or one file read in two ways
        sources = [replace(s, name=s.source) for s in sources]
    found = _finished([Path(out), *map(Path, reuse)])
    jobs: dict[tuple[str, str, str, int], Job] = {}
    for model, objective, source, seed in product(models, objectives, sources, seeds):
        base = validated(Experiment, {"model": model, "objective": objective, "data": source.source, "seed": seed})
        experiment = override(base, changes_for(model, objective, changes, DEFAULTS))
        path = Path(out).absolute() / "runs" / folder_name(experiment, source.name, source.fingerprint)
        path = path if (path / "done").exists() else found.get(_content(experiment, source.fingerprint), path)
        jobs[model, objective, source.name, seed] = Job(experiment, path, protocols=tuple(protocols))
    if progress:
        tell(list(jobs.values()))
    failed = perform(list(jobs.values()), workers=workers, scheduler=scheduler, progress=progress)
    runs = {key: Run.open(job.path) for key, job in jobs.items() if job.path.name not in failed}
    frame, warnings = _table(runs, sources, protocols, reference)
    write_text(Path(out) / "results.csv", frame.to_csv(index=False))
    tasks = {source.name: source.task for source in sources}
    spent = time.perf_counter() - start
    return Results(frame, tuple(run.path for run in runs.values()), Path(out), tasks, failed, spent, warnings)


def _reference(against: str, models: Sequence[str], objectives: Sequence[str]) -> str:
    """ "model/objective" of what gains are measured over; ValueError where it is not in the table."""
    pairs = [f"{model}/{objective}" for model, objective in product(models, objectives)]
    wanted = against or pairs[0]
    wanted = wanted if "/" in wanted else f"{wanted}/{objectives[0]}"
    if wanted not in pairs:
        raise ValueError(f"nothing to measure against is called {against!r}; the table has: {', '.join(pairs)}")
    return wanted


def _read(source: str) -> _Source:
    dataset = load(source)
    if "test" not in dataset.splits or "train" not in dataset.splits:
        raise ValueError(f"{dataset.name} has the splits {', '.join(dataset.splits)}; a results table needs train, valid and test")
    target = dataset.spec.target
    train, test = (dataset.splits[split].labels[target] for split in ("train", "test"))
    return _Source(source, dataset.name, dataset.fingerprint, dataset.spec.task, floor(train, test, dataset.spec.task))


def _finished(folders: Sequence[Path]) -> dict[str, Path]:
    """What the finished runs under these folders hold -> where they are; what cannot be read is no run of this version."""
    found = {}
    for options in (path for folder in folders for path in _options(folder)):
        run = Run(options.parent)
        try:
            found.setdefault(_content(run.experiment, run.options["data"]["fingerprint"]), run.path.absolute())
        except (ValueError, KeyError, TypeError):
            continue
    return found


def _options(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        return
    yield from sorted(path for path in folder.rglob("options.json") if (path.parent / "done").is_file())


def _content(experiment: Experiment, fingerprint: str) -> str:
    """What two runs share that give the same result."""
    tree = experiment.model_dump(mode="json")
    for path in IDLE:
        *parents, leaf = path.split(".")
        node = tree
        for key in parents:
            node = node[key]
        node.pop(leaf)
    return json.dumps([tree, fingerprint], sort_keys=True)


def _table(
    runs: Mapping[tuple[str, str, str, int], Run], sources: Sequence[_Source], protocols: Sequence[str], against: str
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """(ours from kept predictions, then what was published for each dataset under the same protocols; what must be said beside them)."""
    parts, notes = [], []
    for source, protocol in product(sources, protocols):
        tested: list[Trial] = []
        for (model, objective, name, seed), run in runs.items():
            if name == source.name:
                predictions = predicted(run, protocol)
                tested += _trials(predictions, model, objective, seed, source)
                notes += predictions.attrs["warnings"]
        parts.append(_measured(tested, source, protocol, against))
        published = named_in(source.name)
        parts.append(_published(published[published["protocol"] == protocol], source, protocol))
    parts = [part for part in parts if len(part)]
    frame = pd.concat(parts, ignore_index=True)[list(COLUMNS)] if parts else pd.DataFrame(columns=list(COLUMNS))
    return frame, tuple(dict.fromkeys(notes))


def _trials(predictions: pd.DataFrame, model: str, objective: str, seed: int, source: _Source) -> list[Trial]:
    """One a condition; all of them are the same utterances, so that one set of resamples serves them all."""
    found = []
    for (rate, subset), rows in predictions.groupby(["rate", "subset"], sort=False):
        condition = f"{rate:g}" if predictions["rate"].nunique() > 1 else str(subset)
        prediction, label = (rows[name].to_numpy(float) for name in ("prediction", "label"))
        found.append(Trial(model, objective, seed, condition, "all", prediction, label, source.floor))
    return found


def _measured(tested: Sequence[Trial], source: _Source, protocol: str, against: str) -> pd.DataFrame:
    """A row a model, condition and metric, and "mean": over the rates, or over the incomplete sets of modalities."""
    conditions = list(dict.fromkeys(trial.target for trial in tested))
    if not conditions:
        return pd.DataFrame()
    averaged = conditions[:-1] if protocol == "subsets" and len(conditions) > 1 else conditions  # the full set comes last
    frames = [comparison(tested, averaged, source.task, protocol, against=against)]
    if len(averaged) < len(conditions):
        whole = [trial for trial in tested if trial.target == conditions[-1]]
        frames.append(comparison(whole, conditions[-1:], source.task, protocol, against=against))
    frame = pd.concat(frames, ignore_index=True).rename(columns={"target": "condition"})
    summaries = {"mean"} if len(averaged) > 1 else set()
    frame = frame[frame["condition"].isin({*conditions, *summaries})].drop_duplicates(["model", "objective", "condition", "metric"])
    if protocol == "clean":
        frame = frame.assign(condition=COMPLETE)
    return frame.assign(data=source.name, selection="validation", source=MEASURED)


def _published(figures: pd.DataFrame, source: _Source, protocol: str) -> pd.DataFrame:
    """Published figures in the same columns: no interval, no gain."""
    frame = figures[figures["metric"].isin(source.floor)].rename(columns={"value": "mean"})
    frame = frame.assign(data=source.name, condition=COMPLETE if protocol == "clean" else "mean", objective="")
    return frame.assign(floor=frame["metric"].map(dict(source.floor))).reindex(columns=list(COLUMNS))
