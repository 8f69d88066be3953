"""Which device, which optimiser, which learning rate at which step?"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import torch

from msaviz.nn.text import PretrainedText
from msaviz.training.experiment import TrainOptions
from msaviz.training.system import System


def total_steps(options: TrainOptions, rows: int) -> int:
    """Optimiser steps of a training that runs to its last epoch."""
    return options.epochs * math.ceil(math.ceil(rows / options.batch) / options.accumulate)


def make_optimizer(
    system: System, options: TrainOptions, rows: int, more: Sequence[torch.nn.Parameter] = ()
) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.LambdaLR]:
    """AdamW over the system and `more` (no decay on biases and norms; `text_lr` for a pretrained encoder).

    The rate warms up linearly, then follows a cosine to 0.
    """
    pretrained = [encoder for encoder in system.front.encoders.values() if isinstance(encoder, PretrainedText)]
    slow = {id(p) for encoder in pretrained for p in encoder.parameters()}
    groups = []
    for is_slow, rate in ((True, options.text_lr), (False, options.lr)):
        parameters = [p for p in (*system.parameters(), *more) if p.requires_grad and (id(p) in slow) == is_slow]
        groups.append({"params": [p for p in parameters if p.ndim > 1], "lr": rate, "weight_decay": options.weight_decay})
        groups.append({"params": [p for p in parameters if p.ndim <= 1], "lr": rate, "weight_decay": 0.0})
    optimizer = torch.optim.AdamW([group for group in groups if group["params"]], fused=True)
    total = total_steps(options, rows)
    warm = max(1, round(options.warmup * total))

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1, total - warm))))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def choose_device(name: str, rank: int = 0) -> torch.device:
    """ "auto" is a GPU if one is there, else the CPU; never raises.

    The processes of a machine get a GPU each while there are enough.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name != "cuda" or not torch.cuda.is_available():
        return torch.device(name)
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", rank)) % torch.cuda.device_count())
