"""Do batches hold exactly the rows asked for, padded to themselves, normalised by train alone?"""

import hashlib

import numpy as np
import pytest
import torch

from msaviz.data import dataset as module
from msaviz.data import load as loading
from msaviz.data.dataset import Dataset
from msaviz.data.ragged import Ragged, Strings, hull, prefix
from msaviz.types import Task

ROWS = 40


def make(**changes):
    g = np.random.default_rng(0)
    lengths = {"speech": g.integers(0, 8, ROWS), "gaze": g.integers(1, 5, ROWS)}
    arrays = {"speech": 5 + 3 * g.normal(size=(ROWS, 7, 3)), "gaze": g.normal(size=(ROWS, 4, 2))}
    given = {"lengths": lengths, "splits": np.repeat(["train", "valid", "test", "train"], 10), "y": g.uniform(-3, 3, ROWS), **arrays}
    return Dataset.from_arrays(**{**given, **changes}), arrays, lengths


def flat(parts):
    return [row for part in parts for row in part]


def test_ragged_and_strings_round_trip():
    g = np.random.default_rng(1)
    rows = [g.normal(size=(n, 3)).astype(np.float32) for n in (2, 0, 5, 1)]
    ragged = Ragged.from_rows(rows)
    for i, row in enumerate(rows):
        np.testing.assert_array_equal(ragged.row(i), row)
    padded, valid = ragged.padded()
    assert padded.shape == (4, 5, 3)
    np.testing.assert_array_equal(valid, prefix(np.array([2, 0, 5, 1]), 5))
    again = Ragged.from_padded(padded, valid)
    np.testing.assert_array_equal(again.values, ragged.values)
    np.testing.assert_array_equal(again.take([3, 0]).values, np.concatenate([rows[3], rows[0]]))
    np.testing.assert_array_equal(hull(np.array([[0, 1, 0, 1, 0], [0, 0, 0, 0, 0]], bool)), [[0, 1, 1, 1, 0], [0, 0, 0, 0, 0]])
    assert list(Strings.pack(["früh", "", "x"])) == ["früh", "", "x"]
    with pytest.raises(ValueError, match="offsets must run from 0 to 3"):
        Ragged(np.zeros((3, 1)), np.array([0, 2]))


def test_a_batch_holds_its_rows_padded_to_itself_and_normalised():
    data, arrays, lengths = make()
    train = np.r_[0:10, 30:40]
    rows = [7, 0, 12]
    batch = data["train"].batch(rows)
    assert batch.example.tolist() == rows
    for m, x in arrays.items():
        valid = prefix(lengths[m][train], x.shape[1])
        steps = x[train][valid]
        expected = np.clip((x[train][rows] - steps.mean(0)) / steps.std(0), -10, 10) * valid[rows][..., None]
        longest = max(1, lengths[m][train][rows].max())
        assert batch.x[m].shape[1] == longest
        np.testing.assert_allclose(batch.x[m].numpy(), expected[:, :longest], atol=1e-5)
        np.testing.assert_array_equal(batch.mask[m].numpy(), valid[rows][:, :longest])


def test_normalisation_knows_train_only():
    plain, arrays, _ = make()
    moved = arrays["speech"].copy()
    moved[10:30] += 1000  # valid and test
    other, _, _ = make(speech=moved)
    for m in arrays:
        for a, b in zip(plain.normalisation[m], other.normalisation[m], strict=True):
            np.testing.assert_array_equal(a, b)
    raw, _, _ = make(normalise=[])
    assert raw["train"].batch([1, 2]).x["speech"].mean() > 1
    assert abs(float(plain["train"].batch(np.arange(20)).x["speech"].sum())) < 1e-2


def test_the_cached_path_and_the_streaming_path_agree(monkeypatch):
    fast, slow = make()[0], make()[0]
    rows = [3, 9, 1, 1]
    a = fast["test"].batch(rows % np.int64(10))
    monkeypatch.setattr(module, "CACHE_BYTES", -1)
    b = slow["test"].batch(rows % np.int64(10))
    assert not slow["test"]._cache
    for m in a.x:
        assert torch.equal(a.x[m], b.x[m])
        assert torch.equal(a.mask[m], b.mask[m])


