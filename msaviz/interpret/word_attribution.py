"""Which words push the predictions up, and which down?

`value` is the mean of what the word brought wherever it occurs, in units of the prediction; `low`, `high` its 95 % bootstrap interval over
utterances (all occurrences in one utterance are drawn together), NaN for a word of a single utterance. `count`: occurrences.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from msaviz.interpret.attributed import HEAD, Subject, behind, checked, head
from msaviz.interpret.attribution import Attribution
from msaviz.interpret.expert_examples import TEXT
from msaviz.interpret.resample import resamples as drawn_rows
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered

COLUMNS = (*HEAD, "token", "value", "low", "high", "count", "utterances")


def answer(subject: Subject, *, least: int = 5, resamples: int = 300, seed: int = 0) -> pd.DataFrame:
    """One row for each attribution and word of at least `least` utterances, the highest value first; nothing without transcripts."""
    parts = [_words(found, least, resamples, seed).assign(**head(label, found)) for label, found in checked(subject).items()]
    return gathered(parts, COLUMNS)


def _words(found: Attribution, least: int, resamples: int, seed: int) -> pd.DataFrame:
    """token, value, low, high, count, utterances."""
    if TEXT not in found.steps or not found.trace.tokens:
        return pd.DataFrame()
    steps = found.steps[TEXT]
    said = pd.DataFrame({"token": behind(found.trace.tokens, steps.row, steps.time, ""), "row": steps.row, "value": steps.value})
    said = said[said["token"] != ""].astype({"value": float})
    by_word = said.groupby("token").agg(value=("value", "mean"), count=("value", "size"), utterances=("row", "nunique"))
    words = by_word[by_word["utterances"] >= least]
    if words.empty:
        return pd.DataFrame()
    kept = said[said["token"].isin(words.index)]
    low, high = _intervals(kept, words.index, len(found.explained), resamples, seed)
    single = (words["utterances"] < 2).to_numpy()
    words = words.assign(low=np.where(single, np.nan, low), high=np.where(single, np.nan, high))
    return words.sort_values("value", ascending=False, kind="stable").reset_index()


def _intervals(said: pd.DataFrame, words: pd.Index, utterances: int, resamples: int, seed: int) -> np.ndarray:
    """Float[2 v], low and high of each word's mean; a resample without the word does not count."""
    from scipy.sparse import csr_array

    place, shape = (words.get_indexer(said["token"]), said["row"].to_numpy()), (len(words), utterances)
    weights = drawn_rows(np.arange(utterances), resamples, seed).T.astype(np.float64)
    sums = csr_array((said["value"].to_numpy(), place), shape=shape) @ weights  # v B
    counts = csr_array((np.ones(len(said)), place), shape=shape) @ weights
    with np.errstate(invalid="ignore"):
        return np.nanquantile(np.where(counts > 0, sums / counts.clip(1), np.nan), [0.025, 0.975], axis=1)


TABLE = Table(COLUMNS, answer, of="attributions")
