"""What is a table: a question about a trace, with the columns of its answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Table:
    """A question. `answer(trace, **options)` returns a tidy frame that has exactly `columns` (checked).

    `of` says what is asked: "trace" (one model over one split), "epochs" ({epoch: its trace}), "subsets" ({"text+audio": the trace
    with these modalities alone}, all of them last), "conditions" ({name: a trace}), "attributions" ({label: an `Attribution`}, all of
    one trace), "sweep" (the frame of a protocol), "comparison" (that of a comparison on unseen domains), "results" (that of a results
    table), "history" (that of a run's history) or "evolution" (an `Evolution`). An answer to something the model does not have (a
    table of routers for a model without routers) is an empty frame with the same columns, not an error.
    """

    columns: tuple[str, ...]
    answer: Callable[..., pd.DataFrame]
    of: str = "trace"

    def __call__(self, subject: Any, **options: Any) -> pd.DataFrame:
        frame = self.answer(subject, **options)
        if frame.empty and not len(frame.columns):
            frame = pd.DataFrame(columns=list(self.columns))
        assert tuple(frame.columns) == self.columns, f"expected columns {self.columns}, got {tuple(frame.columns)}"
        return frame
