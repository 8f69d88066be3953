"""How do the columns of one split of a usual pickle become ragged sequences, labels and text? (See `mmsa_pickle` for the layout.)"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from msaviz.data import emotions, unpickle
from msaviz.data import text as words
from msaviz.data.assemble import Part, video
from msaviz.data.dataset import TOKEN_SEPARATOR
from msaviz.data.ragged import Ragged, hull, occupied, prefix

if TYPE_CHECKING:
    from msaviz.data.mmsa_pickle import Config

UNIMODAL = {"T": "text", "A": "audio", "V": "vision"}
UNKNOWN = 100
"""Id of [UNK] in BERT's vocabularies, English and Chinese."""
KNOWN = {"id", "raw_text", "tokens", "text", "text_bert", "annotations", "regression_labels", "classification_labels"}


class Columns:
    """One split's columns, taken out of `columns` as they are read."""

    def __init__(self, path: Path, split: str, columns: dict[str, Any], config: Config):
        self.path, self.split, self.columns, self.config = path, split, columns, config
        self.traps: list[str] = []
        self.rows = len(self._array(self._any_label()))

    def fail(self, key: str, problem: str) -> ValueError:
        return ValueError(f"{self.path}, split {self.split}, key {key!r}: {problem}")

    def _any_label(self) -> str:
        for key in ("regression_labels", "classification_labels", *emotions.KEYS):
            if key in self.columns:
                return key
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

    def _array(self, key: str) -> np.ndarray:
        """The column as an array of any number of rows."""
        try:
            value = unpickle.array(self.columns[key])
        except ValueError as error:
            raise self.fail(key, str(error)) from None
        if not value.ndim:
            raise self.fail(key, f"expected a row for each utterance; got a {type(self.columns[key]).__name__}")
        return value

    def _column(self, key: str) -> np.ndarray:
        value = self._array(key)
        if value.shape[:1] != (self.rows,):
            raise self.fail(key, f"expected {self.rows} rows, as many as labels; got {list(value.shape)}")
        return value

    def _integers(self, key: str, value: np.ndarray, what: str) -> np.ndarray:
        """`value` [n *], numbers that must be whole and not huge, as int32; else it holds `what`."""
        numbers = value.dtype.kind in "iufb"
        whole = value.astype(np.int32) if numbers else np.zeros(value.shape, np.int32)
        wrong = np.argwhere(whole != value if numbers else np.ones(value.shape, bool))
        if len(wrong):
            raise self.fail(key, f"row {wrong[0, 0]} holds {what}")
        return whole

    def _strings(self, key: str) -> list[str] | None:
        if key not in self.columns:
            return None
        value = self.columns.pop(key)
        many = value.ndim > 0 if isinstance(value, np.ndarray) else isinstance(value, (list, tuple))
        if not many or len(value) != self.rows:
            got = len(value) if many else f"a {type(value).__name__}"
            raise self.fail(key, f"expected {self.rows} rows, as many as labels; got {got}")
        try:
            return ["_".join(map(str, unpickle.array(v).ravel())) if isinstance(v, (list, tuple, np.ndarray)) else str(v) for v in value]
        except ValueError as error:
            raise self.fail(key, f"within a row, {error}") from None

    def _domain(self, identity: list[str]) -> list[str] | None:
        key = self.config.domain
        if not key:
            return None
        if key == "video":
            return [video(i) for i in identity]
        if key not in self.columns:
            raise self.fail(key, f"option domain={key} names no column; these exist: {', '.join(sorted(self.columns))}")
        return self._strings(key)

    def _labels(self) -> dict[str, np.ndarray]:
        """Task -> numbers; classes stay codes (float), names or a table of emotions here, and become classes in `_finish`."""
        mixed = self._emotions()
        found = {"sentiment": mixed.pop("sentiment")} if "sentiment" in mixed else {}
        wanted = {"sentiment": "regression_labels"} | {f"sentiment_{m}": f"regression_labels_{k}" for k, m in UNIMODAL.items()}
        for task, key in wanted.items():
            if key in self.columns:
                value = self._column(key)
                if value.size != self.rows or value.dtype.kind not in "iufb":
                    raise self.fail(key, f"expected one number a row, [{self.rows}]; got {list(value.shape)} of {value.dtype}")
                found[task] = value.reshape(self.rows).astype(np.float32)
                del self.columns[key]
        found |= mixed
        if "classification_labels" in self.columns:
            code = self._column("classification_labels")
            if code.size != self.rows:
                raise self.fail("classification_labels", f"expected one class a row; got {list(code.shape)}")
            names = self._strings("annotations")
            found["category"] = np.array([f"{c:g}" if code.dtype.kind in "iuf" else str(c) for c in code.ravel()], dtype=object)
            if names:
                found["category"] = np.array([n.lower() for n in names], dtype=object)
        return found

    def _emotions(self) -> dict[str, np.ndarray]:
        """What `emotions.read` finds in a column of its own and in usual labels of several columns; what cannot be read is told."""
        found: dict[str, np.ndarray] = {}
        if "regression_labels" in self.columns and self._array("regression_labels").size > self.rows:
            found |= self._read_emotions("regression_labels")
        key = next((k for k in emotions.KEYS if k in self.columns), None)
        if key is not None:
            try:
                found |= self._read_emotions(key)
            except ValueError as error:
                if any(task.startswith(emotions.TASK) for task in self.config.tasks):
                    raise
                self.traps.append(f"No emotions were read: {error}.")
        if emotions.TASK in found and emotions.ROW_NAMES in self.columns:
            found[emotions.TASK] = np.array([n.strip().lower() for n in self._strings(emotions.ROW_NAMES) or ()], dtype=object)
        return found

    def _read_emotions(self, key: str) -> dict[str, np.ndarray]:
        """The tasks in this column, taken out of `columns`; none, where usual labels have columns of no known meaning."""
        try:
            found = emotions.read(self.columns[key], self.rows)
        except ValueError as error:
            raise self.fail(key, str(error)) from None
        pairs = sum(size != 1 for size in np.shape(self.columns[key])[1:]) > 1
        if key == "regression_labels" and not ("sentiment" in found or pairs or emotions.one_hot(found[emotions.TASK])):
            return {}
        if "sentiment" in found:
            self.traps.append(f"{key}: its 7 columns are read as sentiment, {', '.join(emotions.MOSEI)} (the SDK's All Labels).")
        del self.columns[key]
        return found

    def _sequences(self, texts: list[str] | None, tokens: list[str] | None) -> tuple[dict[str, Ragged], list[str] | None]:
        """Modality -> Ragged, and the tokens where they fit the text's steps."""
        found: dict[str, Ragged] = {}
        bert = self._bert() if "text_bert" in self.columns else None
        choice = self.config.text if self.config.text != "auto" else self._best_text(bert is not None)
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

    def _best_text(self, has_ids: bool) -> str:
        """Ids where there are some and an encoder to read them after masking; else the precomputed vectors."""
        if not has_ids or ("text" in self.columns and not words.can_encode()):
            if has_ids:
                self.traps.append("text: precomputed vectors, because the extra `text` that encodes token ids is not installed.")
            return "vectors"
        return "ids"

    def _bert(self) -> tuple[np.ndarray, np.ndarray]:
        """(ids [n t], valid [n t])."""
        value = self._column("text_bert")
        del self.columns["text_bert"]
        if value.ndim != 3 or value.shape[1] != 3 or value.dtype.kind not in "iufb":
            raise self.fail("text_bert", f"expected [{self.rows} 3 t] (ids, mask, segments); got {list(value.shape)} of {value.dtype}")
        return self._integers("text_bert", value[:, 0], "ids that are no integers; use text=vectors if these are features"), value[:, 1] > 0

    def _wordpieces(self, texts: list[str] | None) -> tuple[Ragged, list[str]]:
        vocabulary = words.minilm_vocabulary()
        if texts is None or vocabulary is None:
            lacking = "the file has no 'raw_text'" if texts is None else "BERT's vocabulary is missing: install the extra `text`"
            raise self.fail("raw_text", f"text=wordpieces asks for it, but {lacking}")
        pieces = [words.wordpieces(t, vocabulary) for t in texts]
        rows = [np.array(words.encode(p, vocabulary, UNKNOWN)) for p in pieces]
        return Ragged.from_rows(rows or [np.zeros(0)], np.int32).take(np.arange(len(rows))), [TOKEN_SEPARATOR.join(p) for p in pieces]

    def _frames(self, text_mask: np.ndarray | None, *, vectors: bool) -> dict[str, Ragged]:
        """The modalities of vectors, cut to their valid steps."""
        padded = {}
        for m in UNIMODAL.values():
            if m not in self.columns or (m == "text" and not vectors) or (self.config.modalities and m not in self.config.modalities):
                self.columns.pop(m, None)
                continue
            value = self._column(m)
            value = value[:, None] if value.ndim == 2 else value
            if value.ndim != 3 or value.dtype.kind not in "fiu" or not value.shape[2]:
                raise self.fail(m, f"expected numbers [{self.rows} t w]; got {list(value.shape)} of {value.dtype}")
            padded[m] = value
            del self.columns[m]
        filled = {m: occupied(x) for m, x in padded.items()}
        found = {}
        for m in list(padded):
            valid = self._valid(m, filled, text_mask) & filled[m].any(1, keepdims=True)
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
        value = self._column(key)
        if self.rows and not value.size:
            raise self.fail(key, f"expected one length a row; got {list(value.shape)}")
        lengths = self._integers(
            key, value.reshape(self.rows, value.size // max(self.rows, 1))[:, :1].ravel(), "a length that is no integer"
        )
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
