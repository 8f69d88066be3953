"""What does the header of a container say, which somebody else may have written, and can it be true?"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from msaviz.data.assemble import NAME
from msaviz.data.dataset import SPLITS
from msaviz.options import first_wrong
from msaviz.types import Spec

WIDEST = 2**24
"""Features of a modality, or ids of a vocabulary: larger numbers are mistakes."""
MODALITIES = 256
"""More of them are a mistake."""


class Header(BaseModel):
    """header.json; see `msaviz.data.msa`."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    name: str
    fingerprint: str
    spec: dict[str, Any]
    splits: dict[str, int]
    traps: tuple[str, ...]
    unknown: dict[str, int]
    contextual: tuple[str, ...]
    normalisation: tuple[str, ...]
    arrays: dict[str, tuple[tuple[int, ...], str]]
    columns: dict[str, dict[str, tuple[int, int]]] = Field(default_factory=dict)


def header_of(saved: Mapping[str, Any]) -> tuple[Header, Spec]:
    """The header and the spec in it; ValueError that names the key and what it should be."""
    try:
        header = Header.model_validate(saved)
    except ValidationError as error:
        raise ValueError(first_wrong(error)) from None
    spec = spec_of(header.spec)
    if strange := [s for s in header.splits if s not in SPLITS]:
        raise ValueError(f"splits: expected some of {', '.join(SPLITS)}; got {strange[0][:80]!r}")
    if strange := [m for m in (*header.normalisation, *header.columns) if m not in spec.widths]:
        raise ValueError(f"normalisation, columns: {strange[0][:80]!r} is no modality of frames")
    for m, code in header.unknown.items():
        if not 0 <= code < spec.vocabularies.get(m, 0):
            raise ValueError(f"unknown: {code} is no id of {m[:80]!r}")
    for m, owners in header.columns.items():
        if strange := [d for d, (start, stop) in owners.items() if d not in spec.domains or not 0 <= start <= stop <= spec.widths[m]]:
            raise ValueError(f"columns: {owners[strange[0]]} are no columns of {m!r} in a domain {strange[0][:80]!r}")
    return header, spec


def spec_of(saved: Mapping[str, Any]) -> Spec:
    """The spec that was saved as JSON; ValueError that names the field and what it should be."""
    try:
        spec = TypeAdapter(Spec).validate_python(dict(saved))
    except ValidationError as error:
        raise ValueError(f"spec: {first_wrong(error)}") from None
    for kind, sizes in (("widths", spec.widths), ("vocabularies", spec.vocabularies)):
        if wrong := {m: size for m, size in sizes.items() if not 1 <= size <= WIDEST}:
            raise ValueError(f"spec: {kind} are 1 to {WIDEST:,}; got {wrong}")
    if not 1 <= len(spec.modalities) <= MODALITIES or len(set(spec.modalities)) < len(spec.modalities):
        raise ValueError(f"spec: expected 1 to {MODALITIES} modalities, each once; got {len(spec.modalities)}")
    if strange := [m for m in spec.modalities if not NAME.fullmatch(m)]:
        raise ValueError(f"spec: a modality's name is letters, digits and _ . -; got {strange[0][:80]!r}")
    for name, task in spec.tasks.items():
        if not (isfinite(task.low) and isfinite(task.high) and task.low < task.high):
            raise ValueError(f"spec: task {name!r} needs a finite low below a finite high; got {task.low} and {task.high}")
        if task.high - task.low > WIDEST:
            raise ValueError(f"spec: task {name!r} has the scale {task.low:g} to {task.high:g}; at most {WIDEST:,} wide")
        if not task.classes and task.kind == "classes":
            raise ValueError(f"spec: task {name!r} names no class")
    if not spec.domains or len(set(spec.domains)) < len(spec.domains):
        raise ValueError("spec: expected at least one domain, each once")
    return spec
