"""Which modality do the predictions rest on, and do the methods agree?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz import marks
from msaviz.viz.attributed import said, series, subtitled
from msaviz.viz.grid import legend_below, panels, row_height
from msaviz.viz.marks import upright
from msaviz.viz.view import View
from msaviz.viz.words import chosen, listed, percent, sentence, unique

NEEDS = ("run", "method", "baseline", "routing", "domain", "modality", "value", "share", "low", "high", "utterances")


def draw(frame: pd.DataFrame, *, domain: str | None = None) -> go.Figure:
    """A panel for each domain (or for the one asked), a row a modality, a symbol a method: the share with its 95 % interval.

    The dashed line is an even split.
    """
    if domain is not None:
        frame = frame[frame["domain"] == chosen(domain, unique(frame["domain"]), "domain")]
    frame = frame.assign(series=series(frame))
    domains, names, each = unique(frame["domain"]), unique(frame["modality"]), unique(frame["series"])
    figure, places = panels(
        [_title(frame, one) for one in domains], columns=2, labels=names, height=row_height(len(names), each=max(34, 18 * len(each)))
    )
    top = min(1.0, 1.08 * float(frame[["share", "high"]].max().max()))
    for one, place in zip(domains, places, strict=True):
        part, first = frame[frame["domain"] == one], place == places[0]
        upright(figure, 1 / len(names), len(names), "even split", place, first)
        for i, method in enumerate(each):
            rows = part[part["series"] == method].rename(columns={"value": "signed", "share": "value"})
            marks.dots(figure, rows, rows["modality"], names, method, i, len(each), place, first)
        bottom = places.index(place) + max(p["col"] for p in places) >= len(places)
        title = "share of the mean |attribution|" if bottom else None
        figure.update_xaxes(range=[0, top], tickformat=".0%", title_text=title, **place)
        marks.rows_axis(figure, names, place)
    return subtitled(legend_below(figure), said(frame))


def _title(frame: pd.DataFrame, domain: str) -> str:
    count = int(frame.loc[frame["domain"] == domain, "utterances"].iloc[0])
    return f"{'all domains' if domain == 'all' else domain} ({count} utterances)"


@sentence
def read(frame: pd.DataFrame) -> str:
    frame = frame.assign(series=series(frame)).dropna(subset=["share"]).reset_index(drop=True)
    whole = frame[frame["domain"] == "all"] if (frame["domain"] == "all").any() else frame
    if whole.empty:
        return "Nothing was attributed to any modality."
    tops = [part.loc[part["share"].idxmax()] for _, part in whole.groupby("series", sort=False)]
    top = tops[0]
    second = whole[(whole["series"] == top["series"]) & (whole["modality"] != top["modality"])]
    clear = second.empty or bool((second["high"] < top["low"]).all())
    text = (
        f"By {said(whole[whole['series'] == top['series']])} the predictions rest most on "
        f"“{top['modality']}”: {percent(top['share'])} of the mean size [{percent(top['low'])}, {percent(top['high'])}] over "
        f"{int(top['utterances'])} utterances{'' if clear else ', an interval that overlaps the next one'}"
    )
    if len(tops) > 1:
        agreeing = sum(one["modality"] == top["modality"] for one in tops[1:])
        others = listed(f"“{one['modality']}” ({one['series']})" for one in tops[1:] if one["modality"] != top["modality"])
        text += f"; {agreeing} of {len(tops) - 1} other methods name it first too" + (f", others {others}" if others else "")
    return f"{text}."


VIEW = View(
    "modality_attribution",
    NEEDS,
    draw,
    read,
    "Modalities that the predictions rest on",
    "Shares of the mean absolute attribution, with 95 % intervals over utterances. Methods ask different questions (what values move, or "
    "what is lost without them): where they disagree, no single share is the truth.",
)
