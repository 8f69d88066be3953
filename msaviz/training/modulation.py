"""Which modality runs ahead of the others while training, and how is it held back?

OGM-GE (Peng et al. 2022) makes the gradient of its parameters smaller, OPM (Wei et al. 2024) drops it from the input. Neither knows the
model: a modality's score is what the whole model predicts from it alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from msaviz.data.missing import WholeModality, corrupt
from msaviz.nn.heads import labelled
from msaviz.nn.parallel import gathered
from msaviz.nn.surround import Surrounded
from msaviz.training.components import Components, alone
from msaviz.training.experiment import Experiment
from msaviz.training.system import System
from msaviz.types import Batch, Spec, Task

FEATURE = 0x6C656164
"""Mixed into the seed of what is dropped from the input."""


class Modulation:
    """Reads every training batch first (`held_back`); what it found then weakens the gradients of that batch's backward pass.

    The state, one factor a modality, is here and is made anew for every batch: no checkpoint needs it. Gradients are reached by hooks
    on the parameters, so that batches whose gradients are added up each have factors of their own. AdamW divides by the size of past
    gradients, so that a factor which stays the same is forgotten: with it "gradient" holds back less than in the paper, which uses SGD.
    """

    def __init__(self, options: Components, system: System, spec: Spec, seed: int):
        """ValueError where fewer than two modalities have parameters of their own: there is nothing to balance."""
        self.options, self.system, self.spec, self.seed = options, system, spec, seed
        self.owned = own_parameters(system, spec)
        if len(self.owned) < 2:
            raise ValueError(
                f"components.modulation balances modalities, but the model has parameters of {', '.join(self.owned) or 'none'} alone "
                f"(of {', '.join(spec.modalities)}); set it to none"
            )
        self.factors = dict.fromkeys(self.owned, 1.0)
        for modality, parameters in self.owned.items() if options.modulation == "gradient" else ():
            for parameter in parameters:
                parameter.register_hook(partial(self._weakened, modality))

    def held_back(self, batch: Batch, epoch: int) -> Batch:
        """The batch as it is to be learnt from; the factors of its gradients are set."""
        leads = ratios(*self.scores(batch))
        strength = self.options.modulation_strength
        if self.options.modulation == "gradient":
            self.factors = {m: 1 - math.tanh(strength * max(lead - 1, 0.0)) for m, lead in leads.items()}
            return batch
        rate = self.options.modulation_rate
        rates = {m: min(1.0, rate * (1 + strength * math.tanh(lead - 1))) if lead > 1 else 0.0 for m, lead in leads.items()}
        return corrupt(batch, WholeModality(rate=rates), seed=self.seed ^ FEATURE, epoch=epoch) if any(rates.values()) else batch

    @torch.no_grad()
    def scores(self, batch: Batch) -> tuple[dict[str, Float[Tensor, " b"]], dict[str, Bool[Tensor, " b"]]]:
        """(what each modality is worth in each row, where that counts), by modality, for the rows of all processes; one forward pass."""
        system, was = self.system, self.system.training
        system.eval()
        batch = system.front(replace(batch, complete=None))  # without a folder: these masks never come again
        output = system.model(Batch.join([alone(batch, m) for m in self.owned]))
        system.train(was)
        each = worth(output.prediction, batch.y.repeat(len(self.owned)), self.spec.task)
        known = labelled(batch.y, self.spec.task)
        counts = torch.stack([batch.present(m) & known for m in self.owned], 1)
        value, counts = gathered(each.unflatten(0, (len(self.owned), -1)).T, counts)
        return dict(zip(self.owned, value.T, strict=True)), dict(zip(self.owned, counts.T, strict=True))

    def _weakened(self, modality: str, gradient: Tensor) -> Tensor | None:
        factor = self.factors[modality]
        if factor == 1:
            return None
        if not self.options.modulation_noise or gradient.numel() < 2:
            return gradient * factor
        return gradient * factor + torch.randn_like(gradient) * gradient.std()


def modulation_of(experiment: Experiment, system: System, spec: Spec) -> Modulation | None:
    """What the experiment asks for; None where it asks for nothing."""
    options = experiment.components
    return None if options.modulation == "none" else Modulation(options, system, spec, experiment.seed)


def own_parameters(system: System, spec: Spec) -> dict[str, list[nn.Parameter]]:
    """Modality -> the trained parameters of the text encoder and the model that name it ("encoders.text.…"); those that have none are not
    there, and a pair's ("text>audio") are nobody's."""
    model = system.model.inner if isinstance(system.model, Surrounded) else system.model
    named = [*system.front.named_parameters(), *model.named_parameters()]
    found = {m: [p for name, p in named if p.requires_grad and m in name.split(".")] for m in spec.modalities}
    return {m: parameters for m, parameters in found.items() if parameters}


def worth(prediction: Tensor, label: Tensor, task: Task) -> Float[Tensor, " n"]:
    """1 / (1 + |error|) of a real prediction, the probability of the true class else: in (0, 1]; of no meaning without a label."""
    if task.kind == "classes":
        return prediction.float().softmax(-1).gather(-1, label.clamp(min=0)[:, None])[:, 0]
    return 1 / (1 + (prediction.float() - label.nan_to_num()).abs())


def ratios(value: Mapping[str, Float[Tensor, " n"]], counts: Mapping[str, Bool[Tensor, " n"]]) -> dict[str, float]:
    """Modality -> its mean worth over that of the others; 1 where it, or every other, is in no labelled row."""
    means = {m: (torch.where(counts[m], value[m], 0).sum() / counts[m].sum()) for m in value}  # NaN where nothing counts
    score = {m: s for m, s in zip(means, torch.stack(list(means.values())).tolist(), strict=True) if s == s}
    others = {m: [s for n, s in score.items() if n != m] for m in score}
    return {m: score[m] * len(others[m]) / sum(others[m]) if others.get(m) else 1.0 for m in value}
