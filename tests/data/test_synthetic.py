"""Is what the story says really in the synthetic data?"""

import numpy as np
import pytest

from msaviz.data.load import load
from msaviz.data.synthetic import EMOTIONS, NOISE


@pytest.fixture(scope="module")
def data():
    return load("synthetic:rows=3000,seed=1,shift=0")


def test_sizes_shapes_and_repeatability(data):
    assert [len(s) for s in data.splits.values()] == [2100, 450, 450]
    again = load("synthetic:rows=3000,seed=1,shift=0")
    other = load("synthetic:rows=3000,seed=2,shift=0")
    assert again.fingerprint == data.fingerprint != other.fingerprint
    for m in data.spec.modalities:
        np.testing.assert_array_equal(again["test"].sequences[m].values, data["test"].sequences[m].values)
    assert data.spec.tasks["emotion"].classes == EMOTIONS
    y = data["train"].labels["sentiment"]
    assert y.min() >= -3
    assert y.max() <= 3
    assert abs(y.mean()) < 0.15


def test_the_evidence_shows_the_reading_and_other_steps_do_not(data):
    truth = data.truth
    for m in data.spec.modalities:
        sequence, planted = data["train"].sequences[m], truth["train"]
        row = np.repeat(np.arange(len(sequence)), sequence.lengths)
        marks = planted.evidence[m].values
        assert np.array_equal(planted.evidence[m].offsets, sequence.offsets)
        assert (np.add.reduceat(marks, sequence.offsets[:-1]) >= 1).all()
        shown = sequence.values @ truth.directions[m]["shared"][0]
        assert np.corrcoef(shown[marks], planted.reading[m][row[marks]])[0, 1] > 0.8
        assert abs(np.corrcoef(shown[~marks], planted.reading[m][row[~marks]])[0, 1]) < 0.05
        private = sequence.values @ truth.directions[m]["private"][0]
        assert np.corrcoef(private, planted.private[m][row, 0])[0, 1] > 0.4
        assert abs(np.corrcoef(planted.private[m][:, 0], data["train"].labels["sentiment"])[0, 1]) < 0.08


def test_more_modalities_know_more_and_text_most(data):
    y = data["test"].labels["sentiment"]
    error = {m: np.abs(data.truth.ideal("test", m) - y).mean() for m in [("text",), ("audio",), ("vision",), ("text", "audio"), ()]}
    error["all"] = np.abs(data.truth.ideal("test") - y).mean()
    assert error["all"] < 0.85 * error["text",]
    assert error["all"] < error["text", "audio"] < error["text",] < error["audio",] < error["vision",] < error[()]
    assert list(NOISE.values()) == sorted(NOISE.values())


def test_the_spurious_cue_flips_in_the_last_domain():
    data = load("synthetic:rows=2000,spurious=1,domains=3")
    planted, split = data.truth["train"], data["train"]
    for domain in range(3):
        rows = split.domain == domain
        correlation = np.corrcoef(planted.spurious[rows], split.labels["sentiment"][rows])[0, 1]
        assert correlation * (-1 if domain == 2 else 1) > 0.8
    assert data.spec.domains == ("film", "phone", "meal")


@pytest.mark.parametrize(
    ("options", "strengths"),
    [
        ("spurious=1,domains=4,spurious_spread=.5", [1, 0.75, 0.5, -1]),
        ("spurious=2,domains=3,spurious_spread=1", [2, 0, -2]),
        ("spurious=1,domains=2,spurious_spread=1", [1, -1]),
        ("spurious=1,domains=1,spurious_spread=1", [1]),
        ("spurious=1,domains=3", [1, 1, -1]),
    ],
)
def test_with_a_spread_the_sources_disagree_about_the_cue(options, strengths):
    data = load(f"synthetic:rows=4000,{options}")
    assert len(data.spec.domains) == len(strengths)
    np.testing.assert_allclose(data.truth.config.strengths, strengths)
    cue, split = data.truth["train"].spurious, data["train"]
    for domain, strength in enumerate(strengths):
        rows = split.domain == domain
        slope, offset = np.polyfit(split.labels["sentiment"][rows] / 3, cue[rows], 1)
        assert abs(slope - strength) < 0.06
        assert abs(offset) < 0.05
        planted = strength * split.labels["sentiment"][rows] / 3
        assert abs((cue[rows] - planted).std() - 0.3) < 0.03


