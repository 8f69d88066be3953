"""How is any model trained? One loop; what differs lives in `Output.losses` and in the objective."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import nn
from tqdm.auto import tqdm

from msaviz.catalog import OBJECTIVES
from msaviz.data.domains import hold_out
from msaviz.data.load import Dataset, load
from msaviz.data.missing import RandomFrames, WholeModality, corrupt
from msaviz.files import atomic, write_text
from msaviz.training.checkpoint import read_checkpoint, write_checkpoint
from msaviz.training.experiment import Experiment
from msaviz.training.learnt import epoch_order, training_split
from msaviz.training.metrics import metrics
from msaviz.training.optimization import choose_device, join_processes, leave_processes, make_optimizer, total_steps
from msaviz.training.run import HISTORY, Run
from msaviz.training.system import System, build
from msaviz.types import Batch, Output


def train(experiment: Experiment, out: str | Path | None = None, *, resume: bool = False, progress: bool = True) -> Run:
    """Train and return the run. A finished run is returned as it is; a broken one goes on with `resume=True`.

    Every epoch ends with a checkpoint, so that a killed run resumes to the numbers of an uninterrupted one.
    """
    rank, world = join_processes()
    if experiment.train.threads:
        torch.set_num_threads(experiment.train.threads)
    dataset = hold_out(load(experiment.data), experiment.domains.sources, experiment.domains.targets)
    for split in ("train", "valid"):
        if split not in dataset.splits or not len(dataset.splits[split]):
            raise ValueError(f"{dataset.name} has no {split!r} split to train with; it has {', '.join(dataset.splits)}")
    path = Path(out) if out is not None else Path("runs") / f"{experiment.model_name}-{Path(dataset.name).stem}-{experiment.seed}"
    if (path / "checkpoint").exists() and not resume and not (path / "done").exists():
        raise ValueError(f"{path} holds an unfinished run; add --resume to go on with it, or delete it")
    run = Run.create(path, experiment, dataset)
    if not run.done:
        trainer = Trainer(experiment, dataset, run, rank, world)
        if resume:
            trainer.restore()
        trainer.fit(progress=progress and rank == 0)
    leave_processes(world)
    return run


@dataclass
class Progress:
    """What changes while training (beside weights, optimiser and generators)."""

    epoch: int = 0
    step: int = 0
    best: float = math.inf
    best_epoch: int = -1
    history: list[dict[str, Any]] = field(default_factory=list)


class Trainer:
    """The loop and its state."""

    def __init__(self, experiment: Experiment, dataset: Dataset, run: Run, rank: int = 0, world: int = 1):
        self.experiment, self.options, self.dataset, self.run = experiment, experiment.train, dataset, run
        self.rank, self.world = rank, world
        torch.manual_seed(experiment.seed)
        self.device = choose_device(self.options.device, rank)
        self.system = build(dataset.spec, experiment).to(self.device)
        self.learnt, names = training_split(dataset, experiment)
        prepare = getattr(self.system.model, "prepare", None)
        if prepare is not None:
            prepare(self._whole_train())
        kind = OBJECTIVES[OBJECTIVES.name_of(type(experiment.objective))]
        self.objective = kind(replace(dataset.spec, domains=names), experiment.objective)
        self.objective.prepare(self._sample)
        self.objective.to(self.device)
        self.candidates = self._candidates()
        self.average = copy.deepcopy(self.system).eval().requires_grad_(False) if self.options.ema else None
        self.optimizer, self.schedule = make_optimizer(self.system, self.options, len(self.learnt), list(self.objective.parameters()))
        self.total = total_steps(self.options, len(self.learnt))
        self.best_state: dict[str, torch.Tensor] = {}
        self.state = Progress()

    def _whole_train(self) -> Iterator[Batch]:
        """The train split, complete, as the model reads it: token ids are vectors already."""
        with torch.no_grad():
            for batch in self.learnt.batches(128):
                yield self.system.eval().front(batch.to(self.device), folder=self.system.cache)

    @torch.no_grad()
    def _sample(self) -> Output:
        """What the untrained system makes of one row."""
        return self.system.eval()(self.learnt.batch(np.arange(1)).to(self.device))

    def _candidates(self) -> int:
        """The first epoch (from 0) that may be chosen: all loss terms count from its start. Before, nothing was given up for them yet."""
        starts = [self.objective.restart or 0.0, *self._sample().starts.values()]
        return min(math.ceil(max(starts) * self.options.epochs), self.options.epochs - 1)

    def fit(self, progress: bool) -> None:
        o, state = self.options, self.state
        bar = tqdm(total=o.epochs, initial=state.epoch, desc=self.run.name, unit="epoch", disable=not progress, leave=False)
        with bar:
            while state.epoch < o.epochs and state.epoch - max(state.best_epoch, self.candidates - 1) <= o.patience:
                self._train_epoch()
                score = self._validate()
                if score < state.best and state.epoch >= self.candidates:
                    state.best, state.best_epoch = score, state.epoch
                    self.best_state = {k: v.detach().cpu().clone() for k, v in self.kept.state_dict().items()}
                state.epoch += 1
                if self.rank == 0:
                    self._keep_snapshot()
                    self.save()
                bar.update()
                bar.set_postfix_str(f"validation {score:.3f}, best {state.best:.3f} in epoch {state.best_epoch + 1}")
        if self.rank == 0:
            self.finish()

    @property
    def kept(self) -> System:
        """The weights that are validated and kept: the moving average if there is one."""
        return self.average or self.system

    def _train_batches(self) -> Iterator[Batch]:
        """The epoch's corrupted batches; with several processes each takes every world-th row of each batch."""
        e, split, epoch = self.experiment, self.learnt, self.state.epoch
        for batch_rows in epoch_order(split, e, epoch):
            rows = batch_rows[self.rank :: self.world] if len(batch_rows) >= self.world else batch_rows
            whole, views = split.batch(rows), self.options.views
            draws = range(epoch * views, (epoch + 1) * views)
            yield Batch.join([corrupt(whole, e.missing, seed=e.seed, epoch=draw, unknown=self.dataset.unknown) for draw in draws])

    def _train_epoch(self) -> None:
        o, sums, rows, waiting = self.options, {}, 0, 0
        self.system.train()
        self.objective.train()
        begin = getattr(self.system.model, "begin", None)
        if begin is not None:
            begin(self.state.epoch / o.epochs)
        for batch in self._train_batches():
            with torch.autocast(self.device.type, torch.bfloat16, enabled=o.precision == "bfloat16"):
                batch = batch.to(self.device)
                terms = self.objective(self.system, batch, min(1.0, self.state.step / self.total))
            loss = torch.stack(list(terms.values())).sum()
            if not torch.isfinite(loss):
                bad = [name for name, value in terms.items() if not torch.isfinite(value)]
                raise FloatingPointError(
                    f"loss is not finite in epoch {self.state.epoch + 1} (terms: {', '.join(bad)}); lower train.lr or train.clip"
                )
            loss.backward()
            waiting += 1
            for name, value in {**terms, "total": loss}.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach()) * len(batch)
            rows += len(batch)
            if waiting == o.accumulate:
                self._step(waiting)
                waiting = 0
        if waiting:
            self._step(waiting)  # the tail steps too
        self._log("train", {f"loss/{name}": value / rows for name, value in sums.items()})

    def _step(self, accumulated: int) -> None:
        parameters = [p for part in (self.system, self.objective) for p in part.parameters() if p.grad is not None]
        for p in parameters:
            p.grad.div_(accumulated)  # type: ignore[union-attr]
            if self.world > 1:
                dist.all_reduce(p.grad)
                p.grad.div_(self.world)  # type: ignore[union-attr]
        nn.utils.clip_grad_norm_(parameters, self.options.clip)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.state.step += 1
        restart = self.objective.restart
        if restart is not None and (self.state.step - 1) / self.total < restart <= self.state.step / self.total:
            self.optimizer.state.clear()
        if self.average is not None:
            decay = min(self.options.ema, (1 + self.state.step) / (10 + self.state.step))
            with torch.no_grad():
                for mean, now in zip(self.average.parameters(), self.system.parameters(), strict=True):
                    mean.lerp_(now, 1 - decay)

    def _validate(self) -> float:
        """Log the metrics of the validation split at fixed masks; return the score (lower is better)."""
        by_domain = self.experiment.domains.active
        scores = []
        for rate in self.options.validation_rates:
            found = self.measure("valid", rate, by_domain=by_domain)
            for domain, values in found.items():
                self._log("valid", {f"{name}@{rate:g}": value for name, value in values.items()}, domain)
            scores += [_score(values) for domain, values in found.items() if (domain != "all") == by_domain]
        score = float(np.mean(scores))
        self._log("valid", {"score": score})
        if self.options.log_test and "test" in self.dataset.splits:
            for domain, values in self.measure("test", 0.0, by_domain=by_domain).items():
                self._log("test", values, domain)
        return score

    @torch.inference_mode()
    def predict(self, split: str, rate: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(example, label, prediction) of the kept weights at one missing rate."""
        self.kept.eval()
        missing = WholeModality if getattr(self.experiment.missing, "inter_modal", False) else RandomFrames
        part, found = self.dataset.splits[split], []
        for batch in part.batches(128, bucket=True):
            batch = corrupt(batch, missing(rate=rate), seed=0, unknown=self.dataset.unknown)
            prediction = self.kept(batch.to(self.device)).prediction.float().cpu()
            found.append((batch.example, batch.y, prediction))
        example, label, prediction = (torch.cat(x).numpy() for x in zip(*found, strict=True))
        order = np.argsort(example)
        return example[order], label[order], prediction[order]

    def measure(self, split: str, rate: float, *, by_domain: bool = False) -> dict[str, dict[str, float]]:
        """Metrics of the kept weights over "all" rows, and over those of each domain that the split holds."""
        example, label, prediction = self.predict(split, rate)
        task, spec = self.dataset.spec.task, self.dataset.spec
        found = {"all": metrics(prediction, label, task)}
        codes = np.asarray(self.dataset.splits[split].domain)[example]
        for code in np.unique(codes) if by_domain else ():
            found[spec.domains[code]] = metrics(prediction[codes == code], label[codes == code], task)
        return found

    def _log(self, split: str, values: dict[str, float], domain: str = "all") -> None:
        shared = {"step": self.state.step, "epoch": self.state.epoch, "split": split, "domain": domain}
        self.state.history += [{**shared, "metric": name, "value": float(value)} for name, value in values.items()]

    # -- what is on disk ------------------------------------------------------------------------------------------

    def save(self) -> None:
        """History first, then the checkpoint that vouches for it; each whole or absent."""
        self._write_history()
        parts = {name: part.state_dict() for name, part in self._stateful().items()}
        write_checkpoint(self.run.path / "checkpoint", {**parts, "best": self.best_state, "state": vars(self.state)})

    def _keep_snapshot(self) -> None:
        """Keep this epoch's weights if it is one of the evenly spread `snapshots`."""
        o = self.options
        if self.state.epoch in np.linspace(1, o.epochs, o.snapshots).round() if o.snapshots else ():
            self._write_weights(self.run.snapshot(self.state.epoch), self.kept.state_dict())

    def _write_weights(self, path: Path, weights: dict[str, torch.Tensor]) -> None:
        with atomic(path) as temporary:
            save_file({k: v.detach().cpu().contiguous() for k, v in weights.items()}, temporary)

    def restore(self) -> None:
        """Go on from the last finished epoch, if there is one."""
        saved = read_checkpoint(self.run.path / "checkpoint", self.device)
        if saved is None:
            return
        for name, part in self._stateful().items():
            part.load_state_dict(saved[name])
        self.best_state = {k: v.cpu() for k, v in saved["best"].items()}
        self.state = Progress(**saved["state"])

    def _stateful(self) -> dict[str, Any]:
        parts = {"system": self.system, "objective": self.objective, "optimizer": self.optimizer, "schedule": self.schedule}
        return parts | ({"average": self.average} if self.average is not None else {})

    def _write_history(self) -> None:
        frame = pd.DataFrame(self.state.history, columns=HISTORY)
        write_text(self.run.path / "history.jsonl", frame.to_json(orient="records", lines=True, double_precision=15))

    def finish(self) -> None:
        """Write the chosen weights and their predictions, drop the checkpoint, say done."""
        if not self.best_state:
            raise FloatingPointError("validation gave no finite number in any epoch that may be chosen; lower train.lr or train.clip")
        self.kept.load_state_dict(self.best_state)
        self._write_weights(self.run.path / "weights.safetensors", self.best_state)
        frames = []
        for split in [s for s in ("valid", "test") if s in self.dataset.splits]:
            example, label, prediction = self.predict(split, 0.0)
            shown = prediction.argmax(-1) if prediction.ndim > 1 else prediction
            frames.append(pd.DataFrame({"split": split, "example": example, "label": label, "prediction": shown}))
        write_text(self.run.path / "predictions.csv", pd.concat(frames).to_csv(index=False))
        self._write_history()
        write_text(self.run.path / "done", f"best epoch {self.state.best_epoch + 1}, validation {self.state.best:.6f}\n")
        (self.run.path / "checkpoint").unlink(missing_ok=True)


def _score(values: dict[str, float]) -> float:
    """What validation makes small: MAE, or 1 - weighted F1 of classes."""
    return values["mae"] if "mae" in values else 1 - values["weighted_f1"]
