"""Does an attribution point at the steps that were planted to tell the label? (synthetic data only)

Metrics, by utterance: `pointing`, whether the step with the largest |value| is evidence (Zhang et al. 2018, the pointing game); `mass`, the
share of the sum of |value| that evidence has; `top_k`, the share of evidence among the k largest |value|, where k is the number of evidence
steps. Ties count as if they were broken at random. `chance`: what a random order reaches, the share of evidence among the steps. Utterances
without evidence or steps are left out, and for `mass` those in which nothing was given to any step.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from msaviz.interpret.attributed import HEAD, head
from msaviz.interpret.attribution import Attribution
from msaviz.interpret.judged import ALL, stepwise
from msaviz.interpret.resample import averages
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered

COLUMNS = (*HEAD, "modality", "metric", "value", "low", "high", "chance", "utterances")
METRICS = ("pointing", "mass", "top_k")


def answer(attributions: Mapping[str, Attribution], *, resamples: int = 300, seed: int = 0) -> pd.DataFrame:
    """Each method in each modality and in "all": the mean over utterances with its 95 % bootstrap interval; nothing without evidence."""
    parts = []
    for label, one in stepwise(attributions).items():
        steps = {m: _steps(one, m) for m in one.steps if m in one.trace.evidence}
        if steps:
            steps = {ALL: pd.concat(steps.values(), ignore_index=True), **steps}
        for m, rows in steps.items():
            found, chance = _found(rows)
            if len(found):
                judged = averages(found, resamples, seed).assign(metric=list(METRICS), modality=m, **head(label, one))
                judged["chance"] = averages(np.where(np.isfinite(found), chance[:, None], np.nan), 1, seed)["value"]
                parts.append(judged[judged["utterances"] > 0])
    return gathered(parts, COLUMNS)


def _steps(attribution: Attribution, modality: str) -> pd.DataFrame:
    """row, size, evidence of every step of the modality."""
    steps, planted = attribution.steps[modality], attribution.trace.evidence[modality]
    start = np.cumsum([0, *(len(one) for one in planted)])
    evidence = np.concatenate([np.asarray(one, dtype=bool) for one in planted])
    return pd.DataFrame({"row": steps.row, "size": np.abs(steps.value), "evidence": evidence[start[steps.row] + steps.time]})


def _found(steps: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Float[u 3], the metrics of every utterance that has evidence, and Float[u], its share of evidence."""
    each = steps.groupby("row", sort=True)
    steps = steps.assign(count=each["evidence"].transform("sum"))[lambda rows: rows["count"] > 0]
    each = steps.groupby("row", sort=True)
    by_size = each["size"].rank(method="first", ascending=False)
    # the size of the largest step, and of the k-th largest
    first = steps["size"].where(by_size == 1).groupby(steps["row"]).transform("max")
    last = steps["size"].where(by_size == steps["count"]).groupby(steps["row"]).transform("max")
    told = steps["evidence"].astype(float)
    pointing = told.where(steps["size"] == first).groupby(steps["row"]).mean()
    total = each["size"].sum()
    mass = (steps["size"] * told).groupby(steps["row"]).sum() / total.where(total > 0)
    above, tied = steps["size"] > last, steps["size"] == last
    k, sure = each["count"].first(), above.groupby(steps["row"]).sum()
    hit = (told * above).groupby(steps["row"]).sum() + (k - sure) * told.where(tied).groupby(steps["row"]).mean()
    return np.stack([pointing, mass, hit / k], 1), each["evidence"].mean().to_numpy()


TABLE = Table(COLUMNS, answer, of="attributions")
