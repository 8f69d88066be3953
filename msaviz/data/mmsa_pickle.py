"""How are the field's usual pickles read (MOSI, MOSEI, SIMS; aligned and unaligned)?

Layout: {"train" | "valid" | "test": {key: column of n rows}}, with any of the keys

* `text` [n t w] word vectors, `text_bert` [n 3 t] (token ids, attention mask, segment ids), `audio`, `vision` [n t w] or [n w];
  the names of MulT's files (`labels`, `visual`, `acoustic`) mean the same. A modality whose key is absent is simply absent.
* `audio_lengths`, `vision_lengths`, `text_lengths` [n]: valid steps at the front (unaligned files). Where absent, an utterance is valid
  from its first to its last step that holds anything in any modality of that many steps (aligned files), or that the text mask admits.
  A modality whose steps are all zero in a row is missing in that row.
* `regression_labels` -> task "sentiment"; `regression_labels_T/_A/_V` -> "sentiment_text/_audio/_vision";
  `classification_labels` with `annotations` -> task "category", left out when it merely restates the sign of the sentiment.
* `raw_text`, `tokens` (separated by spaces), `id`. Further keys are named in `Dataset.traps`.

The file is read by `msaviz.data.unpickle`: numpy and plain containers only. Labels that all lie in [-1, 1] are on the scale of CH-SIMS.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from msaviz.data import text as words
from msaviz.data import unpickle
from msaviz.data.arrays import ALIASES
from msaviz.data.assemble import Part, assemble
from msaviz.data.dataset import SPLITS, TOKEN_SEPARATOR, Dataset
from msaviz.data.load import Names
from msaviz.data.ragged import Ragged, hull, occupied, offsets_of, prefix
from msaviz.options import Options
from msaviz.types import Task

KEYS = {"visual": "vision", "video": "vision", "acoustic": "audio", "labels": "regression_labels", "ids": "id"}
UNIMODAL = {"T": "text", "A": "audio", "V": "vision"}
BERT, BERT_CHINESE, UNKNOWN = 30_522, 21_128, 100
STATIC = 300
"""Word vectors of this width are GloVe's: static, so that masking them is missingness."""
KNOWN = {"id", "raw_text", "tokens", "text", "text_bert", "annotations", "regression_labels", "classification_labels"}


class Config(Options):
    """Options behind the path, e.g. `mosi.pkl:text=vectors,modalities=text+audio`."""

    text: Literal["auto", "ids", "vectors", "wordpieces", "none"] = "auto"
    """ids: of `text_bert`; vectors: `text`; wordpieces: `raw_text` cut by BERT's uncased vocabulary; auto: ids if there are any, else vectors."""
    modalities: Names = ()
    """Only these, e.g. text+audio (empty: all)."""
    tasks: Names = ()
    """Only these, the first one main (empty: all that say something of their own)."""
    domain: str = ""
    """Key of the column that names each row's domain; "video" takes it from the id (empty: one domain)."""
    low: float | None = None
    high: float | None = None
    """The scale of the sentiment, when it is neither [-3, 3] nor, by its range, [-1, 1]."""
    vocabulary: int | None = None
    contextual: bool | None = None
    """Whether the vectors of `text` hold the whole sentence each (None: yes, unless they are 300 wide as GloVe's)."""


class MmsaPickle:
    """Pickles of {split: {key: column}}; see the module."""

    Config = Config

    def matches(self, path: Path) -> bool:
        """A file named .pkl, .pickle or .p, or one that starts like a pickle of protocol 2 or later."""
        if not path.is_file():
            return False
        with path.open("rb") as file:
            head = file.read(2)
        return path.suffix.lower() in (".pkl", ".pickle", ".p") or (head[:1] == b"\x80" and head[1:] in b"\2\3\4\5")

    def load(self, path: Path, options: Config | None = None) -> Dataset:
        """The dataset in this file; raises ValueError naming file, split, key, row and remedy."""
        if not isinstance(path, (str, Path)):
            raise ValueError("mmsa_pickle reads a file: give the path of a .pkl")
        config, path = options or Config(), Path(path)
        splits = _splits(path, unpickle.load(path))
        parts = {}
        for name in list(splits):
            parts[name] = _Reader(path, name, splits.pop(name), config).part()
            gc.collect()  # the padded arrays of one split go before the next one is cut
        return _finish(path, parts, config)


