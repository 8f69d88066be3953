"""What is left of a search: a folder that repeats it, goes on with it, and tells who was tried and who won?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from pydantic import Field, field_validator

from msaviz.files import write_text
from msaviz.interpret.domain_comparison import COLUMNS
from msaviz.interpret.evolution import GENES, TRIALS, Evolution
from msaviz.options import Options, paths, validated
from msaviz.reading import read_json, reading
from msaviz.search.genome import Genome, is_number
from msaviz.search.proxy import OBJECTIVES
from msaviz.search.sampler import DEFAULT, LINEAGE, SAMPLERS, TURN
from msaviz.search.storage import JOURNAL, NotBegun, open_storage, open_study
from msaviz.training.experiment import Experiment
from msaviz.training.frames import AGAIN, read_frame
from msaviz.training.run import Run

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial

MEASURED, COPY_OF, MESSAGE, KEY, CURVE = "measured", "copy_of", "message", "key", "curve"
"""What a trial's attributes are called in the storage, beside those of `sampler`."""
STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running"}
MEASURES = ("error", "parameters", "seconds", "inherited", "epochs")
WORDS = ("arm", "state", "crossed", "mutated", "gene", "value")
WHOLE = ("trial", "generation", "parent", "other", "copy_of")
TOLD = ("model", "objective", "protocol", "target", "metric", "against")
"""Columns of trials and genes that hold text, or whole numbers, and those of the results that hold text."""


