"""How are the field's pickles of dialogues read (IEMOCAP and MELD as DialogueRNN, bc-LSTM and their successors give them)?

Layout: a tuple or list of parts in an order of the file's own, so that each is known by its content. A dict dialogue -> one item an
utterance holds

* vectors: features, [1 w] for each utterance, in the order text, audio, vision. Four of one width in front are layers of one text encoder,
  of which the first is read; option `features` names others. Rows of zeros count as missing. One-hot rows are speakers;
* numbers: classes of the task "emotion", or "sentiment" where there are 3 at most, named as in IEMOCAP's (4, 6) and MELD's (3, 7) files;
* text: sentences, speakers ("M", "F"), or utterance ids (all different in a dialogue; numbers too).

A list or set of dialogue ids is a split: the first train, the second test, the third valid (option `splits`). Without a third one, a tenth
of the train dialogues, by a hash of their names, is held out for validation. The file is read by `msaviz.data.unpickle`; Python 2's too.
"""

from __future__ import annotations

import pickletools
from collections.abc import Mapping, Sequence
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np

from msaviz.data import unpickle
from msaviz.data.assemble import Part, assemble
from msaviz.data.dataset import SPLITS, Dataset
from msaviz.data.dialogue_parts import ByDialogue, Contents, width
from msaviz.data.emotions import MOST
from msaviz.data.load import Names
from msaviz.data.mmsa_pickle import DATA as USUAL
from msaviz.data.ragged import Ragged
from msaviz.options import Options
from msaviz.types import Task

MODALITIES = ("text", "audio", "vision")
LEFT_OUT = "_"
IEMOCAP = ("happy", "sad", "neutral", "angry", "excited", "frustrated")
CLASSES = {
    ("emotion", 6): IEMOCAP,
    ("emotion", 4): IEMOCAP[:4],
    ("emotion", 7): ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger"),
    ("sentiment", 3): ("neutral", "positive", "negative"),
}
"""Names of the classes in the public files, by task and number."""
SILENT = ("PROTO", "FRAME", "MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT")
CONTAINERS = ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_SET", "MARK")
"""Steps of a pickle that build nothing, and those that begin a container."""
HELD_OUT = 0.1
"""Share of the train dialogues that validates where the file names none."""


class Config(Options):
    """Options behind the path, e.g. `IEMOCAP_features.pkl:domain=speaker,modalities=text+audio`."""

    features: Names = ()
    """What the dicts of vectors are, in the file's order, e.g. text+_+audio (`_` leaves one out; empty: see the module)."""
    modalities: Names = ()
    """Only these (empty: all)."""
    tasks: Names = ()
    """Only these, the first one main (empty: all, "emotion" first)."""
    emotions: Names = ()
    """Names of the classes of "emotion", in their order (empty: the public files')."""
    splits: Names = ("train", "test", "valid")
    """What the lists of dialogue ids are, in the file's order."""
    domain: Literal["", "speaker", "dialogue"] = ""


class Dialogues:
    """Pickles of a tuple of dicts by dialogue; see the module."""

    Config = Config

    def matches(self, path: Path) -> bool:
        """A pickle of a tuple or list that begins with a container; the usual ones are a dict."""
        if not USUAL.matches(path):
            return False
        with path.open("rb") as file:
            start = file.read(4096)
        try:
            opened = ((code.name, argument) for code, argument, _ in pickletools.genops(start))
            told = list(islice((o for o in opened if o[0] not in SILENT), 3))
        except (ValueError, DeprecationWarning):  # a strange escape in a string, where warnings are errors
            return False
        names = tuple(name for name, _ in told)
        first = told[2:] if names[:2] in (("EMPTY_LIST", "MARK"), ("MARK", "LIST")) else told[1:2] if names[0] == "MARK" else []
        return any(name in CONTAINERS or "collections" in str(argument) for name, argument in first)  # a defaultdict of collections

    def load(self, path: Path, options: Config | None = None) -> Dataset:
        """The dataset in this file; raises ValueError that says which parts were found and what lacks."""
        if not isinstance(path, (str, Path)):
            raise ValueError("dialogues reads a file: give the path of a .pkl")
        config, content = options or Config(), unpickle.load(path)
        if not isinstance(content, (tuple, list)):
            raise ValueError(f"{path}: expected a tuple of dicts by dialogue; got {type(content).__name__}")
        try:
            with np.errstate(all="ignore"):  # numbers beyond float32 become infinite, which is told of the dataset
                return _dataset(Path(path).stem, Contents(content), config)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None


