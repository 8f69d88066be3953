"""Who won, and by how much? The best of each arm are trained from scratch, in full, and tested beside the controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from msaviz.files import write_json, write_text
from msaviz.interpret.pareto_front import nondominated
from msaviz.locks import Held
from msaviz.options import override
from msaviz.search.record import COPY_OF, MEASURED, MESSAGE, Search, recorded
from msaviz.search.sampler import DEFAULT, TURN
from msaviz.training.checkpoint import finished
from msaviz.training.domains import WHOLE
from msaviz.training.experiment import Experiment
from msaviz.training.gains import Trial, comparison
from msaviz.training.jobs import in_turn, parallel
from msaviz.training.kept import predicted
from msaviz.training.loop import train
from msaviz.training.metrics import floor
from msaviz.training.run import Run

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

PROTOCOL = "subsets"
CONTROLS = (DEFAULT, "random")
Failures = dict[Path, str]


@dataclass(frozen=True)
class Finalist:
    """A genome that is trained from scratch; `folder` begins the names of its runs."""

    arm: str
    trial: int
    experiment: Experiment
    folder: str

    def job(self, path: Path, seed: int) -> tuple[Experiment, Path]:
        """(experiment, folder) of its run with the seed-th seed."""
        number = self.experiment.seed + seed
        return override(self.experiment, {"seed": number}), path / "runs" / f"{self.folder}-{number}"


def decide(search: Search, *, workers: int = 1, progress: bool = True) -> None:
    """Train the finalists with every seed, choose each arm's winner; write results.csv and winners.json. One process at a time does it."""
    from filelock import FileLock

    settings = search.settings
    with FileLock(search.path / "winners.lock"):
        chosen = finalists(search)
        jobs = {one: [one.job(search.path, seed) for seed in range(settings.seeds)] for ones in chosen.values() for one in ones}
        with tqdm(desc="winners", unit="run", disable=not progress, smoothing=0) as bar:
            failed = train_all([job for several in jobs.values() for job in several], workers, bar)
        trained = {one: [Run.open(path) for _, path in several if path not in failed] for one, several in jobs.items()}
        won = {arm: best for arm, ones in chosen.items() if (best := _best(ones, trained)) is not None}
        runs = {arm: trained[one] for arm, one in won.items()}
        frame, leaks = outcome({arm: several for arm, several in runs.items() if several}, settings.experiment.model_name, CONTROLS)
        write_text(search.path / "results.csv", frame.to_csv(index=False))
        told = {arm: {"trial": won[arm].trial, "runs": [run.name for run in several]} for arm, several in runs.items() if several}
        notes = [*_notes(search, chosen), *(f"{path.name} could not be trained: {error}" for path, error in failed.items()), *leaks]
        write_json(search.path / "winners.json", {"winners": told, "warnings": notes})


def finalists(search: Search) -> dict[str, list[Finalist]]:
    """Arm -> the best by error of its Pareto front, at most `finalists`; of "default" the default genome. Equal ones share their runs."""
    found, folders, settings = {}, {}, search.settings
    for arm in sorted(search.arms, key=lambda arm: arm != DEFAULT):
        trained = [t for t in recorded(search.study(arm)) if t.state.name == "COMPLETE" and COPY_OF not in t.user_attrs]
        front = sorted(pareto_front(trained), key=lambda t: t.user_attrs[MEASURED]["error"])
        if arm == DEFAULT:
            front = trained[:1]
        found[arm] = []
        for trial in front[: settings.finalists]:
            turn = trial.user_attrs[TURN]
            experiment = settings.experiment if arm == DEFAULT else settings.genome.decode(trial.params)
            folder = folders.setdefault(settings.genome.key(experiment), f"{arm}-{turn}")
            found[arm].append(Finalist(arm, turn, experiment, folder))
    return {arm: found[arm] for arm in search.arms}


def pareto_front(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Those that no other trial dominates."""
    if not trials:
        return []
    return list(compress(trials, nondominated(np.array([t.values for t in trials]))))


def outcome(runs: Mapping[str, Sequence[Run]], model: str, controls: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """(results, warnings): every arm's runs on the test split with every set of modalities, beside each of the `controls` that is there.

    Utterances are resampled once for all sets, since they are the same ones: else the intervals of the means were too narrow.
    """
    trials, notes, names = [], [], []
    for arm, several in runs.items():
        for run in several:
            frame, task = predicted(run, PROTOCOL), run.spec.task
            notes += frame.attrs["warnings"]
            floors = floor(run.dataset["train"].labels[run.spec.target], run.dataset["test"].labels[run.spec.target], task)
            names = list(dict.fromkeys(frame["subset"]))
            for subset, part in frame.groupby("subset", sort=False):
                # single precision: a kept frame holds the short decimals of such numbers
                prediction, label = (part[name].to_numpy(np.float32).astype(float) for name in ("prediction", "label"))
                trials.append(Trial(arm, model, run.experiment.seed, str(subset), WHOLE, prediction, label, floors))
    there = [arm for arm in controls if arm in runs] or [""]
    frames = [
        comparison(trials, names, task, PROTOCOL, against=f"{control}/{model}").assign(against=control) for control in there if trials
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(), list(dict.fromkeys(notes))


def validation_score(run: Run) -> float:
    """The validation score of the chosen epoch."""
    return float((run.path / "done").read_text(encoding="utf-8").split()[-1])


def _best(several: Sequence[Finalist], trained: Mapping[Finalist, Sequence[Run]]) -> Finalist | None:
    """The finalist that validates best after its full training, on average over the seeds: one run alone says too little."""
    scores = {one: mean(map(validation_score, trained[one])) for one in several if trained[one]}
    return min(scores, key=lambda one: scores[one], default=None)


def train_all(jobs: Sequence[tuple[Experiment, Path]], workers: int, bar: Any) -> Failures:
    """Train what is not done yet, several at a time; folder -> error, of those that could not be."""
    todo = {path: (path, experiment) for experiment, path in jobs if not finished(path)}
    bar.total = (bar.total or 0) + len(todo)
    bar.refresh()
    failed = {}
    with parallel(_run, min(workers, max(1, len(todo)))) as each:
        for path, error in in_turn(each, todo, bar.set_postfix_str):
            bar.update()
            if error:
                failed[path] = error
    return failed


def _run(job: tuple[Path, Experiment]) -> tuple[Path, str | Held]:
    """Train one run, or go on with it; (its folder, "" or what went wrong, or that it is held)."""
    import torch

    (path, experiment), threads = job, torch.get_num_threads()
    try:
        train(experiment, path, resume=True, progress=False)
    except Held as error:
        return path, error
    except (ValueError, ArithmeticError, RuntimeError, MemoryError) as error:
        return path, " ".join(f"{type(error).__name__}: {error}".split())
    finally:
        torch.set_num_threads(threads)
    return path, ""


def _notes(search: Search, chosen: Mapping[str, Sequence[Finalist]]) -> list[str]:
    """What must be said of the arms."""
    notes, settings = [], search.settings
    for arm, several in chosen.items():
        record = recorded(search.study(arm))
        trained = sum(t.state.name in ("COMPLETE", "PRUNED") and COPY_OF not in t.user_attrs for t in record)
        refused = [t.user_attrs[MESSAGE] for t in record if MESSAGE in t.user_attrs]
        if trained < settings.trials:
            reason = f"; the last failure: {refused[-1]}" if refused else ""
            notes.append(f"{arm}: stopped after {trained} of {settings.trials} trials, because all others were copies or failed{reason}")
        if not several:
            notes.append(f"{arm}: no trial was trained to the end, so it has no winner")
    return notes