def test_nan_infinity_constants_and_outliers():
    g = np.random.default_rng(2)
    x = g.normal(size=(ROWS, 4, 3))
    x[0, 0, 0], x[1, 1, 1], x[2, 2, 1], x[:, :, 2], x[3, 3, 0] = np.nan, -np.inf, np.inf, 7, 1e9
    data = Dataset.from_arrays(speech=x, y=g.normal(size=ROWS), lengths=np.full(ROWS, 4), splits={"train": np.arange(ROWS)})
    batch = data["train"].batch(np.arange(ROWS)).x["speech"]
    assert torch.isfinite(batch).all()
    assert batch[0, 0, 0] == batch[1, 1, 1] == batch[2, 2, 1] == 0
    assert (batch[:, :, 2] == 0).all()
    assert batch.abs().max() <= module.CLIP
    assert any("3 of 480 values are NaN or infinite" in t for t in data.traps)
    assert any("1 of 3 features never vary" in t for t in data.traps)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("bucket", [False, True])
def test_every_row_once_the_tail_too_in_an_order_of_seed_and_epoch(shuffle, bucket):
    data, _, _ = make()
    split = data["train"]

    def order(**more):
        return [b.example.tolist() for b in split.batches(3, shuffle=shuffle, bucket=bucket, **more)]

    first = order(seed=1, epoch=2)
    assert sorted(flat(first)) == list(range(20))
    assert sorted(map(len, first)) == [2, 3, 3, 3, 3, 3, 3]
    assert first == order(seed=1, epoch=2)
    assert (first != order(seed=1, epoch=3)) == shuffle
    assert (first != order(seed=2, epoch=2)) == shuffle
    if not shuffle and not bucket:
        assert flat(first) == list(range(20))
    assert sorted(flat(order(rows=[4, 8, 6, 2]))) == [2, 4, 6, 8]


def test_buckets_save_padding():
    g = np.random.default_rng(3)
    lengths = g.integers(1, 200, 600)
    data = Dataset.from_arrays(speech=[g.normal(size=(n, 1)) for n in lengths], y=g.normal(size=600), splits=["train"] * 600)

    def share(**more):
        masks = [b.mask["speech"] for b in data["train"].batches(20, **more)]
        return sum(int(m.sum()) for m in masks) / sum(m.numel() for m in masks)

    assert share(bucket=False) < 0.65
    assert share(bucket=True) > 0.95
    assert share(bucket=True, shuffle=True) > 0.9


def test_ids_labels_domains_and_missing_rows():
    x = [None, np.array([4, 5, 6]), np.array([2]), np.array([1, 1])] * 10
    data = Dataset.from_arrays(
        text=x,
        audio=np.ones((ROWS, 6)),
        y={"mood": ["sad", "", "glad", "sad"] * 10, "score": np.array([1, np.nan, 2, 9] * 10)},
        domain=["tv", "radio"] * 20,
        splits={"train": np.arange(20), "dev": np.arange(20, 40)},
        vocabularies={"text": 9},
        unknown={"text": 3},
        tokens=[[], ["a", "b", "c"], ["d"], ["e", "f"]] * 10,
    )
    assert data.spec.vocabularies == {"text": 9}
    assert data.spec.widths == {"audio": 6}
    assert data.spec.modalities == ("text", "audio")
    assert data.spec.tasks == {"mood": Task("classes", classes=("glad", "sad")), "score": Task(low=-3, high=9)}
    assert list(data.splits) == ["train", "valid"]
    batch = data["valid"].batch([0, 1, 2])
    assert batch.x["text"].dtype == torch.int64
    assert batch.x["text"].tolist() == [[0, 0, 0], [4, 5, 6], [2, 0, 0]]
    assert batch.mask["text"].any(1).tolist() == [False, True, True]
    assert batch.labels["mood"].tolist() == [1, -1, 0]
    assert batch.labels["score"].isnan().tolist() == [False, True, False]
    assert batch.domain.tolist() == [0, 1, 0]
    assert data["valid"].tokens(1) == ["a", "b", "c"]
    assert data["valid"].tokens(0) == []
    assert data.unknown == {"text": 3}


