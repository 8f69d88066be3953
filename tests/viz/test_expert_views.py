"""Do the pictures of routers and experts in depth show the numbers of their frames, and say how sure these are?"""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from msaviz.catalog import TABLES, VIEWS
from msaviz.viz import theme
from msaviz.viz.expert_examples import cut

HOSTILE = "<script>alert(1)</script> %{y} <b>x</b>"
ROUTERS = (("private", "text"), ("shared", "text"), ("shared", "audio"))


def knockout() -> pd.DataFrame:
    """Expert 1 is worth .4 where the label is negative, and nothing elsewhere."""
    rows = []
    groups = (("all", "all"), ("domain", "film"), ("domain", "meal"), ("label", "negative"), ("label", "positive"), ("modality", "text"))
    for (router, modality), e, (by, group) in product(ROUTERS, range(2), groups):
        value = 0.4 * ((router, modality, e, group) == ("shared", "audio", 1, "negative"))
        rows.append((router, modality, e, by, group, "mae", value, value - 0.05, value + 0.05, 0.5, 40))
    columns = ["router", "modality", "expert", "by", "group", "metric", "value", "low", "high", "gate", "utterances"]
    return pd.DataFrame(rows, columns=columns).assign(run="derl-0", split="test")


def swaps(size: float = 1.0) -> pd.DataFrame:
    """The decision of the shared router about text is worth .2."""
    rows = []
    for (router, modality), swap in product(ROUTERS, ("uniform", "mean", "shuffled", "other modality: audio")):
        if "other" in swap and (router, modality) != ("shared", "text"):
            continue
        value = size * 0.2 * ((router, modality, swap) == ("shared", "text", "uniform"))
        rows.append((router, modality, swap, "mae", value, value - 0.03, value + 0.04, 50))
    columns = ["router", "modality", "swap", "metric", "value", "low", "high", "utterances"]
    return pd.DataFrame(rows, columns=columns).assign(run="derl-0", split="test")


def examples() -> pd.DataFrame:
    rows = []
    for (router, modality), e, rank in product(ROUTERS, range(2), range(1, 6)):
        token = "awful" if (router, modality, e, rank) == ("private", "text", 1, 1) else f"word{rank}" if modality == "text" else ""
        gate = (0.9 if token == "awful" else 0.7) - 0.02 * rank
        text = f"a film that was {token or 'long'} and then some more of it, and again, and so on until nobody looked"
        rows.append((router, modality, e, rank, 10 * e + rank, 3, token, text, gate, gate / 2, -1.25, -0.5))
    columns = ["router", "modality", "expert", "rank", "example", "time", "token", "text", "gate", "share", "label", "prediction"]
    return pd.DataFrame(rows, columns=columns).assign(run="derl-0", split="test")


def epochs(kept: tuple[int, ...] = (2, 4, 8)) -> pd.DataFrame:
    """Expert 0 of the private router takes over; a quarter of its tokens still move at the end."""
    rows = []
    for (router, modality), (i, epoch), e in product(ROUTERS, enumerate(kept), range(2)):
        load = 0.5 + (0.1 * i if router == "private" else 0.0) * (1 - 2 * e)
        moved = np.nan if i == 0 else 0.25 if router == "private" else 0.0
        rows.append((epoch, router, modality, e, load, load - 0.02, load + 0.02, moved))
    columns = ["epoch", "router", "modality", "expert", "load", "low", "high", "switched"]
    return pd.DataFrame(rows, columns=columns).assign(run="derl-0", split="test")


def information(value: float = 0.3) -> pd.DataFrame:
    rows = []
    for (router, modality), variable in product(ROUTERS, ("domain", "label", "time")):
        found = value if (router, variable) == ("private", "domain") else 0.01
        rows.append((router, modality, variable, found, 0.012, 0.002, 0.03, 0.003 if found > 0.03 else 0.5, 4))
    columns = ["router", "modality", "variable", "value", "chance", "low", "high", "p", "experts"]
    return pd.DataFrame(rows, columns=columns).assign(run="derl-0", split="test")


