"""Which model and which objective is best in domains that were never seen?

Every model is trained with every objective: for each unseen domain on all the others (`lodo`, leave one domain out), or on each domain
alone and tested on all the others (`single-source`). A run that is done is never trained again, so that a comparison may be stopped,
repeated, and widened by more models, objectives and seeds in the same folder.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from msaviz.catalog import MODELS, OBJECTIVES
from msaviz.data.dataset import Dataset
from msaviz.data.load import SEPARATOR, load
from msaviz.files import write_text
from msaviz.options import override, validated
from msaviz.training.domains import PROTOCOL, SUMMARIES, WHOLE
from msaviz.training.experiment import Experiment
from msaviz.training.gains import Trial, comparison
from msaviz.training.jobs import Job, perform
from msaviz.training.kept import predicted
from msaviz.training.protocols import score
from msaviz.training.run import Run
from msaviz.training.selection import named_selection
from msaviz.types import Task

PROTOCOLS: Mapping[str, str] = {"lodo": "domains.targets", "single-source": "domains.sources"}
"""Protocol -> the option that the domain of each run goes to: the one unseen, or the only one seen."""
DEFAULTS: Mapping[str, Any] = {"missing": "none", "train.validation_rates": [0.0], "train.sampling": "domains", "train.threads": 1}
"""Options that a comparison sets unless it is told otherwise: complete input, and the same share of each batch for every source."""
OWN = ("model", "model.name", "objective", "objective.name", "data", "seed", "domains.sources", "domains.targets")
"""Options that the comparison itself varies."""
SELECTIONS = ("validation", "oracle")
REFERENCE = "erm"
SCORES = ["run", "model", "objective", "seed", "protocol", "split", "selection", "domain", "unseen", "metric", "value", "floor"]
"""Columns of scores.csv."""


@dataclass(frozen=True)
class Comparison:
    """What came out: `frame` (columns of the table `domain_comparison`), `scores` (a row a run, domain and metric), the runs' folders."""

    frame: pd.DataFrame
    scores: pd.DataFrame
    runs: tuple[Path, ...]
    path: Path
    task: Task
    failed: Mapping[str, str] = field(default_factory=dict)
    """Run's name -> error, of those that could not be trained; the tables are without them."""
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()


def compare(
    models: Sequence[str],
    objectives: Sequence[str],
    data: str | Sequence[str],
    protocol: str = "lodo",
    *,
    seeds: int | Sequence[int] = 3,
    out: str | Path = "comparison",
    changes: Mapping[str, Any] | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    selection: str = "validation",
    against: str = REFERENCE,
    domains: Sequence[str] = (),
    progress: bool = True,
) -> Comparison:
    """Train what is missing, test everything on the unseen domains, and write OUT/scores.csv and OUT/comparison.csv.

    Several `data` are joined, each a domain. `changes`: dotted paths, for all runs or, behind a prefix, for one model or objective
    ("midg:model.experts"). `domains`: only these in turn are unseen (or the single source); empty: all. `against`: an objective (of
    the same model) or "model/objective", by which gains are measured. `workers`, `scheduler`: see `msaviz.training.jobs.perform`.
    Raises ValueError for what does not exist, and for data with a single domain.
    """
    start = time.perf_counter()
    seeds = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    models, objectives, changes = list(dict.fromkeys(models)), list(dict.fromkeys(objectives)), dict(changes or {})
    check(models, objectives, seeds, changes, workers, OWN)
    _check(models, objectives, protocol, selection, against)
    source = str(data) if isinstance(data, str | Path) else SEPARATOR.join(map(str, data))
    dataset = load(source)
    known, task, mark = testable_domains(dataset), dataset.spec.task, dataset.fingerprint
    if strange := [d for d in domains if d not in known]:
        raise ValueError(f"no domain with labels is called {strange[0]!r}; these exist: {', '.join(known)}")
    turns = [d for d in known if d in domains] or known
    del dataset  # the processes that train read it for themselves
    told = {**DEFAULTS, **({"train.log_test": True} if selection == "oracle" else {})}
    jobs = []
    for model, objective, domain, seed in product(models, objectives, turns, seeds):
        asked = {**changes_for(model, objective, changes, told), PROTOCOLS[protocol]: [domain]}
        base = validated(Experiment, {"model": model, "objective": objective, "data": source, "seed": seed})
        experiment = _every_epoch(override(base, asked), selection)
        jobs.append(Job(experiment, Path(out).absolute() / "runs" / folder_name(experiment, domain, mark), selection))
    if progress:
        tell(jobs)
    failed = perform(jobs, workers=workers, scheduler=scheduler, progress=progress)
    runs = [Run.open(job.path) for job in jobs if job.path.name not in failed]
    frame, scores = _tables(runs, turns, known, task, protocol, selection, against)
    for name, table in (("scores", scores), ("comparison", frame)):
        write_text(Path(out) / f"{name}.csv", table.to_csv(index=False))
    warnings = [named_selection(selection).warning] if selection != "validation" else []
    if "/" not in against and against not in objectives:
        warnings.append(f"no gains: the objective {against!r}, against which they are measured, was not compared")
    spent = time.perf_counter() - start
    return Comparison(frame, scores, tuple(run.path for run in runs), Path(out), task, failed, spent, tuple(warnings))


