"""Are the field's usual pickles read as they are meant: aligned and unaligned, MOSI, SIMS, MulT's names, missing keys?"""

import pickle

import numpy as np
import pytest

from msaviz.data import unpickle
from msaviz.data.load import load

ROWS = 12


@pytest.fixture(autouse=True, params=["whole", "mapped"])
def _reader(request, monkeypatch):
    """Every file is read in both ways."""
    if request.param == "mapped":
        monkeypatch.setattr(unpickle, "MAP_FILE", 0)
        monkeypatch.setattr(unpickle, "MAP_BLOCK", 16)


def rows(seed=0, n=ROWS, aligned=False, **changes):
    """One split of a file: text 8 steps, audio 6, vision 5 (aligned: 8 each)."""
    g = np.random.default_rng(seed)
    steps = {"text": 8, "audio": 8 if aligned else 6, "vision": 8 if aligned else 5}
    lengths = {m: g.integers(3, t + 1, n) for m, t in steps.items()}
    lengths = dict.fromkeys(steps, lengths["text"]) if aligned else lengths
    arrays = {m: g.normal(size=(n, t, w)).astype(np.float32) for (m, t), w in zip(steps.items(), (10, 5, 4), strict=True)}
    for m, x in arrays.items():
        x[np.arange(steps[m]) >= lengths[m][:, None]] = 0
    bert = np.zeros((n, 3, 8), np.float32)
    for i, length in enumerate(lengths["text"]):
        bert[i, 0, :length] = [101, *g.integers(1000, 30000, length - 2), 102]
        bert[i, 1, :length] = 1
    y = np.round(g.uniform(-3, 3, n), 1).astype(np.float32)
    out = {
        "id": [f"v{seed}x{i}$_$3" for i in range(n)],
        "raw_text": np.array([f"it is {i}" for i in range(n)], dtype=object),
        "tokens": [" ".join("abcdefgh"[:length]) for length in lengths["text"]],
        "text_bert": bert,
        **arrays,
        "regression_labels": y,
        "classification_labels": np.sign(y) + 1,
        "annotations": [("Negative", "Neutral", "Positive")[int(np.sign(v)) + 1] for v in y],
    }
    if not aligned:
        out |= {f"{m}_lengths": lengths[m].tolist() for m in ("audio", "vision")}
    return {k: v for k, v in {**out, **changes}.items() if v is not None}, lengths


def write(path, aligned=False, splits=("train", "valid", "test"), **changes):
    made = {s: rows(i, aligned=aligned, **changes) for i, s in enumerate(splits)}
    path.write_bytes(pickle.dumps({s: v[0] for s, v in made.items()}, protocol=4))
    return made


@pytest.mark.parametrize("aligned", [True, False])
def test_both_kinds_of_file(tmp_path, aligned):
    made = write(tmp_path / "mosi.pkl", aligned)
    data = load(tmp_path / "mosi.pkl")
    assert data.spec.vocabularies == {"text": 30522}
    assert dict(data.spec.widths) == {"audio": 5, "vision": 4}
    assert data.unknown == {"text": 100}
    assert not data.contextual
    assert list(data.spec.tasks) == ["sentiment"]  # the classes only restate the sign
    assert (data.spec.task.low, data.spec.task.high) == (-3, 3)
    for split, (columns, lengths) in made.items():
        found = data[split]
        for m in data.spec.modalities:
            np.testing.assert_array_equal(found.lengths(m), lengths[m])
        np.testing.assert_array_equal(found.sequences["audio"].row(3), columns["audio"][3, : lengths["audio"][3]])
        np.testing.assert_array_equal(found.sequences["text"].row(3), columns["text_bert"][3, 0, : lengths["text"][3]])
        np.testing.assert_array_equal(found.labels["sentiment"], columns["regression_labels"])
        assert found.tokens(3) == columns["tokens"][3].split()
        assert found.texts[3] == "it is 3"
        assert list(found.ids) == columns["id"]
        assert not found.batch([0, 1]).x["audio"].isnan().any()


