"""Which dataset does this source mean?

A source is `synthetic` (or another built-in or installed generator), a path (the kind is found by its content), or either
with options behind a colon: `synthetic:rows=500,domains=2`, `mosi.pkl:text=vectors,modalities=text+audio`. Several, with " | " between,
are joined as domains of one dataset (`msaviz.data.join`): `mosi.pkl:low=-3,high=3 | sims.pkl:low=-1,high=1,own=text`. Each then says on
which scale its labels are, and may name the modalities that share no columns with the others although they are as wide.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from msaviz.catalog import DATASETS
from msaviz.data.dataset import Dataset
from msaviz.data.join import join, names, spaced
from msaviz.options import Options, read_value, validated

WITH_OPTIONS = re.compile(r"(?P<head>.+?):(?P<options>[A-Za-z_]\w*=.*)", re.DOTALL)
NOT_IN_BRACKETS = re.compile(r",(?![^\[\]{}]*[\]}])")

SEPARATOR = " | "
"""Between the sources that are joined."""

Names = Annotated[tuple[str, ...], BeforeValidator(lambda v: tuple(v.split("+")) if isinstance(v, str) else v)]
"""A field that reads `a+b` as ("a", "b")."""


def load(source: str | Path | Dataset) -> Dataset:
    """The dataset that `source` names; a Dataset is returned as it is.

    Raises ValueError that says what is wrong with the source, the option or the file.
    """
    if isinstance(source, Dataset):
        return source
    parts = str(source).split(SEPARATOR)
    dataset = _several(parts) if len(parts) > 1 else _one(*parse(parts[0]))
    return replace(dataset, source=str(source))


def _one(head: str, given: Mapping[str, Any]) -> Dataset:
    reader, where = _reader(head)
    return reader.load(*where, *options(reader, given, head))


def _reader(head: str) -> tuple[Any, tuple[Path, ...]]:
    """What reads or makes this source, and the path if there is one."""
    path = Path(head).expanduser()
    if head and path.exists():
        return kind_of(path), (path,)
    if head in DATASETS:
        return DATASETS[head], ()
    raise ValueError(f"no data at {head!r} (looked in {path.absolute().parent}). {_possible()}")


def _several(parts: Sequence[str]) -> Dataset:
    """The sources joined, each on the scale that it declares."""
    given = [parse(part) for part in parts]
    own = [options.pop("own", ()) for _, options in given]
    datasets = [_one(head, options) for head, options in given]
    numbers = any(d.spec.task.kind == "regression" for d in datasets)
    if numbers:
        datasets = [_declared(p, h, o, d) for p, (h, o), d in zip(parts, given, datasets, strict=True)]
    titles = names([head for head, _ in given])
    alone = {name: m.split("+") if isinstance(m, str) else m for name, m in zip(titles, own, strict=True)}
    return join(dict(zip(titles, datasets, strict=True)), alone)


def _declared(part: str, head: str, given: Mapping[str, Any], dataset: Dataset) -> Dataset:
    """The dataset whose labels are numbers on a declared scale; one that is made has its scale by construction."""
    task, fields = dataset.spec.task, getattr(getattr(_reader(head)[0], "Config", None), "model_fields", {})
    if given.get("low") is not None and given.get("high") is not None:
        if not given["low"] < given["high"]:
            raise ValueError(f"{part.strip()!r}: low must be below high; got {given['low']} and {given['high']}")
        return spaced(dataset, given["low"], given["high"]) if task.kind == "classes" else dataset
    if task.kind == "classes":
        raise ValueError(
            f"{part.strip()!r}: its labels are the classes {', '.join(task.classes)}, those of another source numbers. Add "
            "low=...,high=... behind the colon to place the classes, in this order, at equal distances from low to high"
        )
    if {"low", "high"} <= set(fields):
        raise ValueError(
            f"{part.strip()!r}: labels of several sources can be compared on declared scales only. Add low=...,high=... behind the colon "
            f"(it would have been read as low={task.low:g},high={task.high:g})"
        )
    return dataset


def parse(source: str) -> tuple[str, dict[str, Any]]:
    """(path or name, options) of a source string."""
    match = WITH_OPTIONS.fullmatch(source.strip())
    if not match:
        return source.strip().removesuffix(":"), {}
    given = {}
    for item in NOT_IN_BRACKETS.split(match["options"]):
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise ValueError(f"{source!r}: expected key=value, key=value behind the colon; got {item!r}")
        given[key.strip()] = read_value(value.strip())
    return match["head"], given


def options(data: Any, given: Mapping[str, Any], head: str) -> tuple[Options, ...]:
    """(`data.Config(**given)`,), () for what has no Config, or a ValueError that says which options exist."""
    config = getattr(data, "Config", None)
    if config is None:
        if given:
            raise ValueError(f"{head!r} takes no options; got {', '.join(given)}")
        return ()
    strange = [key for key in given if key not in config.model_fields]
    if strange:
        raise ValueError(f"{head!r} has no option {', '.join(strange)}; these exist: {', '.join(config.model_fields)}")
    try:
        return (validated(config, given),)
    except ValueError as error:
        raise ValueError(f"{head!r}: {error}") from None


def kind_of(path: Path) -> Any:
    """The reader that knows this file."""
    for name in DATASETS:
        if DATASETS[name].matches(path):
            return DATASETS[name]
    raise ValueError(f"{path} is of no kind that we read. {_possible()}")


def _possible() -> str:
    return (
        "A source is `synthetic`, `synthetic:rows=500,...`, a path to a .pkl, .npz or .msa, or several of these with ' | ' between; "
        "use `msaviz list datasets` for all."
    )
