"""Are pickles of dialogues read whatever the order of their parts, split by dialogue, and left alone where they are of another kind?"""

import io
import pickle
import struct
from collections import defaultdict
from typing import Any

import numpy as np
import pytest

from msaviz import Experiment, override, train
from msaviz.catalog import DATASETS
from msaviz.data.dialogues import CLASSES
from msaviz.data.load import kind_of, load

WIDTHS = {"text": 6, "audio": 5, "vision": 4}
TRAIN, TEST = [f"Ses0{i}" for i in range(30)], [f"Ses1{i}" for i in range(9)]


def by_dialogue(make, names=(*TRAIN, *TEST)):
    """Dialogue -> items; dialogue i has 4 + i % 3 utterances."""
    return {name: [make(i, j) for j in range(4 + i % 3)] for i, name in enumerate(names)}


def vector(width, seed):
    return lambda i, j: np.random.default_rng([seed, i, j]).normal(size=width).astype(np.float32)


def iemocap(names=(*TRAIN, *TEST)):
    """The nine parts of DialogueRNN's file, by name, in its order."""
    return {
        "ids": by_dialogue(lambda i, j: f"{names[i]}_F{j:03d}", names),
        "speakers": by_dialogue(lambda i, j: "MF"[(i + j) % 3 % 2], names),
        "labels": by_dialogue(lambda i, j: (5 * i + j // 2) % 6, names),
        **{m: by_dialogue(vector(w, k), names) for k, (m, w) in enumerate(WIDTHS.items())},
        "sentences": by_dialogue(lambda i, j: "Yeah." if j == 0 else f"It is {i} and {j}.", names),
        "train": set(names[:30]),
        "test": set(names[30:]),
    }


def meld():
    """Numbers for names: dialogues, ids and one-hot speakers are numbers; four layers of text, two tasks, three lists."""
    names = list(range(39))
    parts = iemocap(names)
    return {
        "ids": by_dialogue(lambda i, j: j, names),
        "speakers": by_dialogue(lambda i, j: np.eye(9)[(i + j // 2) % 9], names),
        "labels": by_dialogue(lambda i, j: (3 * i + j // 2) % 7, names),
        "sentiment": by_dialogue(lambda i, j: (i + j // 2) % 3, names),
        **{f"layer {k}": by_dialogue(vector(6, k), names) for k in range(4)},
        "audio": parts["audio"],
        "vision": parts["vision"],
        "sentences": parts["sentences"],
        "train": names[:20],
        "test": names[20:30],
        "valid": names[30:],
    }


def write(path, parts, form=tuple, protocol=4):
    path.write_bytes(pickle.dumps(form(parts), protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("form", [tuple, list])
def test_dialoguernn_s_iemocap(tmp_path, form, protocol):
    parts = iemocap()
    path = write(tmp_path / "IEMOCAP_features.pkl", parts.values(), form, protocol)
    data = load(path)
    assert dict(data.spec.widths) == WIDTHS
    assert data.spec.tasks["emotion"].classes == CLASSES["emotion", 6]
    assert list(data.spec.tasks) == ["emotion"]
    rows = [(d, j) for d in sorted(TEST) for j in range(len(parts["labels"][d]))]
    test = data["test"]
    assert list(test.ids) == [parts["ids"][d][j] for d, j in rows]
    assert list(test.texts) == [parts["sentences"][d][j] for d, j in rows]
    assert test.labels["emotion"].tolist() == [parts["labels"][d][j] for d, j in rows]
    for m in WIDTHS:
        assert (test.lengths(m) == 1).all()
        np.testing.assert_array_equal(test.sequences[m].values, [parts[m][d][j] for d, j in rows])
    assert data.contextual == {"text"}
    assert data.fingerprint == load(path).fingerprint
    expected = "ids, speakers, labels, vectors [6], vectors [5], vectors [4], sentences, dialogues, dialogues"
    assert any(expected in trap for trap in data.traps)
    assert any("happy, sad, neutral, angry, excited, frustrated" in trap for trap in data.traps)


def test_parts_are_known_by_their_content_in_any_order(tmp_path):
    parts = iemocap()
    usual = load(write(tmp_path / "a.pkl", parts.values()))
    order = ["text", "sentences", "train", "labels", "audio", "speakers", "test", "vision", "ids"]
    other = load(write(tmp_path / "b.pkl", [parts[name] for name in order]))
    assert other.fingerprint == usual.fingerprint


def test_a_tenth_of_the_train_dialogues_validates(tmp_path):
    parts = iemocap()
    data = load(f"{write(tmp_path / 'a.pkl', parts.values())}:domain=dialogue")
    dialogues = {s: {data.spec.domains[d] for d in part.domain} for s, part in data.splits.items()}
    assert len(dialogues["valid"]) == 3
    assert dialogues["train"] | dialogues["valid"] == set(TRAIN)
    assert not dialogues["train"] & dialogues["valid"]
    assert dialogues["test"] == set(TEST)
    assert any("3 of the 30 train dialogues, by a hash, validate" in trap for trap in data.traps)
    kept = {name: part for name, part in parts.items() if name != "train"}
    fewer = load(f"{write(tmp_path / 'b.pkl', [*kept.values(), TRAIN[::-1]])}:domain=dialogue,splits=test+train")
    assert {fewer.spec.domains[d] for d in fewer["valid"].domain} == dialogues["valid"]  # whatever their order
    assert not any(trap.startswith("Leak") for trap in data.traps)


def test_meld_has_two_tasks_layers_and_its_own_validation(tmp_path):
    parts = meld()
    path = write(tmp_path / "MELD_features.pkl", parts.values())
    data = load(path)
    assert {name: task.classes for name, task in data.spec.tasks.items()} == {
        t: CLASSES[t, c] for t, c in (("emotion", 7), ("sentiment", 3))
    }
    assert dict(data.spec.widths) == WIDTHS
    np.testing.assert_array_equal(data["train"].sequences["text"].row(0)[0], parts["layer 0"][0][0])
    assert [len(data[s]) for s in ("train", "test", "valid")] == [
        sum(len(parts["labels"][d]) for d in parts[s]) for s in ("train", "test", "valid")
    ]
    assert data["valid"].ids[0] == "30_0"
    assert load(f"{path}:tasks=sentiment").spec.target == "sentiment"
    spoken = load(f"{path}:domain=speaker")
    assert set(spoken.spec.domains) == {f"speaker {i}" for i in range(9)}
    chosen = load(f"{path}:features=_+_+_+text+audio+_,splits=train+valid+test")
    assert dict(chosen.spec.widths) == {"text": 6, "audio": 5}
    np.testing.assert_array_equal(chosen["train"].sequences["text"].row(0)[0], parts["layer 3"][0][0])
    assert len(chosen["valid"]) == len(data["test"])


def test_speakers_names_and_modalities_are_options(tmp_path):
    parts = iemocap()
    path = write(tmp_path / "a.pkl", parts.values())
    data = load(f"{path}:domain=speaker,modalities=text+audio,emotions=a+b+c+d+e+f")
    assert set(data.spec.domains) == {"M", "F"}
    assert data.spec.modalities == ("text", "audio")
    assert data.spec.task.classes == tuple("abcdef")
    first = sorted(TEST)[0]
    assert [data.spec.domains[d] for d in data["test"].domain[:2]] == parts["speakers"][first][:2]


def test_rows_of_zeros_are_missing_and_labels_may_be(tmp_path):
    parts = iemocap()
    parts["audio"][TRAIN[0]][1] = np.zeros(5)
    parts["labels"][TRAIN[0]][2] = -1
    data = load(write(tmp_path / "a.pkl", parts.values()))
    split = next(part for part in data.splits.values() if f"{TRAIN[0]}_F001" in part.ids)
    row = list(split.ids).index(f"{TRAIN[0]}_F001")
    assert split.lengths("audio")[row] == 0
    assert split.lengths("text")[row] == 1
    assert split.labels["emotion"][row + 1] == -1
    assert any(trap.startswith("audio: 1 of ") for trap in data.traps)


def python_2(value) -> bytes:
    """A pickle in which text and bytes alike are Python 2's strings."""

    def string(pickler, text):
        data = text.encode("latin-1") if isinstance(text, str) else text
        pickler.write(pickle.BINSTRING + struct.pack("<i", len(data)) + data)
        pickler.memoize(text)

    plain: Any = pickle
    old = type("Python2", (plain._Pickler,), {"dispatch": {**plain._Pickler.dispatch, str: string, bytes: string}})
    file = io.BytesIO()
    old(file, protocol=2).dump(value)
    return file.getvalue()


def test_python_2_files_are_read(tmp_path):
    parts = iemocap()
    (tmp_path / "old.pkl").write_bytes(python_2(tuple(parts.values())))
    assert b"Ses00_F000" in (tmp_path / "old.pkl").read_bytes()
    assert load(tmp_path / "old.pkl").fingerprint == load(write(tmp_path / "new.pkl", parts.values())).fingerprint


def test_a_defaultdict_in_front_is_known(tmp_path):
    first, *others = iemocap().values()
    for protocol in (2, 4):
        path = write(tmp_path / f"{protocol}.pkl", [defaultdict(list, first), *others], protocol=protocol)
        assert kind_of(path) is DATASETS["dialogues"]


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("content", [{}, {"train": {"text": np.zeros((2, 3))}}, [1, 2], (1, 2, 3, 4), ["a"], np.zeros(3), None, "text"])
def test_the_usual_pickles_stay_with_their_reader(tmp_path, content, protocol):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    assert not DATASETS["dialogues"].matches(path)
    assert kind_of(path) is DATASETS["mmsa_pickle"]


def test_what_is_no_pickle_is_left_alone(tmp_path):
    for content in (b"", b"(", b"version https://git-lfs", b"<!doctype html>", b"\x80\x04"):
        (tmp_path / "a.pkl").write_bytes(content)
        assert not DATASETS["dialogues"].matches(tmp_path / "a.pkl")


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        ({"labels": None}, "", r"expected dicts of vectors and of class numbers.*found: ids, speakers, vectors \[6\]"),
        ({"test": None}, "", "two lists of dialogue ids"),
        ({"labels": by_dialogue(lambda i, j: j / 7 + 0.01)}, "", "speakers, other, vectors"),
        ({"audio": {**by_dialogue(vector(5, 1)), "Ses10": []}}, "", "dialogue 'Ses10' has 4 utterances of text, but 0 of audio"),
        ({"test": ["Ses10", "Ses99"]}, "", "test names 1 dialogues that have no features, such as 'Ses99'"),
        ({"more": by_dialogue(vector(3, 8))}, "", r"there are 4 dicts of vectors \(widths 6, 5, 4, 3\), not 3"),
        ({"speakers": None}, "domain=speaker", "no part names speakers"),
        ({}, "tasks=valence", "there is no valence; these exist: emotion"),
        ({}, "modalities=gaze", "there is no gaze; these exist: text, audio, vision"),
        ({}, "emotions=a+b", "classes 0 to 5, but 2 names"),
        ({}, "splits=train+valid", "must name the 2 lists"),
        ({"test": ["Ses10", "Ses10"]}, "", "test names 1 dialogues more than once"),
        ({"test": ["Ses10", []]}, "", "two lists of dialogue ids"),
        ({"labels": by_dialogue(lambda i, j: 10**9)}, "", "a.pkl: the highest class number is 1e\\+09; expected 0 to 999"),
        ({"labels": by_dialogue(lambda i, j: -1)}, "", "a.pkl: the highest class number is -1"),
        ({"speakers": {"Ses00": np.zeros(())}}, "domain=speaker", "no part names speakers"),
        ({"labels": {name: [] for name in TRAIN}}, "", "expected dicts of vectors and of class numbers"),
    ],
)
def test_errors_say_what_was_found(tmp_path, change, options, words):
    parts = {name: part for name, part in (iemocap() | change).items() if part is not None}
    path = write(tmp_path / "a.pkl", parts.values())
    with pytest.raises(ValueError, match=words):
        load(f"{path}:{options}" if options else path)


def test_a_class_task_trains_on_it(tmp_path):
    path = write(tmp_path / "a.pkl", iemocap().values())
    quick = {"train.epochs": 1, "train.validation": "subsets", "train.threads": 1, "model.dim": 8}
    run = train(override(Experiment(data=str(path)), quick), tmp_path / "run", progress=False)
    assert run.predict("test").shape == (len(run.dataset["test"]), 6)
    history = run.history()
    score = history[history["metric"] == "score"]["value"].iloc[0]
    f1 = history[history["metric"].str.startswith("weighted_f1@")]["value"]
    assert len(f1) == 7
    assert score == pytest.approx((1 - f1).mean())