def path() -> pd.DataFrame:
    """text and audio share their importance as 3 to 1; a contributor is called like its modality."""
    rows = [(0, "text", "local/text · expert 0", 0.6, "expert"), (0, "text", "local/text · expert 1", 0.15, "expert")]
    rows += [(1, "local/text · expert 0", "text", 0.6, "contributor"), (1, "local/text · expert 1", "text", 0.15, "contributor")]
    rows += [(0, "audio", "audio", 0.25, "contributor")]
    rows += [(2, "text", "prediction", 0.75, "prediction"), (2, "audio", "prediction", 0.25, "prediction")]
    return pd.DataFrame(rows, columns=["stage", "source", "target", "value", "kind"]).assign(run="haemsa-0", split="test")


def importances(modalities: tuple[str, ...] = ("text", "audio", "vision"), rows: int = 40) -> pd.DataFrame:
    """Film rests on the first modality, meal on the second."""
    found = []
    for i, (m, modality) in product(range(rows), enumerate(modalities)):
        top = i % 2
        value = 0.6 if m == top else 0.4 / (len(modalities) - 1)
        found.append((i, ("film", "meal")[top], 1.0, 0.5, -0.5, modality, value + 0.001 * (i % 5 - 2) * (1 - 2 * (m == 0))))
    columns = ["example", "domain", "label", "prediction", "error", "modality", "value"]
    return pd.DataFrame(found, columns=columns).assign(run="derl-0", split="test")


MADE = {
    "expert_knockout": knockout,
    "router_swap": swaps,
    "expert_examples": examples,
    "routing_epochs": epochs,
    "expert_information": information,
    "prediction_path": path,
    "importance_map": importances,
}


def drawn(figure: go.Figure, axis: str, name: str) -> np.ndarray:
    return np.concatenate([np.asarray(getattr(trace, axis), dtype=float) for trace in figure.data if trace.name == name])


def texts(value):
    if isinstance(value, dict):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list | tuple | np.ndarray):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, str):
        yield value


@pytest.mark.parametrize("name", MADE)
def test_draws_in_both_themes_and_leaves_its_frame_alone(name):
    frame = MADE[name]()
    assert set(VIEWS[name].needs) <= set(frame.columns) <= set(TABLES[VIEWS[name].table].columns)
    before = frame.copy(deep=True)
    figure = VIEWS[name](frame)
    pd.testing.assert_frame_equal(frame, before)
    assert len(figure.data)
    dark = str(theme.styled(figure, theme="dark").to_dict()["data"])
    assert not [colour for colour in theme.COLOURS if colour in dark]


@pytest.mark.parametrize("name", MADE)
def test_no_text_of_the_data_becomes_markup(name):
    frame = MADE[name]()
    columns = [c for c in frame if c not in ("metric", "swap", "by", "kind") and frame[c].map(type).eq(str).all()]
    frame = frame.assign(**{c: frame[c] + HOSTILE for c in columns})
    figure = VIEWS[name](frame, **({"by": "label"} if name == "expert_knockout" else {}))
    layout = {k: v for k, v in figure.to_dict()["layout"].items() if k != "template"}
    found = [text for text in texts({"data": figure.to_dict()["data"], "layout": layout}) if "alert(1)" in text or "script" in text]
    assert found
    assert not [text for text in found if "<script" in text or "<b>" in text or "%{y} &lt;" in text]


