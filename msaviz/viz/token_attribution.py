"""What did each word, and each moment of voice and face, bring to the prediction of one utterance?"""

from __future__ import annotations

import re
from typing import Any
from unicodedata import bidirectional, category, east_asian_width

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from msaviz.viz import marks
from msaviz.viz.attributed import DOWN, NAMES, UP, bar, one_method, said, series, subtitled
from msaviz.viz.grid import legend_below
from msaviz.viz.theme import GREY, hatch, safes, short
from msaviz.viz.view import View
from msaviz.viz.words import chosen, listed, number, percent, sentence, unique

NEEDS = (
    *("run", "method", "baseline", "routing", "example", "domain", "label", "prediction", "modality", "time", "token", "value"),
    "evidence",
)
LETTERS = 84
"""Letters in a line of a transcript: what fits at the width for which room is reserved."""
LINE, BARS = 66, 150
"""Heights of a line of a transcript, and of a panel of bars, pixels."""
FULL, WORD = 0.32, 0.16
"""Of a line's height: the tallest bar, and half of a word."""
BLANK = "␣"
"""Stands for a word without a letter."""
JOINED = re.compile("\u200d.")
PLANTED = "planted evidence: boxed, or ▲"


def draw(frame: pd.DataFrame, *, example: int | None = None, method: str | None = None, run: str | None = None) -> go.Figure:
    """The transcript with a bar above each word that pushes up and below each that pushes down, then the other modalities over time.

    All bars have one scale. `example`, `method`: one of the frame's; without a wish the first.
    """
    frame = _one(frame, example, method, run)
    most = float(frame["value"].abs().max()) or 1.0
    modalities = unique(frame["modality"])
    spoken = [m for m in modalities if (frame.loc[frame["modality"] == m, "token"] != "").any()]
    words = {m: _laid(frame[frame["modality"] == m]) for m in spoken}
    heights = [LINE * int(words[m]["line"].max() + 1) if m in words else BARS for m in modalities]
    figure = _panels(frame, modalities, heights, most, spoken)
    for i, m in enumerate(modalities):
        place, first = {"row": i + 1, "col": 1}, i == 0
        if m in words:
            _transcript(figure, words[m], most, place, first)
        else:
            _over_time(figure, frame[frame["modality"] == m], most, place, first)
    if (frame["evidence"] == "yes").any():  # the legend's entry; the marks themselves are drawn in every panel
        mark = {"symbol": "square-open", "size": 11, "color": GREY, "line_width": 2}
        figure.add_trace(go.Scatter(x=[None], y=[None], mode="markers", marker=mark, name=PLANTED), row=1, col=1)
    return subtitled(legend_below(figure), said(frame), _about(frame))


def _one(frame: pd.DataFrame, example: int | None, method: str | None, run: str | None = None) -> pd.DataFrame:
    frame = one_method(frame, method, run)
    wanted = frame["example"].iloc[0] if example is None else chosen(example, unique(frame["example"]), "example")
    return frame[frame["example"] == wanted]


def _about(frame: pd.DataFrame) -> str:
    row = frame.iloc[0]
    return f"utterance {row['example']} ({row['domain']}): predicted {_said(row['prediction'])}, label {_said(row['label'])}"


def _said(value: object) -> str:
    """A number with its sign, a class by name."""
    if not isinstance(value, (int, float, np.number)):
        return str(value) or "n/a"
    return f"{value:+.2f}" if np.isfinite(value) else "n/a"


def _panels(frame: pd.DataFrame, modalities: list, heights: list[int], most: float, spoken: list) -> go.Figure:
    sums = frame.groupby("modality")["value"].sum()
    titles = [f"{m} (in all {sums[m]:+.2f}{f'; the tallest bar is {number(most)}' if m in spoken else ''})" for m in modalities]
    between, total = 60, sum(heights) + 60 * (len(heights) - 1)
    figure = make_subplots(
        rows=len(modalities),
        cols=1,
        subplot_titles=safes(titles),
        row_heights=[height / sum(heights) for height in heights],
        vertical_spacing=between / total if len(heights) > 1 else 0,
    )
    figure.update_annotations(x=0, xanchor="left", font_size=13)
    return figure.update_layout(height=total + 130, margin={"t": 70, "b": 60}, barmode="overlay", bargap=0.1)


