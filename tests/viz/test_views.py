"""Does every view draw every table it names, say a true sentence, and leave its frame alone?"""

import subprocess
import sys

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from msaviz.catalog import TABLES, VIEWS
from msaviz.viz import theme

VIEW_NAMES = list(VIEWS)
HOSTILE = "<b>x</b> & %{y} <script>alert(1)</script>"


def texts(value):
    if isinstance(value, dict):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.dtype == object):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, str):
        yield value


def test_the_views_that_the_plan_names_exist():
    named = {
        "expert_usage",
        "expert_time",
        "router_health",
        "fusion_importance",
        "space_overlap",
        "principal_angles",
        "leakage",
        "representation_map",
    }
    named |= {
        "domain_gap",
        "gate_by_domain",
        "expert_masks",
        "expert_knockout",
        "calibration",
        "representation_epochs",
        "domain_comparison",
    }
    named |= {"missing_curve", "missing_summary", "subset_scores", "learning_curves", "error_by_group", "prediction_scatter"}
    assert named <= set(VIEW_NAMES)
    assert {VIEWS[name].table for name in VIEW_NAMES} >= set(TABLES)


@pytest.mark.parametrize("name", VIEW_NAMES)
def test_needs_are_columns_of_the_table(name):
    view = VIEWS[name]
    assert set(view.needs) <= set(TABLES[view.table].columns)
    assert view.title
    assert view.explain


@pytest.mark.parametrize("name", VIEW_NAMES)
@pytest.mark.parametrize("kind", ["frames", "class_frames"])
def test_draws_a_planted_trace(name, kind, request):
    view, frame = VIEWS[name], request.getfixturevalue(kind)[VIEWS[name].table]
    before = frame.copy(deep=True)
    figure = view(frame)
    pd.testing.assert_frame_equal(frame, before)
    assert isinstance(figure, go.Figure)
    assert len(figure.data)
    assert view.title in figure.layout.title.text
    axes = [axis.title.text for axis in (*figure.select_xaxes(), *figure.select_yaxes()) if axis.title.text]
    titles = [annotation.text for annotation in figure.layout.annotations]
    bars = figure.layout.coloraxis.colorbar.title.text
    assert axes or titles or bars, "nothing says what the axes mean"
    said = view.read(frame)
    assert said.endswith(".")
    assert "nan" not in said.lower()
    assert "\n" not in said


@pytest.mark.parametrize("name", VIEW_NAMES)
def test_draws_an_empty_frame(name):
    view = VIEWS[name]
    frame = pd.DataFrame(columns=list(TABLES[view.table].columns))
    figure = view(frame)
    assert len(figure.data) == 0
    assert "Nothing to draw" in figure.layout.annotations[0].text
    assert "nothing" in view.read(frame)


@pytest.mark.parametrize("name", VIEW_NAMES)
def test_says_which_columns_are_missing(name, frames):
    view = VIEWS[name]
    with pytest.raises(ValueError, match=view.needs[-1]):
        view(frames[view.table].drop(columns=view.needs[-1]))


@pytest.mark.parametrize("name", VIEW_NAMES)
def test_text_from_the_data_is_escaped_everywhere(name, frames):
    view = VIEWS[name]
    frame = frames[view.table].copy()
    for column in ("run", "router", "modality", "representation", "other", "domain", "expert", "group", "subset", "model"):
        if column in frame.columns and frame[column].dtype != "int64" and not (column == "group" and name == "expert_time"):
            keep = frame[column].isin(["all", "planted"])
            frame[column] = frame[column].where(keep, frame[column].astype(str) + HOSTILE)
    name_of = "run" if "run" in frame else "protocol"  # a comparison is of models, over many runs
    frame[name_of] = frame[name_of].astype(str) + HOSTILE
    found = [text for text in texts(view(frame).to_dict()["data"]) if "alert(1)" in text]
    figure = view(frame)
    found += [text for text in texts({k: v for k, v in figure.to_dict()["layout"].items() if k != "template"}) if "alert(1)" in text]
    for text in found:
        assert "<script" not in text
        assert "<b>" not in text
        assert "%{y} &lt;" not in text


@pytest.mark.parametrize("name", VIEW_NAMES)
def test_arrays_are_small(name, frames):
    for trace in VIEWS[name](frames[VIEWS[name].table]).data:
        for key in ("x", "y", "z"):
            value = trace.to_plotly_json().get(key)
            if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                assert value.dtype == np.float32, (trace.name, key)


@pytest.mark.parametrize("name", VIEW_NAMES)
def test_lines_and_dots_differ_without_colour(name, frames):
    """Two series of one panel with the same dash, symbol and pattern cannot be told apart in black and white."""
    seen = {}
    for trace in VIEWS[name](frames[VIEWS[name].table]).data:
        if trace.type not in ("scatter", "scattergl", "bar") or trace.hoverinfo == "skip" or not trace.name:
            continue
        shape = trace.marker.pattern.shape if trace.type == "bar" else (trace.mode, trace.line.dash, trace.marker.symbol)
        seen.setdefault((trace.xaxis, shape), set()).add(trace.name)
    assert all(len(names) == 1 for names in seen.values()), seen


