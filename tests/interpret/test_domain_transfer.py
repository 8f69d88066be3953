"""Does the table tell a rule that holds everywhere from one that holds at home?"""

import numpy as np
import pandas as pd
import pytest
import torch

from msaviz.catalog import TABLES, VIEWS
from msaviz.interpret.domain_transfer import agreement, learn
from msaviz.interpret.trace import Trace
from msaviz.types import Batch, Output, Spec, Task

transfer = TABLES["domain_transfer"]
SPEC = Spec({"true": 3, "cue": 3}, {"sentiment": Task()}, domains=("a", "b", "c"))


def planted(rows=600, seed=0, missing=()):
    """ "true" shows the label in every domain; "cue" shows it in a and b, and turned round in c."""
    g = torch.Generator().manual_seed(seed)
    y, domain = torch.randn(rows, generator=g), torch.arange(rows) % 3
    sign = torch.tensor([1.0, 1.0, -1.0])[domain]
    noise = torch.randn(2, rows, 1, 3, generator=g)
    x = {"true": y[:, None, None] + noise[0], "cue": (sign * y)[:, None, None] + 0.5 * noise[1]}
    mask = {m: torch.ones(rows, 1, dtype=torch.bool) for m in x}
    for m in missing:
        mask[m][domain != 0] = False
    batch = Batch(x, mask, {"sentiment": y}, domain, torch.arange(rows))
    return Trace(SPEC, (batch,), (Output({"sentiment": y}, torch.randn(rows, 4, generator=g)),))


def values(trace):
    return transfer(trace).set_index(["representation", "domain", "other"])["value"]


def test_a_true_feature_carries_over_and_a_flipped_cue_misleads():
    value = values(planted())
    for a in "abc":
        for b in "abc":
            assert value["input/true", a, b] > 0.7
            turned = (a == "c") != (b == "c")
            assert np.sign(value["input/cue", a, b]) == (-1 if turned else 1)
            assert abs(value["input/cue", a, b]) > 0.85


def test_noise_stays_below_the_floor_in_nineteen_of_twenty():
    frame = pd.concat([transfer(planted(seed=seed)) for seed in range(1, 12)])
    noise = frame[(frame["representation"] == "fused") & (frame["domain"] != frame["other"])]
    assert (noise["value"] > noise["floor"]).mean() < 0.15
    assert noise["floor"].iloc[0] == pytest.approx(1.645 / np.sqrt(199))


def test_a_domain_without_the_modality_is_left_out():
    frame = transfer(planted(missing=("cue",)))
    assert "input/cue" not in set(frame["representation"])
    assert {"input/true", "fused"} <= set(frame["representation"])


def test_the_rule_is_a_ridge_regression_that_survives_a_constant_feature():
    g = np.random.default_rng(0)
    x = np.column_stack([g.standard_normal(50), np.full(50, 7.0)])
    rule = learn(x, 2 * x[:, :1] + 1)
    np.testing.assert_allclose(rule(x), 2 * x[:, :1] + 1, atol=0.2)
    assert agreement(np.ones((50, 1)), x[:, :1]) == 0


def test_the_reading_names_what_carries_over_best_and_worst():
    text = VIEWS["domain_transfer"].read(transfer(planted()))
    assert "“input/true” says of the label carries over best" in text
    assert "“fused” carries over worst" in text or "“input/cue” carries over worst" in text
    assert "no more than chance between any two domains: fused" in text