class Settings(Options):
    """All that decides what a search finds: the same on every machine that takes part."""

    experiment: Experiment
    modalities: tuple[str, ...]
    data: str
    """The data's fingerprint."""
    trials: int = Field(default=40, ge=1)
    sampler: str = "nsga2"
    objectives: tuple[str, ...] = Field(default=("mae", "params"), min_length=1)
    controls: bool = True
    genes: tuple[str, ...] = Field(default=("model", "train.lr"), min_length=1)
    population: int = Field(default=10, ge=2)
    epochs: int = Field(default=6, ge=1)
    seeds: int = Field(default=5, ge=1)
    finalists: int = Field(default=3, ge=1)
    inherit: bool = True
    prune: bool = True

    @field_validator("sampler")
    @classmethod
    def _sampler(cls, name: str) -> str:
        if name not in SAMPLERS or name == DEFAULT:
            raise ValueError(f"no sampler is called {name!r}; these exist: {', '.join(s for s in SAMPLERS if s != DEFAULT)}")
        return name

    @field_validator("objectives")
    @classmethod
    def _objectives(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if strange := [name for name in names if name not in OBJECTIVES]:
            raise ValueError(f"nothing to make small is called {strange[0]!r}; these exist: {', '.join(OBJECTIVES)}")
        return names

    @property
    def arms(self) -> tuple[str, ...]:
        """The chosen sampler, then its controls."""
        return tuple(dict.fromkeys([self.sampler, *(["random", DEFAULT] if self.controls else [])]))

    @cached_property
    def genome(self) -> Genome:
        return Genome(self.experiment, self.modalities, self.genes)


@dataclass(frozen=True)
class Search:
    """A search's folder. Everything is read when asked for, so that it may be looked at while it goes on.

    It may come from others, so a database or a server that its search.json names is asked only where `connect` says so (as whoever runs
    the search does); else what its files tell is all.
    """

    path: Path
    connect: bool = False

    @classmethod
    def open(cls, path: str | Path | Search, *, connect: bool = False) -> Search:
        if isinstance(path, Search):
            return path
        if not (Path(path) / "search.json").is_file():
            raise FileNotFoundError(f"{path} is no search: it has no search.json (`msaviz search MODEL --data SOURCE --out DIR` makes one)")
        return cls(Path(path), connect)

    @property
    def name(self) -> str:
        """What the folder was called when the search began: its studies are named after that."""
        return self.about["name"]

    @cached_property
    def about(self) -> dict[str, Any]:
        """search.json: `name`, `storage` and `settings`."""
        found, file = read_json(self.path / "search.json"), self.path / "search.json"
        for key, kind in (("name", str), ("storage", str), ("settings", dict)):
            if not isinstance(found.get(key), kind):
                raise ValueError(f"{file}: expected {'an object' if kind is dict else 'a text'} under {key!r}; {AGAIN}")
        return found

    @cached_property
    def settings(self) -> Settings:
        with reading(self.path / "search.json", AGAIN):
            return validated(Settings, self.about["settings"])

    @property
    def arms(self) -> tuple[str, ...]:
        return self.settings.arms

    @cached_property
    def _storage(self) -> BaseStorage:
        storage = self.about["storage"]
        if storage and not self.connect:
            trust = "if you trust that place, Search.open(path, connect=True) asks it"
            raise ValueError(f"{self.path} keeps its trials at {storage!r}; {trust}")
        return open_storage(storage, self.path)

    def study(self, arm: str) -> Study:
        """Optuna's study of an arm, for `optuna.visualization` and the like."""
        if arm not in self.arms:
            raise KeyError(f"no arm is called {arm!r}; these exist: {', '.join(self.arms)}")
        return open_study(self._storage, f"{self.name}-{arm}", len(self.settings.objectives), make=self.connect)

    @property
    def evolution(self) -> Evolution:
        """Who was tried, as it is in the storage; as it was last written, where the storage is away or damaged, or not to be asked."""
        away = not self.connect if self.about["storage"] else not (self.path / JOURNAL).exists()
        if away and (self.path / "trials.csv").exists():
            return self._written()
        try:
            with reading(self.path, AGAIN):
                records = {arm: self._record(arm) for arm in self.arms}
                trials = [row(arm, trial) for arm, record in records.items() for trial in record]
                genes = [line for arm, record in records.items() for trial in record for line in gene_rows(arm, trial)]
        except ValueError:
            if not (self.path / "trials.csv").exists():
                raise
            return self._written()
        return self._evolution(pd.DataFrame(trials, columns=list(TRIALS)), pd.DataFrame(genes, columns=list(GENES)))

    def _record(self, arm: str) -> list[FrozenTrial]:
        """The arm's trials; none where the search was killed before the first, and nothing was written either."""
        try:
            return recorded(self.study(arm))
        except NotBegun:
            if (self.path / "trials.csv").exists():
                raise
            return []

    def write(self) -> None:
        """Keep the record as trials.csv and genes.csv."""
        evolution = self.evolution
        for name, frame in (("trials", evolution.trials), ("genes", evolution.genes)):
            write_text(self.path / f"{name}.csv", frame.to_csv(index=False))

    def _written(self) -> Evolution:
        trials, genes = self.path / "trials.csv", self.path / "genes.csv"
        return self._evolution(read_frame(trials, TRIALS, WORDS, WHOLE), read_frame(genes, GENES, WORDS, ["trial"]))

    def _evolution(self, trials: pd.DataFrame, genes: pd.DataFrame) -> Evolution:
        trials = trials.astype(dict.fromkeys(MEASURES, float))
        return Evolution(self.name, trials, genes.astype({"number": float}), self.settings.genome.ranges, self.settings.objectives)

    def weights(self, arm: str, turn: int) -> Path:
        """Where the weights that children begin with are kept."""
        return self.path / "weights" / f"{arm}-{turn}.safetensors"

    @property
    def _decided(self) -> dict[str, Any]:
        """winners.json: `winners` (arm -> its trial and the names of its runs) and `warnings`; empty before they are known."""
        path = self.path / "winners.json"
        if not path.exists():
            return {"winners": {}, "warnings": []}
        found = read_json(path)
        with reading(path, AGAIN):
            names = [name for winner in found["winners"].values() for name in winner["runs"]]
            if strange := [name for name in names if name in ("", ".", "..") or Path(name).name != name]:
                raise ValueError(f"{strange[0][:80]!r} is no folder of a run")
            if not all(isinstance(note, str) for note in found["warnings"]) or not all(w["runs"] for w in found["winners"].values()):
                raise ValueError("expected the names of each winner's runs, and texts under 'warnings'")
        return found

    @property
    def winners(self) -> dict[str, Experiment]:
        """Arm -> the experiment that won, with its first seed; empty before the winners are trained."""
        return {arm: self.runs(arm)[0].experiment for arm in self._decided["winners"]}

    def runs(self, arm: str) -> list[Run]:
        """The winner of an arm, trained from scratch: a run a seed."""
        winners = self._decided["winners"]
        if arm not in winners:
            raise KeyError(f"no winner of the arm {arm!r} is trained; of these there is one: {', '.join(winners) or 'none yet'}")
        return [Run.open(self.path / "runs" / name) for name in winners[arm]["runs"]]

    @property
    def results(self) -> pd.DataFrame:
        """The winners on the test split: the columns of the table `domain_comparison` (`model` is the arm, `target` the set of modalities,
        or their "mean" or "worst" over all sets), then `against`: the arm by which gains are measured."""
        return read_frame(self.path / "results.csv", (*COLUMNS, "against"), TOLD)

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(self._decided["warnings"])


def recorded(study: Study) -> list[FrozenTrial]:
    """The trials that count as tried, by turn: without those whose worker was lost, and those that were one too many."""
    kept = [t for t in study.get_trials(deepcopy=False) if TURN in t.user_attrs and (t.state.name in STATES)]
    return sorted((t for t in kept if t.state.name != "FAIL" or MESSAGE in t.user_attrs), key=lambda t: t.user_attrs[TURN])


def row(arm: str, trial: FrozenTrial) -> dict[str, Any]:
    """A row of TRIALS."""
    attrs = trial.user_attrs
    measured, lineage = attrs.get(MEASURED, {}), attrs.get(LINEAGE, {})
    numbers = {name: measured.get(name, float("nan")) for name in MEASURES}
    changed = {name: " ".join(lineage.get(name, ())) for name in ("crossed", "mutated")}
    family = {name: lineage.get(name, -1) for name in ("generation", "parent", "other")}
    told = {"arm": arm, "trial": attrs[TURN], "state": STATES[trial.state.name], "copy_of": attrs.get(COPY_OF, -1)}
    return {**told, **numbers, **changed, **family}


def gene_rows(arm: str, trial: FrozenTrial) -> list[dict[str, Any]]:
    """Rows of GENES: what was drawn (a pair of an inactive modality is drawn too, and means nothing)."""
    shared = {"arm": arm, "trial": trial.user_attrs[TURN]}
    return [{**shared, "gene": gene, "value": str(value), "number": _number(value)} for gene, value in trial.params.items()]


def _number(value: Any) -> float:
    return float(value) if is_number(value) or isinstance(value, bool) else float("nan")


MORE = ("trials", "finalists", "seeds")
"""Settings that may change: the same search goes on to more (or rests on fewer) of them."""


def difference(one: Mapping[str, Any], two: Mapping[str, Any]) -> str:
    """What makes two settings different searches, as one sentence; "" where nothing does."""
    a, b = paths(validated(Settings, one)), paths(validated(Settings, two))
    changed = [f"{key}: {a.get(key)} there, {b.get(key)} asked" for key in sorted({*a, *b} - {*MORE}) if a.get(key) != b.get(key)]
    return "; ".join(changed[:5])
