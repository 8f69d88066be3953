"""What is in this source, before anything is trained on it?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from msaviz.data.dataset import Dataset, Split
from msaviz.data.load import load
from msaviz.data.mapped import places
from msaviz.data.ragged import Ragged
from msaviz.types import Task

FEATURES = {
    ("audio", 5): "columns 1, 3, 6, 25, 60 of COVAREP's 74",
    ("vision", 20): "columns 0, 2, 5, 10, 11, 12, 14, 17, 20, 21, 22, 24, 25, 29, 30, 31, 32, 36, 37, 40 of FACET's 47",
    ("audio", 74): "COVAREP",
    ("vision", 47): "FACET",
    ("vision", 35): "FACET, 35 action units and emotions",
    ("audio", 33): "LibROSA (CH-SIMS)",
    ("vision", 709): "OpenFace 2 (CH-SIMS)",
    ("text", 300): "GloVe word vectors",
    ("text", 768): "BERT base vectors, contextual",
}
"""What features of such a width usually are, in the files of the field."""


@dataclass(frozen=True)
class Inspection:
    """What a dataset holds. Each table is a tidy DataFrame; `str()` is readable, `to_dict()` fits into JSON."""

    dataset: Dataset

    @property
    def traps(self) -> tuple[str, ...]:
        return self.dataset.traps

    @cached_property
    def splits(self) -> pd.DataFrame:
        """split, rows, complete (share of rows that have every modality), transcripts (share that have one)."""
        rows = []
        for name, split in self.dataset.splits.items():
            complete = np.all([s.lengths > 0 for s in split.sequences.values()], axis=0)
            written = np.mean([bool(text) for text in split.texts]) if len(split) else 0.0
            rows.append({"split": name, "rows": len(split), "complete": _mean(complete), "transcripts": float(written)})
        return pd.DataFrame(rows)

    @cached_property
    def modalities(self) -> pd.DataFrame:
        """split, modality, kind (frames, tokens), width (or vocabulary size), missing (share of rows), steps (quantiles over rows that
        have it), nan, inf (values), zero (share of valid steps that hold only zeros). Of a row, the columns count that its domain has."""
        spec, rows = self.dataset.spec, []
        for name, split in self.dataset.splits.items():
            for m, sequence in split.sequences.items():
                kind, width = ("tokens", spec.vocabularies[m]) if m in spec.vocabularies else ("frames", spec.widths[m])
                lengths = sequence.lengths
                steps = np.quantile(lengths[lengths > 0], [0, 0.25, 0.5, 0.75, 1]) if (lengths > 0).any() else np.zeros(5)
                quantiles = dict(zip(("steps_min", "steps_q25", "steps_median", "steps_q75", "steps_max"), steps.tolist(), strict=True))
                counts = _count(sequence, self._columns(m, split))
                about = {"split": name, "modality": m, "kind": kind, "width": width, "missing": _mean(lengths == 0)}
                rows.append({**about, **quantiles, **counts})
        return pd.DataFrame(rows)

    def _columns(self, modality: str, split: Split) -> np.ndarray | None:
        """Int[s 2]: the first and one past the last column that each step's domain fills; None where it fills all."""
        owners = self.dataset.columns.get(modality)
        if owners is None:
            return None
        spans = np.array([owners.get(domain, (0, 0)) for domain in self.dataset.spec.domains])
        return np.repeat(spans[np.asarray(split.domain)], split.lengths(modality), axis=0)

    @cached_property
    def labels(self) -> pd.DataFrame:
        """split, task, value (class, or the middle of a bin of .5, or .2 on a scale as narrow as [-1, 1]), rows."""
        rows = []
        for name, split in self.dataset.splits.items():
            for task, kind in self.dataset.spec.tasks.items():
                y = np.asarray(split.labels[task])
                if kind.kind == "classes":
                    counts = {c: int((y == i).sum()) for i, c in enumerate(kind.classes)}
                else:
                    step = 0.5 if kind.high - kind.low > 2 else 0.2
                    middles = np.linspace(kind.low, kind.high, min(round((kind.high - kind.low) / step) + 1, 41))
                    nearest = np.searchsorted((middles[1:] + middles[:-1]) / 2, y[np.isfinite(y)])
                    found = np.bincount(nearest, minlength=len(middles)).tolist()
                    counts = {f"{middle:.3g}": n for middle, n in zip(middles + 0.0, found, strict=True)}
                rows += [{"split": name, "task": task, "value": value, "rows": n} for value, n in counts.items()]
        return pd.DataFrame(rows)

    @cached_property
    def domains(self) -> pd.DataFrame:
        """split, domain, rows, label (mean of the main task; NaN for classes)."""
        spec, rows = self.dataset.spec, []
        for name, split in self.dataset.splits.items():
            y = np.asarray(split.labels[spec.target], dtype=float)
            for i, domain in enumerate(spec.domains):
                own = y[np.asarray(split.domain) == i]
                known = own[np.isfinite(own)] if spec.task.kind == "regression" else own[:0]
                rows.append({"split": name, "domain": domain, "rows": len(own), "label": float(known.mean()) if len(known) else np.nan})
        return pd.DataFrame(rows)

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What the features usually are, from their names and widths."""
        widths = self.dataset.spec.widths if self.dataset.truth is None else {}  # synthetic features are what their story says
        return tuple(f"{m} ({w}): usually {FEATURES[m, w]}." for m, w in widths.items() if (m, w) in FEATURES)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and text; NaN becomes None."""
        d, tables = self.dataset, ("splits", "modalities", "labels", "domains")
        return {
            "name": d.name,
            "source": d.source,
            "fingerprint": d.fingerprint,
            "tasks": {name: _task(task) for name, task in d.spec.tasks.items()},
            **{table: _records(getattr(self, table)) for table in tables},
            "contextual": sorted(d.contextual),
            "unknown": dict(d.unknown),
            "notes": list(self.notes),
            "traps": list(d.traps),
        }

    def __str__(self) -> str:
        d = self.dataset
        tasks = ", ".join(f"{n} ({' '.join(t.classes) if t.classes else f'{t.low:g} to {t.high:g}'})" for n, t in d.spec.tasks.items())
        shares = {"complete": "{:.1%}".format, "transcripts": "{:.1%}".format, "missing": "{:.1%}".format, "zero": "{:.1%}".format}
        steps = {c: "{:g}".format for c in self.modalities if c.startswith("steps")}

        def show(frame: pd.DataFrame) -> str:
            return frame.to_string(index=False, formatters={k: f for k, f in {**shares, **steps}.items() if k in frame})

        histogram = self.labels.pivot_table(index=["task", "value"], columns="split", values="rows", sort=False, aggfunc="sum")
        blocks = [
            f"{d.name}: tasks {tasks}\nfingerprint {d.fingerprint[:16]}",
            show(self.splits),
            show(self.modalities),
            histogram[list(d.splits)].reset_index().to_string(index=False),
        ]
        if len(d.spec.domains) > 1:
            blocks.append(show(self.domains))
        blocks.append("\n".join([*self.notes, *([f"! {trap}" for trap in d.traps] or ["No traps found."])]))
        return "\n\n".join(blocks)


