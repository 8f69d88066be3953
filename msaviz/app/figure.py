"""How does a figure live in a notebook: redrawn as a whole at every change, telling Python which points are selected?

A `FigureWidget` is a figure that is changed by messages, some of which get lost. Here the whole figure is one synchronised
trait, and so is the selection: what Python holds is what every browser comes to show, however fast it changes.
plotly.js goes to the browser once per kernel, packed, in a widget that all figures share. Where nobody watches
(papermill, nbconvert) nothing of this is sent, and the saved notebook holds plain figures.
"""

from __future__ import annotations

import gzip
import json
import os
from functools import cache
from importlib.resources import files
from typing import Any, cast

import anywidget  # the class below is one: whoever imports this module wants it
import plotly.graph_objects as go
import traitlets
from ipywidgets import widget_serialization

from msaviz.viz import theme

ASSETS = files("msaviz.app") / "assets"
MIME = "application/vnd.plotly.v1+json"


class Library(anywidget.AnyWidget):
    """plotly.js and how figures are dressed: what all figures of a kernel share. Draws nothing."""

    _esm = "export default {};"
    code = traitlets.Bytes().tag(sync=True)
    """plotly.js, gzipped: 1.5 MB."""
    dress = traitlets.Unicode().tag(sync=True)
    """JSON: version of plotly.js, templates for light and dark, pairs of colours, and plotly's config."""


@cache
def library() -> Library:
    """The one of this kernel."""
    from plotly.offline import get_plotlyjs, get_plotlyjs_version

    templates = {name: theme.template(name).to_plotly_json() for name in ("light", "dark")}
    dress = {"version": get_plotlyjs_version(), "templates": templates, "pairs": theme.dark_pairs(), "config": theme.CONFIG}
    return Library(code=gzip.compress(get_plotlyjs().encode("utf-8")), dress=json.dumps(dress))


def live() -> bool:
    """Whether a browser may be there to draw widgets: a kernel whose front end can be asked for input, or Voilà's.

    Runners (papermill, nbclient, nbconvert) tell the kernel with every cell that nobody can answer it.
    """
    from IPython.core.getipython import get_ipython

    kernel = getattr(get_ipython(), "kernel", None)
    if kernel is None:
        return False
    if os.environ.get("SERVER_SOFTWARE", "").startswith("voila"):
        return True
    return bool((kernel.get_parent("shell") or {}).get("content", {}).get("allow_stdin", True))


class Figure(anywidget.AnyWidget):
    """A figure in the notebook, with its selection as a trait.

    The integers in a trace's `customdata` (the first of each row) name its points: `selection` holds those of the selected
    ones. A click selects one mark, with shift one more; box and lasso several; a double click or Escape none; the arrow
    keys the neighbours. Assigning `figure` keeps the selection, and the zoom too unless `layout.uirevision` changes.
    """

    _esm = (ASSETS / "figure.js").read_text(encoding="utf-8")
    _css = (ASSETS / "figure.css").read_text(encoding="utf-8")
    spec = traitlets.Unicode().tag(sync=True)
    """The whole figure as JSON, without template: the browser knows whether it is light or dark."""
    label = traitlets.Unicode().tag(sync=True)
    """What the figure shows, for those who do not see it."""
    selection = traitlets.Tuple().tag(sync=True)
    """The numbers of the selected points, ascending."""
    clicked = traitlets.Int(None, allow_none=True).tag(sync=True)
    """The number of the point clicked last."""
    library = traitlets.Instance(Library, allow_none=True).tag(sync=True, **widget_serialization)

    def __init__(self, figure: go.Figure | None = None, *, label: str = "", **traits: Any) -> None:
        self._figure = theme.styled(figure if figure is not None else go.Figure())
        super().__init__(spec=_spec(self._figure), label=label, library=library() if live() else None, **traits)

    @property
    def figure(self) -> go.Figure:
        """What was assigned last, in the light style. What is changed in place is shown by `refresh`."""
        return self._figure

    @figure.setter
    def figure(self, figure: go.Figure) -> None:
        if not isinstance(figure, go.Figure):
            raise ValueError(f"a Figure shows a plotly figure (go.Figure), not {type(figure).__name__}")
        self._figure = theme.styled(figure)
        self.spec = _spec(self._figure)

    def refresh(self) -> None:
        """Show what was changed in `figure` in place."""
        self.spec = _spec(self._figure)

    @traitlets.validate("selection")
    def _whole_numbers(self, proposal: Any) -> tuple[int, ...]:
        try:
            numbers = {int(number) for number in proposal["value"] if number == int(number)}
        except (TypeError, ValueError):
            numbers = set()
        if len(numbers) != len(set(proposal["value"])):
            raise ValueError(f"a selection holds the whole numbers in the points' customdata, not {proposal['value']!r}")
        return tuple(sorted(numbers))

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """A plain figure and its label; where a browser may be there, the widget too."""
        plain = {**json.loads(cast(str, self._figure.to_json())), "config": theme.CONFIG}
        bundle: dict[str, Any] = {MIME: plain, "text/plain": self.label or "Figure"}
        if self.library is None:
            return bundle, {}
        widget, about = super()._repr_mimebundle_(**kwargs) or ({}, {})
        return {**widget, **bundle}, about


def _spec(figure: go.Figure) -> str:
    """The figure as JSON without its template; numpy arrays stay packed as base64."""
    tree = json.loads(cast(str, figure.to_json()))
    tree["layout"].pop("template", None)
    title = tree["layout"].get("title", {})
    if told := title.pop("subtitle", {}).get("text"):  # a subtitle of its own is drawn over the title when the figure is drawn again
        title["text"] = f'{title.get("text", "")}<br><span style="font-size:13px">{told}</span>'
    return json.dumps(tree, separators=(",", ":"), ensure_ascii=False)
