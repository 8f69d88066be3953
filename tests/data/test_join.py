"""Do several sources become one dataset that keeps every row, keeps unequal features apart, and tells the scale of every label?"""

import json

import numpy as np
import pytest
import torch

from msaviz.data import msa
from msaviz.data.dataset import Dataset
from msaviz.data.domains import hold_out
from msaviz.data.inspect import inspect
from msaviz.data.join import join, names
from msaviz.data.load import load
from msaviz.types import Task

SPLITS = np.array(["train"] * 6 + ["valid"] * 2 + ["test"] * 2)


def source(seed, widths, *, low=-3.0, high=3.0, **more):
    """10 rows of 1 to 4 steps of features far from 0, labels that span the scale."""
    draw = np.random.default_rng(seed)
    frames = {m: [draw.normal(5 * seed, 2, size=(1 + (i + seed) % 4, w)).astype(np.float32) for i in range(10)] for m, w in widths.items()}
    given = {"y": np.linspace(low, high, 10), "tasks": {"sentiment": Task(low=low, high=high)}, "splits": SPLITS}
    return Dataset.from_arrays(**frames, **{**given, "ids": [f"s{seed}v{i}_1" for i in range(10)], "name": f"source{seed}", **more})


@pytest.fixture(scope="module")
def pair():
    """Equal audio, unequal vision, gaze in one alone, another scale, another task, transcripts in one alone."""
    y = {"sentiment": np.linspace(-1, 1, 10), "mood": np.array(["up", "down"] * 5)}
    tasks = {"sentiment": Task(low=-1, high=1), "mood": Task("classes", classes=("down", "up"))}
    tokens = [["so", f"row{i}"] for i in range(10)]
    return {
        "mosi": source(1, {"audio": 3, "vision": 5}),
        "sims": source(2, {"audio": 3, "vision": 2, "gaze": 4}, y=y, tasks=tasks, texts=[f"row {i}" for i in range(10)], tokens=tokens),
    }


@pytest.fixture(scope="module")
def both(pair):
    return join(pair)


def test_every_row_keeps_its_values_transcript_and_place(pair, both):
    assert both.spec.domains == ("mosi", "sims")
    assert dict(both.spec.widths) == {"audio": 3, "vision": 7, "gaze": 4}
    place = {"mosi": {"vision": slice(0, 5)}, "sims": {"vision": slice(5, 7)}}
    for name, split in both.splits.items():
        rows = [(d, i) for d in pair for i in range(len(pair[d][name]))]
        assert [both.spec.domains[c] for c in split.domain] == [d for d, _ in rows]
        assert list(split.ids) == [f"{d}/{pair[d][name].ids[i]}" for d, i in rows]
        assert list(split.texts) == [pair[d][name].texts[i] for d, i in rows]
        assert [split.tokens(r) for r in range(len(split))] == [pair[d][name].tokens(i) for d, i in rows]
        for r, (d, i) in enumerate(rows):
            for m in both.spec.modalities:
                x, own = split.sequences[m].row(r), place[d].get(m, slice(None))
                was = pair[d][name].sequences[m].row(i) if m in pair[d].spec.modalities else np.zeros((0, x.shape[1]), np.float32)
                np.testing.assert_array_equal(x[:, own], was)
                assert np.isnan(np.delete(x, np.arange(x.shape[1])[own], axis=1)).all()
    assert both.columns == {"vision": {"mosi": (0, 5), "sims": (5, 7)}}
    assert any(t.startswith("vision: the sources' features differ") and "0 to 4 (mosi), 5 to 6 (sims) of 7" in t for t in both.traps)
    assert "gaze: mosi does not have it, so it is missing in all of its rows." in both.traps


def test_labels_are_stretched_onto_the_first_scale_and_absent_tasks_are_unlabelled(pair, both):
    train = both["train"]
    assert both.spec.task == Task(low=-3, high=3)
    np.testing.assert_array_equal(train.labels["sentiment"][:6], pair["mosi"]["train"].labels["sentiment"])
    np.testing.assert_allclose(train.labels["sentiment"][6:], 3 * pair["sims"]["train"].labels["sentiment"], rtol=1e-6)
    assert train.labels["mood"].tolist() == [-1] * 6 + pair["sims"]["train"].labels["mood"].tolist()
    for expected in (
        "sentiment: labels of mosi are on [-3, 3].",
        "sentiment: labels of sims [-1, 1] were stretched to [-3, 3].",
        "mood: mosi has no such task, so its rows are without this label.",
    ):
        assert expected in both.traps
    turned = join({"sims": pair["sims"], "mosi": pair["mosi"]})
    assert turned.spec.task == Task(low=-1, high=1)
    np.testing.assert_allclose(turned["train"].labels["sentiment"][6:], pair["mosi"]["train"].labels["sentiment"] / 3, rtol=1e-6)
    none = join({"a": source(1, {"audio": 3}), "b": source(2, {"audio": 3}, y=np.r_[np.nan, np.linspace(1, 5, 9)], low=1.0, high=5.0)})
    assert np.isnan(none["train"].labels["sentiment"][6])


