"""Is a text of the data ever more than a text: on our pages, in a real browser, in Markdown, LaTeX, CSV and in a terminal?"""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import pytest
from browser_tools import Visit, chromium
from canary import ESCAPES, OPENED, PAYLOADS, PLACE, Elements, dataset, hostile_run, results_pages
from endurance import TIMES, tell, tries
from hypothesis import given, settings
from hypothesis import strategies as st
from places import ROOT

from msaviz.app.cli import main
from msaviz.app.report import report
from msaviz.app.results_table import plain
from msaviz.interpret import domain_gap
from msaviz.terminal import OBEYED, say, visible
from msaviz.viz.theme import safe

HOVER = """() => {
    let shown = 0, made = 0;
    for (const div of document.querySelectorAll('.figure.js-plotly-plot')) for (const [curve, trace] of div._fullData.entries()) {
        const panel = (trace.xaxis || 'x') + (trace.yaxis || 'y');
        if (!div._fullLayout._plots?.[panel]) continue;
        Plotly.Fx.hover(div, [{curveNumber: curve, pointNumber: trace.type === 'heatmap' ? [0, 0] : 0}], panel);
        shown += div.querySelectorAll('.hoverlayer .hovertext').length;
        made += div.querySelectorAll('svg a').length;
    }
    return [shown, made];
}"""
"""JavaScript: show what the pointer would be told over every trace; how often something was shown, and links in it."""
DRAWN = "[...document.querySelectorAll('.figure svg text')].map(e => e.textContent).join('\\n')"
LINKED = "document.querySelectorAll('svg a').length"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("canary")


@pytest.fixture(scope="module")
def run(folder) -> Path:
    return hostile_run(folder, model="early_fusion" if TIMES == 1 else "derl")


@pytest.fixture(scope="module")
def pages(folder, run) -> list[Path]:
    """The report, the results, a comparison and an evolution."""
    with pytest.MonkeyPatch.context() as patch:  # numbers that take half a minute, and hold no word
        patch.setattr(domain_gap, "proxy_a_distance", lambda *_, **__: (1.0, 0.5))
        told = report(run, folder / f"report {PLACE.replace('/', '')}.html")
    return [told, *(page for turn in range(tries(1)) for page in results_pages(folder / f"tables{turn}", 5 * turn))]


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with chromium() as opened:
        yield opened


def test_no_payload_is_an_element(pages):
    for page in pages:
        found = Elements(page.read_text(encoding="utf-8"))
        assert found.count > 20
        assert found.made == []
        assert "could not be made" not in page.read_text(encoding="utf-8")
    assert Elements(f"<p>{PAYLOADS[6]}").made, "a payload that is let through is found"


def test_nothing_fires_in_a_browser(browser, pages):
    """All pages, everything opened, pointed at and taken away, by day and by night."""
    shown = fired = 0
    for page in pages:
        visit = Visit(browser, page.as_uri(), "html[data-figures]")
        dialogs: list[str] = []
        visit.page.on("dialog", lambda dialog, dialogs=dialogs: (dialogs.append(dialog.message), dialog.dismiss()))
        visit.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        figures = visit.count(".figure")
        assert visit.page.get_attribute("html", "data-figures") == f"{figures}/{figures}"
        pointed, linked = visit.page.evaluate(HOVER)
        shown, fired = shown + pointed, fired + linked
        visit.page.click("#theme")
        if visit.count("button[data-csv]"):
            with visit.page.expect_download() as waiting:
                visit.page.locator("button[data-csv]").last.click()
            assert re.fullmatch(r"[a-z0-9_-]+\.csv", waiting.value.suggested_filename)
        fired += len(visit.page.evaluate(OPENED)) + visit.page.evaluate(LINKED) + len(dialogs)
        fired += visit.page.evaluate("window.__canary !== undefined")
        if page == pages[0]:
            drawn = visit.page.evaluate(DRAWN).replace("\xa0", " ")
            assert all(domain in drawn for domain in dataset().spec.domains), "a figure shows a text as it is"
        assert [url for url in visit.asked if not url.startswith(("data:", "blob:"))] == [page.as_uri()]
        assert visit.complaints == []
        visit.page.close()
    tell("HTML: payloads x pages, in a browser", len(PAYLOADS) * len(pages), fired=fired)
    assert fired == 0
    assert shown > 50


def test_what_is_let_through_is_noticed(browser, folder):
    """The trap works: one payload as markup, and one as a link in a figure."""
    script = "<script>addEventListener('load', () => document.documentElement.dataset.figures = '')</script>"
    (folder / "open.html").write_text(f"<html><body>{PAYLOADS[2]}{PAYLOADS[6]}<svg><a href=x><text>x</text></a></svg>{script}")
    visit = Visit(browser, (folder / "open.html").as_uri(), "html[data-figures]")
    assert visit.page.evaluate("window.__canary") == 3
    assert len(visit.page.evaluate(OPENED)) >= 2
    assert visit.page.evaluate(LINKED) == 2
    visit.page.close()