def test_without_the_text_extra_the_vectors_are_read_and_the_leak_is_named(tmp_path, monkeypatch):
    write(tmp_path / "mosi.pkl")
    monkeypatch.setattr("msaviz.data.text.can_encode", lambda: False)
    data = load(tmp_path / "mosi.pkl")
    assert data.spec.widths["text"] == 10
    assert data.contextual == {"text"}
    assert sum("extra `text`" in t for t in data.traps) == 1
    assert any("no missingness" in t for t in data.traps)


def test_vectors_of_text_are_contextual_unless_static(tmp_path):
    write(tmp_path / "mosi.pkl")
    data = load(f"{tmp_path}/mosi.pkl:text=vectors,modalities=text+audio")
    assert dict(data.spec.widths) == {"text": 10, "audio": 5}
    assert data.contextual == {"text"}
    assert any("no missingness" in t for t in data.traps)
    assert not load(f"{tmp_path}/mosi.pkl:text=vectors,contextual=false").contextual
    write(tmp_path / "glove.pkl", text_bert=None, text=np.ones((ROWS, 8, 300), np.float32))
    assert not load(tmp_path / "glove.pkl").contextual
    write(tmp_path / "bare.pkl", text_bert=None)
    assert load(tmp_path / "bare.pkl").contextual == {"text"}
    with pytest.raises(ValueError, match=r"split train, key 'text_bert': text=ids asks for it"):
        load(f"{tmp_path}/bare.pkl:text=ids")


def test_sims_has_its_own_scale_vocabulary_and_unimodal_labels(tmp_path):
    g = np.random.default_rng(5)
    y = {f"regression_labels{end}": np.round(g.uniform(-1, 1, ROWS), 1).astype(np.float32) for end in ("", "_T", "_A", "_V")}
    bert = np.tile([[101, 5, 102], [1, 1, 1], [0, 0, 0]], (ROWS, 1, 1))
    write(tmp_path / "sims.pkl", **y, classification_labels=None, text_bert=bert)
    data = load(tmp_path / "sims.pkl")
    assert list(data.spec.tasks) == ["sentiment", "sentiment_text", "sentiment_audio", "sentiment_vision"]
    assert all((t.low, t.high) == (-1, 1) for t in data.spec.tasks.values())
    assert data.spec.vocabularies == {"text": 21128}
    assert any("[-1, 1]" in t for t in data.traps)
    np.testing.assert_array_equal(data["test"].labels["sentiment_vision"], y["regression_labels_V"])
    assert (load(f"{tmp_path}/sims.pkl:low=-2,high=2").spec.task.high) == 2


def test_names_of_mult_front_padding_and_missing_rows(tmp_path):
    made, _ = rows(aligned=True)
    x = {k: np.flip(made[m], 1).copy() for k, m in (("text", "text"), ("acoustic", "audio"), ("visual", "vision"))}
    x["visual"][4] = 0
    content = {**x, "labels": made["regression_labels"].reshape(ROWS, 1, 1), "id": np.array([[f"v{i}", "0", "1"] for i in range(ROWS)])}
    (tmp_path / "mult.pickle").write_bytes(pickle.dumps({"train": content, "dev": content, "test": content}))
    data = load(tmp_path / "mult.pickle")
    lengths = (x["text"] != 0).any(-1).sum(1)
    np.testing.assert_array_equal(data["valid"].lengths("audio"), lengths)
    np.testing.assert_array_equal(data["valid"].lengths("vision"), np.where(np.arange(ROWS) == 4, 0, lengths))
    np.testing.assert_array_equal(data["valid"].sequences["audio"].row(2), x["acoustic"][2, 8 - lengths[2] :])
    assert any("vision: 1 of 12 rows of train hold only zeros" in t for t in data.traps)
    assert any(t.startswith("Leak: 12 ids") for t in data.traps)


def test_classes_of_their_own_become_a_task(tmp_path):
    mood = ["happy", "sad", "angry"] * 4
    write(tmp_path / "a.pkl", annotations=mood, classification_labels=np.arange(ROWS) % 3)
    data = load(tmp_path / "a.pkl")
    assert data.spec.tasks["category"].classes == ("angry", "happy", "sad")
    assert data["train"].labels["category"].tolist() == [1, 2, 0] * 4
    only = load(f"{tmp_path}/a.pkl:tasks=category")
    assert only.spec.target == "category"
    write(tmp_path / "b.pkl", annotations=None, regression_labels=None, classification_labels=(np.arange(ROWS) % 4).astype(float))
    assert load(tmp_path / "b.pkl").spec.task.classes == ("0", "1", "2", "3")
    with pytest.raises(ValueError, match="there is no smell; these exist: sentiment, category"):
        load(f"{tmp_path}/a.pkl:tasks=smell")