@pytest.mark.parametrize(("name", "said"), [
    ("router_swap", "the same gates for all experts in place of those of router “shared” (text) the MAE grows by 0.200 [0.170, 0.240]"),
    ("expert_examples", "0.88, is that of expert 1 of router “private” (text) in row 11 at “awful” of the utterance “a film"),
    ("routing_epochs", "25 % of the tokens of router “private” (text) changed their expert, of “shared” (text) 0 %; in the end expert"),
    ("expert_information", "the domain in 1 of 3 routers (most: “private” (text) 0.300 nats, chance 0.012, p = 0.003), the label in 0"),
    ("prediction_path", "on text 75 % and audio 25 %; the widest way is local/text · expert 0 (60 % of all"),
    ("importance_map", "In 50 % of 40 utterances text counts most; the mean importance (± standard deviation) is text 0.40"),
])  # fmt: skip
def test_read_names_the_winner_and_its_numbers(name, said):
    assert said in VIEWS[name].read(MADE[name]())


def test_read_says_where_there_is_nothing():
    assert "No router's decision is missed beyond chance" in VIEWS["router_swap"].read(swaps(0.0))
    better = swaps(0.0).assign(value=-0.1, low=-0.2, high=-0.05)
    assert "in 10 of them the model is better with the other gates" in VIEWS["router_swap"].read(better)
    assert "the domain in 0 of 3 routers" in VIEWS["expert_information"].read(information(0.01))
    assert "Only epoch 2 was kept" in VIEWS["routing_epochs"].read(epochs((2,)))
    alike = importances().assign(value=1 / 3)
    assert "weighs the modalities alike" in VIEWS["importance_map"].read(alike)
    assert "no router stands between" in VIEWS["prediction_path"].read(path().query("kind != 'expert' and source == 'audio'"))


@pytest.mark.parametrize("name", MADE)
def test_two_runs_under_each_other_may_repeat_their_index(name):
    frame = MADE[name]()
    both = pd.concat([frame, frame.assign(run="again")])
    assert VIEWS[name].read(both).endswith(".")
    assert len(VIEWS[name](both).data) >= len(VIEWS[name](frame).data)


def test_knockout_by_a_grouping_of_choice():
    frame = knockout()
    view = VIEWS["expert_knockout"]
    assert {t.name for t in view(frame).data} == {"no change", "all", "film", "meal"}
    figure = view(frame, by="label")
    assert {t.name for t in figure.data} == {"no change", "all", "negative", "positive"}
    negative = frame.loc[frame["group"] == "negative", "value"]
    np.testing.assert_allclose(np.sort(drawn(figure, "x", "negative")), np.sort(negative), atol=1e-6)
    assert {t.name for t in view(frame, by="all").data} == {"no change", "all"}
    with pytest.raises(ValueError, match="no grouping 'x' in this frame; it has all, domain, label, modality"):
        view(frame, by="x")
    labels = frame[frame["by"].isin(["all", "label"])]
    assert "without expert 1 of router “shared” (audio): for label “negative” the MAE grows by 0.400" in view.read(labels)
    assert "No expert is worth more than chance in any domain" in view.read(frame)


def test_swaps_stand_beside_the_line_of_no_change():
    frame = swaps()
    figure = VIEWS["router_swap"](frame)
    np.testing.assert_allclose(drawn(figure, "x", "its mean gates"), frame.loc[frame["swap"] == "mean", "value"], atol=1e-6)
    assert drawn(figure, "x", "its mean gates for audio").shape == (1,)
    assert set(drawn(figure, "x", "no change")) == {0.0}


def test_the_table_of_examples_holds_the_words():
    frame = examples()
    figure = VIEWS["expert_examples"](frame, router="private", ranks=2)
    (table,) = figure.data
    cells = dict(zip(table.header["values"], table.cells["values"], strict=True))
    assert list(cells["expert"]) == ["0", "", "1", ""]
    assert list(cells["token"]) == ["word1", "word2", "awful", "word2"]
    assert all("film" in text and text.endswith("…") for text in cells["transcript"])
    assert figure.layout.annotations[0].text == "router private · text"
    assert len(VIEWS["expert_examples"](frame).data) == len(ROUTERS)
    with pytest.raises(ValueError, match="no router 'x' in this frame; it has private, shared"):
        VIEWS["expert_examples"](frame, router="x")


