"""Do the pictures of attributions show the numbers of their frames, and name method, baseline and routing?"""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from msaviz.catalog import TABLES, VIEWS

MODALITIES = ("text", "audio", "vision")
DOMAINS = ("all", "film", "phone")
HOSTILE = "<script>alert(1)</script> %{x}"
METHODS = (("integrated_gradients", "zero", "frozen"), ("occlusion", "missing", "live"))


def headed(frame: pd.DataFrame, methods=METHODS) -> pd.DataFrame:
    """The same numbers for each method; those of the second are half as large."""
    parts = []
    for i, (method, baseline, routing) in enumerate(methods):
        head = {"run": "derl", "split": "test", "method": method, "baseline": baseline, "routing": routing}
        parts.append(frame.assign(**head, value=frame["value"] / (i + 1)))
    return pd.concat(parts, ignore_index=True)


def tokens(words: str = "a really good film", said: float = -1.5) -> pd.DataFrame:
    """Word number k brings .1 k, "good" -.9; audio brings .3 at its second step and vision nothing."""
    rows = [
        ("text", k, word, -0.9 if word == "good" else 0.1 * k, "yes" if word == "good" else "no") for k, word in enumerate(words.split())
    ]
    rows += [("audio", k, "", 0.3 * (k == 1), "") for k in range(4)] + [("vision", k, "", 0.0, "") for k in range(3)]
    frame = pd.DataFrame(rows, columns=["modality", "time", "token", "value", "evidence"])
    one = frame.assign(example=7, domain="film", label=-2.0, prediction=said, text=words)
    return headed(pd.concat([one, one.assign(example=9, label=np.nan)]))


def modalities() -> pd.DataFrame:
    """Text has a half, audio .3, vision .2; by occlusion audio has most."""
    rows = []
    for (method, baseline, routing), domain, (i, m) in product(METHODS, DOMAINS, enumerate(MODALITIES)):
        share = ((0.5, 0.3, 0.2) if method != "occlusion" else (0.3, 0.5, 0.2))[i]
        rows.append(("derl", "test", method, baseline, routing, domain, m, -share, share, share, share - 0.05, share + 0.05, 60))
    return pd.DataFrame(rows, columns=list(TABLES["modality_attribution"].columns))


def features() -> pd.DataFrame:
    """The size of feature k is 2 / (k + 1), .5 to either side; the odd ones push down."""
    rows = [(m, k, (-1) ** k * 1.0, 2 / (k + 1), 2 / (k + 1) - 0.5, 2 / (k + 1) + 0.5, k + 1) for m in MODALITIES for k in range(20)]
    return headed(pd.DataFrame(rows, columns=["modality", "feature", "value", "size", "low", "high", "rank"]))


def words() -> pd.DataFrame:
    """Word k of 40 brings (20 - k) / 20 with .12 to either side: the middle ones hold zero."""
    frame = pd.DataFrame({"token": [f"w{k}" for k in range(40)], "value": [(20 - k) / 20 for k in range(40)]})
    return headed(frame.assign(low=frame["value"] - 0.12, high=frame["value"] + 0.12, count=9, utterances=6))


def shapley(size: float = 1.0) -> pd.DataFrame:
    """Text is worth 1, the others .2; text and audio are redundant by `size`."""
    parts = [(m, "value", 1.0 if m == "text" else 0.2) for m in MODALITIES]
    parts += [("text+audio", "interaction", -size), ("text+vision", "interaction", 0.0), ("text+audio+vision", "interaction", 0.01)]
    rows = []
    for domain, (part, kind, x) in product(DOMAINS, parts):
        rows.append(("derl", "test", "missing", "live", domain, part, kind, x / 2, x / 2 - 0.1, x / 2 + 0.1))
        rows[-1] += (abs(x), abs(x) - 0.1, abs(x) + 0.1, x, x - 0.1, x + 0.1, 60)
    return pd.DataFrame(rows, columns=list(TABLES["modality_shapley"].columns))


def experts() -> pd.DataFrame:
    """Expert e of a pool has the size .1 (e + 1); the odd ones push down."""
    rows = []
    for (kind, start), domain, m, e in product((("gates", "no expert"), ("conductance", "zero")), DOMAINS, MODALITIES, range(4)):
        size = 0.1 * (e + 1) + 0.5 * ((kind, m, e) == ("gates", "audio", 2))
        rows.append(
            ("derl", "test", kind, start, "frozen", "private", m, e, domain, (-1) ** e * size, size, 0.1, size - 0.02, size + 0.02, 60)
        )
    return pd.DataFrame(rows, columns=list(TABLES["expert_attribution"].columns))


