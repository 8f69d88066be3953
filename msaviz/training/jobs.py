"""How are many runs trained: here, in several processes or on a cluster, each once, whatever stops them?"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from msaviz.locks import Held
from msaviz.training.checkpoint import finished
from msaviz.training.domains import PROTOCOL
from msaviz.training.experiment import Experiment
from msaviz.training.kept import predicted
from msaviz.training.loop import train
from msaviz.training.run import Run

WAIT = 10
"""Seconds that a scheduler has to answer, and again to have a worker."""
AGAIN = 2.0
"""Seconds until a run that another process trains is looked at again."""
ONE_AT_A_TIME = threading.Lock()
"""Torch draws from one generator a process: two trainings in the threads of one process would change each other's numbers."""


@dataclass(frozen=True)
class Job:
    """A run that must exist: its experiment, its folder, and which checkpoint is tested."""

    experiment: Experiment
    path: Path
    selection: str = "validation"
    here: str = field(default_factory=os.getcwd)
    """Where relative paths of the data begin."""
    protocols: tuple[str, ...] = (PROTOCOL,)
    """What it is tested by."""

    @property
    def done(self) -> bool:
        return finished(self.path)

    @property
    def measured(self) -> bool:
        """Whether its predictions are kept too."""
        kept = self.path / "evaluations"
        return self.done and all(any(kept.glob(f"{protocol}-test-seed0-*.csv")) for protocol in self.protocols)


def work(job: Job) -> tuple[Path, str | Held]:
    """Train (or go on with) one run and keep its predictions; (its folder, "" or what went wrong in one line, or that it is held)."""
    with ONE_AT_A_TIME:
        threads = torch.get_num_threads()
        try:
            with chdir(job.here):
                run = Run.open(job.path) if job.done else train(job.experiment, job.path, resume=True, progress=False)
                for protocol in job.protocols:
                    predicted(run, protocol, selection=job.selection)
        except Held as error:
            return job.path, error
        except Exception as error:
            return job.path, " ".join(f"{type(error).__name__}: {error}".split())
        finally:
            torch.set_num_threads(threads)
    return job.path, ""


def perform(jobs: Sequence[Job], *, workers: int = 1, scheduler: str | None = None, progress: bool = True) -> dict[str, str]:
    """Do the jobs that are not done; folder's name -> error, of those that failed (the others are finished all the same).

    `workers`: processes on this machine (1: this one); `scheduler`: the address of a Dask scheduler, whose workers must see the same
    files. What is done when it is stopped is kept, and goes on where it stopped. A run that another process trains is waited for, after
    the others. ValueError where no scheduler answers.
    """
    todo = {job.path: job for job in jobs if not job.measured}
    if not todo:
        return {}
    failed: dict[str, str] = {}
    bar = tqdm(total=len(todo), desc="comparison", unit="run", disable=not progress, smoothing=0)
    with bar, parallel(work, workers, scheduler) as each:
        left = {*todo}
        try:
            for path, error in in_turn(each, todo, bar.set_postfix_str):
                left.discard(path)
                if error:
                    failed[path.name] = error
                    if progress:
                        bar.write(f"{path.name}: {error}", file=sys.stderr)
                bar.update()
        except Exception as error:  # `work` catches its own: this is a worker that was killed
            reason = f"not finished: a worker was lost ({type(error).__name__}; is there memory for so many?)"
            failed |= {path.name: reason for path in sorted(left)}
    return failed


def in_turn(
    each: Callable[[Sequence[Any]], Iterator[tuple[Path, str | Held]]], tasks: Mapping[Path, Any], tell: Callable[[str], object]
) -> Iterator[tuple[Path, str]]:
    """What `each` makes of the tasks, by their folders; one that another process holds is asked for again after the others."""
    left = dict(tasks)
    while left:
        before = len(left)
        for path, error in each(list(left.values())):
            if isinstance(error, Held):
                tell(f"waiting: {error}")
            else:
                del left[path]
                yield path, error
        if len(left) == before:
            time.sleep(AGAIN)


@contextmanager
def parallel(
    work: Callable[[Any], Any], workers: int = 1, scheduler: str | None = None
) -> Iterator[Callable[[Sequence[Any]], Iterator[Any]]]:
    """A function from tasks to what `work` makes of each, as they come; its workers are gone when the block is left, however it is left."""
    from joblib import Parallel, delayed, parallel_config

    def results(tasks: Sequence[Any]) -> Iterator[Any]:
        return Parallel(n_jobs=-1 if scheduler else workers, return_as="generator_unordered", batch_size=1, pre_dispatch="n_jobs")(
            delayed(partial(_watched, work, 0 if scheduler else os.getpid()))(task) for task in tasks
        )

    if scheduler:
        with _client(scheduler) as client, parallel_config("dask", client=client):
            yield results
    elif workers == 1:
        yield lambda tasks: map(work, tasks)
    else:
        from joblib.externals.loky import get_reusable_executor

        with parallel_config("loky", inner_max_num_threads=1):
            try:
                yield results
            finally:
                get_reusable_executor(max_workers=workers).shutdown(wait=True, kill_workers=True)


def _watched(work: Callable[[Any], Any], parent: int, task: Any) -> Any:
    if parent:
        end_with(parent)
    return work(task)


@cache
def end_with(parent: int) -> None:
    """End this process, as kill -9 would, within a second after its `parent`: nobody would ask for what it does."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    if parent != os.getpid():
        threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _client(address: str) -> Iterator[Any]:
    from distributed import Client

    try:
        client = Client(address, timeout=WAIT)
        client.wait_for_workers(1, timeout=WAIT)
    except (OSError, TimeoutError, ValueError) as error:
        raise ValueError(
            f"no Dask scheduler with a worker answers at {address!r} ({type(error).__name__}); start them with `dask scheduler` and "
            f"`dask worker {address} --nthreads 1`"
        ) from None
    with client:
        yield client