def test_modalities_steps_domains_and_further_keys(tmp_path):
    write(tmp_path / "a.pkl", vision=None, vision_lengths=None, audio=np.ones((ROWS, 7)), audio_lengths=None, speaker=["a", "b"] * 6)
    data = load(f"{tmp_path}/a.pkl:domain=speaker")
    assert data.spec.modalities == ("text", "audio")
    assert data["train"].lengths("audio").tolist() == [1] * ROWS
    assert data.spec.domains == ("a", "b")
    assert data["train"].domain.tolist() == [0, 1] * 6
    assert "Keys that are not read: speaker." in load(tmp_path / "a.pkl").traps
    assert len(load(f"{tmp_path}/a.pkl:domain=video").spec.domains) == 3 * ROWS


def test_minus_infinity_lengths_beyond_and_frames_beyond(tmp_path):
    audio, lengths = np.ones((ROWS, 6, 5), np.float32), [4] * ROWS
    audio[:, 4:] = 0
    audio[0, 1, 1] = -np.inf
    audio[2, 5] = 1
    lengths[3] = 9
    write(tmp_path / "a.pkl", audio=audio, audio_lengths=lengths)
    data = load(tmp_path / "a.pkl")
    assert data["train"].lengths("audio").tolist() == [4, 4, 6, 6] + [4] * 8
    assert data["train"].batch(np.arange(ROWS)).x["audio"].isfinite().all()
    assert any("audio: 3 of" in t and "infinite" in t for t in data.traps)
    assert any("audio_lengths: up to 9 where audio has 6 steps (first at row 3 of train)" in t for t in data.traps)
    assert any("1 rows of train hold frames beyond their length (first row 2)" in t for t in data.traps)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"audio": np.zeros((5, 6, 5))}, r"a.pkl, split train, key 'audio': expected 12 rows, as many as labels; got \[5, 6, 5\]"),
        ({"audio": np.zeros((ROWS, 2, 2, 2))}, r"key 'audio': expected numbers \[12 t w\]"),
        ({"text_bert": np.zeros((ROWS, 8))}, r"key 'text_bert': expected \[12 3 t\]"),
        ({"text_bert": np.full((ROWS, 3, 8), 0.5)}, "row 0 holds ids that are no integers"),
        ({"text_bert": np.full((ROWS, 3, 8), 99999.0)}, "ids 99999 to 99999; its vocabulary has 30522"),
        ({"audio_lengths": [3] * 11 + [-1]}, "key 'audio_lengths': row 11 has the length -1"),
        ({"regression_labels": None, "classification_labels": None}, "neither it nor 'classification_labels' is there"),
        ({"regression_labels": np.zeros((ROWS, 4))}, r"expected one number a row, \[12\]; got \[12, 4\]"),
        ({"id": ["a"]}, "key 'id': expected 12 rows, as many as labels; got 1"),
        ({"id": 5}, "key 'id': expected 12 rows, as many as labels; got a int"),
        ({"id": np.array("a")}, "key 'id': expected 12 rows, as many as labels; got a ndarray"),
        ({"raw_text": {"a": 1}}, "key 'raw_text': expected 12 rows, as many as labels; got a dict"),
        ({"id": [[1, [2]]] * ROWS}, "key 'id': within a row, its rows are of different shapes"),
        ({"audio": [[1.0], [1.0, 2.0]] * 6}, "key 'audio': its rows are of different shapes"),
        ({"audio": np.zeros((ROWS, 6, 0))}, r"key 'audio': expected numbers \[12 t w\]"),
        ({"audio": [[["a" * 10_000]], *[[["b"]]] * 11]}, r"expected numbers \[12 t w\]; got \[12, 1, 1\] of object"),
        ({"vision": np.float32(3)}, "key 'vision': expected a row for each utterance; got a float32"),
        ({"text_bert": np.full((ROWS, 3, 8), "a")}, r"key 'text_bert': expected \[12 3 t\]"),
        ({"text_bert": np.full((ROWS, 3, 8), 2.0**40)}, "row 0 holds ids that are no integers"),
        ({"audio_lengths": ["a"] * ROWS}, "key 'audio_lengths': row 0 holds a length that is no integer"),
        ({"audio_lengths": [3] * 5 + [2.5] + [3] * 6}, "key 'audio_lengths': row 5 holds a length that is no integer"),
        ({"audio_lengths": np.full(ROWS, np.nan)}, "key 'audio_lengths': row 0 holds a length that is no integer"),
        ({"regression_labels": 3.0}, "key 'regression_labels': expected a row for each utterance; got a float"),
        ({"regression_labels": [[1], [1, 2]] * 6}, "key 'regression_labels': its rows are of different shapes"),
        ({"classification_labels": np.zeros((ROWS, 2))}, r"expected one class a row; got \[12, 2\]"),
        ({"emotion_names": [1, 2]}, r"a.pkl: the names of emotions \(emotion_names or emotion_classes\) are no texts"),
        ({"vision": None, "visual": [1], "video": [1]}, "a.pkl: two of these keys mean the same: .*visual"),
    ],
)
def test_errors_name_file_split_key_row_and_remedy(tmp_path, changes, expected):
    write(tmp_path / "a.pkl", **changes)
    with pytest.raises(ValueError, match=expected):
        load(tmp_path / "a.pkl")


