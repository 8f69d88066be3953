"""What is taken away from a batch, so that its masks depend on nothing but (seed, epoch, example, modality)?

A missingness is a frozen value that is chosen by its `kind`; `corrupt(batch, missingness, seed=..., epoch=...)` applies it and returns a
new batch. The random numbers are a hash of (seed, epoch, example, modality, step), no generator state: so the masks are the same for any
batch order, composition, padding or number of workers, are redrawn every epoch, are independent between modalities, and are nested in the
rate (what is gone at r = .3 is gone at r = .4). The taxonomy is that of CIDer: RMFM `random`, RMM `modality`, TMFM `span`, STMFM
`structured`, SMM `subset`; `noise` adds Gaussian noise; `mixture` is for training (after LNLN: each utterance and modality draws a rate).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, model_validator
from torch import Tensor

from msaviz.options import Options, read_value
from msaviz.types import Batch

Rate = Annotated[float, Field(ge=0, le=1)]
Rates = Rate | dict[str, Rate]
"""One rate for all modalities, or one a modality (a modality that is not named keeps everything)."""

GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)  # splitmix64 (Steele, Lea & Flood 2014), written as signed 64-bit numbers
FIRST, SECOND = 0xBF58476D1CE4E5B9 - (1 << 64), 0x94D049BB133111EB - (1 << 64)


@lru_cache(maxsize=4096)
def _key(seed: int, epoch: int, stream: str) -> int:
    digest = hashlib.blake2b(f"{seed}|{epoch}|{stream}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def _mix(z: Tensor) -> Tensor:
    """The finaliser of splitmix64 on int64 (products wrap; the masks make the arithmetic shifts logical)."""
    z = (z ^ ((z >> 30) & 0x3FFFFFFFF)) * FIRST
    z = (z ^ ((z >> 27) & 0x1FFFFFFFFF)) * SECOND
    return z ^ ((z >> 31) & 0x1FFFFFFFF)


def uniform(seed: int, epoch: int, example: Int[Tensor, " b"], modality: str, steps: int) -> Float[Tensor, "b steps"]:
    """U(0, 1), both ends excluded, as a pure function of (seed, epoch, example, modality, step); 23 random bits each."""
    row = _mix(example.long() * GOLDEN + _key(seed, epoch, modality))
    counter = torch.arange(1, steps + 1, device=example.device) * GOLDEN
    bits = (_mix(row.unsqueeze(1) + counter) >> 41) & 0x7FFFFF
    return (bits.float() + 0.5) * 2.0**-23


@dataclass(frozen=True)
class Draw:
    """The random numbers of some utterances in one epoch: `draw.uniform(stream, steps)` is Float[b steps]."""

    seed: int
    epoch: int
    example: Int[Tensor, " b"]

    def uniform(self, stream: str, steps: int) -> Float[Tensor, "b steps"]:
        return uniform(self.seed, self.epoch, self.example, stream, steps)


class Corruption(Options):
    """A kind of missingness. Both methods are pure: they say what goes, `corrupt` takes it away."""

    kind: str

    @property
    def names(self) -> set[str]:
        """The modalities that these options name."""
        rate = getattr(self, "rate", None)
        return set(rate) if isinstance(rate, Mapping) else set()

    def frames(self, draw: Draw, modality: str, mask: Bool[Tensor, "b t"]) -> Bool[Tensor, "b t"] | None:
        """True on the steps to remove (valid or not; None for none)."""
        return None

    def modalities(self, draw: Draw, present: Mapping[str, Bool[Tensor, " b"]]) -> dict[str, Bool[Tensor, " b"]]:
        """True for the utterances that lose the whole modality (an absent key loses it nowhere)."""
        return {}


class Nothing(Corruption):
    """Everything stays."""

    kind: Literal["none"] = "none"


class RandomFrames(Corruption):
    """Every step goes with probability `rate`, by itself (RMFM): a step stays iff U > r."""

    kind: Literal["random"] = "random"
    rate: Rates = 0.5

    def frames(self, draw: Draw, modality: str, mask: Bool[Tensor, "b t"]) -> Bool[Tensor, "b t"] | None:
        return draw.uniform(modality, mask.shape[1]) <= _rate(self.rate, modality)


class WholeModality(Corruption):
    """Every modality of every utterance goes with probability `rate` (RMM); at least one that is there stays."""

    kind: Literal["modality"] = "modality"
    rate: Rates = 0.5

    def modalities(self, draw: Draw, present: Mapping[str, Bool[Tensor, " b"]]) -> dict[str, Bool[Tensor, " b"]]:
        rates = {m: torch.full_like(p, _rate(self.rate, m), dtype=torch.float32) for m, p in present.items()}
        return _whole(draw, present, rates)


class Spans(Corruption):
    """`count` contiguous spans go, one in each of `count` equal parts of the valid steps (STMFM), a share `rate` of each part."""

    kind: Literal["structured"] = "structured"
    rate: Rates = 0.5
    count: int = Field(default=4, ge=1)

    def frames(self, draw: Draw, modality: str, mask: Bool[Tensor, "b t"]) -> Bool[Tensor, "b t"] | None:
        return _spans(draw, modality, mask, _rate(self.rate, modality), self.count)


class Span(Corruption):
    """One contiguous span goes, a share `rate` of the valid steps, somewhere (TMFM)."""

    kind: Literal["span"] = "span"
    rate: Rates = 0.5

    def frames(self, draw: Draw, modality: str, mask: Bool[Tensor, "b t"]) -> Bool[Tensor, "b t"] | None:
        return _spans(draw, modality, mask, _rate(self.rate, modality), 1)


class Subset(Corruption):
    """Only the modalities in `keep` stay (SMM); an utterance that has none of them keeps nothing."""

    kind: Literal["subset"] = "subset"
    keep: Annotated[tuple[str, ...], BeforeValidator(lambda v: tuple(v.split("+")) if isinstance(v, str) else v)]

    @property
    def names(self) -> set[str]:
        return set(self.keep)

    def modalities(self, draw: Draw, present: Mapping[str, Bool[Tensor, " b"]]) -> dict[str, Bool[Tensor, " b"]]:
        return {m: torch.ones_like(p) for m, p in present.items() if m not in self.keep}


class Noise(Corruption):
    """Gaussian noise of standard deviation `scale` on every valid frame (features are normalised); token ids stay as they are."""

    kind: Literal["noise"] = "noise"
    scale: float = Field(default=1.0, ge=0)


class Mixture(Corruption):
    """For training: a share `clean` of the utterances stays whole; in the others every modality draws its own r ~ U(low, high).

    The rate acts on steps; with `inter_modal` it is the probability that the whole modality goes, and at least one stays.
    """

    kind: Literal["mixture"] = "mixture"
    clean: Rate = 0.5
    low: Rate = 0.0
    high: Rate = 1.0
    inter_modal: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Mixture:
        if self.low > self.high:
            raise ValueError(f"low={self.low} is above high={self.high}")
        return self

    def drawn(self, draw: Draw, modality: str) -> Float[Tensor, " b"]:
        """The rate that each utterance draws for this modality; 0 for the clean ones."""
        whole = draw.uniform("/clean", 1)[:, 0] < self.clean
        rate = self.low + (self.high - self.low) * draw.uniform(f"{modality}/rate", 1)[:, 0]
        return rate.masked_fill(whole, 0.0)

    def frames(self, draw: Draw, modality: str, mask: Bool[Tensor, "b t"]) -> Bool[Tensor, "b t"] | None:
        if self.inter_modal:
            return None
        return draw.uniform(modality, mask.shape[1]) <= self.drawn(draw, modality).unsqueeze(1)

    def modalities(self, draw: Draw, present: Mapping[str, Bool[Tensor, " b"]]) -> dict[str, Bool[Tensor, " b"]]:
        return _whole(draw, present, {m: self.drawn(draw, m) for m in present}) if self.inter_modal else {}


def read_missingness(value: Any) -> Any:
    """Shorthand -> options: "none", "random:0.3", "subset:text+audio", "mixture:clean=.3,inter_modal=true", .3 (random steps)."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return RandomFrames(rate=value)
    if not isinstance(value, str):
        return value
    kind, _, rest = value.partition(":")
    first = {"subset": "keep", "noise": "scale", "mixture": "clean"}.get(kind, "rate")
    pairs = [part.split("=", 1) if "=" in part else [first, part] for part in rest.split(",") if part]
    return {"kind": kind.strip(), **{key.strip(): read_value(text.strip()) for key, text in pairs}}