MADE = {
    "token_attribution": tokens,
    "modality_attribution": modalities,
    "feature_attribution": features,
    "word_attribution": words,
    "modality_shapley": shapley,
    "expert_attribution": experts,
}
NAMES = list(MADE)


def drawn(figure: go.Figure, axis: str, name: str) -> np.ndarray:
    return np.concatenate([np.asarray(getattr(trace, axis), dtype=float) for trace in figure.data if trace.name == name])


def spoken(figure: go.Figure) -> list:
    """The traces that hold the words of a transcript."""
    return [trace for trace in figure.data if trace.type == "scatter" and trace.mode == "text"]


def written(figure: go.Figure) -> str:
    """All that a reader of the figure sees of its layout and legend."""
    titles = [annotation.text for annotation in figure.layout.annotations]
    return " | ".join([figure.layout.title.text, figure.layout.title.subtitle.text, *titles, *(trace.name or "" for trace in figure.data)])


@pytest.mark.parametrize("name", NAMES)
def test_the_frames_made_here_have_the_columns_of_the_table(name):
    assert set(VIEWS[name].needs) <= set(MADE[name]().columns) <= set(TABLES[name].columns)


@pytest.mark.parametrize("name", NAMES)
def test_draws_and_leaves_its_frame_alone(name):
    frame = MADE[name]()
    before = frame.copy(deep=True)
    figure = VIEWS[name](frame)
    said = VIEWS[name].read(frame)
    pd.testing.assert_frame_equal(frame, before)
    assert len(figure.data)
    assert said.endswith(".")
    assert "nan" not in said.lower()
    twice = pd.concat([frame, frame.assign(run="again")])  # its index repeats
    assert len(VIEWS[name](twice).data) >= len(figure.data)
    assert VIEWS[name].read(twice).endswith(".")


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_frame_gives_a_note(name):
    figure = VIEWS[name](MADE[name]().iloc[:0])
    assert "Nothing to draw" in figure.layout.annotations[0].text
    assert "nothing" in VIEWS[name].read(MADE[name]().iloc[:0])


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_says_its_baseline_and_routing(name):
    text = written(VIEWS[name](MADE[name]()))
    wanted = {"modality_shapley": ["baseline: missing", "routing live"]}.get(name, ["baseline: zeros", "routing frozen"])
    if name == "modality_attribution":
        wanted += ["occlusion · baseline: missing · routing live"]
    if name not in ("modality_shapley", "expert_attribution"):
        wanted += ["integrated gradients"]
    for one in wanted:
        assert one in text
        if name != "modality_attribution":
            assert one in VIEWS[name].read(MADE[name]())


@pytest.mark.parametrize("name", NAMES)
def test_text_from_the_data_is_escaped(name):
    frame = MADE[name]()
    for column in ("run", "method", "baseline", "routing", "modality", "token", "domain", "part", "router"):
        if column in frame:
            frame[column] = frame[column].where(frame[column].isin(["all", ""]), frame[column].astype(str) + HOSTILE)
    shown = VIEWS[name](frame).to_json().replace("\\u003c", "<").replace("\\u003e", ">")
    assert "alert(1)" in shown
    assert "<script" not in shown
    assert ") %{x}" not in shown


def test_a_word_has_its_bar_above_or_below():
    figure = VIEWS["token_attribution"](tokens())
    assert "utterance 7 (film): predicted -1.50, label -2.00" in figure.layout.title.subtitle.text
    up, down = (next(t for t in figure.data if t.name == name and t.xaxis == "x") for name in ("pushes up", "pushes down"))
    assert [told[0] for told in up.customdata] == ["really", "film"]
    assert [told[0] for told in down.customdata] == ["good"]
    assert (np.array(up.base) > 0).all()
    assert (np.array(up.y) > 0).all()
    assert (np.array(down.base) < 0).all()
    assert down.y[0] / up.y[1] == pytest.approx(-0.9 / 0.3)
    audio = [t for t in figure.data if t.name == "pushes up" and t.xaxis == "x2"]
    assert [float(t.y[0]) for t in audio] == pytest.approx([0.3])
    assert len({axis.range for axis in list(figure.select_yaxes())[1:]}) == 1  # one scale
    assert "planted evidence" in written(figure)
    assert "planted evidence" not in written(VIEWS["token_attribution"](tokens("nothing to see")))


