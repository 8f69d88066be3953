"""Do emotion labels of every usual shape become the tasks that they mean, and is what was assumed told?"""

import pickle

import numpy as np
import pytest

from msaviz.data.emotions import IEMOCAP, MOSEI, as_tasks, one_hot, read
from msaviz.data.load import load

ROWS = 12
NOTHING = np.full((1, 6), np.nan, np.float32)


def intensities(seed=0, rows=ROWS):
    """MOSEI's: thirds from 0 to 3, several hold, in some rows none."""
    found = np.random.default_rng(seed).integers(0, 10, (rows, 6)) / 3 * (np.random.default_rng(seed + 9).random((rows, 6)) < 0.4)
    found[0], found[1] = 0, 1
    return found.astype(np.float32)


def classes(seed=0, count=4):
    return np.random.default_rng(seed).permutation(np.arange(ROWS) % count)


def write(path, top=None, **columns):
    """A file whose splits hold these columns, each made by a function of the split's number, beside one modality."""

    def split(seed):
        audio = np.random.default_rng(seed).normal(size=(ROWS, 3, 4)).astype(np.float32)
        return {"audio": audio, **{k: v(seed) if callable(v) else v for k, v in columns.items()}}

    content = {name: split(i) for i, name in enumerate(("train", "valid", "test"))}
    path.write_bytes(pickle.dumps({**content, **(top or {})}, protocol=4))
    return path


def sentiment(seed):
    return np.linspace(-3, 3, ROWS) + seed / 100


@pytest.mark.parametrize("key", ["emotion_labels", "emotions"])
@pytest.mark.parametrize("shape", [(ROWS, 6), (ROWS, 1, 6)])
def test_intensities_become_a_task_of_presence_each(tmp_path, key, shape):
    path = write(tmp_path / "mosei.pkl", regression_labels=sentiment, **{key: lambda s: intensities(s).reshape(shape)})
    data = load(path)
    assert list(data.spec.tasks) == ["sentiment", *(f"emotion_{name}" for name in MOSEI)]
    assert data.spec.tasks["emotion_happy"].classes == ("absent", "present")
    for i, name in enumerate(MOSEI):
        np.testing.assert_array_equal(data["valid"].labels[f"emotion_{name}"], intensities(1)[:, i] > 0)
    assert any("happy, sad, anger, surprise, disgust, fear (the CMU-MOSEI SDK's order)" in trap for trap in data.traps)
    assert not any("not read" in trap for trap in data.traps)


@pytest.mark.parametrize("key", ["regression_labels", "labels", "emotion_labels"])
def test_all_labels_of_the_sdk_hold_the_sentiment_first(tmp_path, key):
    def labels(seed):
        return np.column_stack([sentiment(seed), intensities(seed)])[:, None]

    data = load(write(tmp_path / "mosei.pkl", **{key: labels}))
    assert list(data.spec.tasks)[:2] == ["sentiment", "emotion_happy"]
    assert len(data.spec.tasks) == 7
    np.testing.assert_allclose(data["test"].labels["sentiment"], sentiment(2), rtol=1e-6)
    np.testing.assert_array_equal(data["test"].labels["emotion_fear"], intensities(2)[:, 5] > 0)
    assert any("read as sentiment, happy, sad, anger, surprise, disgust, fear" in trap for trap in data.traps)


def test_own_sentiment_comes_before_that_of_all_labels(tmp_path):
    path = write(
        tmp_path / "a.pkl",
        emotion_labels=lambda s: np.column_stack([np.ones(ROWS), intensities(s)]),
        regression_labels=sentiment,
    )
    data = load(path)
    assert data.spec.target == "sentiment"
    np.testing.assert_allclose(data["train"].labels["sentiment"], sentiment(0), rtol=1e-6)


def test_the_option_tasks_chooses(tmp_path):
    path = write(tmp_path / "a.pkl", regression_labels=sentiment, emotion_labels=intensities)
    assert list(load(f"{path}:tasks=sentiment+emotion_sad").spec.tasks) == ["sentiment", "emotion_sad"]
    assert load(f"{path}:tasks=emotion_sad").spec.target == "emotion_sad"
    with pytest.raises(ValueError, match="there is no emotion_glad; these exist: sentiment, emotion_happy"):
        load(f"{path}:tasks=emotion_glad")


def test_a_row_without_labels_has_none(tmp_path):
    def holes(seed):
        return np.vstack([NOTHING, intensities(seed)[1:]])

    data = load(write(tmp_path / "a.pkl", regression_labels=sentiment, emotion_labels=holes))
    assert data["train"].labels["emotion_happy"][0] == -1
    assert (data["train"].labels["emotion_happy"][1:] >= 0).all()
    assert any(trap.startswith("emotion_happy: rows without a label: 1 in train") for trap in data.traps)
    one = np.vstack([np.full((1, 4), np.nan), np.eye(4)])
    assert as_tasks([one])[1][0]["emotion"].tolist() == [-1, 0, 1, 2, 3]