def _dataset(name: str, found: Contents, config: Config) -> Dataset:
    if not (found["vectors"] and found["labels"] and len(found["dialogues"]) > 1):
        raise ValueError(
            "expected dicts of vectors and of class numbers by dialogue, and two lists of dialogue ids (train, test); "
            f"these parts were found: {found}"
        )
    traps = [f"The parts were taken to be, in this order: {found}."]
    features, columns = _features(found["vectors"], config), _labels(found["labels"])
    tasks = {task: _task(task, column, config, traps) for task, column in columns.items()}
    if strange := [t for t in config.tasks if t not in tasks]:
        raise ValueError(f"option tasks: there is no {', '.join(strange)}; these exist: {', '.join(tasks)}")
    tasks = {task: tasks[task] for task in config.tasks or tasks}
    rows = _Rows(found, features, {task: columns[task] for task in tasks}, config.domain)
    splits = _splits(found["dialogues"], config, rows.lengths, traps)
    if "text" in features:
        traps.append("text is one vector an utterance, made from the whole sentence: take modalities away (protocol subsets), not steps.")
    parts = {split: rows.part(dialogues) for split, dialogues in splits.items()}
    return assemble(name, parts, tasks, contextual={"text"} & set(features), traps=traps)


def _features(vectors: Sequence[ByDialogue], config: Config) -> dict[str, ByDialogue]:
    """Modality -> its dict of vectors."""
    widths = [width(part) for part in vectors]
    layers = len(widths) > 3 and len(set(widths[:4])) == 1
    usual = ("text", *(LEFT_OUT,) * 3, "audio", "vision") if layers else MODALITIES
    names = config.features or usual[: len(widths)]
    if len(names) != len(widths):
        raise ValueError(
            f"there are {len(widths)} dicts of vectors (widths {', '.join(map(str, widths))}), not {len(names)}; "
            f"name them in their order, e.g. features=text+audio+vision ({LEFT_OUT} leaves one out)"
        )
    chosen = {name: part for name, part in zip(names, vectors, strict=True) if name != LEFT_OUT}
    if strange := [m for m in config.modalities if m not in chosen]:
        raise ValueError(f"option modalities: there is no {', '.join(strange)}; these exist: {', '.join(chosen)}")
    return {m: part for m, part in chosen.items() if not config.modalities or m in config.modalities}


def _labels(labels: Sequence[ByDialogue]) -> dict[str, ByDialogue]:
    """Task -> its dict of class numbers, the one with most classes first; of two alike the first."""
    columns: dict[str, ByDialogue] = {}
    for part in sorted(labels, key=_count, reverse=True):
        columns.setdefault("sentiment" if _count(part) <= 3 else "emotion", part)
    return columns


def _count(part: ByDialogue) -> int:
    """The number of classes, if the highest occurs."""
    highest = max((float(item) for value in part.values() for item in value if np.isfinite(item)), default=-1)
    if not 0 <= highest < MOST:
        raise ValueError(f"the highest class number is {highest:g}; expected 0 to {MOST - 1}")
    return int(highest) + 1


def _task(task: str, column: ByDialogue, config: Config, traps: list[str]) -> Task:
    count, given = _count(column), config.emotions if task == "emotion" else ()
    if given and len(given) < count:
        raise ValueError(f"option emotions: there are classes 0 to {count - 1}, but {len(given)} names")
    names = given or CLASSES.get((task, count)) or tuple(map(str, range(count)))
    if not given:
        known = "as in the public files" if (task, count) in CLASSES else "no names are known for so many"
        remedy = "; emotions=NAME+NAME+... names them otherwise" if task == "emotion" else ""
        traps.append(f"{task}: the classes 0 to {count - 1} are taken to be {', '.join(names)} ({known}{remedy}).")
    return Task("classes", classes=tuple(names))


