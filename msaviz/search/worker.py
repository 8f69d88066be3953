"""What does one worker do? It asks for trials, measures them and tells what it found, until no arm wants more.

Any number of workers, of one machine or of several, meet in the storage alone. `python -m msaviz.search.worker FOLDER` is one.
"""

from __future__ import annotations

import math
import statistics
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msaviz.data.dataset import Dataset
from msaviz.options import override
from msaviz.search.proxy import OBJECTIVES, GoOn, Measured, keep, measure, searched, short
from msaviz.search.record import COPY_OF, CURVE, KEY, MEASURED, MESSAGE, Search, recorded
from msaviz.search.sampler import AGAIN, DEFAULT, LINEAGE, TURN, Seeded, turn_of
from msaviz.search.storage import is_gone, this_process
from msaviz.training.experiment import Experiment
from msaviz.training.jobs import end_with

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

Evaluate = Callable[[Experiment, Dataset, Path | None, GoOn], Measured]
WORKER, BEAT = "worker", "beat"
PULSE, SILENCE = 60.0, 600.0
"""Seconds between the beats of a worker, and without one until a worker on another machine counts as lost."""
UNCLAIMED = 10.0
"""Seconds until a trial whose worker never said its name counts as lost."""
IN_VAIN = 20
"""Copies and failures in a row after which an arm is stopped."""
EARLIEST, FINISHED = 2, 5
"""Pruning begins in this epoch, and after so many finished trials of the arm."""
REFUSED = (ValueError, ArithmeticError, LookupError, TypeError, RuntimeError, MemoryError)
"""What a genome that cannot be built or trained raises; anything else stops the search."""


@dataclass
class Arm:
    """One arm of a search, as one worker sees it."""

    search: Search
    name: str
    study: Study

    @cached_property
    def sampler(self) -> Seeded:
        settings = self.search.settings
        # every arm has its own random numbers: the first genomes of "random" are not those of "nsga2"
        seed = settings.experiment.seed, zlib.crc32(self.name.encode())
        return Seeded(self.name, settings.population, seed, settings.genome.default)

    @property
    def trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    @property
    def trained(self) -> int:
        """Trials that count to the budget: trained to the end, or stopped as hopeless."""
        return sum(t.state.name in ("COMPLETE", "PRUNED") and COPY_OF not in t.user_attrs for t in self.trials)

    @property
    def taken(self) -> int:
        """Those, and the ones that are being trained."""
        return self.trained + sum(t.state.name == "RUNNING" for t in self.trials)

    @property
    def in_vain(self) -> bool:
        """Whether the last trials brought nothing: copies or failures, IN_VAIN in a row."""
        last = [t for t in recorded(self.study) if t.state.is_finished()][-IN_VAIN:]
        return len(last) == IN_VAIN and all(COPY_OF in t.user_attrs or MESSAGE in t.user_attrs for t in last)

    @property
    def finished(self) -> bool:
        return self.trained >= self.search.settings.trials or self.in_vain

    @property
    def wants(self) -> bool:
        """Whether one more trial should be asked for: not while one is nobody's, for if its worker is lost, its turn comes first."""
        nobodys = any(t.state.name == "RUNNING" and WORKER not in t.user_attrs for t in self.trials)
        return self.taken < self.search.settings.trials and not self.in_vain and not nobodys

    def ask(self) -> Trial | None:
        """The next trial with its genes; None where other workers were quicker and it would be one too many."""
        self.study.sampler = self.sampler  # type: ignore[assignment]
        trial = self.study.ask()
        trial.set_user_attr(WORKER, {**this_process(), "time": time.time()})
        if self._rank(trial.number) >= self.search.settings.trials:
            self.study.tell(trial, state=_state("FAIL"))
            return None
        self.search.settings.genome.draw(trial)
        _ = trial.relative_params  # NSGA-II notes the generation there, which nobody reads of a trial that is asked for again
        born = asdict(self.sampler.lineage) | trial.user_attrs.get(LINEAGE, {}) | {"generation": self.sampler.generation}
        trial.set_user_attr(LINEAGE, born)
        trial.set_user_attr(TURN, self.sampler.turn)
        return trial

    def _rank(self, number: int) -> int:
        """How many trials that may count were asked for before."""
        counts = [t for t in self.trials if t.number < number and COPY_OF not in t.user_attrs]
        return sum(t.state.name in ("COMPLETE", "PRUNED", "RUNNING", "WAITING") for t in counts)

    def revive(self) -> None:
        """Ask again for the trials whose worker is gone."""
        for trial in self.trials:
            if trial.state.name == "RUNNING" and is_lost(trial):
                give_back(self.study, trial)

    def step(self, dataset: Dataset, evaluate: Evaluate) -> None:
        """One trial, from the question to the answer."""
        from optuna.exceptions import UpdateFinishedTrialError

        with suppress(UpdateFinishedTrialError):  # it was given to another worker in the meantime
            trial = self.ask()
            if trial is None:
                return
            try:
                self._measure(trial, dataset, evaluate)
            except BaseException:
                with suppress(Exception):
                    give_back(self.study, trial)
                raise

    def _measure(self, trial: Trial, dataset: Dataset, evaluate: Evaluate) -> None:
        settings, turn = self.search.settings, trial.user_attrs[TURN]
        try:
            experiment = short(settings.genome.decode(trial.params), settings.epochs)
            if self.name == DEFAULT:
                experiment = override(experiment, {"seed": experiment.seed + turn})
            key = settings.genome.key(experiment)
            if original := self._known(key):
                return self._copy(trial, original)
            with beating(trial):
                found = evaluate(experiment, dataset, self._parent(trial), self._judge(trial))
            values = [_finite(name, OBJECTIVES[name](found)) for name in settings.objectives]
        except REFUSED as error:
            trial.set_user_attr(MESSAGE, " ".join(f"{type(error).__name__}: {error}".split()))
            self.study.tell(trial, state=_state("FAIL"))
            return None
        told = {name: getattr(found, name) for name in ("error", "parameters", "seconds", "complete", "epochs", "inherited")}
        trial.set_user_attr(MEASURED, told)
        trial.set_user_attr(KEY, key)
        if found.pruned:
            self.study.tell(trial, state=_state("PRUNED"))
            return None
        if settings.inherit and self.name == "nsga2" and found.weights:
            keep(found.weights, self.search.weights(self.name, turn))
        self.study.tell(trial, values)

    def _known(self, key: str) -> FrozenTrial | None:
        """The trial that was trained with the same genome."""
        trained = [t for t in self.trials if t.state.name in ("COMPLETE", "PRUNED") and COPY_OF not in t.user_attrs]
        return next((t for t in trained if t.user_attrs.get(KEY) == key), None)

    def _copy(self, trial: Trial, original: FrozenTrial) -> None:
        """Answer with what the same genome brought before."""
        trial.set_user_attr(COPY_OF, original.user_attrs[TURN])
        trial.set_user_attr(MEASURED, original.user_attrs[MEASURED])
        self.study.tell(trial, original.values if original.state.name == "COMPLETE" else None, original.state)

    def _parent(self, trial: Trial) -> Path | None:
        """The weights that the trial begins with."""
        turn = trial.user_attrs[LINEAGE]["parent"]
        if turn < 0 or not self.search.settings.inherit:
            return None
        copied = next((t.user_attrs.get(COPY_OF, turn) for t in recorded(self.study) if t.user_attrs[TURN] == turn), turn)
        return self.search.weights(self.name, copied)

    def _judge(self, trial: Trial) -> GoOn:
        """Keeps the curve of best scores and says when a trial is hopeless."""
        curve: list[float] = []

        def go_on(epoch: int, best: float, parameters: int) -> bool:
            curve.append(best)
            trial.set_user_attr(CURVE, curve)
            settings = self.search.settings
            return not settings.prune or epoch >= settings.epochs or not hopeless(epoch, best, parameters, self.trials)

        return go_on


