"""What is left of a training: a folder that repeats it, explains it and gives the model back."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from msaviz.data.domains import hold_out
from msaviz.data.header import spec_of
from msaviz.data.load import Dataset, load
from msaviz.data.missing import Corruption, Nothing, corrupt
from msaviz.files import write_json
from msaviz.interpret.attribution import Attribution, attribute
from msaviz.interpret.trace import Trace, observe
from msaviz.options import override, paths, validated
from msaviz.reading import read_json, reading
from msaviz.training.experiment import Experiment
from msaviz.training.frames import read_frame, read_lines
from msaviz.training.system import build
from msaviz.training.weights import AGAIN, Measured, fill, read_weights
from msaviz.types import Batch, Spec

RECORDED = ("msaviz", "torch", "numpy", "pandas", "transformers", "scikit-learn", "safetensors", "pydantic")
KINDS = {"step": int, "epoch": int, "split": str, "domain": str, "metric": str, "value": float}
HISTORY = list(KINDS)
PREDICTED = ("split", "example", "label", "prediction")
NUMBER = re.compile(r"[0-9]{1,9}")


@lru_cache(maxsize=2)
def _whole(source: str) -> Dataset:
    return load(source)


@lru_cache(maxsize=4)
def _dataset(source: str, sources: tuple[str, ...], targets: tuple[str, ...]) -> Dataset:
    return hold_out(_whole(source), sources, targets)


@dataclass(frozen=True)
class Run:
    """A run folder. Everything is read from disk when asked for; nothing here changes the folder but `create`.

    It may come from others: no number in it is believed before it is compared with what is there, and its data, wherever the
    options say that they lie, are opened only by what asks for them (`dataset` and all that reads batches).
    """

    path: Path

    @classmethod
    def open(cls, path: str | Path | Run) -> Run:
        if isinstance(path, Run):
            return path
        if not (Path(path) / "options.json").is_file():
            raise FileNotFoundError(
                f"{path} is not a run: it has no options.json (a run is made by `msaviz train MODEL --data SOURCE --out RUN`)"
            )
        return cls(Path(path))

    @classmethod
    def create(cls, path: str | Path, experiment: Experiment, dataset: Dataset) -> Run:
        """Write options.json and environment.json; refuses a folder that holds another experiment, or one begun with other data."""
        run = cls(Path(path))
        options = {
            "experiment": experiment.model_dump(mode="json"),
            "data": {"name": dataset.name, "fingerprint": dataset.fingerprint, "traps": list(dataset.traps)},
            "spec": asdict(dataset.spec),
        }
        begun = (run.path / "options.json").exists()
        if begun and cls.same(path, experiment).fingerprint != dataset.fingerprint and (run.path / "checkpoint").exists():
            raise ValueError(run._changed(dataset))
        write_json(run.path / "options.json", options)
        write_json(run.path / "environment.json", environment())
        return cls(run.path)

    @classmethod
    def same(cls, path: str | Path, experiment: Experiment) -> Run:
        """The run at `path`; ValueError if it is one of another experiment."""
        run = cls.open(path)
        if run.experiment != experiment:
            raise ValueError(
                f"{path} already holds another experiment ({_difference(run.experiment, experiment)}); choose another --out or delete it"
            )
        return run

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def done(self) -> bool:
        return (self.path / "done").exists()

    @cached_property
    def options(self) -> dict[str, Any]:
        found, file = read_json(self.path / "options.json"), self.path / "options.json"
        if wrong := [key for key in ("experiment", "data", "spec") if not isinstance(found.get(key), dict)]:
            raise ValueError(f"{file}: expected an object under {wrong[0]!r}; {AGAIN}")
        if wrong := [key for key in ("name", "fingerprint") if not isinstance(found["data"].get(key), str)]:
            raise ValueError(f"{file}: expected a text under 'data.{wrong[0]}'; {AGAIN}")
        return found

    @cached_property
    def experiment(self) -> Experiment:
        with reading(self.path / "options.json"):
            return validated(Experiment, self.options["experiment"])

    @property
    def model_name(self) -> str:
        with reading(self.path / "options.json", AGAIN):
            return str(self.options["experiment"]["model"]["name"])

    @cached_property
    def environment(self) -> dict[str, Any]:
        return read_json(self.path / "environment.json")

    @cached_property
    def spec(self) -> Spec:
        with reading(self.path / "options.json", AGAIN):
            return spec_of(self.options["spec"])

    @cached_property
    def dataset(self) -> Dataset:
        """The data of the run; raises ValueError if they changed since."""
        domains = self.experiment.domains
        dataset = _dataset(self.experiment.data, domains.sources, domains.targets)
        if dataset.fingerprint != self.fingerprint:
            raise ValueError(self._changed(dataset))
        return dataset

    @property
    def fingerprint(self) -> str:
        """That of the data when the run began."""
        return self.options["data"]["fingerprint"]

    def _changed(self, dataset: Dataset) -> str:
        return (
            f"{self.experiment.data} has changed since {self.path} was trained (fingerprint {dataset.fingerprint}, then "
            f"{self.fingerprint}); bring the old data back, or train anew into another folder"
        )

    def model(self, epoch: int | None = None) -> nn.Module:
        """The trained system (text encoder and model) in eval mode, on the CPU; or that of an `epoch` in `epochs`.

        Nothing is downloaded for it. FileNotFoundError where there are no weights, ValueError where they do not fit the options.
        """
        path = self.path / "weights.safetensors" if epoch is None else self.snapshot(epoch)
        if epoch is not None and not path.exists():
            kept = ", ".join(map(str, self.epochs)) or "none; train with --set train.snapshots=N"
            raise FileNotFoundError(f"{self.path} kept no weights of epoch {epoch}; it kept those of: {kept}")
        if not path.exists():
            raise FileNotFoundError(f"{self.path} has no weights yet; finish it with `msaviz train … --out {self.path} --resume`")
        spec, options = self.spec, override(self.experiment, {"text.allow_download": False})
        with torch.inference_mode(False):  # weights made in inference mode could never be differentiated through
            weights = read_weights(path)
            with reading(self.path, AGAIN), Measured(self.path, path.stat().st_size, len(weights)):
                system = build(spec, options)
            return fill(system, weights, path).eval()

    def snapshot(self, epoch: int) -> Path:
        """Where the weights of an epoch lie, if they were kept (`train.snapshots`)."""
        return self.path / "epochs" / f"{epoch:03d}.safetensors"

    @property
    def epochs(self) -> tuple[int, ...]:
        """The epochs (from 1) whose weights were kept."""
        return tuple(sorted(int(path.stem) for path in (self.path / "epochs").glob("*.safetensors") if NUMBER.fullmatch(path.stem)))

    @cached_property
    def _model(self) -> nn.Module:
        return self.model()

    def history(self) -> pd.DataFrame:
        """run, step, epoch, split, domain, metric, value: one row a number."""
        frame = read_lines(self.path / "history.jsonl", KINDS)
        frame.insert(0, "run", self.name)
        return frame

    def predictions(self, split: str = "test") -> pd.DataFrame:
        """example, split, label, prediction of the kept checkpoint on complete input."""
        frame = read_frame(self.path / "predictions.csv", PREDICTED, words=["split"], whole=["example"])
        return frame[frame["split"] == split].reset_index(drop=True)

    def batches(
        self, split: str = "test", missingness: Corruption | None = None, *, seed: int = 0, rows: Sequence[int] | np.ndarray | None = None
    ) -> list[Batch]:
        """The split in row order, corrupted by fixed masks, in batches of 128."""
        part = self.dataset.splits.get(split)
        if part is None:
            raise ValueError(f"{self.dataset.name} has no split {split!r}; it has {', '.join(self.dataset.splits)}")
        index = np.arange(len(part)) if rows is None else np.asarray(rows)
        chunks = np.array_split(index, max(1, -(-len(index) // 128)))
        return [corrupt(part.batch(c), missingness or Nothing(), seed=seed, unknown=self.dataset.unknown) for c in chunks]

    def observe(
        self,
        split: str = "test",
        *,
        missingness: Corruption | None = None,
        limit: int | None = None,
        epoch: int | None = None,
        rows: Sequence[int] | np.ndarray | None = None,
    ) -> Trace:
        """All that the model (or that of a kept `epoch`) does on a split, on these `rows` of it, or on `limit` rows spread evenly."""
        size = len(self.dataset[split])
        if rows is None and limit is not None:
            rows = np.linspace(0, size - 1, min(limit, size)).round().astype(int)
        model = self._model if epoch is None else self.model(epoch)
        return self._trace(model, self.batches(split, missingness, rows=rows), split)

    def observed(self, batch: Batch, split: str = "test") -> Trace:
        """All that the model does with a batch made from rows of a split."""
        return self._trace(self._model, [batch], split)

    def _trace(self, model: nn.Module, batches: Sequence[Batch], split: str) -> Trace:
        trace = observe(model, batches, spec=self.spec, run=self.name, split=split)
        return replace(trace, **self.dataset.behind(split, trace.examples["example"]))

    def attribute(
        self,
        split: str = "test",
        method: str = "integrated_gradients",
        *,
        baseline: str = "zero",
        limit: int | None = None,
        progress: bool = True,
        **options: Any,
    ) -> Attribution:
        """What each step, feature and modality of a split (or of `limit` rows spread over it) brought to its prediction."""
        train = self.batches("train") if baseline in ("mean", "train") else ()
        trace = self.observe(split, limit=limit)
        return attribute(trace, method, baseline=baseline, train=train, progress=progress, **options)

    def predict(self, split: str = "test", missingness: Corruption | None = None, seed: int = 0, task: str = "") -> np.ndarray:
        """Predictions of the head `task` ("": the main one), Float[n] or class logits Float[n c], in row order.

        Raises ValueError naming the heads that the model has.
        """
        with torch.inference_mode():
            found = [self._model(b).predictions for b in self.batches(split, missingness, seed=seed)]
        name = task or self.spec.target
        if name not in found[0]:
            raise ValueError(f"{self.path}: {self.model_name} has no head {name!r}; it predicts {', '.join(found[0])}")
        return torch.cat([heads[name] for heads in found]).float().numpy()


def environment() -> dict[str, Any]:
    """What the numbers depend on besides the options (a closed list: nothing personal, no paths)."""
    packages = {}
    for name in RECORDED:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = None
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "packages": packages,
    }


def _difference(a: Experiment, b: Experiment) -> str:
    one, two = paths(a), paths(b)
    changed = [f"{k}: {one.get(k)} there, {two.get(k)} asked" for k in sorted({*one, *two}) if one.get(k) != two.get(k)]
    return "; ".join(changed[:5])
