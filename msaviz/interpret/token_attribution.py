"""What did each step of an utterance bring to its prediction: each word, each moment of voice and face?

One row a valid step of a few utterances. `value` is in units of the prediction (or of the predicted class's logit); `evidence` says whether
the step was planted to tell the label ("yes", "no"; "" for data of unknown truth).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from msaviz.interpret.attributed import HEAD, Subject, behind, checked, head
from msaviz.interpret.attribution import Attribution, Steps
from msaviz.interpret.expert_examples import TEXT
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered

COLUMNS = (*HEAD, "example", "domain", "label", "prediction", "modality", "time", "token", "value", "evidence", "text")


def answer(subject: Subject, *, examples: Sequence[int] | None = None, count: int = 6) -> pd.DataFrame:
    """The steps of `examples` (row numbers in the split), or of `count` utterances evenly from the lowest prediction to the highest.

    An attribution of features has no steps and gives no rows. Raises ValueError for an example that the trace does not have.
    """
    parts = []
    for label, found in checked(subject).items():
        rows = _spread(found, count) if examples is None else _asked(found, examples)
        steps = [_steps(found, m, one, rows) for m, one in found.steps.items()]
        parts += [part.assign(**head(label, found)) for part in steps]
    frame = gathered(parts, (*COLUMNS, "place"))
    # method by method, utterance by utterance; modalities and times stay in their order
    order = frame.assign(method=pd.factorize(frame["method"])[0]).sort_values(["method", "place"], kind="stable").index
    return frame.loc[order, list(COLUMNS)].reset_index(drop=True)


def _spread(found: Attribution, count: int) -> np.ndarray:
    """Positions of `count` utterances, evenly by rank; those with steps only."""
    seen = np.unique(np.concatenate([one.row for one in found.steps.values()])) if found.steps else np.zeros(0, dtype=int)
    order = seen[np.lexsort((found.explained[seen], found.trace.examples["prediction"].to_numpy()[seen]))]
    return order[np.unique(np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int))]


def _asked(found: Attribution, examples: Sequence[int]) -> np.ndarray:
    known = pd.Index(found.trace.examples["example"])
    if strange := [example for example in examples if example not in known]:
        raise ValueError(
            f"no examples {strange} in split {found.trace.split!r}; this trace has {len(known)} from {known.min()} to {known.max()}"
        )
    return known.get_indexer(list(examples))


def _steps(found: Attribution, modality: str, steps: Steps, rows: np.ndarray) -> pd.DataFrame:
    """The steps of one modality in these utterances; `place`: where the utterance stands in `rows`."""
    place = pd.Index(rows).get_indexer(steps.row)
    value, row, time = (array[place >= 0] for array in (steps.value, steps.row, steps.time))
    tokens = behind(found.trace.tokens if modality == TEXT else (), row, time, "")
    planted = behind(found.trace.evidence.get(modality, ()), row, time, None)
    about = found.trace.described.iloc[row].reset_index(drop=True)
    told = ["" if one is None else "yes" if one else "no" for one in planted]
    return about.assign(modality=modality, time=time, token=tokens, value=value, evidence=told, place=place[place >= 0])


TABLE = Table(COLUMNS, answer, of="attributions")
