"""Is an executed notebook, whoever wrote it, one page that shows its figures and runs nothing of what it holds?"""

import nbformat
import pytest
from browser_tools import Visit, chromium
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from msaviz.app.notebook_page import write_page

FIGURE = {
    "data": [{"type": "bar", "x": ["a</script><script>window.fired=1</script>", "b"], "y": [1, 2]}],
    "layout": {"height": 320, "template": {"data": {}}, "title": {"text": "Two bars"}},
}
HOSTILE = "<script>window.fired=2</script><img src=x onerror='window.fired=3'><a href='javascript:window.fired=4'>go</a>"


def output(kind: str, value: object) -> object:
    return new_output("display_data", data={kind: value})


@pytest.fixture
def page(tmp_path):
    cells = [
        new_markdown_cell(f"# The title\n\n**What is it?** {HOSTILE} [link](javascript:window.fired=5)\n\n| a | b |\n|---|---|\n| 1 | 2 |"),
        new_code_cell("N: int = 3  # a <b>number</b>", metadata={"tags": ["parameters"]}),
        new_code_cell("draw()", outputs=[output("application/vnd.plotly.v1+json", FIGURE)]),
        new_markdown_cell("## A part"),
        new_code_cell("frame", outputs=[output("text/html", f"<style>td {{}}</style><table><tr><td>7{HOSTILE}</td></tr></table>")]),
        new_code_cell("print()", outputs=[new_output("stream", text="\x1b[31mone line\x1b[0m <b>of text</b>")]),
        new_code_cell("picture", outputs=[output("image/png", 'x" onload="window.fired=6')]),
    ]
    nbformat.write(new_notebook(cells=cells), tmp_path / "shown.ipynb")
    return write_page(tmp_path / "shown.ipynb", tmp_path / "shown.html")


def test_figures_are_drawn_headings_lead_and_nothing_of_it_runs(page):
    with chromium() as browser:
        visit = Visit(browser, page.as_uri(), "html[data-figures='1/1']")
        tab = visit.page
        assert tab.title() == "The title · msaviz"
        assert tab.locator("nav a").all_inner_texts() == ["The title", "A part"]
        for link in tab.locator("nav a").all():
            link.click()
        tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert tab.locator("summary").first.inner_text() == "The parameters"
        assert "N: int = 3  # a <b>number</b>" in tab.locator("details pre").first.inner_text()
        assert tab.locator("main td", has_text="7").count() == 1
        assert tab.locator(".reading").inner_text() == "one line <b>of text</b>"
        assert tab.evaluate("window.fired") is None
        assert tab.locator("main img, main a[href^='javascript'], main script:not([type])").count() == 0
        assert visit.asked == [page.as_uri()]
        assert visit.complaints == []


def test_a_page_is_whole_or_absent(page, monkeypatch):
    before = page.read_bytes()
    monkeypatch.setattr("msaviz.app.notebook_page.document", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_page(page.with_suffix(".ipynb"), page)
    assert page.read_bytes() == before
    assert {p.name for p in page.parent.iterdir()} == {"shown.html", "shown.ipynb"}
