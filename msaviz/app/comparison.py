"""How is a comparison on unseen domains told in a terminal, and on one page?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from msaviz.app import markup
from msaviz.app.pages import Page
from msaviz.app.report import Draft, document
from msaviz.app.results import shown
from msaviz.catalog import VIEWS
from msaviz.files import write_text
from msaviz.training.compare import Comparison
from msaviz.training.domains import SUMMARIES
from msaviz.training.metrics import headline

VIEW = "domain_comparison"
SAID = {"mean": "mean over unseen domains", "worst": "worst unseen domain"}


def told(found: Comparison) -> str:
    """The two headline metrics, mean and worst, with floors and gains; then what must be said beside them, and the time."""
    parts = []
    for metric in headline(found.task):
        for target in SUMMARIES:
            table = _table(found.frame, metric, target)
            if len(table):
                parts.append(f"{shown(metric)}, {SAID[target]}\n{table.to_string(index=False)}\n")
    if not parts:
        parts.append("No model was tested on every unseen domain.\n")
    parts += [f"! {note}\n" for note in found.warnings]
    return "\n".join([*parts, f"{len(found.runs)} runs, {_spent(found.seconds)}"])


def _table(frame: pd.DataFrame, metric: str, target: str) -> pd.DataFrame:
    rows = frame[(frame["metric"] == metric) & (frame["target"] == target)]
    return pd.DataFrame(
        {
            "model": rows["model"],
            "objective": rows["objective"],
            "mean": rows["mean"].map("{:.3f}".format),
            "sd": rows["sd"].map(lambda v: f"{v:.3f}" if np.isfinite(v) else ""),
            "95 % interval": _range(rows["low"], rows["high"], "{:.3f}"),
            "floor": rows["floor"].map("{:.3f}".format),
            "gain %": rows["gain"].map(lambda v: f"{v:+.1f}" if np.isfinite(v) else ""),
            "95 % of gain": _range(rows["gain_low"], rows["gain_high"], "{:+.1f}"),
            "seeds": rows["runs"],
        }
    )


def _range(low: pd.Series, high: pd.Series, form: str) -> list[str]:
    return [f"{form.format(a)} to {form.format(b)}" if np.isfinite(a) else "" for a, b in zip(low, high, strict=True)]


def _spent(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def write_page(found: Comparison) -> list[str]:
    """Write OUT/comparison.html (its name in a list), if there is something to draw and the view is installed."""
    if VIEW not in VIEWS or found.frame.empty:
        return []
    draft = Draft(lambda line: None)
    draft.chapter("comparison", "Unseen domains", "Which model and which objective is best in domains that it never saw?")
    draft.body += [markup.note(note) for note in found.warnings]
    for metric in headline(found.task):
        page = Page(VIEW, draw={"metric": metric}, heading=f"{shown(metric)} in unseen domains")
        draft.page(f"comparison-{metric}", page, lambda page: page.answer(found.frame))
    write_text(found.path / "comparison.html", document(draft, "Comparison on unseen domains"))
    return ["comparison.html"]
