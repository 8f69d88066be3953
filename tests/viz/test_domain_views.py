"""Do the pictures by domain show the numbers of their frames, and say when these are no more than chance?"""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from msaviz.catalog import TABLES, VIEWS

DOMAINS = ("film", "phone", "meal")
ROUTERS = (("private", "text"), ("private", "audio"), ("shared", "joint"))
EXPERTS = 4


def gap(size: float = 1.0) -> pd.DataFrame:
    """Meal is far from the others in private/text; mixing falls where the rest grows. `size` 0: all below their floors."""
    rows = []
    for space, (one, other) in product(("fused", "shared/text", "private/text"), combinations(DOMAINS, 2)):
        far = size * ((0.9 if "meal" in (one, other) else 0.3) + (0.4 if space == "private/text" else 0.0))
        rows += [(space, one, other, "mmd", far / 5, 0.02), (space, one, other, "proxy_a_distance", far, 0.25)]
        rows += [(space, one, other, "mixing", 1 - far / 2, 0.9)]
    return pd.DataFrame(rows, columns=["representation", "domain", "other", "metric", "value", "floor"]).assign(run="midg-0", split="test")


def gates(size: float = 1.0) -> pd.DataFrame:
    """In meal the shared router prefers expert 2."""
    rows = []
    for (router, modality), (d, domain) in product(ROUTERS, enumerate(DOMAINS)):
        special = size * (router == "shared") * (domain == "meal")
        share = np.full(EXPERTS, 0.25) + 0.02 * np.roll([1, -1, 1, -1], d)
        share += special * (0.4 * (np.arange(EXPERTS) == 2) - 0.1)
        rows += [
            (router, modality, domain, e, share[e], share[e] - 0.03, share[e] + 0.03, 0.01 + 0.3 * special, 0.05, 60)
            for e in range(EXPERTS)
        ]
    columns = ["router", "modality", "domain", "expert", "gate", "low", "high", "divergence", "floor", "utterances"]
    return pd.DataFrame(rows, columns=columns).assign(run="midg-0", split="test")


def masks(size: float = 0.0) -> pd.DataFrame:
    """Experts 0 and 1 read the same more than the others do; all keep about a half, expert 3 keeps 90 % of text."""
    rows = []
    for m, i, j in product(("text", "audio", "vision", "joint"), range(EXPERTS), range(EXPERTS)):
        overlap = 1.0 if i == j else 0.6 + size if {i, j} == {0, 1} else 0.2 + size
        rows.append((i, j, m, overlap, 0.9 if (i, m) == (3, "text") else 0.4 + 0.05 * i, 1.0 if i == j else 0.33))
    return pd.DataFrame(rows, columns=["expert", "other", "modality", "overlap", "kept", "floor"]).assign(run="midg-0", split="test")


def knockout(size: float = 1.0) -> pd.DataFrame:
    """Shared expert 2 is worth .3 in meal."""
    rows = []
    for (router, modality), e, (d, domain) in product(ROUTERS, range(EXPERTS), enumerate(("all", *DOMAINS))):
        value = size * 0.3 * ((router, e, domain) == ("shared", 2, "meal")) + 0.004 * ((e + d) % 3 - 1)
        by = "domain" if d else "all"
        rows.append((router, modality, e, by, domain, "mae", value, value - 0.04, value + 0.05, 0.25, 60))
    columns = ["router", "modality", "expert", "by", "group", "metric", "value", "low", "high", "gate", "utterances"]
    return pd.DataFrame(rows, columns=columns).assign(run="midg-0", split="test")


def calibration(size: float = 1.0) -> pd.DataFrame:
    """In meal the label is half the prediction plus .5; elsewhere it is the prediction."""
    rows = []
    for domain, b in product(("all", *DOMAINS), range(6)):
        predicted, odd = -2.0 + 0.8 * b, size * (domain == "meal")
        observed = predicted * (1 - 0.5 * odd) + 0.5 * odd
        slope, intercept, error = 1 - 0.5 * odd, 0.5 * odd, 0.02 + 0.6 * odd
        rows.append((domain, b, predicted, observed, observed - 0.2, observed + 0.3, 12, slope, intercept, error))
    columns = ["domain", "bin", "predicted", "observed", "low", "high", "examples", "slope", "intercept", "error"]
    return pd.DataFrame(rows, columns=columns).assign(run="midg-0", split="test")