Missingness = Annotated[
    Nothing | RandomFrames | WholeModality | Span | Spans | Subset | Noise | Mixture,
    Field(discriminator="kind"),
    BeforeValidator(read_missingness),
]
"""The type of an option that holds a missingness; shorthand, a dict with `kind`, and ready objects are all read."""

_READER: TypeAdapter[Any] = TypeAdapter(Missingness)


def missingness(value: Any) -> Corruption:
    """Whatever describes a missingness (object, dict, shorthand, rate, None for nothing), as its options; ValueError in plain words."""
    try:
        return _READER.validate_python(Nothing() if value is None else value)
    except ValidationError as error:
        reasons = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ValueError(f"{value!r} describes no missingness ({reasons})") from None


def corrupt(batch: Batch, missingness: Corruption, *, seed: int, epoch: int = 0, unknown: Mapping[str, int] | None = None) -> Batch:
    """A new batch with less in it: frames become zero, tokens `unknown[m]`, `complete` is the untouched batch, `dropped` says what went.

    Removed steps stay in `mask` (their place in time is known); a modality that goes as a whole has a mask of False and zeros. The first
    and the last valid token stay, for token ids and for the modality "text" (vectors: where there are over two, or a mean vector could
    never go). What was absent stays absent. `none` returns the batch itself. A batch corrupted before keeps its first `complete`.
    """
    if isinstance(missingness, Nothing):
        return batch
    strangers = missingness.names - set(batch.modalities)
    if strangers:
        raise ValueError(f"{missingness.kind!r} names the modalities {sorted(strangers)}; the batch has {list(batch.modalities)}")
    draw = Draw(seed, epoch, batch.example)
    gone = missingness.modalities(draw, {m: batch.present(m) for m in batch.modalities})
    x, mask, dropped = {}, {}, {}
    for m, before in batch.mask.items():
        x[m], mask[m], dropped[m] = _take(batch.x[m], before, m, missingness, draw, gone.get(m), unknown or {})
        if m in batch.dropped:
            dropped[m] = dropped[m] | batch.dropped[m]
    return replace(batch, x=x, mask=mask, dropped=dropped, complete=batch if batch.complete is None else batch.complete)


