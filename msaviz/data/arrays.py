"""How do a user's own arrays become a `Dataset`?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import numpy as np

from msaviz.data.assemble import Part, assemble
from msaviz.data.dataset import SPLITS, TOKEN_SEPARATOR, Dataset
from msaviz.data.ragged import Ragged, hull, occupied, prefix
from msaviz.types import Task

ALIASES = {"val": "valid", "dev": "valid", "validation": "valid", "training": "train", "testing": "test"}


def from_arrays(
    modalities: Mapping[str, Any],
    y: Any,
    *,
    lengths: Any = None,
    domain: Any = None,
    splits: Any = None,
    ids: Sequence[str] | None = None,
    texts: Sequence[str] | None = None,
    tokens: Sequence[Sequence[str]] | None = None,
    tasks: Mapping[str, Task] | None = None,
    vocabularies: Mapping[str, int] | None = None,
    unknown: Mapping[str, int] | None = None,
    contextual: Sequence[str] = (),
    normalise: Sequence[str] | None = None,
    name: str = "arrays",
) -> Dataset:
    """n utterances from arrays.

    modalities: name -> [n t w] padded frames, [n w] one step, [n t] integer token ids, or a list of n arrays [t_i w] or [t_i]
        (None in it: missing in that row). lengths: one [n] for all, or name -> [n]; 0 = missing. Without it, padded frames are
        valid from their first to their last step that holds anything but zeros, and ids from the first to the last that is not 0.
    y: [n], or task -> [n]; floats make a regression task, integers or strings classes (-1 or '' = no label); `tasks` overrules.
    splits: None (70/15/15 by a hash of the id), [n] names, or name -> row numbers. domain: None or [n] names or numbers.
    normalise: modalities to standardise (None: all frames but "text"). unknown: token-id modality -> id of a dropped token.
    ValueErrors print expected against got."""
    labels, kinds = _labels(y, tasks)
    n = len(labels[next(iter(labels))])
    vocabularies = dict(vocabularies or {})
    sequences, traps = {}, []
    for m, value in modalities.items():
        sequences[m] = sequence(m, value, n, lengths.get(m) if isinstance(lengths, Mapping) else lengths)
        if sequences[m].values.ndim == 1 and m not in vocabularies:
            vocabularies[m] = int(sequences[m].values.max(initial=0)) + 1
            traps.append(f"{m}: no vocabulary size was given; the largest id says {vocabularies[m]}.")
    columns = {"ids": ids, "texts": texts, "tokens": tokens, "domain": domain}
    _check_lengths({**columns, **labels}, n)
    parts = _parts(sequences, labels, columns, splits)
    unknown = dict.fromkeys(vocabularies, 0) | dict(unknown or {})
    return assemble(name, parts, kinds, vocabularies=vocabularies, unknown=unknown, contextual=contextual, normalise=normalise, traps=traps)


def _parts(sequences: Mapping[str, Ragged], labels: Mapping[str, np.ndarray], columns: Mapping[str, Any], splits: Any) -> dict[str, Part]:
    """The rows of each split; columns that are None stay so."""
    n = len(next(iter(labels.values())))
    ids = [str(i) for i in columns["ids"]] if columns["ids"] is not None else [f"row_{i}" for i in range(n)]
    tokens = columns["tokens"]
    joined = [TOKEN_SEPARATOR.join(t) for t in tokens] if tokens is not None else ()

    def strings(name: str, rows: np.ndarray) -> list[str] | None:
        return [str(columns[name][i]) for i in rows] if columns[name] is not None else None

    return {
        split: Part(
            {m: s.take(rows) for m, s in sequences.items()},
            {task: values[rows] for task, values in labels.items()},
            [ids[i] for i in rows],
            strings("texts", rows),
            [joined[i] for i in rows] if joined else (),
            strings("domain", rows),
        )
        for split, rows in _rows(splits, ids).items()
    }


def sequence(modality: str, value: Any, rows: int, lengths: Any = None) -> Ragged:
    """One modality of `rows` utterances, from a padded array or a list of arrays; see `from_arrays`."""
    if isinstance(value, (list, tuple)) and len(value) and all(v is None or np.ndim(v) >= 1 for v in value):
        return _from_list(modality, value, rows)
    x = np.asarray(value)
    if x.dtype == object or x.dtype.kind not in "iufb":
        raise ValueError(f"{modality!r}: expected numbers [n t w], [n w] or ids [n t]; got dtype {x.dtype}")
    tokens = x.dtype.kind in "iu"
    if not tokens and x.ndim == 2:
        x = x[:, None]
    if x.ndim != (2 if tokens else 3) or len(x) != rows:
        expected = f"[{rows} t]" if tokens else f"[{rows} t w] or [{rows} w]"
        raise ValueError(f"{modality!r}: expected {expected} ({rows} rows, as in y); got {list(np.shape(value))}")
    if lengths is None:
        valid = hull(x != 0 if tokens else occupied(x))
    else:
        valid = prefix(_lengths(modality, lengths, rows, x.shape[1]), x.shape[1])
    return Ragged.from_padded(x, valid, np.int32 if tokens else np.float32)


def _from_list(modality: str, value: Sequence[Any], rows: int) -> Ragged:
    if len(value) != rows:
        raise ValueError(f"{modality!r}: expected {rows} sequences (rows of y); got {len(value)}")
    kinds = {(np.ndim(v), np.shape(v)[1:]) for v in value if v is not None}
    if len(kinds) != 1 or next(iter(kinds))[0] not in (1, 2):
        shapes = sorted(kinds, key=str)
        raise ValueError(f"{modality!r}: expected one width in all rows, [t_i w] or ids [t_i]; got widths {[list(s) for _, s in shapes]}")
    dimensions, width = next(iter(kinds))
    dtype = np.int32 if dimensions == 1 else np.float32
    return Ragged.from_rows([np.zeros((0, *width), dtype) if v is None else np.asarray(v) for v in value], dtype)


def _lengths(modality: str, lengths: Any, rows: int, steps: int) -> np.ndarray:
    value = np.asarray(lengths)
    if value.shape != (rows,):
        raise ValueError(f"lengths of {modality!r}: expected [{rows}]; got {list(value.shape)}")
    if len(value) and not (value.min() >= 0 and value.max() <= steps):
        row = int(np.flatnonzero((value < 0) | (value > steps))[0])
        raise ValueError(f"lengths of {modality!r}: expected 0 to {steps} (its steps); got {value[row]} at row {row}")
    return value.astype(np.int64)


def _labels(y: Any, tasks: Mapping[str, Task] | None) -> tuple[dict[str, np.ndarray], dict[str, Task]]:
    """Label columns and their tasks, the first one main."""
    columns = dict(y) if isinstance(y, Mapping) else {next(iter(tasks)) if tasks else "sentiment": y}
    if tasks is not None and set(tasks) != set(columns):
        raise ValueError(f"tasks: expected one for each label {sorted(columns)}; got {sorted(tasks)}")
    labels, kinds = {}, {}
    for name, values in columns.items():
        labels[name], kinds[name] = label_column(name, np.asarray(values), tasks[name] if tasks else None)
    return labels, kinds


def label_column(name: str, values: np.ndarray, task: Task | None = None) -> tuple[np.ndarray, Task]:
    """Numbers for one task: Float[n], or Int[n] with -1 where there is no label."""
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1 or values.dtype.kind not in "iufbUO":
        raise ValueError(f"label {name!r}: expected [n] numbers or names; got {list(values.shape)} of {values.dtype}")
    if values.dtype.kind in "UO":
        names = [str(v) for v in values]
        classes = task.classes if task else tuple(sorted(set(names) - {""}))
        number = {c: i for i, c in enumerate(classes)} | {"": -1}
        if strange := set(names) - set(number):
            raise ValueError(f"label {name!r}: expected one of {list(classes)}; got {sorted(strange)}")
        return np.array([number[v] for v in names], dtype=np.int64), task or Task("classes", classes=classes)
    if values.dtype.kind == "f" or (task is not None and task.kind == "regression"):
        if task is None:
            finite = values[np.isfinite(values)]
            low, high = float(finite.min(initial=-3)), float(finite.max(initial=3))
            task = Task(low=low, high=high)
        if task.kind == "classes":
            values = np.where(np.isfinite(values), values, -1).astype(np.int64)
        return values, task
    return values.astype(np.int64), task or Task("classes", classes=tuple(str(c) for c in range(int(values.max(initial=0)) + 1)))


def _check_lengths(columns: Mapping[str, Any], rows: int) -> None:
    wrong = {name: len(value) for name, value in columns.items() if value is not None and len(value) != rows}
    if wrong:
        raise ValueError(f"expected {rows} rows (as in y) everywhere; got {', '.join(f'{k}: {v}' for k, v in wrong.items())}")


def _rows(splits: Any, ids: Sequence[str]) -> dict[str, np.ndarray]:
    """Split -> row numbers, in order."""
    if splits is None:
        draw = np.array([int(sha256(i.encode()).hexdigest()[:12], 16) / 16**12 for i in ids])
        splits = np.where(draw < 0.7, "train", np.where(draw < 0.85, "valid", "test"))
    if isinstance(splits, Mapping):
        found = {ALIASES.get(k, k): np.asarray(v) for k, v in splits.items()}
        found = {k: np.flatnonzero(v) if v.dtype == bool else v.astype(np.int64) for k, v in found.items()}
    else:
        names = np.array([ALIASES.get(str(s), str(s)) for s in splits])
        if len(names) != len(ids):
            raise ValueError(f"splits: expected {len(ids)} names, or name -> row numbers; got {len(names)}")
        found = {str(k): np.flatnonzero(names == k) for k in np.unique(names)}
    if strange := [k for k in found if k not in SPLITS]:
        raise ValueError(f"splits: expected {', '.join(SPLITS)} (or val, dev); got {strange}")
    for name, rows in found.items():
        if outside := [int(r) for r in rows if not 0 <= r < len(ids)][:3]:
            raise ValueError(f"splits: expected row numbers 0 to {len(ids) - 1}; {name} has {outside}")
    return {k: found[k] for k in SPLITS if k in found}
