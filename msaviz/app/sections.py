"""What do the parts of a report say that are no pages: results beside floors, comparisons, data, options, environment?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from msaviz.app.beside import beside_published
from msaviz.app.groups import Group, replay
from msaviz.app.markup import details, facts, grid, note, number, table, text
from msaviz.app.results import better, compared, measured, ordered, over_seeds, shown
from msaviz.options import paths
from msaviz.training.metrics import headline, higher_is_better
from msaviz.training.published import named_in, told
from msaviz.types import Spec

STAMP = (
    '<p class="note">Selection <b>published</b>: the best epoch of each metric on the test split. Too good by construction; '
    "to be put beside numbers made the same way, and nothing else.</p>"
)
NO_BREAK = "\u2011"  # a hyphen that keeps "Acc-7" in one line
SHOWN_AS_TILES = 4
"""Models whose headline numbers are set large; more of them are read better in the table."""
METRICS = {
    "mae": "mean absolute error of the unclipped prediction, in units of the label; lower is better",
    "corr": "Pearson correlation of prediction and label",
    "acc2_negpos": "share of the right sign, neutral labels (0) left out",
    "acc2_nonneg": "share of right answers to “is it negative?”",
    "f1_negpos": "F1 of the same two classes, weighted by their share of the truth",
    "f1_nonneg": "F1 of the same two classes, weighted by their share of the truth",
    "acc2": "share of right answers to “is it above the neutral value?”",
    "f1": "F1 of the two classes above and below the neutral value, weighted by their share of the truth",
    "acc3": "share of right answers among three classes of the label",
    "acc5": "share of right answers among five classes of the label (after clipping and rounding)",
    "acc7": "share of right answers among seven classes of the label (after clipping and rounding)",
    "accuracy": "share of right classes",
    "weighted_f1": "F1 of each class, weighted by its share of the truth",
    "uar": "recall averaged over the classes",
}


def tiles(groups: Sequence[Group], sweeps: dict[str, pd.DataFrame]) -> str:
    """The two numbers to argue from, for each model, on complete input and over the missing rates; nothing for many models."""
    if len(groups) > SHOWN_AS_TILES:
        return ""
    parts = []
    for group in groups:
        found = []
        for metric in headline(group.first.spec.task):
            for protocol, condition, said in (("clean", None, "complete input"), ("missing", "mean", "mean over missing rates")):
                rows = over_seeds(sweeps[protocol][sweeps[protocol]["model"] == group.label])
                rows = rows[(rows["metric"] == metric) & (rows["condition"] == (condition or rows["condition"].iloc[0]))]
                for row in rows.itertuples():
                    found.append(
                        f'<div class="tile"><div class="name">{text(shown(metric))}, {said}</div>'
                        f'<div class="value {_mark(metric, row.mean, row.floor)}">{row.mean:.3f}</div>'
                        f'<div class="floor">{_spread(row)}constant predictor {row.floor:.3f}</div></div>'
                    )
        seeds = f"{len(group.runs)} seeds" if len(group.runs) > 1 else "one seed"
        parts.append(
            f'<p class="tiles-of">{text(group.label)} <span class="lead">· {seeds}</span></p><div class="tiles">{"".join(found)}</div>'
        )
    return "".join(parts)


def _spread(row: object) -> str:
    return f"± {row.sd:.3f} · " if row.runs > 1 else ""  # type: ignore[attr-defined]


def _mark(metric: str, value: float, floor: float) -> str:
    if not np.isfinite(value) or not np.isfinite(floor):
        return ""
    return "good" if better(metric, value, floor) else "bad"


def results(sweep: pd.DataFrame, caption: str, conditions: Sequence[str] | None = None) -> str:
    """Models and conditions in rows, metrics in columns: mean ± sd over seeds, the constant predictor first."""
    frame = over_seeds(sweep)
    if conditions is not None:
        frame = frame[frame["condition"].isin(conditions)]
    metrics = ordered(frame["metric"])
    several = frame["condition"].nunique() > 1
    names = "".join(
        f"<th>{text(shown(m)).replace('-', NO_BREAK).replace('/', '/<wbr>')}\u00a0{'↑' if higher_is_better(m) else '↓'}</th>"
        for m in metrics
    )
    head = f"<tr><th>model</th>{'<th class=left>condition</th>' if several else ''}<th>seeds</th>{names}</tr>"
    gap = '<td class="left"></td>' if several else ""
    body: list[str] = []
    before = ""
    for (model, condition), rows in frame.groupby(["model", "condition"], sort=False):
        floor = _floors(frame[frame["model"] == model], metrics)
        if floor != before:  # models on other data have another constant to beat
            body.append(f'<tr class="floor"><td>constant predictor</td>{gap}<td></td>{floor}</tr>')
            before = floor
        known = rows.set_index("metric")
        cells = "".join(_cell(m, known.loc[m]) if m in known.index else "<td></td>" for m in metrics)
        where = f'<td class="left">{text(condition)}</td>' if several else ""
        body.append(f"<tr><td>{text(model)}</td>{where}<td>{int(known['runs'].max())}</td>{cells}</tr>")
    return grid(head, "".join(body), caption)


def _floors(frame: pd.DataFrame, metrics: Sequence[str]) -> str:
    floors = frame.groupby("metric")["floor"].mean()
    return "".join(f"<td>{number(floors.get(m))}</td>" for m in metrics)


def _cell(metric: str, row: pd.Series) -> str:
    spread = f" ± {row['sd']:.3f}" if np.isfinite(row["sd"]) else ""
    return f'<td class="{_mark(metric, row["mean"], row["floor"])}">{row["mean"]:.3f}{spread}</td>'


def all_results(sweeps: dict[str, pd.DataFrame], split: str) -> str:
    """The tables of the three protocols; what is long is folded."""
    clean, missing, subsets = sweeps["clean"], sweeps["missing"], sweeps["subsets"]
    rates = [f"{r:g}" for r in sorted(measured(missing)["rate"].unique())]
    parts = [results(clean, f"Complete input, {split} split")]
    parts.append(results(missing, f"Over the missing rates {rates[0]} to {rates[-1]}, {split} split", ["mean", "area"]))
    parts.append(details("Every missing rate", results(missing, "The same steps are missing for every model", rates)))
    parts.append(details("Every subset of the modalities", results(subsets, f"Only these modalities are given, {split} split")))
    parts.append('<p class="lead small">▲ better than the best constant guess, ▼ not better. ± is the standard deviation over seeds.</p>')
    return "".join(parts)


def published(groups: Sequence[Group], sweep: pd.DataFrame) -> str:
    """Published figures of the runs' dataset beside their means over the missing rates, each with its protocol and selection."""
    name = groups[0].first.dataset.name
    figures = named_in(name)
    if figures.empty:
        return ""
    beside = beside_published([group for group in groups if group.first.dataset.name == name], sweep, figures)
    return details("Published figures beside these", f'<p class="lead">{text(told(name, figures))}</p>{table(beside)}')