@pytest.mark.parametrize("name", VIEW_NAMES)
def test_draws_two_runs(name, frames):
    view = VIEWS[name]
    frame = frames[view.table]
    key = "run" if "run" in frame else "model"
    second = frame.assign(**{key: frame[key] + " again"})
    figure = view(pd.concat([frame, second], ignore_index=True))
    assert len(figure.data) >= len(view(frame).data)


def test_read_gives_true_numbers(frames):
    assert "0.900 at rate 0.0, 1.260 at 0.9" in VIEWS["missing_curve"].read(frames["missing_curve"])
    assert "“derl” has the best mean MAE of 1.080 (5 seeds" in VIEWS["missing_curve"].read(frames["missing_curve"])
    assert "derl 1.080" in VIEWS["missing_summary"].read(frames["missing_summary"])
    assert "best validation MAE at missing rate 0 was 0.700, at step 400" in VIEWS["learning_curves"].read(frames["learning_curves"])
    assert "router “domain” changes most for text: expert" in VIEWS["expert_usage"].read(frames["expert_usage"])
    assert "0.500 for domain “news” (80 utterances) to 1.000 for domain “film” (40)" in VIEWS["error_by_group"].read(
        frames["error_by_group"]
    )
    assert "best “fused”" in VIEWS["leakage"].read(frames["leakage"])
    assert "most on “private/text”" in VIEWS["fusion_importance"].read(frames["fusion_importance"])
    assert "0 of 24 experts are dead" in VIEWS["router_health"].read(frames["router_health"])
    assert "for text its weight lies" in VIEWS["expert_time"].read(frames["expert_usage"])


def test_options(frames):
    for by in ("all", "domain", "label"):
        assert len(VIEWS["expert_usage"](frames["expert_usage"], by=by).data) == 4
    for by in ("domain", "label", "error", "representation"):
        assert len(VIEWS["representation_map"](frames["representation_map"], colour_by=by).data)
    assert len(VIEWS["missing_curve"](frames["missing_curve"], metrics=["corr"]).data)
    for wrong, options in (
        ("expert_usage", {"by": "x"}),
        ("representation_map", {"colour_by": "x"}),
        ("missing_curve", {"metrics": ["x"]}),
    ):
        with pytest.raises(ValueError, match=r"no .* 'x'"):
            VIEWS[wrong](frames[VIEWS[wrong].table], **options)


def test_importance_over_rates(planted):
    frame = TABLES["fusion_importance"]([(rate, planted.planted(60, absent=rate)) for rate in (0.0, 0.4, 0.8)])
    figure = VIEWS["fusion_importance"](frame)
    assert {trace.mode for trace in figure.data} == {"lines+markers"}
    assert "at rate 0.8" in VIEWS["fusion_importance"].read(frame)


def test_published_selection_is_stamped(planted):
    frame = TABLES["missing_curve"](planted.sweep(models=("derl",)).assign(selection="published"))
    assert any("selection: published" in str(trace.name) for trace in VIEWS["missing_curve"](frame).data)


@pytest.mark.parametrize("name", VIEW_NAMES)
def test_dark_theme_keeps_no_light_ink(name, frames):
    light = VIEWS[name](frames[VIEWS[name].table])
    before = light.to_json()
    dark = theme.styled(light, theme="dark")
    assert light.to_json() == before
    assert dark.layout.template.layout.paper_bgcolor == "#111417"
    data = str({"data": dark.to_dict()["data"]})
    assert not [colour for colour in theme.COLOURS if colour in data]
    with pytest.raises(ValueError, match="light, dark"):
        theme.styled(light, theme="sepia")


def test_drawing_loads_no_torch():
    code = (
        "import sys, pandas as pd\n"
        "import msaviz.viz\n"
        "from msaviz.catalog import VIEWS\n"
        "for name in VIEWS: VIEWS[name](pd.DataFrame(columns=list(VIEWS[name].needs)))\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('torch', 'sklearn', 'umap') or m.startswith('msaviz.interpret')])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_nothing_uploads():
    assert theme.CONFIG["showSendToCloud"] is False
    assert theme.safe("<b> & %{y}") == "&lt;b&gt; &amp; %&#123;y}"


def test_fifty_thousand_points_stay_small():
    g, n = np.random.default_rng(0), 50_000
    label = g.uniform(-3, 3, n)
    shown = {"run": "r", "split": "test", "example": np.arange(n), "domain": g.choice(["film", "meal"], n), "label": label}
    frame = pd.DataFrame({**shown, "prediction": label / 2, "error": -label / 2, "label_group": "positive", "prediction_group": "positive"})
    scatter = VIEWS["prediction_scatter"](frame)
    drawn = [trace for trace in scatter.data if trace.customdata is not None]
    assert sum(len(trace.x) for trace in drawn) == 20_000
    assert all(np.allclose(trace.x, label[np.asarray(trace.customdata)], atol=1e-6) for trace in drawn)
    assert any("20,000 of 50,000 drawn" in note.text for note in scatter.layout.annotations)
    spread = {"representation": "fused", "x": label, "y": label, "expert": "0", "explained": 0.5}
    cloud = VIEWS["representation_map"](frame.assign(**spread).iloc[:20_000], colour_by="label")  # the table draws so many
    assert len(scatter.to_json()) + len(cloud.to_json()) < 2_000_000