def test_numbers_beyond_float32_rows_without_a_label_and_empty_splits_are_no_errors(tmp_path):
    made = {s: rows(i)[0] for i, s in enumerate(("train", "valid", "test"))}
    made["train"]["audio"] = np.where(made["train"]["audio"] > 1, 1e300, made["train"]["audio"].astype(np.float64))
    made["valid"]["regression_labels"] = np.full(ROWS, np.nan)
    made["test"] = {key: column[:0] for key, column in made["test"].items()}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(made, protocol=4))
    data = load(tmp_path / "a.pkl")
    assert data["train"].batch(np.arange(ROWS)).x["audio"].isfinite().all()
    assert any(t.startswith("audio: ") and "infinite" in t for t in data.traps)
    assert np.isnan(data["valid"].labels["sentiment"]).all()
    assert len(data["test"]) == 0


def test_a_class_number_without_end_makes_no_classes(tmp_path):
    write(tmp_path / "a.pkl", emotion_labels=np.full(ROWS, 1e9))
    with pytest.raises(ValueError, match=r"a.pkl, emotion labels: there is a class 1e\+09; a task has at most 1000 classes"):
        load(tmp_path / "a.pkl")


def test_of_two_names_for_one_thing_the_usual_one_counts(tmp_path):
    write(tmp_path / "a.pkl", visual=np.ones((ROWS, 7)))
    data = load(tmp_path / "a.pkl")
    assert data.spec.widths["vision"] == 4
    assert "Keys that are not read: visual." in data.traps
    split = rows()[0]
    (tmp_path / "b.pkl").write_bytes(pickle.dumps({"train": split, "valid": split, "dev": split}))
    with pytest.raises(ValueError, match="'dev' and 'valid' are the same split; keep one of them"):
        load(tmp_path / "b.pkl")


@pytest.mark.parametrize("content", [[1, 2], {"train": 3}, {"rows": {}}])
def test_another_layout_is_told(tmp_path, content):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=r"expected (a dict of splits|the splits)"):
        load(tmp_path / "a.pkl")


@pytest.mark.parametrize(("sizes", "where"), [((1284, 229, 686), "standard test split"), ((1207, 240, 752), "valid, but not of test")])
def test_the_leaks_of_mosi_vision_are_told(tmp_path, sizes, where):
    def split(n):
        return {"vision": np.ones((n, 1, 100), np.float32), "regression_labels": np.linspace(-3, 3, n, dtype=np.float32)}

    parts = {name: split(n) for name, n in zip(("train", "valid", "test"), sizes, strict=True)}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(parts, protocol=4))
    told = [t for t in load(tmp_path / "a.pkl").traps if t.startswith("Leak: the 100-wide vision vectors of MOSI")]
    assert len(told) == 1
    assert where in told[0]
