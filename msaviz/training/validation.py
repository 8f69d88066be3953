"""How good are these weights on the validation split, averaged over the ways in which input may be missing?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from msaviz.data.dataset import Dataset
from msaviz.data.missing import Corruption, Nothing, RandomFrames, Subset, WholeModality, corrupt
from msaviz.nn.heads import labelled
from msaviz.training.experiment import Experiment
from msaviz.training.metrics import metrics
from msaviz.training.system import System
from msaviz.types import heads_of, label_of, subsets

COMPLETE = Nothing()


class Validator:
    """What an experiment validates: its `conditions` (name -> missingness, masks of seed 0), on one dataset and device."""

    def __init__(self, experiment: Experiment, dataset: Dataset, device: torch.device):
        self.dataset, self.device = dataset, device
        self.conditions = conditions_of(experiment, dataset.spec.modalities)

    def predict(self, system: System, split: str, missingness: Corruption) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(example, label, prediction) of the main task, in row order."""
        example, heads = self._read(system, split, missingness)
        return example, *heads[self.dataset.spec.target]

    @torch.inference_mode()
    def _read(self, system: System, split: str, missingness: Corruption) -> tuple[np.ndarray, dict[str, tuple[np.ndarray, np.ndarray]]]:
        """(example, head -> (label, prediction)) in row order, from one pass."""
        system.eval()
        part, found, examples = self.dataset.splits[split], {}, []
        for batch in part.batches(128, bucket=True):
            batch = corrupt(batch, missingness, seed=0, unknown=self.dataset.unknown)
            examples.append(batch.example)
            for task, prediction in system(batch.to(self.device)).predictions.items():
                found.setdefault(task, []).append((label_of(batch.labels, task, self.dataset.spec), prediction.float().cpu()))
        example = torch.cat(examples).numpy()
        order = np.argsort(example)
        whole = {task: [torch.cat(x).numpy()[order] for x in zip(*pairs, strict=True)] for task, pairs in found.items()}
        return example[order], {task: (label, prediction) for task, (label, prediction) in whole.items()}

    def measure(self, system: System, split: str, missingness: Corruption, *, by_domain: bool = False) -> dict[str, dict[str, float]]:
        """Metrics of the main task over "all" rows and, `by_domain`, over those of each domain with a labelled row there.

        On complete input "all" also holds those of the other heads that have labels there, as "emotion/weighted_f1": no score reads them.
        """
        example, heads = self._read(system, split, missingness)
        (label, prediction), task = heads.pop(self.dataset.spec.target), self.dataset.spec.task
        domains = self.dataset.spec.domains
        found = {"all": metrics(prediction, label, task)}
        for name, (truth, guess) in heads.items() if is_complete(missingness) else ():
            kind = heads_of(self.dataset.spec)[name]
            if labelled(torch.as_tensor(truth), kind).any():
                found["all"] |= {f"{name}/{metric}": value for metric, value in metrics(guess, truth, kind).items()}
        codes = np.asarray(self.dataset.splits[split].domain)[example]
        known = labelled(torch.as_tensor(label), task).numpy()
        for code in np.unique(codes[known]) if by_domain else ():
            found[domains[code]] = metrics(prediction[codes == code], label[codes == code], task)
        return found


def conditions_of(experiment: Experiment, modalities: tuple[str, ...]) -> dict[str, Corruption]:
    """Name -> missingness: every missing rate ("0.3"), or every set of modalities ("text+audio"), by `train.validation`."""
    if experiment.train.validation == "subsets":
        return every_set(modalities)
    kind = WholeModality if getattr(experiment.missing, "inter_modal", False) else RandomFrames
    return {f"{rate:g}": kind(rate=rate) for rate in experiment.train.validation_rates}


def every_set(modalities: Sequence[str]) -> dict[str, Corruption]:
    """ "text+audio" -> what leaves these modalities alone, for all 2^M - 1 sets; the full one, which loses nothing, is last."""
    return {"+".join(s): Subset(keep=s) if len(s) < len(modalities) else COMPLETE for s in subsets(modalities)}


def is_complete(missingness: Corruption) -> bool:
    """Whether this condition leaves the input as it is."""
    return missingness == COMPLETE or getattr(missingness, "rate", None) == 0


def score_of(values: Mapping[str, float]) -> float:
    """What validation makes small: MAE, or 1 - weighted F1 of classes."""
    return values["mae"] if "mae" in values else 1 - values["weighted_f1"]
