"""What is there to choose from? The file name is the name.

A `Catalog` maps a name to the object that a package's file of that name offers under one agreed attribute
(`MODEL = Derl` in models/derl.py is `MODELS["derl"]`), plus what installed packages offer through entry points of the
group. Names are found by reading source text, so listing imports nothing heavy; a file is imported when asked for.
"""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import importlib.util
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any


class Catalog(Mapping[str, Any]):
    """Name -> object, for the files of `package` that define `attribute` and the entry points of `group`."""

    def __init__(self, package: str, attribute: str, kind: str):
        self.package, self.attribute, self.kind = package, attribute, kind
        self._loaded: dict[str, Any] = {}

    @cached_property
    def _folder(self) -> Path:
        top, *rest = self.package.split(".")
        spec = importlib.util.find_spec(top)
        assert spec is not None, top
        assert spec.origin is not None, top
        return Path(spec.origin).parent.joinpath(*rest)

    @cached_property
    def _files(self) -> dict[str, Path]:
        offers = re.compile(rf"^{self.attribute}\s*[:=]", re.MULTILINE)
        found = sorted(path for path in self._folder.glob("*.py") if not path.stem.startswith("_"))
        return {path.stem: path for path in found if offers.search(path.read_text(encoding="utf-8"))}

    @cached_property
    def _plugins(self) -> dict[str, importlib.metadata.EntryPoint]:
        group = f"msaviz.{self.kind}s"
        return {entry.name: entry for entry in importlib.metadata.entry_points(group=group)}

    def __iter__(self) -> Iterator[str]:
        return iter([*self._files, *(name for name in sorted(self._plugins) if name not in self._files)])

    def __len__(self) -> int:
        return len(set(self._files) | set(self._plugins))

    def __contains__(self, name: object) -> bool:
        return name in self._files or name in self._plugins

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            if name in self._files:
                self._loaded[name] = getattr(importlib.import_module(f"{self.package}.{name}"), self.attribute)
            elif name in self._plugins:
                self._loaded[name] = self._plugins[name].load()
            else:
                raise UnknownName(f"no {self.kind} is called {name!r}; these exist: {', '.join(self)}")
        return self._loaded[name]

    def name_of(self, config: type) -> str:
        """The name under which the object with this `Config` class is listed."""
        for name in sorted(self, key=lambda n: n != config.__module__.rsplit(".", 1)[-1]):
            if getattr(self[name], "Config", None) is config:
                return name
        raise ValueError(f"{config.__qualname__} belongs to no {self.kind}; these exist: {', '.join(self)}")

    def describe(self, name: str) -> str:
        """The first line of the file's docstring: the question it answers (imports nothing)."""
        if name in self._files:
            document = ast.get_docstring(ast.parse(self._files[name].read_text(encoding="utf-8"))) or ""
        else:
            document = importlib.import_module(self._plugins[name].module).__doc__ or ""
        return document.strip().split("\n")[0]


class UnknownName(KeyError, ValueError):
    """A name that no catalog holds; prints as a plain sentence."""

    def __str__(self) -> str:
        return str(self.args[0])


DATASETS = Catalog("msaviz.data", "DATA", "dataset")
MODELS = Catalog("msaviz.models", "MODEL", "model")
OBJECTIVES = Catalog("msaviz.training.objectives", "OBJECTIVE", "objective")
TABLES = Catalog("msaviz.interpret", "TABLE", "table")
VIEWS = Catalog("msaviz.viz", "VIEW", "view")
