"""The figure of a notebook: all of it in one trait, a selection of whole numbers, and a plain figure where nobody watches."""

from __future__ import annotations

import gzip
import json
import os
from types import SimpleNamespace

import nbformat
import numpy as np
import plotly.graph_objects as go
import pytest
from widget_notebook import written

from msaviz.app import figure as module
from msaviz.app.figure import MIME, Figure, library, live
from msaviz.app.notebook import run_notebook
from msaviz.viz import theme

PLACES = np.arange(50)


def points(count: int = 50, **layout: object) -> go.Figure:
    x = np.linspace(0, 1, count, dtype=np.float32)
    return go.Figure(go.Scatter(x=x, y=x, mode="markers", customdata=PLACES[:count]), layout=layout)


def test_the_whole_figure_is_one_trait():
    drawn = Figure(points(title_text="</script> %{x}"), label="Fifty points")
    spec = json.loads(drawn.spec)
    assert set(spec) == {"data", "layout"}
    assert "template" not in spec["layout"], "the browser chooses it"
    assert spec["layout"]["title"]["text"] == "</script> %{x}"
    assert spec["data"][0]["x"]["dtype"] == "f4", "numbers stay packed"
    assert drawn.label == "Fifty points"
    assert drawn.keys.count("spec") == 1


def test_every_change_is_the_whole_figure_again():
    drawn, seen = Figure(points(5)), []
    drawn.observe(lambda change: seen.append(json.loads(change["new"])["layout"]["title"]["text"]), "spec")
    for step in range(20):
        drawn.figure = points(5, title_text=str(step))
    assert seen == [str(step) for step in range(20)]
    assert drawn.figure.layout.title.text == "19"


def test_what_was_given_is_never_changed():
    given = points(height=300)
    before = given.to_json()
    drawn = Figure(given)
    assert given.to_json() == before
    assert drawn.figure.layout.height == 300
    assert drawn.figure.layout.paper_bgcolor is None
    assert drawn.figure.layout.template.layout.paper_bgcolor == theme.template("light").layout.paper_bgcolor
    given.data[0].x = []
    assert len(drawn.figure.data[0].x) == 50


def test_only_a_figure_is_a_figure():
    with pytest.raises(ValueError, match="not dict"):
        Figure().figure = {"data": []}


def test_a_selection_is_whole_numbers_in_order():
    drawn, seen = Figure(points()), []
    drawn.observe(lambda change: seen.append(change["new"]), "selection")
    drawn.selection = (np.int64(7), 3, 3)
    assert drawn.selection == (3, 7)
    assert all(type(number) is int for number in drawn.selection)
    drawn.selection = (3, 7, 7)
    drawn.set_state({"selection": [9, 1]})  # as a browser sends it
    assert drawn.selection == (1, 9)
    assert seen == [(3, 7), (1, 9)]
    with pytest.raises(ValueError, match="whole numbers"):
        drawn.selection = ("a",)
    with pytest.raises(ValueError, match="whole numbers"):
        drawn.selection = (1.5,)
    assert drawn.selection == (1, 9)


def test_a_change_of_the_figure_keeps_the_selection():
    drawn = Figure(points())
    drawn.selection = (4, 5)
    drawn.figure = points(10)
    assert drawn.selection == (4, 5)


@pytest.mark.parametrize(
    ("parent", "server", "expected"),
    [
        ({"content": {"allow_stdin": True}}, "", True),
        ({"content": {"allow_stdin": False}}, "", False),
        ({"content": {"allow_stdin": False}}, "voila/0.5.13", True),
        ({"content": {"comm_id": "x"}}, "", True),
        (None, "", True),
    ],
)
def test_a_browser_may_be_there(parent, server, expected, monkeypatch):
    monkeypatch.setenv("SERVER_SOFTWARE", server)
    kernel = SimpleNamespace(get_parent=lambda channel: parent)
    monkeypatch.setattr("IPython.core.getipython.get_ipython", lambda: SimpleNamespace(kernel=kernel))
    assert live() is expected


def test_without_a_kernel_nobody_watches():
    assert not live()
    assert Figure(points()).library is None


def test_plotly_is_carried_once_and_packed(monkeypatch):
    from plotly.offline import get_plotlyjs, get_plotlyjs_version

    monkeypatch.setattr(module, "live", lambda: True)
    one, other = Figure(points()), Figure(points())
    assert one.library is other.library is library()
    assert gzip.decompress(one.library.code).decode() == get_plotlyjs()
    assert len(one.library.code) < 2_000_000
    dress = json.loads(one.library.dress)
    assert dress["version"] == get_plotlyjs_version()
    assert dress["config"] == theme.CONFIG
    assert dress["templates"]["dark"]["layout"]["paper_bgcolor"] == theme.template("dark").layout.paper_bgcolor
    own = sum(len(value) for value in one.get_state().values() if isinstance(value, str | bytes))
    assert own < 30_000, "a figure carries its own data and a small script"


def test_both_the_widget_and_a_plain_figure_are_offered(monkeypatch):
    plain, _ = Figure(points(), label="Fifty points")._repr_mimebundle_()
    assert set(plain) == {MIME, "text/plain"}
    assert plain[MIME]["config"] == theme.CONFIG
    assert plain[MIME]["layout"]["template"]
    assert plain["text/plain"] == "Fifty points"
    monkeypatch.setattr(module, "live", lambda: True)
    both, _ = Figure(points())._repr_mimebundle_()
    assert set(both) == {MIME, "text/plain", "application/vnd.jupyter.widget-view+json"}
    assert json.dumps(both[MIME])


def test_a_run_without_a_browser_saves_plain_figures(tmp_path):
    source = written(tmp_path / "tiny.ipynb", shown=("left", "right"))
    path = run_notebook(str(source), tmp_path / "out")
    assert os.path.getsize(path) < 200_000
    outputs = [o for cell in nbformat.read(path, as_version=4).cells for o in cell.get("outputs", [])]
    figures = [o.data for o in outputs if MIME in o.get("data", {})]
    assert [data[MIME]["layout"]["title"]["text"] for data in figures] == ["Value 0", "Chosen 0"]
    assert [data["text/plain"] for data in figures] == ["A hundred points", "The chosen points"]
    assert not any("widget" in kind for o in outputs for kind in o.get("data", {}))


def test_a_subtitle_goes_with_the_title():
    figure = go.Figure(layout={"title": {"text": "Words", "subtitle": {"text": "of one"}}})
    title = json.loads(Figure(figure).spec)["layout"]["title"]
    assert title["text"] == 'Words<br><span style="font-size:13px">of one</span>'
    assert "subtitle" not in title
    assert Figure(figure).figure.layout.title.subtitle.text == "of one"
