"""How do many notebooks run at the same time, each in a kernel of its own, when some of them fail?"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from msaviz.app.kernels import ONE_THREAD, Kernels
from msaviz.app.notebook import checked, execute, find, parameters_of
from msaviz.app.notebook_page import write_page
from msaviz.terminal import visible


@dataclass(frozen=True)
class Outcome:
    """What became of one notebook: its executed copy, the seconds it took, and in one line what stopped it (empty: nothing)."""

    name: str
    path: Path
    seconds: float
    error: str = ""


@dataclass(frozen=True)
class Plan:
    """A notebook, where its copy goes, the parameters that it has, and its kernel."""

    path: Path
    target: Path
    parameters: Mapping[str, Any]
    kernels: Kernels


def run_notebooks(
    names: Sequence[str],
    out: str | Path,
    parameters: Mapping[str, Any] | None = None,
    *,
    workers: int | None = None,
    timeout: int = 3600,
    html: bool = False,
    progress: bool = True,
) -> list[Outcome]:
    """Run notebooks, `workers` at a time (none given: one a core), and write the executed copies into the folder `out`.

    A parameter goes to the notebooks that have it. ValueError before anything runs: for an unknown notebook, a parameter that none
    of them has, a value of another type than the default. A notebook that fails, hangs for more than `timeout` seconds in a cell, or
    whose kernel dies is told in its Outcome; the others go on. With `html` each that ran well is written as a page too, beside its
    copy. Outcomes come in the order of `names`; each notebook runs once.
    """
    workers = (os.cpu_count() or 1) if workers is None else workers
    if workers < 1:
        raise ValueError(f"at least one notebook must run at a time; got {workers} workers")
    todo = plans(names, out, parameters or {})
    show = Progress(len(todo), progress)
    pool = ThreadPoolExecutor(min(workers, len(todo)))
    try:
        futures = [pool.submit(_outcome, plan, timeout, html, show) for plan in todo]
        wait(futures)
    finally:  # after Ctrl-C nothing new starts, and what runs loses its kernel, so that its thread ends
        pool.shutdown(wait=False, cancel_futures=True)
        for plan in todo:
            plan.kernels.end()
        pool.shutdown()
        show.close()
    return [future.result() for future in futures]


def plans(names: Sequence[str], out: str | Path, parameters: Mapping[str, Any]) -> list[Plan]:
    """What is to be run; ValueError where it cannot be."""
    paths = list(dict.fromkeys(find(name).resolve() for name in names))
    if not paths:
        raise ValueError("name at least one notebook")
    files = [path.name for path in paths]
    if twice := [name for name in files if files.count(name) > 1]:
        raise ValueError(f"two of the notebooks are called {twice[0]}; their copies cannot lie in one folder")
    if (folder := Path(out).resolve()) in {path.parent for path in paths}:
        raise ValueError(f"{folder} is the folder of one of the notebooks; choose another for the executed copies")
    known = {path: parameters_of(path) for path in paths}
    every = list(dict.fromkeys(name for found in known.values() for name in found))
    if strange := [name for name in parameters if name not in every]:
        raise ValueError(f"none of these notebooks has a parameter {strange[0]!r}; they have {', '.join(every) or 'none'}")
    chosen = {path: {name: value for name, value in parameters.items() if name in found} for path, found in known.items()}
    return [Plan(path, Path(out) / path.name, checked(path, chosen[path]), Kernels(ONE_THREAD)) for path in paths]


def _outcome(plan: Plan, timeout: int, html: bool, show: Progress) -> Outcome:
    """Run one notebook; whatever stops it becomes a sentence, so that the others go on."""
    name, error, start = plan.path.stem, "", time.perf_counter()
    show.begins(name)
    try:
        execute(plan.path, plan.target, plan.parameters, timeout=timeout, kernels=plan.kernels)
        if html:
            write_page(plan.target, plan.target.with_suffix(".html"))
    except Exception as problem:
        error = " ".join(str(problem).split()) or type(problem).__name__
        if not error.startswith(plan.path.name):  # e.g. a kernel that never answered, a full disk
            error = f"{plan.path.name}, before its first cell or while it was written: {type(problem).__name__}: {error}"
    _close_loop()
    show.ends(name, bool(error))
    return Outcome(name, plan.target, time.perf_counter() - start, error)


def _close_loop() -> None:
    """Close the event loop that the notebook's client made for this thread, with its sockets."""
    from jupyter_core.utils import ensure_event_loop

    loop = ensure_event_loop()
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.close()


def summary(outcomes: Sequence[Outcome], seconds: float) -> str:
    """ "3 of 4 notebooks ran; failed: broken. 12 s, copies in out"."""
    failed = [one.name for one in outcomes if one.error]
    told = f"{len(outcomes) - len(failed)} of {len(outcomes)} notebooks ran; {'failed: ' + ', '.join(failed) if failed else 'none failed'}"
    return f"{told} ({seconds:.0f} s, copies in {outcomes[0].path.parent})"


class Progress:
    """One bar for all notebooks: how many are done, and which are running. Threads may call it."""

    def __init__(self, total: int, shown: bool) -> None:
        from tqdm.auto import tqdm

        self._bar = tqdm(total=total, unit="notebook", disable=None if shown else True)  # None: silent where nobody watches
        self._running: list[str] = []
        self._failed = 0
        self._lock = Lock()

    def begins(self, name: str) -> None:
        with self._lock:
            self._running.append(name)
            self._tell()

    def ends(self, name: str, failed: bool) -> None:
        with self._lock:
            self._running.remove(name)
            self._failed += failed
            self._tell()
            self._bar.update()

    def close(self) -> None:
        self._bar.close()

    def _tell(self) -> None:
        failed = f"{self._failed} failed; " if self._failed else ""
        self._bar.set_postfix_str(f"{failed}{visible(', '.join(self._running))}")