@pytest.mark.parametrize("wrap", [lambda t: t, lambda t: np.stack([1 - t, t], -1)])
@pytest.mark.parametrize("key", ["labels", "emotion_labels"])
def test_one_class_a_row_becomes_one_task(tmp_path, key, wrap):
    """MulT's IEMOCAP: pairs (no, yes) for neutral, happy, sad, angry."""
    data = load(write(tmp_path / "iemocap_data.pkl", **{key: lambda s: wrap(np.eye(4)[classes(s)])}))
    assert list(data.spec.tasks) == ["emotion"]
    assert data.spec.task.classes == IEMOCAP
    np.testing.assert_array_equal(data["valid"].labels["emotion"], classes(1))
    assert any("MulT's for IEMOCAP" in trap for trap in data.traps)


def test_iemocap_where_several_hold_once_is_a_task_an_emotion(tmp_path):
    def pairs(seed):
        table = np.eye(4)[classes(seed)]
        table[0, :2] = seed == 2  # in one row of one split only
        return np.stack([1 - table, table], -1)

    data = load(write(tmp_path / "iemocap_data.pkl", labels=pairs))
    assert list(data.spec.tasks) == [f"emotion_{name}" for name in IEMOCAP]
    np.testing.assert_array_equal(data["train"].labels["emotion_sad"][1:], (classes(0) == 2)[1:])


def test_numbers_and_names(tmp_path):
    numbers = write(tmp_path / "a.pkl", emotion_labels=classes)
    assert load(numbers).spec.task.classes == ("0", "1", "2", "3")
    assert any("no names; give emotions=" in trap for trap in load(numbers).traps)
    named = load(f"{numbers}:emotions=calm+glad+sad+cross")
    assert named.spec.task.classes == ("calm", "glad", "sad", "cross")
    np.testing.assert_array_equal(named["test"].labels["emotion"], classes(2))
    with pytest.raises(ValueError, match="classes 0 to 3, but 2 names: calm, glad"):
        load(f"{numbers}:emotions=calm+glad")
    words = write(tmp_path / "b.pkl", emotions=lambda s: [("Sad", "glad", "calm")[c] for c in classes(s, 3)])
    assert load(words).spec.task.classes == ("calm", "glad", "sad")
    np.testing.assert_array_equal(load(words)["train"].labels["emotion"], np.array([2, 1, 0])[classes(0, 3)])


@pytest.mark.parametrize("top", [True, False])
def test_the_names_that_a_file_gives(tmp_path, top):
    names = {"emotion_names": ["calm", "glad", "sad", "cross"]}
    data = load(write(tmp_path / "a.pkl", names if top else None, emotion_labels=classes, **({} if top else names)))
    assert data.spec.task.classes == ("calm", "glad", "sad", "cross")
    assert not any("not read" in trap for trap in data.traps)
    rows = write(tmp_path / "b.pkl", emotion_labels=classes, emotion_annotations=lambda s: [("x", "y", "z", "w")[c] for c in classes(s)])
    assert load(rows).spec.task.classes == ("w", "x", "y", "z")
    np.testing.assert_array_equal(load(rows)["train"].labels["emotion"], np.array([1, 2, 3, 0])[classes(0)])


def test_what_cannot_be_read_is_told_and_an_error_only_where_it_was_asked_for(tmp_path):
    path = write(tmp_path / "a.pkl", regression_labels=sentiment, emotion_labels=lambda s: -intensities(s))
    data = load(path)
    assert list(data.spec.tasks) == ["sentiment"]
    assert any("No emotions were read: " in trap and "intensities are 0 or more" in trap for trap in data.traps)
    with pytest.raises(ValueError, match="split train, key 'emotion_labels': row 1 holds -1 for emotion 0"):
        load(f"{path}:tasks=emotion_happy")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.zeros((5, 6)), r"expected 12 rows, as many as labels; got \[5, 6\]"),
        (np.zeros((ROWS, 2, 3)), r"\[n c 2\] pairs; got \[12, 2, 3\]"),
        (np.full((ROWS, 4, 2), 0.5), "one is 1 and the other 0"),
        (np.array([["a", "b"]] * ROWS), r"got \[12, 2\] of <U1"),
    ],
)
def test_errors(value, words):
    with pytest.raises(ValueError, match=words):
        read(value, ROWS)


def test_tables_that_do_not_fit_together():
    with pytest.raises(ValueError, match=r"different kinds: \[12, 6\], \[12, 4\]"):
        as_tasks([np.zeros((ROWS, 6)), np.zeros((ROWS, 4))])
    with pytest.raises(ValueError, match="6 columns of emotions need as many names; got a, b"):
        as_tasks([np.zeros((ROWS, 6))], ["a", "b"])
    with pytest.raises(ValueError, match=r"whole numbers from 0 \(-1: no label\); got 0.5"):
        as_tasks([np.array([0.0, 0.5])])
    with pytest.raises(ValueError, match="sad are not among the names given: glad"):
        as_tasks([np.array(["sad", "glad"], dtype=object)], ["glad"])


def test_columns_without_a_usual_meaning_are_numbered_and_told():
    tasks, labels, said = as_tasks([np.array([[0.0, 2.0, 1.0], [0.0, 0.0, 0.5]])])
    assert list(tasks) == ["emotion_0", "emotion_1", "emotion_2"]
    assert [column.tolist() for column in labels[0].values()] == [[0, 0], [1, 0], [1, 1]]
    assert "have no names" in said


def test_one_hot():
    assert one_hot(np.eye(3))
    assert not one_hot(np.eye(3) * 2)
    assert not one_hot(np.zeros((2, 3)))
    assert not one_hot(NOTHING)