def test_own_columns_are_standardised_by_their_own_rows_and_0_elsewhere(pair, both):
    train = both["train"]
    batch = train.batch(np.arange(len(train)))
    assert all(x.isfinite().all() for x in batch.x.values())
    vision, mask = batch.x["vision"], batch.mask["vision"]
    assert (vision[:6, :, 5:] == 0).all()
    assert (vision[6:, :, :5] == 0).all()
    for d, rows, own in (("mosi", slice(0, 6), slice(0, 5)), ("sims", slice(6, 12), slice(5, 7))):
        alone = pair[d]["train"].batch(np.arange(6)).x["vision"]
        np.testing.assert_allclose(vision[rows, : alone.shape[1], own], alone, atol=1e-5)
        assert vision[rows][mask[rows]][:, own].std() > 0.5
    audio = batch.x["audio"][batch.mask["audio"]]
    np.testing.assert_allclose(audio.mean(0), 0, atol=1e-5)
    apart = batch.x["audio"][:6][batch.mask["audio"][:6]].mean() - batch.x["audio"][6:][batch.mask["audio"][6:]].mean()
    assert apart < -1  # shared columns have shared statistics: a difference between sources stays


def test_one_projection_is_one_for_each_source(both):
    torch.manual_seed(0)
    batch, weight = both["train"].batch(np.arange(12)), torch.randn(7, 8)
    other = weight.clone()
    other[5:] += 1
    before, after = batch.x["vision"] @ weight, batch.x["vision"] @ other
    assert torch.equal(before[:6], after[:6])
    assert not torch.allclose(before[6:][batch.mask["vision"][6:]], after[6:][batch.mask["vision"][6:]])


def test_classes_are_joined_by_their_names_or_not_at_all():
    def with_mood(seed, names, codes):
        y = {"sentiment": np.linspace(-3, 3, 10), "mood": np.array(codes)}
        tasks = {"sentiment": Task(), "mood": Task("classes", classes=names)}
        return source(seed, {"audio": 2}, y=y, tasks=tasks)

    a = with_mood(1, ("down", "up"), [0, 1] * 5)
    turned = join({"a": a, "b": with_mood(2, ("up", "down"), [0, 1, -1, 1, 0, 0, 0, 0, 0, 0])})
    assert turned["train"].labels["mood"][6:].tolist() == [1, 0, -1, 0, 1, 1]
    strange = join({"a": a, "b": with_mood(2, ("calm", "angry"), [0, 1] * 5)})
    assert strange["train"].labels["mood"][6:].tolist() == [-1] * 6
    assert "mood: b has the classes calm, angry, so its rows are without this label." in strange.traps


def test_equal_widths_share_unless_own_says_otherwise():
    a, b, c = (source(s, {"text": 4, "audio": 3}) for s in (1, 2, 3))
    shared = join({"a": a, "b": b, "c": c})
    assert shared.columns == {}
    assert dict(shared.spec.widths) == {"text": 4, "audio": 3}
    apart = join({"a": a, "b": b, "c": c}, {"b": ["text"]})
    assert apart.columns == {"text": {"a": (0, 4), "b": (4, 8), "c": (0, 4)}}
    assert apart["train"].batch([6]).x["text"][..., :4].abs().sum() == 0
    assert shared.fingerprint != apart.fingerprint
    with pytest.raises(ValueError, match="b, option own: gaze is no modality of vectors there; these are: text, audio"):
        join({"a": a, "b": b}, {"b": ["gaze"]})


def test_token_ids_share_one_vocabulary_or_are_refused():
    def ids(seed, size, unknown=1):
        rows = np.random.default_rng(seed).integers(2, size, size=(10, 3))
        return source(seed, {"audio": 2}, text=rows, vocabularies={"text": size}, unknown={"text": unknown})

    data = join({"a": ids(1, 20), "b": ids(2, 20), "c": source(3, {"audio": 2})})
    assert data.spec.vocabularies == {"text": 20}
    assert data.unknown == {"text": 1}
    assert data["train"].lengths("text").tolist() == [3] * 12 + [0] * 6
    np.testing.assert_array_equal(data["train"].sequences["text"].row(7), ids(2, 20)["train"].sequences["text"].row(1))
    with pytest.raises(
        ValueError, match=r"text: token ids join only.* a ids of a vocabulary of 20 .*b ids of a vocabulary of 30.*text=vectors"
    ):
        join({"a": ids(1, 20), "b": ids(2, 30)})
    with pytest.raises(ValueError, match=r"unknown: 1.*unknown: 0"):
        join({"a": ids(1, 20), "b": ids(2, 20, unknown=0)})
    with pytest.raises(ValueError, match=r"a ids of a vocabulary of 20 .*; b vectors"):
        join({"a": ids(1, 20), "b": source(2, {"text": 4})})


