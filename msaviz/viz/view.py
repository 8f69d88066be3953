"""What is a view: a picture of one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz.theme import note, styled


@dataclass(frozen=True)
class View:
    """A picture. `draw(frame, **options)` turns the columns `needs` of table `table` into a figure.

    `read(frame)` says in one sentence what the picture shows (numbers included); `explain` says how to read it.
    Calling a view checks the columns, mutates nothing, shows nothing; an empty frame gives a figure with a note.
    """

    table: str
    needs: tuple[str, ...]
    draw: Callable[..., go.Figure]
    read: Callable[[pd.DataFrame], str]
    title: str
    explain: str = ""

    def __call__(self, frame: pd.DataFrame, **options: Any) -> go.Figure:
        missing = [c for c in self.needs if c not in frame.columns]
        if missing:
            raise ValueError(f"{self.title!r} needs the columns {missing}; the frame has {list(frame.columns)}")
        if frame.empty:
            return note(f"Nothing to draw: this model or split has no data for “{self.title}”.", title=self.title)
        # frames of several runs under each other may repeat their index
        return styled(self.draw(frame.reset_index(drop=True), **options), title=self.title)
