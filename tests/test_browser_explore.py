"""Can a run be looked into in a real browser, in JupyterLab and on the page of `msaviz app`, with pointer and keyboard, and by night?

Its data are hostile: what stands in a transcript must be shown, never run. Screenshots for a person to look at go to screenshots/.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from browser_tools import Visit, chromium
from places import ROOT
from served import IDLE, Figures, Served, laboratory, run_all
from widget_notebook import HOSTILE, hostile_run

from msaviz.app.serve import prepared

NOTEBOOK = ROOT / "notebooks" / "09_explore.ipynb"
MAP, SCATTER, TRANSCRIPT = range(3)
"""The first figures on the page; then come gates and importance."""
TOP = (
    "document.activeElement.blur(); for (const e of document.querySelectorAll('.jp-WindowedPanel-outer, #rendered_cells')) e.scrollTop = 0"
)
HEIGHTS = "JSON.stringify(document.querySelectorAll('.msaviz-figure .js-plotly-plot')[3]._fullData.map(trace => Array.from(trace.y)))"
GAPS = """[...document.querySelectorAll('.msaviz-figure')].slice(0, 2).map(f =>
    f.querySelector('.legend').getBoundingClientRect().top - f.querySelector('.xtitle').getBoundingClientRect().bottom)"""
"""Between an axis title and the legend below it, pixels, on both maps."""
WINDOW = {"width": 1280, "height": 900}
WHOLE = {"width": 1280, "height": 2500}
NARROW = {"width": 800, "height": 2900}
CONTROLS = ("Representation", "Colour by", "Utterance", "Attribution", "Missing text", "Without text", "Missing vision", "Without vision")
CONTROLS += (
    "Hide in text",
    "Experts off",
    "Undo all changes",
    "Map of the",
    "Predictions against",
    "What each token",
    "Gates",
    "Importance",
)


@contextmanager
def lab(browser, run: Path, folder: Path) -> Iterator[Visit]:
    with laboratory(prepared(NOTEBOOK, run, folder)) as address:
        found = Visit(browser, address, IDLE, viewport=WHOLE)
        run_all(found.page)
        yield found


@contextmanager
def voila(browser, run: Path, folder: Path) -> Iterator[Visit]:
    with Served(run, NOTEBOOK, folder) as server:
        yield Visit(browser, server.address, "body", viewport=WHOLE)


FRONTS = {"lab": lab, "voila": voila}


class Explored(Figures):
    """The explorer on a page: what it says and shows."""

    def __init__(self, visit: Visit, name: str):
        super().__init__(visit, 5)
        self.name = name

    def said(self) -> str:
        return self.page.inner_text(".msaviz-explore [role=status]")

    def says(self, pattern: str) -> str:
        """Wait until what is said matches; what it is."""
        self.until("new RegExp(given).test(document.querySelector('.msaviz-explore [role=status]')?.innerText ?? '')", pattern)
        return self.said()

    def selected(self) -> list[str]:
        return [self.page.locator(".msaviz-figure").nth(n).get_attribute("data-selected") or "" for n in (MAP, SCATTER)]

    def heights(self) -> str:
        """All bars of the routing figure."""
        return self.page.evaluate(HEIGHTS)

    def title(self) -> str:
        return self.page.locator(".msaviz-figure").nth(TRANSCRIPT).inner_text()

    def listed(self) -> list[str]:
        return self.page.get_by_label("Utterance", exact=True).locator("option").all_inner_texts()


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return hostile_run(tmp_path_factory.mktemp("explored"))


@pytest.fixture(scope="module", params=FRONTS)
def shown(request, browser, run, tmp_path_factory) -> Iterator[Explored]:
    with FRONTS[request.param](browser, run, tmp_path_factory.mktemp("front")) as visit:
        yield Explored(visit, request.param)
        visit.page.close()


def test_what_is_hostile_is_shown_and_not_run(shown):
    said = shown.says("label .* predicted")
    assert all(word in said for word in HOSTILE)
    drawn = shown.title()
    assert all(word in drawn for word in HOSTILE)
    shown.page.wait_for_timeout(200)
    assert shown.page.evaluate("window.__fired") is None
    assert shown.page.evaluate("document.querySelectorAll('.msaviz-explore img').length") == 0


def test_a_slider_changes_what_is_said_and_the_gates_and_undo_takes_it_back(shown):
    before, gates = shown.says("predicted"), shown.heights()
    shown.page.locator(".noUi-handle").first.focus()
    for _ in range(7):
        shown.page.keyboard.press("ArrowRight")
    said = shown.says("after the change")
    shown.until(f"{HEIGHTS} !== given", gates)
    assert re.search(r"predicted -?\d\.\d\d, after the change -?\d\.\d\d", said)
    shown.page.get_by_label("Without audio").check()
    shown.page.get_by_label("Without vision").check()
    shown.page.get_by_label("Without text").check()
    assert "one modality must stay" in shown.says("Not possible")
    shown.page.get_by_role("button", name="Undo all changes").click()
    shown.until("document.querySelector('.msaviz-explore [role=status]').innerText === given", before)
    assert not shown.page.get_by_label("Without text").is_checked()


def test_a_box_on_one_map_selects_on_the_other_and_lists_who_it_is(shown):
    corners = """n => { const {xaxis, yaxis} = document.querySelectorAll('.msaviz-figure .js-plotly-plot')[n]._fullLayout,
        [l, r] = xaxis.range, [b, t] = yaxis.range;
        return [[l + (r - l) * .02, b + (t - b) * .98], [l + (r - l) * .55, b + (t - b) * .02]]; }"""
    for figure in (MAP, SCATTER):
        before = shown.selected()
        shown.move(figure, *map(tuple, shown.page.evaluate(corners, figure)))
        shown.until("document.querySelector('.msaviz-figure').dataset.selected !== given", before[0])
        shown.until("new Set([...document.querySelectorAll('.msaviz-figure')].slice(0, 2).map(f => f.dataset.selected)).size === 1")
        (count,) = set(shown.selected())
        assert 1 < int(count) < 40
        shown.says(f"{count} selected: mean label")
        assert len(shown.listed()) == int(count)


def test_another_utterance_has_another_transcript(shown):
    rows = shown.listed()
    before, said = shown.title(), shown.said()
    shown.page.get_by_label("Utterance", exact=True).select_option(index=1)
    number = rows[1].split()[0]
    assert shown.says(f"^Utterance {number} ") != said
    shown.until("document.querySelectorAll('.msaviz-figure')[2].innerText.includes(given)", f"word{80 + int(number)}")
    assert shown.title() != before
    assert len(shown.listed()) == len(rows), "the list stays"


def test_every_control_is_reached_with_the_tab_key_and_shows_it(shown):
    ask = """() => { const e = document.activeElement, ring = getComputedStyle(e),
        inner = parseFloat(getComputedStyle(e, '::after').borderTopWidth),
        label = e.ariaLabel || e.labels?.[0]?.innerText || e.closest('.widget-inline-hbox')?.innerText || e.innerText;
        return [label.trim(), ring.outlineStyle !== 'none' && parseFloat(ring.outlineWidth) >= 1 || inner >= 2]; }"""
    shown.page.locator(".msaviz-figure").first.focus()
    shown.page.keyboard.press("Shift+Tab")
    shown.page.keyboard.press("Tab")  # only the keyboard shows where it is
    reached = [shown.page.evaluate(ask)]
    for _ in range(60):
        shown.page.keyboard.press("Tab")
        reached.append(shown.page.evaluate(ask))
        if reached[-1][0].startswith("Importance"):
            break
    for control in CONTROLS:
        found = [ring for label, ring in reached if label.startswith(control)]
        assert found, f"{control} is not among {[label for label, _ in reached]}"
        assert all(found[-1:]), f"{control} has the focus and does not show it"


def test_it_looks_well_by_day_by_night_and_on_a_narrow_screen(shown):
    boxes = ".msaviz-explore, .msaviz-explore :is(.msaviz-pair, .msaviz-row, .jupyter-button, .widget-label)"
    cut = """boxes => [...document.querySelectorAll(boxes)]
        .filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth).map(e => e.className + e.innerText.slice(0, 40))"""
    for name, window in (("light", WHOLE), ("narrow", NARROW), ("window", WINDOW)):
        shown.page.set_viewport_size(window)
        shown.page.evaluate(TOP)
        shown.page.wait_for_timeout(500)
        shown.visit.shot(f"explore-{shown.name}-{name}")
        assert shown.page.evaluate(cut, boxes) == []
        assert shown.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    sliders = "Math.min(...[...document.querySelectorAll('.msaviz-explore .noUi-target')].map(e => e.clientWidth))"
    shown.page.set_viewport_size(NARROW)
    assert shown.page.evaluate(sliders) > 80
    shown.page.set_viewport_size(WHOLE)
    shown.until(f"({GAPS}).every(gap => gap >= 0)")
    shown.page.emulate_media(color_scheme="dark")
    if shown.name == "lab":
        shown.page.evaluate("window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})")
    shown.until("document.querySelectorAll('.msaviz-figure.dark').length === 5")
    shown.page.wait_for_timeout(700)
    shown.visit.shot(f"explore-{shown.name}-dark")
    ink = "e => getComputedStyle(document.querySelector(e)).color.match(/[0-9.]+/g).slice(0, 3).map(Number)"
    for words in (".msaviz-explore [role=status]", ".msaviz-explore .widget-label", ".msaviz-explore select"):
        assert min(shown.page.evaluate(ink, words)) > 180, f"{words} is legible by night"


def test_no_request_left_this_machine_no_button_uploads_and_nothing_complained(shown):
    shown.asked_nobody()
    asked = "[...document.querySelectorAll('.modebar-btn')].map(b => b.dataset.title || '')"
    assert not [said for said in shown.page.evaluate(asked) if "cloud" in said.lower() or "plotly" in said.lower()]
    assert shown.page.evaluate("window.__fired") is None
