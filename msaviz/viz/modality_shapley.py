"""What is each modality worth, and where do modalities say the same or more together than apart?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz import marks
from msaviz.viz.attributed import said, subtitled
from msaviz.viz.grid import legend_below, panels, row_height
from msaviz.viz.marks import upright
from msaviz.viz.view import UNKNOWN, View
from msaviz.viz.words import chosen, label, number, sentence, unique

NEEDS = (
    *("run", "baseline", "routing", "domain", "part", "kind", "value", "low", "high", "size", "size_low", "size_high"),
    *("synergy", "synergy_low", "synergy_high", "utterances"),
)
KINDS = {"value": "Shapley value of each modality", "interaction": "interaction of each set"}
AXES = {
    "synergy": {"value": "moves the prediction onwards →", "interaction": "← redundancy · synergy →"},
    "value": {"value": "mean signed value", "interaction": "mean signed interaction"},
    "size": {"value": "mean |value|", "interaction": "mean |interaction|"},
}


def draw(frame: pd.DataFrame, *, quantity: str = "synergy", domain: str | None = None) -> go.Figure:
    """Left the value of each modality, right the interactions of the sets; a symbol a domain, with 95 % intervals.

    `quantity`: "synergy" (onwards, in the direction of the utterance's own prediction), "value" (signed) or "size" (absolute).
    """
    chosen(quantity, list(AXES), "quantity")
    if domain is not None:
        frame = frame[frame["domain"] == chosen(domain, unique(frame["domain"]), "domain")]
    before = "" if quantity == "value" else f"{quantity}_"
    numbers = {"value": frame[quantity], "low": frame[f"{before}low"], "high": frame[f"{before}high"]}
    frame = frame.assign(**numbers, series=label(frame, "run", "domain"))
    each, kinds = unique(frame["series"]), unique(frame["kind"])
    deepest = frame.groupby("kind")["part"].nunique().max()
    height = row_height(deepest, each=max(36, 15 * len(each)))
    figure, places = panels([KINDS[kind] for kind in kinds], columns=2, labels=frame["part"], height=height)
    for kind, place in zip(kinds, places, strict=True):
        part, first = frame[frame["kind"] == kind], place == places[0]
        names = unique(part["part"])
        upright(figure, 0.0, len(names), "zero", place, first)
        for i, one in enumerate(each):
            rows = part[part["series"] == one]
            marks.dots(figure, rows, rows["part"], names, "all domains" if one == "all" else one, i, len(each), place, first)
        figure.update_xaxes(title_text=AXES[quantity][kind], zeroline=False, **place)
        marks.rows_axis(figure, names, place)
    return subtitled(legend_below(figure), f"exact Shapley values · {said(frame)}")


@sentence
def read(frame: pd.DataFrame) -> str:
    frame = frame[(frame["run"] == frame["run"].iloc[0]) & (frame["domain"] == frame["domain"].iloc[0])].reset_index(drop=True)
    values, pairs = frame[frame["kind"] == "value"], frame[frame["kind"] == "interaction"]
    if values.empty:
        return UNKNOWN
    top = values.loc[values["size"].idxmax()]
    size = f"{number(top['size'])} [{number(top['size_low'])}, {number(top['size_high'])}]"
    text = f"Over {int(top['utterances'])} utterances ({said(frame)}) “{top['part']}” moves the number most: {size} in size"
    if pairs.empty:
        return f"{text}."
    clear = pairs[(pairs["synergy_low"] > 0) | (pairs["synergy_high"] < 0)]
    if clear.empty:
        return f"{text}; no interaction is beyond chance: each interval holds zero."
    most = clear.loc[clear["synergy"].abs().idxmax()]
    what = "synergy (they bring more together than apart)" if most["synergy"] > 0 else "redundancy (they say the same)"
    span = f"{number(most['synergy'])} [{number(most['synergy_low'])}, {number(most['synergy_high'])}]"
    return f"{text}; {len(clear)} of {len(pairs)} interactions exclude zero, most of all {most['part']} with {span}: {what}."


VIEW = View(
    "modality_shapley",
    NEEDS,
    draw,
    read,
    "Modalities alone and together",
    "Exact Shapley values and interactions from all sets of modalities, in the direction of each utterance's own prediction: right of "
    "the line a modality helps to get there. An interaction left of it is redundancy, right of it synergy; 0 means that the parts add up.",
    known=("size",),
)
