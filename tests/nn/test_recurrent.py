"""Does a recurrent encoder step over every valid step once, in order, and over nothing else?"""

import pytest
import torch

from msaviz.nn.encoders import PooledEncoder, window_mean, window_stride
from msaviz.nn.recurrent import RecurrentEncoder, TransformerMean, utterance_encoder, utterance_encoders


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def sequences(lengths=(20, 7, 0, 13), steps=20, width=5):
    mask = torch.arange(steps) < torch.tensor(lengths)[:, None]
    return torch.randn(len(lengths), steps, width).masked_fill(~mask[..., None], 0), mask


def written_out(encoder, steps):
    """The LSTM's formulas, step by step, over one row's valid steps."""
    net, d = encoder.lstm, encoder.dim
    h = c = torch.zeros(d)
    for x in encoder.norm(encoder.project(steps)):
        i, f, g, o = (net.weight_ih_l0 @ x + net.bias_ih_l0 + net.weight_hh_l0 @ h + net.bias_hh_l0).split(d)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
    return h


def test_it_is_the_lstm_of_the_valid_steps_and_holes_do_not_exist():
    x, mask = sequences()
    mask[0, 3:9], mask[3, 0], mask[1, 6] = False, False, False
    encoder = RecurrentEncoder(5, 8).eval()
    loud = torch.where(mask[..., None], x, torch.nan)
    found = encoder(loud, mask)
    for row in (0, 1, 3):
        torch.testing.assert_close(found[row], written_out(encoder, x[row, mask[row]]), atol=1e-6, rtol=1e-5)
    assert (found[2] == 0).all()


def test_long_sequences_are_read_in_the_windows_of_the_other_encoders():
    x, mask = sequences()
    encoder = RecurrentEncoder(5, 8, frames=6).eval()
    windows, valid = window_mean(x, mask, window_stride(mask, 6), 6)
    for row in (0, 1, 3):
        torch.testing.assert_close(encoder(x, mask)[row], written_out(encoder, windows[row, valid[row]]), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("options", [{}, {"bidirectional": True}, {"layers": 2}, {"layers": 2, "bidirectional": True}])
def test_padding_and_neighbours_change_nothing(options):
    x, mask = sequences()
    encoder = RecurrentEncoder(5, 8, **options).eval()
    together = encoder(x, mask)
    longer = encoder(torch.cat([x, torch.full((4, 30, 5), 77.0)], 1), torch.cat([mask, torch.zeros(4, 30, dtype=torch.bool)], 1))
    torch.testing.assert_close(longer, together, atol=1e-6, rtol=1e-5)
    alone = torch.cat([encoder(x[i : i + 1, : max(n, 1)], mask[i : i + 1, : max(n, 1)]) for i, n in enumerate((20, 7, 0, 13))])
    torch.testing.assert_close(alone, together, atol=1e-6, rtol=1e-5)


def test_both_ways_are_both_ends_of_the_row():
    x, mask = sequences()
    encoder = RecurrentEncoder(5, 8, bidirectional=True).eval()
    for row in (0, 1, 3):
        states, _ = encoder.lstm(encoder.norm(encoder.project(x[row, mask[row]])))
        torch.testing.assert_close(encoder(x, mask)[row], torch.cat([states[-1, :4], states[0, 4:]]), atol=1e-6, rtol=1e-5)
    with pytest.raises(ValueError, match="even"):
        RecurrentEncoder(5, 7, bidirectional=True)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_an_absent_modality_gives_zeros_and_finite_gradients(bidirectional):
    x, mask = sequences()
    encoder = RecurrentEncoder(5, 8, bidirectional=bidirectional).train()
    encoder(x.requires_grad_(), mask).square().sum().backward()
    assert (x.grad[2] == 0).all()
    assert (x.grad[~mask] == 0).all()
    assert (x.grad[mask].abs().sum(1) > 0).all()
    assert all(torch.isfinite(p.grad).all() for p in encoder.parameters())
    assert (encoder(x, torch.zeros_like(mask)) == 0).all()


def test_kinds_are_chosen_by_name():
    kinds = {"lstm": RecurrentEncoder, "transformer": TransformerMean, "pooled": PooledEncoder}
    x, mask = sequences()
    for name, kind in kinds.items():
        encoder = utterance_encoder(name, 5, 8).eval()
        assert isinstance(encoder, kind)
        found = encoder(x, mask)
        assert found.shape == (4, 8)
        assert (found[2] == 0).all()
        assert (found[[0, 1, 3]] != 0).any(1).all()
    paper = utterance_encoders("paper", {"text": 3, "audio": 4, "gaze": 5}, 8, ("lstm", "pooled"))
    assert [type(e) for e in paper.values()] == [RecurrentEncoder, PooledEncoder, PooledEncoder]
    every = utterance_encoders("lstm", {"text": 3, "audio": 4}, 8, ("lstm", "pooled"))
    assert [type(e) for e in every.values()] == [RecurrentEncoder] * 2
    with pytest.raises(ValueError, match="gru.*lstm, transformer, pooled"):
        utterance_encoder("gru", 5, 8)


def test_an_lstm_is_no_wider_than_its_input():
    hidden = {width: RecurrentEncoder(width, 64).lstm.hidden_size for width in (3, 20, 21, 768)}
    assert hidden == {3: 16, 20: 20, 21: 22, 768: 64}