def hopeless(epoch: int, best: float, parameters: int, trials: Sequence[FrozenTrial]) -> bool:
    """Whether a trial is worse than the median of the finished ones at the same epoch, and one that is no larger was better there."""
    done = [t.user_attrs for t in trials if t.state.name == "COMPLETE" and COPY_OF not in t.user_attrs and t.user_attrs.get(CURVE)]
    if epoch < EARLIEST or len(done) < FINISHED or not math.isfinite(best):
        return False
    reached = [(attrs[CURVE][:epoch][-1], attrs[MEASURED]["parameters"]) for attrs in done]
    return best > statistics.median(score for score, _ in reached) and any(s < best and p <= parameters for s, p in reached)


def is_lost(trial: FrozenTrial) -> bool:
    """Whether nobody works on a running trial any more: its process has ended, or another machine was silent for long."""
    worker = trial.user_attrs.get(WORKER)
    if worker is None:
        start = trial.datetime_start
        return start is not None and (datetime.now() - start).total_seconds() > UNCLAIMED
    gone = is_gone(worker)
    return time.time() - trial.user_attrs.get(BEAT, worker["time"]) > SILENCE if gone is None else gone


def give_back(study: Study, trial: Any) -> None:
    """End a trial that nobody finished and ask for it again, with the same genes and turn; only one worker can."""
    from optuna.exceptions import UpdateFinishedTrialError

    try:
        study.tell(trial.number, state=_state("FAIL"))
    except (UpdateFinishedTrialError, ValueError):
        return
    drawn = TURN in trial.user_attrs  # else it was lost before it had all its genes, and draws them anew
    kept = {LINEAGE: trial.user_attrs[LINEAGE]} if drawn else {}
    study.enqueue_trial(dict(trial.params) if drawn else {}, user_attrs={**kept, TURN: turn_of(study, trial), AGAIN: True})


@contextmanager
def beating(trial: Trial) -> Iterator[None]:
    """Say every PULSE seconds that this worker is alive."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(PULSE):
            with suppress(Exception):  # the storage may be away for a while
                trial.set_user_attr(BEAT, time.time())

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def work(search: Search, evaluate: Evaluate = measure, told: Callable[[], None] = lambda: None) -> None:
    """Work until every arm has its trials; `told` is called after each."""
    arms, dataset = arms_of(search), searched(search.settings.experiment)
    pause = 0.05
    while not all(arm.finished for arm in arms):
        for arm in arms:
            arm.revive()
        open_arms = [arm for arm in arms if arm.wants]
        if open_arms:
            min(open_arms, key=lambda arm: arm.taken).step(dataset, evaluate)
            told()
            pause = 0.05
        else:  # others still train: wait for them, or for their trials
            time.sleep(pause)
            pause = min(2 * pause, 1.0)


def arms_of(search: Search) -> list[Arm]:
    return [Arm(search, name, search.study(name)) for name in search.arms]


def _finite(objective: str, value: float) -> float:
    if not math.isfinite(value):
        raise FloatingPointError(f"the objective {objective!r} is {value}")
    return float(value)


def _state(name: str) -> Any:
    from optuna.trial import TrialState

    return TrialState[name]


def main(folder: str, parent: str = "") -> None:
    """Work for the search in `folder`, as long as the process `parent` (if one is named) is there."""
    if parent:
        end_with(int(parent))
    try:
        work(Search.open(folder, connect=True))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main(*sys.argv[1:])
