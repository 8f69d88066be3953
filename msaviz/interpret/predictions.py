"""What did the model predict for each utterance, and into which group does that put it?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from msaviz.interpret.groups import Grouping, binned
from msaviz.interpret.table import Table
from msaviz.interpret.trace import Trace

COLUMNS = ("run", "split", "example", "domain", "label", "prediction", "error", "label_group", "prediction_group")


def answer(trace: Trace) -> pd.DataFrame:
    """One row an utterance; groups are negative, neutral, positive or the class names, "" without a label."""
    task = trace.spec.task
    examples = trace.examples
    return examples[list(COLUMNS[:7])].assign(
        label_group=_names(binned(examples["label"].to_numpy(), task)),
        prediction_group=_names(binned(examples["prediction"].to_numpy(), task)),
    )


def _names(groups: Grouping) -> np.ndarray:
    return np.array([*groups.names, ""], dtype=object)[groups.codes]  # code -1 picks the last, ""


TABLE = Table(COLUMNS, answer)
