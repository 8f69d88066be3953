"""How does a results table look in a terminal, in Markdown, in LaTeX and on a page?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from msaviz.app import markup
from msaviz.app.pages import Page
from msaviz.app.report import Draft, document
from msaviz.app.results import ordered, shown
from msaviz.catalog import TABLES
from msaviz.files import write_text
from msaviz.interpret.results import MEASURED
from msaviz.terminal import visible
from msaviz.training.metrics import headline, higher_is_better
from msaviz.training.results import COMPLETE, Results

WIDE = ("f1_nonneg", "acc5")
"""Metrics that a table leaves out where it has Acc-7: they say what their neighbours say."""
MARKUP = re.compile(r"([\\`*_\[\]<>|$~#&{}]|(?<=\{)%)")
TEX = str.maketrans({**{c: f"\\{c}" for c in "#$%&_{}"}, "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"})
"""What LaTeX obeys; ^^5c is a backslash to it."""
CHOSEN = {"published": "chosen on test, per metric", "validation": "chosen on validation"}
SAID = {COMPLETE: "complete input", "mean": "mean over what is missing"}


def plain(text: str) -> str:
    """Text in one line that Markdown, and what makes pages of it, show as it is."""
    return MARKUP.sub(r"\\\1", one_line(text))


def one_line(text: str) -> str:
    """The text without ends of lines, by which a cell would end; what a terminal would obey is shown."""
    return visible(" ".join(text.split()))


@dataclass(frozen=True)
class Tabled:
    """One table as people read it: strings, which cells are best of what was measured, and what it is about."""

    caption: str
    cells: pd.DataFrame
    best: pd.DataFrame  # bool, of the shape of `cells`
    detailed: bool = False
    """Whether every condition stands in it, for whom the overall table is not enough."""

    def markdown(self) -> str:
        """A pipe table under its caption; nothing in it is read as markup but the bold of the best."""
        cells = self.cells.map(plain).rename(columns=plain)
        cells = cells.where(~self.best.to_numpy(), "**" + cells + "**")
        return f"{plain(self.caption)}\n\n{cells.to_markdown(index=False, disable_numparse=True)}\n"

    def latex(self) -> str:
        """A `table` with booktabs' rules; `\\usepackage{booktabs}` is all it needs."""
        cells = self.cells.map(one_line).rename(columns=lambda column: re.sub(" [↑↓]", "", column))
        style = cells.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis=1)
        style = style.apply(lambda _: np.where(self.best, "font-weight: bold;", ""), axis=None)
        caption = one_line(self.caption).translate(TEX)
        return style.to_latex(hrules=True, convert_css=True, caption=caption, position="t", column_format="l" + "r" * (cells.shape[1] - 1))

    def html(self) -> str:
        head = "".join(f"<th>{markup.text(column)}</th>" for column in self.cells.columns)
        body = ""
        for cells, best in zip(self.cells.itertuples(index=False, name=None), self.best.to_numpy(), strict=True):
            texts = [f"<b>{markup.text(c)}</b>" if b else markup.text(c) for c, b in zip(cells, best, strict=True)]
            body += "<tr>" + "".join(f"<td{' class=left' * (not i)}>{cell}</td>" for i, cell in enumerate(texts)) + "</tr>"
        return markup.grid(f"<tr>{head}</tr>", body, self.caption)


def tables(found: Results) -> Iterator[Tabled]:
    """For each dataset and protocol: every metric overall, then the first headline metric under every condition."""
    for (data, protocol), part in found.frame.groupby(["data", "protocol"], sort=False):
        conditions = list(dict.fromkeys(part.loc[part["source"] == MEASURED, "condition"]))
        first = headline(found.tasks[str(data)])[0]
        for condition in [c for c in conditions if c in SAID]:
            yield overall(part[part["condition"] == condition], f"{data}, {protocol}: {SAID[condition]}", first)
        if len(conditions) > 1:
            yield by_condition(part[(part["metric"] == first) & (part["source"] == MEASURED)], f"{data}, {protocol}: {shown(first)}", first)


def overall(frame: pd.DataFrame, about: str, first: str) -> Tabled:
    """Rows: the constant predictor, models, published figures; columns: metrics, mean ± sd over seeds, and the gain in the first one."""
    metrics = [m for m in ordered(frame["metric"]) if m not in WIDE or "acc7" not in set(frame["metric"])]
    frame = frame[frame["metric"].isin(metrics)].assign(row=_rows(frame))
    ours = frame[frame["source"] == MEASURED]
    rows: dict[str, dict[str, str]] = {"constant predictor": {m: f"{v:.3f}" for m, v in ours.groupby("metric")["floor"].first().items()}}
    for row, known in frame.groupby("row", sort=False):
        rows[str(row)] = dict(zip(known["metric"], map(_spread, known["mean"], known["sd"]), strict=True))
        gain = known[known["metric"] == first].dropna(subset=["gain"])
        rows[str(row)] |= {"gain": _gain(gain.iloc[0], first)} if len(gain) else {}
    cells = pd.DataFrame.from_dict(rows, orient="index", columns=[*metrics, "gain"]).fillna("")
    best = pd.DataFrame(False, index=cells.index, columns=cells.columns)
    for metric, known in ours.groupby("metric"):
        extreme = known["mean"].max() if higher_is_better(str(metric)) else known["mean"].min()
        best.loc[known.loc[known["mean"] == extreme, "row"], str(metric)] = True
    caption = f"{about}. {_runs(ours)}, checkpoints chosen on validation; bold: best of these."
    return _titled(cells, best, {m: _head(m) for m in metrics} | {"gain": f"gain in {shown(first)}, 95 %"}, caption)


