"""Which words push the predictions up, and which down?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz import marks
from msaviz.viz.attributed import DOWN, NAMES, UP, one_method, said, subtitled
from msaviz.viz.grid import legend_below, panels, row_height
from msaviz.viz.marks import upright
from msaviz.viz.theme import colour, safes, short, symbol
from msaviz.viz.view import View
from msaviz.viz.words import number, sentence

NEEDS = ("run", "method", "baseline", "routing", "token", "value", "low", "high", "count", "utterances")


def draw(frame: pd.DataFrame, *, top: int = 12, method: str | None = None, run: str | None = None) -> go.Figure:
    """The `top` highest and the `top` lowest words: the mean value with its 95 % interval, open where that holds zero; the count in
    brackets."""
    frame = one_method(frame, method, run).sort_values("value", ascending=False, kind="stable", ignore_index=True)
    few = frame[(frame.index < top) | (frame.index >= len(frame) - top)]
    names = [f"{token} ({count}×)" for token, count in zip(few["token"], few["count"], strict=True)]
    figure, places = panels([""], height=row_height(len(names), each=22))
    place = places[0]
    upright(figure, 0.0, len(names), "no effect", place, True)
    few = few.assign(y=range(len(few)), name=names)
    for sign in (UP, DOWN):
        mine = few[(few["value"] >= 0) == (sign == UP)]
        unsure = ~((mine["low"] > 0) | (mine["high"] < 0))
        for open_, rows in ((False, mine[~unsure]), (True, mine[unsure])):
            _dots(figure, rows, sign, open_, place)
    marks.rows_axis(figure, names, place)
    figure.update_xaxes(title_text="mean value of an occurrence [units of the prediction]", **place)
    if len(few) < len(frame):
        figure.add_hline(y=top - 0.5, line_color="rgba(107,107,107,0.5)", line_width=1, line_dash="dot")
    return subtitled(legend_below(figure), said(frame))


def _dots(figure: go.Figure, rows: pd.DataFrame, sign: int, open_: bool, place: dict[str, int]) -> None:
    if rows.empty:
        return
    above, below = (short((rows[a] - rows[b]).clip(lower=0).fillna(0)) for a, b in (("high", "value"), ("value", "low")))
    figure.add_trace(
        go.Scatter(
            x=short(rows["value"]),
            y=short(rows["y"]),
            mode="markers",
            error_x={"type": "data", "symmetric": False, "array": above, "arrayminus": below, "thickness": 1.5, "width": 4},
            marker={"color": colour(sign), "symbol": f"{symbol(sign)}{'-open' * open_}", "size": 9, "line_width": 2 * open_},
            text=safes(rows["name"]),
            customdata=rows["utterances"].to_numpy(),
            hovertemplate="%{text} in %{customdata} utterances: %{x:.3f}",
            **marks.named(f"{NAMES[sign]}{' (interval holds zero)' if open_ else ''}", True),
        ),
        **place,
    )


@sentence
def read(frame: pd.DataFrame) -> str:
    frame = one_method(frame, None)
    high, low = frame.loc[frame["value"].idxmax()], frame.loc[frame["value"].idxmin()]
    clear = int(((frame["low"] > 0) | (frame["high"] < 0)).sum())
    up = f"“{high['token']}” pushes up most ({_span(high)})" if high["value"] > 0 else "none pushes up"
    down = f"“{low['token']}” pushes down most ({_span(low)})" if low["value"] < 0 else "none pushes down"
    sure = f"{clear} intervals exclude zero (chance alone gives about {number(0.05 * len(frame), 0)})"
    return f"By {said(frame)}, of {len(frame)} words {up} and {down}; {sure}."


def _span(row: pd.Series) -> str:
    return f"{number(row['value'])} [{number(row['low'])}, {number(row['high'])}], {int(row['count'])} times"


VIEW = View(
    "word_attribution",
    NEEDS,
    draw,
    read,
    "Words that push the prediction up and down",
    "Mean attribution of a word wherever it occurs, with a 95 % interval over utterances. The words shown are the extremes of many: each "
    "single interval is too narrow for a winner. What a word brings depends on its neighbours, of which a mean says nothing.",
    known=("value",),
)
