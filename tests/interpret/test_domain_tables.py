"""Do the tables about domains find the differences between domains that were planted, and none in noise?"""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from msaviz.catalog import TABLES
from msaviz.data.load import load
from msaviz.interpret import domain_gap
from msaviz.interpret.gate_by_domain import divergence
from msaviz.interpret.trace import Trace
from msaviz.types import Output

LESS_IS_MORE = {"mixing"}


def gap(trace, **options):
    frame = TABLES["domain_gap"](trace, **options)
    return frame.set_index(["representation", "domain", "other", "metric"]).xs("fused")


def beyond_chance(frame):
    """Bool by row: further apart than the floor."""
    less = frame.index.get_level_values("metric").isin(LESS_IS_MORE)
    return (frame["value"] > frame["floor"]) != less


def moved(planted, shift, rows=300, width=6, seed=0):
    """Two domains, of which the second is moved by `shift` in each coordinate and stretched by 1 + shift / 2 in the first."""
    g = np.random.default_rng(seed)
    x, domain = g.normal(size=(rows, width)), np.arange(rows) % 2
    x[domain == 1, 0] *= 1 + shift / 2
    x[domain == 1] += shift / np.sqrt(width)
    return planted.given(x, domain)


def test_equal_distributions_lie_within_the_floor(planted):
    chance = [beyond_chance(gap(moved(planted, 0.0, seed=seed), seed=seed)) for seed in range(10)]
    assert np.mean(chance) < 0.15  # one in twenty is expected
    assert gap(moved(planted, 0.0))["value"].xs("mixing", level="metric").item() == pytest.approx(1, abs=0.06)


def test_every_metric_grows_with_the_shift(planted):
    frames = [gap(moved(planted, shift)) for shift in (0.0, 1.0, 2.0, 4.0)]
    assert beyond_chance(frames[-1]).all()
    assert beyond_chance(frames[-2]).all()
    for metric in domain_gap.METRICS:
        values = [frame["value"].xs(metric, level="metric").item() for frame in frames]
        assert values == sorted(values, reverse=metric in LESS_IS_MORE), metric
    last = frames[-1]["value"].droplevel(["domain", "other"])
    assert last["proxy_a_distance"] > 1.8
    assert last["mixing"] < 0.1
    assert (frames[-1]["value"].droplevel(["domain", "other"]).loc[["proxy_a_distance", "mixing"]].between(0, 2)).all()


def test_permuted_domains_kill_the_gap(planted):
    trace = moved(planted, 4.0)
    shuffled = replace(trace.batches[0], domain=trace.batches[0].domain[torch.randperm(300, generator=torch.Generator().manual_seed(0))])
    killed = gap(replace(trace, batches=(shuffled,)))
    assert beyond_chance(gap(trace)).all()
    assert beyond_chance(killed).sum() <= 1
    assert killed["value"].xs("proxy_a_distance", level="metric").item() < 0.4


def test_scale_rotation_and_offset_change_nothing(planted):
    trace = moved(planted, 1.0)
    x = trace.outputs[0].fused
    turn = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(1)))[0]
    other = replace(trace, outputs=(replace(trace.outputs[0], fused=7 * x @ turn + 3),))
    metrics = [m for m in domain_gap.METRICS if m != "proxy_a_distance"]
    for column in ("value", "floor"):
        one, two = (gap(t)[column].droplevel(["domain", "other"])[metrics] for t in (trace, other))
        assert two.to_numpy() == pytest.approx(one.to_numpy(), rel=1e-3, abs=1e-5)


