"""Does the container hold a dataset whole, open at once, and never show a half?"""

import json
import os
import time

import numpy as np
import pytest
import torch

from msaviz.data import msa
from msaviz.data.dataset import Dataset
from msaviz.data.load import load


def equal(a, b):
    assert a.spec == b.spec
    for what in ("name", "fingerprint", "traps", "unknown", "contextual"):
        assert getattr(a, what) == getattr(b, what), what
    assert list(a.splits) == list(b.splits)
    for s in a.splits:
        x, y = a[s], b[s]
        assert list(x.ids) == list(y.ids)
        assert list(x.texts) == list(y.texts)
        assert [x.tokens(i) for i in range(len(x))] == [y.tokens(i) for i in range(len(y))]
        p, q = x.batch(np.arange(len(x))), y.batch(np.arange(len(y)))
        for left, right in ((p.x, q.x), (p.mask, q.mask), (p.labels, q.labels)):
            assert list(left) == list(right)
            assert all(torch.equal(left[k].nan_to_num(99), right[k].nan_to_num(99)) for k in left)
        assert torch.equal(p.domain, q.domain)


@pytest.mark.parametrize("source", ["synthetic:rows=200,missing=.4", "synthetic:rows=200,text=ids,domains=1"])
def test_what_is_saved_is_what_is_opened(tmp_path, source):
    data = load(source)
    seen = []
    path = msa.convert(data, tmp_path / "a.msa", lambda done, total: seen.append((done, total)))
    equal(load(path), data)
    assert seen[-1][0] == seen[-1][1] > 0
    assert sorted(done for done, _ in seen) == [done for done, _ in seen]
    assert not list(tmp_path.glob(".*"))
    equal(load(msa.convert(path, tmp_path / "b.msa")), data)


def test_odd_text_nan_labels_and_a_split_without_a_modality(tmp_path):
    data = Dataset.from_arrays(
        speech=[None, None, np.ones((2, 3)), np.ones((1, 3)) * np.nan],
        gaze=np.ones((4, 2)),
        y=np.array([1, np.nan, 2, 3]),
        splits=["train", "train", "valid", "test"],
        texts=["früh\n", "", "日本", "x"],
        tokens=[["fr üh"], [], ["日", "本"], ["x"]],
    )
    path = msa.save(data, tmp_path / "a.msa")
    equal(load(path), data)
    assert load(f"{path}:modalities=gaze").spec.modalities == ("gaze",)
    assert load(path)["train"].tokens(0) == ["fr üh"]


def test_opening_reads_no_sequence_and_takes_the_same_time_at_any_size(tmp_path):
    paths = [msa.convert(f"synthetic:rows={n}", tmp_path / f"{n}.msa") for n in (200, 6_000)]
    times = []
    for path in paths:
        took = []
        for _ in range(3):
            start = time.perf_counter()
            data = load(path)
            took.append(time.perf_counter() - start)
        times.append(min(took))
    assert times[1] < 0.2
    assert times[1] < 5 * times[0] + 0.02
    for sequence in data["train"].sequences.values():
        assert isinstance(sequence.values, np.memmap)
        assert not sequence.values.flags.writeable
    batch = data["train"].batch([4_199, 5])
    assert torch.equal(batch.x["audio"], load("synthetic:rows=6000")["train"].batch([4_199, 5]).x["audio"])


def test_a_broken_write_leaves_the_old_container(tmp_path, monkeypatch):
    path = msa.convert("synthetic:rows=200", tmp_path / "a.msa")
    old = load(path).fingerprint
    with pytest.raises(ValueError, match="exists; overwrite=True"):
        msa.convert("synthetic:rows=300", path)

    def fail(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        msa.convert("synthetic:rows=300", path, fail, overwrite=True)
    assert load(path).fingerprint == old
    assert os.listdir(tmp_path) == ["a.msa"]
    msa.convert("synthetic:rows=300", path, overwrite=True)
    assert load(path).fingerprint != old
    (tmp_path / "other").mkdir()
    with pytest.raises(ValueError, match="is no container of ours"):
        msa.convert("synthetic:rows=200", tmp_path / "other", overwrite=True)


def test_damage_is_told(tmp_path):
    path = msa.convert("synthetic:rows=200", tmp_path / "a.msa")
    np.save(path / "train" / "audio.values.npy", np.zeros((3, 16), np.float32))
    with pytest.raises(ValueError, match=r"audio.values.npy: expected .* got .*3, 16"):
        load(path)
    (path / "train" / "audio.values.npy").unlink()
    with pytest.raises(ValueError, match="audio.values.npy: it is missing; convert the source again"):
        load(path)
    header = json.loads((path / "header.json").read_text())
    (path / "header.json").write_text(json.dumps({**header, "version": 99}))
    with pytest.raises(ValueError, match="version 1; convert it again"):
        load(path)
    (path / "header.json").write_text("{")
    with pytest.raises(ValueError, match=r"header.json: Expecting"):
        load(path)
