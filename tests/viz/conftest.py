"""Every table of a planted trace, made once."""

import importlib.util
import sys
from pathlib import Path

import pytest

from msaviz.catalog import TABLES


@pytest.fixture(scope="session")
def planted():
    if "planted_trace" not in sys.modules:
        path = Path(__file__).parents[1] / "interpret" / "planted_trace.py"
        spec = importlib.util.spec_from_file_location("planted_trace", path)
        sys.modules["planted_trace"] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules["planted_trace"]


def every_table(planted, trace):
    subjects = {"trace": trace, "history": planted.history()}
    frames = {}
    for name, table in TABLES.items():
        sweep = planted.sweep(protocol="subsets" if name == "subset_scores" else "missing")
        frames[name] = table(sweep if table.of == "sweep" else subjects[table.of])
    return frames


@pytest.fixture(scope="session")
def frames(planted):
    return every_table(planted, planted.planted(120))


@pytest.fixture(scope="session")
def class_frames(planted):
    return every_table(planted, planted.planted(120, task=planted.CLASSES, run="classes"))