def test_tables_in_markdown_are_text(pages):
    from markdown_it import MarkdownIt

    reader = MarkdownIt("gfm-like", {"linkify": False, "html": True})
    for turn in range(tries(1)):
        text = (pages[1 + 3 * turn].parent / "results.md").read_text(encoding="utf-8")
        tokens = [token for block in reader.parse(text) for token in (block, *(block.children or ()))]
        kinds = {token.type for token in tokens}
        assert {"table_open", "strong_open"} <= kinds
        assert kinds.isdisjoint({"html_block", "html_inline", "link_open", "image", "code_inline", "s_open", "heading_open", "fence"})
        assert not re.search(r"\{\{|\{%", text), "what makes pages of Markdown often fills in templates first"
        assert not OBEYED.search(text)
    for payload in PAYLOADS:
        assert unescape(reader.render(plain(payload))).strip() == f"<p>{visible(' '.join(payload.split()))}</p>"


def test_tables_in_latex_command_nothing_new(pages):
    ours = {"begin", "end", "caption", "toprule", "midrule", "bottomrule", "bfseries", "textasciicircum", "textasciitilde"}
    ours |= {"textbackslash", "space"}
    for turn in range(tries(1)):
        text = (pages[1 + 3 * turn].parent / "results.tex").read_text(encoding="utf-8")
        assert set(re.findall(r"\\([A-Za-z]+)", text.replace("\\\\", ""))) <= ours
        assert "^" not in text, "^^5c is a backslash"
        assert not re.search(r"(?<!\\)[$#%~]", text)
        assert not OBEYED.search(text)


def test_csv_holds_every_text_as_it_is(pages):
    html = pages[1].read_text(encoding="utf-8")
    raw = re.search(r'<script type="application/json" id="data-0-mae-data">(.*?)</script>', html, re.S)
    assert raw
    frame = pd.read_csv(io.StringIO(json.loads(raw.group(1))["csv"]), keep_default_na=False)
    assert f"{PAYLOADS[0]}{PAYLOADS[9]}" in set(frame["model"])
    assert "is no formula" in html


def texts(value: object) -> Iterator[str]:
    """Every text in a tree."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from texts(inner)


def test_figures_that_a_notebook_makes_by_itself_hold_texts_as_they_are(folder, run, monkeypatch):
    """The notebook about data draws with plotly express, which escapes nothing."""
    shown: list[go.Figure] = []
    monkeypatch.setattr(go.Figure, "show", lambda figure, **_: shown.append(figure))
    cells = json.loads((ROOT / "notebooks" / "02_data.ipynb").read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    exec("\n".join([code[0], f"SOURCE = {str(folder / f'{PLACE}.msa')!r}", *code[1:]]), {})
    assert len(shown) == 2
    found = [text for figure in shown for text in texts(json.loads(figure.to_json() or ""))]
    assert all(any(safe(domain) in text for text in found) for domain in dataset().spec.domains)
    assert not any("<img" in text for text in found)


COMMANDS = (
    ("data", "inspect", "{data}"),
    ("data", "inspect", "{data}", "--json"),
    ("data", "inspect", f"{PLACE}{ESCAPES}"),
    ("data", "inspect", "{data}:" + PLACE),
    ("evaluate", "{run}"),
    ("evaluate", "{run}", "--protocol", "domains"),
    ("evaluate", "{run}", "--split", ESCAPES),
    ("evaluate", "{run}", "--task", ESCAPES),
    ("evaluate", f"{ESCAPES}"),
    ("train", ESCAPES, "--out", "{folder}/x"),
    ("train", "derl", "--out", "{folder}/x", "--set", ESCAPES),
    ("notebook", ESCAPES, "--out", "{folder}/x"),
    ("report", "{folder}", "--out", "{folder}/x.html"),
    ("compare", "--models", ESCAPES, "--out", "{folder}/x"),
)


def test_a_terminal_obeys_nothing(run, folder, capsys):
    source = str(folder / f"{PLACE}.msa")
    obeyed = 0
    for words in COMMANDS:
        with pytest.raises(SystemExit):
            main([word.replace("{data}", source).replace("{run}", str(run)).replace("{folder}", str(folder)) for word in words])
        said = capsys.readouterr()
        assert said.out + said.err
        found = OBEYED.findall(f"{said.out}{said.err}".replace("\r", ""))  # by which a progress bar goes back
        assert not found, words
        obeyed += len(found)
        if "--json" in words:
            assert json.loads(said.out)["name"] == dataset().name, "JSON says the same"
    tell("terminal: commands with control characters", len(COMMANDS), obeyed=obeyed)
    assert obeyed == 0


@given(st.text(st.characters(codec=None), max_size=30))
@settings(max_examples=tries(50), deadline=None)
def test_what_is_visible_has_no_control_and_json_means_the_same(text):
    shown = visible(text)
    assert not OBEYED.search(shown)
    assert visible(shown) == shown
    assert json.loads(visible(json.dumps(text, ensure_ascii=False))) == text


def test_any_text_can_be_said_where_the_terminal_knows_few_letters(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    say("é → \udcff \x1b[2J")
    assert raw.getvalue().decode("ascii").strip() == "\\xe9 \\u2192 \\udcff \\u001b[2J"
