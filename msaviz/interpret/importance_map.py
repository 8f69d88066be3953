"""Which modality does each single prediction rest on?

`value`: the importance that the fusion gives to the contributors of the modality; shares that sum to 1 over the modalities of an
utterance. A set of modalities ("text+audio") counts evenly for its members. Utterances in which nothing is present have no rows.
"""

from __future__ import annotations

import pandas as pd

from msaviz.interpret.contributors import by_modality
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered
from msaviz.interpret.trace import Trace

COLUMNS = ("run", "split", "example", "domain", "label", "prediction", "error", "modality", "value")


def answer(trace: Trace) -> pd.DataFrame:
    """One row for each utterance and modality; nothing for a model without importance."""
    shares = by_modality(trace)
    if shares is None:
        return pd.DataFrame()
    total = shares.sum(axis=1)
    shares = shares[total > 0].div(total[total > 0], axis=0)
    long = shares.rename_axis("row").reset_index().melt("row", var_name="modality", value_name="value").sort_values("row", kind="stable")
    return gathered([long.join(trace.examples, on="row")], COLUMNS)


TABLE = Table(COLUMNS, answer)
