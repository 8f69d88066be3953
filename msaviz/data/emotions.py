"""How do the emotion labels of a file become tasks of classes?

Read are [n c] intensities (0 to 3 in CMU-MOSEI), presences or one-hot rows, [n c 2] pairs "no, yes" (MulT's IEMOCAP), the seven columns of
the CMU-MOSEI SDK's "All Labels" (sentiment, then six intensities), [n] class numbers and [n] class names. Axes of length 1 do not count.

* exactly one column holds in every row, or one number or name a row: one task "emotion" of c classes;
* else several may hold: a task of two classes a column, "emotion_happy": present where the intensity is above 0, as the field does.

NaN, -1 and the empty name say that a row has no label.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from msaviz.data import unpickle
from msaviz.types import Task

TASK = "emotion"
KEYS = ("emotion_labels", "emotions", "emotion_label", "emotion")
"""Columns that hold them, the first that is there."""
NAMED = ("emotion_names", "emotion_classes")
"""Columns that name the classes."""
ROW_NAMES = "emotion_annotations"
"""The column that names the class of each row."""
MOSEI = ("happy", "sad", "anger", "surprise", "disgust", "fear")
IEMOCAP = ("neutral", "happy", "sad", "angry")
USUAL = {6: ("the CMU-MOSEI SDK's", MOSEI), 4: ("MulT's for IEMOCAP", IEMOCAP)}
"""Number of columns -> whose order it usually is, and their names."""
PRESENCE = ("absent", "present")
UNNAMED = ("", "nan", "none")
MOST = 1000
"""Classes of one task."""


def read(value: Any, rows: int) -> dict[str, np.ndarray]:
    """The column by task: "emotion" is Float[n c] (c columns), Float[n] (class numbers) or Object[n] (names of classes).

    Of the SDK's seven columns the first is "sentiment", Float[n], which comes before it. Raises ValueError where it is none of these.
    """
    array = unpickle.array(value)
    if array.shape[:1] != (rows,):
        raise ValueError(f"expected {rows} rows, as many as labels; got {list(array.shape)}")
    array = array.reshape(rows, *(size for size in array.shape[1:] if size != 1))
    if array.dtype.kind in "OSU" and array.ndim == 1:
        return {TASK: np.array([str(name).strip().lower() for name in array], dtype=object)}
    if array.dtype.kind not in "iufb" or 0 in array.shape[1:] or not (array.ndim < 3 or array.shape[2:] == (2,)):
        raise ValueError(f"expected [n] classes or names, [n c] intensities or [n c 2] pairs; got {list(array.shape)} of {array.dtype}")
    table, found = array.astype(np.float32), {}
    if table.ndim == 3:
        if not one_hot(table.reshape(-1, 2)):
            raise ValueError("[n c 2] must hold pairs of which one is 1 and the other 0")
        table = table[..., 1]
    elif table.ndim == 2 and table.shape[1] == 1 + len(MOSEI) and not one_hot(table):
        found, table = {"sentiment": table[:, 0]}, table[:, 1:]
    if table.ndim == 2 and (table < 0).any():
        row, column = np.argwhere(table < 0)[0]
        raise ValueError(f"row {row} holds {table[row, column]:g} for emotion {column}; intensities are 0 or more")
    return {**found, TASK: table}


def one_hot(table: np.ndarray) -> bool:
    """Whether every row that has a label holds a single 1 among zeros."""
    known = table[~np.isnan(table).any(1)]
    return bool(len(known)) and bool(((known == 0) | (known == 1)).all() and (known.sum(1) == 1).all())


def as_tasks(found: Sequence[np.ndarray], names: Sequence[str] = ()) -> tuple[dict[str, Task], list[dict[str, np.ndarray]], str]:
    """(tasks, the labels Int[n] of each part by task, what to tell the user), from the tables of all splits together.

    `names`: those of the columns or classes, in their order (none: the usual ones where the number of columns has such, else numbers).
    Raises ValueError where the parts or the names do not fit.
    """
    if len({(part.shape[1:], part.dtype.kind) for part in found}) > 1:
        raise ValueError(f"the splits hold emotion labels of different kinds: {', '.join(str(list(p.shape)) for p in found)}")
    if found[0].dtype.kind == "O":
        return _named(found, names)
    if found[0].ndim == 1:
        return _numbered(found, names)
    columns, origin = _columns(found[0].shape[1], names)
    if one_hot(np.concatenate(found)):
        labels = [{TASK: np.where(np.isnan(t).any(1), -1, np.nan_to_num(t).argmax(1))} for t in found]
        return {TASK: Task("classes", classes=columns)}, labels, f"{TASK}: one class a row, {origin}."
    tasks = {f"{TASK}_{name}": Task("classes", classes=PRESENCE) for name in columns}
    labels = [dict(zip(tasks, np.where(np.isnan(t), -1, t > 0).T.astype(np.int64), strict=True)) for t in found]
    return tasks, labels, f"{TASK}: several may hold in a row, so each is a task (present: its intensity is above 0), {origin}."


def _columns(count: int, names: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """(names of the columns, a clause that says where they come from)."""
    if names:
        if len(names) != count or len(set(names)) != count:
            raise ValueError(f"{count} columns of emotions need as many names; got {', '.join(names)}")
        return tuple(names), f"named {', '.join(names)} as given"
    if count not in USUAL:
        columns = tuple(map(str, range(count)))
        return columns, f"and the {count} columns have no names; give emotions=NAME+NAME+... in their order"
    whose, columns = USUAL[count]
    return columns, f"and the columns are taken to be {', '.join(columns)} ({whose} order); emotions=NAME+NAME+... names them otherwise"


def _numbered(found: Sequence[np.ndarray], names: Sequence[str]) -> tuple[dict[str, Task], list[dict[str, np.ndarray]], str]:
    codes = [np.where(np.isnan(part), -1, part) for part in found]
    every = np.concatenate(codes)
    strange = (every != np.round(every)) | (every < -1)
    if strange.any():
        raise ValueError(f"classes are whole numbers from 0 (-1: no label); got {every[strange][0]:g}")
    if every.max(initial=-1) >= MOST:
        raise ValueError(f"there is a class {every.max():g}; a task has at most {MOST} classes, from 0")
    count = int(every.max(initial=-1)) + 1
    if names and len(names) < count:
        raise ValueError(f"there are classes 0 to {count - 1}, but {len(names)} names: {', '.join(names)}")
    classes = tuple(names) or tuple(map(str, range(count)))
    said = f"named {', '.join(names)} as given" if names else "which have no names; give emotions=NAME+NAME+... in their order"
    labels = [{TASK: part.astype(np.int64)} for part in codes]
    return {TASK: Task("classes", classes=classes)}, labels, f"{TASK}: class numbers, {said}."


def _named(found: Sequence[np.ndarray], names: Sequence[str]) -> tuple[dict[str, Task], list[dict[str, np.ndarray]], str]:
    there = {name for part in found for name in part} - set(UNNAMED)
    classes = tuple(name.lower() for name in names) or tuple(sorted(there))
    if strange := sorted(there - set(classes)):
        raise ValueError(f"the labels {', '.join(strange)} are not among the names given: {', '.join(classes)}")
    number = {name: i for i, name in enumerate(classes)}
    labels = [{TASK: np.array([number.get(name, -1) for name in part], dtype=np.int64)} for part in found]
    return {TASK: Task("classes", classes=classes)}, labels, f"{TASK}: the classes {', '.join(classes)}, as the rows name them."
