"""What is there to know about some runs, in one HTML file that opens without a network?

plotly.js is inlined once and every figure is drawn when the file is opened; a content policy forbids the page to load or
to send anything. Runs that differ in their seed only are averaged, and the first of them is looked into.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import pandas as pd

from msaviz.app import markup, sections
from msaviz.app.groups import Group, grouped
from msaviz.app.pages import Chapter, Page, chapters
from msaviz.app.subject import Subject, answer_sweep
from msaviz.files import write_text
from msaviz.interpret.results import MEASURED
from msaviz.training.run import Run
from msaviz.viz import theme
from msaviz.viz.words import listed

PROTOCOLS = ("clean", "missing", "subsets")
LIMIT = 9_000_000
"""Bytes of a report, at most."""
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; "
    "worker-src blob:; connect-src 'none'; form-action 'none'; base-uri 'none'"
)
Tell = Callable[[str], object]


@dataclass
class Draft:
    """The report as it is written: HTML in order, and the entries of its sidebar."""

    tell: Tell
    body: list[str] = field(default_factory=list)
    entries: list[tuple[str, str, bool]] = field(default_factory=list)
    """Anchor, title, whether it opens a chapter."""

    def chapter(self, key: str, title: str, lead: str) -> None:
        self.entries.append((key, title, True))
        self.body.append(f'<h2 id="{key}">{markup.text(title)}</h2><p class="lead">{markup.text(lead)}</p>')

    def page(self, key: str, page: Page, answer: Callable[[Page], pd.DataFrame]) -> bool:
        """Ask, draw, read; what fails is said in its place, and does not take the report down. False: there was nothing to show."""
        try:
            frame = answer(page)
            if frame.empty:
                return False
            figure = page.view(frame, **page.draw)
            said = {"reading": page.view.read(frame), "explain": page.view.explain, "stamp": _stamp(frame)}
            self.body.append(markup.page(key, page.title, figure, frame, **said))
        except Exception as error:
            self.tell(f"{page.title}: {type(error).__name__}: {error}")
            self.body.append(
                f'<section class="page" id="{key}"><h3>{markup.text(page.title)}</h3>'
                f'<p class="failed">This page could not be made: {markup.text(f"{type(error).__name__}: {error}")}</p></section>'
            )
        self.entries.append((key, page.title, False))
        return True


def report(
    runs: Sequence[str | Path | Run] | str | Path | Run,
    out: str | Path,
    *,
    split: str = "test",
    selection: str = "validation",
    progress: Tell | None = None,
) -> Path:
    """Write the report about `runs` (folders or Runs) to the file `out`, whole or not at all; return its path.

    Scores are kept in the run folders, so that a second report is quick. With `selection="published"` the numbers chosen on
    the test split are shown beside the honest ones, stamped. Raises ValueError for an unfinished run or an unknown split.
    """
    out = Path(out)
    if out.is_dir():
        raise ValueError(f"{out} is a folder; give the name of the HTML file")
    draft = Draft(progress or (lambda line: None))
    groups = grouped([runs] if isinstance(runs, str | Path | Run) else runs)
    sweeps = _measure(groups, split, draft.tell)
    _results(draft, groups, sweeps, split, selection)
    for chapter in chapters("sweep"):
        _chapter(draft, chapter, "all", lambda page: answer_sweep(page, pd.concat(sweeps.values(), ignore_index=True)))
    for number, group in enumerate(groups):
        _inside(draft, group, f"m{number}", split, several=len(groups) > 1)
    _setup(draft, groups, sweeps["clean"])
    html = document(draft, _title(groups))
    size = len(html.encode("utf-8"))
    if size > LIMIT:
        draft.tell(f"the report is large ({size / 1e6:.1f} MB); name fewer runs to make it open faster")
    write_text(out, html)
    return out


def _measure(groups: Sequence[Group], split: str, tell: Tell) -> dict[str, pd.DataFrame]:
    """The frames of each protocol, of all runs."""
    found = {}
    for protocol in PROTOCOLS:
        frames = []
        for group in groups:
            tell(f"measuring {group.label}: {protocol}")
            frames.append(group.sweep(protocol, split))
        found[protocol] = pd.concat(frames, ignore_index=True)
    return found


def _results(draft: Draft, groups: Sequence[Group], sweeps: dict[str, pd.DataFrame], split: str, selection: str) -> None:
    names = ", ".join(dict.fromkeys(group.first.dataset.name for group in groups))
    count = sum(len(group.runs) for group in groups)
    runs = f"{count} run{'s' * (count > 1)} of {len(groups)} model{'s' * (len(groups) > 1)}"
    lead = f"{runs} on {names} · {split} split · selection: validation · {date.today().isoformat()} · msaviz {version('msaviz')}"
    draft.entries.append(("results", "Results", True))
    draft.body.append(f'<h1 id="results">{markup.text(_title(groups))}</h1><p class="lead">{markup.text(lead)}</p>')
    draft.body.append(sections.tiles(groups, sweeps))
    notes = [note for protocol in PROTOCOLS for group in groups for note in group.warnings(protocol, split)]
    draft.body += [markup.note(note) for note in dict.fromkeys(notes)]
    draft.body += [sections.all_results(sweeps, split), sections.glossary(list(sweeps["clean"]["metric"]))]
    draft.body += [sections.comparison(groups, split), sections.published(groups, sweeps["missing"])]
    if selection != "validation":
        chosen = pd.concat([group.sweep("clean", split, selection) for group in groups], ignore_index=True)
        table = sections.results(chosen, f"Complete input, {split} split, {selection} selection")
        draft.body.append(f"<h3>Selection “{markup.text(selection)}”</h3>{sections.STAMP}{table}")


def _inside(draft: Draft, group: Group, key: str, split: str, *, several: bool) -> None:
    subject = Subject(group.first, split)
    for of in ("history", "trace"):
        for chapter in chapters(of):
            title = f"{group.label} · {chapter.title}" if several else chapter.title
            draft.tell(f"looking into {group.label}: {chapter.title}")
            one = f" Looked into: run {group.names[0]}, seed {group.seeds[0]}." if len(group.runs) > 1 else ""
            _chapter(draft, Chapter(title, f"{chapter.question}{one}", chapter.pages), key, subject.answer)


def _chapter(draft: Draft, chapter: Chapter, prefix: str, answer: Callable[[Page], pd.DataFrame]) -> None:
    key = f"{prefix}-{_slug(chapter.title)}"
    before = len(draft.entries), len(draft.body)
    draft.chapter(key, chapter.title, chapter.question)
    empty = [page.title for page in chapter.pages if not draft.page(f"{key}-{_slug(page.title)}", page, answer)]
    if len(empty) == len(chapter.pages):  # a chapter without a page is no more than a sentence
        del draft.entries[before[0] :], draft.body[before[1] :]
    if empty:
        draft.body.append(f'<p class="lead">{markup.text(f"{chapter.title}: this model or split has no data for {listed(empty)}.")}</p>')


def _setup(draft: Draft, groups: Sequence[Group], clean: pd.DataFrame) -> None:
    draft.chapter("setup", "Setup", "What was trained on what, and how to repeat it.")
    draft.body.append(sections.data(groups))
    draft.body += [sections.setup(group) for group in groups]


def _stamp(frame: pd.DataFrame) -> str:
    """The warning on everything of ours that was chosen on the test split."""
    ours = frame[frame["source"] == MEASURED] if "source" in frame and "selection" in frame else frame
    return sections.STAMP if "selection" in ours and (ours["selection"] == "published").any() else ""


def _title(groups: Sequence[Group]) -> str:
    return " and ".join(group.label for group in groups) if len(groups) < 3 else f"{len(groups)} models compared"


def _slug(title: str) -> str:
    return "-".join("".join(c if c.isascii() and c.isalnum() else " " for c in title.lower()).split())


FOOTER = (
    "Every number above can be taken away: under each figure, “Download CSV”. It holds every text as the data have it; "
    "a spreadsheet that asks is to read it as text, for what begins with = is no formula."
)


def document(draft: Draft, title: str, footer: str = FOOTER) -> str:
    return "\n".join(_lines(draft, title, footer))


def _lines(draft: Draft, title: str, footer: str) -> Iterator[str]:
    from plotly.offline import get_plotlyjs

    assets = files("msaviz.app") / "assets"
    links = "".join(f'<a href="#{key}"{" class=chapter" * top}>{markup.text(name)}</a>' for key, name, top in draft.entries)
    dress = {
        "templates": {name: theme.template(name).to_plotly_json() for name in ("light", "dark")},
        "config": theme.CONFIG,
        "dark": list(theme.dark_pairs()),
    }
    yield '<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
    yield f"<title>{markup.text(title)} · msaviz</title><style>{(assets / 'report.css').read_text(encoding='utf-8')}</style></head><body>"
    yield f'<nav aria-label="Contents"><div class="brand">msaviz</div>{links}'
    yield '<button id="theme" type="button">Light / dark</button></nav><main>'
    yield from draft.body
    yield f"<footer>{markup.text(footer)}</footer></main>"
    yield from (f'<script type="application/json" id="{name}">{markup.embedded(value)}</script>' for name, value in dress.items())
    yield "<script>" + get_plotlyjs().replace("</script", "<\\/script") + "</script>"
    yield f"<script>{(assets / 'report.js').read_text(encoding='utf-8')}</script></body></html>"
