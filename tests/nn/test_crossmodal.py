"""Does a target read all that is valid of the source, and nothing else?"""

import pytest
import torch
import torch.nn.functional as F

from msaviz.nn.crossmodal import CrossmodalBlock, CrossmodalTransformer


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def pair():
    valid, keys = (torch.arange(n) < torch.tensor(lengths)[:, None] for n, lengths in ((4, (4, 2, 3)), (6, (6, 3, 0))))
    return torch.randn(3, 4, 8), torch.randn(3, 6, 8), valid, keys


def test_a_block_is_the_formula():
    x, y, _, keys = pair()
    block = CrossmodalBlock(8, heads=2, dropout=0.0)
    found = block(x, y, keys)
    for row, count in enumerate((6, 3, 0)):
        heard = torch.zeros(4, 8)
        if count:
            q = block.query(block.query_norm(x[row]))
            k, v = block.read(block.key_norm(y[row, :count])).split(8, -1)
            parts = [(q[:, s] @ k[:, s].T / 2).softmax(-1) @ v[:, s] for s in (slice(0, 4), slice(4, 8))]
            heard = block.out(torch.cat(parts, -1))
        z = x[row] + heard
        z = z + block.down(F.gelu(block.up(block.hidden_norm(z))))
        torch.testing.assert_close(found[row], z, atol=1e-5, rtol=1e-5)


def test_only_valid_keys_are_read_and_an_absent_target_is_zero():
    x, y, valid, keys = pair()
    valid[0] = False
    net = CrossmodalTransformer(8, layers=2, dropout=0.0)
    found = net(x, y, valid, keys)
    torch.testing.assert_close(net(x, torch.where(keys[..., None], y, 77.0), valid, keys), found)
    assert (found[~valid] == 0).all()
    assert (net(x, y + torch.randn_like(y), valid, keys) - found)[1, :2].abs().min() > 0
    torch.testing.assert_close(net(x, torch.randn_like(y), valid, keys)[2], found[2])  # its source is absent


def test_a_width_that_heads_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="heads"):
        CrossmodalBlock(6, heads=4)
