"""Do the maps name the right expert, and do they stand still over the epochs?"""

import sys
import types
from dataclasses import replace

import numpy as np
import pytest

from msaviz.catalog import TABLES
from msaviz.interpret import representation_epochs


def test_the_map_names_the_busiest_expert(trace, planted):
    frame = TABLES["representation_map"](trace)
    assert list(frame.columns)[7:9] == ["label", "expert"]
    expert = frame.groupby("representation")["expert"].unique()
    assert [list(expert[f"shared/{m}"]) for m in planted.MODALITIES] == [["0"], ["1"], ["2"]]
    assert list(expert["private/vision"]) == ["2"]  # no router "private": the first one that sees vision
    assert list(expert["fused"]) == ["0"]  # no router of its own: the first one of the trace
    alone = [replace(o, routing={"domain/text": o.routing["domain/text"]}) for o in trace.outputs]
    one = TABLES["representation_map"](replace(trace, outputs=tuple(alone)), representation="fused")
    assert one.groupby("domain")["expert"].unique().map(list).to_dict() == {"news": ["1"], "film": ["3"]}


def test_a_representation_reads_its_own_router(planted):
    trace = planted.planted(40)
    own = [replace(o, routing={**o.routing, "private/text": o.routing["domain/text"]}) for o in trace.outputs]
    frame = TABLES["representation_map"](replace(trace, outputs=tuple(own)), representation=["private/text", "shared/text"])
    found = frame.groupby(["representation", "domain"])["expert"].unique().map(list)
    assert found["private/text"].to_dict() == {"news": ["1"], "film": ["3"]}
    assert found["shared/text"].to_dict() == {"news": ["0"], "film": ["0"]}


def test_nothing_routed_is_none(planted):
    assert set(TABLES["representation_map"](planted.plain())["expert"]) == {"none"}
    trace = planted.planted(80, absent=0.5)
    vision = [replace(o, routing={"shared/vision": o.routing["shared/vision"]}) for o in trace.outputs]
    frame = TABLES["representation_map"](replace(trace, outputs=tuple(vision)), representation="fused").sort_values("example")
    assert np.array_equal(frame["expert"] == "2", trace.present("vision"))
    assert set(frame["expert"]) == {"2", "none"}


@pytest.fixture
def epochs(planted):
    """Three epochs of one cloud that only turns, flips and grows."""
    g = np.random.default_rng(0)
    x, domain = g.normal(size=(90, 5)) * [4, 2, 0.1, 0.1, 0.1], np.arange(90) % 2
    turns = [np.linalg.qr(g.normal(size=(5, 5)))[0] for _ in range(3)]
    return {epoch: planted.given(epoch * x @ turn, domain, label=x[:, 0]) for epoch, turn in zip((4, 1, 2), turns, strict=True)}


def test_epochs_lie_on_each_other(epochs):
    frame = TABLES["representation_epochs"](epochs)
    assert list(frame["epoch"].unique()) == [1, 2, 4]
    assert len(frame) == 3 * 90
    place = {epoch: part[["x", "y"]].to_numpy() for epoch, part in frame.groupby("epoch")}
    # what only turned and grew is, aligned, the same picture at another size
    assert place[1] * 4 == pytest.approx(place[4], abs=1e-3)
    assert place[2] * 2 == pytest.approx(place[4], abs=1e-3)
    alone = TABLES["representation_map"](epochs[4], representation="fused")
    assert np.array_equal(alone[["x", "y"]], place[4])
    assert set(frame["method"]) == {"pca"}
    assert frame["domain"].value_counts().to_dict() == {"place 0": 135, "place 1": 135}


def test_turning_is_the_best_rotation():
    g = np.random.default_rng(0)
    a, b = g.normal(size=(50, 2)), g.normal(size=(50, 2))
    best = representation_epochs.rotation(a, b)
    assert best @ best.T == pytest.approx(np.eye(2))
    least = ((a @ best - b) ** 2).sum()
    for angle in np.linspace(0, 2 * np.pi, 60):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        for flip in (1, -1):
            assert ((a @ turn * [1, flip] - b) ** 2).sum() >= least - 1e-9


def test_absent_modalities_and_limits(planted):
    trace = planted.planted(80, absent=0.5)
    frame = TABLES["representation_epochs"]({1: trace, 2: trace}, representation="private/vision")
    assert (frame.groupby("epoch")["example"].size() == trace.present("vision").sum()).all()
    one, two = (part.drop(columns="epoch").reset_index(drop=True) for _, part in frame.groupby("epoch"))
    assert np.allclose(one[["x", "y"]], two[["x", "y"]], atol=1e-4)
    few = TABLES["representation_epochs"]({1: trace, 2: trace}, limit=20)
    assert (few.groupby("epoch")["example"].nunique() == 20).all()
    assert few.groupby("example").size().eq(2).all()


def test_what_cannot_be_laid_side_by_side_is_refused(epochs, planted):
    one = epochs[1]
    table = TABLES["representation_epochs"]
    assert table.of == "epochs"
    for wrong in ({}, {3: one}):
        with pytest.raises(ValueError, match="at least 2"):
            table(wrong)
    shorter = planted.given(np.zeros((50, 5)), np.zeros(50))
    with pytest.raises(ValueError, match="same utterances.*50 of split 'test' at epoch 2"):
        table({1: one, 2: shorter})
    with pytest.raises(ValueError, match="same utterances.*split 'valid'"):
        table({1: one, 2: replace(one, split="valid")})
    with pytest.raises(ValueError, match="these exist: fused"):
        table(epochs, representation="spare")
    with pytest.raises(ValueError, match="these exist: pca, aligned_umap"):
        table(epochs, method="tsne")


def test_aligned_umap_is_asked_once_for_the_same_content(epochs, monkeypatch, tmp_path):
    monkeypatch.setenv("MSAVIZ_CACHE", str(tmp_path))
    calls = []

    class Fake:
        def __init__(self, **options):
            calls.append(options)

        def fit_transform(self, x, relations):
            assert relations == [{i: i for i in range(90)}] * 2
            return [part[:, :2] for part in x]

    monkeypatch.setitem(sys.modules, "umap", types.SimpleNamespace(AlignedUMAP=Fake))
    first = TABLES["representation_epochs"](epochs, method="aligned_umap")
    assert first.equals(TABLES["representation_epochs"](epochs, method="aligned_umap"))
    assert len(calls) == 1
    assert set(first["method"]) == {"aligned_umap"}
    TABLES["representation_epochs"](epochs, method="aligned_umap", seed=1)
    assert [call["random_state"] for call in calls] == [0, 1]
    assert first.query("epoch == 4")[["x", "y"]].to_numpy() == pytest.approx(epochs[4].representations["fused"][:, :2])
