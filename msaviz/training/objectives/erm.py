"""Empirical risk minimisation: the mean loss over the batch, whatever the domain, plus the model's own weighted losses."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from msaviz.options import Options
from msaviz.types import Batch, Output, Spec, Task


def task_loss(prediction: Tensor, label: Tensor, task: Task, loss: str) -> Tensor:
    """Mean loss over the rows that have a label (NaN or -1 = none); exactly 0, with a gradient path, if none has one."""
    if task.kind == "classes":
        known = label >= 0
        each = F.cross_entropy(prediction, label.clamp(min=0), reduction="none")
    else:
        known = ~torch.isnan(label)
        function = {"l1": F.l1_loss, "smooth_l1": F.smooth_l1_loss, "mse": F.mse_loss}[loss]
        each = function(prediction, torch.where(known, label, prediction.detach()), reduction="none")
    return torch.where(known, each, 0).sum() / known.sum().clamp(min=1)


class Erm:
    """`task` is the sum over the heads that the model predicts; the other terms are the model's, times their weights."""

    class Config(Options):
        loss: Literal["l1", "smooth_l1", "mse"] = "l1"

    def __init__(self, spec: Spec, config: Config):
        self.spec, self.config = spec, config

    def __call__(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        heads = [task_loss(p, batch.labels[t], self.spec.tasks[t], self.config.loss) for t, p in output.predictions.items()]
        own = {name: output.weights.get(name, 1.0) * value for name, value in output.losses.items()}
        return {"task": torch.stack(heads).sum(), **own}


OBJECTIVE = Erm