def test_without_a_spread_the_data_are_those_of_old():
    old = {
        "synthetic": "48abeb675112",
        "synthetic:rows=2000,spurious=1,domains=3": "9393cbef7b74",
        "synthetic:rows=300,text=ids,missing=.4,spurious=2,domains=1": "9badab8c6da1",
    }
    for source, fingerprint in old.items():
        data = load(source)
        assert data.fingerprint.startswith(fingerprint)
    plain, spread = load("synthetic:rows=300,spurious=1"), load("synthetic:rows=300,spurious=1,spurious_spread=.5")
    assert plain.fingerprint != spread.fingerprint
    for m in ("text", "audio"):  # the cue is in vision alone
        np.testing.assert_array_equal(plain["train"].sequences[m].values, spread["train"].sequences[m].values)
    rows = plain["train"].domain != 1
    different = plain.truth["train"].spurious != spread.truth["train"].spurious
    assert not different[rows].any()
    assert different[~rows].all()


def test_private_label_domain_style_and_emotion():
    data = load("synthetic:rows=2000,private_label=.6,shift=1,domain_specific=1")
    planted = data.truth["train"]
    joint = sum(p[:, 0] for p in planted.private.values())
    assert np.corrcoef(joint, data["train"].labels["sentiment"])[0, 1] > 0.6
    audio, split = data["train"].sequences["audio"], data["train"]
    means = np.array([audio.values[np.repeat(split.domain == d, audio.lengths)].mean(0) for d in range(3)])
    assert means.std(0).mean() > 0.5
    ways = data.truth.directions["text"]["shared"]
    np.testing.assert_allclose(ways @ ways.T, np.eye(3), atol=1e-6)
    dark = split.labels["emotion"]
    arousal = planted.private["audio"][:, 0]
    assert arousal[dark == EMOTIONS.index("angry")].mean() > 0.4 > -0.4 > arousal[dark == EMOTIONS.index("sad")].mean()


def test_missing_modalities_leave_at_least_one():
    data = load("synthetic:rows=1000,missing=.6")
    lengths = np.array([data["train"].lengths(m) for m in data.spec.modalities])
    assert (lengths > 0).any(0).all()
    assert 0.3 < (lengths == 0).mean() < 0.5
    for m, row in zip(data.spec.modalities, lengths, strict=True):
        np.testing.assert_array_equal(row > 0, data.truth["train"].present[m])


@pytest.mark.parametrize("kind", ["vectors", "ids"])
def test_transcripts_are_aligned_with_the_steps_of_text(kind):
    data = load(f"synthetic:rows=300,text={kind}")
    split = data["train"]
    for row in range(10):
        tokens = split.tokens(row)
        assert len(tokens) == split.lengths("text")[row]
        assert split.texts[row] == " ".join(tokens)
    glad = [i for i in range(len(split)) if data.truth["train"].reading["text"][i] > 1.4]
    assert all({"great", "wonderful", "love", "best"} & set(split.tokens(i)) for i in glad)
    if kind == "ids":
        assert data.unknown == {"text": 1}
        assert data.spec.vocabularies["text"] > split.batch(np.arange(50)).x["text"].max() > 1


def test_a_linear_reader_of_means_learns_something_and_fusion_more(data):
    y = {s: data[s].labels["sentiment"] for s in ("train", "test")}

    def features(split, modalities):
        sequences = [data[split].sequences[m] for m in modalities]
        means = [np.add.reduceat(s.values, s.offsets[:-1]) / s.lengths[:, None] for s in sequences]
        return np.concatenate([*means, np.ones((len(data[split]), 1))], 1)

    def error(*modalities):
        weights = np.linalg.lstsq(features("train", modalities), y["train"], rcond=None)[0]
        return np.abs(features("test", modalities) @ weights - y["test"]).mean()

    floor, fused = np.abs(y["test"] - np.median(y["train"])).mean(), error("text", "audio", "vision")
    assert fused < 0.9 * error("text")
    assert max(error("text"), error("vision")) < 0.95 * floor
    assert fused > 1.05 * np.abs(data.truth.ideal("test") - y["test"]).mean()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("synthetic:rows=100", "rows: Input should be greater than or equal to 200"),
        ("synthetic:colour=red", "no option colour; these exist: rows, domains"),
        ("synthetic:rows=many", "rows: .*got 'many'"),
        ("synthetic:rows=300,oops", "expected key=value"),
        ("nothing/here.pkl", "no data at 'nothing/here.pkl'.*A source is"),
        ("npz", "npz reads a file"),
    ],
)
def test_a_bad_source_says_what_is_wrong(source, expected):
    with pytest.raises(ValueError, match=expected):
        load(source)


def test_a_file_of_no_known_kind(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("a,b")
    with pytest.raises(ValueError, match="of no kind that we read"):
        load(path)
