"""Do the pictures of an evolution show the numbers of their frames?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from planted_evolution import evolution, subset_traces

from msaviz.catalog import TABLES, VIEWS


@pytest.fixture(scope="module")
def frames():
    subject = evolution()
    asked = {name: TABLES[name](subject) for name in ("pareto_front", "lineage", "gene_frequency", "search_progress")}
    importance = [("nsga2", "model.dim", 0.8, 0.02, 0.2, 38), ("nsga2", "train.lr", 0.1, 0.01, 0.3, 38)]
    importance += [("random", "model.dim", 0.5, 0.02, 0.2, 40), ("random", "train.lr", 0.25, 0.01, 0.2, 40)]
    columns = ["arm", "gene", "importance", "sd", "floor", "trials"]
    asked["gene_importance"] = pd.DataFrame(importance, columns=columns).assign(run="planted")
    return asked | {"gate_by_subset": TABLES["gate_by_subset"](subset_traces())}


def named(figure, name):
    return [trace for trace in figure.data if trace.name == name]


def test_the_front_is_filled_and_joined(frames):
    frame = frames["pareto_front"]
    figure = VIEWS["pareto_front"](frame)
    for arm, rows in frame.groupby("arm"):
        (front,), (beaten,) = named(figure, f"{arm}, front"), named(figure, f"{arm}, beaten")
        assert len(front.x) == rows["front"].sum()
        assert len(beaten.x) == (~rows["front"]).sum()
        assert np.all(np.diff(front.x) >= 0)
        assert np.asarray(front.y) == pytest.approx(rows[rows["front"]].sort_values("parameters")["error"].to_numpy(), rel=1e-5)
        assert beaten.marker.symbol == f"{front.marker.symbol}-open"
    assert figure.layout.xaxis.type == "log"
    assert len({trace.marker.symbol for trace in figure.data}) == 7
    said = VIEWS["pareto_front"].read(frame)
    best = frame.loc[frame["error"].idxmin()]
    assert f"The smallest error is {best['error']:.3f}, of trial {best['trial']} of “nsga2” (child)" in said
    assert "“default” reaches" in said


def test_every_child_hangs_on_its_parent(frames):
    frame = frames["lineage"]
    figure = VIEWS["lineage"](frame)
    (thin,), (thick,) = named(figure, "parent to child"), named(figure, "line of the winner")
    winners = frame[frame["ancestor"]]
    assert len(thick.x) == 3 * (len(winners) - 1)  # two ends and a gap each
    assert len(thin.x) == 3 * ((frame["parent"] >= 0).sum() - len(winners) + 1)
    assert thick.line.width > 3 * thin.line.width
    errors = frame.set_index("trial")["error"]
    step = winners[winners["parent"] >= 0].iloc[0]
    assert list(thick.y[:2]) == pytest.approx([errors[step["parent"]], step["error"]], rel=1e-5)
    hovers = [text for trace in figure.data if trace.text is not None for text in trace.text]
    assert len(hovers) == len(frame)
    assert any("child of trial" in text and "→" in text for text in hovers)
    said = VIEWS["lineage"].read(frame)
    assert f"has error {winners['error'].min():.3f} after {len(winners) - 1} steps" in said


def test_without_parents_nothing_is_drawn_thick(frames):
    frame = frames["lineage"].query("generation == 0").assign(ancestor=False)
    assert not named(VIEWS["lineage"](frame), "line of the winner")
    assert VIEWS["lineage"].read(frame).startswith("No trial of “nsga2” was trained to the end")


def test_genes_that_move_most_are_drawn_and_the_rest_is_named(frames):
    frame = frames["gene_frequency"]
    figure = VIEWS["gene_frequency"](frame)
    assert len(figure.data) == 6
    assert "not drawn: model.modalities[audio]." in figure.layout.annotations[-1].text  # it never varies
    assert figure.layout.annotations[0].text.startswith("model.dim (moved 100 %)")
    for heat in figure.data:
        assert np.asarray(heat.z).sum(0) == pytest.approx(1)
    many = pd.concat([frame, *(frame[frame["gene"] == "model.experts"].assign(gene=f"model.more{i}") for i in range(4))], ignore_index=True)
    crowded = VIEWS["gene_frequency"](many)
    assert len(crowded.data) == 8
    left = crowded.layout.annotations[-1].text
    assert "Moved less and are not drawn" in left
    assert left.count("model.") == 11 - 8
    assert "the share of “128–256” went from 0 % to 100 %" in VIEWS["gene_frequency"].read(frame)
    assert "one generation only" in VIEWS["gene_frequency"].read(frame[frame["arm"] == "random"])
    with pytest.raises(ValueError, match="no arm 'x'"):
        VIEWS["gene_frequency"](frame, arm="x")


def test_only_bars_beyond_their_floor_count(frames):
    frame = frames["gene_importance"]
    figure = VIEWS["gene_importance"](frame)
    above, below, floors = (named(figure, name) for name in ("above chance", "not above chance", "95 % of permuted errors"))
    assert [len(bar.x) for bar in above] == [1, 2]
    assert [len(bar.x) for bar in below] == [1, 0]
    assert [list(tick.x) for tick in floors] == [pytest.approx([0.2, 0.3]), pytest.approx([0.2, 0.2])]
    said = VIEWS["gene_importance"].read(frame)
    assert "“model.dim” decides most: 80 % of the variance" in said
    assert "1 of 2 genes lie above chance" in said
    assert "no gene explains more" in VIEWS["gene_importance"].read(frame.assign(floor=0.9))


def test_arms_are_compared_at_the_same_number_of_trials(frames):
    frame = frames["search_progress"]
    figure = VIEWS["search_progress"](frame)
    assert len(figure.data) == 6
    assert {trace.line.shape for trace in figure.data} == {"hv"}
    assert len({trace.line.dash for trace in figure.data}) == 3
    at = frame[frame["evaluations"] == 39].set_index("arm")
    said = VIEWS["search_progress"].read(frame)
    assert f"After 39 trained trials each, “nsga2” has the lowest error, {at.loc['nsga2', 'best']:.3f}" in said
    assert f"“random” {at.loc['random', 'best']:.3f}" in said
    assert "none was trained to the end" in VIEWS["search_progress"].read(frame.assign(best=np.nan))


def test_absent_input_is_an_empty_row_and_zero_is_plain(frames):
    frame = frames["gate_by_subset"]
    figure = VIEWS["gate_by_subset"](frame)
    titles = [annotation.text for annotation in figure.layout.annotations]
    heats = dict(zip(titles, figure.data, strict=True))
    assert titles[:3] == ["local/text", "local/audio", "local/vision"]
    audio = heats["local/audio"]
    rows = dict(zip(audio.y, audio.text, strict=True))
    assert list(rows["text+vision"]) == ["", "", ""]
    assert list(rows["audio"]) == [".10", ".70", ".20"]
    joint = heats["global"]
    first = dict(zip(joint.x, dict(zip(joint.y, joint.text, strict=True))["text"], strict=True))
    assert first["text"] == "1"
    assert set(first.values()) == {"1", "0"}
    said = VIEWS["gate_by_subset"].read(frame)
    assert said.startswith("Given text+audio+vision, router “")
    assert "the largest change is that of" in said


def test_many_experts_get_a_row_of_panels_each(frames):
    frame = frames["gate_by_subset"]
    wide = pd.concat([frame.assign(router=frame["router"] + f" {i}") for i in range(3)], ignore_index=True)
    figure = VIEWS["gate_by_subset"](wide)
    assert len({trace.xaxis for trace in figure.data}) == 15
    assert len({axis.domain for axis in figure.select_xaxes()}) == 1  # under each other
