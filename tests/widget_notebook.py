"""What live pages are tested with: a tiny notebook with two linked figures, a slider and two buttons, and runs on strange data."""

from __future__ import annotations

from pathlib import Path

import nbformat
import numpy as np
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from tiny_runs import SMALL

from msaviz import Dataset, Experiment, train
from msaviz.data.msa import save

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
PARAMETERS = 'RUN: str = ""  # folder of a run'
BUILD = """
import ipywidgets
import numpy
import plotly.graph_objects as go
from msaviz.app.figure import Figure

POINTS = numpy.arange(100)

def points(value):
    x, y = (POINTS % 10).astype("float32"), (POINTS // 10 + value / 10).astype("float32")
    marks = go.Scatter(x=x, y=y, mode="markers", customdata=POINTS + 1000, marker={"size": 8, "color": "#0072B2"})
    return go.Figure(marks).update_layout(title_text=f"Value {value}", dragmode="select", height=330)

def bars(numbers, said):
    heights = numpy.bincount(numpy.array([n % 10 for n in numbers], dtype=int), minlength=10)
    return go.Figure(go.Bar(y=heights, customdata=numpy.arange(10))).update_layout(title_text=said, height=260)

slider, button, remove = ipywidgets.IntSlider(0, 0, 50), ipywidgets.Button(description="Burst"), ipywidgets.Button(description="Remove")
left, right = Figure(points(0), label="A hundred points"), Figure(bars((), "Chosen 0"), label="The chosen points")
box = ipywidgets.VBox([ipywidgets.HBox([slider, button, remove]), left, right])
"""
LINK = """
def slide(change):
    left.figure = points(slider.value)

def link(change):
    right.figure = bars(left.selection, f"Chosen {len(left.selection)}: {','.join(map(str, left.selection[:3]))}")

def burst(_):
    for step in range(1, 21):
        right.figure = bars(range(step), f"Burst {step}")
    left.selection = (1042, 1007)

slider.observe(slide, "value")
left.observe(link, "selection")
button.on_click(burst)
remove.on_click(lambda _: setattr(box, "children", ()))
"""
SHOW = "box"
AGAIN = "left"


def written(path: Path, *, shown: tuple[str, ...] = (SHOW, AGAIN)) -> Path:
    """The notebook, in which the first figure has two views."""
    parameters = new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
    told = new_code_cell('f"the run is {RUN!r}"')
    folded = [new_code_cell(source, metadata={"jupyter": {"source_hidden": True}}) for source in (BUILD, LINK)]
    cells = [new_markdown_cell("# Which points?"), parameters, told, *folded, *map(new_code_cell, shown)]
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": KERNEL}), path)
    return path


HOSTILE = ("<script>window.__fired=1</script>", "<img src=x onerror=window.__fired=1>", "%{x}", "</script>", "$x^2$")
"""Words that do nothing where they are shown as words."""


def hostile_run(folder: Path) -> Path:
    """A tiny run whose transcripts, tokens and domains are hostile: the first feature of its text is what it has to learn."""
    words = [[f"word{n}", *HOSTILE] for n in range(120)]
    more = {"texts": [" ".join(row) for row in words], "tokens": words}
    domain = np.where(np.arange(120) % 2, "<b onclick=window.__fired=1>film", "meal")
    shapes = {"text": (120, 6, 4), "audio": (120, 9, 3), "vision": (120, 7, 3)}
    return run_on(folder, "hostile", np.linspace(-2, 2, 120, dtype="float32")[np.arange(120) * 7 % 120], shapes, domain=domain, **more)


def run_on(folder: Path, name: str, y: np.ndarray, shapes: dict[str, tuple[int, ...]], labels: object = None, **columns: object) -> Path:
    """A run of one epoch on noise of these shapes, in which the first modality tells `y`; `labels` are those of `y` by name."""
    random = np.random.default_rng(0)
    features = {m: random.normal(size=shape).astype("float32") for m, shape in shapes.items()}
    features[next(iter(shapes))][:, :, 0] += y[:, None]
    splits = np.repeat(["train", "valid", "test"], len(y) // 3)
    data = Dataset.from_arrays(y=y if labels is None else labels, splits=splits, **features, **columns)  # type: ignore[arg-type]
    source = save(data, folder / f"{name}.msa")
    experiment = Experiment(model={"name": "derl", **SMALL}, data=str(source), train={"epochs": 1, "validation_rates": (0.0, 0.5)})
    return train(experiment, folder / name, progress=False).path