def test_without_lengths_zeros_at_both_ends_are_padding():
    x = np.ones((ROWS, 6, 2))
    x[:, :2] = x[:, 5:] = x[:, 3] = 0
    x[4] = 0
    data = Dataset.from_arrays(audio=x, y=np.arange(ROWS) / 20, splits=["train"] * ROWS)
    assert data["train"].lengths("audio").tolist() == [3] * 4 + [0] + [3] * 35


def test_select_keeps_some_modalities_and_changes_the_fingerprint():
    data, _, _ = make()
    one = data.select(["gaze"])
    assert one.spec.modalities == ("gaze",)
    assert one["train"].batch([0]).modalities == ("gaze",)
    assert one.fingerprint != data.fingerprint
    assert data.select(["gaze", "speech"]) is data
    with pytest.raises(ValueError, match="has the modalities"):
        data.select(["smell"])


def test_the_fingerprint_is_the_content():
    a, arrays, _ = make()
    b, _, _ = make()
    assert a.fingerprint == b.fingerprint
    assert len(a.fingerprint) == len(hashlib.sha256().hexdigest())
    changed = arrays["speech"].copy()
    changed[0, 0, 0] += 1
    lengths = {"speech": np.full(ROWS, 7), "gaze": np.full(ROWS, 4)}
    assert make(speech=changed, lengths=lengths)[0].fingerprint != make(lengths=lengths)[0].fingerprint


def test_leaks_between_splits_are_told():
    ids = [f"video{i // 4}_{i}" for i in range(ROWS)]
    data, _, _ = make(ids=ids)
    assert any(t.startswith("Leak: clips of") for t in data.traps)
    data, _, _ = make(ids=["same"] * ROWS)
    assert any("ids occur both in train and in valid" in t for t in data.traps)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"speech": np.zeros((39, 7, 3))}, r"'speech': expected \[40 t w\].*got \[39, 7, 3\]"),
        ({"speech": np.zeros((40, 7, 3, 2))}, r"got \[40, 7, 3, 2\]"),
        ({"speech": np.array([["a"]] * 40)}, "expected numbers"),
        ({"speech": [np.zeros((2, 3))] * 39 + [np.zeros((2, 4))]}, "expected one width in all rows"),
        ({"lengths": np.full(ROWS, 9)}, "expected 0 to 7 .*got 9 at row 0"),
        ({"lengths": np.ones(3)}, r"lengths of 'speech': expected \[40\]; got \[3\]"),
        ({"domain": ["a"] * 3}, "expected 40 rows .*domain: 3"),
        ({"splits": ["train", "nowhere"] * 20}, "splits: expected train, valid, test"),
        ({"splits": {"train": [99]}}, "row numbers 0 to 39; train has"),
        ({"y": np.zeros((40, 2))}, r"label 'sentiment': expected \[n\].*got \[40, 2\]"),
        ({"y": ["x"] * 40, "tasks": {"mood": Task("classes", classes=("y",))}}, "expected one of"),
        ({"speech": np.full((40, 7), 5), "lengths": None, "vocabularies": {"speech": 4}}, "vocabulary has 4"),
    ],
)
def test_schema_errors_say_expected_against_got(changes, expected):
    with pytest.raises(ValueError, match=expected):
        make(**changes)


def test_rows_outside_the_split_and_unknown_splits():
    data, _, _ = make()
    with pytest.raises(ValueError, match="rows 0 to 19; asked for 3 to 20"):
        data["train"].batch([3, 20])
    with pytest.raises(ValueError, match="no split 'dev'; these exist: train, valid, test"):
        data["dev"]
    with pytest.raises(ValueError, match="at least one row"):
        data["train"].order(0)


class Numbers:
    """A reader without options, as a plug-in may offer it."""

    def matches(self, path):
        return path.suffix == ".numbers"

    def load(self, path):
        y = np.loadtxt(path).astype(np.float32)
        return Dataset.from_arrays(text=y[:, None, None], y=y)


def test_a_reader_without_options_needs_no_config(tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "DATASETS", {"numbers": Numbers()})
    np.savetxt(tmp_path / "a.numbers", np.arange(1, 9))
    data = loading.load(tmp_path / "a.numbers")
    assert sum(map(len, data.splits.values())) == 8
    assert data.source.endswith("a.numbers")
    with pytest.raises(ValueError, match="takes no options; got colour"):
        loading.load(f"{tmp_path}/a.numbers:colour=red")