def _laid(part: pd.DataFrame) -> pd.DataFrame:
    """The words with their line and the letters before, each line as full as it gets; from the right where their script runs so."""
    part = part.sort_values("time")
    # a letter more than the word on each side, so that neighbours and their bars stay apart
    room = part["token"].map(_letters).clip(1, LETTERS - 2) + 1
    line, start, lines, starts = 0, 0, [], []
    for width in room:
        if start and start + width > LETTERS:
            line, start = line + 1, 0
        lines.append(line)
        starts.append(start)
        start += width
    middle = np.array(starts) + (room - 1) / 2
    return part.assign(line=lines, middle=LETTERS - middle if _leftward(part["token"]) else middle, wide=room - 1)


def _transcript(figure: go.Figure, words: pd.DataFrame, most: float, place: dict[str, int], first: bool) -> None:
    hover = "%{customdata[0]} (step %{customdata[1]}): %{customdata[2]:.3f}<extra></extra>"
    for sign in (UP, DOWN):
        rows = words[(words["value"] > 0) if sign == UP else (words["value"] < 0)]
        turn = 1 if sign == UP else -1
        figure.add_trace(
            go.Bar(
                x=short(rows["middle"]),
                width=short(rows["wide"]),
                base=short(-rows["line"] + turn * WORD),
                y=short(FULL * rows["value"] / most),
                marker=bar(sign),
                customdata=_told(rows),
                hovertemplate=hover,
                **marks.named(NAMES[sign], first),
            ),
            **place,
        )
    cut = words["token"].where(words["token"].str.len() < LETTERS, words["token"].str.slice(0, LETTERS - 3) + "…")
    text: dict[str, Any] = {"mode": "text", "textfont": {"family": "Courier New, Courier, monospace", "size": 14}, "showlegend": False}
    at = {"x": short(words["middle"]), "y": short(-words["line"])}
    figure.add_trace(
        go.Scatter(**at, text=safes(cut.where(cut.str.strip() != "", BLANK)), customdata=_told(words), hovertemplate=hover, **text), **place
    )
    _boxed(figure, words[words["evidence"] == "yes"], place)
    figure.update_xaxes(range=[-1.5, LETTERS + 0.5], visible=False, **place)
    figure.update_yaxes(range=[-words["line"].max() - 0.5, 0.5], visible=False, **place)


def _told(rows: pd.DataFrame) -> np.ndarray:
    """What a pointer reads: the word, its step and its value."""
    return np.stack([np.array(safes(rows["token"]), dtype=object), rows["time"], rows["value"].round(6)], 1, dtype=object)


def _over_time(figure: go.Figure, part: pd.DataFrame, most: float, place: dict[str, int], first: bool) -> None:
    for sign in (UP, DOWN):
        rows = part[(part["value"] > 0) if sign == UP else (part["value"] < 0)]
        # strokes would fill a bar of a few pixels; there the side of zero alone tells up from down
        marker = bar(sign) if len(part) < 80 else {**bar(sign), "pattern": {**hatch(sign), "size": 4}}
        bars = {"x": short(rows["time"]), "y": short(rows["value"]), "width": 0.9, "marker": marker}
        hover = "step %{x}: %{y:.3f}<extra></extra>"
        figure.add_trace(go.Bar(**bars, hovertemplate=hover, **marks.named(NAMES[sign], first)), **place)
    planted = part[part["evidence"] == "yes"]
    _marked(figure, planted["time"], np.full(len(planted), -1.15 * most), place)
    last = bool(place["row"] == len(figure.layout.annotations))
    figure.update_xaxes(title_text="step" if last else None, range=[-0.7, float(part["time"].max()) + 0.7], showgrid=False, **place)
    figure.update_yaxes(range=[-1.3 * most, 1.1 * most], title_text="value", zeroline=True, zerolinecolor=GREY, zerolinewidth=1.5, **place)


