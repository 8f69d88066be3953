"""How good is one genome? A short training on the train split, judged on the validation split; the test split is never there."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from msaviz.data.dataset import Dataset
from msaviz.data.load import load
from msaviz.options import override
from msaviz.training.experiment import Experiment
from msaviz.training.learnt import learnable
from msaviz.training.loop import Trainer
from msaviz.training.validation import score_of
from msaviz.training.weights import read_weights
from msaviz.training.written import write_weights

GoOn = Callable[[int, float, int], bool]
"""(epoch from 1, best score so far, parameters) -> whether to train on."""


@dataclass(frozen=True)
class Measured:
    """What one evaluation found. `error`: the best validation score, averaged over all sets of modalities; `complete`: that of complete
    input in the same epoch; `parameters`: trainable numbers; `inherited`: the share of them that began as the parent's."""

    error: float
    parameters: int
    seconds: float = 0.0
    complete: float = math.nan
    epochs: int = 0
    inherited: float = 0.0
    pruned: bool = False
    weights: Mapping[str, Tensor] = field(default_factory=dict, repr=False)


OBJECTIVES: Mapping[str, Callable[[Measured], float]] = {
    "mae": lambda m: m.error,
    "params": lambda m: m.parameters,
    "mae_complete": lambda m: m.complete,
    "seconds": lambda m: m.seconds,
}
"""What a search may make small. "mae" is the validation score over all sets of modalities (of classes 1 - weighted F1)."""


def searched(experiment: Experiment) -> Dataset:
    """The data that a search may see: the experiment's own without the test split. ValueError where a split to train with is lacking."""
    dataset = learnable(load(experiment.data), experiment)
    return replace(dataset, splits={split: dataset.splits[split] for split in ("train", "valid")})


def short(experiment: Experiment, epochs: int) -> Experiment:
    """The same experiment, trained for `epochs` only."""
    return override(experiment, {"train.epochs": epochs, "train.snapshots": 0, "train.log_test": False})


def measure(experiment: Experiment, dataset: Dataset, parent: Path | None, go_on: GoOn) -> Measured:
    """Train from the `parent`'s weights where they fit, as long as `go_on` says so.

    Raises ValueError for what the model refuses, FloatingPointError for a loss or a score that is no number.
    """
    start, threads = time.perf_counter(), torch.get_num_threads()
    torch.set_num_threads(experiment.train.threads or threads)
    try:
        trainer = Trainer(experiment, dataset)
        parameters = sum(p.numel() for p in learnt(trainer.system).values())
        share = inherit(trainer, read_weights(parent)) if parent is not None and parent.is_file() else 0.0
        stopped = []
        trainer.fit(progress=False, go_on=lambda epoch, best: go_on(epoch, best, parameters) or bool(stopped.append(epoch)))
    finally:
        torch.set_num_threads(threads)
    state = trainer.state
    if not math.isfinite(state.best) and not stopped:
        raise FloatingPointError("validation gave no finite number in any epoch that may be chosen; lower train.lr or train.clip")
    return Measured(
        error=state.best,
        parameters=parameters,
        seconds=time.perf_counter() - start,
        complete=_complete(trainer),
        epochs=state.epoch,
        inherited=share,
        pruned=bool(stopped),
        weights={name: weight for name, weight in trainer.best_state.items() if name in learnt(trainer.system)},
    )


def learnt(system: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that training changes, by name."""
    return {name: p for name, p in system.named_parameters() if p.requires_grad}


@torch.no_grad()
def inherit(trainer: Trainer, weights: Mapping[str, Tensor]) -> float:
    """Begin with these weights where name and shape agree; the share of all learnt numbers that did."""
    own = learnt(trainer.system)
    taken = [name for name, p in own.items() if name in weights and weights[name].shape == p.shape]
    for name in taken:
        own[name].copy_(weights[name])
    if trainer.average is not None:
        trainer.average.load_state_dict(trainer.system.state_dict())
    return sum(own[name].numel() for name in taken) / max(1, sum(p.numel() for p in own.values()))


def keep(weights: Mapping[str, Tensor], path: Path) -> None:
    """Write the weights that children may begin with."""
    write_weights(path, weights)


def _complete(trainer: Trainer) -> float:
    """The score on complete input in the best epoch."""
    end = f"@{'+'.join(trainer.dataset.spec.modalities)}"
    rows = [r for r in trainer.state.history if r["split"] == "valid" and r["domain"] == "all" and r["metric"].endswith(end)]
    values = {r["metric"].removesuffix(end): r["value"] for r in rows if r["epoch"] == trainer.state.best_epoch}
    return score_of(values) if values else math.nan
