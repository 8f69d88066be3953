"""What is each part of a pickle of dialogues? Its content tells, whatever the order (see `dialogues` for the layout)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from msaviz.data.emotions import one_hot

ByDialogue = Mapping[Any, Sequence[Any]]
"""Dialogue -> one item an utterance."""


@dataclass
class Contents:
    """The parts of a file by what they are: "vectors", "labels", "speakers", "sentences", "ids", "dialogues" or "other"."""

    parts: Sequence[Any]

    def __post_init__(self) -> None:
        self.kinds = [kind(part) for part in self.parts]

    def __getitem__(self, kind: str) -> list[Any]:
        return [part for part, own in zip(self.parts, self.kinds, strict=True) if own == kind]

    def __str__(self) -> str:
        """The parts in the file's order, as a user is told of them."""
        each = zip(self.parts, self.kinds, strict=True)
        return ", ".join(f"{kind} [{width(part)}]" if kind == "vectors" else kind for part, kind in each) or "nothing"


def kind(part: Any) -> str:
    """What this part of a file is (`Contents`)."""
    if not isinstance(part, Mapping):
        ids = isinstance(part, (list, tuple, set, frozenset)) or (isinstance(part, np.ndarray) and part.ndim == 1)
        return "dialogues" if ids and len(part) and all(isinstance(i, str) or _is_number(i) for i in part) else "other"
    if not all(isinstance(value, (list, tuple)) or np.ndim(value) > 0 for value in part.values()):
        return "other"
    if not (items := [item for value in part.values() for item in value]):
        return "other"
    if all(isinstance(item, str) for item in items):
        spaced = np.mean([" " in item.strip() for item in items]) > 0.5
        return "sentences" if spaced else "ids" if _different(part) else "speakers"
    if all(map(_is_number, items)):
        whole = all(item == round(item) and item >= -1 for item in map(float, items) if np.isfinite(item))
        return "other" if not whole else "ids" if _different(part) else "labels"
    if all(map(_is_vector, items)) and len({len(item) for item in items}) == 1:
        return "speakers" if one_hot(np.asarray(items, dtype=np.float32)) else "vectors"
    return "other"


def _different(part: ByDialogue) -> bool:
    """Whether no two items of a dialogue are alike."""
    return max(map(len, part.values())) > 1 and all(len({str(item) for item in value}) == len(value) for value in part.values())


def _is_number(item: Any) -> bool:
    return isinstance(item, (int, float, np.number))


def _is_vector(item: Any) -> bool:
    if isinstance(item, np.ndarray):
        return item.ndim == 1 and item.size > 0 and item.dtype.kind in "iufb"
    return isinstance(item, (list, tuple)) and len(item) > 0 and all(map(_is_number, item))


def width(part: ByDialogue) -> int:
    return next(len(item) for value in part.values() for item in value)
