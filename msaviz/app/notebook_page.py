"""How does an executed notebook become one HTML file that opens without a network?

It is dressed as a report: its headings on the left, plotly.js once, each figure drawn when the file is opened, a content policy that lets
nothing in or out. Whatever the notebook holds is text: Markdown may not bring HTML along, and of HTML outputs only tables are left.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msaviz.app import markup
from msaviz.app.notebook import OURS
from msaviz.app.report import Draft, document
from msaviz.files import write_text

FIGURE = "application/vnd.plotly.v1+json"
HEIGHT = 450
TABLE = frozenset(("table", "thead", "tbody", "tr", "th", "td", "caption", "b", "i", "br", "p"))
UNSEEN = re.compile(r"<(style|script)\b.*?</\1\s*>", re.DOTALL | re.IGNORECASE)
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
SPANS = ["colspan", "rowspan"]
BASE64 = re.compile(r"[A-Za-z0-9+/=\s]+")


def write_page(executed: str | Path, out: str | Path) -> Path:
    """Write the executed notebook at `executed` as the HTML file `out`, whole or not at all; return its path."""
    notebook = json.loads(Path(executed).read_text(encoding="utf-8"))
    draft = Draft(lambda line: None)
    title = Path(executed).stem
    for number, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "markdown":
            title = _told(draft, "".join(cell["source"]), number) or title
        elif cell["cell_type"] == "code":
            _ran(draft, cell, number)
    write_text(out, document(draft, title, "The code of each step is folded away above what it shows."))
    return Path(out)


def _told(draft: Draft, source: str, number: int) -> str:
    """A Markdown cell; its headings go into the sidebar, and the title of the notebook is returned if it is here."""
    import mistune

    title = ""
    for place, (marks, heading) in enumerate(re.findall(r"^(#{1,3}) +(.+)$", source, re.MULTILINE)):
        title = heading if len(marks) == 1 else title
        key = f"c{number}-{place}"
        draft.entries.append((key, heading, len(marks) < 3))
        draft.body.append(f'<a id="{key}"></a>')
    draft.body.append(str(mistune.create_markdown(escape=True, plugins=["table"])(source)))
    return title


def _ran(draft: Draft, cell: Mapping[str, Any], number: int) -> None:
    """A code cell: its source folded away, then what it showed."""
    source = "".join(cell["source"])
    told = "The parameters" if OURS.union({"parameters"}).intersection(cell["metadata"].get("tags", [])) else "Code"
    if source.strip():
        draft.body.append(markup.details(told, f"<pre>{markup.text(source)}</pre>"))
    for place, output in enumerate(cell["outputs"]):
        draft.body += _shown(output, f"c{number}-o{place}")


def _shown(output: Mapping[str, Any], key: str) -> Iterator[str]:
    data = output.get("data", {})
    if FIGURE in data:
        yield _figure(data[FIGURE], key)
    elif "text/html" in data:
        yield f'<div class="scroll">{_table("".join(data["text/html"]))}</div>'
    elif BASE64.fullmatch(image := "".join(data.get("image/png", ""))):
        yield f'<img alt="a picture" src="data:image/png;base64,{"".join(image.split())}">'
    elif text := "".join(data.get("text/plain", output.get("text", output.get("traceback", "")))).strip():
        plain = markup.text(ANSI.sub("", text))
        yield f"<pre>{plain}</pre>" if "\n" in plain or plain.startswith("{") else f'<p class="reading">{plain}</p>'


def _figure(figure: Mapping[str, Any], key: str) -> str:
    layout = {name: value for name, value in figure.get("layout", {}).items() if name != "template"}
    height = layout.get("height")
    pixels = int(height) if isinstance(height, int | float) else HEIGHT
    kept = json.dumps({"figure": {"data": figure.get("data", []), "layout": layout}}, ensure_ascii=False)
    return (
        f'<section class="page"><div class="figure" role="img" data-page="{key}" style="height:{pixels}px"></div>'
        f'<script type="application/json" id="{key}">{markup.embedded(kept)}</script></section>'
    )


def _table(html: str) -> str:
    """What is left of an HTML output: tables and their text."""
    import bleach

    return bleach.clean(UNSEEN.sub("", html), tags=TABLE, attributes={"th": SPANS, "td": SPANS}, strip=True)