def _take(
    x: Tensor, mask: Tensor, modality: str, missingness: Corruption, draw: Draw, gone: Tensor | None, unknown: Mapping[str, int]
) -> tuple[Tensor, Bool[Tensor, "b t"], Bool[Tensor, "b t"]]:
    """One modality's (x, mask, dropped) after the corruption."""
    dropped = torch.zeros_like(mask)
    tokens = not x.is_floating_point()
    if isinstance(missingness, Noise) and not tokens:
        u = draw.uniform(modality, x.shape[1] * x.shape[2]).view(x.shape)
        x = torch.where(mask.unsqueeze(-1), x + missingness.scale * torch.erfinv(2 * u - 1).to(x.dtype) * 2**0.5, x)
    frames = missingness.frames(draw, modality, mask)
    if frames is not None:
        dropped = frames & mask & ~_ends(mask, 0 if tokens else 2) if tokens or modality == "text" else frames & mask
        if tokens and modality not in unknown:
            raise ValueError(f"the token ids of {modality!r} need the id of the unknown token; `unknown` names {sorted(unknown)}")
        x = x.masked_fill(dropped, unknown[modality]) if tokens else x * ~dropped.unsqueeze(-1)  # 5 times as fast as masked_fill
    if gone is not None:
        lost = gone.unsqueeze(1)
        dropped, mask = dropped | (mask & lost), mask & ~lost
        x = x * ~(lost if tokens else lost.unsqueeze(-1))
    return x, mask, dropped


def _ends(mask: Bool[Tensor, "b t"], over: int) -> Bool[Tensor, "b t"]:
    """True on the first and the last valid step of the rows that have more than `over` valid steps."""
    order = mask.cumsum(1)
    length = order[:, -1:]
    return mask & ((order == 1) | (order == length)) & (length > over)


def _rate(rates: float | Mapping[str, float], modality: str) -> float:
    return rates.get(modality, 0.0) if isinstance(rates, Mapping) else rates


def _whole(draw: Draw, present: Mapping[str, Tensor], rates: Mapping[str, Float[Tensor, " b"]]) -> dict[str, Bool[Tensor, " b"]]:
    """A modality goes iff U <= its rate; where all would go, the one that would go last as the rates grow stays (so masks are nested)."""
    there = torch.stack(list(present.values()), 1)
    rate = torch.stack([rates[m] for m in present], 1)
    u = torch.cat([draw.uniform(f"{m}/whole", 1) for m in present], 1)
    gone = u <= rate
    last = torch.where(there, u / rate, -1.0).argmax(1, keepdim=True)
    emptied = (gone | ~there).all(1, keepdim=True)
    gone = gone & ~(emptied & torch.zeros_like(gone).scatter(1, last, True))
    return dict(zip(present, gone.unbind(1), strict=True))


def _spans(draw: Draw, modality: str, mask: Bool[Tensor, "b t"], rate: float, count: int) -> Bool[Tensor, "b t"]:
    """True inside one span a part; the spans grow with the rate around the same place, so they are nested."""
    order = mask.cumsum(1) - 1  # the valid steps, counted from 0
    total = mask.sum(1, keepdim=True)
    part = (order * count // total.clamp(min=1)).clamp(0, count - 1)
    start, end = -(-part * total // count), -(-(part + 1) * total // count)
    place, rounding = (draw.uniform(f"{modality}/{name}", count).gather(1, part) for name in ("place", "rounding"))
    length = torch.minimum((rate * (end - start) + rounding).floor().long(), end - start)  # random rounding: the share is right on average
    begin = start + (place * (end - start - length + 1)).floor().long()
    return (order >= begin) & (order < begin + length) & mask
