"""Does evolution find what is planted, and tell truly where every genome came from?"""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from planted import EXPERIMENT, planted, start

from msaviz import override
from msaviz.search.record import LINEAGE, recorded
from msaviz.search.sampler import from_unit, mutated, to_unit
from msaviz.search.worker import work

RANGES = [
    CategoricalDistribution((True, False)),
    CategoricalDistribution((32, 64, 128, 256)),
    CategoricalDistribution(("soft", "top_k", "dense")),
    IntDistribution(0, 4),
    IntDistribution(1, 64, log=True),
    FloatDistribution(0.0, 0.5),
    FloatDistribution(1e-5, 1e-2, log=True),
]


def evolved(path, seed=0, sampler="nsga2", trials=40, evaluate=planted, **options):
    """A search in memory."""
    search = start(path / f"{sampler}-{seed}", experiment=override(EXPERIMENT, {"seed": seed}), sampler=sampler, trials=trials, **options)
    vars(search)["_storage"] = optuna.storages.InMemoryStorage()
    work(search, evaluate)
    return search


@pytest.mark.parametrize("known", RANGES, ids=str)
def test_a_mutation_is_another_value_of_the_same_range(known):
    rng, study = np.random.RandomState(0), optuna.create_study()
    values = known.choices if hasattr(known, "choices") else [from_unit(u, known) for u in np.linspace(0, 1, 5)]
    for value in values:
        for _ in range(20):
            found = mutated(value, known, study, rng)
            assert found != value
            assert known._contains(known.to_internal_repr(found))
            assert type(found) is type(value)


def test_an_ordered_choice_moves_to_a_neighbour():
    rng, study = np.random.RandomState(0), optuna.create_study()
    assert {mutated(64, RANGES[1], study, rng) for _ in range(30)} == {32, 128}


@pytest.mark.parametrize("known", RANGES[3:], ids=str)
def test_places_in_a_range_lead_back_to_the_value(known):
    for value in (known.low, from_unit(0.3, known), known.high):
        assert from_unit(to_unit(value, known), known) == pytest.approx(value)


def test_nsga2_beats_random_where_genes_matter(tmp_path):
    """Best error at an equal budget over seeds; the planted optimum is one genome of thousands."""
    best = {s: [evolved(tmp_path, seed, s).evolution.trials["error"].min() for seed in range(8)] for s in ("nsga2", "random")}
    gain = np.array(best["random"]) - np.array(best["nsga2"])
    assert gain.mean() > 2 * gain.std(ddof=1) / np.sqrt(len(gain)) > 0
    assert np.mean(best["nsga2"]) < 0.8 * np.mean(best["random"])


def test_a_child_is_its_parent_but_for_what_the_lineage_names(tmp_path):
    search = evolved(tmp_path)
    record = {t.user_attrs["turn"]: t for t in recorded(search.study("nsga2"))}
    children = [t for t in record.values() if t.user_attrs[LINEAGE]["parent"] >= 0]
    assert len(children) > 20
    for child in children:
        line = child.user_attrs[LINEAGE]
        parent, changed = record[line["parent"]], {*line["crossed"], *line["mutated"]}
        assert changed == {gene for gene, value in child.params.items() if value != parent.params[gene]} != set()
        assert not set(line["crossed"]) & set(line["mutated"])
        assert line["other"] >= 0 or not line["crossed"]
        assert record[line["parent"]].user_attrs[LINEAGE]["generation"] < line["generation"]
    words = {gene for child in children for gene in child.user_attrs[LINEAGE]["crossed"] if gene == "model.router"}
    assert words == {"model.router"}


def test_the_first_of_nsga2_and_all_of_default_are_the_untouched_options(tmp_path):
    search = evolved(tmp_path, trials=3, controls=True)
    default = {gene: str(value) for gene, value in search.settings.genome.default.items()}
    genes = search.evolution.genes.groupby(["arm", "trial"])[["gene", "value"]].apply(lambda f: dict(f.to_numpy()))
    assert genes["nsga2", 0] == default
    assert all(genes["default", turn] == default for turn in range(3))
    assert genes["random", 0] != default
    assert genes["random", 0] != genes["nsga2", 1]


def test_the_same_seed_gives_the_same_search_and_another_one_another(tmp_path):
    one, same, other = (evolved(tmp_path / str(i), seed, trials=10).evolution.genes for i, seed in enumerate((0, 0, 1)))
    assert one.equals(same)
    assert not one.equals(other)


def test_tpe_is_a_sampler_too(tmp_path):
    trials = evolved(tmp_path, sampler="tpe", trials=8).evolution.trials
    assert list(trials["state"]) == ["complete"] * 8
    assert trials["arm"].unique().tolist() == ["tpe"]
