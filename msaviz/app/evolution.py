"""How is an evolution told in a terminal, and on one page?"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from msaviz.app import markup
from msaviz.app.groups import Group
from msaviz.app.pages import Chapter, Page, chapters
from msaviz.app.report import Draft, document
from msaviz.app.results import measured, ordered, shown
from msaviz.app.subject import Subject
from msaviz.files import write_text
from msaviz.options import paths, search_space
from msaviz.training.domains import SUMMARIES
from msaviz.viz.words import listed

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna.trial import FrozenTrial

    from msaviz.search.record import Search

METRICS = ("mae", "acc2_negpos", "acc2", "acc7", "corr", "weighted_f1", "accuracy", "uar")
"""What is told of a winner, where its task has it."""
CONTROLS = ("random", "default")
"""Arms that are there to be beaten."""
SAID = "test split; gains in %, of Corr in points of .01, ● beyond chance"
PAGE = "search.html"


def told(found: Search, seconds: float) -> str:
    """Results on complete input and over the subsets, what the winner changed, what the trials came to, and the time."""
    parts = [f"{title}\n{table.to_string(index=False)}" for title, table in results(found).items()]
    parts += [genes_told(found), f"Trials\n{tally(found).to_string(index=False)}", *(f"! {note}" for note in found.warnings)]
    trained = found.evolution.trials["seconds"].sum()
    return "\n\n".join([*parts, f"{timedelta(seconds=round(seconds))} here; the trials took {timedelta(seconds=round(trained))} in all"])


def results(found: Search) -> dict[str, pd.DataFrame]:
    """Title -> metric, arm, mean, sd, interval, floor, seeds and gains, on complete input and as the mean over the subsets."""
    frame = found.results
    if frame.empty:
        return {}
    subsets = [target for target in frame["target"].unique() if target not in SUMMARIES]
    whole = max(subsets, key=lambda target: target.count("+"))
    titles = {"mean": f"Mean over all {len(subsets)} sets of modalities", whole: f"Complete input ({whole})"}
    return {f"{title}, {SAID}": _scores(frame[frame["target"] == target]) for target, title in titles.items()}


def _scores(frame: pd.DataFrame) -> pd.DataFrame:
    """A row a metric and arm; a gain is in percent, of a correlation in points of .01, and bears ● where its interval excludes zero."""
    frame = frame[frame["metric"].isin(METRICS)]
    keys = ["metric", "model"]
    first = frame.drop_duplicates(keys)
    table = pd.DataFrame(
        {
            "metric": first["metric"],
            "arm": first["model"],
            "mean": first["mean"].map("{:.3f}".format),
            "sd": first["sd"].map(lambda sd: f"{sd:.3f}" if np.isfinite(sd) else ""),
            "95 % interval": [f"{low:.3f} to {high:.3f}" for low, high in zip(first["low"], first["high"], strict=True)],
            "floor": first["floor"].map("{:.3f}".format),
            "seeds": first["runs"].astype(int),
        }
    )
    for against, rows in frame.groupby("against", sort=False):
        gains = {(row.metric, row.model): _gain(row.gain, row.gain_low, row.gain_high) for row in rows.itertuples()}  # type: ignore[arg-type]
        table[f"gain over {against}"] = [gains.get(key, "") for key in zip(first["metric"], first["model"], strict=True)]
    place = {metric: i for i, metric in enumerate(ordered(table["metric"]))}
    table = table.sort_values("metric", key=lambda names: names.map(place), kind="stable")
    return table.assign(metric=table["metric"].map(shown)).reset_index(drop=True)


def _gain(gain: float, low: float, high: float) -> str:
    if not np.isfinite(gain):
        return ""
    middle, left, right = (f"{round(value, 1) + 0.0:+.1f}" for value in (gain, low, high))  # -0.0 + 0.0 is 0.0
    return f"{middle} [{left}, {right}]{' ●' if low > 0 or high < 0 else ''}"


def leading(found: Search) -> str:
    """The arm that was asked for: the one that is no control, if there is one."""
    return min(found.winners, key=lambda arm: (arm in CONTROLS, arm == "default"))


def changed(found: Search) -> pd.DataFrame:
    """option, default, winner: what the leading arm's winner does otherwise than the default genome, within the genes."""
    if not found.winners:
        return pd.DataFrame(columns=["option", "default", "winner"])
    start = found.settings.experiment
    before, after = paths(start), paths(found.winners[leading(found)])
    rows = [(path, _plain(before[path]), _plain(after[path])) for path in search_space(start) if before[path] != after[path]]
    return pd.DataFrame(rows, columns=["option", "default", "winner"])


