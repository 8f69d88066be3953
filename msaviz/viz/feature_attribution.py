"""Which features of each modality do the predictions rest on?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz import marks
from msaviz.viz.attributed import DOWN, NAMES, UP, bar, one_method, said, subtitled
from msaviz.viz.grid import legend_below, panels, row_height
from msaviz.viz.marks import upright
from msaviz.viz.theme import GREY, safes, short
from msaviz.viz.view import View
from msaviz.viz.words import number, sentence, unique

NEEDS = ("run", "method", "baseline", "routing", "modality", "feature", "value", "size", "low", "high", "rank")


def draw(frame: pd.DataFrame, *, top: int = 12, method: str | None = None, run: str | None = None) -> go.Figure:
    """A panel a modality, a bar for each of its `top` features: the mean size with its 95 % interval, plain or hatched by the sign of
    the mean; the dashed line is the mean over all features of the modality."""
    frame = one_method(frame, method, run)
    modalities = unique(frame["modality"])
    best = frame[frame["rank"] <= top].sort_values("rank", kind="stable")
    deepest = best.groupby("modality").size().max()
    figure, places = panels(modalities, columns=3, height=row_height(deepest, each=22), labels=["feature"])
    for modality, place in zip(modalities, places, strict=True):
        part, whole, first = best[best["modality"] == modality], frame[frame["modality"] == modality], place == places[0]
        names = [str(feature) for feature in part["feature"]]
        for sign in (UP, DOWN):
            rows = part[(part["value"] >= 0) == (sign == UP)]
            _bars(figure, rows, names, sign, place, first)
        upright(figure, float(whole["size"].mean()), len(names), "mean of all features of the modality", place, first)
        figure.update_xaxes(rangemode="tozero", title_text=f"mean |value| ({len(whole)} features)", **place)
        marks.rows_axis(figure, names, place, title="feature" if place["col"] == 1 else None)
    return subtitled(legend_below(figure.update_layout(barmode="overlay")), said(frame))


def _bars(figure: go.Figure, rows: pd.DataFrame, names: list[str], sign: int, place: dict[str, int], first: bool) -> None:
    above, below = (short((rows[a] - rows[b]).clip(lower=0).fillna(0)) for a, b in (("high", "size"), ("size", "low")))
    figure.add_trace(
        go.Bar(
            x=short(rows["size"]),
            y=short([names.index(str(feature)) for feature in rows["feature"]]),
            error_x={"type": "data", "symmetric": False, "array": above, "arrayminus": below, "thickness": 2, "width": 4, "color": GREY},
            orientation="h",
            width=0.7,
            marker=bar(sign),
            text=safes(rows["feature"]),
            textposition="none",
            customdata=short(rows["value"]),
            hovertemplate="feature %{text}: size %{x:.3f}, mean %{customdata:.3f}",
            **marks.named(f"{NAMES[sign]} on average", first),
        ),
        **place,
    )


@sentence
def read(frame: pd.DataFrame) -> str:
    frame = one_method(frame, None)
    best = frame.loc[frame["size"].idxmax()]
    mine = frame[frame["modality"] == best["modality"]].sort_values("rank", kind="stable")
    ties = int((mine["high"] >= best["low"]).sum()) - 1
    reach = f"{ties} other interval{'s' * (ties > 1)} of its features reach{'es' * (ties == 1)} it"
    rivals = reach if ties > 0 else "no interval of another of its features reaches it"
    share = mine["size"].head(10).sum() / max(mine["size"].sum(), 1e-12)
    many = (
        f"; the first 10 of the {len(mine)} features of “{best['modality']}” hold {100 * share:.0f} % of its size" if len(mine) > 10 else ""
    )
    return (
        f"By {said(frame)} the feature of the largest size is number {best['feature']} of “{best['modality']}”: "
        f"{number(best['size'])} [{number(best['low'])}, {number(best['high'])}], {rivals}{many}."
    )


VIEW = View(
    "feature_attribution",
    NEEDS,
    draw,
    read,
    "Features that the predictions rest on",
    "Mean absolute attribution of each feature, summed over the steps of an utterance, with 95 % intervals over utterances. Features that "
    "say the same share what they bring, so a small bar is no proof that a feature is useless.",
    known=("size",),
)
