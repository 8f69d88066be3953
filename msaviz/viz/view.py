"""What is a view: a picture of one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from msaviz.viz.theme import note, styled

UNKNOWN = "No number here is known: what they measure is undefined for these utterances."


@dataclass(frozen=True)
class View:
    """A picture. `draw(frame, **options)` turns the columns `needs` of table `table` into a figure.

    `read(frame)` says in one sentence what the picture shows (numbers included); `explain` says how to read it.
    `known`: the numbers without which a row says nothing. Rows that lack one are drawn as gaps and not read; where all rows do, picture
    and sentence say so. Calling a view checks the columns, mutates nothing, shows nothing; an empty frame gives a figure with a note.
    """

    table: str
    needs: tuple[str, ...]
    draw: Callable[..., go.Figure]
    read: Callable[[pd.DataFrame], str]
    title: str
    explain: str = ""
    known: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "read", self._careful(self.read))

    def __call__(self, frame: pd.DataFrame, **options: Any) -> go.Figure:
        missing = [c for c in self.needs if c not in frame.columns]
        if missing:
            raise ValueError(f"{self.title!r} needs the columns {missing}; the frame has {list(frame.columns)}")
        if frame.empty:
            return note(f"Nothing to draw: this model or split has no data for “{self.title}”.", title=self.title)
        if self._told(frame).empty:
            return note(UNKNOWN, title=self.title)
        # frames of several runs under each other may repeat their index
        return styled(self.draw(frame.reset_index(drop=True), **options), title=self.title)

    def _told(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows whose `known` numbers are numbers."""
        return frame[np.isfinite(frame[list(self.known)].astype(float)).all(axis=1)] if self.known else frame

    def _careful(self, read: Callable[[pd.DataFrame], str]) -> Callable[[pd.DataFrame], str]:
        @wraps(read)
        def careful(frame: pd.DataFrame) -> str:
            told = frame if frame.empty else self._told(frame)
            return UNKNOWN if told.empty and len(frame) else read(told)

        return careful