def clouds(size: float = 1.0, epochs: tuple[int, ...] = (0, 2, 4, 6, 8, 12, 16, 20)) -> pd.DataFrame:
    """Domains part by 3 in the first epoch and by nothing in the last; the label moves x more and more."""
    g, n, found = np.random.default_rng(0), 150, []
    domain, label = np.array(DOMAINS, dtype=object)[np.arange(n) % 3], g.normal(size=n)
    for i, epoch in enumerate(epochs):
        share = i / (len(epochs) - 1)
        x = g.normal(size=n) + 2 * share * label
        y = g.normal(size=n) + 3 * size * (1 - share) * (np.arange(n) % 3)
        about = {"epoch": epoch, "example": np.arange(n), "x": x, "y": y, "domain": domain, "label": label}
        found.append(pd.DataFrame(about).assign(error=(1 - share) * g.normal(size=n)))
    return pd.concat(found, ignore_index=True).assign(run="midg-0", split="test", representation="fused", method="pca")


def cloud(expert: str = "") -> pd.DataFrame:
    frame = clouds(epochs=(0, 1)).query("epoch == 0").drop(columns=["epoch"]).assign(prediction=0.0, explained=0.6)
    return frame.assign(expert=expert or np.where(frame["y"] > 3, "2", "0"))


def comparison(size: float = 1.0) -> pd.DataFrame:
    """Of midg, mmd gains 8 % over ERM on average; nothing else gains."""
    rows = []
    for model, objective, (t, target) in product(("early_fusion", "midg"), ("erm", "coral", "mmd"), enumerate(("meal", "mean", "worst"))):
        gain = np.nan if objective == "erm" else 8.0 * size if (model, objective) == ("midg", "mmd") else -1.0
        mean = (0.8 + 0.05 * (model == "early_fusion") + 0.1 * t) * (1 - np.nan_to_num(gain) / 100)
        row = ("unseen domain", target, "mae", mean, 0.02, mean - 0.04, mean + 0.04, 3, 1.2, gain, gain - 2, gain + 2)
        rows.append((model, objective, *row))
        rows.append((model, objective, *row[:2], "corr", 1 - mean / 2, 0.01, 0.5, 0.8, 3, 0.0, gain, gain - 2, gain + 2))
    columns = "model objective protocol target metric mean sd low high runs floor gain gain_low gain_high"
    return pd.DataFrame(rows, columns=columns.split())


MADE = {
    "domain_gap": gap,
    "gate_by_domain": gates,
    "expert_masks": masks,
    "expert_knockout": knockout,
    "calibration": calibration,
    "representation_epochs": clouds,
    "domain_comparison": comparison,
}
NAMES = list(MADE)


@pytest.mark.parametrize("name", NAMES)
def test_the_frames_made_here_have_the_columns_of_the_table(name):
    assert set(VIEWS[name].needs) <= set(MADE[name]().columns) <= set(TABLES[VIEWS[name].table].columns)


@pytest.mark.parametrize("name", NAMES)
def test_draws_and_leaves_its_frame_alone(name):
    frame = MADE[name]()
    before = frame.copy(deep=True)
    figure = VIEWS[name](frame)
    pd.testing.assert_frame_equal(frame, before)
    assert isinstance(figure, go.Figure)
    assert len(figure.data)
    said = VIEWS[name].read(frame)
    assert said.endswith(".")
    assert "nan" not in said.lower()


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_frame_gives_a_note(name):
    frame = MADE[name]().iloc[:0]
    figure = VIEWS[name](frame)
    assert len(figure.data) == 0
    assert "Nothing to draw" in figure.layout.annotations[0].text
    assert "nothing" in VIEWS[name].read(frame)


@pytest.mark.parametrize(("name", "said"), [
    ("domain_gap", "9 of 9 pairs of domains are further apart than chance, most of all “film” and “meal” in “private/text” (1.30"),
    ("gate_by_domain", "“shared” (joint) in domain “meal” (0.310 nats from its mean over all utterances, chance 0.050), where expert 2"),
    ("expert_masks", "experts 0 and 1 overlap most (0.60); expert 3 keeps most of “text” (90 %)"),
    ("expert_knockout", "without expert 2 of router “shared” (joint): in domain “meal” the MAE grows by 0.304 [0.264, 0.354]"),
    ("calibration", "0.02 in “film” and 0.62 in “meal”; a prediction one unit higher is worth 1.00 over all"),
    ("representation_epochs", "no more than chance (4 %) and a high or low label from explaining 3 % to 46 %"),
    ("domain_comparison", "“midg · mmd” is best: 0.828 [0.788, 0.868] over 3 runs, where a constant predictor has 1.200; its gain"),
])  # fmt: skip
def test_read_names_the_winner_and_its_numbers(name, said):
    assert said in VIEWS[name].read(MADE[name]())


