"""What is in a data source: its splits, modalities, lengths, labels, gaps and traps?"""

from __future__ import annotations

from typing import Any

import numpy as np

from msaviz.data.dataset import Dataset, Split
from msaviz.data.ragged import Ragged, chunks

BARS = " ▁▂▃▄▅▆▇█"


def inspect(dataset: Dataset) -> dict[str, Any]:
    """Plain numbers, lists and strings only (JSON can hold it): what `msaviz data inspect --json` prints.

    `lengths` are valid steps of the rows that have the modality; `missing` is the share of rows that lack it; `nan` and
    `infinite` count values as the source gives them (a batch has none: they become 0).
    """
    spec = dataset.spec
    return {
        "name": dataset.name,
        "fingerprint": dataset.fingerprint,
        "modalities": {
            m: {"ids": spec.vocabularies[m]} if m in spec.vocabularies else {"width": spec.widths[m], "contextual": m in dataset.contextual}
            for m in spec.modalities
        },
        "tasks": {
            name: {"kind": "classes", "classes": list(task.classes)}
            if task.kind == "classes"
            else {"kind": "regression", "range": [task.low, task.high]}
            for name, task in spec.tasks.items()
        },
        "domains": list(spec.domains),
        "splits": {name: _split(dataset, split) for name, split in dataset.splits.items()},
        "planted_truth": dataset.truth is not None,
        "traps": list(dataset.traps),
    }


def _split(dataset: Dataset, split: Split) -> dict[str, Any]:
    counts = np.bincount(np.asarray(split.domain), minlength=len(dataset.spec.domains))
    return {
        "rows": len(split),
        "texts": int(sum(bool(text) for text in split.texts)),
        "domains": {name: int(n) for name, n in zip(dataset.spec.domains, counts, strict=True) if n},
        "modalities": {m: _modality(split.sequences[m]) for m in dataset.spec.modalities},
        "labels": {name: _labels(np.asarray(values), dataset.spec.tasks[name]) for name, values in split.labels.items()},
    }


def _modality(sequence: Ragged) -> dict[str, Any]:
    lengths = np.asarray(sequence.lengths)
    there = lengths[lengths > 0]
    nan = infinite = 0
    if sequence.values.dtype.kind == "f":
        for part in chunks(len(sequence.values), sequence.values.nbytes):
            values = np.asarray(sequence.values[part])
            nan += int(np.isnan(values).sum())
            infinite += int(np.isinf(values).sum())
    quantiles = [int(q) for q in np.quantile(there, (0, 0.5, 1))] if len(there) else [0, 0, 0]
    return {
        "shape": [len(lengths), quantiles[2], *sequence.values.shape[1:]],
        "lengths": dict(zip(("shortest", "median", "longest"), quantiles, strict=True)),
        "missing": round(float((lengths == 0).mean()), 4) if len(lengths) else 0.0,
        "nan": nan,
        "infinite": infinite,
    }


def _labels(values: np.ndarray, task: Any) -> dict[str, Any]:
    if task.kind == "classes":
        known = values[values >= 0]
        histogram = {name: int((known == code).sum()) for code, name in enumerate(task.classes)}
    else:
        known = values[np.isfinite(values)]
        edges = np.linspace(task.low, task.high, 8)
        counts, _ = np.histogram(np.clip(known, task.low, task.high), edges)
        histogram = {f"{a:.3g}…{b:.3g}": int(n) for a, b, n in zip(edges, edges[1:], counts, strict=False)}
    found: dict[str, Any] = {"labelled": len(known), "unlabelled": len(values) - len(known), "histogram": histogram}
    if task.kind != "classes" and len(known):
        found |= {"mean": round(float(known.mean()), 4), "median": round(float(np.median(known)), 4)}
    return found


def told(facts: dict[str, Any]) -> str:
    """The facts as a page of text."""
    lines = [f"{facts['name']}   (fingerprint {facts['fingerprint'][:12]})", "", "modalities"]
    for m, about in facts["modalities"].items():
        kind = f"token ids, {about['ids']} of them" if "ids" in about else f"{about['width']} features a step"
        lines.append(f"  {m}: {kind}{', from a contextual encoder' if about.get('contextual') else ''}")
    lines += ["", "tasks (the first is the main one)"]
    for name, about in facts["tasks"].items():
        lines.append(
            f"  {name}: " + (", ".join(about["classes"]) if "classes" in about else "a number in [{:g}, {:g}]".format(*about["range"]))
        )
    for name, split in facts["splits"].items():
        lines += ["", *_told_split(name, split)]
    lines += ["", "traps", *([f"  ! {trap}" for trap in facts["traps"]] or ["  none found"])]
    return "\n".join(lines)


def _told_split(name: str, split: dict[str, Any]) -> list[str]:
    domains = ", ".join(f"{d} {n}" for d, n in split["domains"].items())
    lines = [f"{name}: {split['rows']} rows ({domains}), {split['texts']} with a transcript"]
    width = max(map(len, split["modalities"]), default=0)
    for m, about in split["modalities"].items():
        low, middle, high = about["lengths"].values()
        gaps = [f"{about[k]} {k} values" for k in ("nan", "infinite") if about[k]]
        missing = f", missing in {about['missing']:.1%} of rows" if about["missing"] else ""
        lines.append(f"  {m:<{width}}  {low} to {high} steps (median {middle}){missing}{''.join(f', {g}' for g in gaps)}")
    for task, about in split["labels"].items():
        counts = list(about["histogram"].values())
        top = max([*counts, 1])
        bars = "".join(BARS[-(-8 * n // top)] for n in counts)
        rest = f", {about['unlabelled']} without a label" if about["unlabelled"] else ""
        lines.append(f"  {task}: {bars}  " + ", ".join(f"[{k}] {n}" for k, n in about["histogram"].items()) + rest)
    return lines
