"""Does a source string mean what it says, and does each of several sources declare its scale?"""

import numpy as np
import pytest

from msaviz.data.load import load


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    draw = np.random.default_rng(0)
    for name, y in (("wide", np.linspace(-3, 3, 30)), ("narrow", np.linspace(-1, 1, 30)), ("polar", np.eye(3)[np.arange(30) % 3])):
        np.savez(
            folder / f"{name}.npz",
            y=y.astype(np.float32),
            audio=draw.normal(size=(30, 4, 2)),
            id=np.array([f"{name}v{i}" for i in range(30)]),
        )
    return folder


def test_scales_are_declared_and_never_guessed(files):
    data = load(f"{files}/wide.npz:low=-3,high=3 | {files}/narrow.npz:low=-1,high=1")
    assert data.spec.domains == ("wide", "narrow")
    assert data.source.endswith("narrow.npz:low=-1,high=1")
    assert max(s.labels["sentiment"][s.domain == 1].max() for s in data.splits.values()) == 3
    again = load(f"{files}/wide.npz:low=-3,high=3 | {files}/narrow.npz:low=-2,high=2")
    assert max(s.labels["sentiment"][s.domain == 1].max() for s in again.splits.values()) == 1.5
    assert data.fingerprint != again.fingerprint
    with_made = load(f"synthetic:rows=200 | {files}/narrow.npz:low=-1,high=1")
    assert with_made.spec.domains[-1] == "narrow"


def test_classes_beside_numbers_are_placed_where_they_are_declared(files):
    data = load(f"{files}/wide.npz:low=-3,high=3 | {files}/polar.npz:low=-1,high=1")
    found = {float(y) for s in data.splits.values() for y in s.labels["sentiment"][s.domain == 1]}
    assert found == {-3.0, 0.0, 3.0}
    assert "polar: sentiment: the classes negative, neutral, positive were placed at -1, 0, 1." in data.traps
    alone = load(f"{files}/polar.npz | {files}/polar.npz:own=audio")
    assert alone.spec.task.classes == ("negative", "neutral", "positive")
    assert alone.columns == {"audio": {"polar": (0, 2), "polar-2": (2, 4)}}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("wide.npz:low=-3,high=3 | {}/narrow.npz", r"narrow.npz': labels of several .* Add low=...,high=... .*as low=-1,high=1\)"),
        ("wide.npz:low=-3 | {}/narrow.npz:low=-1,high=1", r"wide.npz:low=-3': .*as low=-3,high=3\)"),
        ("wide.npz:low=-3,high=3 | {}/polar.npz", "polar.npz': its labels are the classes negative, neutral, positive.*equal distances"),
        ("wide.npz:low=3,high=-3 | {}/narrow.npz:low=-1,high=1", "low must be below high; got 3 and -3"),
        ("wide.npz:low=-3,high=3 | {}/none.npz:low=-1,high=1", "no data at '.*none.npz'"),
        ("wide.npz:low=-3,high=3 | ", "no data at ''"),
        ("wide.npz:low=-3,high=3,own=text | synthetic", "wide, option own: text is no modality of vectors there; these are: audio"),
        ("wide.npz:own=audio", "has no option own"),
    ],
)
def test_a_bad_part_is_named(files, source, expected):
    with pytest.raises(ValueError, match=expected):
        load(f"{files}/{source.format(files)}")