def test_the_main_task_must_be_in_all():
    a, moods = source(1, {"audio": 2}), np.array(["up", "down"] * 5)
    with pytest.raises(ValueError, match="main task 'sentiment' of a is a number from -3 to 3, but b has only mood"):
        join({"a": a, "b": source(2, {"audio": 2}, y={"mood": moods}, tasks=None)})
    with pytest.raises(ValueError, match="'sentiment' of a is a number from -3 to 3, but b has the classes down, up"):
        join({"a": a, "b": source(2, {"audio": 2}, y=moods, tasks=None)})


def test_domains_of_a_source_stay_apart_and_names_are_unique():
    data = load("synthetic:rows=300,domains=2 | synthetic:rows=200,domains=1,seed=1,text=vectors")
    assert data.spec.domains == ("synthetic/film", "synthetic/phone", "synthetic-2")
    assert len(data["train"]) == 210 + 140
    assert sorted(np.unique(data["train"].domain)) == [0, 1, 2]
    assert not any("videos occur" in t for t in data.traps)  # `train_3` of one is not `train_3` of the other
    assert len({i for s in data.splits.values() for i in s.ids}) == 500
    assert names(["x/mosi.pkl", "y/mosi.pkl", "sims.pkl", "sims.npz", "x/mosi.npz"]) == ["x/mosi", "y/mosi", "sims", "sims-2", "x/mosi-2"]


def test_what_two_sources_share_is_told():
    ids = [f"video{i // 2}[{i % 2}]" for i in range(10)]
    data = join({"a": source(1, {"audio": 2}, ids=ids), "b": source(2, {"audio": 2}, ids=[*ids[8:], *(f"other{i}" for i in range(8))])})
    assert any(t.startswith("Leak: clips of 1 videos occur both in test of a and in train of b (such as 'video4')") for t in data.traps)
    same = join({"a": source(1, {"audio": 2}, ids=ids), "b": source(2, {"audio": 2}, ids=ids)})
    assert any(t.startswith("Duplicates, and a leak where one source stays unseen: clips of 3 videos") for t in same.traps)
    assert not any("videos occur" in t for t in join({"a": source(1, {"audio": 2}), "b": source(2, {"audio": 2})}).traps)


def test_what_was_said_of_a_source_is_said_with_its_name():
    still = [np.ones((2, 2), np.float32)] * 10
    flat = join({"a": source(1, {}, audio=still), "b": source(2, {}, audio=[-x for x in still])})
    assert not any("never vary" in t for t in flat.traps)  # 1 in one source and -1 in the other: over both it varies
    assert flat["train"].batch([0, 6]).x["audio"].abs().min() > 0.5
    same = join({"a": source(1, {}, audio=still), "b": source(2, {}, audio=still)})
    assert "audio: 2 of 2 features never vary in train; a batch holds 0 for them." in same.traps
    nan = [*still[:9], np.full((2, 2), np.nan, np.float32)]
    assert any(
        t.startswith("b: audio: 4 of 40 values are NaN") for t in join({"a": source(1, {"audio": 2}), "b": source(2, {}, audio=nan)}).traps
    )


def test_an_unseen_domain_with_columns_of_its_own_lacks_the_modality(pair, both):
    unseen = hold_out(both, targets=["sims"])
    test = unseen["test"]
    assert (test.lengths("vision") == 0).tolist() == [d == 1 for d in test.domain]
    assert (test.lengths("audio") > 0).all()
    assert (test.lengths("gaze") == 0).all()  # mosi has none, so nothing ever learnt to read it
    said = "no train row has the features that the unseen sims has, so it counts as missing in its rows."
    assert {f"vision: {said}", f"gaze: {said}"} == {t for t in unseen.traps if "no train row" in t}
    np.testing.assert_array_equal(test.sequences["vision"].row(1), both["test"].sequences["vision"].row(1))
    third = {**pair, "mosei": source(3, {"audio": 3, "vision": 2})}
    kept = hold_out(join(third), targets=["sims"])  # mosei has the same columns
    assert (kept["test"].lengths("vision") > 0).all()
    assert (hold_out(both, sources=["sims"])["test"].lengths("gaze") > 0).tolist() == [True] * 2 + [False] * 10
    alone = hold_out(join({"a": source(1, {"vision": 2}), "b": source(2, {"vision": 3})}), targets=["b"])
    assert any("it counts as missing in its rows (10 of which have no modality left)" in t for t in alone.traps)


