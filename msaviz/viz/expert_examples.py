"""Which utterances and tokens does each expert get, in their own words?"""

from __future__ import annotations

from unicodedata import east_asian_width

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz.grid import panels
from msaviz.viz.theme import GREY, faint, safes
from msaviz.viz.view import View
from msaviz.viz.words import chosen, label, listed, number, sentence, unique

NEEDS = ("run", "router", "modality", "expert", "rank", "example", "time", "token", "text", "gate", "share", "label", "prediction")
LETTERS, ROW, HEAD = 60, 24, 30
"""Latin letters of a transcript that surely fit on one line; pixels of a row and of the head of a table."""
HEADS = ("expert", "gate", "share", "step", "token", "transcript", "label", "prediction", "row")
WIDTHS = (56, 45, 50, 44, 105, 440, 62, 86, 48)


def draw(frame: pd.DataFrame, *, router: str | None = None, ranks: int = 3) -> go.Figure:
    """A table for each router and modality (or those of one `router`), `ranks` lines an expert: its gate, the token and the transcript.

    A transcript that is too long for its line is cut around the token.
    """
    if router is not None:
        chosen(router, unique(frame["router"]), "router")
        frame = frame[frame["router"] == router]
    frame = frame[frame["rank"] <= ranks]
    names = frame["router"] + " · " + frame["modality"]
    frame = frame.assign(panel=label(frame.assign(name=names), "run", "name"))
    titles = unique(frame["panel"])
    parts = [frame[frame["panel"] == title] for title in titles]
    heights = [HEAD + ROW * len(part) + 8 for part in parts]
    gap, total = 40, sum(heights) + 40 * (len(parts) - 1)
    cells = {"specs": [[{"type": "table"}]] * len(parts), "row_heights": heights}
    headings = [f"router {title}" for title in titles] if len(parts) > 1 else ["", ""][: len(parts)]
    figure, places = panels(headings, columns=1, **cells, vertical_spacing=gap / total if len(parts) > 1 else 0.0)
    for part, place in zip(parts, places, strict=True):
        figure.add_trace(_table(part), **place)
    if len(parts) == 1:
        words = {"x": 0, "y": 1, "xref": "paper", "yref": "paper", "yshift": 18, "showarrow": False, "font_size": 13}
        figure.add_annotation(text=safes([f"router {titles[0]}"])[0], **words)
    figure.update_annotations(x=0, xanchor="left")
    return figure.update_layout(height=total + 110, margin={"t": 90, "b": 20, "l": 20, "r": 20})


def _table(part: pd.DataFrame) -> go.Table:
    shown = {
        "expert": [str(expert) if rank == 1 else "" for expert, rank in zip(part["expert"], part["rank"], strict=True)],
        "gate": [number(value, 2) for value in part["gate"]],
        "share": [number(value, 2) for value in part["share"]],
        "step": [str(time) if time >= 0 else "–" for time in part["time"]],
        "token": safes(cut(token, "", 18) for token in part["token"]),
        "transcript": safes(cut(text, token, LETTERS) for text, token in zip(part["text"], part["token"], strict=True)),
        "label": safes(_said(value) for value in part["label"]),
        "prediction": safes(_said(value) for value in part["prediction"]),
        "row": safes(part["example"]),
    }
    looks = {"align": ["left" if head in ("token", "transcript") else "right" for head in HEADS], "line_color": faint(GREY, 0.4)}
    return go.Table(
        columnwidth=list(WIDTHS),
        header={"values": list(HEADS), "height": HEAD, "fill_color": faint(GREY, 0.2), **looks},
        cells={"values": [shown[head] for head in HEADS], "height": ROW, "fill_color": "rgba(0,0,0,0)", "font_size": 12, **looks},
    )


def cut(text: str, token: str, letters: int) -> str:
    """At most so many letters (half as many Chinese ones), around the token where it is found; … where something is missing."""
    text = " ".join(str(text).split())
    wide = sum(east_asian_width(letter) in "WF" for letter in text)
    letters = letters * len(text) // max(len(text) + wide, 1)
    if len(text) <= letters:
        return text
    at = text.lower().find(str(token).strip("# ").lower()) if token else 0
    start = min(max(at - letters // 3, 0), len(text) - letters)
    found = text[start : start + letters]
    return ("…" + found[1:] if start else found)[:-1] + "…" if start + letters < len(text) else "…" + found[1:]


def _said(value: object) -> str:
    """A number with two digits, a class as it is called."""
    return number(value, 2) if isinstance(value, float) else str(value)


@sentence
def read(frame: pd.DataFrame) -> str:
    frame = frame.reset_index(drop=True)
    best = frame[frame["rank"] == 1]
    top = best.loc[best["gate"].idxmax()]
    which = f"expert {top['expert']} of router “{top['router']}” ({top['modality']})"
    where = f" at “{top['token']}”" if top["token"] else f" at step {top['time']}" if top["time"] >= 0 else ""
    even = best.groupby(["run", "router", "modality"])["expert"].transform("nunique")
    idle = int((best["gate"] < 1 / even).sum())
    words = cut(top["text"], top["token"], 60)
    said = f" of the utterance “{words}”" if words else ""
    weak = f"; {idle} of {len(best)} experts are nowhere given more than an even share" if idle else ""
    same = unique(
        frame.loc[(frame[["run", "router", "modality", "expert"]] == top[["run", "router", "modality", "expert"]]).all(axis=1), "token"]
    )
    others = [token for token in same if token and token != top["token"]]
    more = f"; its next ones are {listed(f'“{token}”' for token in others[:4])}" if others else ""
    return f"The largest gate of all, {number(top['gate'], 2)}, is that of {which} in row {top['example']}{where}{said}{more}{weak}."


VIEW = View(
    "expert_examples",
    NEEDS,
    draw,
    read,
    "What each expert gets",
    "The utterances on which an expert has its largest gate, and the step and token where it has it; “share” is its mean gate over the "
    "whole utterance. Examples show what a router does at its extremes, not on average.",
    known=("gate",),
)
