"""Do the tools of the tables that judge attributions count, rank and average as they say?"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from msaviz.interpret.deletion_curve import topped
from msaviz.interpret.judged import Flat, apart, beside, dense, part, shuffled, spearman, spread, steps_of
from msaviz.interpret.resample import averages
from msaviz.interpret.trace import observe


def test_values_lie_beside_their_own_steps(linear, true):
    values, start = dense(true.steps, np.arange(40)), 0
    for batch in linear.batches:
        rows = np.arange(start, start + len(batch))
        laid = apart(beside(values, rows, batch), batch)
        for m, s in true.steps.items():
            here = (s.row >= start) & (s.row < start + len(batch))
            assert np.array_equal(laid[m][batch.mask[m]].numpy(), s.value[here])
            assert not laid[m][~batch.mask[m]].any()
        start += len(batch)


def test_shuffled_values_stay_in_their_utterance(linear):
    batch = linear.batches[0]
    mask = steps_of(batch)
    values = torch.where(mask, torch.rand(mask.shape), 0)
    mixed = shuffled(values, mask, torch.Generator().manual_seed(0))
    assert torch.equal(mixed.sort(1).values, values.sort(1).values)
    assert not mixed[~mask].any()
    assert (mixed != values).any(1).all()


def test_ranks_correlate_as_scipy_says():
    from scipy.stats import spearmanr

    generator = np.random.default_rng(0)
    row = np.repeat(np.arange(5), [2, 9, 7, 4, 30])
    a, b = generator.normal(size=len(row)), generator.integers(0, 4, len(row))
    expected = [spearmanr(a[row == i], b[row == i]).statistic for i in range(1, 5)]
    assert spearman(Flat(a, row), Flat(b, row), 6)[1:5] == pytest.approx(expected)
    assert np.isnan(spearman(Flat(a, row), Flat(np.ones(len(row)), row), 6)).all()


def test_a_part_of_a_trace_says_what_the_trace_says(linear):
    positions = spread(40, 7)
    few = part(linear, positions)
    assert few.examples["prediction"].to_numpy() == pytest.approx(linear.examples["prediction"].to_numpy()[positions])
    again = observe(linear.model, few.batches, spec=few.spec)
    assert again.examples["prediction"].to_numpy() == pytest.approx(few.examples["prediction"].to_numpy(), abs=1e-6)
    with pytest.raises(ValueError, match="leaves no utterance"):
        spread(40, 0)


def test_means_leave_unknown_numbers_out():
    found = averages(np.array([[1.0, np.nan], [3.0, np.nan], [np.nan, np.nan]]), 50, 0)
    assert found["value"][0] == 2
    assert found["utterances"].tolist() == [2, 0]
    assert np.isnan(found["value"][1])


def test_the_top_of_a_row_is_rounded_to_whole_steps():
    mask = torch.tensor([[True, True, True, True], [True, True, False, False]])
    size = torch.tensor([[4.0, 1, 3, 2], [1.0, 2, 9, 9]])
    top = topped(size, mask, torch.tensor([0.0, 0.5, 1.0]))
    assert not top[0].any()
    assert top[1].tolist() == [[True, False, True, False], [False, True, False, False]]
    assert torch.equal(top[2], mask)
