"""How do the columns that a reader found become a checked `Dataset`?

Every reader fills one `Part` a split; `assemble` checks that the parts agree, fits the normalisation on the train split alone,
takes the fingerprint, and looks for what a user should be told (`Dataset.traps`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import numpy as np

from msaviz.data.dataset import SPLITS, Dataset, Normalisation, Split
from msaviz.data.mapped import pieces
from msaviz.data.ragged import Ragged
from msaviz.data.text import readable
from msaviz.types import Spec, Task

ORDER = ("text", "audio", "vision")
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
CLIP_OF_VIDEO = re.compile(r"(.+?)(\[\d+\]|\$_\$\d+|[_/]\d+)$")


@dataclass
class Part:
    """What a reader found for one split of n rows; `domain` holds names, None says that there is one domain only."""

    sequences: dict[str, Ragged]
    labels: dict[str, np.ndarray]
    ids: Sequence[str] | None = None
    texts: Sequence[str] | None = None
    token_strings: Sequence[str] = ()
    domain: Sequence[str] | None = None
    traps: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        written = (self.ids, self.texts, self.token_strings, self.domain)
        self.ids, self.texts, self.token_strings, self.domain = (t if t is None else readable(t) for t in written)  # type: ignore[assignment]

    def __len__(self) -> int:
        return len(next(iter(self.labels.values())))


def assemble(
    name: str,
    parts: Mapping[str, Part],
    tasks: Mapping[str, Task],
    *,
    vocabularies: Mapping[str, int] | None = None,
    unknown: Mapping[str, int] | None = None,
    contextual: Collection[str] = (),
    normalise: Collection[str] | None = None,
    traps: Iterable[str] = (),
    truth: Any = None,
    fingerprint: str | None = None,
    domains: Sequence[str] | None = None,
) -> Dataset:
    """Check, normalise and sign the parts. `normalise`: modalities to standardise (None: all frames but "text").

    `domains`: their order (None: that of their first appearance).

    Raises ValueError that names the split, the column and what was expected.
    """
    vocabularies = dict(vocabularies or {})
    widths, samples = _widths(name, parts, vocabularies)
    order = tuple([m for m in ORDER if m in samples] + [m for m in samples if m not in ORDER])
    spec = Spec(widths, dict(tasks), {m: vocabularies[m] for m in order if m in vocabularies}, tuple(domains or _domains(parts)), order)
    splits = {s: _split(s, parts[s], spec, samples) for s in SPLITS if s in parts}
    normalisation = _normalisation(splits, spec, normalise)
    splits = {s: replace(split, normalisation=normalisation) for s, split in splits.items()}
    found = [*traps, *(t for part in parts.values() for t in part.traps), *look(splits, spec, normalisation)]
    return Dataset(
        name,
        spec,
        splits,
        fingerprint or sign(splits, spec),
        tuple(dict.fromkeys(found)),
        dict(unknown or {}),
        frozenset(contextual),
        normalisation,
        truth,
    )


def _widths(name: str, parts: Mapping[str, Part], vocabularies: Mapping[str, int]) -> tuple[dict[str, int], dict[str, Ragged]]:
    """(width of each modality of frames, one Ragged of each modality), the same in every split or an error."""
    if not parts or set(parts) - set(SPLITS):
        raise ValueError(f"{name}: splits are called {', '.join(SPLITS)}; got {list(parts)}")
    samples: dict[str, Ragged] = {}
    for split, part in parts.items():
        for m, sequence in part.sequences.items():
            if not NAME.fullmatch(m):
                raise ValueError(f"{name}: a modality's name is letters, digits and _ . -; got {m!r}")
            first = samples.setdefault(m, sequence)
            if sequence.values.shape[1:] != first.values.shape[1:]:
                raise ValueError(f"{name}: {m!r} has width {first.values.shape[1:]} elsewhere, but {sequence.values.shape[1:]} in {split}")
            if (sequence.values.ndim == 1) != (m in vocabularies):
                raise ValueError(f"{name}: {m!r} in {split} must be frames [s w], or ids [s] with a vocabulary size")
            ids = sequence.values
            if m in vocabularies and len(ids) and not (ids.min() >= 0 and ids.max() < vocabularies[m]):
                raise ValueError(f"{name}: {m!r} in {split} holds ids {ids.min()} to {ids.max()}; its vocabulary has {vocabularies[m]}")
    if not samples:
        raise ValueError(f"{name}: no modality at all; give at least one sequence")
    return {m: int(s.values.shape[1]) for m, s in samples.items() if s.values.ndim == 2}, samples


def _domains(parts: Mapping[str, Part]) -> tuple[str, ...]:
    names = [str(d) for part in parts.values() for d in (part.domain if part.domain is not None else ())]
    if not names:
        return ("all",)
    if any(part.domain is None and len(part) for part in parts.values()):
        raise ValueError("some splits name the domain of their rows and others do not")
    return tuple(dict.fromkeys(names))


def _split(name: str, part: Part, spec: Spec, samples: Mapping[str, Ragged]) -> Split:
    n = len(part)
    labels = {task: _labels(task, spec.tasks[task], part.labels.get(task), n, name) for task in spec.tasks}
    number = {domain: i for i, domain in enumerate(spec.domains)}
    domain = np.zeros(n, np.int64) if part.domain is None else np.array([number[str(d)] for d in part.domain], dtype=np.int64)
    return Split(
        name,
        {m: part.sequences.get(m) or Ragged.absent(n, samples[m]) for m in spec.modalities},
        labels,
        domain,
        part.ids if part.ids is not None else [f"{name}_{row}" for row in range(n)],
        part.texts if part.texts is not None else [""] * n,
        part.token_strings,
    )


def _labels(name: str, task: Task, values: np.ndarray | None, rows: int, split: str) -> np.ndarray:
    """Float32[n] or Int64[n]; an absent column is all NaN or -1."""
    if task.kind == "regression":
        y = np.full(rows, np.nan, np.float32) if values is None else np.asarray(values, np.float32)
        return np.where(np.isfinite(y), y, np.float32("nan"))
    y = np.full(rows, -1, np.int64) if values is None else np.asarray(values, np.int64)
    if len(y) and not (y.min() >= -1 and y.max() < len(task.classes)):
        bad = int(np.flatnonzero((y < -1) | (y >= len(task.classes)))[0])
        raise ValueError(f"{split}: label {name!r} of row {bad} is {y[bad]}; expected -1 (none) to {len(task.classes) - 1}")
    return y


def _normalisation(splits: Mapping[str, Split], spec: Spec, chosen: Collection[str] | None) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What train says of each modality to standardise; nothing where it has no step."""
    wanted = [m for m in spec.modalities if m in spec.widths and (m in chosen if chosen is not None else m != "text")]
    found = {m: fit(splits["train"].sequences[m]) for m in wanted} if "train" in splits else {}
    return {m: pair for m, pair in found.items() if pair is not None}