def comparison(groups: Sequence[Group], split: str) -> str:
    """The first model against each other one, with paired bootstrap intervals; nothing for a single model."""
    if len(groups) < 2:
        return ""
    blocks = []
    for protocol, said in (("missing", "over all missing rates"), ("clean", "on complete input")):
        frame = compared({group.label: group.predictions(protocol, split) for group in groups})
        if frame.empty:
            return note("These runs were not tested on the same utterances: their scores are not compared.")
        blocks.append(frame.assign(where=said))
    frame = pd.concat(blocks, ignore_index=True)
    found = pd.DataFrame(
        {
            "against": frame["other"],
            "where": frame["where"],
            "metric": frame["metric"].map(shown),
            "difference": frame["difference"].map("{:+.3f}".format),
            "95 % interval": [f"{low:+.3f} to {high:+.3f}" for low, high in zip(frame["low"], frame["high"], strict=True)],
            "better by": frame["improvement"].map("{:+.1f} %".format),
            "beyond chance?": np.where(frame["wins"], "yes, better", np.where(frame["low"] * frame["high"] > 0, "yes, worse", "no")),
        }
    )
    caption = "Paired bootstrap over utterances, scores averaged over seeds first; beyond chance: the 95 % interval excludes zero."
    return f"<h3>{text(groups[0].label)} against the others</h3>" + table(found, caption=caption)


def data(groups: Sequence[Group]) -> str:
    """Each dataset once: its splits, widths, tasks, domains and traps."""
    parts = []
    for run in {g.first.options["data"]["fingerprint"]: g.first for g in groups}.values():
        spec, dataset = run.spec, run.dataset
        splits = ", ".join(f"{name} {len(split):,}" for name, split in dataset.splits.items())
        about = {
            "source": run.experiment.data,
            "rows": splits,
            "modalities": "; ".join(f"{m} ({_width(spec, m)})" for m in spec.modalities),
            "tasks": "; ".join(f"{name} ({', '.join(t.classes) or f'{t.low:g} to {t.high:g}'})" for name, t in spec.tasks.items()),
            "domains": ", ".join(spec.domains),
            "fingerprint": dataset.fingerprint,
        }
        parts.append(f"<h3>Data: {text(dataset.name)}</h3>" + facts(about))
        parts += [note(f"Trap: {trap}") for trap in dataset.traps]
    return "".join(parts)


def _width(spec: Spec, modality: str) -> str:
    ids = spec.vocabularies.get(modality)
    return f"{ids:,} token ids" if ids else f"{spec.widths[modality]} features a step"


def setup(group: Group) -> str:
    """How to repeat the runs of a group, their options and what they ran on."""
    first = group.first
    commands = "\n".join(replay(run) for run in group.runs)
    options = {k: v for k, v in paths(first.experiment).items() if k != "seed"}
    said = f"Seeds {', '.join(map(str, group.seeds))}; runs {', '.join(group.names)}. To train again:"
    body = f"<h3>{text(group.label)}</h3><p>{text(said)}</p><pre>{text(commands)}</pre>"
    body += details(f"All options ({len(options)})", facts(options))
    environments: dict[str, list[str]] = {}
    for run, name in zip(group.runs, group.names, strict=True):
        environments.setdefault(str(sorted(_flat(run.environment).items())), []).append(name)
    for names in environments.values():
        run = group.runs[group.names.index(names[0])]
        body += details(f"Environment of {', '.join(names)}", facts(_flat(run.environment)))
    return body


def _flat(environment: dict) -> dict[str, str]:
    plain = {k: v for k, v in environment.items() if not isinstance(v, dict)}
    return {k: str(v) for k, v in {**plain, **environment.get("packages", {})}.items() if v is not None}


def glossary(metrics: Sequence[str]) -> str:
    frame = pd.DataFrame([(shown(m), METRICS[m]) for m in ordered(metrics) if m in METRICS], columns=["metric", "meaning"])
    return details("What the metrics mean", table(frame))
