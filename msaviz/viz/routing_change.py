"""How do gates and importance look in one condition beside another?"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz.grid import legend_below, panels
from msaviz.viz.marks import named
from msaviz.viz.theme import colour, hatch, safe, safes, short
from msaviz.viz.view import View
from msaviz.viz.words import chosen, label, number, sentence, unique

NEEDS = ("run", "condition", "kind", "router", "modality", "name", "value")


def draw(frame: pd.DataFrame, *, kind: str | None = None) -> go.Figure:
    """A panel a router (and one for the fusion), a bar for each condition beside the others; `kind`: only "gate" or "importance"."""
    if kind is not None:
        frame = frame[frame["kind"] == chosen(kind, unique(frame["kind"]), "kind")]
    titles, conditions = unique(_panel(frame)), unique(frame["condition"])
    figure, places = panels(titles, columns=3, height=190, shared_yaxes=True)
    where = dict(zip(titles, places, strict=True))
    figure.update_layout(height=110 + 190 * max(place["row"] for place in places))  # one row needs less than a picture of its own
    for title, condition, values in bars(frame):
        i = conditions.index(condition)
        figure.add_trace(
            go.Bar(
                x=safes(values.index.str.removeprefix("expert ")),
                y=short(values),
                marker={"color": colour(i), "pattern": hatch(i)},
                hovertemplate=f"{safe(title)}, %{{x}}: %{{y:.3f}}",
                **named(condition, where[title] == places[0]),
            ),
            **where[title],
        )
    axis = "contributor" if (frame["kind"] == "importance").all() else "expert"
    figure.update_xaxes(type="category", title_text=axis, title_standoff=2)
    figure.update_yaxes(range=[0, 1])
    figure.update_yaxes(title_text="share", col=1)
    return legend_below(figure, room=0)


def bars(frame: pd.DataFrame) -> Iterator[tuple[str, str, pd.Series]]:
    """(panel, condition, value by name) in the order in which they are drawn; NaN where the condition has no such part."""
    panel, conditions = _panel(frame), unique(frame["condition"])
    for title in unique(panel):
        part = frame[panel == title]
        wide = part.pivot(index="name", columns="condition", values="value").reindex(index=unique(part["name"]), columns=conditions)
        yield from ((title, condition, wide[condition]) for condition in conditions)


def redraw(figure: go.Figure, frame: pd.DataFrame) -> None:
    """New heights for the bars of a figure of the same routers and conditions: a tenth of the time of a new figure."""
    for trace, (_, _, values) in zip(figure.data, bars(frame), strict=True):
        trace.y = short(values)


def _panel(frame: pd.DataFrame) -> pd.Series:
    """What stands above each row's panel."""
    return label(frame, "run", "modality", "router") if frame["router"].nunique() > 1 else label(frame, "run", "modality")


@sentence
def read(frame: pd.DataFrame) -> str:
    frame, conditions = frame[frame["run"] == frame["run"].iloc[0]], unique(frame["condition"])
    keys = ["router", "modality", "name"]
    wide = frame.pivot_table(index=keys, columns="condition", values="value", sort=False).reindex(columns=conditions)
    if len(conditions) < 2:
        top = wide[conditions[0]].idxmax()
        return f"The largest share has {top[2]} of “{_where(top)}” ({number(wide[conditions[0]].max(), 2)})."
    change = (wide[conditions[-1]] - wide[conditions[0]]).dropna()
    if change.empty:
        return f"Nothing is routed both in “{conditions[0]}” and in “{conditions[-1]}”."
    most = change.abs().idxmax()
    before, after = wide.loc[most, conditions[0]], wide.loc[most, conditions[-1]]
    return (
        f"From “{conditions[0]}” to “{conditions[-1]}” {most[2]} of “{_where(most)}” changes most, "
        f"from {number(before, 2)} to {number(after, 2)}."
    )


def _where(key: tuple) -> str:
    return key[0] if key[1] == "joint" else f"{key[0]}/{key[1]}"


VIEW = View(
    "routing_change",
    NEEDS,
    draw,
    read,
    "Gates and importance, side by side",
    "Shares of each router's experts (mean gates) and of the fusion's contributors; they add up to 1 for each router and condition.",
    known=("value",),
)
