"""Do the pictures that judge attributions show the numbers of their frames, and say when these are no more than chance?"""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest

from msaviz.catalog import TABLES, VIEWS

METHODS = ("integrated_gradients", "<b>own</b>")
HOSTILE = METHODS[1]


def framed(table: str, rows: list[tuple], columns: str) -> pd.DataFrame:
    """The rows with what every attribution says of itself, in the order of the table's columns."""
    frame = pd.DataFrame(rows, columns=columns.split()).assign(run="derl-0", split="test", baseline="zero", routing="frozen")
    return frame[list(TABLES[table].columns)]


def completeness(size: float = 1.0) -> pd.DataFrame:
    """The first method misses nothing, the second half of the difference."""
    rows = [
        (method, metric, miss, 0.8 * miss, 1.2 * miss, 2 * miss, miss, 60)
        for (method, miss), metric in product(zip(METHODS, (0.0, 0.5 * size), strict=True), ("gap", "relative_gap"))
    ]
    return framed("attribution_completeness", rows, "method metric value low high p90 mean utterances")


def faithfulness(size: float = 1.0) -> pd.DataFrame:
    rows = [
        (method, metric, 1 - 0.8 * size * (method != HOSTILE), 0.9 - 0.8 * size, 1.1 - 0.8 * size * (method != HOSTILE), 1.0, 60)
        for method, metric in product(METHODS, ("infidelity", "infidelity_scaled", "sensitivity"))
    ]
    return framed("attribution_faithfulness", rows, "method metric value low high chance utterances")


CURVE = "method hidden kind fraction value low high random random_low random_high"
AREAS = "area area_low area_high random_area random_area_low random_area_high gain gain_low gain_high"


def curve(size: float = 1.0) -> pd.DataFrame:
    """By deletion the first method moves the prediction by the root of the share, a random order by the share itself."""
    rows = []
    for method, kind, share in product(METHODS, ("deletion", "insertion"), np.linspace(0, 1, 11)):
        better = size * (method != HOSTILE) * (np.sqrt(share) - share)
        value, random = (share + better, share) if kind == "deletion" else (1 - share - better, 1 - share)
        numbers = (value, value - 0.02, value + 0.02, random, random - 0.02, random + 0.02)
        rows.append((method, "missing", kind, share, *numbers, *[0.5] * 9, 60))
    return framed("deletion_curve", rows, f"{CURVE} {AREAS} utterances")


def area(size: float = 1.0) -> pd.DataFrame:
    rows = []
    for method, kind in product(METHODS, ("deletion", "insertion")):
        gain = 0.2 * size * (method != HOSTILE)
        value = 0.5 + gain * (1 if kind == "deletion" else -1)
        rows.append((method, "missing", kind, value, value - 0.03, value + 0.03, 0.5, 0.48, 0.52, gain, gain - 0.05, gain + 0.05, 60))
    return framed("deletion_curve", [(*row[:3], 1.0, *[0.0] * 6, *row[3:]) for row in rows], f"{CURVE} {AREAS} utterances")


def sanity(size: float = 1.0) -> pd.DataFrame:
    """The first method falls to 0, the second stays."""
    rows = []
    for method, kind, (i, part) in product(METHODS, ("signed", "absolute"), enumerate(("none", "head", "fusion", "encoders"))):
        value = 1 - size * (method != HOSTILE) * i / 3
        rows.append((method, kind, part, i, value, value - 0.05, value + 0.04, 32))
    return framed("attribution_sanity", rows, "method kind part parts similarity low high utterances")


def agreement(size: float = 1.0) -> pd.DataFrame:
    rows = []
    for method, other, modality in product(METHODS, METHODS, ("all", "text")):
        value = 1.0 if method == other else 0.6 * size
        rows.append((method, other, modality, value, value - 0.1, value + 0.1 * (method != other), 60))
    return framed("attribution_agreement", rows, "method other modality value low high utterances")


def evidence(size: float = 1.0) -> pd.DataFrame:
    rows = []
    for method, modality, metric in product(METHODS, ("all", "text", "audio"), ("pointing", "mass", "top_k")):
        value = 0.35 + 0.4 * size * (method != HOSTILE)
        rows.append((method, modality, metric, value, value - 0.05, value + 0.05, 0.35, 60))
    return framed("planted_evidence", rows, "method modality metric value low high chance utterances")


MADE = {
    "attribution_completeness": completeness,
    "attribution_faithfulness": faithfulness,
    "deletion_curve": curve,
    "deletion_area": area,
    "attribution_sanity": sanity,
    "attribution_agreement": agreement,
    "planted_evidence": evidence,
}


def texts(figure) -> str:
    return str(figure.to_dict())


@pytest.mark.parametrize("name", list(MADE))
def test_draws_what_the_table_gives_and_leaves_its_frame_alone(name):
    frame = MADE[name]()
    assert set(VIEWS[name].needs) <= set(TABLES[VIEWS[name].table].columns)
    before = frame.copy(deep=True)
    figure = VIEWS[name](frame)
    pd.testing.assert_frame_equal(frame, before)
    assert len(figure.data)
    assert "baseline: zeros · routing frozen" in figure.layout.title.subtitle.text
    assert "<b>" not in texts(figure).replace("&lt;b&gt;", "")
    assert "&lt;b&gt;own&lt;/b&gt;" in texts(figure)


