"""Tiny mean: what does one linear layer on the mean of every modality predict?"""

import torch
from torch import nn

from msaviz.nn.encoders import masked_mean
from msaviz.options import Options
from msaviz.types import Batch, Output, Spec


class TinyMean(nn.Module):
    class Config(Options):
        bias: bool = True

    def __init__(self, spec: Spec, config: Config):
        super().__init__()
        self.target = spec.target
        self.modalities = spec.modalities
        self.linear = nn.Linear(sum(spec.widths.values()), spec.task.width, bias=config.bias)

    def forward(self, batch: Batch) -> Output:
        z = torch.cat([masked_mean(batch.x[m], batch.mask[m]) for m in self.modalities], 1)
        y = self.linear(z)
        return Output(predictions={self.target: y.squeeze(1) if y.shape[1] == 1 else y}, fused=z)


MODEL = TinyMean
