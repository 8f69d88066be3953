"""Do the experts read different coordinates?

Every ordered pair of experts, each with itself too, for each modality and for "joint" (the coordinates of all modalities in a row).
`overlap` is the Jaccard index of the coordinates that they read (1 for two experts that read nothing), `kept` the share of the
coordinates that `expert` reads, `floor` the Jaccard index to expect of two random masks of the same sizes.
"""

from __future__ import annotations

from functools import lru_cache
from math import lgamma

import numpy as np
import pandas as pd

from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered, long
from msaviz.interpret.trace import Trace
from msaviz.types import JOINT

COLUMNS = ("run", "split", "expert", "other", "modality", "overlap", "kept", "floor")


def answer(trace: Trace) -> pd.DataFrame:
    """Overlap of the experts' masks, those of the first batch: they are the same for every utterance."""
    masks = {m: mask.bool().numpy() for m, mask in trace.outputs[0].masks.items()} if trace.outputs else {}
    if masks:
        masks[JOINT] = np.concatenate(list(masks.values()), axis=1)
    return gathered([_overlap(mask).assign(modality=m) for m, mask in masks.items()], COLUMNS, run=trace.run, split=trace.split)


def _overlap(mask: np.ndarray) -> pd.DataFrame:
    """Rows of one modality, whose masks are Bool[e d]."""
    experts, width = mask.shape
    both = mask.astype(int) @ mask.T.astype(int)
    sizes = mask.sum(1)
    either = sizes[:, None] + sizes - both
    overlap = np.where(either > 0, both / either.clip(1), 1.0)
    floor = np.array([[expected_overlap(width, *sorted((int(a), int(b)))) for b in sizes] for a in sizes])
    kept = np.broadcast_to((sizes / max(width, 1))[:, None], overlap.shape)
    return long({"expert": range(experts), "other": range(experts)}, overlap=overlap, kept=kept, floor=floor)


@lru_cache(maxsize=4096)
def expected_overlap(width: int, a: int, b: int) -> float:
    """E[I / (a + b - I)] of two random masks that keep a and b of `width` coordinates: I is hypergeometric."""
    if a + b == 0:
        return 1.0

    def choices(n: int, k: np.ndarray) -> np.ndarray:
        """log of n over k."""
        return np.array([lgamma(n + 1) - lgamma(i + 1) - lgamma(n - i + 1) for i in k])

    shared = np.arange(max(0, a + b - width), min(a, b) + 1)
    chance = np.exp(choices(a, shared) + choices(width - a, b - shared) - choices(width, np.array([b])))
    return float((chance * shared / (a + b - shared)).sum())


TABLE = Table(COLUMNS, answer)