def _splits(path: Path, content: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(content, Mapping):
        raise ValueError(f"{path}: expected a dict of splits {list(SPLITS)}; got {type(content).__name__}")
    found = {ALIASES.get(str(k), str(k)): v for k, v in content.items()}
    missing = [s for s in ("train",) if s not in found]
    if missing or not all(isinstance(found[s], Mapping) for s in SPLITS if s in found):
        raise ValueError(f"{path}: expected the splits {list(SPLITS)}, each a dict of columns; got {sorted(found)}")
    return {s: {KEYS.get(str(k), str(k)): v for k, v in found[s].items()} for s in SPLITS if s in found}


class _Reader:
    """One split's columns, taken out of `columns` as they are read."""

    def __init__(self, path: Path, split: str, columns: dict[str, Any], config: Config):
        self.path, self.split, self.columns, self.config = path, split, columns, config
        self.traps: list[str] = []
        self.rows = len(self._any_label())

    def fail(self, key: str, problem: str) -> ValueError:
        return ValueError(f"{self.path}, split {self.split}, key {key!r}: {problem}")

    def _any_label(self) -> Any:
        for key in ("regression_labels", "classification_labels"):
            if key in self.columns:
                return self.columns[key]
        raise self.fail("regression_labels", f"neither it nor 'classification_labels' is there; got {sorted(self.columns)}")

    def part(self) -> Part:
        labels = self._labels()
        identity = self._strings("id") or [f"{self.split}_{i}" for i in range(self.rows)]
        texts, tokens, domain = self._strings("raw_text"), self._strings("tokens"), self._domain(identity)
        sequences, tokens = self._sequences(texts, tokens)
        ignored = sorted(set(self.columns) - KNOWN - {f"{m}_lengths" for m in UNIMODAL.values()})
        ignored = [k for k in ignored if not k.startswith("classification_labels") and k != self.config.domain]
        if ignored:
            self.traps.append(f"Keys that are not read: {', '.join(ignored)}.")
        return Part(sequences, labels, identity, texts, tokens or (), domain, self.traps)

    def _column(self, key: str) -> np.ndarray:
        value = np.asarray(self.columns[key])
        if value.shape[:1] != (self.rows,):
            raise self.fail(key, f"expected {self.rows} rows, as many as labels; got {list(value.shape)}")
        return value

    def _strings(self, key: str) -> list[str] | None:
        if key not in self.columns:
            return None
        value = self.columns.pop(key)
        if len(value) != self.rows:
            raise self.fail(key, f"expected {self.rows} rows, as many as labels; got {len(value)}")
        return ["_".join(map(str, np.ravel(v))) if isinstance(v, (list, tuple, np.ndarray)) else str(v) for v in value]

    def _domain(self, identity: list[str]) -> list[str] | None:
        key = self.config.domain
        if not key:
            return None
        if key == "video":
            from msaviz.data.assemble import video

            return [video(i) for i in identity]
        if key not in self.columns:
            raise self.fail(key, f"option domain={key} names no column; these exist: {', '.join(sorted(self.columns))}")
        return self._strings(key)

    def _labels(self) -> dict[str, np.ndarray]:
        """Task -> numbers; classes stay codes (float) here, named in `_finish`."""
        found = {}
        wanted = {"sentiment": "regression_labels"} | {f"sentiment_{m}": f"regression_labels_{k}" for k, m in UNIMODAL.items()}
        for task, key in wanted.items():
            if key in self.columns:
                value = np.squeeze(self._column(key).reshape(self.rows, -1), -1) if self._column(key).size == self.rows else None
                if value is None or value.dtype.kind not in "iufb":
                    raise self.fail(key, f"expected one number a row, [{self.rows}]; got {list(self._column(key).shape)}")
                del self.columns[key]
                found[task] = value.astype(np.float32)
        if "classification_labels" in self.columns:
            code = self._column("classification_labels").reshape(self.rows, -1)
            if code.shape[1] != 1:
                raise self.fail("classification_labels", f"expected one class a row; got {list(code.shape)}")
            names = self._strings("annotations")
            found["category"] = np.array([f"{c:g}" if code.dtype.kind in "iufb" else str(c) for c in code[:, 0]], dtype=object)
            if names:
                found["category"] = np.array([n.lower() for n in names], dtype=object)
        return found

    def _sequences(self, texts: list[str] | None, tokens: list[str] | None) -> tuple[dict[str, Ragged], list[str] | None]:
        """Modality -> Ragged, and the tokens where they fit the text's steps."""
        found: dict[str, Ragged] = {}
        bert = self._bert() if "text_bert" in self.columns else None
        choice = self.config.text if self.config.text != "auto" else ("ids" if bert is not None else "vectors")
        if choice == "ids":
            if bert is None:
                raise self.fail("text_bert", "text=ids asks for it, and it is not there; text=vectors or text=wordpieces may do")
            found["text"] = Ragged.from_padded(*bert, np.int32)
        elif choice == "wordpieces":
            found["text"], tokens = self._wordpieces(texts)
        found |= self._frames(bert[1] if bert is not None else None, vectors=choice == "vectors")
        if self.config.modalities:
            found = {m: s for m, s in found.items() if m in self.config.modalities}
        if tokens is not None and choice != "wordpieces":
            split = [t.split() for t in tokens]
            fits = "text" in found and np.array_equal([len(t) for t in split], found["text"].lengths)
            if not fits:
                self.traps.append(f"{self.split}: the tokens do not fit the steps of text and are left out.")
            tokens = [TOKEN_SEPARATOR.join(t) for t in split] if fits else None
        return found, tokens

    def _bert(self) -> tuple[np.ndarray, np.ndarray]:
        """(ids [n t], valid [n t])."""
        value = self._column("text_bert")
        del self.columns["text_bert"]
        if value.ndim != 3 or value.shape[1] != 3:
            raise self.fail("text_bert", f"expected [{self.rows} 3 t] (ids, mask, segments); got {list(value.shape)}")
        ids = value[:, 0].astype(np.int64)
        if not np.array_equal(ids, value[:, 0]):
            row = int(np.flatnonzero((ids != value[:, 0]).any(1))[0])
            raise self.fail("text_bert", f"row {row} holds ids that are no integers; use text=vectors if these are features")
        return ids, value[:, 1] > 0

    def _wordpieces(self, texts: list[str] | None) -> tuple[Ragged, list[str]]:
        vocabulary = words.minilm_vocabulary()
        if texts is None or vocabulary is None:
            lacking = "the file has no 'raw_text'" if texts is None else "BERT's vocabulary is missing: install the extra `text`"
            raise self.fail("raw_text", f"text=wordpieces asks for it, but {lacking}")
        pieces = [words.wordpieces(t, vocabulary) for t in texts]
        rows = [np.array(words.encode(p, vocabulary, UNKNOWN)) for p in pieces]
        return Ragged.from_rows(rows, np.int32), [TOKEN_SEPARATOR.join(p) for p in pieces]

    def _frames(self, text_mask: np.ndarray | None, *, vectors: bool) -> dict[str, Ragged]:
        """The modalities of vectors, cut to their valid steps."""
        padded = {}
        for m in UNIMODAL.values():
            if m not in self.columns or (m == "text" and not vectors) or (self.config.modalities and m not in self.config.modalities):
                self.columns.pop(m, None)
                continue
            value = self._column(m)
            value = value[:, None] if value.ndim == 2 else value
            if value.ndim != 3 or value.dtype.kind not in "fiu":
                raise self.fail(m, f"expected numbers [{self.rows} t w]; got {list(value.shape)} of {value.dtype}")
            padded[m] = value
            del self.columns[m]
        filled = {m: occupied(x) for m, x in padded.items()}
        found = {}
        for m in list(padded):
            valid = self._valid(m, filled, text_mask) & filled[m].any(1)[:, None]
            empty = int((~filled[m].any(1)).sum())
            if empty:
                self.traps.append(f"{m}: {empty} of {self.rows} rows of {self.split} hold only zeros and count as missing.")
            found[m] = Ragged.from_padded(padded.pop(m), valid)
        return found

    def _valid(self, m: str, filled: Mapping[str, np.ndarray], text_mask: np.ndarray | None) -> np.ndarray:
        """bool[n t]: from the lengths where given, else from what is filled (module docstring)."""
        steps = filled[m].shape[1]
        if m == "text" and text_mask is not None and text_mask.shape[1] == steps:
            return text_mask
        if f"{m}_lengths" in self.columns:
            return self._by_length(m, filled[m])
        together = filled[m].copy()
        for other, flags in filled.items():
            if flags.shape[1] == steps and f"{other}_lengths" not in self.columns:
                together |= flags
        if text_mask is not None and text_mask.shape[1] == steps:
            together |= text_mask
        return hull(together)

    def _by_length(self, m: str, filled: np.ndarray) -> np.ndarray:
        key, steps = f"{m}_lengths", filled.shape[1]
        lengths = self._column(key).reshape(self.rows, -1)[:, 0].astype(np.int64)
        if lengths.min(initial=0) < 0:
            row = int(np.flatnonzero(lengths < 0)[0])
            raise self.fail(key, f"row {row} has the length {lengths[row]}; lengths are 0 or more")
        if lengths.max(initial=0) > steps:
            row = int(np.flatnonzero(lengths > steps)[0])
            self.traps.append(f"{key}: up to {lengths.max()} where {m} has {steps} steps (first at row {row} of {self.split}); cut there.")
        valid = prefix(np.minimum(lengths, steps), steps)
        beyond = (filled & ~valid).any(1)
        if beyond.any():
            row = int(np.flatnonzero(beyond)[0])
            self.traps.append(
                f"{key}: {int(beyond.sum())} rows of {self.split} hold frames beyond their length (first row {row}); "
                "these rows are read from their first to their last frame."
            )
            valid[beyond] = hull(filled[beyond])
        return valid


def _finish(path: Path, parts: dict[str, Part], config: Config) -> Dataset:
    """Name the classes, find the scale, and say what is peculiar."""
    tasks, traps = _tasks(path, parts, config)
    for part in parts.values():
        part.labels = {task: part.labels[task] for task in tasks if task in part.labels}
    ids = any("text" in p.sequences and p.sequences["text"].values.ndim == 1 for p in parts.values())
    width = next((p.sequences["text"].values.shape[1] for p in parts.values() if "text" in p.sequences and not ids), None)
    contextual = config.contextual if config.contextual is not None else width != STATIC
    contextual = {"text"} if width and contextual else set()
    if contextual:
        traps.append(
            "text holds vectors that are taken to be contextual: each has seen the whole sentence, so masking them is no missingness. "
            "Use token ids (text=ids or text=wordpieces) for the missing protocol."
        )
    sizes = tuple(len(parts[s]) for s in SPLITS if s in parts)
    vision = parts["train"].sequences.get("vision")
    if sizes == (1284, 229, 686) and vision is not None and vision.values.shape[1] == 100:
        traps.append(
            "Leak: the 100-wide vision vectors of MOSI come from a network supervised on the bc-LSTM training videos and reveal "
            "labels of the standard test split; use the bc-LSTM split or leave vision out."
        )
    chinese = "sentiment" in tasks and (tasks["sentiment"].low, tasks["sentiment"].high) == (-1, 1)
    vocabulary = config.vocabulary or (BERT_CHINESE if chinese and config.text != "wordpieces" else BERT)
    return assemble(
        path.stem,
        parts,
        tasks,
        vocabularies={"text": vocabulary} if ids else {},
        unknown={"text": UNKNOWN} if ids else {},
        contextual=contextual,
        traps=traps,
    )


def _tasks(path: Path, parts: dict[str, Part], config: Config) -> tuple[dict[str, Task], list[str]]:
    names = list(dict.fromkeys(task for part in parts.values() for task in part.labels))
    tasks, traps = {}, []
    low, high = config.low, config.high
    if "sentiment" in names and (low is None or high is None):
        y = np.concatenate([p.labels["sentiment"] for p in parts.values() if "sentiment" in p.labels])
        small = bool(len(y)) and float(np.nanmax(np.abs(y))) <= 1
        low, high = (-1.0, 1.0) if small else (-3.0, 3.0)
        if small:
            traps.append("sentiment: every label lies in [-1, 1], so the scale is that of CH-SIMS, not [-3, 3]; set low and high to overrule.")
    for name in names:
        if name == "category":
            tasks[name], redundant = _categories(parts)
            if redundant and "category" not in config.tasks:
                del tasks[name]
        else:
            tasks[name] = Task(low=low, high=high)
    if strange := [t for t in config.tasks if t not in tasks]:
        raise ValueError(f"{path}: option tasks={'+'.join(config.tasks)}: there is no {', '.join(strange)}; these exist: {', '.join(tasks)}")
    return {name: tasks[name] for name in config.tasks or tasks}, traps


def _categories(parts: dict[str, Part]) -> tuple[Task, bool]:
    """The class task (labels become numbers in place), and whether it merely restates the sign of the sentiment."""
    found = [p for p in parts.values() if "category" in p.labels]
    classes = tuple(sorted({c for p in found for c in p.labels["category"]} - {"nan", ""}))
    number = {c: i for i, c in enumerate(classes)}
    for part in found:
        part.labels["category"] = np.array([number.get(c, -1) for c in part.labels["category"]], dtype=np.int64)
    redundant = all("sentiment" in p.labels for p in found)
    if redundant:
        pairs = {(c, s) for p in found for c, s in zip(p.labels["category"], np.sign(p.labels["sentiment"]), strict=True)}
        redundant = len({c for c, _ in pairs}) == len(pairs)
    return Task("classes", classes=classes), redundant


DATA = MmsaPickle()
