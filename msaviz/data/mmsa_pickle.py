"""How are the field's usual pickles read (MOSI, MOSEI, SIMS; aligned and unaligned)?

Layout: {"train" | "valid" | "test": {key: column of n rows}}, with any of the keys

* `text` [n t w] word vectors, `text_bert` [n 3 t] (token ids, attention mask, segment ids), `audio`, `vision` [n t w] or [n w];
  the names of MulT's files (`labels`, `visual`, `acoustic`) mean the same. A modality whose key is absent is simply absent.
* `audio_lengths`, `vision_lengths`, `text_lengths` [n]: valid steps at the front (unaligned files). Where absent, an utterance is valid
  from its first to its last step that holds anything in any modality of that many steps (aligned files), or that the text mask admits.
  A modality whose steps are all zero in a row is missing in that row.
* `regression_labels` -> task "sentiment"; `regression_labels_T/_A/_V` -> "sentiment_text/_audio/_vision";
  `classification_labels` with `annotations` -> task "category", left out when it merely restates the sign of the sentiment.
* `emotion_labels` (or `emotions`), or several columns in `regression_labels` (MOSEI's All Labels, MulT's IEMOCAP) -> "emotion" or
  "emotion_happy", ..., named by `emotion_names` or `emotion_annotations` where there are such (see `emotions`).
* `raw_text`, `tokens` (separated by spaces), `id`. Further keys are named in `Dataset.traps`.

The file is read by `msaviz.data.unpickle`: numpy and plain containers only. Labels that all lie in [-1, 1] are on the scale of CH-SIMS.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from msaviz.data import emotions, unpickle
from msaviz.data.arrays import ALIASES
from msaviz.data.assemble import Part, assemble
from msaviz.data.dataset import SPLITS, Dataset
from msaviz.data.load import Names
from msaviz.data.mmsa_columns import UNKNOWN, Columns
from msaviz.options import Options
from msaviz.types import Task

KEYS = {"visual": "vision", "video": "vision", "acoustic": "audio", "labels": "regression_labels", "ids": "id"}
BERT, BERT_CHINESE = 30_522, 21_128
LEAKS: Mapping[tuple[int, ...], str] = {
    (1284, 229, 686): "and reveal labels of the standard test split; use the bc-LSTM split or leave vision out.",
    (1207, 240, 752): "and reveal labels of train and valid, but not of test: what validation chooses by vision fails there; leave it out.",
}
"""Sizes of MOSI's splits -> what those vectors give away there (bc-LSTM: a ridge on vision has Corr .65 on valid and .08 on test)."""
STATIC = 300
"""Word vectors of this width are GloVe's: static, so that masking them is missingness."""


class Config(Options):
    """Options behind the path, e.g. `mosi.pkl:text=vectors,modalities=text+audio`."""

    text: Literal["auto", "ids", "vectors", "wordpieces", "none"] = "auto"
    """ids: of `text_bert`; vectors: `text`; wordpieces: `raw_text` cut by BERT's uncased vocabulary; auto: ids,
    or vectors where the file has no ids or the extra `text` (the encoder of ids) is not installed."""
    modalities: Names = ()
    """Only these, e.g. text+audio (empty: all)."""
    tasks: Names = ()
    """Only these, the first one main (empty: all that say something of their own)."""
    emotions: Names = ()
    """Names of the columns or classes of the emotion labels, in their order (empty: those that the file gives, else the usual ones)."""
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
        path = Path(path)
        try:
            with np.errstate(all="ignore"):  # numbers beyond float32 become infinite, which is told of the dataset
                return _dataset(path, unpickle.load(path), options or Config())
        except ValueError as error:
            raise (error if str(path) in str(error) else ValueError(f"{path}: {error}")) from None


def _dataset(path: Path, content: Any, config: Config) -> Dataset:
    splits = _splits(path, content)
    config = config.model_copy(update={"emotions": config.emotions or _emotion_names([content, *splits.values()])})
    parts = {}
    for name in list(splits):
        parts[name] = Columns(path, name, splits.pop(name), config).part()  # popped: its padded arrays go before the next one's
    return _finish(path, parts, config)


