"""How is any model trained? One loop; what differs lives in `Output.losses` and in the objective."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from msaviz.catalog import OBJECTIVES
from msaviz.data.load import Dataset, load
from msaviz.data.missing import corrupt
from msaviz.files import write_text
from msaviz.locks import locked
from msaviz.nn.parallel import sharing
from msaviz.terminal import visible
from msaviz.training.checkpoint import CHECKPOINT, DONE, finished, read_checkpoint, resuming, write_checkpoint
from msaviz.training.components import with_fewer
from msaviz.training.distil import lessons_of
from msaviz.training.experiment import Experiment
from msaviz.training.finite import check_gradients, check_loss, check_weights
from msaviz.training.learnt import epoch_order, learnable, training_split
from msaviz.training.modulation import modulation_of
from msaviz.training.optimization import choose_device, make_optimizer, total_steps
from msaviz.training.parallel import average_gradients, draw_apart, join_processes, leave_processes, mean_over_processes, share_of
from msaviz.training.run import Run
from msaviz.training.system import System, build
from msaviz.training.validation import COMPLETE, Validator, score_of
from msaviz.training.written import write_history, write_predictions, write_weights
from msaviz.types import Batch, Output


def train(experiment: Experiment, out: str | Path | None = None, *, resume: bool = False, progress: bool = True) -> Run:
    """Train and return the run. A finished run is returned as it is; a broken one goes on with `resume=True`.

    Every epoch ends with a checkpoint, so that a killed run resumes to the numbers of an uninterrupted one.

    Under `torchrun` the processes share every batch (`train.batch` is the whole one) and the result is that of one process, to rounding:
    every objective's terms, and all of `msaviz.nn.penalties`, are those of the whole batch. The exceptions: losses that a model makes in
    another way are the mean over the processes of what each makes of its own rows (none where these are as many); mixup finds partners
    in a process's own rows; dropout and noisy routers draw random numbers of their own in each. Resumed with as many processes, a run
    gives the numbers of an uninterrupted one. Process 0 alone writes; all must see the folder.
    """
    rank, world = join_processes()
    if experiment.train.threads:
        torch.set_num_threads(experiment.train.threads)
    dataset = learnable(load(experiment.data), experiment)
    path = Path(out) if out is not None else Path("runs") / f"{experiment.model_name}-{Path(dataset.name).stem}-{experiment.seed}"
    if finished(path):
        run = Run.same(path, experiment)
    else:
        with locked(path, "training") if rank == 0 else nullcontext():
            if (path / CHECKPOINT).exists() and not resume:
                raise ValueError(f"{path} holds an unfinished run; add --resume to go on with it, or delete it")
            run = Run.create(path, experiment, dataset)
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

    def __init__(self, experiment: Experiment, dataset: Dataset, run: Run | None = None, rank: int = 0, world: int = 1):
        """`run` is the folder that everything is written to; None: nothing is written (a search keeps what it needs itself)."""
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
        self.lessons = lessons_of(experiment, dataset.spec, self._sample, self.device)
        self.candidates = self._candidates()
        self.validator = Validator(experiment, dataset, self.device)
        self.average = copy.deepcopy(self.system).eval().requires_grad_(False) if self.options.ema else None
        beside = [p for name, part in self._learning.items() if name for p in part.parameters()]
        self.optimizer, self.schedule = make_optimizer(self.system, self.options, len(self.learnt), beside)
        self.total = total_steps(self.options, len(self.learnt))
        self.best_state: dict[str, torch.Tensor] = {}
        self.state = Progress()
        self.modulation = modulation_of(experiment, self.system, dataset.spec)
        self.seen: list[tuple[Batch, Output]] = []
        if hasattr(self.system.model, "remember") or self.lessons is not None:
            self.system.register_forward_hook(self._note)

    @property
    def _learning(self) -> dict[str, nn.Module]:
        """All that is trained, by name; the system's own parts stand for themselves."""
        parts = {"": self.system, "objective": self.objective, "lessons": self.lessons}
        return {name: part for name, part in parts.items() if part is not None}

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

    def fit(self, progress: bool, go_on: Callable[[int, float], bool] | None = None) -> None:
        """Train to the end, or until `go_on(epoch from 1, best score so far)` says no; then leave everything in the run's folder."""
        o, state = self.options, self.state
        name = self.run.name if self.run is not None else "training"
        with tqdm(total=o.epochs, initial=state.epoch, desc=visible(name), unit="epoch", disable=not progress, leave=False) as bar:
            while state.epoch < o.epochs and state.epoch - max(state.best_epoch, self.candidates - 1) <= o.patience:
                self._train_epoch()
                score = self._validate()
                if score < state.best and state.epoch >= self.candidates:
                    state.best, state.best_epoch = score, state.epoch
                    self.best_state = {k: v.detach().cpu().clone() for k, v in self.kept.state_dict().items()}
                state.epoch += 1
                if self.run is not None and self.rank == 0:
                    self._keep_snapshot(self.run)
                    self.save(self.run)
                bar.update()
                bar.set_postfix_str(f"validation {score:.3f}, best {state.best:.3f} in epoch {state.best_epoch + 1}")
                if go_on is not None and not go_on(state.epoch, state.best):
                    break
        if self.run is not None and self.rank == 0:
            self.finish(self.run)

    @property
    def kept(self) -> System:
        """The weights that are validated and kept: the moving average if there is one."""
        return self.average or self.system

    def _note(self, system: nn.Module, read: tuple[Batch, ...], output: Output) -> None:
        """Keep what the model made of a training batch until its step is done."""
        if system.training:
            self.seen.append((read[0], output))

    def _remember(self, batch: Batch, output: Output) -> None:
        """Tell the model what it made of a batch, if it wants to know."""
        if hasattr(self.system.model, "remember"):
            self.system.model.remember(batch, output.map(torch.Tensor.detach))  # type: ignore[operator]

    def _train_batches(self) -> Iterator[tuple[Batch, int]]:
        """(this process's part of a corrupted batch, the examples of the whole batch) over the epoch."""
        e, split, epoch, views = self.experiment, self.learnt, self.state.epoch, self.options.views
        told, rate = {"seed": e.seed, "unknown": self.dataset.unknown}, e.components.modality_dropout
        for batch_rows in epoch_order(split, e, epoch):
            loaded, places = share_of(len(batch_rows), views, self.rank, self.world)
            part, draws = split.batch(batch_rows[loaded]), range(epoch * views, (epoch + 1) * views)
            batch = Batch.join([with_fewer(corrupt(part, e.missing, epoch=draw, **told), rate, seed=e.seed, epoch=draw) for draw in draws])
            if len(places) < len(batch):
                batch = batch.map(lambda tensor, places=places: tensor[places])
            if self.device.type == "cuda":
                batch = batch.map(torch.Tensor.pin_memory)  # or the copy to the GPU would wait for what it computes
            yield batch, len(batch_rows) * views

    def _train_epoch(self) -> None:
        o, sums, rows, waiting = self.options, {}, 0, 0
        draw_apart(self.experiment.seed, self.rank, self.state.epoch)
        self.system.train()
        self.objective.train()
        begin = getattr(self.system.model, "begin", None)
        if begin is not None:
            begin(self.state.epoch / o.epochs)
        for batch, whole in self._train_batches():
            half = torch.autocast(self.device.type, torch.bfloat16, enabled=o.precision == "bfloat16")
            with half, sharing(whole > len(batch)):
                terms = self._terms(batch.to(self.device))
            loss = torch.stack(list(terms.values())).sum()
            loss.backward()
            waiting += 1
            found = torch.stack([*terms.values(), loss]).tolist()  # one wait for the device, not one a term
            check_loss(dict(zip((*terms, "total"), found, strict=True)), self.state.epoch + 1)
            for name, value in zip((*terms, "total"), found, strict=True):
                sums[name] = sums.get(name, 0.0) + value * whole
            rows += whole
            while self.seen:
                self._remember(*self.seen.pop())
            if waiting == o.accumulate:
                self._step(waiting)
                waiting = 0
        if waiting:
            self._step(waiting)  # the tail steps too
        check_weights(self._learning, self.state.epoch + 1)
        self._log("train", {f"loss/{name}": value / rows for name, value in mean_over_processes(sums, self.world).items()})

    def _terms(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The weighted terms of the loss: those of the objective, and of a teacher if there is one."""
        if self.modulation is not None:
            batch = self.modulation.held_back(batch, self.state.epoch)
        terms = self.objective(self.system, batch, min(1.0, self.state.step / self.total))
        return terms if self.lessons is None else {**terms, **self.lessons(*self.seen[-1])}

    def _step(self, accumulated: int) -> None:
        parameters = average_gradients([p for part in self._learning.values() for p in part.parameters()], accumulated, self.world)
        check_gradients(nn.utils.clip_grad_norm_(parameters, self.options.clip), self._learning, self.state.epoch + 1)
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
        """Log the metrics of the validation split under every condition; return the score (lower is better)."""
        by_domain = self.experiment.domains.active
        scores = []
        for name, missingness in self.validator.conditions.items():
            found = self.validator.measure(self.kept, "valid", missingness, by_domain=by_domain)
            for domain, values in found.items():
                # another head ("emotion/accuracy") is measured on complete input only, so its name tells no condition
                self._log("valid", {m if "/" in m else f"{m}@{name}": value for m, value in values.items()}, domain)
            scores += [score_of(values) for domain, values in found.items() if (domain != "all") == by_domain]
        score = float(np.mean(scores))
        self._log("valid", {"score": score})
        if self.options.log_test and "test" in self.dataset.splits:
            for domain, values in self.validator.measure(self.kept, "test", COMPLETE, by_domain=by_domain).items():
                self._log("test", values, domain)
        return score

    def _log(self, split: str, values: dict[str, float], domain: str = "all") -> None:
        shared = {"step": self.state.step, "epoch": self.state.epoch, "split": split, "domain": domain}
        self.state.history += [{**shared, "metric": name, "value": float(value)} for name, value in values.items()]

    # -- what is on disk ------------------------------------------------------------------------------------------

    def save(self, run: Run) -> None:
        """History first, then the checkpoint that vouches for it; each whole or absent."""
        write_history(run, self.state.history)
        parts = {name: part.state_dict() for name, part in self._stateful().items()}
        write_checkpoint(run.path / CHECKPOINT, {**parts, "best": self.best_state, "state": vars(self.state)})

    def _keep_snapshot(self, run: Run) -> None:
        """Keep this epoch's weights if it is one of the evenly spread `snapshots`."""
        o = self.options
        if self.state.epoch in np.linspace(1, o.epochs, o.snapshots).round() if o.snapshots else ():
            write_weights(run.snapshot(self.state.epoch), self.kept.state_dict())

    def restore(self) -> None:
        """Go on from the last finished epoch, if there is one."""
        saved = read_checkpoint(self.run.path / CHECKPOINT, self.device, self._stateful()) if self.run is not None else None
        if saved is None or self.run is None:
            return
        with resuming(self.run.path / CHECKPOINT):
            self.best_state = {k: v.cpu() for k, v in saved["best"].items()}
            self.state = Progress(**saved["state"])

    def _stateful(self) -> dict[str, Any]:
        parts = {"system": self.system, "objective": self.objective, "optimizer": self.optimizer, "schedule": self.schedule}
        extra = {"average": self.average, "lessons": self.lessons}
        return parts | {name: part for name, part in extra.items() if part is not None}

    def finish(self, run: Run) -> None:
        """Write the chosen weights and their predictions, drop the checkpoint, say done."""
        if not self.best_state:
            raise FloatingPointError("validation gave no finite number in any epoch that may be chosen; lower train.lr or train.clip")
        self.kept.load_state_dict(self.best_state)
        write_weights(run.path / "weights.safetensors", self.best_state)
        write_predictions(run, self.validator, self.kept)
        write_history(run, self.state.history)
        write_text(run.path / DONE, f"best epoch {self.state.best_epoch + 1}, validation {self.state.best:.6f}\n")
        finished(run.path)
