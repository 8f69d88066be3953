"""How often is something tried? A little in every run of the tests, MSAVIZ_TIMES as often under `make endure`, which prints a table."""

from __future__ import annotations

import json
import os
import sys
from collections import defaultdict
from pathlib import Path

TIMES = int(os.environ.get("MSAVIZ_TIMES", "1"))


def tries(few: int) -> int:
    """How often to try what an ordinary run tries `few` times."""
    return few * TIMES


def tell(what: str, tried: int, **outcomes: int) -> None:
    """Note that `what` was tried so often, and what came of it (e.g. `read=12, refused=88`); kept where MSAVIZ_TALLY says."""
    place = os.environ.get("MSAVIZ_TALLY")
    if place:
        with open(place, "a", encoding="utf-8") as file:  # one short line: whole, even from several processes
            file.write(json.dumps({"what": what, "tried": tried, **outcomes}) + "\n")


def table(path: Path) -> str:
    """All that was told, as a table in Markdown: a line a thing."""
    sums: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for line in path.read_text(encoding="utf-8").splitlines():
        told = json.loads(line)
        what = told.pop("what")
        for name, count in told.items():
            sums[what][name] += count
    rows = [
        f"| {what} | {counts['tried']:,} | {', '.join(f'{n:,} {name}' for name, n in counts.items() if name != 'tried')} |"
        for what, counts in sorted(sums.items())
    ]
    return "\n".join(["| tried | times | came to |", "|---|---|---|", *rows])


if __name__ == "__main__":
    print(table(Path(sys.argv[1])))
