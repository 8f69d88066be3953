"""What is a dataset: splits of ragged sequences with labels, that hand out padded, normalised batches.

Storage is ragged (`Ragged`): per split and modality one flat array of steps and offsets, in memory or memory-mapped, holding
the values as the source gave them. A batch is padded to its own longest row, standardised with the train split's statistics,
clipped to ±CLIP standard deviations (COVAREP has outliers of several hundred), and NaN and infinity become 0, the train mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import Tensor

from msaviz.data.ragged import Ragged
from msaviz.types import Batch, Spec, Task

CLIP = 10.0
"""Standardised features are clipped to this many standard deviations of the train split."""
CACHE_BYTES = 512 * 2**20
"""A split's modality up to this size is standardised once and kept as a tensor; a larger one is standardised batch by batch."""
POOL = 50
"""Shuffled rows are sorted by length inside pools of this many batches: little padding, and still a random order."""
TOKEN_SEPARATOR = "\x1f"
SPLITS = ("train", "valid", "test")

Normalisation = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""Modality -> (mean [w], std [w]) of the train split; std 0 marks a feature that never varies (it becomes 0)."""


@dataclass(frozen=True, eq=False)
class Split:
    """n utterances. `sequences[m]` has n rows for every modality m; a row of length 0 says that the modality is missing."""

    name: str
    sequences: Mapping[str, Ragged]
    labels: Mapping[str, np.ndarray]  # Float[n] (NaN: none) or Int[n] (-1: none), the main task first
    domain: np.ndarray  # Int[n]
    ids: Sequence[str]
    texts: Sequence[str]  # raw transcripts, '' where there is none
    token_strings: Sequence[str] = ()  # tokens of each row joined by TOKEN_SEPARATOR
    normalisation: Normalisation = field(default_factory=dict)
    _cache: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        columns = {**self.sequences, **self.labels, "ids": self.ids, "texts": self.texts}
        wrong = {name: len(column) for name, column in columns.items() if len(column) != len(self)}
        if wrong:
            raise ValueError(f"split {self.name!r} has {len(self)} rows, but {wrong}")

    def __len__(self) -> int:
        return len(self.domain)

    def lengths(self, modality: str) -> np.ndarray:
        """int64[n]: valid steps of each row; 0 where the modality is missing."""
        return self.sequences[modality].lengths

    def tokens(self, row: int) -> list[str]:
        """The tokens behind the steps of the text modality, [] where the source names none."""
        joined = self.token_strings[row] if len(self.token_strings) else ""
        return joined.split(TOKEN_SEPARATOR) if joined else []

    def batch(self, rows: Sequence[int] | np.ndarray) -> Batch:
        """These rows as tensors, padded to the longest of them; `example` holds the row numbers."""
        rows = np.atleast_1d(np.asarray(rows, dtype=np.int64))
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(self)):
            raise ValueError(f"split {self.name!r} has rows 0 to {len(self) - 1}; asked for {rows.min()} to {rows.max()}")
        x, mask = {}, {}
        for m, sequence in self.sequences.items():
            index, valid = sequence.index(rows)
            x[m], mask[m] = self._gather(m, index, valid), torch.from_numpy(valid)
        labels = {task: torch.from_numpy(np.array(values[rows])) for task, values in self.labels.items()}
        domain = torch.from_numpy(np.array(self.domain[rows], dtype=np.int64))
        return Batch(x, mask, labels, domain, torch.from_numpy(rows.copy()))

    def _gather(self, modality: str, index: np.ndarray, valid: np.ndarray) -> Tensor:
        values = self.sequences[modality].values
        if values.nbytes <= CACHE_BYTES:
            if modality not in self._cache:
                table = self._standardise(modality, values)
                self._cache[modality] = torch.cat([table, table.new_zeros(1, *table.shape[1:])])  # the last row is the padding
            return self._cache[modality].index_select(0, torch.from_numpy(index).flatten()).unflatten(0, index.shape)
        found = self._standardise(modality, values[index[valid]])
        out = found.new_zeros(*index.shape, *found.shape[1:])
        out[torch.from_numpy(valid)] = found
        return out

    def _standardise(self, modality: str, values: np.ndarray) -> Tensor:
        if values.ndim == 1:
            return torch.from_numpy(np.array(values, dtype=np.int64))
        x = torch.from_numpy(np.array(values, dtype=np.float32))
        if modality in self.normalisation:
            mean, std = (torch.from_numpy(np.array(v, dtype=np.float32)) for v in self.normalisation[modality])
            x.sub_(mean).mul_(torch.where(std > 0, 1 / std.clamp(min=1e-30), 0.0))
            x.nan_to_num_(0, 0, 0).clamp_(-CLIP, CLIP)
        return x.nan_to_num_(0, 0, 0)

    def batches(
        self,
        size: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        epoch: int = 0,
        bucket: bool = True,
        rows: Sequence[int] | np.ndarray | None = None,
    ) -> Iterator[Batch]:
        """Every row (of `rows`) once, `size` at a time, the tail too.

        With `bucket`, rows of like length share a batch. The order depends only on (seed, epoch) when shuffled, and on
        nothing otherwise; without `shuffle` and `bucket` it is that of `rows`.
        """
        return (self.batch(part) for part in self.order(size, shuffle=shuffle, seed=seed, epoch=epoch, bucket=bucket, rows=rows))

    def order(
        self, size: int, *, shuffle: bool = False, seed: int = 0, epoch: int = 0, bucket: bool = True, rows: Any = None
    ) -> list[np.ndarray]:
        """The row numbers of each batch that `batches` would hand out with the same arguments."""
        if size < 1:
            raise ValueError(f"a batch holds at least one row; got size={size}")
        order = np.arange(len(self)) if rows is None else np.asarray(rows, dtype=np.int64)
        generator = np.random.default_rng([seed, epoch, 0x6D7361])
        if shuffle:
            order = generator.permutation(order)
        if bucket:
            total = sum((s.lengths for s in self.sequences.values()), np.zeros(len(self), np.int64))[order]
            pool = np.arange(len(order)) // (size * POOL) if shuffle else np.zeros(len(order), np.int64)
            order = order[np.lexsort((total, pool))]
        parts = [order[start : start + size] for start in range(0, len(order), size)]
        return [parts[i] for i in generator.permutation(len(parts))] if shuffle and bucket else parts

    def take(self, rows: np.ndarray) -> Split:
        """These rows as a split of their own (copied)."""
        return replace(
            self,
            sequences={m: s.take(rows) for m, s in self.sequences.items()},
            labels={task: np.asarray(values)[rows] for task, values in self.labels.items()},
            domain=np.asarray(self.domain)[rows],
            ids=[self.ids[i] for i in rows],
            texts=[self.texts[i] for i in rows],
            token_strings=[self.token_strings[i] for i in rows] if len(self.token_strings) else (),
        )

    def select(self, modalities: Sequence[str]) -> Split:
        """The same rows with these modalities only."""
        return replace(
            self,
            sequences={m: self.sequences[m] for m in modalities},
            normalisation={m: v for m, v in self.normalisation.items() if m in modalities},
        )


@dataclass(frozen=True, eq=False)
class Dataset:
    """Named splits ("train", "valid", "test", those that exist) and all that is known about them.

    `fingerprint`: SHA-256 (hex) of the content when it was first read; a container keeps it, synthetic data hash their options.
    `traps`: plain sentences about what a user should know (leaks, scales, constant features, what was left out).
    `unknown[m]`: the id that replaces a dropped token of the token-id modality m.
    `contextual`: modalities whose vectors come from a contextual encoder, so that masking them is no missingness.
    `columns[m][domain]`: (first, one past the last) of the columns of modality m that this domain's rows fill, where sources of unequal
    features were joined (`msaviz.data.join`); no m where all that have it share them, no domain that lacks m. The rest of a row is NaN.
    """

    name: str
    spec: Spec
    splits: Mapping[str, Split]
    fingerprint: str
    traps: tuple[str, ...] = ()
    unknown: Mapping[str, int] = field(default_factory=dict)
    contextual: frozenset[str] = frozenset()
    normalisation: Normalisation = field(default_factory=dict)
    truth: Any = None
    source: str = ""
    columns: Mapping[str, Mapping[str, tuple[int, int]]] = field(default_factory=dict)

    def __getitem__(self, split: str) -> Split:
        if split not in self.splits:
            raise ValueError(f"{self.name} has no split {split!r}; these exist: {', '.join(self.splits)}")
        return self.splits[split]

    def behind(self, split: str, rows: Sequence[int]) -> dict[str, Any]:
        """What stands behind these rows for a person to read or to check: `texts`, `tokens` and the planted `evidence` by modality."""
        part, truth = self[split], self.truth
        found: dict[str, Any] = {
            "texts": tuple(part.texts[row] for row in rows),
            "tokens": tuple(tuple(part.tokens(row)) for row in rows) if len(part.token_strings) else (),
        }
        if truth is not None:
            found["evidence"] = {m: tuple(e.row(row) for row in rows) for m, e in truth[split].evidence.items() if m in part.sequences}
        return found

    def select(self, modalities: Sequence[str]) -> Dataset:
        """The same utterances with these modalities only; the fingerprint says so."""
        strange = [m for m in modalities if m not in self.spec.modalities]
        if strange or not modalities:
            raise ValueError(f"{self.name} has the modalities {', '.join(self.spec.modalities)}; asked for {list(modalities)}")
        kept = tuple(m for m in self.spec.modalities if m in modalities)
        if kept == self.spec.modalities:
            return self
        spec = replace(
            self.spec,
            modalities=kept,
            widths={m: w for m, w in self.spec.widths.items() if m in kept},
            vocabularies={m: v for m, v in self.spec.vocabularies.items() if m in kept},
        )
        return replace(
            self,
            spec=spec,
            splits={name: split.select(kept) for name, split in self.splits.items()},
            fingerprint=sha256(f"{self.fingerprint} {'+'.join(kept)}".encode()).hexdigest(),
            unknown={m: v for m, v in self.unknown.items() if m in kept},
            contextual=self.contextual & set(kept),
            normalisation={m: v for m, v in self.normalisation.items() if m in kept},
            columns={m: v for m, v in self.columns.items() if m in kept},
        )

    @classmethod
    def from_arrays(
        cls,
        *,
        y: Any,
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
        **modalities: Any,
    ) -> Dataset:
        """A dataset from your own arrays, any modality names and widths; see `msaviz.data.arrays.from_arrays`."""
        from msaviz.data.arrays import from_arrays  # it builds a Dataset, so it imports this file

        return from_arrays(
            modalities,
            y,
            lengths=lengths,
            domain=domain,
            splits=splits,
            ids=ids,
            texts=texts,
            tokens=tokens,
            tasks=tasks,
            vocabularies=vocabularies,
            unknown=unknown,
            contextual=contextual,
            normalise=normalise,
            name=name,
        )