def _splits(lists: Sequence[Any], config: Config, known: Mapping[Any, int], traps: list[str]) -> dict[str, list[Any]]:
    """Split -> its dialogues; the validation dialogues are taken from train where the file names none."""
    names = config.splits[: len(lists)]
    if len(names) != len(lists) or len(set(names)) != len(names) or not {"train", "test"} <= set(names) <= set(SPLITS):
        raise ValueError(f"option splits={'+'.join(config.splits)} must name the {len(lists)} lists of dialogue ids, each once")
    # a set has no order of its own: sorted, so that every reading gives the same rows
    splits = {
        name: sorted(ids, key=str) if isinstance(ids, (set, frozenset)) else list(ids) for name, ids in zip(names, lists, strict=True)
    }
    for name, ids in splits.items():
        if strange := [i for i in ids if i not in known]:
            raise ValueError(f"{name} names {len(strange)} dialogues that have no features, such as {strange[0]!r}")
        if len(set(ids)) < len(ids):
            raise ValueError(f"{name} names {len(ids) - len(set(ids))} dialogues more than once")
    if "valid" not in splits:
        dealt = sorted(splits["train"], key=lambda dialogue: sha256(str(dialogue).encode()).hexdigest())
        held = set(dealt[-max(1, round(HELD_OUT * len(dealt))) :])
        splits |= {"valid": [d for d in splits["train"] if d in held], "train": [d for d in splits["train"] if d not in held]}
        traps.append(f"The file names no validation dialogues: {len(held)} of the {len(dealt)} train dialogues, by a hash, validate.")
    if without := set(known).difference(*splits.values()):
        traps.append(f"{len(without)} dialogues belong to no split and are left out.")
    return splits


class _Rows:
    """One row an utterance, dialogue by dialogue."""

    def __init__(self, found: Contents, features: Mapping[str, ByDialogue], labels: Mapping[str, ByDialogue], domain: str):
        self.features, self.labels, self.domain = features, labels, domain
        self.lengths = {dialogue: len(items) for dialogue, items in next(iter(features.values())).items()}
        self.speakers, self.sentences = (next(iter(found[kind]), None) for kind in ("speakers", "sentences"))
        self.ids = next((part for part in found["ids"] if all(isinstance(i, str) for i in next(iter(part.values())))), None)
        if domain == "speaker" and self.speakers is None:
            raise ValueError(f"option domain=speaker: no part names speakers; these were found: {found}")

    def flat(self, what: str, part: ByDialogue, dialogues: Sequence[Any]) -> list[Any]:
        """The items of these dialogues, one an utterance; ValueError where a dialogue has more or fewer."""
        for dialogue in dialogues:
            if (there := len(part.get(dialogue, ()))) != self.lengths[dialogue]:
                first = next(iter(self.features))
                raise ValueError(f"dialogue {dialogue!r} has {self.lengths[dialogue]} utterances of {first}, but {there} of {what}")
        return [item for dialogue in dialogues for item in part[dialogue]]

    def part(self, dialogues: Sequence[Any]) -> Part:
        """The rows of a split."""
        flat = {m: self.flat(m, part, dialogues) for m, part in self.features.items()}
        vectors = {m: np.asarray(x, np.float32).reshape(len(x), 1, width(self.features[m])) for m, x in flat.items()}
        sequences = {m: Ragged.from_padded(x, (x != 0).any(-1)) for m, x in vectors.items()}
        labels = {t: np.asarray(self.flat(t, part, dialogues), dtype=float) for t, part in self.labels.items()}
        empty = {m: int((s.lengths == 0).sum()) for m, s in sequences.items()}
        return Part(
            sequences,
            {t: np.nan_to_num(y, nan=-1).astype(np.int64) for t, y in labels.items()},
            self._ids(dialogues),
            [str(s) for s in self.flat("sentences", self.sentences, dialogues)] if self.sentences else None,
            domain=self._domain(dialogues),
            traps=[f"{m}: {n} of {len(sequences[m])} rows hold only zeros and count as missing." for m, n in empty.items() if n],
        )

    def _ids(self, dialogues: Sequence[Any]) -> list[str]:
        """The file's own ids where they are text and no two alike, else DIALOGUE_NUMBER."""
        own = self.flat("utterance ids", self.ids, dialogues) if self.ids else []
        numbered = [f"{dialogue}_{i}" for dialogue in dialogues for i in range(self.lengths[dialogue])]
        return own if own and len(set(own)) == len(own) else numbered

    def _domain(self, dialogues: Sequence[Any]) -> list[str] | None:
        if self.domain == "dialogue":
            return [str(dialogue) for dialogue in dialogues for _ in range(self.lengths[dialogue])]
        if self.domain == "speaker" and self.speakers is not None:
            return [s if isinstance(s, str) else f"speaker {int(np.argmax(s))}" for s in self.flat("speakers", self.speakers, dialogues)]
        return None


DATA = Dialogues()