def _splits(path: Path, content: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(content, Mapping):
        raise ValueError(f"{path}: expected a dict of splits {list(SPLITS)}; got {type(content).__name__}")
    found = _renamed(content, ALIASES)
    if strange := [name for name in SPLITS if not isinstance(found.get(name, {}), Mapping)]:
        raise ValueError(f"{path}: expected the splits to be dicts of columns; {strange[0]} is a {type(found[strange[0]]).__name__}")
    if "train" not in found:
        raise ValueError(f"{path}: expected the splits {list(SPLITS)}, each a dict of columns; got {', '.join(sorted(found))}")
    if twice := [name for name in found if name in ALIASES]:
        raise ValueError(f"{path}: {twice[0]!r} and {ALIASES[twice[0]]!r} are the same split; keep one of them")
    return {s: _renamed(found[s], KEYS) for s in SPLITS if s in found}


def _renamed(content: Mapping[Any, Any], usual: Mapping[str, str]) -> dict[str, Any]:
    """The content by usual names; a key whose usual name is there too keeps its own."""
    usual = {name: other for name, other in usual.items() if other not in content}
    found = {usual.get(str(key), str(key)): value for key, value in content.items()}
    if len(found) < len(content):
        raise ValueError(f"two of these keys mean the same: {', '.join(sorted(map(str, content)))}; keep one of them")
    return found


def _emotion_names(places: list[dict[str, Any]]) -> tuple[str, ...]:
    """What the file calls the columns or classes of its emotion labels, taken out of wherever it says so; () where it does not."""
    found = [place.pop(key) for place in places for key in emotions.NAMED if key in place]
    names = unpickle.array(found[0]).ravel() if found else ()
    if not all(isinstance(name, str) for name in names):
        raise ValueError(f"the names of emotions ({' or '.join(emotions.NAMED)}) are no texts")
    return tuple(map(str, names))


def _finish(path: Path, parts: dict[str, Part], config: Config) -> Dataset:
    """Name the classes, find the scale, and say what is peculiar."""
    tasks, traps = _tasks(path, parts, config)
    for part in parts.values():
        part.labels = {task: part.labels[task] for task in tasks if task in part.labels}
    if bare := [name for name, part in parts.items() if not part.labels]:
        raise ValueError(f"{path}, {bare[0]}: it has no labels of the tasks {', '.join(tasks)}, which the other splits have")
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
    leak = LEAKS.get(sizes)
    if leak and vision is not None and vision.values.shape[1] == 100:
        traps.append(f"Leak: the 100-wide vision vectors of MOSI come from a network supervised on the bc-LSTM training videos {leak}")
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
    low, high = -3.0, 3.0
    if "sentiment" in names and (config.low is None or config.high is None):
        y = np.concatenate([p.labels["sentiment"] for p in parts.values() if "sentiment" in p.labels])
        y = y[np.isfinite(y)]
        small = bool(len(y)) and float(np.abs(y).max()) <= 1
        if small:
            low, high = -1.0, 1.0
            traps.append("sentiment: every label lies in [-1, 1], so that is taken as the scale (CH-SIMS); set low and high to overrule.")
    low, high = (own if own is not None else usual for own, usual in ((config.low, low), (config.high, high)))
    for name in names:
        if name == "category":
            tasks[name], redundant = _categories(parts)
            if redundant and "category" not in config.tasks:
                del tasks[name]
        elif name == emotions.TASK:
            found, said = _emotions(path, parts, config)
            tasks |= found
            traps.append(said)
        else:
            tasks[name] = Task(low=low, high=high)
    if strange := [t for t in config.tasks if t not in tasks]:
        raise ValueError(f"{path}, option tasks: there is no {', '.join(strange)}; these exist: {', '.join(tasks)}")
    return {name: tasks[name] for name in config.tasks or tasks}, traps


def _emotions(path: Path, parts: dict[str, Part], config: Config) -> tuple[dict[str, Task], str]:
    """The class tasks (labels become numbers in place), and how they were read."""
    having = [p for p in parts.values() if emotions.TASK in p.labels]
    try:
        tasks, labels, said = emotions.as_tasks([p.labels.pop(emotions.TASK) for p in having], config.emotions)
    except ValueError as error:
        raise ValueError(f"{path}, emotion labels: {error}") from None
    for part, own in zip(having, labels, strict=True):
        part.labels |= own
    return tasks, said


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
