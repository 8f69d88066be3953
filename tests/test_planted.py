"""Does a DERL trained on planted data, seen through our tables, show what was planted? (minutes long)"""

import pytest
from planted_facts import MODALITIES, facts, trained

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def by_shift(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted")
    return {shift: facts(trained(folder / str(shift), shift=shift)).set_index("fact") for shift in (0.0, 1.5)}


@pytest.mark.parametrize("shift", [0.0, 1.5])
def test_spaces_hold_the_factors_that_were_planted_there(by_shift, shift):
    found = by_shift[shift]
    for m in MODALITIES:
        shared = found.loc[f"shared factor read from shared/{m} (R²)"]
        private = found[found.index.str.startswith(f"private factors of {m}")].iloc[0]
        assert shared.value > 0.25 > 0.05 > shared.control
        assert private.value > 0.5 > 0.05 > private.control
    order = [found.loc[f"shared factor read from shared/{m} (R²)"].value for m in MODALITIES]
    assert order == sorted(order, reverse=True), "text was planted as the clearest reader, vision as the weakest"


def test_routers_know_the_domain_only_where_domains_differ(by_shift):
    name = next(fact for fact in by_shift[0.0].index if fact.startswith("routers"))
    assert by_shift[1.5].value[name] > 5 * by_shift[1.5].control[name]
    assert by_shift[1.5].value[name] > 10 * by_shift[0.0].value[name]


def test_completeness_follows_the_true_share(by_shift):
    for found in by_shift.values():
        rows = found[found.index.str.startswith("completeness")]
        assert (rows.value - rows.control).abs().max() < 0.1


def test_text_weighs_most_in_the_fusion(by_shift):
    weights = by_shift[1.5].value[[f"fusion importance of {m}" for m in MODALITIES]]
    assert list(weights) == sorted(weights, reverse=True)
