"""Who descends from whom, what changed on the way, and did the change help?"""

from __future__ import annotations

import pandas as pd

from msaviz.interpret.evolution import Evolution
from msaviz.interpret.gene_frequency import spoken
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered

COLUMNS = (
    *("run", "arm", "trial", "generation", "parent", "other", "crossed", "mutated", "changed"),
    *("error", "gain", "inherited", "ancestor"),
)
TOLD = 4
"""Genes that `changed` names; the rest is counted."""


def answer(evolution: Evolution) -> pd.DataFrame:
    """A row a trial, complete or pruned, of the arms that have parents.

    `crossed`, `mutated`: how many genes; `changed`: how its genes differ from the parent's, "dim 64→128, modalities −audio"; `gain`: the
    parent's error less its own (NaN without a parent); `ancestor`: the arm's best trial descends from it through `parent`, or is it.
    """
    parts = []
    for arm, rows in evolution.trials.groupby("arm", sort=False):
        if (rows["parent"] >= 0).any():
            genes = evolution.genes[evolution.genes["arm"] == arm]
            parts.append(_arm(rows[rows["state"].isin(["complete", "pruned"])], genes))
    return gathered(parts, COLUMNS, run=evolution.name)


def _arm(rows: pd.DataFrame, genes: pd.DataFrame) -> pd.DataFrame:
    spoken_values = [spoken(str(value), number) for value, number in zip(genes["value"], genes["number"], strict=True)]
    values = genes.assign(value=spoken_values).pivot(index="gene", columns="trial", values="value")
    values = values.reindex(pd.unique(genes["gene"]))
    known = rows["trial"].to_list()
    parents = {trial: parent for trial, parent in zip(known, rows["parent"], strict=True) if parent in values and trial in values}
    changed = [_changes(values[parents[trial]], values[trial]) if trial in parents else "" for trial in known]
    gain = rows["parent"].map(rows.set_index("trial")["error"]) - rows["error"]
    counts = {name: rows[name].fillna("").astype(str).str.split().str.len() for name in ("crossed", "mutated")}
    return rows.assign(**counts, changed=changed, gain=gain, ancestor=rows["trial"].isin(_ancestors(rows)))


def _ancestors(rows: pd.DataFrame) -> set[int]:
    """The best trained trial, its parent, the parent's parent, …"""
    best = rows[rows["state"] == "complete"].dropna(subset="error").sort_values("error", kind="stable")["trial"]
    parent = dict(zip(rows["trial"], rows["parent"], strict=True))
    found, here = set(), int(best.iloc[0]) if len(best) else -1
    while here >= 0 and here not in found:
        found.add(here)
        here = int(parent.get(here, -1))
    return found


def _changes(before: pd.Series, after: pd.Series) -> str:
    """ "nothing" where all genes are the same."""
    both = pd.DataFrame({"before": before, "after": after}).fillna("none")
    words = [_change(str(row.Index), str(row.before), str(row.after)) for row in both.itertuples() if row.before != row.after]
    more = [f"{len(words) - TOLD} more"] if len(words) > TOLD else []
    return ", ".join([*words[:TOLD], *more]) or "nothing"


def _change(gene: str, before: str, after: str) -> str:
    """ "dim 64→128"; of a set of parts "modalities +text" or "modalities −text"."""
    path, _, part = gene.partition("[")
    name = path.rpartition(".")[2]
    if part:
        return f"{name} {'+' if after == 'True' else '−'}{part.removesuffix(']')}"
    return f"{name} {before}→{after}"


TABLE = Table(COLUMNS, answer, of="evolution")
