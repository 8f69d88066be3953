"""Which questions does a report ask of a run, in what order, and what is each asked of?

A page is a table with its view. `CHAPTERS` sets the order and the options of the pages that come with the package; a
view that is named nowhere there (a plug-in's) follows in a chapter of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from msaviz.catalog import TABLES, VIEWS
from msaviz.interpret.table import Table
from msaviz.viz.view import View

EXPLAINED = 64
"""Utterances that attributions are made for, spread evenly over the split."""


@dataclass(frozen=True)
class Page:
    """A view and its table. `ask`, `draw`: their options; `keep`: which rows of the answer to show.

    The table of a `swept` page is asked of {missing rate: trace}.
    """

    name: str
    ask: Mapping[str, Any] = field(default_factory=dict)
    draw: Mapping[str, Any] = field(default_factory=dict)
    keep: Callable[[pd.DataFrame], pd.Series] | None = None
    heading: str = ""
    swept: bool = False
    few: bool = False
    """Asked of the explained utterances only, or of the first method only."""

    @property
    def view(self) -> View:
        return VIEWS[self.name]

    @property
    def table(self) -> Table:
        return TABLES[self.view.table]

    @property
    def title(self) -> str:
        return self.heading or self.view.title

    def answer(self, subject: Any) -> pd.DataFrame:
        """The rows of the table that the page shows."""
        return self.shown(self.table(subject, **self.ask))

    def shown(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Those rows of the table's answer that the page keeps."""
        return frame if self.keep is None or frame.empty else frame[self.keep(frame)].reset_index(drop=True)


@dataclass(frozen=True)
class Chapter:
    """Pages on one theme; `question` is what they answer together."""

    title: str
    question: str
    pages: tuple[Page, ...]


def _losses(frame: pd.DataFrame) -> pd.Series:
    return frame["kind"] != "metric"


def _example(number: int) -> Callable[[pd.DataFrame], pd.Series]:
    """One of the utterances of a frame."""
    return lambda frame: frame["example"] == frame["example"].unique()[min(number, frame["example"].nunique() - 1)]


def _by(grouping: str) -> Callable[[pd.DataFrame], pd.Series]:
    """The rows of one grouping beside those of all utterances; none where there are no such groups."""
    return lambda frame: frame["by"].isin(["all", grouping]) & (frame["by"] == grouping).any()


def _routed(frame: pd.DataFrame) -> pd.Series:
    """Maps of models that route nothing have no expert to show."""
    return (frame["expert"] != "none").groupby(frame["representation"]).transform("any")


def _selecting(frame: pd.DataFrame) -> pd.Series:
    """The scores that choose the checkpoint; the other metrics are logged beside them at every rate."""
    return (frame["kind"] == "metric") & frame["metric"].str.split("@").str[0].isin(["score", "mae", "weighted_f1"])


CHAPTERS = (
    Chapter(
        "Unseen domains",
        "Which model and objective serves best where it was never trained?",
        (Page("domain_comparison"),),
    ),
    Chapter("Results", "Which model is best under each protocol?", (Page("results"),)),
    Chapter(
        "Missing input",
        "How does each model bear missing input?",
        (Page("missing_curve"), Page("missing_summary"), Page("subset_scores")),
    ),
    Chapter(
        "Training",
        "Did it learn, and from which loss terms?",
        (
            Page("learning_curves", keep=_losses, heading="Loss terms"),
            Page("learning_curves", keep=_selecting, heading="Scores that choose the checkpoint"),
        ),
    ),
    Chapter("Predictions", "Where is it right, and for whom is it wrong?", (Page("prediction_scatter"), Page("error_by_group"))),
    Chapter(
        "Experts",
        "Which expert does what, and what do the routers know?",
        (
            Page("expert_usage", ask={"by": ("all", "domain")}, heading="Expert usage by modality and domain"),
            Page("expert_usage", ask={"by": "label"}, heading="Expert usage by label"),
            Page("expert_time"),
            Page("routing_epochs"),
            Page("router_health"),
            Page("expert_information"),
            Page("expert_examples"),
            Page("gate_by_subset"),
            Page("expert_knockout", draw={"by": "label"}, keep=_by("label"), heading="Without one expert, by label"),
            Page("expert_knockout", draw={"by": "modality"}, keep=_by("modality"), heading="Without one expert, by what is there"),
            Page("router_swap"),
        ),
    ),
    Chapter(
        "Attribution",
        f"Why these predictions? Explained are up to {EXPLAINED} utterances, spread over the split.",
        (
            *(
                Page("token_attribution", ask={"count": 3}, keep=_example(i), heading=f"Words and moments: {which} prediction", few=True)
                for i, which in enumerate(("the lowest", "a middle", "the highest"))
            ),
            Page("modality_attribution"),
            Page("modality_shapley", few=True),
            Page("word_attribution", few=True),
            Page("feature_attribution", few=True),
            Page("expert_attribution", few=True),
        ),
    ),
    Chapter(
        "Is the attribution true?",
        "Does it add up, does it matter to the model, does it depend on what was learnt, and does it find what was planted?",
        (
            Page("attribution_completeness"),
            Page("deletion_curve"),
            Page("deletion_area"),
            Page("attribution_faithfulness", few=True),
            Page("attribution_sanity", few=True),
            Page("attribution_agreement"),
            Page("planted_evidence"),
        ),
    ),
    Chapter(
        "Domains",
        "What does the model do differently in each domain?",
        (
            Page("calibration"),
            Page("domain_transfer"),
            Page("domain_gap"),
            Page("gate_by_domain"),
            Page("expert_masks"),
            Page("expert_knockout", keep=_by("domain")),
            Page(
                "representation_map",
                ask={"representation": "fused"},
                draw={"colour_by": "expert"},
                keep=_routed,
                heading="Map of the fused representation, by expert",
            ),
            Page("representation_epochs"),
        ),
    ),
    Chapter(
        "Fusion",
        "What does the prediction rest on?",
        (
            Page("fusion_importance"),
            Page("fusion_importance", swept=True, heading="Importance against the missing rate"),
            Page("importance_map"),
            Page("prediction_path"),
        ),
    ),
    Chapter(
        "Spaces",
        "Are shared and private representations what their names say?",
        (Page("space_overlap"), Page("principal_angles"), Page("leakage"), Page("representation_map")),
    ),
    Chapter(
        "Evolution",
        "Did the search find more than luck, and which genes decide?",
        (Page("search_progress"), Page("pareto_front"), Page("gene_importance"), Page("gene_frequency"), Page("lineage")),
    ),
)
BESIDE = ("epochs", "subsets", "attributions")
REST = "More", "What else do the installed views show?"


def chapters(of: str) -> Iterator[Chapter]:
    """The chapters whose tables are asked of "trace", "sweep", "history", "comparison", "results" or "evolution", in order, but empty ones.

    A table of "epochs", "subsets" or "attributions" stands among those of the trace: it is asked of the same run's traces.
    """
    planned = {page.name for chapter in CHAPTERS for page in chapter.pages}
    rest = Chapter(*REST, tuple(Page(name) for name in VIEWS if name not in planned))
    for chapter in (*CHAPTERS, rest):
        pages = tuple(page for page in chapter.pages if page.table.of == of or (of == "trace" and page.table.of in BESIDE))
        if pages:
            yield Chapter(chapter.title, chapter.question, pages)
