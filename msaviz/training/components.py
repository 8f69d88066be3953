"""Which parts may stand around any model, or beside its training, whatever the model is?"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field
from torch import nn

from msaviz.data.missing import WholeModality, corrupt
from msaviz.nn.absent import AbsentTokens, Imagination
from msaviz.nn.bottleneck import Bottleneck
from msaviz.nn.gated_attention import GatedAttention
from msaviz.nn.surround import Surrounded
from msaviz.options import Options, searchable
from msaviz.types import Batch, Output, Spec, heads_of

DROPOUT = 0x6D6F64616C697479
"""Mixed into the seed of `modality_dropout`: its masks have nothing to do with those of `missing`."""


class Distillation(Options):
    """A frozen teacher that reads the complete input (CorrKD, Li et al. 2024)."""

    teacher: str = ""
    """Folder of a finished run on data of the same kind, needed while this one is trained only; empty: no teacher."""
    contrast: float = searchable(0.1, low=0.0, high=1.0, when={"taught": (True,)}, ge=0)
    """Weight of: the same utterance is near in both, others are not."""
    prototypes: float = searchable(0.1, low=0.0, high=1.0, when={"taught": (True,)}, ge=0)
    """Weight of: an utterance is as like to the mean of every class (of a real label: grade) as in the teacher."""
    response: float = searchable(0.5, low=0.0, high=2.0, when={"taught": (True,)}, ge=0)
    """Weight of: the predictions are the teacher's."""

    @property
    def taught(self) -> bool:
        """Whether there is a teacher."""
        return bool(self.teacher)


class Components(Options):
    """Parts that fit any model; all are off by default."""

    absent: Literal["nothing", "token", "imagined"] = searchable("nothing", choices=("nothing", "token", "imagined"))
    """What a model reads in the place of an absent modality: a learned step, or one imagined from the others (IF-MMIN)."""
    imagination: float = searchable(1.0, low=0.01, high=10.0, log=True, when={"absent": ("imagined",)}, ge=0)
    """Weight of what the imagination is taught by what was removed."""
    cross_attention: bool = searchable(False, choices=(False, True))
    """Every modality's steps read those of the others through a gate, before the model does."""
    bottleneck: bool = searchable(False, choices=(False, True))
    """A variational information bottleneck between the fused vector and the heads (VIB)."""
    bottleneck_weight: float = searchable(1e-3, low=1e-4, high=1e-1, log=True, when={"bottleneck": (True,)}, ge=0)
    """Price of each nat that passes the bottleneck."""
    modality_dropout: float = searchable(0.0, low=0.0, high=0.5, ge=0, lt=1)
    """Probability by which a training utterance loses each whole modality, beside `missing`; at least one stays."""
    modulation: Literal["none", "gradient", "feature"] = searchable("none", choices=("none", "gradient", "feature"))
    """What holds back a modality that alone predicts better than the others: smaller gradients (OGM-GE) or dropped input (OPM)."""
    modulation_strength: float = searchable(1.0, low=0.1, high=5.0, log=True, when={"modulation": ("gradient", "feature")}, ge=0)
    """How fast it is held back as its lead grows."""
    modulation_noise: bool = searchable(True, choices=(False, True), when={"modulation": ("gradient",)})
    """Noise as large as the gradient is added where the gradient is made smaller (the GE of OGM-GE)."""
    modulation_rate: float = Field(default=0.5, ge=0, le=1)
    """Probability by which the feature of a modality with the smallest lead is dropped (OPM)."""
    distillation: Distillation = Distillation()


def surrounded(model: nn.Module, spec: Spec, options: Components) -> nn.Module:
    """The model with the parts that the options ask for; itself where they ask for none. `spec`: what the model reads."""
    before: list[nn.Module] = []
    if options.cross_attention and len(spec.modalities) > 1:
        before.append(GatedAttention(spec.widths))
    if options.absent != "nothing":
        before.append(AbsentTokens(spec.widths) if options.absent == "token" else Imagination(spec.widths))
    after = None
    if options.bottleneck:
        seen = untrained(model, spec)
        tasks = heads_of(spec)
        after = Bottleneck(seen.fused.shape[-1], {name: tasks[name] for name in seen.predictions})
    if not before and after is None:
        return model
    return Surrounded(model, before, after, {"imagination": options.imagination, "bottleneck": options.bottleneck_weight})


@torch.no_grad()
def untrained(model: nn.Module, spec: Spec) -> Output:
    """What a model makes of one empty row: its widths and heads are known there first. No random number is used up."""
    zero, one = torch.zeros(1, dtype=torch.long), torch.ones(1, 1, dtype=torch.bool)
    x, mask = {m: torch.zeros(1, 1, width) for m, width in spec.widths.items()}, dict.fromkeys(spec.widths, one)
    was = model.training
    with torch.random.fork_rng(devices=[]):
        output = model.eval()(Batch(x, mask, {spec.target: zero.float()}, zero, zero))
    model.train(was)
    return output


def with_fewer(batch: Batch, rate: float, *, seed: int, epoch: int) -> Batch:
    """`modality_dropout`: the batch in which every modality of every row goes with probability `rate`; at least one that is there stays."""
    return corrupt(batch, WholeModality(rate=rate), seed=seed ^ DROPOUT, epoch=epoch) if rate else batch


def alone(batch: Batch, modality: str) -> Batch:
    """The batch in which this modality only is there."""
    x = {m: values if m == modality else torch.zeros_like(values) for m, values in batch.x.items()}
    mask = {m: there if m == modality else torch.zeros_like(there) for m, there in batch.mask.items()}
    return replace(batch, x=x, mask=mask, complete=None, dropped={})
