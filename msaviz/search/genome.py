"""How do a model's searchable options become genes, and genes an experiment again?"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import TYPE_CHECKING, Any

from msaviz.options import override, paths, search_space, settled
from msaviz.training.experiment import Experiment

if TYPE_CHECKING:
    from optuna.trial import Trial

PARTS = {"modalities": list, "pairs": lambda modalities: [f"{a}>{b}" for a, b in permutations(modalities, 2)]}
"""What a field may hold some of -> its parts in the order of the data's modalities; a pair is ordered ("text>audio")."""


@dataclass(frozen=True)
class Genome:
    """The genes of one experiment on data with these modalities.

    A gene is a searchable option ("model.dim"), or one part of an option that holds a set ("model.modalities[text]", True or False).
    `prefixes` say which options may vary ("model" is all of "model.…"). Values of `base` that lie outside of a range widen it.
    """

    base: Experiment
    modalities: tuple[str, ...]
    prefixes: tuple[str, ...] = ("model", "train.lr")

    @cached_property
    def space(self) -> dict[str, dict[str, Any]]:
        """Option -> range, of the options that may vary; ValueError that names what exists where a prefix matches nothing."""
        space = search_space(self.base)
        for prefix in self.prefixes:
            if not any(_under(path, prefix) for path in space):
                raise ValueError(f"no searchable option begins with {prefix!r}; these exist: {', '.join(space)}")
        return {path: known for path, known in space.items() if any(_under(path, prefix) for prefix in self.prefixes)}

    @cached_property
    def ranges(self) -> dict[str, dict[str, Any]]:
        """Gene -> what it may be drawn from: {"choices": […]} or {"low", "high", "log"}."""
        found: dict[str, dict[str, Any]] = {}
        for path, known in self.space.items():
            if "subset_of" in known:
                found |= {f"{path}[{part}]": {"choices": [False, True]} for part in self.parts(path)}
            else:
                found[path] = _widened(known, self._values[path])
        return found

    def draw(self, trial: Trial) -> dict[str, Any]:
        """Let an Optuna trial suggest every gene."""
        return {gene: _draw(trial, gene, known) for gene, known in self.ranges.items()}

    @cached_property
    def default(self) -> dict[str, Any]:
        """The genes of the untouched options."""
        return self.encode(self.base)

    def parts(self, path: str) -> list[str]:
        """What the set at `path` may hold."""
        return PARTS[search_space(self.base)[path]["subset_of"]](self.modalities)

    def encode(self, experiment: Experiment) -> dict[str, Any]:
        """Gene -> its value in an experiment."""
        values, genes = paths(experiment), {}
        for path, known in self.space.items():
            if "subset_of" in known:
                parts = self.parts(path)
                held = parts if values[path] == "all" else values[path]
                genes |= {f"{path}[{part}]": part in held for part in parts}
            else:
                genes[path] = values[path]
        return genes

    def decode(self, genes: Mapping[str, Any]) -> Experiment:
        """The experiment that the genes build, repaired and in its one canonical form.

        An empty set of modalities is all of them, a pair with an inactive modality is dropped, a full set is "all", and what says
        nothing beside the others is at its default. Raises ValueError for what the options refuse.
        """
        changes: dict[str, Any] = {path: genes[path] for path, known in self.space.items() if "subset_of" not in known}
        sets = {path: known["subset_of"] for path, known in search_space(self.base).items() if "subset_of" in known}
        chosen = {path: self._held(path, genes) for path in sets}
        active = set(self.modalities)
        for path in (p for p, kind in sets.items() if kind == "modalities"):
            chosen[path] = chosen[path] or self.parts(path)
            active &= set(chosen[path])
        for path, kind in sets.items():
            possible = [part for part in self.parts(path) if kind == "modalities" or set(part.split(">")) <= active]
            held = [part for part in possible if part in chosen[path]]
            changes[path] = "all" if held == possible else held
        return settled(override(self.base, changes))

    def key(self, experiment: Experiment) -> str:
        """A short name for what is built and trained: the same for any two genomes that mean the same experiment."""
        canonical = self.decode(self.encode(experiment)).model_dump(mode="json")
        text = json.dumps({**canonical, "seed": experiment.seed}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @cached_property
    def _values(self) -> dict[str, Any]:
        return paths(self.base)

    def _held(self, path: str, genes: Mapping[str, Any]) -> list[str]:
        """The parts that the set at `path` holds: by its genes, or as the base has it."""
        parts = self.parts(path)
        if path in self.space:
            return [part for part in parts if genes[f"{path}[{part}]"]]
        return parts if self._values[path] == "all" else [part for part in parts if part in self._values[path]]


def _draw(trial: Trial, gene: str, known: Mapping[str, Any]) -> Any:
    if "choices" in known:
        return trial.suggest_categorical(gene, known["choices"])
    suggest = trial.suggest_int if isinstance(known["low"], int) else trial.suggest_float
    return suggest(gene, known["low"], known["high"], log=known["log"])


def _under(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}.")


def _widened(known: Mapping[str, Any], value: Any) -> dict[str, Any]:
    """The range with `value` in it; bounds of an integer are integers. What is no number (None) leaves a numeric range as it is."""
    if "choices" in known:
        choices = list(known["choices"])
        if value not in choices:
            choices.append(value)
            choices = sorted(choices) if all(is_number(c) for c in choices) else choices
        return {"choices": choices}
    bounds = [known["low"], known["high"], *([value] if is_number(value) else [])]
    kind = int if all(isinstance(b, int) for b in bounds) else float
    return {"low": kind(min(bounds)), "high": kind(max(bounds)), "log": known["log"]}


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
