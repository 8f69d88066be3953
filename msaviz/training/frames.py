"""How is a table read that was kept in a folder, and that somebody else may have changed since?"""

from __future__ import annotations

import csv
import json
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from msaviz.reading import plain_file, read_text, reading

LINE = 2**16
"""No heading of a table of ours is as long as that."""
AGAIN = "delete it, or copy the folder again"


def read_frame(
    path: Path, columns: Sequence[str], words: Collection[str], whole: Collection[str] = (), remedy: str = AGAIN
) -> pd.DataFrame:
    """A table of numbers, and of text in the columns `words`, where an empty cell is an empty text; elsewhere it is NaN.

    Numbers in the columns `whole` are whole and always there.

    FileNotFoundError, or ValueError naming the file, where it has other columns, or a cell holds no number that should.
    """
    plain_file(path)
    numbers = [name for name in columns if name not in words]
    with reading(path, remedy):
        with path.open(encoding="utf-8", newline="") as file:
            heading = next(csv.reader([file.readline(LINE)]), [])
        if heading != [*columns]:
            raise ValueError(f"expected the columns {', '.join(columns)}; got {', '.join(heading)[:200] or 'none'}")
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a row of more cells than columns
            try:
                frame = pd.read_csv(
                    path,
                    dtype=dict.fromkeys(words, str),
                    keep_default_na=False,
                    na_values={name: [""] for name in numbers},
                    index_col=False,
                    low_memory=False,
                )
            except pd.errors.ParserWarning as error:
                raise ValueError(str(error)) from None
        for name in numbers:
            _check(name, frame[name], whole=name in whole)
        return frame


def _check(name: str, values: pd.Series, *, whole: bool) -> None:
    """ValueError for the first cell that is no number, or should be a whole one and is not."""
    if whole and len(values) and values.dtype.kind != "i":
        raise ValueError(f"a cell of the column {name} holds no whole number")
    if not pd.api.types.is_numeric_dtype(values) or values.dtype == bool:
        wrong = values[pd.to_numeric(values, errors="coerce").isna() & values.notna()]
        row = wrong.index[0] if len(wrong) else 0
        if len(values):
            raise ValueError(f"row {row} of the column {name} holds {str(values.loc[row])[:80]!r}, which is no number")


def read_lines(path: Path, kinds: Mapping[str, type], remedy: str = AGAIN) -> pd.DataFrame:
    """A table kept as a JSON object a line: `kinds` says which column holds text, whole numbers or real ones (null: NaN).

    FileNotFoundError, or ValueError naming the file and the line.
    """
    lines = [line for line in read_text(path).split("\n") if line]
    with reading(path, remedy):
        rows: list[dict[str, Any]] = []
        try:
            for line in lines:
                row = json.loads(line)
                _check_line(row, kinds)
                rows.append(row)
        except (ValueError, RecursionError) as error:
            what = "it is nested too deeply" if isinstance(error, RecursionError) else error
            raise ValueError(f"line {len(rows) + 1}: {what}") from None
        return pd.DataFrame(rows, columns=[*kinds]).astype({name: kind for name, kind in kinds.items() if kind is not str})


def _check_line(row: Any, kinds: Mapping[str, type]) -> None:
    if not isinstance(row, dict) or row.keys() != kinds.keys():
        raise ValueError(f"expected an object with {', '.join(kinds)}")
    for name, kind in kinds.items():
        value = row[name]
        real = kind is float and (value is None or type(value) in (int, float))
        if not (real or type(value) is kind) or (type(value) is int and abs(value) >= 2**63):
            raise ValueError(f"{name} is {str(value)[:80]!r}; expected {'text' if kind is str else 'a number'}")
