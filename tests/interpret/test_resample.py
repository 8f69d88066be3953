"""Do resampled numbers not depend on units and offsets, and is an interval only given where half of the resamples know the number?"""

import numpy as np
import pytest
from scipy import stats

from msaviz.interpret.resample import correlation, explained, interval, resamples


@pytest.mark.parametrize("unit", [1e-150, 1e-9, 1.0, 1e12])
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_units_and_offsets_change_nothing(unit, offset):
    g = np.random.default_rng(0)
    a = g.normal(size=80)
    b = a + g.normal(size=80)
    weights = np.vstack([np.ones(80), resamples(np.arange(80), 20)])
    moved = [unit * (x + offset) for x in (a, b)]
    np.testing.assert_allclose(correlation(weights, *moved), correlation(weights, a, b), rtol=1e-6)
    np.testing.assert_allclose(explained(weights, *moved), explained(weights, a, b), rtol=1e-6)
    assert correlation(weights, *moved)[0] == pytest.approx(stats.pearsonr(a, b).statistic)
    assert explained(weights, *moved)[0] == pytest.approx(1 - ((a - b) ** 2).mean() / b.var())


@pytest.mark.parametrize("value", [0.0, 0.1, -1e9, 1e-9])
def test_what_does_not_vary_has_no_correlation(value):
    weights = np.ones((1, 50))
    constant, other = np.full(50, value), np.arange(50.0)
    assert np.isnan(correlation(weights, constant, other)).all()
    assert np.isnan(explained(weights, other, constant)).all()


@pytest.mark.parametrize(("known", "given"), [(0, False), (4, False), (5, True), (10, True)])
def test_an_interval_needs_half_of_the_resamples(known, given):
    values = np.r_[np.linspace(0, 1, known), np.full(10 - known, np.nan)]
    assert np.isfinite(interval(values)).all() == given
