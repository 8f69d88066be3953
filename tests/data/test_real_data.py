"""Are the real files of the field read as their README says?"""

import numpy as np
import pytest

from msaviz.data import msa, text
from msaviz.data.inspect import inspect
from msaviz.data.load import load

SIZES = {"mosi_standard": [1284, 229, 686], "mosi_bclstm": [1207, 240, 752]}


def test_mmmo_has_no_text_in_train(real_data):
    data = load(real_data / "mmmo_seq.npz")
    assert [len(s) for s in data.splits.values()] == [220, 40, 80]
    assert dict(data.spec.widths) == {"text": 300, "audio": 74, "vision": 36}
    assert (data["train"].lengths("text") == 0).all()
    assert (data["test"].lengths("text") > 0).all()
    assert (data.spec.task.low, data.spec.task.high) == (1, 5)
    batch = data["train"].batch(np.arange(20))
    assert not batch.present("text").any()
    assert batch.x["audio"].isfinite().all()
    audio = np.load(real_data / "mmmo_seq.npz")["audio_test"]
    first = (audio != 0).any(-1).argmax(1)
    np.testing.assert_array_equal(data["test"].sequences["audio"].row(0)[0], audio[0, first[0]])


def test_youtube_has_classes_and_many_missing_modalities(real_data):
    data = load(real_data / "youtube_seq.npz")
    assert data.spec.task.classes == ("negative", "neutral", "positive")
    assert (data["train"].lengths("audio") == 0).sum() == 125


@pytest.mark.parametrize("choice", ["words", "wordpieces"])
def test_mosi_dev_has_three_modalities_and_splits_by_video(real_data, choice):
    if choice == "wordpieces" and text.minilm_vocabulary() is None:
        pytest.skip("the extra `text` is not installed")
    data = load(f"{real_data}/mosi_dev_seq.npz:text={choice}")
    assert data.spec.modalities == ("text", "audio", "vision")
    assert sum(map(len, data.splits.values())) == 229
    assert min(map(len, data.splits.values())) >= 30
    assert not any(t.startswith("Leak") for t in data.traps)
    assert data["train"].lengths("vision").max() <= 44
    same = [np.array_equal(s.lengths("text"), s.lengths("audio")) for s in data.splits.values()]
    assert all(same) == (choice == "words")


def test_three_domains_in_one_space(real_data):
    data = load(real_data / "sent_dg_glove_covarep.npz")
    assert set(data.spec.domains) == {"mosi", "mmmo", "youtube"}
    with_text = sum(int((s.lengths("text") > 0).sum()) for s in data.splits.values())
    file = np.load(real_data / "sent_dg_glove_covarep.npz")
    assert with_text == (file["has_text"] & file["text"].any(1)).sum() > 2400


def test_word_pieces_are_those_of_the_published_ids(real_data):
    vocabulary = text.minilm_vocabulary()
    if vocabulary is None:
        pytest.skip("the extra `text` is not installed")
    file = np.load(real_data / "mosi.npz")
    ours = [" ".join(text.wordpieces(t, vocabulary)) for t in file["transcript"]]
    assert np.mean(np.array(ours) == file["text_tokens"]) > 0.99
    ids = [i for t in file["text_tokens"] for i in text.encode(t.split(), vocabulary, 100)]
    np.testing.assert_array_equal(ids, file["text_ids"])


@pytest.mark.parametrize("name", SIZES)
def test_mosi_pickles(mosi, name):
    data = load(mosi / f"{name}.pkl")
    assert [len(s) for s in data.splits.values()] == SIZES[name]
    assert data.spec.vocabularies == {"text": 30522}
    assert ("vision" in data.spec.modalities) == (name == "mosi_bclstm")
    assert any(t.startswith("Leak") for t in data.traps) == (name == "mosi_bclstm")  # its vision tells the labels of valid
    train = data["train"]
    assert (train.lengths("audio") == 1).all()
    assert train.lengths("text").max() == 50
    batch = train.batch([0])
    assert (batch.x["text"][0, 0], batch.x["text"][0, -1]) == (101, 102)
    assert len(train.tokens(0)) == train.lengths("text")[0]


@pytest.mark.slow
def test_mosi_through_the_container(mosi, tmp_path):
    source = f"{mosi}/mosi_bclstm.pkl:text=vectors"
    data = load(msa.convert(source, tmp_path / "mosi.msa"))
    other = load(source)
    assert data.contextual == {"text"}
    assert data.fingerprint == other.fingerprint
    for m, x in other["test"].batch([3, 99]).x.items():
        assert (x == data["test"].batch([3, 99]).x[m]).all()
    assert "contextual" in str(inspect(data))
