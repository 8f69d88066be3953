"""Do pyproject, environment and constraints agree, and is importing cheap?"""

import subprocess
import sys
import time
import tomllib
from importlib.metadata import version
from itertools import chain

import yaml
from licences import CONSTRAINTS, annotated, needed, odd, pins
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
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
    pinned = {name: version for name, (version, _) in pins().items()}
    for text in DEPENDENCIES:
        wanted = Requirement(text)
        pin = pinned.get(canonicalize_name(wanted.name))
        assert pin is not None, f"constraints.txt does not pin {wanted.name}"
        assert wanted.specifier.contains(pin), f"{wanted.name} {pin} is outside {wanted.specifier}"


def test_constraints_pin_all_that_is_needed_and_nothing_else():
    assert needed(DEPENDENCIES) == set(pins()), "what is needed directly or by others, and the pins"


def test_pins_and_their_licences_are_those_of_what_is_installed():
    """`make licences` writes them; what is used may be used by everybody, unmodified where its licence asks for that."""
    text = CONSTRAINTS.read_text(encoding="utf-8")
    assert annotated(text) == text
    other = {name: (pin, version(name)) for name, (pin, _) in pins().items() if version(name).partition("+")[0] != pin}
    assert other == {}
    assert {name: odd(licence) for name, (_, licence) in pins().items() if odd(licence)} == {}


def test_a_licence_that_asks_for_more_is_odd():
    assert odd("GPL-3.0-only") == ["GPL-3.0-only"]
    assert odd("MIT AND AGPL-3.0-only") == ["AGPL-3.0-only"]
    assert odd("GPL-2.0-only OR MIT") == []
    assert odd("Apache-2.0 WITH LLVM-exception AND MPL-2.0") == []
    assert odd("") == [""]


def test_pip_reads_the_constraints(tmp_path):
    broken = tmp_path / "broken.txt"
    broken.write_text(CONSTRAINTS.read_text(encoding="utf-8").replace("==", "=1=", 1), encoding="utf-8")
    ask = (sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--no-deps", "--disable-pip-version-check", "einops", "-c")
    status = [subprocess.run([*ask, str(path)], capture_output=True, check=False).returncode for path in (CONSTRAINTS, broken)]
    assert status[0] == 0
    assert status[1] != 0


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