def fit(sequence: Ragged) -> tuple[np.ndarray, np.ndarray] | None:
    """(mean [w], std [w]) over the finite values of all valid steps, in chunks; std 0 for a feature that never varies.

    None when there is no step to learn from.
    """
    values = sequence.values
    if not len(values):
        return None
    width = values.shape[1:]
    count, total, square = np.zeros(width), np.zeros(width), np.zeros(width)
    for piece in pieces(values, 2):  # float64 is twice as large
        x = np.asarray(piece, dtype=np.float64)
        finite = np.isfinite(x)
        count += finite.sum(0)
        total += np.where(finite, x, 0).sum(0)
    mean = total / np.maximum(count, 1)
    for piece in pieces(values, 2):  # a second pass: the one-pass formula loses all digits on features with a large mean
        x = np.asarray(piece, dtype=np.float64)
        square += np.where(np.isfinite(x), (x - mean) ** 2, 0).sum(0)
    std = np.sqrt(square / np.maximum(count, 1))
    std = np.where(std > 1e-6 * np.maximum(np.abs(mean), 1e-3), std, 0)
    return mean.astype(np.float32), std.astype(np.float32)


def sign(splits: Mapping[str, Split], spec: Spec) -> str:
    """SHA-256 over everything a model could learn from: sequences, labels, domains, ids, names."""
    digest = sha256(repr((spec.modalities, dict(spec.widths), dict(spec.vocabularies), spec.domains, dict(spec.tasks))).encode())
    for name, split in splits.items():
        digest.update(f"{name} {len(split)}".encode())
        for sequence in split.sequences.values():
            digest.update(np.ascontiguousarray(sequence.offsets).data)
            for piece in pieces(sequence.values):
                digest.update(np.ascontiguousarray(piece).data)
        for column in (*split.labels.values(), split.domain):
            digest.update(np.ascontiguousarray(column).data)
        digest.update("\n".join(split.ids).encode())
    return digest.hexdigest()