def test_the_container_keeps_a_joined_dataset(tmp_path, pair, both):
    path = msa.save(both, tmp_path / "both.msa")
    data = load(path)
    assert data.columns == both.columns
    assert (data.spec, data.fingerprint, data.traps) == (both.spec, both.fingerprint, both.traps)
    for s in both.splits:
        p, q = data[s].batch(np.arange(len(data[s]))), both[s].batch(np.arange(len(both[s])))
        assert all(torch.equal(p.x[m], q.x[m]) for m in q.x)
    assert (hold_out(data, targets=["sims"])["test"].lengths("vision") == 0).sum() == 10
    assert data.select(["audio"]).columns == {}
    again = join({"old": data, "new": source(3, {"audio": 3, "vision": 7})})  # as wide as both together, and yet of another kind
    assert again.columns["vision"] == {"old/mosi": (0, 5), "old/sims": (5, 7), "new": (7, 14)}
    assert again["train"].batch(np.arange(18)).x["vision"].isfinite().all()
    source_string = "synthetic:rows=200 | synthetic:rows=200,own=audio,seed=2"
    copied = load(msa.convert(source_string, tmp_path / "copy.msa"))
    assert copied.columns["audio"]["synthetic-2/film"] == (16, 32)
    assert copied.fingerprint == load(source_string).fingerprint


def test_a_container_can_be_told_its_scale(tmp_path):
    path = msa.save(source(1, {"audio": 2}), tmp_path / "a.msa")
    data, told = load(path), load(f"{path}:low=-1,high=1")
    assert (told.spec.task.low, told.spec.task.high) == (-1, 1)
    np.testing.assert_array_equal(told["train"].labels["sentiment"], data["train"].labels["sentiment"])
    assert told.fingerprint != data.fingerprint == load(f"{path}:low=-3,high=3").fingerprint


def test_inspection_counts_bad_values_in_a_sources_own_columns_only(pair):
    holes = [np.full((2, 3), 7, np.float32) for _ in range(10)]
    holes[0][1, 2], holes[1][0] = np.nan, 0
    data = join({"mosi": pair["mosi"], "b": source(4, {"audio": 3}, vision=holes)})
    seen = inspect(data).modalities.query("modality == 'vision'").set_index("split")
    assert seen["nan"].to_dict() == {"train": 1, "valid": 0, "test": 0}
    steps = int(data["train"].lengths("vision").sum())
    assert seen.loc["train", "zero"] == 1 / steps
    rows = inspect(data).domains.set_index(["split", "domain"])["rows"].to_dict()
    assert rows["train", "b"] == rows["train", "mosi"] == 6
    assert "labels of b are on [-3, 3]" in str(inspect(data))
    assert json.loads(json.dumps(inspect(data).to_dict(), allow_nan=False))["traps"]


def test_three_files_of_the_field(real_data):
    mosi, mmmo, youtube = (f"{real_data}/{name}_seq.npz" for name in ("mosi_dev", "mmmo", "youtube"))
    data = load(f"{mosi}:text=none,low=-3,high=3 | {mmmo}:low=1,high=5 | {youtube}:low=-1,high=1")
    assert data.spec.domains == ("mosi_dev_seq", "mmmo_seq", "youtube_seq")
    assert dict(data.spec.widths) == {"text": 300, "audio": 74, "vision": 47 + 36}
    assert data.columns == {"vision": {"mosi_dev_seq": (0, 47), "mmmo_seq": (47, 83), "youtube_seq": (47, 83)}}
    assert sum(map(len, data.splits.values())) == 229 + 340 + 269
    assert all(np.abs(s.labels["sentiment"]).max() <= 3 for s in data.splits.values())
    batch = data["test"].batch(np.arange(len(data["test"])))
    assert all(x.isfinite().all() for x in batch.x.values())
    assert (batch.x["vision"][batch.domain == 0][..., 47:] == 0).all()
    assert "sentiment: labels of mmmo_seq [1, 5] were stretched to [-3, 3]." in data.traps
    unseen = hold_out(data, sources=["mosi_dev_seq"], targets=["mmmo_seq"])
    assert all((unseen["test"].lengths(m)[unseen["test"].domain == 1] == 0).all() for m in ("text", "vision"))
    assert (unseen["test"].lengths("audio") > 0).all()
    kept = hold_out(data, targets=["youtube_seq"])["test"]
    assert (kept.lengths("vision")[kept.domain == 2] > 0).sum() == (173 - 129) + (36 - 30) + (60 - 40)
    with pytest.raises(ValueError, match=r"text: token ids join only.*mosi_dev_seq ids of .*mmmo_seq vectors"):
        load(f"{mosi}:text=words,low=-3,high=3 | {mmmo}:low=1,high=5")
