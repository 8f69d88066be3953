"""Which architecture and which modalities serve full and partial input best, and is that more than luck?

Evolution over the searchable options of a model, beside its controls at an equal budget: random search, and the default genome trained
again and again with other seeds. Fitness is the validation score of a short training, averaged over all sets of modalities. The winners
are trained from scratch on several seeds, and the test split is read only then.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from msaviz.files import write_json
from msaviz.options import override, validated
from msaviz.search.proxy import searched
from msaviz.search.record import MEASURED, Search, Settings, difference
from msaviz.search.storage import without_secrets
from msaviz.search.winners import decide
from msaviz.search.worker import arms_of, work
from msaviz.training.experiment import Experiment

POLL = 0.5
"""Seconds between two looks at what the workers have done."""


def search(
    experiment: Experiment,
    out: str | Path,
    *,
    trials: int = 40,
    sampler: str = "nsga2",
    objectives: Sequence[str] = ("mae", "params"),
    controls: bool = True,
    genes: Sequence[str] = ("model", "train.lr"),
    population: int = 10,
    epochs: int = 6,
    seeds: int = 5,
    finalists: int = 3,
    workers: int = 1,
    storage: str = "",
    inherit: bool = True,
    prune: bool = True,
    progress: bool = True,
) -> Search:
    """Search, train the winners and test them; everything is in the folder `out`, and the same call goes on with what is there.

    `trials`: trained ones of each arm. `genes`: prefixes of the searchable options that may vary. `epochs`: those of a trial.
    `finalists`: genomes of each arm's front that are trained from scratch, for the experiment's own epochs, with each of `seeds` seeds;
    the one that validates best on average wins. `storage`: "" (a journal in the folder), a database URL or "grpc://host:port"; machines
    that run the same call with the same storage (and a folder of the same name) share the work. With nothing said about `missing`, whole
    modalities go missing in training (`mixture:inter_modal=true`), as they do in the validation.
    With more `trials`, `finalists` or `seeds` than before, the same search goes on to them. Raises ValueError for what does not exist, and
    where the folder holds another search.
    """
    options = {"trials": trials, "sampler": sampler, "objectives": tuple(objectives), "controls": controls, "genes": tuple(genes)}
    options |= {"population": population, "epochs": epochs, "seeds": seeds, "finalists": finalists, "inherit": inherit, "prune": prune}
    if workers < 1:
        raise ValueError(f"a search needs at least one worker; got {workers}")
    found = begin(experiment, out, options, storage)
    try:
        try:
            explore(found, workers=workers, progress=progress)
        finally:
            found.write()
        decide(found, workers=workers, progress=progress)
    except KeyboardInterrupt as stop:
        stop.add_note(f"stopped; the same command goes on with {found.path}")  # a notebook shows it; the shell has a line of its own
        raise
    return found


def begin(experiment: Experiment, out: str | Path, options: dict[str, Any], storage: str = "") -> Search:
    """The search's folder, new or as it was; ValueError for what does not exist, or if another search is there."""
    storage, dataset = without_secrets(storage), searched(experiment)
    told = {"experiment": prepared(experiment), "modalities": dataset.spec.modalities, "data": dataset.fingerprint}
    settings = validated(Settings, {**told, **options})
    if not settings.genome.ranges:
        raise ValueError(f"the model {experiment.model_name!r} has no searchable option")
    path = Path(out)
    about = {"name": path.absolute().name, "storage": storage, "settings": settings.model_dump(mode="json")}
    if (path / "search.json").exists():
        there = Search(path).about
        if differs := difference(there["settings"], about["settings"]):
            raise ValueError(f"{path} already holds another search ({differs}); choose another --out or delete it")
        if there["storage"] != storage:
            raise ValueError(f"{path} keeps its trials in {there['storage'] or 'its journal'!r}, not in {storage or 'its journal'!r}")
        about["name"] = there["name"]  # the folder may have been renamed since
    found = Search(path, connect=True)
    write_json(path / "search.json", about)
    for arm in found.arms:
        study = found.study(arm)
        known = study.user_attrs.get("search")
        if known is None:
            study.set_user_attr("search", about["settings"])
        elif differs := difference(known, about["settings"]):
            raise ValueError(f"the storage already holds another search called {found.name!r} ({differs}); choose another --out")
    return found


def prepared(experiment: Experiment) -> Experiment:
    """The experiment as a search trains it: validated over all sets of modalities, one thread, and whole modalities missing by default."""
    changes: dict[str, Any] = {"train.validation": "subsets", "train.threads": experiment.train.threads or 1}
    if experiment.missing == Experiment.model_fields["missing"].default:
        changes["missing"] = "mixture:inter_modal=true"
    return override(experiment, changes)


def explore(found: Search, *, workers: int = 1, progress: bool = True) -> None:
    """Try genomes until every arm has its trials: here, or in several processes."""
    with _bar(found, progress) as told:
        if workers == 1:
            work(found, told=told)
            return
        arms = arms_of(found)
        with _processes(found, workers) as processes:
            while not all(arm.finished for arm in arms):
                time.sleep(POLL)
                told()
                ended = [process.poll() for process in processes]
                if None not in ended and not all(arm.finished for arm in arms):
                    raise RuntimeError(f"all workers ended before the search did (exit codes {ended}); the same call goes on")
        told()


@contextmanager
def _processes(found: Search, workers: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Worker processes that are gone when the block is left, however it is left."""
    command = [sys.executable, "-m", "msaviz.search.worker", str(found.path.absolute()), str(os.getpid())]
    processes = [subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}) for _ in range(workers)]
    try:
        yield processes
        for process in processes:
            process.wait()
    finally:
        for process in processes:
            process.terminate()
            process.wait()


@contextmanager
def _bar(found: Search, progress: bool) -> Iterator[Any]:
    """One bar over the trials of all arms; yields what brings it up to date."""
    arms = arms_of(found)
    with tqdm(total=found.settings.trials * len(arms), desc="search", unit="trial", disable=not progress, smoothing=0) as bar:

        def told() -> None:
            bar.n = sum(arm.trained for arm in arms)
            errors = [t.user_attrs[MEASURED]["error"] for arm in arms for t in arm.trials if MEASURED in t.user_attrs]
            bar.set_postfix_str(f"best {min(errors):.3f}" if errors else "")

        told()
        yield told