def test_an_utterance_and_a_method_are_chosen():
    figure = VIEWS["token_attribution"](tokens(), example=9, method="occlusion")
    assert "occlusion · baseline: missing · routing live" in figure.layout.title.subtitle.text
    assert "utterance 9 (film): predicted -1.50, label n/a" in figure.layout.title.subtitle.text
    with pytest.raises(ValueError, match="no example 3 in this frame; it has 7, 9"):
        VIEWS["token_attribution"](tokens(), example=3)
    with pytest.raises(ValueError, match="no method 'x' in this frame; it has integrated_gradients, occlusion"):
        VIEWS["token_attribution"](tokens(), method="x")
    classes = tokens().assign(prediction="glad", label="sad")
    assert "predicted glad, label sad" in VIEWS["token_attribution"](classes).layout.title.subtitle.text


@pytest.mark.parametrize("word", ["word", "电影电影"])
def test_a_long_transcript_wraps_and_nothing_overlaps(word):
    figure = VIEWS["token_attribution"](tokens(" ".join([word, "and", "so"] * 40)))
    text = spoken(figure)[0]
    wide = np.array([2 * len(w) if w == "电影电影" else len(w) for w in text.text])
    places = pd.DataFrame({"line": text.y, "left": text.x - wide / 2, "right": text.x + wide / 2})
    assert places["line"].nunique() > 4
    assert places["left"].min() >= 0
    assert places["right"].max() <= 84
    for _, line in places.groupby("line"):
        assert (line["left"].to_numpy()[1:] - line["right"].to_numpy()[:-1] >= 0.99).all()
    assert figure.layout.height > 700
    endless = VIEWS["token_attribution"](tokens("x" * 500))
    assert max(len(w) for w in spoken(endless)[0].text) < 84


def test_without_tokens_text_is_bars_over_time():
    figure = VIEWS["token_attribution"](tokens().assign(token=""))
    assert not spoken(figure)
    assert "tallest" not in written(figure)
    assert drawn(figure, "y", "pushes down") == pytest.approx([-0.9])


def test_read_of_an_utterance():
    said = VIEWS["token_attribution"].read(tokens())
    assert "text step" not in said
    assert "“good” (text, step 2) pushes down most (-0.900)" in said
    assert "81 % text, 19 % audio and 0 % vision" in said
    assert "planted evidence is 9 % of the steps and holds 56 % of it" in said
    assert "rank correlations of 1.00 (occlusion · baseline: missing · routing live)" in said
    alone = tokens().query("method == 'occlusion'")
    assert "one method's answer" in VIEWS["token_attribution"].read(alone)
    assert "nothing pushes down" in VIEWS["token_attribution"].read(alone[alone["value"] >= 0])


def test_shares_beside_an_even_split():
    frame = modalities()
    figure = VIEWS["modality_attribution"](frame)
    name = "integrated gradients · baseline: zeros · routing frozen"
    np.testing.assert_allclose(drawn(figure, "x", name), frame.loc[frame["method"] != "occlusion", "share"], rtol=1e-6)
    assert drawn(figure, "x", "even split") == pytest.approx(1 / 3)
    one = VIEWS["modality_attribution"](frame, domain="film")
    assert len(drawn(one, "x", name)) == 3
    with pytest.raises(ValueError, match="no domain 'x' in this frame; it has all, film, phone"):
        VIEWS["modality_attribution"](frame, domain="x")
    said = VIEWS["modality_attribution"].read(frame)
    assert "rest most on “text”: 50 % of the mean size [45 %, 55 %] over 60 utterances" in said
    assert "0 of 1 other methods name it first too, others “audio” (occlusion" in said
    assert "overlaps" not in said
    assert "overlaps" in VIEWS["modality_attribution"].read(frame.assign(low=frame["low"] - 0.2))
    assert "Nothing was attributed" in VIEWS["modality_attribution"].read(frame.assign(share=np.nan))


def test_the_first_features_of_each_modality():
    figure = VIEWS["feature_attribution"](features(), top=4)
    assert sorted(drawn(figure, "x", "pushes up on average")) == pytest.approx(sorted([2, 2 / 3] * 3))
    assert sorted(drawn(figure, "x", "pushes down on average")) == pytest.approx(sorted([1, 0.5] * 3))
    assert set(drawn(figure, "x", "mean of all features of the modality").round(4)) == {round(2 / 20 * sum(1 / k for k in range(1, 21)), 4)}
    assert len({trace.marker.pattern.shape for trace in figure.data if trace.type == "bar"}) == 2
    said = VIEWS["feature_attribution"].read(features())
    assert "number 0 of “text”: 2.000 [1.500, 2.500], 1 other interval of its features reaches it" in said
    assert "first 10 of the 20" in said