def test_gap_formulas():
    g = np.random.default_rng(0)
    x, y = g.normal(size=(12, 4)), 2 * g.normal(size=(12, 4)) + 1
    both, member = np.concatenate([x, y]), (np.arange(24) < 12).astype(float)[None]
    distance = np.linalg.norm(both[:, None] - both, axis=-1)
    kernel = np.exp(-(distance**2) / np.median(distance[np.triu_indices(24, 1)] ** 2))
    off = 1 - np.eye(12)
    mmd = ((kernel[:12, :12] + kernel[12:, 12:]) * off).sum() / (12 * 11) - 2 * kernel[:12, 12:].mean()
    assert domain_gap.mmd(distance**2, member) == pytest.approx([mmd])
    coral = ((np.cov(x.T) - np.cov(y.T)) ** 2).sum() / (4 * 4**2)
    assert domain_gap.coral(both @ both.T, member, 4) == pytest.approx([coral])
    near = np.argsort(distance + np.diag(np.full(24, np.inf)), axis=1)[:, :3]
    other = ((near < 12) != (np.arange(24) < 12)[:, None]).mean()
    assert domain_gap.mixing(distance**2, member, 3) == pytest.approx([other / (12 / 23)])
    from sklearn.metrics import silhouette_score

    assert domain_gap.silhouette(distance, member) == pytest.approx([silhouette_score(both, member[0])])


def test_gap_is_found_in_the_planted_space_only(trace):
    frame = TABLES["domain_gap"](trace)
    assert set(frame["metric"]) == set(domain_gap.METRICS)
    assert set(zip(frame["domain"], frame["other"], strict=True)) == {("news", "film")}
    far = beyond_chance(frame.set_index(["metric", "representation"])).unstack()
    assert far["private/vision"].drop("coral").all()  # the domain moves the mean there, not the covariance
    assert far.drop(columns="private/vision").mean(axis=None) < 0.2


def test_gap_of_small_constant_and_single_domains(planted):
    x = np.random.default_rng(0).normal(size=(60, 3))
    few = np.repeat([0, 1, 2], [30, 23, 7])  # the last one has a row too few
    pairs = gap(planted.given(x, few)).index.droplevel("metric").unique()
    assert list(pairs) == [("place 0", "place 1")]
    assert TABLES["domain_gap"](planted.given(x, np.zeros(60))).empty
    constant = gap(planted.given(np.ones((60, 3)), np.arange(60) % 2))["value"].droplevel(["domain", "other"])
    assert constant[["mmd", "coral", "proxy_a_distance", "silhouette"]].abs().max() < 1e-9
    apart = gap(planted.given(np.repeat([[0.0], [5.0]], 30, axis=0), np.repeat([0, 1], 30)))["value"].droplevel(["domain", "other"])
    assert (apart["proxy_a_distance"], apart["mixing"], apart["silhouette"]) == pytest.approx((2, 0, 1))


def test_limit_and_seed(planted):
    trace = moved(planted, 1.0)
    assert gap(trace).equals(gap(trace))
    assert not gap(trace, limit=40)["value"].equals(gap(trace)["value"])


@pytest.fixture(scope="module")
def shifts():
    """Shift -> the gaps of the raw features (mean over each utterance's frames, modality by modality)."""
    found = {}
    for shift in (0, 0.03, 0.06, 0.12, 0.5, 1, 2):
        data = load(f"synthetic:rows=800,shift={shift},seed=3")
        batch = data.splits["train"].batch(np.arange(len(data.splits["train"])))
        means = [(batch.x[m] * batch.mask[m][..., None]).sum(1) / batch.mask[m].sum(1, keepdim=True) for m in batch.modalities]
        output = Output({data.spec.target: batch.y}, torch.cat(means, 1))
        found[shift] = gap(Trace(data.spec, (batch,), (output,)), permutations=40, limit=150)
    return found


