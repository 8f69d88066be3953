"""Do the tables about spaces find what was planted in them, and nothing in noise?"""

import numpy as np
import pytest

from msaviz.catalog import TABLES
from msaviz.interpret import similarity


@pytest.fixture(scope="module")
def overlap(trace):
    frame = TABLES["space_overlap"](trace)
    return frame.assign(pair=frame["representation"] + "+" + frame["other"]).set_index(["pair", "metric"])


@pytest.fixture(scope="module")
def leaks(trace):
    return TABLES["leakage"](trace).set_index(["representation", "target", "metric"])


def test_identical_and_orthogonal_spaces(overlap):
    value = overlap["value"]
    for metric in ("cosine", "cka", "angle_max", "angle_mean"):
        assert value["shared/text+shared/audio", metric] > 0.85, metric
        assert value["private/text+private/audio", metric] < 0.12, metric
    assert value["shared/text+shared/audio", "hsic"] > 0.9
    alike = overlap[overlap["value"] > overlap["floor"]].index.get_level_values("pair")
    assert {"shared/text+shared/audio", "shared/text+shared/vision", "shared/audio+shared/vision"} <= set(alike)
    planted = overlap[overlap.index.get_level_values("pair").str.startswith("shared/text+private")]
    assert (planted["value"] > planted["floor"]).mean() <= 0.2


def test_principal_angles(trace):
    frame = TABLES["principal_angles"](trace)
    frame = frame.assign(pair=frame["representation"] + "+" + frame["other"]).groupby("pair")["value"]
    assert frame.max()["shared/text+shared/audio"] < 10
    assert frame.min()["private/text+private/audio"] > 80
    assert frame.apply(lambda angles: angles.is_monotonic_increasing).all()


def test_similarity_formulas():
    g = np.random.default_rng(0)
    x, y = g.normal(size=(300, 6)), g.normal(size=(300, 4))
    turned = x @ np.linalg.qr(g.normal(size=(6, 6)))[0]
    for debiased in (True, False):
        assert similarity.linear_cka(x, 3 * turned + 5, debiased=debiased) == pytest.approx(1)
    centre = np.eye(300) - 1 / 300
    k, l = centre @ x @ x.T @ centre, centre @ y @ y.T @ centre
    plain = (k * l).sum() / np.sqrt((k * k).sum() * (l * l).sum())
    assert similarity.linear_cka(x, y, debiased=False) == pytest.approx(plain)
    assert abs(similarity.linear_cka(x, y)) < plain
    assert similarity.normalised_hsic(similarity.gram(x), similarity.gram(x)) == pytest.approx(1)
    circle = np.stack([np.cos(x[:, 0]), np.sin(x[:, 0])], 1)
    assert similarity.normalised_hsic(similarity.gram(x[:, :1]), similarity.gram(circle)) > 0.3
    assert similarity.principal_cosines(np.eye(5)[:, :2], np.eye(5)[:, 1:3]) == pytest.approx([1, 0])
    noise = np.mean([similarity.linear_cka(g.normal(size=(40, 30)), g.normal(size=(40, 30))) for _ in range(50)])
    assert abs(noise) < 0.02  # the plain one is near .4 here
    assert similarity.squared_cosine(g.normal(size=(4000, 10)), g.normal(size=(4000, 10))) == pytest.approx(0.1, abs=0.01)


def test_planted_leaks_are_found(leaks):
    assert leaks.loc[("private/text", "label", "r2"), "value"] > 0.9
    assert leaks.loc[("private/vision", "domain", "balanced_accuracy"), "value"] > 0.9
    for target, metric, known in (("label", "r2", {"fused", "private/text"}), ("domain", "balanced_accuracy", {"private/vision"})):
        part = leaks.xs((target, metric), level=("target", "metric"))
        assert set(part[part["low"] > part["floor"]].index) == known, target


def test_noise_stays_within_the_floor(leaks):
    noise = leaks.loc["private/audio"]
    assert (noise["low"] <= noise["floor"]).all()
    shared = leaks.loc[("shared", "modality", "balanced_accuracy")]
    assert shared["low"] <= shared["floor"]
    assert shared["floor"] == pytest.approx(1 / 3, abs=0.06)
    assert (leaks["low"] <= leaks["value"] + 1e-6).all()
    assert (leaks["value"] <= leaks["high"] + 1e-6).all()


def test_modality_leak(planted):
    from dataclasses import replace

    trace = planted.planted(150)
    shifted = [replace(o, shared={m: x + i * (x != 0) for i, (m, x) in enumerate(o.shared.items())}) for o in trace.outputs]
    frame = TABLES["leakage"](replace(trace, outputs=tuple(shifted))).set_index(["representation", "target"])
    assert frame.loc[("shared", "modality"), "value"] > 0.95


def test_leakage_of_classes(classes):
    frame = TABLES["leakage"](classes).set_index(["representation", "target"])
    assert frame.loc[("private/text", "label"), "metric"] == "balanced_accuracy"
    assert frame.loc[("private/text", "label"), "value"] > 0.9


def test_map(trace, planted):
    frame = TABLES["representation_map"](trace)
    counts = frame.groupby("representation")["example"].size()
    assert counts["shared/text"] == 400
    assert counts["private/vision"] == trace.present("vision").sum()
    text = frame[frame["representation"] == "private/vision"]
    assert abs(np.corrcoef(text["x"], text["domain"] == "film")[0, 1]) > 0.8
    assert frame.groupby("representation")["explained"].first()["shared/text"] > 0.95
    assert TABLES["representation_map"](trace).equals(frame)
    few = TABLES["representation_map"](trace, representation="fused", limit=100)
    assert len(few) == 100
    assert (few["domain"] == "film").mean() == pytest.approx(1 / 3, abs=0.02)
    both = TABLES["representation_map"](trace, representation=["shared/text", "private/text"], together=True)
    assert both["explained"].nunique() == 1
    for wrong in ({"representation": "spare"}, {"method": "tsne"}):
        with pytest.raises(ValueError, match="these exist"):
            TABLES["representation_map"](trace, **wrong)


def test_pca_is_a_projection():
    from msaviz.interpret.representation_map import principal

    g = np.random.default_rng(0)
    x = g.normal(size=(50, 5)) * [5, 3, 1, 0.5, 0.1]
    place, share = principal(x)
    values = np.linalg.svd(x - x.mean(0), compute_uv=False) ** 2
    assert share == pytest.approx(values[:2].sum() / values.sum())
    assert (place.astype(float) ** 2).sum(0) == pytest.approx(values[:2], rel=1e-4)


def test_umap_is_cached_by_content(trace, monkeypatch, tmp_path):
    from msaviz.interpret import representation_map

    monkeypatch.setenv("MSAVIZ_CACHE", str(tmp_path))
    x = trace.representations["fused"]
    import sys
    import types

    calls = []

    class Fake:
        def __init__(self, **options):
            calls.append(options)

        def fit_transform(self, x):
            return x[:, :2] * 2

    monkeypatch.setitem(sys.modules, "umap", types.SimpleNamespace(UMAP=Fake))
    first = representation_map.neighbours(x, 0)
    assert np.array_equal(representation_map.neighbours(x.copy(), 0), first)
    assert len(calls) == 1
    representation_map.neighbours(x + 1, 0)
    assert len(calls) == 2
    frame = TABLES["representation_map"](trace, representation="fused", method="umap")
    assert frame["explained"].isna().all()
    assert set(frame["method"]) == {"umap"}
    assert not list(tmp_path.rglob("*.tmp"))