def test_the_extreme_words_and_which_are_sure():
    figure = VIEWS["word_attribution"](words(), top=5)
    assert list(figure.layout.yaxis.ticktext[:5]) == [f"w{k} (9×)" for k in range(5)]
    assert list(figure.layout.yaxis.ticktext[5:]) == [f"w{k} (9×)" for k in range(35, 40)]
    assert drawn(figure, "x", "pushes up") == pytest.approx([1, 0.95, 0.9, 0.85, 0.8])
    whole = VIEWS["word_attribution"](words(), top=100)
    assert np.abs(drawn(whole, "x", "pushes up (interval holds zero)")).max() == pytest.approx(0.1)
    assert drawn(whole, "x", "pushes up").min() == pytest.approx(0.15)
    assert [t.marker.symbol for t in whole.data if t.name == "pushes down (interval holds zero)"] == ["square-open"]
    said = VIEWS["word_attribution"].read(words())
    assert "of 40 words “w0” pushes up most (1.000 [0.880, 1.120], 9 times) and “w39” pushes down most (-0.950" in said
    assert "35 intervals exclude zero (chance alone gives about 2)" in said
    assert "none pushes down" in VIEWS["word_attribution"].read(words().query("value > 0"))


def test_values_beside_interactions():
    frame = shapley()
    figure = VIEWS["modality_shapley"](frame)
    for kind, axis in (("value", "x"), ("interaction", "x2")):
        found = np.concatenate([np.asarray(t.x) for t in figure.data if t.xaxis == axis and t.name == "film"])
        mine = frame[(frame["domain"] == "film") & (frame["kind"] == kind)]
        np.testing.assert_allclose(found, mine["synergy"], rtol=1e-6)
    titles = [axis.title.text for axis in figure.select_xaxes()]
    assert titles == ["moves the prediction onwards →", "← redundancy · synergy →"]
    assert set(drawn(figure, "x", "zero")) == {0}
    signed = VIEWS["modality_shapley"](frame, quantity="value", domain="all")
    np.testing.assert_allclose(drawn(signed, "x", "all domains"), frame.query("domain == 'all'")["value"], rtol=1e-6)
    error = next(t for t in signed.data if t.name == "all domains").error_x
    assert np.asarray(error.array) == pytest.approx(0.1)
    with pytest.raises(ValueError, match="no quantity 'x' in this frame; it has synergy, value, size"):
        VIEWS["modality_shapley"](frame, quantity="x")


def test_read_tells_redundancy_from_synergy_and_from_chance():
    read = VIEWS["modality_shapley"].read
    assert "“text” moves the number most: 1.000 [0.900, 1.100] in size" in read(shapley())
    assert "1 of 3 interactions exclude zero, most of all text+audio with -1.000 [-1.100, -0.900]: redundancy" in read(shapley())
    assert "with 1.000 [0.900, 1.100]: synergy" in read(shapley(-1.0))
    assert "no interaction is beyond chance" in read(shapley(0.0))
    assert read(shapley().query("kind == 'value'")).endswith("in size.")


def test_experts_have_their_numbers_and_intervals():
    figure = VIEWS["expert_attribution"](experts())
    gates, conductance = figure.data
    assert gates.z.shape == conductance.z.shape == (3, 4)
    assert conductance.z[1] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert gates.text[1][2] == "+ 0.80<br>[0.78, 0.82]"
    assert gates.text[0][1] == "− 0.20<br>[0.18, 0.22]"
    assert "Integrated Gradients of the gates · baseline: no expert" in written(figure)
    one = VIEWS["expert_attribution"](experts(), kind="gates", domain="film")
    assert len(one.data) == 1
    assert "film, 60 utterances" in one.layout.title.subtitle.text
    assert "no expert" in one.layout.title.subtitle.text
    with pytest.raises(ValueError, match="no domain 'x'"):
        VIEWS["expert_attribution"](experts(), domain="x")
    said = VIEWS["expert_attribution"].read(experts())
    assert "most goes through expert 2 of “private” (audio): 0.800 [0.780, 0.820]" in said
    assert "2 other intervals reach it" in said  # expert 3 of all three modalities, by conductance


def test_routers_of_unlike_size_leave_cells_empty():
    frame = experts()
    frame = frame[(frame["modality"] != "text") | (frame["expert"] < 2)]
    heat = VIEWS["expert_attribution"](frame).data[0]
    row = list(heat.y).index("text")
    assert np.isnan(heat.z[row][2:]).all()
    assert list(heat.text[row][2:]) == ["", ""]
