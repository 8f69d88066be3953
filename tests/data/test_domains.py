"""Is nothing learnt from an unseen domain, is every source met equally often, and are styles found without their names?"""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from msaviz.data.dataset import Dataset
from msaviz.data.domains import balanced_order, hold_out, roles, style_clusters
from msaviz.data.load import load

KNOWN = ("film", "phone", "meal")


@pytest.mark.parametrize(
    ("sources", "targets", "learnt", "unseen"),
    [
        ((), (), KNOWN, ()),
        ((), ("phone",), ("film", "meal"), ("phone",)),
        (("meal",), (), ("meal",), ("film", "phone")),
        (("meal", "film"), ("phone",), ("film", "meal"), ("phone",)),
        (("film",), ("meal",), ("film",), ("meal",)),
    ],
)
def test_roles(sources, targets, learnt, unseen):
    assert roles(KNOWN, sources, targets) == (learnt, unseen)


@pytest.mark.parametrize(
    ("sources", "targets", "expected"),
    [
        (("opera",), (), "no domain is called 'opera'; these exist: film, phone, meal"),
        ((), ("film", "opera"), "no domain is called 'opera'"),
        (("film",), ("film", "meal"), "cannot be learnt from and unseen at once: film"),
        ((), KNOWN, "no domain is left to learn from: all of film, phone, meal are unseen"),
    ],
)
def test_impossible_roles_are_told(sources, targets, expected):
    with pytest.raises(ValueError, match=expected):
        roles(KNOWN, sources, targets)


@pytest.fixture(scope="module")
def whole():
    return load("synthetic:rows=600,missing=.4,spurious=1,seed=3")


def rows_of(split, spec, domain):
    return {i for i, d in zip(split.ids, split.domain, strict=True) if spec.domains[d] == domain}


def test_an_unseen_domain_is_whole_in_the_test_and_nowhere_else(whole):
    data = hold_out(whole, targets=["phone"])
    assert set(data["train"].domain) == set(data["valid"].domain) == {0, 2}
    for domain in whole.spec.domains:
        had = {name: rows_of(split, whole.spec, domain) for name, split in whole.splits.items()}
        has = {name: rows_of(split, data.spec, domain) for name, split in data.splits.items()}
        everything = set.union(*had.values())
        assert has == ({"train": set(), "valid": set(), "test": everything} if domain == "phone" else had)
    assert data.fingerprint != whole.fingerprint
    assert "the unseen phone" in data.traps[-1]
    assert hold_out(whole) is whole
    few = hold_out(whole, sources=["film"], targets=["meal"])
    assert set(few["test"].domain) == {0, 2}
    assert set(few["train"].domain) == {0}
    assert few.fingerprint != data.fingerprint


def test_the_truth_goes_with_the_rows(whole):
    data = hold_out(whole, targets=["phone"])
    for name, split in data.splits.items():
        planted = data.truth[name]
        for row, identity in enumerate(split.ids):
            old, place = identity.split("_")
            was, i = whole.truth[old], int(place)
            assert planted.latent[row] == was.latent[i]
            assert planted.spurious[row] == was.spurious[i]
            for m in data.spec.modalities:
                assert planted.reading[m][row] == was.reading[m][i]
                assert planted.present[m][row] == was.present[m][i] == (split.lengths(m)[row] > 0)
                np.testing.assert_array_equal(planted.evidence[m].row(row), was.evidence[m].row(i))
                np.testing.assert_array_equal(split.sequences[m].row(row), whole[old].sequences[m].row(i))
    for m in data.spec.modalities:
        np.testing.assert_array_equal(data.truth["test"].evidence[m].offsets, data["test"].sequences[m].offsets)
    assert np.corrcoef(data.truth.ideal("test"), data["test"].labels["sentiment"])[0, 1] > 0.5


def offset_in(domain, offset):
    """Three domains; the features of one lie `offset` away."""
    draw = np.random.default_rng(0)
    codes = np.arange(60) % 3
    audio = [draw.normal(size=(3, 4)).astype(np.float32) + (offset if c == domain else 0) for c in codes]
    splits = np.array(["train"] * 30 + ["valid"] * 15 + ["test"] * 15)
    y = draw.uniform(-3, 3, 60)
    return Dataset.from_arrays(
        audio=audio, y=y, domain=codes, splits=splits, texts=["x"] * 60, tokens=[["a", str(i), "b"] for i in range(60)]
    )


def test_statistics_know_nothing_of_an_unseen_domain():
    plain, far = (hold_out(offset_in(2, offset), targets=["2"]) for offset in (0, 1e4))
    for split in ("train", "valid"):
        rows = np.arange(len(plain[split]))
        assert (plain[split].batch(rows).x["audio"] == far[split].batch(rows).x["audio"]).all()
    moved = offset_in(2, 1e4)["train"].batch([0]).x["audio"]  # with the domain in train it does move the others
    assert (moved != offset_in(2, 0)["train"].batch([0]).x["audio"]).any()
    np.testing.assert_array_equal(plain.normalisation["audio"][0], far.normalisation["audio"][0])
    assert plain["test"].tokens(0) == ["a", "45", "b"]
    assert plain["test"].normalisation is plain["train"].normalisation


