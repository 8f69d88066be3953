"""Do linked figures lose nothing in a real browser, in JupyterLab and on the page that Voilà serves, and ask nobody else for anything?

Both show the same tiny notebook; screenshots for a person to look at go to screenshots/ (which git ignores).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from browser_tools import Visit, chromium
from served import IDLE, Figures, Served, laboratory, run_all
from widget_notebook import written

from msaviz.viz import theme

LEFT, RIGHT, AGAIN = range(3)
"""The figures on the page in order; the last is a second view of the first."""
ROW = {"width": 1100, "height": 1250}


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with chromium() as opened:
        yield opened


@contextmanager
def in_jupyterlab(browser, folder: Path) -> Iterator[Visit]:
    with laboratory(written(folder / "tiny.ipynb")) as address:
        found = Visit(browser, address, IDLE, viewport=ROW)
        run_all(found.page)
        yield found


@contextmanager
def on_voila(browser, folder: Path) -> Iterator[Visit]:
    run = folder / "run"
    run.mkdir()
    (run / "options.json").write_text("{}")
    (run / "done").touch()
    with Served(run, written(folder / "tiny.ipynb"), folder) as server:
        yield Visit(browser, server.address, "body", viewport=ROW)


FRONTS = {"jupyterlab": in_jupyterlab, "voila": on_voila}
QUICK = ["jupyterlab", pytest.param("voila", marks=pytest.mark.slow)]
"""What Voilà shows is looked at in test_browser_explore.py, too."""


class Shown(Figures):
    """The tiny notebook, all of its cells run: what can be done with it, and what is seen."""

    def titled(self, figure: int, title: str) -> None:
        """Wait for a title."""
        ask = "document.querySelectorAll('.msaviz-figure')[given[0]]?.querySelector('.gtitle')?.textContent === given[1]"
        self.until(ask, [figure, title])

    def marked(self, figure: int, count: int) -> None:
        """Wait for so many points to be drawn as selected: the others are pale."""
        pale = "[...document.querySelectorAll('.msaviz-figure')[given[0]].querySelectorAll('.point')].filter(p => +p.style.opacity < 1)"
        self.until(f"{pale}.length === given[1]", [figure, 100 - count if count else 0])

    def range(self, figure: int) -> list[float]:
        ask = "n => document.querySelectorAll('.msaviz-figure .js-plotly-plot')[n]._fullLayout.xaxis.range"
        return [round(value, 3) for value in self.page.evaluate(ask, figure)]


@pytest.fixture(scope="module", params=QUICK)
def shown(request, browser, tmp_path_factory) -> Iterator[Shown]:
    with FRONTS[request.param](browser, tmp_path_factory.mktemp("front")) as visit:
        found = Shown(visit, 3)
        yield found
        visit.shot(f"widget-{request.param}-last")
        visit.page.close()


def test_every_view_is_drawn_with_one_plotly(shown):
    for figure, title in ((LEFT, "Value 0"), (RIGHT, "Chosen 0"), (AGAIN, "Value 0")):
        shown.titled(figure, title)
    assert (
        shown.page.evaluate("Object.getOwnPropertySymbols(globalThis).filter(s => s.description?.startsWith('msaviz.plotly')).length") == 1
    )
    asked = "[...document.querySelectorAll('.modebar-btn')].map(b => b.dataset.title || '')"
    assert not [said for said in shown.page.evaluate(asked) if "cloud" in said.lower() or "plotly" in said.lower()]
    about = "[...document.querySelectorAll('.msaviz-figure')].map(f => [f.ariaLabel, f.getAttribute('role'), f.tabIndex])"
    names = ("A hundred points", "The chosen points", "A hundred points")
    assert shown.page.evaluate(about) == [[name, "application", 0] for name in names]


def test_every_box_reaches_python_and_the_linked_figure(shown, request):
    for width in range(3, 9):
        shown.move(LEFT, (-0.4, 8.5), (width - 0.5, 0.5))  # columns 0 to width-1 of rows 1 to 8
        first = ",".join(str(1000 + 10 * (1 + n // width) + n % width) for n in range(3))
        shown.titled(RIGHT, f"Chosen {8 * width}: {first}")
        shown.marked(LEFT, 8 * width)
        shown.marked(AGAIN, 8 * width)
    shown.visit.shot(f"widget-{request.node.callspec.id}")


def test_twenty_quick_steps_of_the_slider_end_where_they_should(shown):
    shown.page.focus(".noUi-handle")
    for _ in range(20):
        shown.page.keyboard.press("ArrowRight")
    shown.titled(LEFT, "Value 20")
    shown.titled(AGAIN, "Value 20")
    shown.marked(LEFT, 64)  # the selection stays


def test_a_burst_from_python_ends_with_its_last_word_and_python_selects(shown):
    shown.page.click('button:has-text("Burst")')
    shown.titled(RIGHT, "Chosen 2: 1007,1042")
    shown.marked(LEFT, 2)
    shown.page.click('button:has-text("Burst")')  # the selection is the same: nothing is linked, the last figure stays
    shown.titled(RIGHT, "Burst 20")


def test_a_click_selects_one_and_with_shift_one_more(shown):
    shown.move(LEFT, (3, 4))
    shown.titled(RIGHT, "Chosen 1: 1023")
    shown.page.keyboard.down("Shift")
    shown.move(AGAIN, (5, 6))
    shown.page.keyboard.up("Shift")
    shown.titled(RIGHT, "Chosen 2: 1023,1045")
    shown.marked(LEFT, 2)


def test_the_keyboard_walks_and_clears(shown, request):
    shown.page.locator(".msaviz-figure").nth(LEFT).focus()
    for key, number in (("ArrowRight", 1024), ("ArrowDown", 1025), ("ArrowLeft", 1024), ("ArrowUp", 1023), ("End", 1099), ("Home", 1000)):
        shown.page.keyboard.press(key)
        shown.titled(RIGHT, f"Chosen 1: {number}")
    ring = "getComputedStyle(document.activeElement, '::after').borderTopWidth + document.activeElement.ariaLabel"
    assert shown.page.evaluate(ring) == "3pxA hundred points", "the focus stays, and is seen"
    shown.visit.shot(f"widget-{request.node.callspec.id}-keyboard")
    shown.page.keyboard.press("Escape")
    shown.titled(RIGHT, "Chosen 0:")
    shown.marked(LEFT, 0)


def test_a_change_keeps_the_zoom_and_a_double_click_clears(shown):
    before = shown.range(RIGHT)
    shown.move(RIGHT, (1.5, 0.05), (5.5, 0.95))
    shown.until("document.querySelectorAll('.js-plotly-plot')[1]._fullLayout.xaxis.range[0] > 1")
    zoomed = shown.range(RIGHT)
    shown.move(LEFT, (-0.4, 8.5), (2.5, 0.5))
    shown.until("document.querySelectorAll('.msaviz-figure .gtitle')[1].textContent.startsWith('Chosen 2')")
    assert shown.range(RIGHT) == zoomed != before
    shown.page.wait_for_timeout(500)  # two clicks must not seem to belong to what went before
    shown.move(LEFT, (4.5, 4.5), clicks=2)
    shown.titled(RIGHT, "Chosen 0:")
    shown.marked(LEFT, 0)
    shown.marked(AGAIN, 0)


def test_dark_and_light_follow_the_theme(shown, request):
    ground = "getComputedStyle(document.querySelector('.msaviz-figure .main-svg')).backgroundColor"
    colours = {name: theme.template(name).layout.paper_bgcolor for name in ("light", "dark")}
    for name in ("dark", "light"):
        shown.page.evaluate("light => { document.body.dataset.jpThemeLight = light }", str(name == "light").lower())
        hexadecimal = colours[name].removeprefix("#")
        rgb = ", ".join(str(int(hexadecimal[place : place + 2], 16)) for place in (0, 2, 4))
        shown.until(f"{ground} === given", f"rgb({rgb})")
        if name == "dark":
            shown.visit.shot(f"widget-{request.node.callspec.id}-dark")


def test_no_request_left_this_machine_and_nothing_complained(shown):
    shown.asked_nobody()


def test_a_view_that_goes_lets_go_of_its_figure_and_the_other_view_lives_on(shown):
    gone = shown.page.evaluate_handle("document.querySelector('.js-plotly-plot')")
    assert gone.evaluate("div => div._fullLayout !== undefined")
    shown.page.click('button:has-text("Remove")')
    shown.until("document.querySelectorAll('.msaviz-figure').length === 1")
    assert gone.evaluate("div => div._fullLayout === undefined && div.querySelector('svg') === null")
    shown.move(0, (-0.4, 8.5), (2.5, 1.5))
    shown.marked(0, 21)
