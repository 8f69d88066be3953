"""How do predictions lie against labels?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from msaviz.viz.grid import legend_below, panels
from msaviz.viz.theme import GREY, colour, note, safe, safes, short, symbol
from msaviz.viz.view import View
from msaviz.viz.words import number, percent, sentence, unique

NEEDS = ("run", "example", "domain", "label", "prediction", "error", "label_group", "prediction_group")

DRAWN = 20_000
"""Points of one panel, at most: a random sample of more."""
CORNER = {"xref": "x domain", "yref": "y domain", "x": 0.99, "y": 0.02, "xanchor": "right", "showarrow": False}


def draw(frame: pd.DataFrame) -> go.Figure:
    """Prediction over label with the diagonal, a symbol a domain, a panel a run; for classes a confusion heat map."""
    frame = _labelled(frame)
    if frame.empty:
        return note("No utterance has a label, so predictions cannot be compared with anything.")
    runs = unique(frame["run"])
    figure, places = panels([str(run) for run in runs], columns=3)
    for run, place in zip(runs, places, strict=True):
        part = frame[frame["run"] == run]
        if len(part) > DRAWN and not _classes(frame):
            part = part.sample(DRAWN, random_state=0).sort_index()
            figure.add_annotation(text=f"{DRAWN:,} of {(frame['run'] == run).sum():,} drawn", **CORNER, **place)
        if _classes(frame):
            _confusion(figure, part, place)
        else:
            _scatter(figure, part, unique(frame["domain"]), place, place == places[0])
    if _classes(frame):
        figure.update_coloraxes(cmin=0, cmax=1, colorbar={"title": "share of the label", "tickformat": ".1f"})
        return figure
    return legend_below(figure)


def _scatter(figure: go.Figure, part: pd.DataFrame, domains: list, place: dict[str, int], legend: bool) -> None:
    low, high = float(part[["label", "prediction"]].min().min()), float(part[["label", "prediction"]].max().max())
    style = {"color": GREY, "dash": "dash", "width": 1.5}
    diagonal = go.Scatter(
        x=short([low, high]),
        y=short([low, high]),
        mode="lines",
        line=style,
        name="prediction = label",
        legendgroup="=",
        showlegend=legend,
        hoverinfo="skip",
    )
    figure.add_trace(diagonal, **place)
    for i, domain in enumerate(domains):
        points = part[part["domain"] == domain]
        if len(points):
            figure.add_trace(
                go.Scattergl(
                    x=short(points["label"]),
                    y=short(points["prediction"]),
                    mode="markers",
                    name=safe(domain),
                    legendgroup=safe(domain),
                    showlegend=legend and len(domains) > 1,
                    marker={"color": colour(i), "symbol": symbol(i), "size": 6, "opacity": 0.7},
                    customdata=points["example"].to_numpy(dtype=np.int32),
                    hovertemplate="example %{customdata}<br>label %{x:.2f}, prediction %{y:.2f}",
                ),
                **place,
            )
    figure.update_xaxes(title_text="label [label units]", **place)
    figure.update_yaxes(title_text="prediction [label units]" if place["col"] == 1 else None, **place)


def _confusion(figure: go.Figure, part: pd.DataFrame, place: dict[str, int]) -> None:
    names = sorted(set(part["label_group"]) | set(part["prediction_group"]))
    counts = pd.crosstab(part["label_group"], part["prediction_group"]).reindex(index=names, columns=names, fill_value=0)
    shares = counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
    text = [
        [f"{share:.2f}<br>({count})" for share, count in zip(*row, strict=True)]
        for row in zip(shares.to_numpy(), counts.to_numpy(), strict=True)
    ]
    heat = go.Heatmap(
        z=short(shares.to_numpy()),
        x=safes(names),
        y=safes(names),
        text=text,
        texttemplate="%{text}",
        coloraxis="coloraxis",
        xgap=2,
        ygap=2,
        hoverinfo="text",
    )
    figure.add_trace(heat, **place)
    figure.update_xaxes(title_text="prediction", type="category", showgrid=False, **place)
    figure.update_yaxes(title_text="label" if place["col"] == 1 else None, type="category", autorange="reversed", showgrid=False, **place)


def _labelled(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["label_group"] != ""]


def _classes(frame: pd.DataFrame) -> bool:
    """Whether the groups are class names rather than bins of a number."""
    return not set(frame["label_group"]) <= {"negative", "neutral", "positive"} or bool((frame["error"].isin([0, 1])).all())


@sentence
def read(frame: pd.DataFrame) -> str:
    part = _labelled(frame)
    part = part[part["run"] == frame["run"].iloc[0]]
    if part.empty:
        return "No utterance has a label, so predictions cannot be compared with anything."
    if _classes(part):
        wrong = part[part["label_group"] != part["prediction_group"]]
        text = f"{percent(1 - len(wrong) / len(part))} of {len(part)} utterances are classified right"
        if len(wrong):
            (truth, guess), count = (
                wrong.groupby(["label_group", "prediction_group"]).size().pipe(lambda sizes: (sizes.idxmax(), sizes.max()))
            )
            text += f"; the commonest mistake is “{guess}” for “{truth}” ({count} times)"
        return f"{text}."
    label, prediction = part["label"].to_numpy(dtype=float), part["prediction"].to_numpy(dtype=float)
    varies = len(part) > 1 and label.std() > 0 and prediction.std() > 0
    correlation = np.corrcoef(label, prediction)[0, 1] if varies else float("nan")
    return (
        f"Over {len(part)} utterances predictions correlate with labels at {number(correlation, 2)} and miss them by "
        f"{number(np.abs(prediction - label).mean())} on average; their spread is {number(prediction.std(), 2)} against "
        f"{number(label.std(), 2)} of the labels."
    )


VIEW = View(
    "predictions",
    NEEDS,
    draw,
    read,
    "Predictions against labels",
    "Points on the dashed line are right. A cloud flatter than the line means that the model hedges towards the middle of the scale.",
)
