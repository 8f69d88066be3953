"""Why this prediction: what did each step, feature and modality of each utterance bring to it?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from msaviz.interpret.explained import Explained, chunks, evaluating, references
from msaviz.interpret.methods import METHODS, Method, method, options
from msaviz.interpret.trace import Trace
from msaviz.types import Batch


@dataclass(frozen=True)
class Steps:
    """What the valid steps of one modality brought, all utterances one after the other. N = steps."""

    value: np.ndarray  # Float[N]
    row: np.ndarray  # Int[N], the utterance's position in the trace
    time: np.ndarray  # Int[N]


@dataclass(frozen=True)
class Attribution:
    """One method over a trace. n = utterances.

    `steps[m]` holds what each valid step brought ({} when features were asked for), `features[m]` Float[n w] what each feature did, summed
    over the steps ({} for a method that hides whole steps). A modality that an utterance lacks got exactly 0.
    """

    trace: Trace
    method: str
    baseline: str
    routing: str
    explained: np.ndarray  # Float[n], the number that is explained: the prediction, or the logit of the predicted class
    reference: np.ndarray  # Float[n], the same number of the baseline
    steps: Mapping[str, Steps] = field(default_factory=dict)
    features: Mapping[str, np.ndarray] = field(default_factory=dict)
    target: np.ndarray | None = None
    """Int[n]: the explained classes, where they are not the predicted ones."""
    options: Mapping[str, object] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What a figure must say: the method, its baseline, and whether routers were frozen."""
        stands_in = {"zero": "zeros", "mean": "the train mean", "train": "train steps", "missing": "missing"}[self.baseline]
        return f"{METHODS[self.method].title} · baseline: {stands_in} · routing {self.routing}"

    @cached_property
    def modalities(self) -> dict[str, np.ndarray]:
        """Modality -> Float[n]: all that it brought."""
        if not self.steps:
            return {m: values.sum(1, dtype=np.float64) for m, values in self.features.items()}
        n = len(self.explained)
        return {m: np.bincount(s.row, weights=s.value, minlength=n)[:n] for m, s in self.steps.items()}

    @cached_property
    def gap(self) -> np.ndarray:
        """Float[n]: the difference to the baseline that was given to nobody. 0 for a complete method."""
        return self.explained - self.reference - np.sum(list(self.modalities.values()), axis=0)


def attribute(
    trace: Trace,
    name: str = "integrated_gradients",
    *,
    baseline: str = "zero",
    routing: str = "frozen",
    steps: int = 32,
    train: Sequence[Batch] = (),
    target: np.ndarray | None = None,
    seed: int = 0,
    progress: bool = False,
    **given: object,
) -> Attribution:
    """Share the predictions of a trace out over their inputs, many utterances at once.

    `baseline`: "zero", "mean" or "train" (of the train split, whose batches are `train`), and "missing" for methods that hide parts.
    `steps`: points of a path, or samples. `target`: Int[n], the classes whose logits are explained (else the predicted ones). Raises
    ValueError for an unknown name, for a baseline that the method cannot use, and for a trace without a model.
    """
    found = method(name)
    if baseline == "missing" and not found.removal:
        able = ", ".join(key for key, other in METHODS.items() if other.removal)
        raise ValueError(f"{found.title} follows values, and a missing step is a mask: choose zero or mean, or one of {able}")
    if baseline == "train" and name != "gradient_shap":
        raise ValueError(f"{found.title} takes one baseline, not draws from the train split; choose zero, mean or gradient_shap")
    if baseline in ("mean", "train") and not train:
        raise ValueError(f"the baseline {baseline!r} is made of the train split: give its batches as `train` (`Run.attribute` does)")
    more = options(found, given)
    with evaluating(trace) as model:
        stands_in = references(baseline, model, train or trace.batches, seed=seed)
        asked = {"steps": steps, "seed": seed, **more}
        parts = _parts(trace, model, found, stands_in, routing, target, progress, asked)
    about = {"method": name, "baseline": baseline, "routing": routing, "target": target, "options": more}
    return _gathered(trace, parts, about)


@dataclass(frozen=True)
class _Part:
    """What one chunk gave, on the CPU."""

    rows: np.ndarray
    explained: Tensor
    reference: Tensor
    steps: dict[str, Tensor]  # Float[b t]
    features: dict[str, Tensor]  # Float[b w]
    mask: Mapping[str, Tensor]


def _parts(
    trace: Trace,
    model: nn.Module,
    found: Method,
    stands_in: Mapping[str, Tensor],
    routing: str,
    target: np.ndarray | None,
    progress: bool,
    asked: Mapping[str, Any],
) -> list[_Part]:
    from tqdm.auto import tqdm

    parts = []
    with tqdm(total=len(trace.examples), desc=found.title, unit="utt", leave=False, disable=None if progress else True) as bar:
        for rows, batch in chunks(trace, found.copies(asked["steps"])):
            wanted = None if target is None else torch.from_numpy(np.asarray(target)[rows])
            explained = Explained(model, batch, routing=routing, target=wanted)
            values = found.run(explained, stands_in, **asked)
            whole = {m: v.detach().float() for m, v in values.items() if v.ndim == 3}
            flat = {m: v.detach().float().cpu() for m, v in values.items() if v.ndim == 2}
            by_feature = asked.get("over") == "features"
            steps = {} if by_feature else {m: v.sum(-1).cpu() for m, v in whole.items()} | flat
            features = {m: v.sum(1).cpu() for m, v in whole.items()} | (flat if by_feature else {})
            reference = without_all(explained, stands_in)
            mask = {m: v.cpu() for m, v in explained.batch.mask.items()}
            parts.append(_Part(rows, explained.value.float().cpu(), reference.float().cpu(), steps, features, mask))
            bar.update(len(rows))
    return parts


@torch.no_grad()
def without_all(explained: Explained, stands_in: Mapping[str, Tensor]) -> Tensor:
    """Float[b]: the number where every step shows its reference (the mean over several), or is missing."""
    nothing = {m: torch.zeros_like(mask[:, :1], dtype=torch.float32) for m, mask in explained.batch.mask.items()}
    draws = max((len(r) for r in stands_in.values()), default=1)
    each = [{m: r[i % len(r)][None] for m, r in stands_in.items()} for i in range(draws)]
    return torch.stack([explained.hidden(nothing, explained.rows, one) for one in each]).mean(0)


def _gathered(trace: Trace, parts: Sequence[_Part], about: Mapping) -> Attribution:
    order = np.argsort(np.concatenate([part.rows for part in parts]))
    explained, reference = (torch.cat([getattr(p, name) for p in parts]).numpy()[order] for name in ("explained", "reference"))
    steps = {m: _flat([(p.rows, p.steps[m], p.mask[m]) for p in parts]) for m in parts[0].steps}
    features = {m: torch.cat([p.features[m] for p in parts]).numpy()[order] for m in parts[0].features}
    return Attribution(trace, explained=explained, reference=reference, steps=steps, features=features, **about)


def _flat(parts: Sequence[tuple[np.ndarray, Tensor, Tensor]]) -> Steps:
    value = np.concatenate([values[mask].numpy() for _, values, mask in parts])
    row = np.concatenate([rows[mask.nonzero()[:, 0].numpy()] for rows, _, mask in parts])
    time = np.concatenate([mask.nonzero()[:, 1].numpy() for _, _, mask in parts])
    order = np.lexsort((time, row))
    return Steps(value[order], row[order], time[order])