@pytest.mark.parametrize("metric", domain_gap.METRICS)
def test_shifts_of_the_synthetic_data_are_ordered(shifts, metric):
    """Averaged over frames, domains half a unit apart have no neighbour in common any more: there two metrics are at their end."""
    size = {
        shift: frame["value"].xs(metric, level="metric").mean() * (-1 if metric in LESS_IS_MORE else 1) for shift, frame in shifts.items()
    }
    far, near = [[size[shift] for shift in order] for order in ((0, 0.5, 1, 2), (0, 0.03, 0.06, 0.12))]
    full = metric in ("proxy_a_distance", "mixing")
    assert far[0] < far[1] <= far[2] <= far[3]
    assert all(a < b for a, b in pairwise(near if full else far)), size
    assert not full or far[3] == pytest.approx({"proxy_a_distance": 2, "mixing": 0}[metric], abs=1e-3)
    assert beyond_chance(shifts[2]).xs(metric, level="metric").all()


def test_gates_and_divergence_are_those_that_were_planted(trace):
    frame = TABLES["gate_by_domain"](trace).set_index(["router", "modality", "domain", "expert"]).sort_index()
    assert np.allclose(frame["gate"].groupby(level=[0, 1, 2]).sum(), 1)
    assert ((frame["low"] <= frame["gate"] + 1e-9) & (frame["gate"] <= frame["high"] + 1e-9)).all()
    news, film = (frame.loc[("domain", "text", d), "gate"].to_numpy() for d in ("news", "film"))
    assert news == pytest.approx([0.1 / 3, 0.9, 0.1 / 3, 0.1 / 3], abs=1e-5)
    assert film == pytest.approx([0.1 / 3, 0.1 / 3, 0.1 / 3, 0.9], abs=1e-5)
    share = (trace.examples["domain"] == "news").mean()
    overall = share * news + (1 - share) * film
    for name, gates in (("news", news), ("film", film)):
        rows = frame.loc[("domain", "text", name)]
        assert rows["divergence"].to_numpy() == pytest.approx(np.full(4, (gates * np.log(gates / overall)).sum()), rel=1e-4)
        assert (rows["divergence"] > rows["floor"]).all()
        assert (rows["utterances"] == (trace.examples["domain"] == name).sum()).all()
    idle = frame.loc[["idle", "shared"]]
    assert (idle["divergence"] == 0).all()
    assert (idle["floor"] == 0).all()
    vision = frame.loc[("shared", "vision")].groupby("domain")["utterances"].first()
    assert vision.sum() == trace.present("vision").sum()


def test_permuted_domains_kill_the_divergence(planted):
    g = np.random.default_rng(0)
    domain = g.integers(2, size=300)
    own = np.where(domain[:, None] == np.arange(2), 0.7, 0.3) + g.normal(0, 0.1, (300, 1)) * [1, -1]

    def table(domain):
        return TABLES["gate_by_domain"](planted.given(np.zeros((300, 2)), domain, gates=own))

    frame = table(domain)
    assert (frame["divergence"] > 5 * frame["floor"]).all()
    killed = np.mean(
        [(f["divergence"] > f["floor"]).mean() for f in (table(np.random.default_rng(i).permutation(domain)) for i in range(20))]
    )
    assert killed < 0.2
    assert set(frame["router"]) == {"mixture"}
    assert set(frame["modality"]) == {"joint"}


def test_the_interval_of_a_gate_is_that_of_its_mean(planted):
    g = np.random.default_rng(1)
    first = g.uniform(0, 1, 400)
    frame = TABLES["gate_by_domain"](planted.given(np.zeros((400, 2)), np.arange(400) % 2, gates=np.stack([first, 1 - first], 1)))
    width = (frame["high"] - frame["low"]).to_numpy()
    assert width == pytest.approx(2 * 1.96 * np.sqrt(1 / 12 / 200), rel=0.15)


def test_one_domain_has_no_gates_by_domain(planted):
    assert TABLES["gate_by_domain"](planted.given(np.zeros((40, 2)), np.zeros(40), gates=np.full((40, 2), 0.5))).empty


def test_divergence_formula():
    assert divergence(np.array([0.5, 0.5, 0]), np.array([0.25, 0.25, 0.5])) == pytest.approx(np.log(2))
    assert divergence(np.array([0.2, 0.8]), np.array([0.2, 0.8])) == 0
