"""Which utterances, and which of their tokens, does each expert get with the largest gate?

A router of tokens: an utterance counts with the token on which its gate is largest (`time`: its first source step), so that no utterance
fills the list alone; learned summary tokens stand for no place and are left out. A router of utterances: `time` is -1, `token` empty.
`gate` is that of the token, or of the utterance; `share` the expert's mean gate over the utterance. `token` is what the text modality
has there, the tokens of a window joined; empty for other modalities and without a transcript.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered
from msaviz.interpret.tokens import Routed, routed
from msaviz.interpret.trace import Trace

COLUMNS = (
    *("run", "split", "router", "modality", "expert", "rank", "example", "time"),
    *("token", "text", "gate", "share", "label", "prediction"),
)
TEXT = "text"
"""The modality whose steps are the trace's tokens."""
DIGITS = 6
"""Gates that differ only after so many digits are equal: the utterance's share decides."""


def answer(trace: Trace, *, top: int = 5) -> pd.DataFrame:
    """The `top` utterances of each expert of each router, `rank` 1 first; the classes of a classification by name."""
    parts = [
        _best(tokens, trace, top).join(trace.described, on="row").assign(router=tokens.router, modality=tokens.modality)
        for tokens in routed(trace)
    ]
    return gathered(parts, COLUMNS, run=trace.run, split=trace.split)


def _best(tokens: Routed, trace: Trace, top: int) -> pd.DataFrame:
    """row, expert, rank, time, token, gate, share of the strongest tokens, one an utterance."""
    place = np.arange(len(tokens.row)) if tokens.time is None else np.flatnonzero(tokens.time >= 0)
    count = len(place)
    frame = pd.DataFrame(
        {
            "expert": np.repeat(np.arange(tokens.experts), count),
            "place": np.tile(place, tokens.experts),
            "row": np.tile(tokens.row[place], tokens.experts),
            "gate": tokens.gates[place].T.reshape(-1).astype(np.float64),
            "share": tokens.by_utterance[tokens.row[place]].T.reshape(-1),
        }
    )
    order = frame.assign(gate=-frame["gate"].round(DIGITS), share=-frame["share"].round(DIGITS))
    order = order.sort_values(["expert", "gate", "share", "row", "place"]).drop_duplicates(["expert", "row"])
    best = order.groupby("expert").head(top).index
    frame = frame.loc[best].reset_index(drop=True)
    frame["rank"] = frame.groupby("expert").cumcount() + 1
    starts = np.full(len(frame), -1) if tokens.time is None else tokens.time[frame["place"]]
    stops = starts if tokens.time is None else _stops(trace, tokens)[frame["place"]]
    said = trace.tokens if tokens.modality == TEXT and tokens.time is not None else ()
    words = [" ".join(said[row][a:b]) if said else "" for row, a, b in zip(frame["row"], starts, stops, strict=True)]
    return frame.assign(time=starts, token=words)


def _stops(trace: Trace, tokens: Routed) -> np.ndarray:
    """Int[N]: the source step after the last one of each routed token's window: where the next window of its utterance would start."""
    key = next(key for key in trace.routers if key in (tokens.router, f"{tokens.router}/{tokens.modality}"))
    parts = []
    for batch, step in zip(trace.batches, trace.routing(key), strict=True):
        assert step.time is not None
        time = step.time.expand(step.mask.shape)
        before = time[:, -2:-1].clamp(min=-1) if time.shape[1] > 1 else torch.full_like(time, -1)
        steps = max(x.shape[1] for x in batch.mask.values())
        last = torch.where(before < 0, steps, 2 * time[:, -1:] - before)
        parts.append(torch.cat([time[:, 1:], last], 1)[step.mask])
    return torch.cat(parts).numpy()


TABLE = Table(COLUMNS, answer)
