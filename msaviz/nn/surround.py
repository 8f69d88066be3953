"""How does any model get parts before and behind it, without knowing?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from msaviz.types import Batch, Output

HOOKS = ("prepare", "begin", "remember", "compares_domains")
"""What a trainer looks for in a model."""


class Surrounded(nn.Module):
    """`before` parts map a batch of vectors to (batch, losses), one after the other; `inner` reads it; `after` maps its output.

    `weights`: the first word of a part's loss ("imagination/step") -> its factor. The hooks of `inner` are those of the whole.
    """

    def __init__(self, inner: nn.Module, before: Sequence[nn.Module], after: nn.Module | None, weights: Mapping[str, float]):
        super().__init__()
        self.inner, self.before, self.after, self.weights = inner, nn.ModuleList(before), after, dict(weights)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name) if name in HOOKS else super().__getattr__(name)

    @property
    def reads_complete(self) -> bool:
        """Whether anyone here learns from the complete twin of a corrupted batch."""
        return any(getattr(part, "reads_complete", False) for part in (self.inner, *self.before))

    def forward(self, batch: Batch) -> Output:
        losses = {}
        for part in self.before:
            batch, found = part(batch)
            losses |= found
        if not getattr(self.inner, "reads_complete", False):
            batch = replace(batch, complete=None)
        output = self.inner(batch)
        own = set(output.losses)
        if self.after is not None:
            output = self.after(output)
        losses = {**output.losses, **losses}
        added = {name: self.weights.get(name.split("/")[0], 1.0) for name in losses if name not in own}
        return replace(output, losses=losses, weights={**output.weights, **added}) if added else output
