"""How are the words of a command line read?"""

from __future__ import annotations

from typing import Any


def experiment_of(model: str, source: str, seed: int, changes: list[str]) -> Any:
    """The experiment that a command line describes; ValueError for what does not exist."""
    from msaviz.catalog import MODELS
    from msaviz.options import override, validated
    from msaviz.training.experiment import Experiment

    MODELS[model]  # an unknown name is told before anything else is read
    start = validated(Experiment, {"model": model, "data": source, "seed": seed})
    return override(start, pairs(changes))


def names(text: str) -> list[str]:
    """ "a, b" -> ["a", "b"]."""
    return [name.strip() for name in text.split(",") if name.strip()]


def pairs(texts: list[str]) -> dict[str, str]:
    """["a=1", "b=2"] -> {"a": "1", "b": "2"}; ValueError for a text without "="."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ValueError(f"expected NAME=VALUE, got {text!r}")
        found[name.strip()] = value
    return found
