"""Is a weakness known of a package that constraints.txt pins? `make audit` asks PyPI, with pip-audit in a folder of its own.

Ends with 0 if none is known, 1 if there is one, 2 where nobody could be asked.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

CONSTRAINTS = Path(__file__).resolve().parents[1] / "constraints.txt"
ASK = ("--requirement", str(CONSTRAINTS), "--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off")


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="audit-") as name:
        venv.create(name, with_pip=True)
        python = str(Path(name) / "bin" / "python")
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "pip-audit>=2.7,<3"]
        if subprocess.run(install, capture_output=True, check=False).returncode:
            print("Nothing was audited: pip-audit could not be installed here (it comes from PyPI, which was not reached).")
            return 2
        asked = subprocess.run([python, "-m", "pip_audit", *ASK], capture_output=True, text=True, check=False)
    try:
        found = json.loads(asked.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(f"Nothing was audited: {(asked.stderr.strip().splitlines() or ['pip-audit gave no answer'])[-1]}")
        return 2
    weak = [(one, weakness) for one in found for weakness in one.get("vulns", [])]
    unknown = [one["name"] for one in found if "skip_reason" in one]
    for one, weakness in weak:
        remedy = ", ".join(weakness["fix_versions"]) or "no version yet"
        print(f"{one['name']} {one['version']}: {weakness['id']} (mended in {remedy})")
    print(f"{len(found) - len(unknown)} of {len(found)} pinned packages were audited; known weaknesses: {len(weak)}")
    if unknown:
        print(f"PyPI told nothing of {len(unknown)}: {', '.join(unknown[:8])}{' ...' if len(unknown) > 8 else ''}")
    return 1 if weak else 2 if len(unknown) == len(found) else 0


if __name__ == "__main__":
    sys.exit(main())
