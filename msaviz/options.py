"""How does one dotted path reach every option, from the notebook, the shell and the search alike?

Options are frozen pydantic models that forbid unknown keys. A searchable field carries its range beside its default:
`experts: int = searchable(4, low=1, high=16)`. `override(options, {"model.experts": "8"})` returns a changed copy.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError

from msaviz.catalog import Catalog


class Options(BaseModel):
    """A frozen set of options; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


O = TypeVar("O", bound=Options)


def searchable(
    default: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple | None = None,
    log: bool = False,
    subset_of: str | None = None,
    when: Mapping[str, tuple] | None = None,
    **kw: Any,
) -> Any:
    """A field with a default and the range that a search may draw it from.

    `subset_of`: the field holds some of the data's "modalities", or of their ordered "pairs" ("text>audio"); see `Some`. `when`: other
    fields beside it and their values without which it says nothing (`k` of a router that is not top-k); see `settled`.
    """
    space: Any = (
        {"subset_of": subset_of} if subset_of else {"choices": list(choices)} if choices else {"low": low, "high": high, "log": log}
    )
    return Field(default, json_schema_extra={"search": space, "when": {k: list(v) for k, v in (when or {}).items()}}, **kw)


def _read_some(value: Any) -> Any:
    if isinstance(value, str) and value != "all":
        return () if value == "none" else tuple(value.split("+"))
    return value


Some = Annotated[tuple[str, ...] | Literal["all"], BeforeValidator(_read_some)]
"""The type of a field that names some of the data's parts: "all", "none", "text+audio" or a list."""


def named(catalog: Catalog) -> Any:
    """The type of a field that holds the options of something chosen by name from a catalog.

    Accepts "derl", {"name": "derl", "experts": 8} or a ready `Derl.Config(experts=8)`; dumps as a dict with its `name`.
    """

    def read(value: Any) -> Any:
        if isinstance(value, str):
            value = {"name": value}
        if isinstance(value, Mapping):
            if not isinstance(value.get("name"), str):
                raise ValueError(f"say which by 'name': one of {', '.join(catalog)}")
            rest = {k: v for k, v in value.items() if k != "name"}
            return catalog[value["name"]].Config(**rest)
        catalog.name_of(type(value))  # raises for a stranger
        return value

    def write(value: Options) -> dict[str, Any]:
        return {"name": catalog.name_of(type(value)), **value.model_dump(mode="json")}

    return Annotated[Any, BeforeValidator(read), PlainSerializer(write)]


def paths(options: Options) -> dict[str, Any]:
    """Every dotted path with its value, e.g. {"model.experts": 4}."""

    def walk(value: Any, prefix: str) -> Iterator[tuple[str, Any]]:
        if isinstance(value, dict) and value:
            for key, inner in value.items():
                yield from walk(inner, f"{prefix}.{key}" if prefix else key)
        else:
            yield prefix, value

    return dict(walk(options.model_dump(mode="json"), ""))


def search_space(options: Options) -> dict[str, dict[str, Any]]:
    """Dotted path -> range, for every searchable field under `options`."""

    def walk(value: Options, prefix: str) -> Iterator[tuple[str, dict]]:
        for name, info in type(value).model_fields.items():
            inner, path = getattr(value, name), f"{prefix}{name}"
            extra = info.json_schema_extra
            if isinstance(inner, Options):
                yield from walk(inner, f"{path}.")
            elif isinstance(extra, dict) and "search" in extra:
                yield path, extra["search"]  # type: ignore[misc]

    return dict(walk(options, ""))


def settled(options: O) -> O:
    """The same options with those at their default that say nothing beside the others: equal for all that build the same thing."""
    changes: dict[str, Any] = {}
    for name, info in type(options).model_fields.items():
        value, extra = getattr(options, name), info.json_schema_extra
        if isinstance(value, Options):
            changes[name] = settled(value)
        elif isinstance(extra, dict) and any(getattr(options, other) not in values for other, values in extra.get("when", {}).items()):  # type: ignore[union-attr, operator]
            changes[name] = info.default
    return options.model_copy(update=changes)


def override(options: O, changes: Mapping[str, Any]) -> O:
    """A copy of `options` with the values at the dotted paths replaced; strings are read as JSON where that works.

    Raises ValueError that names the path, what was asked and what exists.
    """
    tree = options.model_dump(mode="json")
    for path, value in changes.items():
        *parents, leaf = path.split(".")
        node = tree
        for key in parents:
            node = node.get(key) if isinstance(node, dict) else None
        if not isinstance(node, dict) or leaf not in node:
            raise ValueError(f"unknown option {path!r}; these exist: {', '.join(sorted(paths(options)))}")
        node[leaf] = read_value(value)
    return validated(type(options), tree)


def validated(kind: type[O], tree: Mapping[str, Any]) -> O:
    """`kind(**tree)`, with pydantic's report turned into one plain ValueError."""
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise ValueError(first_wrong(error)) from None


def first_wrong(error: ValidationError) -> str:
    """The first few lines of pydantic's report, each as long as a person reads."""
    found = error.errors(include_url=False, include_context=False)
    lines = [f"{'.'.join(map(str, e['loc']))[:200] or 'options'}: {e['msg'][:500]} (got {shortened(e.get('input'))})" for e in found[:5]]
    return "; ".join([*lines, *([f"and {len(found) - 5} more"] if len(found) > 5 else [])])


def shortened(value: Any) -> str:
    """What was given, at most two hundred characters of it."""
    shown = repr(value)
    return shown if len(shown) <= 200 else f"{shown[:200]}..."


def read_value(value: Any) -> Any:
    """'8' -> 8, '[1,2]' -> [1, 2], 'true' -> True, anything else stays as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads({"True": "true", "False": "false", "None": "null"}.get(value, value))
    except json.JSONDecodeError:
        return value
