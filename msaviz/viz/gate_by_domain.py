"""Do the routers choose other experts in another domain?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from msaviz.viz import marks
from msaviz.viz.grid import legend_below, panels
from msaviz.viz.theme import colour, hatch, safe, short
from msaviz.viz.view import View
from msaviz.viz.words import label, number, percent, sentence, unique

NEEDS = ("run", "router", "modality", "domain", "expert", "gate", "low", "high", "divergence", "floor", "utterances")
KEYS = ["run", "router", "modality"]


def draw(frame: pd.DataFrame) -> go.Figure:
    """A panel for each router and modality, a bar a domain beside each other for every expert, with its 95 % interval.

    Under each panel stands the domain whose mean gate is furthest from that of all utterances, beside its floor of
    chance; ● marks a divergence beyond it. The dotted line is an even split.
    """
    frame = frame.assign(panel=label(frame, *KEYS))
    titles, domains = unique(frame["panel"]), unique(frame["domain"])
    figure, places = panels(titles, columns=2)
    for title, place in zip(titles, places, strict=True):
        part, first = frame[frame["panel"] == title], place == places[0]
        experts = unique(part["expert"])
        for i, domain in enumerate(domains):
            rows = part[part["domain"] == domain].set_index("expert").reindex(experts)
            _bars(figure, rows, str(domain), i, place, first)
        marks.constant(figure, [-0.5, len(experts) - 0.5], [1 / len(experts)] * 2, place, first, "even split")
        ticks = {"tickmode": "array", "tickvals": list(range(len(experts))), "ticktext": [safe(e) for e in experts]}
        figure.update_xaxes(**ticks, range=[-0.5, len(experts) - 0.5], title_text=f"expert ({_furthest(part)})", **place)
        top = 1.05 * float(frame[["gate", "high"]].max().max())
        figure.update_yaxes(range=[0, min(max(top, 1.1 / len(experts)), 1.02)], **place)
        figure.update_yaxes(title_text="mean gate" if place["col"] == 1 else None, **place)
    figure.update_layout(barmode="group", bargap=0.25)
    return legend_below(figure)


def _bars(figure: go.Figure, rows: pd.DataFrame, domain: str, i: int, place: dict[str, int], first: bool) -> None:
    above, below = (short((rows[a] - rows[b]).clip(lower=0).fillna(0)) for a, b in (("high", "gate"), ("gate", "low")))
    error = {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "thickness": 1.2, "width": 3}
    figure.add_trace(
        go.Bar(
            x=short(range(len(rows))),
            y=short(rows["gate"]),
            error_y=error,
            marker={"color": colour(i), "pattern": hatch(i)},
            hovertemplate=f"{safe(domain)}, expert %{{x}}: %{{y:.3f}}<extra></extra>",
            **marks.named(domain, first),
        ),
        **place,
    )


def _divergences(frame: pd.DataFrame) -> pd.DataFrame:
    """One row for each router, modality and domain; the number is repeated on the rows of its experts."""
    return frame.groupby([*KEYS, "domain"], sort=False)[["divergence", "floor", "utterances"]].first().reset_index()


def _furthest(part: pd.DataFrame) -> str:
    """ "KL of meal: 0.120 nats, chance 0.040 ●"."""
    rows = _divergences(part).dropna(subset=["divergence"])
    if rows.empty:
        return "no divergence"
    top = rows.loc[(rows["divergence"] - rows["floor"].fillna(0)).idxmax()]
    mark = " ●" if top["divergence"] > top["floor"] else ""
    return f"KL of {safe(top['domain'])}: {number(top['divergence'])} nats, chance {number(top['floor'])}{mark}"


@sentence
def read(frame: pd.DataFrame) -> str:
    rows = _divergences(frame).dropna(subset=["divergence"])
    if rows.empty:
        return "No divergence of the gates could be measured."
    above = rows[rows["divergence"] > rows["floor"]]
    top = (above if len(above) else rows).pipe(lambda r: r.loc[(r["divergence"] - r["floor"].fillna(0)).idxmax()])
    who = f"router “{top['router']}” ({top['modality']}) in domain “{top['domain']}”"
    how = f"{number(top['divergence'])} nats from its mean over all utterances, chance {number(top['floor'])}"
    if above.empty:
        return f"In no domain do the gates differ by more than chance; closest to it comes {who}, {how}."
    part = frame[(frame[[*KEYS, "domain"]] == top[[*KEYS, "domain"]]).all(axis=1)]
    most = part.loc[part["gate"].idxmax()]
    return (
        f"In {len(above)} of {len(rows)} cases the gates of a domain differ by more than chance, most of all those of {who} "
        f"({how}), where expert {most['expert']} gets {percent(most['gate'])} of the weight."
    )


VIEW = View(
    "gate_by_domain",
    NEEDS,
    draw,
    read,
    "Gates by domain",
    "Bars of equal height for all domains mean that the router does not look at the domain. The number under a panel is the divergence "
    "(KL) of the domain's mean gate from that of all utterances; it counts only beyond the 95 % quantile of permuted domains (●).",
    known=("gate",),
)
