"""Do encoders read every valid step, and nothing else?"""

import numpy as np
import pytest
import torch

from msaviz.nn.dropout import Dropout
from msaviz.nn.encoders import PooledEncoder, SequenceEncoder, masked_mean, sinusoids, window_mean, window_stride


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def sequences(lengths=(20, 7, 0, 13), steps=20, width=5):
    mask = torch.arange(steps) < torch.tensor(lengths)[:, None]
    return torch.randn(len(lengths), steps, width).masked_fill(~mask[..., None], 0), mask


def encoder(frames=8, **options):
    return SequenceEncoder(5, 16, frames=frames, **options).eval()


def test_masked_mean_equals_numpy_and_ignores_nan_outside_the_mask():
    x, mask = sequences()
    mask[0, 3:9] = False
    x[~mask] = torch.nan
    expected = np.stack([row[kept].mean(0) if kept.any() else np.zeros(5) for row, kept in zip(x.numpy(), mask.numpy(), strict=True)])
    np.testing.assert_allclose(masked_mean(x, mask), expected, atol=1e-6)


def test_windows_fit_the_frames_whatever_the_length():
    for frames in (1, 3, 8):
        mask = torch.arange(40) < torch.arange(41)[:, None]
        stride = window_stride(mask, frames)
        assert (stride >= 1).all()
        assert (-(-torch.arange(41) // stride) <= frames).all()
        assert (stride[: frames + 1] == 1).all()


def test_window_mean_equals_a_loop():
    x, mask = sequences()
    mask[0, 4:8] = False
    stride = window_stride(mask, 6)
    means, valid = window_mean(x, mask, stride, 6)
    for row in range(len(x)):
        for window in range(6):
            steps = torch.arange(20)
            inside = mask[row] & (steps // stride[row] == window)
            assert valid[row, window] == inside.any()
            expected = x[row, inside].mean(0) if inside.any() else torch.zeros(5)
            torch.testing.assert_close(means[row, window], expected)


def test_window_mean_of_one_stride_pools_any_companion_in_the_same_windows():
    _, mask = sequences()
    means, valid = window_mean(mask[..., None].float(), mask, 6)
    assert means.shape == (4, 4, 1)
    assert torch.equal(means[..., 0] == 1, valid)


def test_padding_and_what_stands_there_change_nothing():
    x, mask = sequences()
    model, wider = encoder(), torch.cat([x, torch.full((4, 30, 5), torch.nan)], 1)
    short, long = model(x, mask), model(wider, torch.cat([mask, torch.zeros(4, 30, dtype=torch.bool)], 1))
    torch.testing.assert_close(long.tokens, short.tokens, atol=1e-6, rtol=1e-6)
    assert torch.equal(long.frames, short.frames)
    assert torch.equal(long.mask, short.mask)
    assert torch.equal(long.time, short.time)


def test_a_row_does_not_depend_on_its_neighbours():
    x, mask = sequences()
    model = encoder()
    together = model(x, mask)
    alone = model(x[1:2, :7], mask[1:2, :7])
    torch.testing.assert_close(together.tokens[1:2, : alone.tokens.shape[1]], alone.tokens, atol=1e-6, rtol=1e-6)
    assert not together.mask[1, alone.mask.shape[1] :].any()


def test_permuting_the_batch_permutes_the_output():
    x, mask = sequences()
    model, order = encoder(), torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(model(x[order], mask[order]).tokens, model(x, mask).tokens[order])


@pytest.mark.parametrize("step", [0, 9, 19])
def test_every_valid_step_matters(step):
    x, mask = sequences()
    model = encoder()
    changed = x.clone()
    changed[0, step] += 1
    before, after = model(x, mask), model(changed, mask)
    assert (before.pooled[0] - after.pooled[0]).abs().max() > 1e-5
    torch.testing.assert_close(before.tokens[1:], after.tokens[1:])


@pytest.mark.parametrize("frames", [8, 64])
@pytest.mark.parametrize("summary", [0, 4])
def test_an_absent_modality_gives_zeros_and_finite_gradients(frames, summary):
    x, mask = sequences()
    model = encoder(frames, summary=summary).train()
    encoded = model(x.requires_grad_(), mask)
    assert encoded.present.tolist() == [True, True, False, True]
    assert not encoded.mask[2].any()
    assert (encoded.tokens[2] == 0).all()
    assert (encoded.pooled[2] == 0).all()
    encoded.tokens.square().sum().backward()
    for value in (x.grad, *(p.grad for p in model.parameters())):
        assert torch.isfinite(value).all()
    assert (x.grad[2] == 0).all()
    assert (x.grad[~mask] == 0).all()


def test_a_batch_without_the_modality_still_works():
    x, mask = sequences((0, 0))
    encoded = encoder()(x, mask)
    assert (encoded.tokens == 0).all()
    assert not encoded.mask.any()


def test_summary_tokens_come_first_and_time_counts_source_steps():
    x, mask = sequences()
    encoded = encoder()(x, mask)
    assert (encoded.time[:, :4] == -1).all()
    assert encoded.time[0, 4:].tolist() == [0, 3, 6, 9, 12, 15, 18, 21]
    assert encoded.time[1, 4:].tolist() == list(range(8))
    assert encoded.mask[1].tolist() == [True] * 11 + [False]
    assert encoded.frame_tokens.shape == (4, 8, 16)
    assert encoded.frame_mask.shape == encoded.frames.shape[:2]


def test_the_order_of_steps_matters():
    x, mask = sequences((20,))
    model = encoder(64)
    assert (model(x, mask).pooled - model(x.flip(1), mask).pooled).abs().max() > 1e-4


def test_sinusoids_equal_their_formula():
    time = torch.tensor([[0, 3, 500]])
    found = sinusoids(time, 8)[0].numpy()
    angle = np.array([0, 3, 500])[:, None] / 10000 ** (np.arange(4) / 4)
    np.testing.assert_allclose(found, np.concatenate([np.sin(angle), np.cos(angle)], 1), atol=1e-4)


def test_bad_sizes_are_refused():
    with pytest.raises(ValueError, match="heads"):
        SequenceEncoder(5, 18, heads=4)
    with pytest.raises(ValueError, match="even"):
        SequenceEncoder(5, 15, heads=3)


def test_the_pooled_encoder_zeroes_absent_rows():
    x, mask = sequences()
    out = PooledEncoder(5, 16).eval()(x, mask)
    assert (out[2] == 0).all()
    assert (out[[0, 1, 3]] != 0).any(1).all()


def test_dropout_meets_its_rate_keeps_the_mean_and_stands_still_in_eval():
    drop, ones = Dropout(0.3), torch.ones(1001, 333)
    out = drop(ones)
    assert abs((out == 0).float().mean().item() - 0.3) < 0.003
    assert abs(out.mean().item() - 1) < 0.005
    assert len(out.unique()) == 2
    assert drop.eval()(ones) is ones
    with pytest.raises(ValueError, match="rate"):
        Dropout(1.0)


def test_dropout_passes_the_gradient_of_what_it_kept_and_follows_the_seed():
    x = torch.ones(7, 5, requires_grad=True)
    out = Dropout(0.5)(x)
    out.sum().backward()
    assert torch.equal(x.grad, out.detach())
    torch.manual_seed(3)
    first = Dropout(0.5)(x)
    torch.manual_seed(3)
    assert torch.equal(first, Dropout(0.5)(x))