def testable_domains(dataset: Dataset) -> list[str]:
    """The domains that have rows; ValueError where there is one only, or where one has no label or a name that tables use."""
    target, names = dataset.spec.target, []
    for code, name in enumerate(dataset.spec.domains):
        labels = np.concatenate([np.asarray(s.labels[target])[np.asarray(s.domain) == code] for s in dataset.splits.values()])
        known = labels >= 0 if dataset.spec.task.kind == "classes" else ~np.isnan(labels)
        if len(labels) and not known.any():
            raise ValueError(f"no utterance of the domain {name!r} has a label ({target!r}): nothing can be tested there")
        if len(labels):
            names.append(name)
    if len(names) < 2:
        raise ValueError(f"{dataset.name} has a single domain ({', '.join(names)}); to compare on unseen domains, name several sources")
    if taken := set(names) & {*SUMMARIES, WHOLE}:
        raise ValueError(f"a domain may not be called {', '.join(taken)}: the tables use that word; rename it")
    return names


def changes_for(model: str, objective: str, changes: Mapping[str, Any], told: Mapping[str, Any] = DEFAULTS) -> dict[str, Any]:
    """What is changed for one model and objective: the defaults that are `told`, then what was asked for all, then for these two."""
    asked = {path: value for path, value in changes.items() if ":" not in path}
    for path, value in changes.items():
        prefix, colon, rest = path.partition(":")
        if colon and prefix in (model, objective):
            asked[rest] = value
    taken = {path for path in told if any(p == path or p.startswith(f"{path}.") for p in asked)}
    return {**{path: value for path, value in told.items() if path not in taken}, **asked}


def folder_name(experiment: Experiment, domain: str, mark: str) -> str:
    """`midg-irm-meal-0-1a2b3c4d`: the end stands for the experiment's content and the data's (`mark`: their fingerprint)."""
    content = json.dumps([experiment.model_dump(mode="json"), mark], sort_keys=True)
    words = [experiment.model_name, OBJECTIVES.name_of(type(experiment.objective)), domain, experiment.seed]
    name = "-".join(re.sub(r"[^\w.]+", "_", str(word)) for word in words)
    return f"{name}-{sha256(content.encode()).hexdigest()[:8]}"


def _every_epoch(experiment: Experiment, selection: str) -> Experiment:
    """`oracle` may choose any epoch, so that the weights of all must be kept."""
    return override(experiment, {"train.snapshots": experiment.train.epochs}) if selection == "oracle" else experiment


def check(
    models: Sequence[str], objectives: Sequence[str], seeds: Sequence[int], changes: Mapping[str, Any], workers: int, own: Sequence[str]
) -> None:
    """ValueError for what does not exist, and for a change of one of its `own` options, before anything is read."""
    for names, catalog in ((models, MODELS), (objectives, OBJECTIVES)):
        if not names:
            raise ValueError(f"name at least one {catalog.kind}; these exist: {', '.join(catalog)}")
        for name in names:
            if name not in catalog:
                raise ValueError(f"no {catalog.kind} is called {name!r}; these exist: {', '.join(catalog)}")
    if not seeds or workers < 1:
        raise ValueError(f"a comparison needs at least one seed and one worker; got {len(seeds)} and {workers}")
    for path in changes:
        prefix, colon, rest = path.rpartition(":")
        if colon and prefix not in (*models, *objectives):
            raise ValueError(f"{path!r} is for {prefix!r}, which is not compared; compared are: {', '.join([*models, *objectives])}")
        if rest in own:
            raise ValueError(f"{rest!r} is what the comparison itself varies; leave it out of the changes")


def _check(models: Sequence[str], objectives: Sequence[str], protocol: str, selection: str, against: str) -> None:
    for what, name, exist in (("protocol", protocol, PROTOCOLS), ("selection", selection, SELECTIONS)):
        if name not in exist:
            raise ValueError(f"no {what} of a comparison is called {name!r}; these exist: {', '.join(exist)}")
    pairs = [f"{m}/{o}" for m, o in product(models, objectives)]
    if against not in (REFERENCE, *objectives, *pairs):
        raise ValueError(f"nothing to measure against is called {against!r}; compared are: {', '.join([*objectives, *pairs])}")


def tell(jobs: Sequence[Job]) -> None:
    """Say how many runs there are, and how many are left to do."""
    done, trained = sum(job.done for job in jobs), {job.path for job in jobs}
    tqdm.write(f"{len(trained)} runs: {done} done, {len(trained) - done} to do", file=sys.stderr)


def _tables(
    runs: Sequence[Run], turns: Sequence[str], known: Sequence[str], task: Task, protocol: str, selection: str, against: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(comparison, scores) of the finished runs, from their kept predictions alone."""
    tested, scores = [], []
    for run in runs:
        predictions = predicted(run, PROTOCOL, selection=selection)
        objective = str(run.options["experiment"]["objective"]["name"])
        frame = score(predictions, run, selection=selection)
        unseen = predictions.attrs["unseen"]
        frame = frame[frame["rate"].notna()].assign(protocol=protocol, objective=objective, unseen=frame["domain"].isin(unseen))
        scores.append(frame[SCORES])
        for domain in unseen:
            rows, floor = predictions[predictions["domain"] == domain], predictions.attrs["floor"][domain]
            target = domain if protocol == "lodo" else f"{run.experiment.domains.sources[0]}->{domain}"
            prediction, label = (rows[name].to_numpy(float) for name in ("prediction", "label"))
            tested.append(Trial(run.model_name, objective, run.experiment.seed, target, domain, prediction, label, floor))
    targets = list(turns) if protocol == "lodo" else [f"{a}->{b}" for a, b in permutations(known, 2) if a in turns]
    found = comparison(tested, targets, task, protocol, against=against)
    return found, pd.concat(scores, ignore_index=True) if scores else pd.DataFrame(columns=SCORES)
