"""Do fifty notebooks at once, three of them bad, leave 47 reports, three sentences, no process and no growing memory?

An ordinary run tries six; `make endure` all fifty.
"""

from __future__ import annotations

import os
import resource
import threading
import time
from pathlib import Path

import pytest
from endurance import tell, tries
from test_notebooks_all import CHILD, gone, written

from msaviz.app.notebooks import run_notebooks

GOOD = """
import plotly.graph_objects as go
go.Figure(go.Bar(x=["a"], y=[N])).show()
"""
OURS = 600 * 2**20
"""Bytes by which the runner's own process may grow, however many notebooks it runs (measured: 130 MB, most of them imports)."""


def children(of: int) -> set[int]:
    """All processes under this one."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[0] not in "ZX":
            parents[int(stat.parent.name)] = int(fields[1])
    found, waiting = set(), {of}
    while waiting:
        waiting = {pid for pid, parent in parents.items() if parent in waiting} - found
        found |= waiting
    return found


@pytest.mark.timeout(1200)
def test_fifty_notebooks_of_which_one_fails_one_hangs_and_one_dies(tmp_path):
    count = min(50, tries(6))
    source, pids = tmp_path / "source", tmp_path / "pids"
    pids.mkdir()
    bad = {
        count // 4: ("failing", "raise ValueError('no such thing')"),
        count // 2: ("hanging", f"{CHILD}\nimport time; time.sleep(900)"),
        3 * count // 4: ("dying", f"{CHILD}\nos.kill(os.getpid(), 9)"),
    }
    names = []
    for number in range(count):
        name, code = bad.get(number, (f"good{number:02d}", GOOD.replace("N", str(number))))
        names.append(written(source, name, code))
    before = children(os.getpid())
    seen, ended = [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.2):
            seen.append(len(children(os.getpid()) - before))

    watcher = threading.Thread(target=watch)
    watcher.start()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    try:
        found = run_notebooks(names, tmp_path / "out", {"PIDS": str(pids)}, workers=2, timeout=15, html=True, progress=False)
    finally:
        ended.set()
        watcher.join()
    seconds = time.perf_counter() - start
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - grown)
    assert [one.name for one in found] == [Path(name).stem for name in names]
    errors = {one.name: one.error for one in found if one.error}
    assert set(errors) == {"failing", "hanging", "dying"}
    assert errors["failing"].startswith("failing.ipynb, cell 3 (raise ValueError('no such thing')): ValueError: no such thing (see ")
    assert "took more than 15 s" in errors["hanging"]
    assert "its Python process died" in errors["dying"]
    pages = sorted((tmp_path / "out").glob("*.html"))
    assert [page.stem for page in pages] == sorted(one.name for one in found if not one.error)
    for page in pages:
        assert f'"y":[{int(page.stem[-2:])}]' in page.read_text(encoding="utf-8").replace(" ", "")
    assert gone(pids), "kernels, and what they started, outlive the runner"
    assert children(os.getpid()) <= before
    assert max(seen) <= 4 + len(bad), f"{max(seen)} processes at once for two workers"
    assert grown < OURS, f"the runner grew by {grown / 2**20:.0f} MB"
    tell("load: notebooks through the runner", count, pages=len(pages), told=len(errors), orphans=0, seconds=round(seconds), MB=grown >> 20)