def by_condition(frame: pd.DataFrame, about: str, metric: str) -> Tabled:
    """Rows: models; columns: the conditions, in the protocol's order."""
    frame = frame.assign(row=_rows(frame))
    conditions = [c for c in dict.fromkeys(frame["condition"]) if c != "mean"] + ["mean"]
    wide = frame.pivot(index="row", columns="condition", values="mean").reindex(list(dict.fromkeys(frame["row"])))[conditions]
    extreme = wide.max() if higher_is_better(metric) else wide.min()
    cells = wide.map(lambda value: f"{value:.3f}" if np.isfinite(value) else "").rename_axis(None, axis=1)
    return _titled(cells, wide.eq(extreme).rename_axis(None, axis=1), {}, f"{about} by what is given. {_runs(frame)}.", detailed=True)


def _titled(cells: pd.DataFrame, best: pd.DataFrame, heads: dict[str, str], caption: str, *, detailed: bool = False) -> Tabled:
    cells = cells.rename(columns=heads)
    cells.insert(0, "model", cells.index.astype(str))
    best = best.copy()
    best.insert(0, "model", False)
    return Tabled(caption, cells.reset_index(drop=True), best.set_axis(cells.columns, axis=1).reset_index(drop=True), detailed)


def _rows(frame: pd.DataFrame) -> pd.Series:
    """The model, its objective unless that is plain training, and of a published figure how its checkpoint was chosen."""
    ours = frame["source"] == MEASURED
    names = frame["model"].astype(str)
    with_objective = names.where(frame["objective"].isin(["erm", ""]), names + ", " + frame["objective"].astype(str))
    return with_objective.where(ours, names + " (published; " + frame["selection"].map(CHOSEN).fillna("choice not stated") + ")")


def _spread(mean: float, sd: float) -> str:
    return f"{mean:.3f} ± {sd:.3f}" if np.isfinite(sd) else f"{mean:.3f}"


def _gain(row: pd.Series, metric: str) -> str:
    unit = "" if metric == "corr" else " %"
    return f"{row['gain']:+.1f}{unit} [{row['gain_low']:.1f}, {row['gain_high']:.1f}]"


def _head(metric: str) -> str:
    return f"{shown(metric)} {'↑' if higher_is_better(metric) else '↓'}"


def _runs(frame: pd.DataFrame) -> str:
    counts = sorted({int(n) for n in frame["runs"]})
    return f"{'/'.join(map(str, counts))} seed{'s' * (counts != [1])}, mean ± standard deviation" if counts else "No runs"


def told(found: Results) -> str:
    """The overall tables as text, then what must be said beside them, and the time."""
    parts = [f"{one.caption}\n{one.cells.to_string(index=False)}\n" for one in tables(found) if not one.detailed]
    parts += [f"! {note}\n" for note in found.warnings]
    return "\n".join([*parts, f"{len(found.runs)} runs, {found.seconds:.0f} s"])


def write(found: Results) -> list[str]:
    """Write OUT/results.md, .tex and .html; their names. Nothing to say, nothing is written."""
    every = list(tables(found))
    if not every:
        return []
    notes = "".join(f"\n> {plain(note)}\n" for note in found.warnings)
    texts = {"md": "\n".join(one.markdown() for one in every) + notes, "tex": "\n".join(one.latex() for one in every)}
    for end, text in {**texts, "html": _page(found, every)}.items():
        write_text(found.path / f"results.{end}", text)
    return [f"results.{end}" for end in ("md", "tex", "html")]


def _page(found: Results, every: Sequence[Tabled]) -> str:
    draft = Draft(lambda line: None)
    frame = TABLES["results"](found.frame)
    for number, (data, task) in enumerate(found.tasks.items()):
        draft.chapter(f"data-{number}", data, "How good is each model, beside the constant, each other and what was published?")
        for metric in headline(task):
            page = Page("results", draw={"metric": metric, "data": data}, heading=f"{shown(metric)} on {data}")
            draft.page(f"data-{number}-{metric}", page, lambda page, data=data: frame[frame["data"] == data])
        draft.body += [one.html() for one in every if one.caption.startswith(f"{data}, ")]
    draft.body[:0] = ["<h1>Results</h1>", *(markup.note(note) for note in found.warnings)]
    return document(draft, "Results")
