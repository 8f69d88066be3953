"""Which dataset does this source mean?

A source is `synthetic` (or another built-in or installed generator), a path (the kind is found by its content), or either
with options behind a colon: `synthetic:rows=500,domains=2`, `mosi.pkl:text=vectors,modalities=text+audio`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from msaviz.catalog import DATASETS
from msaviz.data.dataset import Dataset
from msaviz.options import Options, read_value, validated

WITH_OPTIONS = re.compile(r"(?P<head>.+?):(?P<options>[A-Za-z_]\w*=.*)", re.DOTALL)
NOT_IN_BRACKETS = re.compile(r",(?![^\[\]{}]*[\]}])")

Names = Annotated[tuple[str, ...], BeforeValidator(lambda v: tuple(v.split("+")) if isinstance(v, str) else v)]
"""A field that reads `a+b` as ("a", "b")."""


def load(source: str | Path | Dataset) -> Dataset:
    """The dataset that `source` names; a Dataset is returned as it is.

    Raises ValueError that says what is wrong with the source, the option or the file.
    """
    if isinstance(source, Dataset):
        return source
    head, given = parse(str(source))
    path = Path(head).expanduser()
    if path.exists():
        dataset = kind_of(path).load(path, *options(kind_of(path), given, head))
    elif head in DATASETS:
        dataset = DATASETS[head].load(*options(DATASETS[head], given, head))
    else:
        raise ValueError(f"no data at {head!r} (looked in {path.absolute().parent}). {_possible()}")
    return replace(dataset, source=str(source))


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
    return "A source is `synthetic`, `synthetic:rows=500,...`, or a path to a .pkl, .npz or .msa; use `msaviz list datasets` for all."