def inspect(source: str | Path | Dataset) -> Inspection:
    """Splits, modalities, shapes, lengths, labels, NaN and infinite values, domains, missing share and traps of a source."""
    return Inspection(load(source))


def _task(task: Task) -> dict[str, Any]:
    scale = {"classes": list(task.classes)} if task.kind == "classes" else {"low": task.low, "high": task.high}
    return {"kind": task.kind, **scale}


def _mean(flags: np.ndarray) -> float:
    return float(np.mean(flags)) if len(flags) else 0.0


def _count(sequence: Ragged, columns: np.ndarray | None) -> dict[str, Any]:
    """nan, inf: values; zero: share of steps without any content. Columns of other sources are no content."""
    values, nan, inf, zero = sequence.values, 0, 0, 0
    if values.ndim == 2:
        for piece in places(values):
            x = np.asarray(values[piece])
            if columns is not None:
                place, (first, stop) = np.arange(x.shape[1]), columns[piece].T[..., None]
                x = np.where((place >= first) & (place < stop), x, 0)
            nan, inf, zero = nan + int(np.isnan(x).sum()), inf + int(np.isinf(x).sum()), zero + int((~(x != 0).any(1)).sum())
    return {"nan": nan, "inf": inf, "zero": zero / max(len(values), 1)}


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    plain = frame.astype(object).where(frame.notna(), None)
    return [{k: v.item() if isinstance(v, np.generic) else v for k, v in row.items()} for row in plain.to_dict("records")]