@pytest.mark.parametrize(("name", "clear", "said"), [
    ("domain_gap", 1.0, "no pair of domains is further apart than chance"),
    ("gate_by_domain", 1.0, "In no domain do the gates differ by more than chance"),
    ("expert_masks", 0.3, "no more than chance"),
    ("expert_knockout", 1.0, "No expert is worth more than chance"),
    ("calibration", 1.0, "no more than chance"),
    ("representation_epochs", 1.0, "no more than chance"),
])  # fmt: skip
def test_read_says_chance_below_the_floor_and_only_there(name, clear, said):
    something = MADE[name](clear)
    if name == "representation_epochs":  # only its first epochs tell the domains apart
        something = something[something["epoch"] < 8]
    assert said in VIEWS[name].read(MADE[name](0.0))
    assert said not in VIEWS[name].read(something)


def test_read_of_a_comparison_without_a_winner():
    nothing = comparison(0.0)
    assert "“midg · erm” is best: 0.900" in VIEWS["domain_comparison"].read(nothing)
    assert VIEWS["domain_comparison"].read(nothing).endswith("no row gains on its reference beyond chance.")
    unsure = VIEWS["domain_comparison"].read(comparison().assign(gain_low=-1.0))
    assert "which does not exclude zero, so it is no more than chance" in unsure
    assert "no better than a constant predictor, 0.500" in VIEWS["domain_comparison"].read(comparison().assign(floor=0.5))


def test_read_of_mixing_turns_round():
    said = VIEWS["domain_gap"].read(gap().query("metric == 'mixing'"))
    assert "9 of 9" in said
    assert "in “private/text” (0.35, chance 0.90)" in said
    assert "no pair" in VIEWS["domain_gap"].read(gap(0.0).query("metric == 'mixing'"))


# -- the numbers in the pictures are those of the frames -----------------------------------------------------------------


def drawn(figure: go.Figure, axis: str, name: str) -> np.ndarray:
    return np.concatenate([np.asarray(getattr(trace, axis), dtype=float) for trace in figure.data if trace.name == name])


def test_gap_beside_its_floor():
    frame = gap()
    figure = VIEWS["domain_gap"](frame)
    asked = frame[frame["metric"] == "proxy_a_distance"]
    np.testing.assert_allclose(drawn(figure, "x", "midg-0"), asked["value"], rtol=1e-6)
    np.testing.assert_allclose(drawn(figure, "x", "chance"), asked["floor"], rtol=1e-6)
    several = VIEWS["domain_gap"](frame, metric=["mixing", "mmd"])
    np.testing.assert_allclose(
        np.sort(drawn(several, "x", "midg-0")), np.sort(frame.query("metric != 'proxy_a_distance'")["value"]), rtol=1e-6
    )
    with pytest.raises(ValueError, match="no metric 'x' in this frame; it has mmd, proxy_a_distance"):
        VIEWS["domain_gap"](frame, metric="x")


def test_gates_with_their_divergence():
    frame = gates()
    figure = VIEWS["gate_by_domain"](frame)
    for domain in DOMAINS:
        np.testing.assert_allclose(drawn(figure, "y", domain), frame.loc[frame["domain"] == domain, "gate"], rtol=1e-6)
    assert set(drawn(figure, "y", "even split")) == {0.25}
    titles = [axis.title.text for axis in figure.select_xaxes()]
    assert titles[2] == "expert (KL of meal: 0.310 nats, chance 0.050 ●)"
    assert "●" not in titles[0] + titles[1]


def test_masks_in_numbers():
    frame = masks()
    overlap, kept = VIEWS["expert_masks"](frame).data
    assert np.allclose(overlap.z, frame[frame["modality"] == "joint"].pivot(index="expert", columns="other", values="overlap"))
    assert overlap.text[0][1] == "0.60<br>(0.33)"
    assert list(kept.x) == ["text", "audio", "vision", "joint"]
    assert np.isclose(kept.z[3][0], 0.9)
    assert "text" in VIEWS["expert_masks"](frame, modality="text").layout.annotations[0].text
    with pytest.raises(ValueError, match="no modality 'x'"):
        VIEWS["expert_masks"](frame, modality="x")