@pytest.mark.parametrize(("text", "token", "letters", "expected"), [
    ("a short one", "short", 20, "a short one"),
    ("several\nlines  here", "", 30, "several lines here"),
    ("0123456789 needle 0123456789", "needle", 12, "…89 needle …"),
    ("needle and a long rest", "needle", 10, "needle an…"),
    ("a long start and a needle", "needle", 10, "… a needle"),
    ("很长很长很长很长", "", 8, "很长很…"),
])  # fmt: skip
def test_transcripts_are_cut_around_the_token(text, token, letters, expected):
    assert cut(text, token, letters) == expected


def test_epochs_as_lines_with_an_even_split():
    figure = VIEWS["routing_epochs"](epochs())
    line = next(t for t in figure.data if t.name == "expert 0" and t.mode == "lines+markers")
    np.testing.assert_allclose(line.y, [0.5, 0.6, 0.7], rtol=1e-6)
    np.testing.assert_allclose(line.x, [2, 4, 8])
    assert set(drawn(figure, "y", "even split")) == {0.5}
    titles = [axis.title.text for axis in figure.select_xaxes()]
    assert titles[0] == "epoch (last step: 25 % of tokens moved)"
    assert "nothing to compare" in str(VIEWS["routing_epochs"](epochs((2,))).layout.xaxis.title.text)


def test_information_beside_its_chance():
    frame = information()
    figure = VIEWS["expert_information"](frame)
    np.testing.assert_allclose(np.sort(drawn(figure, "x", "mutual information")), np.sort(frame["value"]), rtol=1e-6)
    chance = next(t for t in figure.data if str(t.name).startswith("chance"))
    np.testing.assert_allclose(chance.x + chance.error_x.array, 0.03, rtol=1e-5)
    np.testing.assert_allclose(chance.x - chance.error_x.arrayminus, 0.002, rtol=1e-4)


def test_the_flow_keeps_nodes_of_one_name_apart():
    (flow,) = VIEWS["prediction_path"](path()).data
    labels = list(flow.node.label)
    assert sorted(label for label in labels if label.startswith("text")) == ["text (75 %)", "text (75 %)"]
    assert "prediction (100 %)" in labels
    assert "local/text · expert 1 (15 %)" in labels
    np.testing.assert_allclose(flow.link.value, path()["value"], rtol=1e-6)
    into, out = (np.bincount(ends, flow.link.value, minlength=len(labels)) for ends in (flow.link.target, flow.link.source))
    inner = (into > 0) & (out > 0)
    assert inner.sum() == 4
    np.testing.assert_allclose(into[inner], out[inner], rtol=1e-6)
    two = pd.concat([path(), path().assign(run="again")])
    assert [t.domain.y for t in VIEWS["prediction_path"](two).data] == [(0.5, 0.9), (0.0, 0.4)]


def test_three_modalities_are_a_triangle_two_a_strip():
    view, frame = VIEWS["importance_map"], importances()
    figure = view(frame)
    assert {t.type for t in figure.data} == {"scatterternary"}
    assert [t.name for t in figure.data] == ["film", "meal"]
    assert len({t.marker.symbol for t in figure.data}) == len({t.marker.color for t in figure.data}) == 2
    for trace in figure.data:
        np.testing.assert_allclose(np.add(np.add(trace.a, trace.b), trace.c), 1, atol=0.01)
    film = frame[(frame["domain"] == "film") & (frame["modality"] == "text")]["value"]
    np.testing.assert_allclose(figure.data[0].a, film, rtol=1e-6)
    strip = view(importances(("text", "audio")))
    assert {t.type for t in strip.data} <= {"scatter", "scattergl"}
    np.testing.assert_allclose(strip.data[0].x.mean(), 0.6, atol=0.01)
    assert strip.layout.xaxis.title.text == "importance of text (the rest is audio)"
    four = view(importances(("text", "audio", "vision", "gaze")))
    assert len(four.data) == 0
    assert "two or three modalities; here there are 4" in four.layout.annotations[0].text
