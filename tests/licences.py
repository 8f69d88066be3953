"""Under which licences stands what this project needs? `make licences` writes them beside the pins of constraints.txt.

They are read from the metadata of what is installed: an SPDX expression where a package gives one, else what its words mean in SPDX.
"""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from places import ROOT

CONSTRAINTS = ROOT / "constraints.txt"
PERMISSIVE = {
    *("MIT", "MIT-0", "MIT-CMU", "BSD", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "Apache-2.0", "ISC", "PSF-2.0", "Zlib", "BSL-1.0"),
    *("CC0-1.0", "CNRI-Python"),
}
UNMODIFIED = {"MPL-2.0", "LGPL-2.1-or-later", "LGPL-3.0-or-later"}
"""What may be used as it is; changes to it would have to be published."""
WORDS = {
    r"apache": "Apache-2.0",
    r"(2-clause|bsd-2).*|.*\(bsd-2": "BSD-2-Clause",
    r"bsd.?3|3-clause": "BSD-3-Clause",
    r"isc": "ISC",
    r"mpl|mozilla": "MPL-2.0",
    r"psf|python software foundation|matplotlib": "PSF-2.0",
    r"mit\b": "MIT",
    r"bsd": "BSD",
}
"""Words in free texts, the first that is found counts."""
EXPRESSION = re.compile(r"[A-Za-z0-9.+-]+( (AND|OR|WITH) [A-Za-z0-9.+-]+)+")


def pins(text: str = "") -> dict[str, tuple[str, str]]:
    """Canonical name -> (version, licence in the comment) of every pin in constraints.txt."""
    found = {}
    for line in (text or CONSTRAINTS.read_text(encoding="utf-8")).splitlines():
        requirement, _, licence = line.partition("#")
        if requirement.strip():
            (pin,) = (wanted := Requirement(requirement.strip())).specifier
            assert pin.operator == "==", line
            found[canonicalize_name(wanted.name)] = (pin.version, licence.strip())
    return found


def licence(name: str) -> str:
    """The licence of an installed package as an SPDX expression ("BSD" where it does not say which one); ValueError where it tells none."""
    about = distribution(name).metadata
    if about.get("License-Expression"):
        return about["License-Expression"]
    short = (about.get("License") or "").strip().split("\n")[0]
    if EXPRESSION.fullmatch(short):
        return short
    told = [short, *(c.rpartition(" :: ")[2] for c in about.get_all("Classifier", []) if c.startswith("License ::"))]
    for one in told:
        for words, spdx in WORDS.items():
            if re.search(words, one, re.IGNORECASE):
                return spdx
    raise ValueError(f"{name} tells no licence that is known here: {told}")


def odd(expression: str) -> list[str]:
    """Parts of an expression outside of what may be used; of several to choose from one is enough."""
    parts = [choice.strip("() ").split(" AND ") for choice in expression.split(" OR ")]
    wrong = [[p for p in choice if p.partition(" WITH ")[0] not in PERMISSIVE | UNMODIFIED] for choice in parts]
    return min(wrong, key=len)


def needed(roots: list[str]) -> set[str]:
    """Canonical names of the installed packages that these requirements lead to."""
    found: set[tuple[str, str]] = set()
    todo = [Requirement(root) for root in roots]
    while todo:
        one = todo.pop()
        for extra in ("", *one.extras):
            key = (canonicalize_name(one.name), extra)
            if key in found:
                continue
            try:
                more = distribution(one.name).requires or []
            except PackageNotFoundError:
                assert one.marker is not None, f"{one} is not installed"
                continue
            found.add(key)
            todo += [r for r in map(Requirement, more) if r.marker is None or r.marker.evaluate({"extra": extra})]
    return {name for name, _ in found}


def annotated(text: str) -> str:
    """constraints.txt with the licence of each pin behind it."""
    lines = []
    for line in text.splitlines():
        pin = line.partition("#")[0].strip()
        lines.append(f"{pin}  # {licence(Requirement(pin).name)}" if pin else line)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    CONSTRAINTS.write_text(annotated(CONSTRAINTS.read_text(encoding="utf-8")), encoding="utf-8")