def test_knockout_beside_the_line_of_no_change():
    frame = knockout()
    figure = VIEWS["expert_knockout"](frame)
    np.testing.assert_allclose(drawn(figure, "x", "meal"), frame.loc[frame["group"] == "meal", "value"], rtol=1e-5)
    assert set(drawn(figure, "x", "no change")) == {0.0}
    assert "better without" in VIEWS["expert_knockout"].read(pd.concat([frame, frame.tail(1).assign(value=-0.3, high=-0.1)]))


def test_calibration_with_its_diagonal():
    frame = calibration()
    figure = VIEWS["calibration"](frame)
    np.testing.assert_allclose(drawn(figure, "y", "midg-0"), frame["observed"], rtol=1e-5)
    np.testing.assert_allclose(drawn(figure, "x", "label = prediction"), drawn(figure, "y", "label = prediction"))
    assert "meal (slope 0.50, error 0.62)" in [annotation.text for annotation in figure.layout.annotations]
    classes = frame.assign(slope=np.nan, intercept=np.nan)
    assert "worth" not in VIEWS["calibration"].read(classes)
    assert "accuracy" in str(VIEWS["calibration"](classes).layout.yaxis.title.text)


def test_epochs_are_chosen_evenly_on_equal_axes():
    frame = clouds(epochs=tuple(range(0, 40, 4)))
    figure = VIEWS["representation_epochs"](frame)
    assert [annotation.text for annotation in figure.layout.annotations] == [f"epoch {epoch}" for epoch in (0, 8, 16, 20, 28, 36)]
    assert len({axis.range for axis in figure.select_xaxes()}) == len({axis.range for axis in figure.select_yaxes()}) == 1
    assert sum(len(trace.x) for trace in figure.data) == 6 * 150
    few = VIEWS["representation_epochs"](clouds(epochs=(1, 5)), colour_by="label")
    assert len({trace.xaxis for trace in few.data}) == 2
    with pytest.raises(ValueError, match="no colouring 'x'"):
        VIEWS["representation_epochs"](frame, colour_by="x")


@pytest.mark.parametrize("by", ["domain", "label", "error"])
def test_frames_of_the_slider_hold_every_layer(by):
    frame = clouds()
    frame.loc[frame["epoch"] == 20, "error"] = 1.0  # no negative error is left: that layer must stay, empty
    figure = VIEWS["representation_epochs"](frame, colour_by=by, animate=True)
    assert [f.name for f in figure.frames] == [str(epoch) for epoch in sorted(set(frame["epoch"]))]
    assert {len(f.data) for f in figure.frames} == {len(figure.data)}
    assert all(sum(len(trace.x) for trace in f.data) == 150 for f in figure.frames)
    assert [step.label for step in figure.layout.sliders[0].steps] == [f.name for f in figure.frames]


def test_map_by_expert():
    figure = VIEWS["representation_map"](cloud(), colour_by="expert")
    assert [trace.name for trace in figure.data] == ["expert 0", "expert 2"]
    assert len({trace.marker.symbol for trace in figure.data}) == 2
    assert [trace.name for trace in VIEWS["representation_map"](cloud("none"), colour_by="expert").data] == ["none"]
    mixed = cloud().assign(expert=np.resize(["none", "10", "2"], 150))
    assert [trace.name for trace in VIEWS["representation_map"](mixed, colour_by="expert").data] == ["expert 2", "expert 10", "none"]


def test_comparison_marks_the_reference_and_clear_gains():
    frame = comparison()
    figure = VIEWS["domain_comparison"](frame)
    means = frame[(frame["metric"] == "mae") & frame["target"].isin(["mean", "worst"])]
    plain = means[means["objective"] == "erm"].sort_values("target", kind="stable")
    np.testing.assert_allclose(drawn(figure, "x", "the reference"), plain["mean"], rtol=1e-6)
    assert set(drawn(figure, "x", "constant predictor").round(5)) == {1.2}
    gains = [text.strip() for trace in figure.data if trace.name == "gain over the reference" for text in trace.text]
    assert gains == 2 * ["−1.0 %", "−1.0 %", "−1.0 %", "+8.0 % ●"]
    one = VIEWS["domain_comparison"](frame, metric="corr", targets=["meal"])
    assert {trace.xaxis for trace in one.data} == {"x"}
    with pytest.raises(ValueError, match="no target 'x' in this frame; it has meal, mean, worst"):
        VIEWS["domain_comparison"](frame, targets=["x"])
