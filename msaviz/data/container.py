"""How is a container opened that others may have made: at once, and only if all of it can be true?

No file outside the folder is read. Each array must be as long as it claims, of the shape that the header names, and of a kind that can
stand there; offsets, labels, domains and token ids are looked over, for they say where to read next. Frames are not: they may be of any
size, and a batch holds 0 where they are NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from msaviz.data.dataset import Dataset, Split
from msaviz.data.header import Header, header_of
from msaviz.data.mapped import pieces
from msaviz.data.npy import read_header
from msaviz.data.ragged import Ragged, Strings
from msaviz.reading import reading
from msaviz.types import Spec

COLUMNS = ("ids", "texts", "token_strings")
MAP_BYTES = 2**20
"""Files above this size are mapped, smaller ones read: each mapping holds a file open."""
AGAIN = "convert the source again with `msaviz data convert`"


def opened(path: Path, saved: Mapping[str, Any]) -> Dataset:
    """The dataset in the folder `path`, whose header says `saved`; ValueError names the file, what was expected and what it holds."""
    with reading(path / "header.json", AGAIN):
        header, spec = header_of(saved)
    members = _Members(path, header)
    normalisation = {m: members.pair(m, spec.widths[m]) for m in header.normalisation}
    return Dataset(
        header.name,
        spec,
        {s: _split(members, s, spec, normalisation) for s in header.splits},
        header.fingerprint,
        header.traps,
        header.unknown,
        frozenset(header.contextual),
        normalisation,
        columns=header.columns,
    )


def _split(members: _Members, name: str, spec: Spec, normalisation: dict[str, tuple[np.ndarray, np.ndarray]]) -> Split:
    """A split whose columns have as many rows as the header says."""
    rows = members.header.splits[name]
    sequences = {m: members.sequence(name, m, rows, spec) for m in spec.modalities}
    labels = {t: members.codes(f"{name}/label.{t}.npy", rows, len(task.classes), -1) for t, task in spec.tasks.items()}
    domain = members.codes(f"{name}/domain.npy", rows, len(spec.domains), 0)
    ids, texts, tokens = (members.strings(f"{name}/{column}", rows) for column in COLUMNS)
    return Split(name, sequences, labels, domain, ids, texts, tokens, normalisation)


class _Members:
    """The arrays of a container, by the names of their files."""

    def __init__(self, path: Path, header: Header):
        self.path, self.header, self.folder = path, header, path.resolve()

    def array(self, name: str, kinds: str, shape: tuple[int | None, ...]) -> np.ndarray:
        """The array in a file, mapped if it is large; None in `shape` stands for any number."""
        file = self.path / name
        with reading(file, AGAIN):
            if not file.resolve().is_relative_to(self.folder):
                raise ValueError("it lies outside of the container")
            if not file.is_file():
                raise ValueError("it is missing")
            with file.open("rb") as stream:
                claim = read_header(stream)
            if claim.start + claim.bytes != file.stat().st_size:
                raise ValueError(f"it claims {claim.start + claim.bytes:,} bytes, but has {file.stat().st_size:,}")
            if self.header.arrays.get(name) != (claim.shape, str(claim.dtype)):
                raise ValueError(f"expected {self.header.arrays.get(name)}, got {(claim.shape, str(claim.dtype))}")
            fits = len(claim.shape) == len(shape) and all(b in (None, a) for a, b in zip(claim.shape, shape, strict=True))
            if not fits or claim.dtype.kind not in kinds or not claim.dtype.isnative:
                raise ValueError(f"{list(claim.shape)} of {claim.dtype} cannot stand there")
            return np.load(file, mmap_mode="r" if claim.bytes > MAP_BYTES else None, allow_pickle=False)

    def sequence(self, split: str, modality: str, rows: int, spec: Spec) -> Ragged:
        """The steps of all rows of a modality."""
        ids, name = spec.vocabularies.get(modality), f"{split}/{modality}"
        values = self.array(f"{name}.values.npy", *(("i", (None,)) if ids else ("f", (None, spec.widths[modality]))))
        if ids and any(len(piece) and not (piece.min() >= 0 and piece.max() < ids) for piece in pieces(values)):
            raise ValueError(f"{self.path / name}.values.npy: it holds token ids beyond 0 to {ids - 1}; {AGAIN}")
        offsets = self.array(f"{name}.offsets.npy", "i", (rows + 1,))
        with reading(self.path / f"{name}.offsets.npy", AGAIN):
            return Ragged(values, offsets)

    def codes(self, name: str, rows: int, count: int, least: int) -> np.ndarray:
        """Numbers of classes or domains from `least` up to the `count`; of a regression task (no class) real labels, NaN where none is."""
        values = self.array(name, "iu" if count else "f", (rows,))
        wrong = (values < least) | (values >= count) if count else np.isinf(values)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise ValueError(f"{self.path / name}: row {row} holds {values[row]}; {AGAIN}")
        return values

    def strings(self, name: str, rows: int) -> Strings:
        """A text for each row; none at all where `tokens` were not kept."""
        blob = self.array(f"{name}.blob.npy", "u", (None,))
        offsets = self.array(f"{name}.offsets.npy", "i", (None,))
        if len(offsets) != rows + 1 and not (len(offsets) == 1 and name.endswith(COLUMNS[-1])):
            raise ValueError(f"{self.path / name}.offsets.npy: expected {rows} texts, got {len(offsets) - 1}; {AGAIN}")
        with reading(self.path / f"{name}.offsets.npy", AGAIN):
            return Strings(blob, offsets, str(self.path / f"{name}.blob.npy"))

    def pair(self, modality: str, width: int) -> tuple[np.ndarray, np.ndarray]:
        """(mean, std) of each feature; 0 marks one that never varies."""
        name = f"normalisation.{modality}.npy"
        mean, std = self.array(name, "f", (2, width))
        if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std >= 0).all()):
            raise ValueError(f"{self.path / name}: a mean or a standard deviation is not finite, or negative; {AGAIN}")
        return mean, std