def video(identity: str) -> str:
    """The video that an utterance's id belongs to: `a$_$3`, `a[3]`, `a_3` and `a/3` are clips of `a`."""
    match = CLIP_OF_VIDEO.fullmatch(identity)
    return match[1] if match else identity


def look(splits: Mapping[str, Split], spec: Spec, normalisation: Mapping[str, Any]) -> list[str]:
    """What a user should be told about data like these, as plain sentences."""
    found = [sentence for m in spec.modalities for sentence in _look_at(m, splits, normalisation)]
    for split in splits.values():
        alone = int(np.all([s.lengths == 0 for s in split.sequences.values()], axis=0).sum())
        if alone:
            found.append(f"{split.name}: {alone} of {len(split)} rows have no modality at all.")
    for task, kind in spec.tasks.items():
        without = {
            s: int((np.isnan(y) if kind.kind == "regression" else y < 0).sum()) for s, y in ((s, p.labels[task]) for s, p in splits.items())
        }
        if any(without.values()):
            found.append(f"{task}: rows without a label: {', '.join(f'{n} in {s}' for s, n in without.items() if n)}.")
        if kind.kind == "regression" and any(((y := p.labels[task]) < kind.low).any() or (y > kind.high).any() for p in splits.values()):
            found.append(f"{task}: some labels lie outside [{kind.low:g}, {kind.high:g}].")
    return found + _overlaps(splits)


def _look_at(modality: str, splits: Mapping[str, Split], normalisation: Mapping[str, Any]) -> list[str]:
    found, bad, total = [], 0, 0
    for split in splits.values():
        sequence = split.sequences[modality]
        if len(split) and not len(sequence.values):
            found.append(f"{modality} is missing in every row of {split.name}.")
        if sequence.values.ndim == 2:
            bad += sum(int(np.count_nonzero(~np.isfinite(piece))) for piece in pieces(sequence.values))
            total += sequence.values.size
    if bad:
        found.append(f"{modality}: {bad} of {total} values are NaN or infinite; a batch holds 0 in their place.")
    return found + constant({modality: normalisation[modality]} if modality in normalisation else {})


def constant(normalisation: Normalisation) -> list[str]:
    """A sentence for each modality with features that never vary in train."""
    still = {m: int((std == 0).sum()) for m, (_, std) in normalisation.items()}
    sizes = {m: len(std) for m, (_, std) in normalisation.items()}
    return [f"{m}: {n} of {sizes[m]} features never vary in train; a batch holds 0 for them." for m, n in still.items() if n]


def _overlaps(splits: Mapping[str, Split]) -> list[str]:
    """Ids or videos that occur in two splits: what is learnt on one leaks into the other."""
    found, names = [], list(splits)
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            same = set(splits[a].ids) & set(splits[b].ids)
            if same:
                found.append(f"Leak: {len(same)} ids occur both in {a} and in {b} (such as {min(same)!r}).")
                continue
            videos = [{video(x) for x in splits[s].ids if video(x) not in ("", s)} for s in (a, b)]
            if shared := videos[0] & videos[1]:
                found.append(f"Leak: clips of {len(shared)} videos occur both in {a} and in {b} (such as {min(shared)!r}).")
    return found
