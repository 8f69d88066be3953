"""What does a smaller error cost in parameters, and which arm finds the better bargain?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz import marks
from msaviz.viz.grid import legend_below
from msaviz.viz.theme import GREY, colour, dash, safe, safes, short, symbol
from msaviz.viz.view import View
from msaviz.viz.words import label, number, sentence, unique

NEEDS = ("run", "arm", "trial", "generation", "parameters", "error", "front", "origin")
PLACE = {"row": 1, "col": 1}


def draw(frame: pd.DataFrame) -> go.Figure:
    """Optuna's picture of each arm's front in one plane: filled and joined are the trials that nothing beats, open the others.

    A grey cross marks the default genome where it began an arm. Parameters stand in log where they span more than a factor of three.
    """
    frame = frame.dropna(subset=["parameters", "error"]).assign(series=label(frame, "run", "arm"))
    figure = go.Figure()
    figure.set_subplots(1, 1)
    for i, name in enumerate(unique(frame["series"])):
        for trace in _traces(frame[frame["series"] == name], str(name), i):
            figure.add_trace(trace)
    start = frame[(frame["origin"] == "default genome") & (frame["arm"] != "default")]
    if len(start):
        marker = {"symbol": "x-thin", "size": 13, "line": {"color": GREY, "width": 3}}
        style = {"mode": "markers", "marker": marker, "hoverinfo": "skip", **marks.named("default genome", True)}
        figure.add_trace(go.Scatter(x=short(start["parameters"]), y=short(start["error"]), **style))
    size = frame["parameters"]
    if size.min() > 0 and size.max() > 3 * size.min():
        figure.update_xaxes(type="log", dtick=1 if size.max() > 1000 * size.min() else "D2")
    figure.update_xaxes(title_text="parameters", tickformat="~s", zeroline=False)
    figure.update_yaxes(title_text="validation error, mean over the sets of modalities ↓", zeroline=False)
    return legend_below(figure.update_layout(height=560))


def _traces(part: pd.DataFrame, name: str, i: int) -> list[go.Scatter]:
    """The traces of optuna's picture, in the house's colours: the beaten trials, then the front from small to large."""
    rows = part.sort_values(["parameters", "error"]).reset_index(drop=True)
    beaten, front = _optuna(rows)
    beaten.update(
        marker={"symbol": f"{symbol(i)}-open", "size": 7, "color": colour(i), "colorbar": None, "line": {"width": 1, "color": colour(i)}},
        opacity=0.75,
        **marks.named(f"{name}, beaten", True),
    )
    front.update(
        mode="lines+markers",
        line={"color": colour(i), "dash": dash(i), "width": 2, "shape": "hv"},
        marker={"symbol": symbol(i), "size": 10, "color": colour(i), "colorbar": None, "line": {"width": 0}},
        **marks.named(f"{name}, front", True),
    )
    return [trace for trace, these in ((beaten, rows[~rows["front"]]), (front, rows[rows["front"]])) if _filled(trace, these)]


def _filled(trace: go.Scatter, rows: pd.DataFrame) -> bool:
    """Says in the trace's hover which trials these are; False where there is none."""
    texts = [f"{o}, generation {g}, trial {t}" for o, g, t in zip(rows["origin"], rows["generation"], rows["trial"], strict=True)]
    trace.update(x=short(rows["parameters"]), y=short(rows["error"]), text=safes(texts))
    trace.update(hovertemplate="%{text}<br>%{x:.3s} parameters, error %{y:.4f}<extra>" + safe(trace.name) + "</extra>")
    return len(rows) > 0


def _optuna(rows: pd.DataFrame) -> tuple[go.Scatter, go.Scatter]:
    import optuna
    from optuna.visualization import plot_pareto_front

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # nobody asked for this study, so nobody is told of it
    study = optuna.create_study(directions=["minimize", "minimize"])
    optuna.logging.set_verbosity(verbosity)
    pairs = rows[["parameters", "error"]].to_numpy(float)
    study.add_trials([optuna.trial.create_trial(values=[float(size), float(error)]) for size, error in pairs])
    beaten, front = plot_pareto_front(study, target_names=["parameters", "error"]).data
    return beaten, front


@sentence
def read(frame: pd.DataFrame) -> str:
    frame = frame.assign(series=label(frame, "run", "arm"))
    best = frame.loc[frame["error"].idxmin()]
    front = frame[(frame["series"] == best["series"]) & frame["front"]]
    small = front.loc[front["parameters"].idxmin()]
    text = (
        f"The smallest error is {number(best['error'])}, of trial {best['trial']} of “{best['series']}” ({best['origin']}) with "
        f"{_count(best['parameters'])} parameters; {len(front)} of its {int((frame['series'] == best['series']).sum())} trained trials "
        f"are on the front, the smallest with {_count(small['parameters'])} parameters and {number(small['error'])}"
    )
    others = frame[frame["series"] != best["series"]].groupby("series", sort=False)["error"].min()
    rest = [f"“{name}” reaches {number(error)}" for name, error in others.items()]
    return f"{text}; {', '.join(rest)}." if rest else f"{text}."


def _count(parameters: float) -> str:
    """12345 -> "12,345"."""
    return f"{parameters:,.0f}"


VIEW = View(
    "pareto_front",
    NEEDS,
    draw,
    read,
    "Error against size",
    "Each mark is a trained trial. Filled and joined: no trial of the same arm has both fewer parameters and a smaller error. An arm is "
    "better where its line lies further down and left; “default” is one genome trained again and again: its spread is luck alone.",
    known=("error", "parameters"),
)
