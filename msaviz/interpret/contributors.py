"""Whose words are the contributors of a fusion, by modality?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from msaviz.interpret.trace import Trace
from msaviz.types import JOINT


def importance(trace: Trace) -> np.ndarray | None:
    """Float[n k], what the model says of its contributors; None where it says nothing."""
    values = [output.importance for output in trace.outputs]
    if not values or any(value is None for value in values) or not trace.outputs[0].contributors:
        return None
    return torch.cat([value for value in values if value is not None]).double().numpy()


def members(contributor: str, modalities: Sequence[str]) -> tuple[str, ...]:
    """The modalities behind a contributor: "text+audio" is a set of two, "private/text" is of text, anything else of "joint"."""
    together = tuple(contributor.split("+"))
    if set(together) <= set(modalities):
        return together
    last = contributor.rpartition("/")[2]
    return (last,) if last in modalities else (JOINT,)


def by_modality(trace: Trace) -> pd.DataFrame | None:
    """Float[n m] by modality: the importance of its contributors; that of a set falls on its members evenly. None without importance."""
    found = importance(trace)
    if found is None:
        return None
    behind = [members(name, trace.spec.modalities) for name in trace.outputs[0].contributors]
    names = [m for m in (*trace.spec.modalities, JOINT) if any(m in one for one in behind)]
    share = np.array([[(m in one) / len(one) for m in names] for one in behind])  # k m
    return pd.DataFrame(found @ share, columns=names)