@pytest.mark.parametrize("name", list(MADE))
def test_settings_that_differ_stand_with_the_method(name):
    frame = MADE[name]()
    frame["baseline"] = np.where(frame["method"] == HOSTILE, "missing", "zero")
    said = texts(VIEWS[name](frame))
    assert "own&lt;/b&gt; · baseline: missing · routing frozen" in said
    assert "integrated gradients · baseline: zeros · routing frozen" in said


@pytest.mark.parametrize("name", list(MADE))
def test_an_empty_frame_gives_a_note(name):
    frame = MADE[name]().iloc[:0]
    assert "Nothing to draw" in VIEWS[name](frame).layout.annotations[0].text
    assert "nothing" in VIEWS[name].read(frame)


@pytest.mark.parametrize(("name", "said"), [
    ("attribution_completeness", "“integrated gradients” misses less than 1 % of the difference to the baseline in the median utterance"),
    ("attribution_completeness", "own</b>” misses 50 % of the difference to the baseline in the median utterance (90th percentile: 100"),
    ("attribution_faithfulness", "for “integrated gradients” (0.20 [0.10, 0.30], a random order 1.00) and beyond chance for 1 of 2"),
    ("deletion_curve", "the prediction moves by 0.45 [0.43, 0.47] in the order of “integrated gradients”, by 0.20 in"),
    ("deletion_area", "1 of 2 methods beat a random order beyond chance, most of all “integrated gradients” by 0.200 [0.150"),
    ("attribution_sanity", "“integrated gradients” it falls (1.00 to 0.00 [-0.05, 0.04]) and for “<b>own</b>” it does not fall (1.00"),
    ("attribution_agreement", "is most alike between “integrated_gradients” and “<b>own</b>” (0.60 [0.50, 0.70])"),
    ("planted_evidence", "the largest step is evidence: 0.75 [0.70, 0.80] for “integrated gradients” (a random order 0.35; 1 of 2 beyond"),
])  # fmt: skip
def test_read_names_the_winner_and_its_numbers(name, said):
    assert said in VIEWS[name].read(MADE[name]())


@pytest.mark.parametrize(("name", "said"), [
    ("attribution_faithfulness", "beyond chance for 0 of 2"),
    ("deletion_curve", "(no more than chance)"),
    ("deletion_area", "0 of 2 methods beat a random order"),
    ("attribution_sanity", "“integrated gradients” it does not fall"),
    ("attribution_agreement", "no more than chance"),
    ("planted_evidence", "0 of 2 beyond chance"),
])  # fmt: skip
def test_read_says_when_there_is_nothing_beyond_chance_and_only_then(name, said):
    assert said in VIEWS[name].read(MADE[name](0.0))
    assert said not in VIEWS[name].read(MADE[name]())


def test_one_method_alone_agrees_with_nobody():
    frame = agreement()
    alone = frame[(frame["method"] == METHODS[0]) & (frame["other"] == METHODS[0])]
    assert "nothing to agree with" in VIEWS["attribution_agreement"].read(alone)
    assert len(VIEWS["attribution_agreement"](alone, modality="text").data) == 1
    with pytest.raises(ValueError, match="text"):
        VIEWS["attribution_agreement"](frame, modality="smell")


def drawn(figure, name: str, axis: str = "x", panel: str = "x") -> np.ndarray:
    traces = [t for t in figure.data if t.name == name and t.mode != "lines" and (t.xaxis or "x") == panel]
    return np.concatenate([np.asarray(getattr(t, axis), dtype=float) for t in traces])


def test_gains_and_areas_are_those_of_the_frame():
    frame = area()
    figure = VIEWS["deletion_area"](frame)
    for kind in ("deletion", "insertion"):
        part = frame[frame["kind"] == kind]
        assert drawn(figure, kind) == pytest.approx(part["area"])
        assert drawn(figure, kind, panel="x2") == pytest.approx(part["gain"], abs=1e-6)


def test_evidence_stands_beside_chance():
    frame = evidence()
    figure = VIEWS["planted_evidence"](frame)
    pointing = frame[(frame["metric"] == "pointing") & (frame["method"] == METHODS[0])]
    assert drawn(figure, "integrated gradients") == pytest.approx(pointing["value"])
    assert drawn(figure, "random order") == pytest.approx(pointing["chance"])


def test_a_gap_of_nothing_finds_a_place_on_the_logarithm():
    figure = VIEWS["attribution_completeness"](completeness())
    assert drawn(figure, "median (95 %)").min() == pytest.approx(1e-8)
    assert figure.layout.xaxis.type == "log"


def test_curves_show_every_method_and_the_random_order_once():
    figure = VIEWS["deletion_curve"](curve())
    assert sum(t.name == "random order" and t.showlegend is True for t in figure.data) == 1
    assert [t.line.dash for t in figure.data if t.name == "random order" and t.line.width == 3] == ["dash", "dash"]
    assert drawn(figure, "integrated gradients", "y") == pytest.approx(np.sqrt(np.linspace(0, 1, 11)), abs=1e-6)
