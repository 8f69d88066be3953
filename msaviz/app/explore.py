"""What does a model do with the utterances that one points at, and what would it do with less?

Two maps of a split are linked by their selection. Of what is selected the gates and the importance are shown; of one utterance its
transcript, coloured by what each token brought, its audio and vision over time, and what the model would say if parts of it were missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import numpy as np

from msaviz.app.figure import Figure, live
from msaviz.app.markup import text
from msaviz.app.whatif import Change, look, mean_of, said_of
from msaviz.catalog import TABLES, VIEWS
from msaviz.interpret.attribution import attribute
from msaviz.interpret.methods import METHODS
from msaviz.interpret.trace import Trace
from msaviz.training.run import Run
from msaviz.viz import theme
from msaviz.viz.routing_change import redraw

AVERAGED = 128
"""Of a larger selection, so many utterances spread over it are averaged."""
LISTED = 200
"""Of a larger selection, so many utterances are listed."""
STEPS = 16
"""Points of the path of Integrated Gradients; the figure names the method."""
PLAIN = "tex2jax_ignore mathjax_ignore"
"""Classes of what is no mathematics: a transcript may name a price."""
BASELINE = {True: "missing", False: "zero"}
"""What attributions compare with: methods that hide parts hide them really."""


class Explorer:
    """The linked views of one split of a run. `widget` holds them all; `selection` may be set from Python too."""

    def __init__(self, run: str | Path | Run, *, split: str = "test", limit: int = 2000, representation: str = "fused"):
        self.run, self.split = Run.open(run), split
        self.trace = self.run.observe(split, limit=limit)
        if representation not in self.trace.representations:
            raise ValueError(f"no representation is called {representation!r}; these exist: {', '.join(self.trace.representations)}")
        self.rows = self.trace.examples["example"].to_numpy()
        self._quiet = False
        self._average: tuple[object, Trace] = ((), self.trace)
        self._known: tuple[int, Trace] = (-1, self.trace)
        self._drawn: tuple[tuple[int, ...], int] = ((), -1)
        self._offered = -1
        self._controls(representation)
        self.map = Figure(label="Map of the representation. Select utterances with a click, box or lasso.")
        self.scatter = Figure(label="Predictions against labels. Select utterances with a click, box or lasso.")
        self.transcript = Figure(label="What each token and step of the utterance brought to its prediction.")
        self.routing = Figure(label="Gates of every router, before and after the change.")
        self.importance = Figure(label="Importance of every contributor, before and after the change.")
        self.said = widgets.HTML()
        self._draw_maps()
        self._listen()
        self.selection = (int(self.rows[len(self.rows) // 2]),)

    # -- what is selected -------------------------------------------------------------------------------------------

    @property
    def selection(self) -> tuple[int, ...]:
        """Row numbers of the selected utterances, ascending."""
        return tuple(self.map.selection)

    @selection.setter
    def selection(self, rows: Iterable[int]) -> None:
        found = tuple(sorted({int(row) for row in rows}))
        if strange := sorted(set(found) - set(self.rows.tolist())):
            raise ValueError(f"row {strange[0]} is not on the maps, which show {len(self.rows)} rows of {self.split}: see `rows`")
        before = self.utterance.value
        with self._together():
            self.map.selection = self.scatter.selection = found
            listed = found[:LISTED] or (int(self.rows[0]) if before is None else before,)
            listed = (*listed[:-1], before) if before in found[LISTED:] else listed
            self.utterance.options = [(self._headline(row), row) for row in listed]
            self.utterance.value = before if before in listed else listed[0]
            self._offer_words()
        self.update()

    def _headline(self, row: int) -> str:
        """An utterance in one line of a list."""
        at = int(np.searchsorted(self.rows, row))
        example, task = self.trace.examples.iloc[at], self.run.spec.task
        words = self.trace.texts[at] if self.trace.texts else ""
        return f"{row} · predicted {said_of(example['prediction'], task)}, label {said_of(example['label'], task)} · {words[:60]}"

    # -- controls ---------------------------------------------------------------------------------------------------

    def _controls(self, representation: str) -> None:
        modalities = self.run.spec.modalities
        self.spoken = "text" if "text" in modalities else modalities[0]
        common = {"style": {"description_width": "104px"}, "layout": widgets.Layout(width="auto")}
        above = {"style": {"description_width": "initial"}, "layout": widgets.Layout(width="auto"), "rows": 6}
        spaces = list(self.trace.representations)
        self.representation = widgets.Dropdown(options=spaces, value=representation, description="Representation", **common)
        colourings = ["label", "error", "domain", *(["expert"] if self.trace.routers else [])]
        self.colour = widgets.Dropdown(options=colourings, description="Colour by", **common)
        self.utterance = widgets.Select(rows=6, description="Utterance", **common)
        methods = [(method.title, name) for name, method in METHODS.items()]
        self.method = widgets.Dropdown(options=methods, description="Attribution", **common)
        rate = {"min": 0, "max": 1, "step": 0.1, "readout_format": ".1f", "continuous_update": False, **common}
        self.rates = {m: widgets.FloatSlider(0, description=f"Missing {m}", **rate) for m in modalities}
        self.dropped = {m: widgets.Checkbox(False, description=f"Without {m}", indent=False) for m in modalities}
        self.words = widgets.SelectMultiple(description=f"Hide in {self.spoken}", **above)
        counts = {key: routing.gates.shape[-1] for key, routing in self.trace.outputs[0].routing.items()}
        experts = [(f"{key} · expert {e}", (key, e)) for key, count in counts.items() for e in range(count) if count > 1]
        self.off = widgets.SelectMultiple(options=experts, description="Experts off", **above)
        self.reset = widgets.Button(description="Undo all changes", icon="undo", layout=widgets.Layout(width="auto"))

    def _listen(self) -> None:
        for figure in (self.map, self.scatter):
            figure.observe(self._selected, "selection")
        for control in (self.representation, self.colour):
            control.observe(self._heard(self._draw_maps), "value")
        self.utterance.observe(self._heard(self._offer_words, self.update), "value")
        for control in (self.method, self.words, self.off, *self.rates.values(), *self.dropped.values()):
            control.observe(self._heard(self.update), "value")
        self.reset.on_click(lambda _: self.undo())

    def _heard(self, *answers: Callable[[], None]) -> Callable[[Any], None]:
        """A listener that is deaf while several controls are set together."""

        def heard(change: Any) -> None:
            if not self._quiet:
                for answer in answers:
                    answer()

        return heard

    @contextmanager
    def _together(self):
        before, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = before

    def _selected(self, change: Any) -> None:
        if not self._quiet:
            self.selection = change["new"]

    def _offer_words(self) -> None:
        """The tokens of the chosen utterance; hidden ones stay hidden only while it is the same utterance."""
        row = self.utterance.value
        if self._offered != row:
            part, self._offered = self.run.dataset[self.split], row
            length = int(part.lengths(self.spoken)[row])
            tokens = part.tokens(row)[:length] if self.spoken == "text" else []
            with self._together():
                self.words.options = [(f"{i} {token}", i) for i, token in enumerate(tokens or ["step"] * length)]

    def undo(self) -> None:
        """Take back every change."""
        with self._together():
            for slider in self.rates.values():
                slider.value = 0.0
            for box in self.dropped.values():
                box.value = False
            self.words.value = self.off.value = ()
        self.update()

    @property
    def change(self) -> Change:
        """What the controls ask for."""
        return Change(
            rates={m: slider.value for m, slider in self.rates.items() if slider.value},
            dropped=tuple(m for m, box in self.dropped.items() if box.value),
            hidden={self.spoken: tuple(self.words.value)} if self.words.value else {},
            off=tuple(self.off.value),
        )

    # -- pictures ---------------------------------------------------------------------------------------------------

    def _draw_maps(self) -> None:
        frame = TABLES["representation_map"](self.trace, representation=self.representation.value)
        clouds = VIEWS["representation_map"](frame, colour_by=self.colour.value)
        self.map.figure = clouds.update_layout(dragmode="select", uirevision=self.representation.value)
        if not self.scatter.figure.data:
            self.scatter.figure = VIEWS["prediction_scatter"](TABLES["predictions"](self.trace)).update_layout(dragmode="select")

    def update(self) -> None:
        """Ask the model about the chosen utterance again, and draw it; what cannot be asked is said in words, and changes nothing else."""
        try:
            changed = self.whole if self.change == Change() else look(self.run, self.utterance.value, self.change, split=self.split)
        except ValueError as error:
            self.said.value = self._sentence(self.whole, f"<br><b>Not possible:</b> {text(error)}")
            return
        self._tell(changed)
        try:
            self._explain(changed)
        except ValueError as error:
            self.transcript.figure = theme.note(str(error), title=f"{METHODS[self.method.value].title} says nothing here")

    def _tell(self, changed: Trace) -> None:
        """The prediction, the gates and the importance after the change, beside those of before."""
        self.said.value = self._sentence(changed)
        selected = {f"mean of {self._counted}": self._others} if len(self.selection) > 1 else {}
        frame = TABLES["routing_change"]({**selected, "this utterance": self.whole, "after the change": changed})
        drawn = (self.selection, self.utterance.value)
        for kind, title, widget in (("gate", "Gates", self.routing), ("importance", "Importance", self.importance)):
            part = frame[frame["kind"] == kind]
            if self._drawn == drawn and len(part):
                redraw(widget.figure, part)
                widget.refresh()
            else:
                widget.figure = VIEWS["routing_change"](part).update_layout(title_text=title)
        self._drawn = drawn

    def _explain(self, changed: Trace) -> None:
        """What each token and step brought to the prediction after the change."""
        method = METHODS[self.method.value]
        why = attribute(changed, self.method.value, baseline=BASELINE[method.removal], steps=STEPS)
        self.transcript.figure = VIEWS["token_attribution"](TABLES["token_attribution"]({method.title: why}))

    @property
    def whole(self) -> Trace:
        """What the model does with the chosen utterance as it is."""
        if self._known[0] != self.utterance.value:
            self._known = (self.utterance.value, look(self.run, self.utterance.value, split=self.split))
        return self._known[1]

    @property
    def _averaged(self) -> tuple[int, ...]:
        """The selected utterances, or AVERAGED of them spread over all."""
        places = np.linspace(0, len(self.selection) - 1, min(len(self.selection), AVERAGED)).round().astype(int)
        return tuple(self.selection[place] for place in places)

    @property
    def _counted(self) -> str:
        count = len(self.selection)
        return f"{count} selected" if count <= AVERAGED else f"{AVERAGED} of {count} selected"

    @property
    def _others(self) -> Trace:
        """What the model does with the selected utterances as they are; read once for each selection."""
        if self._average[0] != self.selection:
            self._average = (self.selection, self.run.observe(self.split, rows=self._averaged))
        return self._average[1]

    def _sentence(self, changed: Trace, more: str = "") -> str:
        """What is predicted before and after the change, of the chosen utterance and of the selected ones, as HTML."""
        whole, before, after = self.whole, self.whole.examples.iloc[0], changed.examples.iloc[0]
        task = self.run.spec.task
        said = f"Utterance {before['example']} ({text(before['domain'])}): label {text(said_of(before['label'], task))}, "
        said += f"predicted <b>{text(said_of(before['prediction'], task))}</b>"
        said += "" if changed is whole else f", after the change <b>{text(said_of(after['prediction'], task))}</b>"
        if len(self.selection) > 1:
            said += f"<br>{self._counted}: {mean_of(self._others)}"
            change = replace(self.change, hidden={})  # words are hidden in one utterance only
            if changed is not whole and change != Change():
                said += f", after the change {mean_of(look(self.run, self._averaged, change, split=self.split))}"
        words = f"<br>“{text(whole.texts[0])}”" if whole.texts and whole.texts[0] else ""
        return f'<p role="status" aria-live="polite" class="{PLAIN}">{said}{words}{more}</p>'

    # -- layout -----------------------------------------------------------------------------------------------------

    @cached_property
    def widget(self) -> widgets.Widget:
        """Everything, for a notebook cell or a dashboard; `figure.css` says where things stand."""
        rates = [_box([slider, self.dropped[m]], "row") for m, slider in self.rates.items()]
        shown = _box([_box([self.representation, self.colour], "pair"), self.utterance, self.method], "column")
        less = _box([*rates, _box([self.words, self.off] if self.off.options else [self.words], "pair"), self.reset], "column")
        maps, controls = _box([self.map, self.scatter], "pair"), _box([shown, less], "pair")
        return _box([maps, self.said, controls, _box(self.pictures[:1], "wide"), *self.pictures[1:]], "explore")

    @property
    def pictures(self) -> list[Figure]:
        """What is drawn of the chosen utterance: its transcript; gates and importance where the model has them."""
        output = self.trace.outputs[0]
        return [self.transcript, *([self.routing] if output.routing else []), *([self.importance] if output.importance is not None else [])]

    def _ipython_display_(self) -> None:
        from IPython.display import display

        if live():
            display(self.widget)
            return
        for figure in (self.map, self.scatter, *self.pictures):
            display(figure)


def explore(run: str | Path | Run, *, split: str = "test", limit: int = 2000, representation: str = "fused") -> Explorer:
    """Linked views of a run for a notebook cell: select utterances, see why, and ask what if.

    Raises FileNotFoundError for a folder that is no run, ValueError for a split or a representation that does not exist.
    """
    return Explorer(run, split=split, limit=limit, representation=representation)


def _box(children: list[widgets.Widget], name: str) -> widgets.Box:
    return widgets.Box(children, _dom_classes=[f"msaviz-{name}"])
