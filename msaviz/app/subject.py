"""What are the pages about one run asked of: each thing is computed when first asked for, and once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from msaviz.app.pages import EXPLAINED, Page
from msaviz.app.results import measured
from msaviz.data.missing import RandomFrames
from msaviz.interpret.attribution import Attribution, attribute
from msaviz.interpret.trace import Trace
from msaviz.training.run import Run
from msaviz.training.validation import every_set

RATES = (0.0, 0.2, 0.4, 0.6, 0.8)
"""Missing rates at which a `swept` page looks at the model."""
LIMIT = 2000
"""Utterances of a split that the pages look at, at most."""
METHODS = ("integrated_gradients", "gradient_shap", "feature_ablation", "occlusion")
"""Methods that stand beside each other; what looks at one of them looks at the first."""


@dataclass(frozen=True)
class Subject:
    """What the pages about one run are asked of; each thing is computed when first asked for, and once."""

    run: Run
    split: str = "test"
    limit: int = LIMIT
    _answers: dict[str, pd.DataFrame] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def trace(self) -> Trace:
        return self.run.observe(self.split, limit=self.limit)

    @cached_property
    def traces(self) -> dict[float, Trace]:
        """Missing rate -> what the model does there."""
        swept = {rate: self.run.observe(self.split, missingness=RandomFrames(rate=rate), limit=self.limit) for rate in RATES[1:]}
        return {RATES[0]: self.trace, **swept}

    @cached_property
    def epochs(self) -> dict[int, Trace]:
        """Epoch -> what the model did then, for the epochs whose weights were kept."""
        return {epoch: self.run.observe(self.split, limit=self.limit, epoch=epoch) for epoch in self.run.epochs}

    @cached_property
    def subsets(self) -> dict[str, Trace]:
        """ "text+audio" -> what the model does with these modalities alone; all of them last."""
        *parts, (full, _) = every_set(self.run.spec.modalities).items()
        alone = {name: self.run.observe(self.split, missingness=missingness, limit=self.limit) for name, missingness in parts}
        return {**alone, full: self.trace}

    @cached_property
    def sample(self) -> Trace:
        """The explained utterances."""
        return self.run.observe(self.split, limit=EXPLAINED)

    @cached_property
    def attributions(self) -> dict[str, Attribution]:
        """Method -> what it says of the explained utterances."""
        return {name: attribute(self.sample, name) for name in METHODS}

    @property
    def routes_utterances(self) -> bool:
        """Whether some router sends whole utterances to experts."""
        return any(routing.time is None for routing in self.trace.outputs[0].routing.values())

    def answer(self, page: Page) -> pd.DataFrame:
        """The page's table about this run; of its epochs nothing where fewer than two were kept, of sets nothing where none is routed."""
        nothing = {"epochs": lambda: len(self.run.epochs) < 2, "subsets": lambda: not self.routes_utterances}
        if nothing.get(page.table.of, lambda: False)():
            return pd.DataFrame(columns=list(page.table.columns))
        asked = repr((page.view.table, sorted(page.ask.items()), page.swept, page.few))
        if asked not in self._answers:  # several pages draw one table
            self._answers[asked] = page.table(self._subject(page), **page.ask)
        return page.shown(self._answers[asked])

    def _subject(self, page: Page) -> Any:
        """What the page's table is asked of."""
        subjects: dict[str, Callable[[], Any]] = {
            "history": self.run.history,
            "epochs": lambda: self.epochs,
            "subsets": lambda: self.subsets,
            "attributions": lambda: dict(list(self.attributions.items())[: 1 if page.few else None]),
            "trace": lambda: self.traces if page.swept else self.sample if page.few else self.trace,
        }
        return subjects[page.table.of]()


def answer_sweep(page: Page, sweep: pd.DataFrame) -> pd.DataFrame:
    """The page's table about the protocols' frames of all runs."""
    return page.answer(measured(sweep))
