"""How does each arm of a search choose the genes of its next trial?

The child generation of NSGA-II (Deb et al. 2002) is suited to the genome: numbers are crossed by simulated binary crossover and mutated by
polynomial mutation, a bit is flipped, an ordered choice (32, 64, 128) moves to a neighbour, a word is drawn anew. Selection, generations
and populations are Optuna's.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from msaviz.search.genome import is_number

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

CROSSOVER = 0.9
"""Probability that a child has two parents."""
SPREAD = 3.0
"""Distribution index of crossover and mutation: small is far. 20 is usual for thousands of trials; a search has tens."""
TURN, AGAIN, LINEAGE = "turn", "again", "lineage"


@dataclass(frozen=True)
class Lineage:
    """From whom a trial began: the turns of `parent` and `other` (-1: none), the genes that were `crossed` and `mutated`."""

    parent: int = -1
    other: int = -1
    crossed: tuple[str, ...] = ()
    mutated: tuple[str, ...] = ()


@dataclass
class Children:
    """Makes a child of a parent population (Optuna's `child_generation_strategy`) and remembers its `lineage`.

    Both parents win a tournament of two. The one that the child shares more genes with counts as its parent. A child that would be its
    parent's copy is mutated until it is not.
    """

    seed: int
    lineage: Lineage = field(default_factory=Lineage)

    def __call__(self, study: Study, space: dict[str, BaseDistribution], parents: list[FrozenTrial]) -> dict[str, Any]:
        rng = np.random.RandomState(self.seed)
        first, second = _tournament(parents, rng), _tournament(parents, rng)
        crosses = first.number != second.number and rng.rand() < CROSSOVER
        genes = self._cross(study, space, first, second, rng) if crosses else {gene: first.params[gene] for gene in space}
        before = dict(genes)
        for gene in space:
            if rng.rand() < 1 / len(space):
                genes[gene] = mutated(genes[gene], space[gene], study, rng)
        parent, other = sorted((first, second), key=lambda t: _shared(t, genes), reverse=True) if crosses else (first, None)
        while _shared(parent, genes) == len(space):
            gene = list(space)[rng.randint(len(space))]
            genes[gene] = mutated(genes[gene], space[gene], study, rng)
        changed = [gene for gene in space if genes[gene] != parent.params[gene]]
        touched = [gene for gene in changed if genes[gene] != before[gene]]
        crossed = tuple(gene for gene in changed if gene not in touched)
        self.lineage = Lineage(turn_of(study, parent), turn_of(study, other) if other else -1, crossed, tuple(touched))
        return genes

    def _cross(
        self,
        study: Study,
        space: Mapping[str, BaseDistribution],
        first: FrozenTrial,
        second: FrozenTrial,
        rng: np.random.RandomState,
    ) -> dict[str, Any]:
        """Numbers by simulated binary crossover on their own scale, everything else from either parent."""
        from optuna.samplers.nsgaii import SBXCrossover

        numbers = [gene for gene, known in space.items() if hasattr(known, "low")]
        genes = {gene: (first if rng.rand() < 0.5 else second).params[gene] for gene in space}
        if numbers:
            both = np.array([[to_unit(t.params[gene], space[gene]) for gene in numbers] for t in (first, second)])
            with _quiet():
                crossover = SBXCrossover(eta=SPREAD)
            units = crossover.crossover(both, rng, study, np.array([[0.0, 1.0]] * len(numbers)))
            # a coordinate that is a parent's own stays exactly what it was
            for gene, unit, (a, b) in zip(numbers, units, both.T, strict=True):
                own = first if unit == a else second if unit == b else None
                genes[gene] = own.params[gene] if own else from_unit(unit, space[gene])
        return genes


def mutated(value: Any, known: BaseDistribution, study: Study, rng: np.random.RandomState) -> Any:
    """Another value of the same gene."""
    from optuna.samplers.nsgaii import PolynomialMutation

    choices = getattr(known, "choices", None)
    if choices is None:
        with _quiet():
            polynomial = PolynomialMutation(eta=SPREAD)
        return _moved(value, known, lambda unit: float(polynomial.mutation(unit, rng, study, np.array([0.0, 1.0]))))
    if all(is_number(choice) for choice in choices):
        places = [i for i in (choices.index(value) - 1, choices.index(value) + 1) if 0 <= i < len(choices)]
        return choices[places[rng.randint(len(places))]]
    others = [choice for choice in choices if choice != value]
    return others[rng.randint(len(others))]


def _moved(value: float, known: Any, step: Callable[[float], float]) -> Any:
    """The number after a step; again where that rounds to the same one, or leads out of the range at a bound."""
    while (found := from_unit(step(to_unit(value, known)), known)) == value:
        pass
    return found


def to_unit(value: float, known: Any) -> float:
    """A number's place in its range, in [0, 1]; in the logarithm where the range says so. Every integer has an equal share."""
    low, high = _bounds(known)
    low, high, value = (np.log(v) if known.log else v for v in (low, high, value))
    return float((value - low) / (high - low))


def from_unit(unit: float, known: Any) -> Any:
    """The number at a place in its range."""
    low, high = _bounds(known)
    value = low * (high / low) ** unit if known.log else low + (high - low) * unit
    value = float(np.clip(value, known.low, known.high))
    return round(value) if isinstance(known.low, int) else value


def _bounds(known: Any) -> tuple[float, float]:
    half = 0.5 if isinstance(known.low, int) else 0.0
    return known.low - half, known.high + half


def _tournament(parents: Sequence[FrozenTrial], rng: np.random.RandomState) -> FrozenTrial:
    one, two = (parents[rng.randint(len(parents))] for _ in range(2))
    return one if dominates(one.values, two.values) else two


def dominates(one: Sequence[float], two: Sequence[float]) -> bool:
    """Whether `one` is nowhere larger and somewhere smaller."""
    return all(a <= b for a, b in zip(one, two, strict=True)) and any(a < b for a, b in zip(one, two, strict=True))


def _shared(trial: FrozenTrial, genes: Mapping[str, Any]) -> int:
    return sum(trial.params[gene] == value for gene, value in genes.items())


def turn_of(study: Study, trial: FrozenTrial) -> int:
    """A trial's number in the record of its arm: those that were asked for again, because their worker was lost, keep their first one."""
    if TURN in trial.user_attrs:
        return trial.user_attrs[TURN]
    return sum(AGAIN not in t.user_attrs for t in study.get_trials(deepcopy=False) if t.number < trial.number)


class Seeded:
    """An Optuna sampler that is made anew for every trial from (seed, turn), so that a search which was stopped goes on as if it was not.

    The first trial of nsga2 is the default genome, and so is every trial of "default".
    """

    turn: int
    generation: int

    def __init__(self, arm: str, population: int, seed: Sequence[int], default: Mapping[str, Any]):
        self.arm, self.population, self.seed, self.default = arm, population, seed, default

    @property
    def fixed(self) -> bool:
        """Whether the trial asked for last is the default genome."""
        return self.arm == DEFAULT or (self.arm == "nsga2" and self.turn == 0)

    @property
    def lineage(self) -> Lineage:
        """That of the trial asked for last."""
        return self.children.lineage if self.children and not self.fixed else Lineage()

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self.turn = turn_of(study, trial)
        seed = int(np.random.SeedSequence([*self.seed, self.turn]).generate_state(1)[0])
        self.inner, self.children = SAMPLERS[self.arm](self.population, seed)
        self.inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self.inner.infer_relative_search_space(study, trial)

    def sample_relative(self, study: Study, trial: FrozenTrial, space: dict[str, BaseDistribution]) -> dict[str, Any]:
        genes = self.inner.sample_relative(study, trial, space)
        known = self.children is not None
        self.generation = self.inner.get_trial_generation(study, trial) if known else self.turn // self.population
        return {} if self.fixed else genes

    def sample_independent(self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution) -> Any:
        if self.fixed:
            return self.default[name]
        return self.inner.sample_independent(study, trial, name, distribution)

    def after_trial(self, *_: Any) -> None:
        """Nothing: what a trial brought is in the storage."""

    def reseed_rng(self) -> None:
        """Nothing: every trial has its own seed."""


def _nsga2(population: int, seed: int) -> tuple[Any, Children]:
    from optuna.samplers import NSGAIISampler

    children = Children(seed)
    with _quiet():
        return NSGAIISampler(population_size=population, child_generation_strategy=children, seed=seed), children


def _random(population: int, seed: int) -> tuple[Any, None]:
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed), None


def _tpe(population: int, seed: int) -> tuple[Any, None]:
    from optuna.samplers import TPESampler

    return TPESampler(n_startup_trials=population, seed=seed), None


DEFAULT = "default"
SAMPLERS: Mapping[str, Callable[[int, int], tuple[Any, Children | None]]] = {
    "nsga2": _nsga2,
    "random": _random,
    "tpe": _tpe,
    DEFAULT: _random,
}
"""Arm -> its sampler (and who makes its children) of (population, seed)."""


def _quiet() -> warnings.catch_warnings:
    """Silences Optuna's word that an argument is experimental, and nothing else."""
    from optuna.exceptions import ExperimentalWarning

    return warnings.catch_warnings(action="ignore", category=ExperimentalWarning)
