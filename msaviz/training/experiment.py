"""What is everything that must be said to repeat a run?"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from msaviz.catalog import MODELS, OBJECTIVES
from msaviz.data.load import Names
from msaviz.data.missing import Missingness, Mixture
from msaviz.options import Options, named, searchable
from msaviz.training.components import Components


class TextOptions(Options):
    """How token ids become vectors, after masking and before the model (only used where the data hold token ids)."""

    encoder: str = "auto"
    """"auto": the offline MiniLM if the extra `text` is installed, else a learned "embedding"; or a local path or hub name."""
    trainable_layers: int = searchable(0, low=-1, high=24)
    """0: frozen; k: the last k layers learn; -1: all of it."""
    width: int = 128
    """Width of a learned embedding."""
    dropout: float = 0.1
    """Dropout inside a fine-tuned encoder."""
    precision: Literal["float32", "bfloat16", "auto"] = "auto"
    """Of the encoder alone; "auto": bfloat16 where the hardware multiplies it (3 times as fast there)."""
    allow_download: bool = False
    cache: Literal["evaluation", "training"] = "evaluation"
    """Whose encodings by a frozen encoder are kept on disk. "training": those of every epoch too, for many models with the same seeds
    and data (MOSI: 15 MB an epoch); only the first of them pays for the encoder."""


class TrainOptions(Options):
    epochs: int = Field(default=20, ge=1)
    views: int = Field(default=1, ge=1, le=4)
    """Independent corruptions of each batch that are read side by side (the gradient is their mean)."""
    batch: int = searchable(32, low=8, high=256, ge=1)
    lr: float = searchable(1e-3, low=1e-5, high=1e-2, log=True, gt=0)
    text_lr: float = searchable(5e-5, low=1e-6, high=1e-3, log=True, gt=0)
    """Learning rate of a fine-tuned text encoder."""
    weight_decay: float = searchable(1e-2, low=1e-5, high=1e-1, log=True, ge=0)
    warmup: float = Field(default=0.1, ge=0, le=1)
    """Share of all steps with a linearly rising rate; a cosine follows."""
    clip: float = Field(default=1.0, gt=0)
    accumulate: int = Field(default=1, ge=1)
    """Batches whose gradients are averaged into one step; a shorter tail steps too."""
    patience: int = Field(default=8, ge=1)
    """Epochs without a better validation score before the run stops."""
    ema: float = Field(default=0.0, ge=0, lt=1)
    """Decay of an exponential moving average of the weights, which is then what is validated and kept; 0 = off."""
    validation: Literal["rates", "subsets"] = "rates"
    """What the validation score is averaged over: missing rates, or all 2^M - 1 sets of modalities."""
    validation_rates: tuple[float, ...] = (0.0, 0.3, 0.6, 0.9)
    """The missing rates (fixed masks)."""
    sampling: Literal["shuffled", "domains"] = "shuffled"
    """"domains": every source domain has the same share of each batch (DomainBed's minibatches)."""
    snapshots: int = Field(default=0, ge=0)
    """Epochs, evenly spread, whose weights are kept as RUN/epochs/NNN.safetensors: for pictures over training time."""
    log_test: bool = False
    """Log the test split each epoch, for the selection `published` only; never read by `validation`."""
    precision: Literal["float32", "bfloat16"] = "float32"
    device: str = "auto"
    threads: int | None = Field(default=None, ge=1)


class Domains(Options):
    """Which domains are learnt from and which stay unseen until the test (`msaviz.data.domains.hold_out`); neither: all are learnt from.

    With either, the validation score is the mean over the source domains.
    """

    sources: Names = ()
    """Empty: all but the targets."""
    targets: Names = ()
    """Empty: all but the sources."""
    pseudo: int | Literal["auto"] = "auto"
    """Clusters of style that stand for domains while training on one source; "auto": 3 where model or objective compares domains."""

    @property
    def active(self) -> bool:
        """Whether some domain is kept for the test."""
        return bool(self.sources or self.targets)


class Experiment(Options):
    """model + data + seed + options. `model` and `objective` accept a name, a dict with `name`, or ready options."""

    model: named(MODELS) = Field(default="early_fusion", validate_default=True)  # type: ignore[valid-type]
    data: str = "synthetic"
    seed: int = 0
    objective: named(OBJECTIVES) = Field(default="erm", validate_default=True)  # type: ignore[valid-type]
    train: TrainOptions = TrainOptions()
    missing: Missingness = Mixture()
    domains: Domains = Domains()
    text: TextOptions = TextOptions()
    components: Components = Components()
    """Parts that fit any model; with all of them off, the default, there are none."""

    @property
    def model_name(self) -> str:
        return MODELS.name_of(type(self.model))
