"""Do pyproject, environment and constraints agree, and is importing cheap?"""

import re
import subprocess
import sys
import time
import tomllib
from itertools import chain

import yaml
from places import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


DEPENDENCIES = [*PROJECT["dependencies"], *chain.from_iterable(PROJECT["optional-dependencies"].values())]


def requirement(text: str) -> str:
    return text.replace(" ", "").lower()


def test_environment_agrees_with_pyproject():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(d["pip"] for d in environment["dependencies"] if isinstance(d, dict))
    listed = {requirement(d) for d in pip if not d.startswith("-e")}
    wanted = {requirement(d) for d in DEPENDENCIES}
    assert listed == wanted
    assert "python" + PROJECT["requires-python"] in environment["dependencies"]


def test_constraints_pin_every_direct_dependency_within_its_range():
    from packaging.requirements import Requirement

    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line)
    pins = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pins.items()}
    for text in DEPENDENCIES:
        wanted = Requirement(text)
        version = pins.get(re.sub(r"[-_.]+", "-", wanted.name).lower())
        assert version is not None, f"constraints.txt does not pin {wanted.name}"
        assert wanted.specifier.contains(version), f"{wanted.name} {version} is outside {wanted.specifier}"


def seconds(*arguments: str) -> float:
    """The fastest of three: a busy machine only ever adds."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True, cwd=ROOT)
        times.append(time.perf_counter() - start)
    return min(times)


def test_import_is_cheap_and_help_is_quick():
    bare = seconds("-c", "pass")
    assert seconds("-c", "import msaviz") - bare < 0.2
    assert seconds("-m", "msaviz", "--help") - bare < 1.0
