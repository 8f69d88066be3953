"""Is a container from anywhere opened only if all of it can be true, and does it never reach outside of its folder?"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from endurance import tell, tries
from mutations import in_child, outcome, spoilt

from msaviz.data import container, msa
from msaviz.data.dataset import Dataset
from msaviz.data.load import load
from msaviz.data.ragged import Ragged, Strings


def small() -> Dataset:
    """Frames, token ids, classes, a real label, texts, tokens, two domains."""
    n = 24
    g = np.random.default_rng(0)
    return Dataset.from_arrays(
        audio=[g.normal(size=(1 + i % 3, 2)) for i in range(n)],
        text=[g.integers(0, 9, 1 + i % 4) for i in range(n)],
        y={"sentiment": g.uniform(-3, 3, n), "mood": np.arange(n) % 3},
        domain=["a", "b"] * (n // 2),
        texts=[f"früh {i}" for i in range(n)],
        tokens=[["x"] * (1 + i % 4) for i in range(n)],
        splits=["train", "valid", "test"] * (n // 3),
        vocabularies={"text": 9},
    )


@pytest.fixture
def path(tmp_path) -> Path:
    return msa.save(small(), tmp_path / "a.msa")


def used(path: Path) -> None:
    """Read all, and see that nothing is handed out that is no number, no class and no text."""
    data = load(path)
    for split in data.splits.values():
        batch = split.batch(np.arange(len(split)))
        assert all(x.isfinite().all() for x in batch.x.values() if x.is_floating_point())
        for m, size in data.spec.vocabularies.items():
            assert not len(split) or 0 <= batch.x[m].min() <= batch.x[m].max() < size
        assert not any(y.is_floating_point() and y.isinf().any() for y in batch.labels.values())
        assert not len(split) or 0 <= batch.domain.min() <= batch.domain.max() < len(data.spec.domains)
        _ = [*split.ids, *split.texts], [split.tokens(i) for i in range(len(split))]


def test_the_right_container_is_read(path):
    used(path)
    assert load(path).spec == small().spec


def changed(path: Path, **changes) -> None:
    """The header with values at dotted paths."""
    header = json.loads((path / "header.json").read_text())
    for place, value in changes.items():
        *parents, leaf = place.split("__")
        node = header
        for key in parents:
            node = node[key]
        node[leaf] = value
    (path / "header.json").write_text(json.dumps(header))


HEADERS = {
    "name": ({"name": 3}, "name: Input should be a valid string"),
    "spec": ({"spec": []}, "spec: Input should be a valid dictionary"),
    "width of text": ({"spec__widths": {"audio": "many"}}, "widths.audio: .*valid integer"),
    "no width": ({"spec__widths": {}}, "disagree with widths"),
    "huge width": ({"spec__widths": {"audio": 10**12}}, r"widths are 1 to 16,777,216; got .'audio': 1000000000000"),
    "no number": ({"spec__widths": {"audio": float("nan")}}, "widths.audio"),
    "low above high": ({"spec__tasks__sentiment__low": 9}, "finite low below a finite high"),
    "endless scale": ({"spec__tasks__sentiment__high": 1e308}, "at most 16,777,216 wide"),
    "infinite scale": ({"spec__tasks__sentiment__high": float("inf")}, "finite low below a finite high"),
    "unknown kind": ({"spec__tasks__mood__kind": "poem"}, "kind: Input should be 'regression' or 'classes'"),
    "no class": ({"spec__tasks__mood__classes": []}, "names no class"),
    "fewer classes": ({"spec__tasks__mood__classes": ["x", "y"]}, r"label.mood.npy: row \d holds 2"),
    "fewer domains": ({"spec__domains": ["a"]}, r"domain.npy: row \d holds 1"),
    "domains twice": ({"spec__domains": ["a", "a"]}, "each once"),
    "smaller vocabulary": ({"spec__vocabularies": {"text": 3}}, "token ids beyond 0 to 2"),
    "modality twice": ({"spec__modalities": ["text", "audio", "audio"]}, "each once"),
    "outside": ({"spec__modalities": ["../../b", "text"], "spec__widths": {"../../b": 2}}, "name is letters"),
    "absolute": ({"spec__modalities": ["/etc", "text"], "spec__widths": {"/etc": 2}}, "name is letters"),
    "task outside": ({"spec__tasks": {"../../x": {"kind": "regression"}}}, "name is letters"),
    "another split": ({"splits": {"../train": 8}}, "expected some of train, valid, test"),
    "more rows": ({"splits__train": 9}, "cannot stand there"),
    "negative rows": ({"splits__train": -1}, "cannot stand there"),
    "normalisation of nothing": ({"normalisation": ["text"]}, "is no modality of frames"),
    "unknown id": ({"unknown": {"text": 9}}, "9 is no id of 'text'"),
    "columns": ({"columns": {"audio": {"a": [0, 99]}}}, "are no columns"),
    "shapes": ({"arrays": {}}, "expected None, got"),
    "version": ({"version": 99}, "version 1; convert it again"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_header_that_cannot_be_true_is_refused(path, case):
    changes, said = HEADERS[case]
    changed(path, **changes)
    with pytest.raises(ValueError, match=said) as error:
        load(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "Expecting value"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"a": 1, "a": 2}', "the key 'a' stands twice"),
        (b"[1]", "expected a JSON object"),
        (b"\xff\xfe{}", "can't decode|decode"),
        (b'{"format": 1' + b"0" * 5000 + b"}", "digits"),
        (b" " * (64 * 2**20 + 1), "more than such a file may have"),
    ],
)
def test_a_header_that_is_no_json_of_ours_is_refused(path, text, said):
    (path / "header.json").write_bytes(text)
    with pytest.raises(ValueError, match=said) as error:
        load(path)
    assert "header.json" in str(error.value)


def written(path: Path, name: str, values: np.ndarray) -> None:
    """An array in the place of another, and the header agrees."""
    np.save(path / name, values, allow_pickle=True)
    header = json.loads((path / "header.json").read_text())
    header["arrays"][name] = [list(values.shape), str(values.dtype)]
    (path / "header.json").write_text(json.dumps(header))


OFFSETS = "train/audio.offsets.npy"
ARRAYS = {
    "falling": (OFFSETS, lambda x: np.r_[0, 5, 3, x[3:]], "never fall; after 5 stands 3"),
    "negative": (OFFSETS, lambda x: np.r_[0, -1, x[2:]], "never fall"),
    "not from 0": (OFFSETS, lambda x: np.r_[1, x[1:]], "run from 0 to"),
    "beyond": (OFFSETS, lambda x: x + 10**15 * (np.arange(len(x)) > 3), "run from 0 to"),
    "no whole numbers": (OFFSETS, lambda x: x.astype(float), "cannot stand there"),
    "without sign": (OFFSETS, lambda x: x.astype(np.uint64), "cannot stand there"),
    "other bytes": (OFFSETS, lambda x: x.astype(">i8"), "cannot stand there"),
    "too few": (OFFSETS, lambda x: x[[0, -1]], "cannot stand there"),
    "objects": ("train/audio.values.npy", lambda x: np.array([{}] * len(x), object), "Python objects"),
    "whole frames": ("train/audio.values.npy", lambda x: x.astype(np.int64), "cannot stand there"),
    "wide frames": ("train/audio.values.npy", lambda x: np.ones((len(x), 9), np.float32), "cannot stand there"),
    "ids beyond": ("train/text.values.npy", lambda x: x + 10**6, "token ids beyond 0 to 8"),
    "negative ids": ("train/text.values.npy", lambda x: x - 1, "token ids beyond 0 to 8"),
    "label": ("train/label.mood.npy", lambda x: x - 2, r"label.mood.npy: row \d holds -2"),
    "infinite label": ("train/label.sentiment.npy", lambda x: x / np.float32(0), r"row \d holds -?inf"),
    "domain": ("train/domain.npy", lambda x: x - 1, "row 0 holds -1"),
    "mean": ("normalisation.audio.npy", lambda x: x * np.nan, "is not finite"),
    "spread": ("normalisation.audio.npy", lambda x: -np.abs(x), "negative"),
    "texts": ("train/ids.offsets.npy", lambda x: x[[0, -1]], "expected 8 texts, got 1"),
}


@pytest.mark.parametrize("case", ARRAYS)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_arrays_that_say_what_cannot_be_are_refused(path, case):
    name, change, said = ARRAYS[case]
    written(path, name, change(np.load(path / name)))
    with pytest.raises(ValueError, match=said) as error:
        load(path)
    assert name.removesuffix(".npy") in str(error.value)


def test_text_that_is_none_is_told_with_its_row(path):
    blob = np.load(path / "train/texts.blob.npy")
    written(path, "train/texts.blob.npy", np.where(blob > 127, 255, blob).astype(np.uint8))
    with pytest.raises(ValueError, match=r"texts.blob.npy: row 2 is no text"):
        load(path)["train"].texts[2]


def test_an_array_that_claims_more_than_its_file_holds_costs_nothing(path):
    file = path / "train/audio.values.npy"
    file.write_bytes(file.read_bytes().replace(b"'shape': (", b"'shape': (10000000", 1)[: file.stat().st_size])

    def read() -> str:
        return outcome(lambda: load(path), path)

    assert in_child(read, more_bytes=100 * 2**20) == "refused"


@pytest.mark.parametrize("name", ["train/audio.values.npy", "normalisation.audio.npy"])
def test_nothing_outside_of_the_folder_is_read(path, tmp_path, name):
    shutil.move(path / name, tmp_path / "elsewhere.npy")
    (path / name).symlink_to(tmp_path / "elsewhere.npy")
    with pytest.raises(ValueError, match="it lies outside of the container"):
        load(path)
    (path / name).unlink()
    os.mkfifo(path / name)
    with pytest.raises(ValueError, match="it is missing"):
        load(path)


def test_a_folder_that_is_a_link_is_as_good_as_its_target(path, tmp_path):
    (tmp_path / "link.msa").symlink_to(path)
    used(tmp_path / "link.msa")
    shutil.move(path / "train", tmp_path / "outside")
    (path / "train").symlink_to(tmp_path / "outside")
    with pytest.raises(ValueError, match="outside of the container"):
        load(tmp_path / "link.msa")


def test_offsets_must_cut_what_is_there_into_rows():
    for offsets in ([0, 3, 2, 4], [0, -1, 4], [1, 4], [0, 5], []):
        with pytest.raises(ValueError, match="offsets must"):
            Ragged(np.zeros((4, 2)), np.array(offsets, np.int64))
        with pytest.raises(ValueError, match="offsets must"):
            Strings(np.zeros(4, np.uint8), np.array(offsets, np.int64))
    with pytest.raises(ValueError, match="offsets must"):
        Ragged(np.zeros((4, 2)), np.array([0.0, 4.0]))


@pytest.mark.parametrize("mapped", [False, True])
def test_mutated_containers_are_read_or_refused(path, mapped, monkeypatch):
    monkeypatch.setattr(container, "MAP_BYTES", -1 if mapped else 2**20)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    often = [*files, *[path / "header.json"] * (len(files) // 2)]
    count = tries(150)
    found = spoilt(path, often, lambda: used(path), count)
    assert found["refused"] > count / 3
    tell(f"container{', mapped' if mapped else ''}: a file changed", count, **found)
