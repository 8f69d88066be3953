"""The planted traces, made once."""

import importlib.util
import sys
from pathlib import Path

import pytest
from judged_models import traced

from msaviz.interpret.attribution import attribute

if "planted_trace" not in sys.modules:
    spec = importlib.util.spec_from_file_location("planted_trace", Path(__file__).with_name("planted_trace.py"))
    sys.modules["planted_trace"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


@pytest.fixture(scope="session")
def planted():
    return sys.modules["planted_trace"]


@pytest.fixture(scope="session")
def trace(planted):
    return planted.planted(400)


@pytest.fixture(scope="session")
def classes(planted):
    return planted.planted(240, task=planted.CLASSES)


@pytest.fixture(scope="session")
def linear():
    """A trace of a linear model."""
    return traced()


@pytest.fixture(scope="session")
def true(linear):
    """Its attribution, which is exact."""
    return attribute(linear, steps=4)
