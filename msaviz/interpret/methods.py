"""How do captum's methods share a prediction out over the steps and features of a batch?

Each method takes an `Explained` batch and the references that stand in for a step, and gives, by modality, Float[b t w] (what each feature
of each step brought), Float[b t] (each step) or Float[b w] (each feature). Source of the methods: captum.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor

from msaviz.interpret.explained import ROWS, Explained, References, length

Values = dict[str, Tensor]
WINDOWS = 64
"""A sequence is hidden in at most so many windows."""
TOLERANCE = 0.05
"""DeepLIFT is refused where it misses more than this share of the difference that it is to explain."""

NO_DEEP_LIFT, INSTEAD = "DeepLIFT is not valid for this model", "integrated_gradients asks the same question"


@dataclass(frozen=True)
class Method:
    """A way to attribute. `copies(steps)`: forward rows of one utterance; `removal`: it hides parts."""

    run: Callable[..., Values]
    title: str
    copies: Callable[[int], int]
    removal: bool = False


def tensors(explained: Explained, references: References) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """(values, baselines): all modalities, Float[b t w] each; both zero where a step is padded or absent, so that it gets exactly 0."""
    x = tuple(explained.batch.x[m] for m in explained.modalities)
    masks = [explained.batch.mask[m][..., None] for m in explained.modalities]
    parts = zip(explained.modalities, x, masks, strict=True)
    return x, tuple((references[m][0].to(v.dtype) * mask).expand_as(v) for m, v, mask in parts)


def integrated_gradients(explained: Explained, references: References, *, steps: int = 32, seed: int = 0) -> Values:
    """(x - baseline) times the mean gradient on the straight path between them (Sundararajan et al. 2017); Gauss-Legendre points."""
    from captum.attr import IntegratedGradients

    x, baselines = tensors(explained, references)
    found = IntegratedGradients(explained).attribute(x, baselines, additional_forward_args=(explained.rows,), n_steps=steps)
    return dict(zip(explained.modalities, found, strict=True))


def gradient_shap(explained: Explained, references: References, *, steps: int = 32, seed: int = 0) -> Values:
    """The same at random points of paths from randomly drawn references (Lundberg & Lee 2017); exact only on average over draws."""
    from captum.attr import GradientShap

    x, masks = [explained.batch.x[m] for m in explained.modalities], [explained.batch.mask[m] for m in explained.modalities]
    drawn = max(len(r) for r in references.values())
    baselines = [
        repeat(references[m].to(v.dtype), "s w -> (repeats s) t w", repeats=drawn // len(references[m]), t=v.shape[1])
        for m, v in zip(explained.modalities, x, strict=True)
    ]
    with seeded(seed):
        shap = GradientShap(explained)
        found = shap.attribute(tuple(x), tuple(baselines), n_samples=steps, additional_forward_args=(explained.rows,))
    return {m: v.masked_fill(~mask[..., None], 0) for m, v, mask in zip(explained.modalities, found, masks, strict=True)}


def deep_lift(explained: Explained, references: References, *, steps: int = 32, seed: int = 0) -> Values:
    """Differences of activations instead of gradients (Shrikumar et al. 2017), where every nonlinearity of the model has a rule.

    captum knows rules for modules such as ReLU or Tanh, not for GELU, attention, layer norms or products of gates and experts.
    Raises ValueError where what it gives misses more than TOLERANCE of the difference to the baseline, or where captum can give nothing.
    """
    from captum.attr import DeepLift

    x, baselines = tensors(explained, references)
    x = tuple(v.detach().requires_grad_() for v in x)  # else captum warns that it does this
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Setting forward, backward hooks")  # it says that it uses hooks
        try:
            found = DeepLift(explained).attribute(x, baselines, additional_forward_args=(explained.rows,))
        except RuntimeError as error:  # of a module that is called twice, or with rows of several utterances side by side
            raise ValueError(f"{NO_DEEP_LIFT}: captum cannot follow its parts ({error}); {INSTEAD}") from error
    values = dict(zip(explained.modalities, (v.detach() for v in found), strict=True))
    with torch.no_grad():
        difference = explained.value - explained(*baselines, explained.rows)
    missed = (difference - total(values)).abs().sum() / difference.abs().sum().clamp(min=1e-12)
    if missed > TOLERANCE:
        raise ValueError(
            f"{NO_DEEP_LIFT}: it has no rule for some of its parts and misses {100 * missed:.0f} % of the difference to the baseline; "
            f"{INSTEAD}"
        )
    return values


def feature_ablation(explained: Explained, references: References, *, steps: int = 32, seed: int = 0, over: str = "steps") -> Values:
    """How much the number falls when one step (or window of a long sequence, which shares it), or one of the `features`, is hidden."""
    from captum.attr import FeatureAblation

    features = over == "features"
    keep = _kept(explained, features)
    groups = [torch.arange(k.shape[1], device=k.device)[None] for k in keep]
    if not features:  # windows by the utterance's own length, so that the other utterances change nothing
        groups = [group // _strides(explained.batch.mask[m]) for m, group in zip(explained.modalities, groups, strict=True)]
    found = FeatureAblation(_hiding(explained, references, features)).attribute(
        keep,
        baselines=(0,) * len(keep),
        additional_forward_args=(explained.rows,),
        feature_mask=tuple(_numbered(groups)),
        perturbations_per_eval=max(1, ROWS // len(explained.rows)),
    )
    values = dict(zip(explained.modalities, found, strict=True))
    if features:
        return values
    return {m: _shared(values[m], group, explained.batch.mask[m]) for m, group in zip(explained.modalities, groups, strict=True)}


def occlusion(explained: Explained, references: References, *, steps: int = 32, seed: int = 0, window: int = 3) -> Values:
    """How much the number falls when a step's surroundings are hidden (Zeiler & Fergus 2014): the mean over the windows that hold it.

    The window grows with the utterance, so that it moves in at most WINDOWS places, all inside the utterance: not its padding, so that
    the other utterances change nothing. As captum's Occlusion knows one length alone, each window is a feature to be ablated.
    """
    from captum.attr import FeatureAblation

    covers = [_windows(explained.batch.mask[m], window) for m in explained.modalities]
    hiding = _hiding(explained, references, False)

    def showing(*given: Tensor) -> Tensor:
        *opened, rows = given
        hidden = [torch.einsum("ns,nst->nt", 1 - o, c[rows].to(o.dtype)) > 0.5 for o, c in zip(opened, covers, strict=True)]
        return hiding(*((~h).float() for h in hidden), rows)

    opened = tuple(cover.new_ones(cover.shape[:2], dtype=torch.float32) for cover in covers)
    found = FeatureAblation(showing).attribute(
        opened,
        baselines=(0,) * len(opened),
        additional_forward_args=(explained.rows,),
        perturbations_per_eval=max(1, ROWS // len(explained.rows)),
    )
    means = {m: _mean_over(v, cover) for m, v, cover in zip(explained.modalities, found, covers, strict=True)}
    return {m: torch.where(explained.batch.mask[m], v, 0).to(explained.value.dtype) for m, v in means.items()}


def _strides(mask: Tensor) -> Int[Tensor, "b 1"]:
    """Steps from one window of an utterance to its next, by its own length."""
    return (-(-length(mask) // WINDOWS)).clamp(min=1)[:, None]


def _windows(mask: Tensor, window: int) -> Bool[Tensor, "b s t"]:
    """Which steps each window of each utterance holds; a window that would begin after the last whole one holds none."""
    own, stride = length(mask)[:, None], _strides(mask)
    width = torch.where(stride == 1, window, (2 * stride).clamp(min=window))
    last = (-((width - own) // stride)).clamp(min=0)  # windows after the first: the rest of the utterance, rounded up
    number = torch.arange(int(last.max()) + 1, device=mask.device)
    first, time = (number * stride)[..., None], torch.arange(mask.shape[1], device=mask.device)
    return (time >= first) & (time < first + width[..., None]) & (number <= last)[..., None]


def _mean_over(falls: Float[Tensor, "b s"], cover: Bool[Tensor, "b s t"]) -> Float[Tensor, "b t"]:
    """The mean fall over the windows that hold a step."""
    cover = cover.to(falls.dtype)
    return torch.einsum("bs,bst->bt", falls, cover) / cover.sum(1).clamp(min=1)


def total(values: Mapping[str, Tensor]) -> Float[Tensor, " b"]:
    """All that was attributed to each utterance."""
    return torch.stack([v.flatten(1).sum(1) for v in values.values()]).sum(0)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside the block torch's and numpy's global generators start from `seed`; outside nothing is changed."""
    state = np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(state)