def _plain(value: Any) -> str:
    """An option as one would type it, rounded: "0.1085", "text+audio"."""
    if isinstance(value, list):
        return "+".join(map(str, value)) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def genes_told(found: Search) -> str:
    """The changed genes as lines."""
    table = changed(found)
    if not found.winners:
        return "No winner was trained."
    if table.empty:
        return f"The winner of {leading(found)} is the default genome."
    return f"Winner of {leading(found)}, where it differs from the default genome\n{table.to_string(index=False)}"


def tally(found: Search) -> pd.DataFrame:
    """A row an arm: trials by what became of them, and the lowest validation error."""
    trials = found.evolution.trials
    copied = trials["copy_of"] >= 0
    what = trials["state"].replace("complete", "trained").mask(copied, "copied")
    counts = pd.crosstab(trials["arm"], what).reindex(columns=["trained", "pruned", "copied", "failed"], fill_value=0)
    best = trials[trials["state"] == "complete"].groupby("arm")["error"].min()
    table = counts.assign(**{"lowest validation error": best}).reindex(trials["arm"].unique())
    return table.rename_axis(index="arm", columns=None).reset_index()


def first_objective(trial: FrozenTrial) -> float:
    """What Optuna's pictures are to show of a trial that has several objectives."""
    return trial.values[0]


def write_page(found: Search) -> Path:
    """Write OUT/search.html, one file that opens without a network; return its path."""
    draft = Draft(lambda line: None)
    name = found.settings.experiment.model_name
    lead = f"{found.settings.experiment.data} · {len(found.evolution.trials)} trials · {date.today().isoformat()}"
    draft.entries.append(("results", "Results", True))
    draft.body.append(f'<h1 id="results">{markup.text(f"Evolution of {name}")}</h1><p class="lead">{markup.text(lead)}</p>')
    draft.body += [markup.note(note) for note in found.warnings]
    draft.body += [markup.table(_grouped(table), caption=title) for title, table in results(found).items()]
    if len(genes := changed(found)):
        draft.body.append(markup.table(genes, caption=f"Winner of {leading(found)}, where it differs from the default genome"))
    draft.body.append(markup.table(tally(found), caption="Trials, by what became of them"))
    if len(subsets := sweep(found)):
        draft.page(
            "subset_scores", Page("subset_scores", heading="The winners with some modalities only"), lambda page: page.answer(subsets)
        )
    for chapter in chapters("evolution"):
        _chapter(draft, chapter, lambda page: page.answer(found.evolution))
    if found.winners and (runs := found.runs(leading(found))):
        for chapter in chapters("subsets"):
            inside = Chapter(
                "Inside the winner", f"What does the winner do with each set of modalities? Run {runs[0].name}.", chapter.pages
            )
            _chapter(draft, inside, Subject(runs[0]).answer)
    target = found.path / PAGE
    write_text(target, document(draft, f"Evolution of {name}"))
    return target


def _grouped(table: pd.DataFrame) -> pd.DataFrame:
    """Every metric named once, above its arms."""
    return table.assign(metric=table["metric"].mask(table["metric"].duplicated(), ""))


def sweep(found: Search, split: str = "test") -> pd.DataFrame:
    """The frames of the protocol `subsets` of all winners' runs, under the names of their arms."""
    groups = [Group(arm, tuple(runs), tuple(run.name for run in runs)) for arm in found.winners if (runs := found.runs(arm))]
    frames = [group.sweep("subsets", split) for group in groups]
    return measured(pd.concat(frames, ignore_index=True)) if frames else pd.DataFrame()


def _chapter(draft: Draft, chapter: Chapter, answer: Callable[[Page], pd.DataFrame]) -> None:
    """The chapter's pages that have something to show; nothing at all where none has."""
    entries, body = len(draft.entries), len(draft.body)
    draft.chapter(chapter.title.lower().replace(" ", "-"), chapter.title, chapter.question)
    empty = [page.title for page in chapter.pages if not draft.page(page.name, page, answer)]
    if len(empty) == len(chapter.pages):
        del draft.entries[entries:], draft.body[body:]
    if empty:
        draft.body.append(f'<p class="lead">{markup.text(f"{chapter.title}: there is too little for {listed(empty)}.")}</p>')
