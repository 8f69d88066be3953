"""Do the linked views of a run say what the model says, keep what was chosen, and refuse in words what cannot be?"""

import json
import re

import numpy as np
import pytest
from tiny_runs import trained
from widget_notebook import HOSTILE, hostile_run, run_on

from msaviz import explore
from msaviz.app.whatif import Change, look

SHAPES = {"gaze": (90, 5, 3), "speech": (90, 6, 4)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("explored")


@pytest.fixture(scope="module")
def path(folder):
    return trained(folder, "derl-0")


@pytest.fixture
def explorer(path):
    return explore(path)


def predicted(explorer) -> list[float]:
    """The numbers of the chosen utterance's line: before, and after a change."""
    line = explorer.said.value.split("<br>")[0]
    return [float(number) for number in re.findall(r"<b>(-?[\d.]+)</b>", line)]


def mean(explorer, rows) -> str:
    found = look(explorer.run, rows).examples
    return f"mean label {found['label'].mean():.2f}, mean prediction <b>{found['prediction'].mean():.2f}</b>"


def bars(figure) -> dict:
    """Heights of the last condition by panel and name of the bar."""
    last = [trace for trace in figure.figure.data if trace.name in (figure.figure.data[-1].name,)]
    return {(trace.xaxis, name): height for trace in last for name, height in zip(trace.x, trace.y, strict=True)}


def test_what_is_selected_on_one_map_is_selected_on_the_other_and_listed(explorer):
    for figure, other, rows in ((explorer.map, explorer.scatter, (3, 5, 9)), (explorer.scatter, explorer.map, (1, 2))):
        figure.selection = rows
        assert other.selection == explorer.selection == rows
        assert [row for _, row in explorer.utterance.options] == list(rows)
        assert explorer.utterance.value in rows
        assert f"{len(rows)} selected" in explorer.said.value
    names = [trace.name for trace in explorer.routing.figure.data]
    assert "mean of 2 selected" in names


def test_the_chosen_utterance_stays_chosen(explorer):
    explorer.selection = (3, 5, 9)
    explorer.utterance.value = 9
    explorer.words.value = (1,)
    explorer.selection = (2, 9)
    assert explorer.utterance.value == 9
    assert explorer.words.value == (1,), "what is hidden of it stays hidden"
    explorer.selection = ()
    assert explorer.utterance.value == 9
    explorer.selection = (2,)
    assert explorer.utterance.value == 2
    assert explorer.words.value == (), "another utterance has its own words"


def test_the_chosen_one_is_listed_however_many_are_selected(explorer, monkeypatch):
    monkeypatch.setattr("msaviz.app.explore.LISTED", 5)
    monkeypatch.setattr("msaviz.app.explore.AVERAGED", 3)
    explorer.selection = (20,)
    explorer.selection = range(30)
    assert [row for _, row in explorer.utterance.options] == [0, 1, 2, 3, 20]
    assert explorer.utterance.value == 20
    assert f"3 of 30 selected: {mean(explorer, (0, 14, 29))}" in explorer.said.value


def test_a_row_that_is_not_there_is_refused_and_changes_nothing(explorer):
    explorer.selection = (3, 5)
    with pytest.raises(ValueError, match=r"row 99999 is not on the maps, which show \d+ rows of test"):
        explorer.selection = (3, 99999)
    assert explorer.map.selection == explorer.selection == (3, 5)
    with pytest.raises(ValueError, match="no representation is called 'nonsense'; these exist: fused"):
        explore(explorer.run, representation="nonsense")


def test_controls_do_what_look_says(explorer):
    row = explorer.utterance.value
    whole = look(explorer.run, row).examples["prediction"].iloc[0]
    assert predicted(explorer) == [pytest.approx(whole, abs=0.006)]
    steps = [
        (lambda: setattr(explorer.rates["text"], "value", 0.5), Change(rates={"text": 0.5})),
        (lambda: setattr(explorer.rates["text"], "value", 0.0), Change()),
        (lambda: setattr(explorer.dropped["audio"], "value", True), Change(dropped=("audio",))),
        (lambda: setattr(explorer.words, "value", (0, 2)), Change(dropped=("audio",), hidden={"text": (0, 2)})),
        (
            lambda: setattr(explorer.off, "value", (("private/text", 1),)),
            Change(dropped=("audio",), hidden={"text": (0, 2)}, off=(("private/text", 1),)),
        ),
    ]
    for act, change in steps:
        act()
        assert explorer.change == change
        trace = look(explorer.run, row, change)
        after = [trace.examples["prediction"].iloc[0]] if change != Change() else []
        assert predicted(explorer) == [pytest.approx(value, abs=0.006) for value in (whole, *after)]
        drawn = sorted(value for value in bars(explorer.importance).values() if np.isfinite(value))
        assert drawn == pytest.approx(sorted(trace.outputs[0].importance[0].tolist()), abs=1e-5)
    first = explorer.routing.figure.data[-1]
    assert first.name == "after the change"
    gates = [trace.y[1] for trace in explorer.routing.figure.data if trace.name == first.name]
    assert 0 in gates, "an expert that is off has no gate"
    assert "audio" not in str(explorer.transcript.figure.layout.annotations), "nothing is attributed to what is gone"
    explorer.undo()
    assert explorer.change == Change()
    assert predicted(explorer) == [pytest.approx(whole, abs=0.006)]
    assert "audio" in str(explorer.transcript.figure.layout.annotations)


def test_what_the_selected_say_together_changes_too(explorer):
    explorer.selection = rows = (1, 4, 6, 8)
    explorer.rates["text"].value = 0.6
    before, after = (look(explorer.run, rows, change).examples["prediction"].mean() for change in (None, Change(rates={"text": 0.6})))
    told = re.findall(r"mean prediction <b>(-?[\d.]+)</b>", explorer.said.value)
    assert [float(number) for number in told] == [pytest.approx(before, abs=0.006), pytest.approx(after, abs=0.006)]
    alone = [look(explorer.run, row, Change(rates={"text": 0.6})).examples["prediction"].iloc[0] for row in rows]
    assert after == pytest.approx(np.mean(alone), abs=1e-4), "together they say what each says alone"


def test_what_cannot_be_is_said_and_loses_nothing(explorer):
    explorer.rates["text"].value = 0.3
    drawn = [figure.spec for figure in (explorer.map, explorer.scatter, *explorer.pictures)]
    for box in explorer.dropped.values():
        box.value = True
    assert "<b>Not possible:</b> one modality must stay" in explorer.said.value
    assert predicted(explorer), "the utterance is still named"
    assert explorer.rates["text"].value == 0.3
    explorer.dropped["text"].value = explorer.dropped["vision"].value = explorer.dropped["audio"].value = False
    assert [figure.spec for figure in (explorer.map, explorer.scatter, *explorer.pictures)] == drawn
    explorer.off.value = tuple(pair for _, pair in explorer.off.options if pair[0] == "private/text")
    assert "private/text: one expert must stay" in explorer.said.value
    explorer.undo()
    assert "Not possible" not in explorer.said.value


def test_a_method_that_refuses_says_so_in_the_transcripts_place(explorer, monkeypatch):
    def refuse(*_, **__):
        raise ValueError("too <b>hard</b>")

    monkeypatch.setattr("msaviz.app.explore.attribute", refuse)
    explorer.rates["text"].value = 0.3
    assert len(predicted(explorer)) == 2
    assert "too &lt;b&gt;hard&lt;/b&gt;" in explorer.transcript.figure.layout.annotations[0].text


def test_the_selection_stays_when_figures_change(explorer):
    explorer.selection = (3, 5, 9)
    for control, value in ((explorer.colour, "domain"), (explorer.colour, "expert"), (explorer.representation, "shared/text")):
        before = explorer.map.spec
        control.value = value
        assert explorer.map.spec != before
        assert explorer.map.selection == explorer.scatter.selection == (3, 5, 9)
        numbers = np.concatenate([trace.customdata for trace in explorer.map.figure.data])
        assert set(numbers[:, 0].tolist()) == set(explorer.rows.tolist())


@pytest.mark.parametrize("model", ["early_fusion", "midg", "haemsa"])
def test_other_models(folder, model):
    explorer = explore(trained(folder, model, model=model))
    output = explorer.trace.outputs[0]
    assert len(explorer.pictures) == 1 + bool(output.routing) + (output.importance is not None)
    explorer.selection = (0, 3)
    explorer.rates["text"].value = 0.9
    assert len(predicted(explorer)) == 2
    for name in explorer.colour.options:
        explorer.colour.value = name
    assert explorer.widget.children


def test_classes_by_name_and_data_without_words(folder):
    codes = np.arange(90) * 7 % 3
    names = np.array(["calm", "glad", "tense"])[codes]
    source = run_on(folder, "classes", codes.astype("float32"), SHAPES, labels=names)
    explorer = explore(source)
    assert re.search(r"label (calm|glad|tense), predicted <b>(calm|glad|tense)</b>", explorer.said.value)
    assert explorer.scatter.figure.data[0].type == "heatmap"
    assert explorer.words.description == "Hide in gaze"
    assert [name for name, _ in explorer.words.options] == [f"{i} step" for i in range(5)]
    explorer.selection = (0, 1, 2)
    assert re.search(r"3 selected: \d of 3 right", explorer.said.value)
    explorer.words.value = (0, 1, 2, 3)
    assert "after the change" in explorer.said.value
    explorer.dropped["speech"].value = True
    assert re.search(r"\d of 3 right, after the change \d of 3 right", explorer.said.value)


def test_what_is_hostile_is_text_everywhere(folder):
    explorer = explore(hostile_run(folder))
    explorer.selection = (1, 3)
    explorer.words.value = (1,)
    for markup in ("<script", "<img", "<b onclick", "</script"):
        assert markup not in explorer.said.value
        for figure in (explorer.map, explorer.scatter, *explorer.pictures):
            shown = json.dumps(json.loads(figure.spec))
            assert markup not in shown, figure.label
    assert "&lt;img src=x onerror=window.__fired=1&gt;" in explorer.said.value
    assert "tex2jax_ignore" in explorer.said.value, "a price is no mathematics"
    drawn = [text for trace in explorer.transcript.figure.data for text in (trace.text if isinstance(trace.text, tuple) else ())]
    assert len(drawn) == 1 + len(HOSTILE)
    assert all(control.description_allow_html is False for control in (explorer.utterance, explorer.words, explorer.off))