def test_missing_splits_and_sources_without_a_train_row():
    train = np.array(["train"] * 8)
    data = Dataset.from_arrays(audio=np.ones((8, 2)) * np.arange(8)[:, None], y=np.arange(8.0), domain=np.arange(8) % 2, splits=train)
    held = hold_out(data, targets=["1"])
    assert {name: len(split) for name, split in held.splits.items()} == {"train": 4, "test": 4}
    assert set(held["test"].domain) == {1}
    late = Dataset.from_arrays(audio=np.ones((8, 2)), y=np.arange(8.0), domain=[0] * 6 + [1] * 2, splits=["train"] * 6 + ["test"] * 2)
    with pytest.raises(ValueError, match="arrays: no train row belongs to 1"):
        hold_out(late, targets=["0"])
    with pytest.raises(ValueError, match="no domain is called 'x'; these exist: 0, 1"):
        hold_out(data, targets=["x"])


def test_what_no_train_row_has_is_missing_in_unseen_rows():
    gaze = [None] * 6 + [np.ones((2, 3))] * 4
    splits = ["train"] * 4 + ["test"] * 2 + ["train"] * 2 + ["test"] * 2
    data = Dataset.from_arrays(audio=np.ones((10, 2)), gaze=gaze, y=np.arange(10.0), domain=[0] * 6 + [1] * 4, splits=np.array(splits))
    held = hold_out(data, targets=["1"])
    assert held["test"].lengths("gaze").tolist() == [0] * 6
    assert held["test"].lengths("audio").tolist() == [1] * 6
    assert "gaze: no train row has the features that the unseen 1 has, so it counts as missing in its rows." in held.traps
    assert hold_out(data, targets=["0"])["test"].lengths("gaze").tolist() == [2, 2, 0, 0, 0, 0, 0, 0]


SIZES = np.repeat([0, 1, 4], [50, 7, 23])  # 80 rows of three domains, one tiny


@pytest.mark.parametrize("size", [6, 12, 32])
def test_every_batch_has_equal_shares_and_an_epoch_its_usual_length(size):
    for epoch in range(3):
        order = balanced_order(SIZES, size, seed=0, epoch=epoch)
        assert len(order) == -(-80 // size)
        for batch in order:
            assert np.unique(SIZES[batch], return_counts=True)[1].tolist() == [size // 3] * 3


def test_over_epochs_every_row_of_a_domain_is_met_equally_often():
    met = np.zeros(80, int)
    for epoch in range(25):
        for batch in balanced_order(SIZES, 12, seed=0, epoch=epoch):
            np.add.at(met, batch, 1)
        for code in (0, 1, 4):
            assert np.ptp(met[code == SIZES]) <= 1
    assert met[SIZES == 1].min() > 5 * met[SIZES == 0].max()
    assert met.sum() == 25 * 7 * 12


def test_the_order_depends_on_seed_and_epoch_alone():
    def order(seed, epoch):
        return np.concatenate(balanced_order(SIZES, 12, seed=seed, epoch=epoch)).tolist()

    rounds = (
        np.array(balanced_order(np.zeros(30, int), 10, seed=0, epoch=0)),
        np.array(balanced_order(np.zeros(30, int), 10, seed=0, epoch=1)),
    )
    assert (rounds[0] != rounds[1]).any()  # each round of a domain's rows is shuffled anew
    later = order(0, 7)
    assert order(0, 0) == order(0, 0)
    assert order(0, 7) == later
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1, 7)}) == 6


def test_fewer_rows_than_a_share_come_several_times_in_a_batch():
    (batch,) = balanced_order(np.array([0] * 18 + [1] * 2), 20, seed=0, epoch=0)
    assert sorted(np.bincount(batch, minlength=20)[18:]) == [5, 5]
    assert len(balanced_order(np.zeros(5, int), 2, seed=0, epoch=0)) == 3
    assert [len(b) for b in balanced_order(np.arange(3), 2, seed=0, epoch=0)] == [3, 3]  # at least one row of each domain


@pytest.mark.parametrize("missing", [0, 0.3])
def test_planted_styles_are_found_without_their_names(missing):
    data = load(f"synthetic:rows=900,shift=3,domains=3,seed=2,missing={missing}")
    split = data["train"]
    found = style_clusters(split, 3)
    assert found.dtype == np.int64
    assert sorted(np.unique(found)) == [0, 1, 2]
    assert adjusted_rand_score(split.domain, found) > 0.9
    np.testing.assert_array_equal(found, style_clusters(split, 3))
    plain = load("synthetic:rows=900,shift=0,domains=3,seed=2")["train"]
    assert adjusted_rand_score(plain.domain, style_clusters(plain, 3)) < 0.1


def test_a_modality_without_a_step_and_many_rows_are_no_trouble():
    draw = np.random.default_rng(0)
    code = np.arange(1200) % 2
    audio = draw.normal(size=(1200, 3, 2)).astype(np.float32) + 8 * code[:, None, None]
    data = Dataset.from_arrays(
        audio=audio, vision=[None] * 1199 + [np.ones((2, 2))], y=draw.uniform(-3, 3, 1200), splits=["train"] * 1199 + ["test"]
    )
    split = data["train"]
    assert (split.lengths("vision") == 0).all()
    assert adjusted_rand_score(code[:1199], style_clusters(split, 2)) == 1
    assert len(np.unique(style_clusters(split.take(np.arange(2)), 5))) == 2


def test_token_ids_alone_have_no_style():
    data = load("synthetic:rows=200,text=ids").select(["text"])
    with pytest.raises(ValueError, match="split 'train' has no frames.*declare domains instead"):
        style_clusters(data["train"])
