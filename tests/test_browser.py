"""Does a report open in a real browser, draw every figure, send nothing anywhere and complain of nothing?

Screenshots for a person to look at go to screenshots/ (which git ignores).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_tools import Visit, chromium
from tiny_runs import trained


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    from msaviz.app.report import report

    folder = tmp_path_factory.mktemp("browser")
    runs = [trained(folder, "derl-0"), trained(folder, "plain", model="early_fusion")]
    return report(runs, folder / "report.html")


@pytest.fixture(scope="module", params=["light", "dark"])
def visit(request, browser, path) -> Iterator[Visit]:
    found = Visit(browser, path.as_uri(), "html[data-figures]", viewport={"width": 1280, "height": 900}, color_scheme=request.param)
    yield found
    found.shot(f"report-{request.param}")
    found.shot(f"report-{request.param}-whole", full_page=True)
    found.page.close()


def test_every_figure_is_drawn(visit):
    figures = visit.count(".figure")
    assert figures >= 20
    assert visit.count(".figure.js-plotly-plot .main-svg >> nth=0") == 1
    drawn = visit.page.evaluate(
        "[...document.querySelectorAll('.figure')].filter(d => d.querySelector('.main-svg') && d.querySelector('.plot-container')).length"
    )
    assert drawn == figures
    assert visit.page.get_attribute("html", "data-figures") == f"{figures}/{figures}"
    assert visit.count(".failed") == 0


def test_nothing_leaves_and_nothing_complains(visit, path):
    assert [url for url in visit.asked if not url.startswith(("data:", "blob:"))] == [path.as_uri()]
    assert visit.complaints == []


def test_the_page_cannot_send(visit):
    told = visit.page.evaluate("fetch('https://example.com/').then(() => 'sent', () => 'refused')")
    visit.complaints.clear()
    visit.asked.clear()
    assert told == "refused"


def test_no_button_uploads(visit):
    buttons = visit.page.evaluate("[...document.querySelectorAll('.modebar-btn')].map(b => b.dataset.title || '')")
    assert len(buttons) > 0
    assert [b for b in buttons if "cloud" in b.lower() or "plotly" in b.lower() or "share" in b.lower()] == []


def test_nothing_is_wider_than_the_window(visit):
    assert visit.page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_the_theme_follows_the_system_and_the_button(visit, request):
    ground = "getComputedStyle(document.querySelector('.figure .main-svg')).backgroundColor"
    before = visit.page.evaluate("document.documentElement.dataset.theme"), visit.page.evaluate(ground)
    visit.page.click("#theme")
    after = visit.page.evaluate("document.documentElement.dataset.theme"), visit.page.evaluate(ground)
    visit.page.click("#theme")
    assert {before[0], after[0]} == {"light", "dark"}
    assert before[1] != after[1]


def test_the_numbers_can_be_taken_away(visit):
    with visit.page.expect_download() as waiting:
        visit.page.locator("button[data-csv]").first.click()
    text = Path(waiting.value.path()).read_text(encoding="utf-8")
    assert waiting.value.suggested_filename.endswith(".csv")
    assert text.startswith("run,")
    assert len(text.splitlines()) > 10
