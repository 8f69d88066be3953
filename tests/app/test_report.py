"""The report: one whole file, no text read as markup, floors and seeds beside numbers, scores kept."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from tiny_runs import trained

from msaviz.app import markup, pages, sections, subject
from msaviz.app import report as module
from msaviz.app.groups import grouped
from msaviz.app.report import LIMIT, report
from msaviz.app.results import evaluated, over_seeds, summary
from msaviz.catalog import TABLES, VIEWS
from msaviz.training.kept import weights_mark
from msaviz.training.published import published
from msaviz.training.run import Run


@pytest.fixture(scope="module")
def written(tiny, tmp_path_factory) -> str:
    path = report(list(tiny.values()), tmp_path_factory.mktemp("report") / "report.html", selection="published")
    assert path.stat().st_size < LIMIT
    return path.read_text(encoding="utf-8")


class Reader(HTMLParser):
    """Tags as a browser would find them."""

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def of(self, kind: str) -> list[dict]:
        return [attributes for tag, attributes in self.tags if tag == kind]


def test_it_asks_for_nothing_outside_itself(written):
    tags = Reader(written)
    outside = [
        a
        for kind in ("script", "img", "link", "iframe")
        for a in tags.of(kind)
        if a.get("src") or not (a.get("href") or "data:").startswith("data:")
    ]
    assert outside == []
    assert "default-src 'none'" in tags.of("meta")[1]["content"]
    assert written.count("plotly.js v") == 1


def test_every_entry_leads_somewhere_and_every_figure_has_its_numbers(written):
    tags = Reader(written)
    anchors = [a["id"] for _, a in tags.tags if "id" in a]
    assert len(anchors) == len(set(anchors))
    assert {a["href"][1:] for a in tags.of("a")} <= set(anchors)
    figures = [a["data-page"] for a in tags.of("div") if a.get("class") == "figure"]
    assert len(figures) > 20
    assert set(figures) <= {a.get("id") for a in tags.of("script")}
    assert "could not be made" not in written


def test_it_says_seeds_floors_options_data_and_environment(written):
    for text in (
        "constant predictor",
        "2 seeds",
        "± ",
        "model.experts",
        "fingerprint",
        "torch",
        "--seed 1",
        "95 % interval",
        "How to read this",
    ):
        assert text in written


def test_a_selection_on_the_test_split_is_stamped(written):
    assert "Selection “published”" in written
    assert "Too good by construction" in written


def test_scores_are_kept_until_the_weights_change(tiny, tmp_path, monkeypatch):
    report(tiny["derl"], tmp_path / "first.html")
    kept = sorted((tiny["derl"] / "evaluations").iterdir())
    assert len(kept) == 2 * len(module.PROTOCOLS)
    assert all(weights_mark(tiny["derl"]) in path.name for path in kept)
    before = evaluated(Run.open(tiny["derl"]), "missing")

    def never(*_, **__):
        raise AssertionError("measured again")

    monkeypatch.setattr("msaviz.training.kept.evaluate_predictions", never)
    again = evaluated(Run.open(tiny["derl"]), "missing")
    pd.testing.assert_frame_equal(before, again)
    assert weights_mark(tiny["derl"]) != weights_mark(tiny["again"])


def test_runs_that_differ_in_their_seed_are_one_group(tiny, tmp_path):
    groups = grouped(list(tiny.values()))
    assert [(group.label, group.seeds) for group in groups] == [("derl", [0, 1]), ("early_fusion", [0])]
    assert len(grouped([tiny["derl"], tiny["derl"]])[0].runs) == 1
    other = trained(tmp_path, "derl-0", seed=1)  # the same folder name, other options
    groups = grouped([tiny["derl"], other])
    assert [group.label for group in groups] == [f"derl ({tiny['derl'].parent.name}/derl-0)", f"derl ({tmp_path.name}/derl-0)"]


def test_a_report_is_whole_or_absent(tiny, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="folder"):
        report(tiny["plain"], tmp_path)
    with pytest.raises(ValueError, match="no split"):
        report(tiny["plain"], tmp_path / "x.html", split="nonsense")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="not a run"):
        report(tmp_path / "empty", tmp_path / "x.html")
    assert not (tmp_path / "x.html").exists()


def test_a_page_that_fails_is_told_in_its_place(tiny, tmp_path, monkeypatch):
    def broken(self, page):
        raise RuntimeError("<b>broken</b>")

    monkeypatch.setattr(subject.Subject, "answer", broken)
    told: list[str] = []
    html = report(tiny["plain"], tmp_path / "x.html", progress=told.append).read_text(encoding="utf-8")
    assert "RuntimeError: &lt;b&gt;broken&lt;/b&gt;" in html
    assert any("RuntimeError" in line for line in told)


HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


def test_no_text_of_the_data_becomes_markup():
    frame = pd.DataFrame({HOSTILE: [HOSTILE], "value": [1.5]})
    figure = go.Figure(go.Scatter(x=[1], y=[2], name=HOSTILE))
    html = markup.page("key", HOSTILE, figure, frame, reading=HOSTILE, explain=HOSTILE)
    tags = Reader(html)
    assert len(tags.of("script")) == 1
    assert tags.of("img") == []
    assert "\u2028" not in markup.embedded({"a": "\u2028<!--"})
    assert "<" not in markup.embedded({"a": "\u2028<!--"})


def test_a_number_is_a_cell():
    assert [markup.number(v) for v in (0.12345, 12345.6, np.nan, None, 3, "<")] == ["0.123", "12,346", "", "", "3", "&lt;"]


KINDS = ("trace", "sweep", "history", "comparison", "results", "evolution")


def test_pages_cover_the_catalog_once_and_exist():
    named = [page.name for chapter in pages.CHAPTERS for page in chapter.pages]
    assert set(named) <= set(VIEWS)
    found = [page.name for of in KINDS for chapter in pages.chapters(of) for page in chapter.pages]
    assert set(found) == {name for name in VIEWS if TABLES[VIEWS[name].table].of != "conditions"}, "conditions are made by hand"
    assert all(VIEWS[name].table in TABLES for name in found)


def test_a_strange_view_gets_a_chapter(monkeypatch):
    class More(dict):
        pass

    views = More({name: VIEWS[name] for name in VIEWS} | {"strange": VIEWS["router_health"]})
    monkeypatch.setattr(pages, "VIEWS", views)
    assert [page.name for page in list(pages.chapters("trace"))[-1].pages] == ["strange"]


def test_means_over_seeds_by_hand():
    rows = [
        {"model": "a", "protocol": "clean", "rate": 0.0, "subset": "x", "metric": "mae", "value": v, "floor": 2.0} for v in (1.0, 2.0, 4.0)
    ]
    found = over_seeds(pd.DataFrame(rows)).iloc[0]
    assert found["runs"] == 3
    assert found["mean"] == pytest.approx(7 / 3)
    assert found["sd"] == pytest.approx(np.std([1, 2, 4], ddof=1))
    table = summary(pd.DataFrame(rows[:1]))
    assert table.loc["x", "mae"] == 1.0
    assert table.loc["floor", "mae"] == 2.0


def test_arrows_follow_the_direction_of_the_metric():
    assert module.sections._mark("mae", 1.0, 2.0) == "good"
    assert module.sections._mark("corr", 0.1, 0.2) == "bad"
    assert re.fullmatch("", module.sections._mark("corr", np.nan, 0.2))


def test_published_figures_stand_beside_with_their_protocol_where_the_data_have_some(tiny, monkeypatch):
    groups = grouped([tiny["derl"]])
    sweep = groups[0].sweep("missing", "test")
    assert sections.published(groups, sweep) == ""
    monkeypatch.setattr(sections, "named_in", lambda name: published("mosi"))
    shown = sections.published(groups, sweep)
    assert "per-metric best on test, mean over r = 0..0.9" in shown
    assert "constant predictor" in shown
    assert shown.count("<tr>") > 10
