"""msaviz: see inside multimodal sentiment models.

An Experiment is run into a Run; a run's model reads a batch and leaves a Trace; a Table answers a question about the
trace; a View draws the table; a Page is a table with its view. Names are loaded when first used, so that
`import msaviz` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from msaviz.app.explore import explore
    from msaviz.app.notebook import run_notebook
    from msaviz.app.notebooks import run_notebooks
    from msaviz.app.report import report
    from msaviz.catalog import DATASETS, MODELS, OBJECTIVES, TABLES, VIEWS
    from msaviz.data.dataset import Dataset
    from msaviz.data.load import load
    from msaviz.interpret.attribution import attribute
    from msaviz.interpret.trace import Trace, observe
    from msaviz.options import override, paths
    from msaviz.search.record import Search
    from msaviz.training.compare import compare
    from msaviz.training.experiment import Experiment
    from msaviz.training.loop import train
    from msaviz.training.protocols import evaluate
    from msaviz.training.replay import replay
    from msaviz.training.results import results
    from msaviz.training.run import Run

_HOME = {
    **dict.fromkeys(("DATASETS", "MODELS", "OBJECTIVES", "TABLES", "VIEWS"), "msaviz.catalog"),
    **dict.fromkeys(("override", "paths"), "msaviz.options"),
    **dict.fromkeys(("Trace", "observe"), "msaviz.interpret.trace"),
    "Dataset": "msaviz.data.dataset",
    "load": "msaviz.data.load",
    "Experiment": "msaviz.training.experiment",
    "train": "msaviz.training.loop",
    "evaluate": "msaviz.training.protocols",
    "replay": "msaviz.training.replay",
    "compare": "msaviz.training.compare",
    "results": "msaviz.training.results",
    "Run": "msaviz.training.run",
    "Search": "msaviz.search.record",
    "attribute": "msaviz.interpret.attribution",
    "explore": "msaviz.app.explore",
    "report": "msaviz.app.report",
    "run_notebook": "msaviz.app.notebook",
    "run_notebooks": "msaviz.app.notebooks",
}
__all__ = list(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"msaviz has no {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOME[name]), name)
