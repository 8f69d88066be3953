"""What did a model do, utterance by utterance, over a split?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from torch import nn

from msaviz.types import Batch, Output, Routing, Spec


@dataclass(frozen=True)
class Trace:
    """All batches and outputs of one pass in eval mode, on the CPU, and the model that made them. n = utterances."""

    spec: Spec
    batches: tuple[Batch, ...]
    outputs: tuple[Output, ...]
    model: nn.Module | None = None
    run: str = "run"
    split: str = "test"
    texts: tuple[str, ...] = ()
    """Transcript of each utterance; () where the data have none."""
    tokens: tuple[tuple[str, ...], ...] = ()
    """Of each utterance, the tokens behind the steps of the text modality; () where the source names none."""
    evidence: Mapping[str, tuple[np.ndarray, ...]] = field(default_factory=dict)
    """By modality, of each utterance: Bool[t], the steps that were planted to tell the label; {} for data of unknown truth."""

    @cached_property
    def examples(self) -> pd.DataFrame:
        """One row per utterance: run, split, example, domain (its name), label, prediction, error, emotion/… labels.

        For a classification task `prediction` is the arg max, and `error` is 0 or 1.
        """
        label = torch.cat([b.y for b in self.batches]).numpy()
        prediction = torch.cat([o.prediction for o in self.outputs])
        if self.spec.task.kind == "classes":
            prediction = prediction.argmax(-1)
            error = np.where(label < 0, np.nan, prediction.numpy() != label)
        else:
            error = prediction.numpy() - label
        domain = torch.cat([b.domain for b in self.batches]).numpy()
        frame = pd.DataFrame(
            {
                "run": self.run,
                "split": self.split,
                "example": torch.cat([b.example for b in self.batches]).numpy(),
                "domain": np.asarray(self.spec.domains, dtype=object)[domain],
                "label": label,
                "prediction": prediction.numpy(),
                "error": error,
            }
        )
        for name in list(self.spec.tasks)[1:]:
            frame[name] = torch.cat([b.labels[name] for b in self.batches]).numpy()
        return frame

    @cached_property
    def described(self) -> pd.DataFrame:
        """example, domain, label, prediction, text by the utterance's position; the classes of a classification by name."""
        about = self.examples[["example", "domain", "label", "prediction"]].assign(text=list(self.texts) or "")
        if self.spec.task.kind == "regression":
            return about
        names = dict(enumerate(self.spec.task.classes))
        return about.assign(**{column: about[column].map(names).fillna("") for column in ("label", "prediction")})

    @cached_property
    def routers(self) -> tuple[str, ...]:
        """Keys "router/modality" of everything that was routed."""
        return tuple(self.outputs[0].routing) if self.outputs else ()

    def routing(self, router: str) -> tuple[Routing, ...]:
        """One Routing a batch (time axes differ in length between batches)."""
        return tuple(o.routing[router] for o in self.outputs)

    @cached_property
    def representations(self) -> dict[str, np.ndarray]:
        """Float[n d] by name: "fused", "shared/text", "private/text", …; rows of an absent modality are NaN."""
        found = {"fused": torch.cat([o.fused for o in self.outputs])}
        for space in ("shared", "private"):
            for m in getattr(self.outputs[0], space):
                value = torch.cat([getattr(o, space)[m] for o in self.outputs]).clone()
                value[~torch.cat([b.present(m) for b in self.batches])] = torch.nan
                found[f"{space}/{m}"] = value
        return {name: value.float().numpy() for name, value in found.items()}

    def present(self, modality: str) -> np.ndarray:
        """Bool[n]: which utterances have this modality."""
        return torch.cat([b.present(modality) for b in self.batches]).numpy()


def kept(output: Output) -> Output:
    """What a trace keeps of an output: all of it on the CPU in single precision, but for what only analyses with gradients read."""
    light = replace(output, routing={key: replace(routing, wrote=None) for key, routing in output.routing.items()})
    return light.map(lambda x: x.float().cpu() if x.is_floating_point() else x.cpu())


@torch.inference_mode()
def observe(model: nn.Module, batches: Iterable[Batch], *, spec: Spec, run: str = "run", split: str = "test") -> Trace:
    """Read `batches` with `model` in eval mode and keep everything it returned. The model's mode is restored."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    was_training = model.training
    model.eval()
    try:
        seen = [(b, kept(model(b.to(device)))) for b in batches]
    finally:
        model.train(was_training)
    if not seen:
        raise ValueError("nothing to observe: the split has no rows")
    return Trace(spec, tuple(b for b, _ in seen), tuple(o for _, o in seen), model, run, split)