def _boxed(figure: go.Figure, rows: pd.DataFrame, place: dict[str, int]) -> None:
    """A grey frame around words that were planted."""
    if len(rows):
        at = {"x": short(rows["middle"]), "width": short(rows["wide"] + 0.6), "base": short(-rows["line"] - WORD)}
        marker = {"color": "rgba(0,0,0,0)", "line": {"color": GREY, "width": 1.5}}
        figure.add_trace(go.Bar(**at, y=short(np.full(len(rows), 2 * WORD)), marker=marker, hoverinfo="skip", showlegend=False), **place)


def _letters(token: str) -> int:
    """The width of a word in letters: two for those of East Asian scripts, none for marks over others and for what is joined to one."""
    alone = JOINED.sub("", token)
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in alone if category(letter) not in ("Mn", "Me", "Cf"))


def _leftward(tokens: pd.Series) -> bool:
    """Whether most words are of a script that runs from right to left."""
    sides = [next((side for side in map(bidirectional, token) if side in ("L", "R", "AL")), "") for token in tokens]
    return sum(side in ("R", "AL") for side in sides) > sum(side == "L" for side in sides)


def _marked(figure: go.Figure, x: Any, y: Any, place: dict[str, int]) -> None:
    """Small grey triangles where evidence was planted."""
    if len(x):
        marker = {"symbol": "triangle-up", "size": 7, "color": GREY}
        figure.add_trace(go.Scatter(x=short(x), y=short(y), mode="markers", marker=marker, hoverinfo="skip", showlegend=False), **place)


@sentence
def read(frame: pd.DataFrame) -> str:
    one = _one(frame, None, None)
    high, low = one.loc[one["value"].idxmax()], one.loc[one["value"].idxmin()]
    size = one["value"].abs().groupby(one["modality"], sort=False).sum()
    shares = listed(f"{percent(value / size.sum() if size.sum() else float('nan'))} {m}" for m, value in size.items())
    text = f"In {_about(one)}, by {said(one)} {_step(high, UP)} and {_step(low, DOWN)}; of all that pushes, {shares}"
    if (one["evidence"] == "yes").any():
        planted = one["evidence"] == "yes"
        held = one.loc[planted, "value"].abs().sum() / max(one["value"].abs().sum(), 1e-12)
        text += f"; the planted evidence is {percent(planted.mean())} of the steps and holds {percent(held)} of it"
    return f"{text}; {_agreement(frame, one)}."


def _step(row: pd.Series, sign: int) -> str:
    if row["value"] == 0 or (row["value"] > 0) != (sign == UP):
        return f"nothing {NAMES[sign]}"
    what = f"“{row['token']}” ({row['modality']}, step {row['time']})" if row["token"] else f"{row['modality']} step {row['time']}"
    return f"{what} {NAMES[sign]} most ({row['value']:+.3f})"


def _agreement(frame: pd.DataFrame, one: pd.DataFrame) -> str:
    """How alike the methods of the frame order the steps of this utterance; one method alone says nothing of its certainty."""
    mine = frame[(frame["example"] == one["example"].iloc[0]) & (frame["run"] == one["run"].iloc[0])]
    ranks = mine.assign(series=series(mine)).pivot_table(index=["modality", "time"], columns="series", values="value", sort=False).rank()
    found = ranks.corr().iloc[0, 1:].dropna() if ranks.shape[1] > 1 else pd.Series(dtype=float)
    if found.empty:
        return "this is one method's answer for one utterance, which has no interval"
    return f"other methods order the steps alike with rank correlations of {listed(f'{r:.2f} ({who})' for who, r in found.items())}"


VIEW = View(
    "token_attribution",
    NEEDS,
    draw,
    read,
    "Words and moments behind one prediction",
    "A bar above a word pushes the prediction up, a bar below pushes it down; then the same over the steps of the other modalities, on one "
    "scale. Grey boxes and triangles mark what was planted to tell the label. Attributions describe the model, not the speaker.",
    known=("value",),
)
