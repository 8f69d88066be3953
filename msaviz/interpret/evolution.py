"""What is known of an evolution: who was tried, with which genes, from which parents, and how good it was?"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

TRIALS = (
    *("arm", "trial", "generation", "state", "error", "parameters", "seconds"),
    *("parent", "other", "crossed", "mutated", "inherited", "copy_of", "epochs"),
)
"""A row a trial. `arm`: "nsga2", "random", "tpe" or "default". `trial`: its number in the arm, from 0. `state`: "complete", "pruned"
(stopped as hopeless), "failed" or "running". `error`: the validation score averaged over all sets of modalities (MAE; for classes
1 - weighted F1), of a pruned trial the best that it had reached. `parent`: the trial whose weights and genes it began with, `other`: with
whom it was crossed (-1: none). `crossed`, `mutated`: names of the genes that came from the other parent, or were changed, separated by
spaces. `inherited`: the share of its weights that began as its parent's. `copy_of`: the trial whose genes it repeats, so that it was not
trained (-1: none); copies cost no budget. NaN where something is not known (yet)."""

GENES = ("arm", "trial", "gene", "value", "number")
"""A row a trial and gene. `gene`: a dotted option, "model.dim"; of a set of parts one row a part, "model.modalities[text]" with "True" or
"False". `value`: as text; `number`: as a number, True is 1 (NaN for a word)."""


@dataclass(frozen=True)
class Evolution:
    """The record of all arms of a search, `name`d after its folder. `ranges[gene]`: what it may be drawn from, {"choices": [...]} or
    {"low", "high", "log"}. `objectives`: what was made small, the first one first ("mae", "params")."""

    name: str
    trials: pd.DataFrame
    genes: pd.DataFrame
    ranges: dict[str, dict]
    objectives: tuple[str, ...] = ("mae", "params")

    @property
    def trained(self) -> pd.DataFrame:
        """The trials that were trained to the end, in order: neither copies nor pruned."""
        return self.trials[(self.trials["state"] == "complete") & (self.trials["copy_of"] < 0)]
