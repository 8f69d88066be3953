"""Is the bottleneck's price the divergence that it says, and is nothing random once it is trained?"""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from msaviz.nn.bottleneck import Bottleneck, divergence
from msaviz.types import Output, Task

TASKS = {"y": Task(), "k": Task("classes", classes=("low", "middle", "high"))}


@pytest.fixture
def part() -> Bottleneck:
    torch.manual_seed(0)
    return Bottleneck(6, TASKS)


def output(rows: int = 5) -> Output:
    g = torch.Generator().manual_seed(1)
    return Output({"y": torch.zeros(rows), "k": torch.zeros(rows, 3)}, torch.randn(rows, 6, generator=g), losses={"own": torch.ones(())})


def test_the_divergence_is_that_of_torch():
    mean, spread = torch.randn(7, 4), torch.rand(7, 4) * 2 + 0.05
    expected = kl_divergence(Normal(mean, spread), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(divergence(mean, spread), expected)
    torch.testing.assert_close(divergence(torch.zeros(1, 4), torch.ones(1, 4)), torch.zeros(1))


def test_the_loss_is_the_mean_over_the_rows(part):
    read = output()
    mean, spread = part.parameters_of(read.fused)
    found = part(read)
    torch.testing.assert_close(found.losses["bottleneck"], kl_divergence(Normal(mean, spread), Normal(0.0, 1.0)).sum(1).mean())
    assert found.losses["own"] == 1


def test_eval_is_deterministic_and_reads_the_mean(part):
    read = output()
    one, two = part.eval()(read), part(read)
    assert torch.equal(one.fused, two.fused)
    assert torch.equal(one.fused, part.mean(read.fused))
    assert set(one.losses) == {"own"}
    assert one.predictions["k"].shape == (5, 3)
    assert not torch.equal(one.predictions["y"], read.predictions["y"])


def test_training_draws_with_the_spread_that_it_says(part):
    read = Output({"y": torch.zeros(4000), "k": torch.zeros(4000, 3)}, torch.ones(4000, 6))
    found = part(read)
    mean, spread = part.parameters_of(torch.ones(1, 6))
    torch.testing.assert_close(found.fused.mean(0), mean[0], atol=0.03, rtol=0)
    torch.testing.assert_close(found.fused.std(0), spread[0], atol=0.03, rtol=0)


def test_both_the_task_and_the_price_reach_the_spread(part):
    for pick in (lambda found: found.predictions["y"].sum(), lambda found: found.losses["bottleneck"]):
        part.zero_grad()
        pick(part(output())).backward()
        assert part.spread.weight.grad.abs().sum() > 0


def test_a_high_price_lets_nothing_through(part):
    """What it costs falls to nothing when nothing else is asked, and the code no longer depends on the input."""
    optimizer = torch.optim.Adam(part.parameters(), lr=0.05)
    before = part(output()).losses["bottleneck"].item()
    for _ in range(200):
        optimizer.zero_grad()
        part(output()).losses["bottleneck"].backward()
        optimizer.step()
    assert part(output()).losses["bottleneck"] < 0.02 * before
    assert part.eval()(output()).fused.abs().max() < 0.2