def _kept(explained: Explained, features: bool) -> tuple[Tensor, ...]:
    """Ones for everything that is there: Float[b t] (0 where a step is padded or absent) or Float[b w] (0 where the modality is)."""
    masks = {m: explained.batch.mask[m] for m in explained.modalities}
    if not features:
        return tuple(mask.float() for mask in masks.values())
    return tuple(repeat(mask.any(1).float(), "b -> b w", w=explained.batch.x[m].shape[-1]) for m, mask in masks.items())


def _hiding(explained: Explained, references: References, features: bool) -> Callable[..., Tensor]:
    def keeping(*given: Tensor) -> Tensor:
        *keep, rows = given
        with torch.no_grad():
            return explained.hidden(dict(zip(explained.modalities, keep, strict=True)), rows, references, features)

    return keeping


def _numbered(groups: list[Tensor]) -> Iterator[Tensor]:
    """Groups of several modalities, numbered through."""
    start = 0
    for group in groups:
        yield group + start
        start += int(group.max()) + 1


def _shared(values: Float[Tensor, "b t"], group: Int[Tensor, "b t"], mask: Tensor) -> Float[Tensor, "b t"]:
    """A window's value in equal parts on its valid steps."""
    size = torch.zeros_like(values).scatter_add(1, group, mask.to(values.dtype))
    return torch.where(mask, values / size.gather(1, group).clamp(min=1), 0)


METHODS: dict[str, Method] = {
    "integrated_gradients": Method(integrated_gradients, "Integrated Gradients", lambda steps: steps),
    "gradient_shap": Method(gradient_shap, "Gradient SHAP", lambda steps: steps),
    "deep_lift": Method(deep_lift, "DeepLIFT", lambda steps: 2),
    "feature_ablation": Method(feature_ablation, "Feature ablation", lambda steps: 16, removal=True),
    "occlusion": Method(occlusion, "Occlusion", lambda steps: 16, removal=True),
}
"""Name -> method; a new one is a function and a line here."""


def method(name: str) -> Method:
    """The method of that name; ValueError lists what exists."""
    if name not in METHODS:
        raise ValueError(f"no attribution method is called {name!r}; these exist: {', '.join(METHODS)}")
    return METHODS[name]


def options(found: Method, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options that this method takes; ValueError for a stranger."""
    takes = [name for name in inspect.signature(found.run).parameters if name not in ("explained", "references", "steps", "seed")]
    if strange := set(given) - set(takes):
        raise ValueError(f"{found.title} takes no {', '.join(sorted(strange))}; it takes {', '.join(takes) or 'no options'}")
    return dict(given)
