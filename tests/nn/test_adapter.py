"""Does an adapter begin as the identity, read the other modalities only, and never what is absent?"""

import pytest
import torch

from msaviz.nn.adapter import Adapters, CrossModalAdapter
from msaviz.nn.encoders import SequenceEncoder

NAMES = ("text", "audio", "vision")


def inputs(rows=3):
    g = torch.Generator().manual_seed(0)
    tokens = {m: torch.randn(rows, n, 8, generator=g) for m, n in zip(NAMES, (4, 6, 2), strict=True)}
    masks = {m: torch.ones(rows, x.shape[1], dtype=torch.bool) for m, x in tokens.items()}
    masks["audio"][:, 4:] = False
    return {m: x.masked_fill(~masks[m][..., None], 0) for m, x in tokens.items()}, masks


def awake(kind="cross"):
    """An adapter that has left its silent start."""
    torch.manual_seed(1)
    adapter = CrossModalAdapter(NAMES, 8, width=4, kind=kind).eval()
    for p in adapter.parameters():
        torch.nn.init.normal_(p, std=0.5)
    return adapter


def test_it_begins_as_the_identity_and_can_learn():
    tokens, masks = inputs()
    adapter = CrossModalAdapter(NAMES, 8, width=4).train()
    out = adapter(tokens, masks)
    for m in NAMES:
        torch.testing.assert_close(out[m], tokens[m])
    sum((x**3).sum() for x in out.values()).backward()
    assert all(adapter.up[m].weight.grad.abs().sum() > 0 for m in NAMES)


def test_each_modality_reads_the_others():
    tokens, masks = inputs()
    adapter = awake()
    before = adapter(tokens, masks)["text"]
    for other in ("audio", "vision"):
        after = adapter({**tokens, other: tokens[other] * 2 * masks[other][..., None]}, masks)["text"]
        assert (after - before).abs().max() > 1e-3


def test_the_ablation_reads_nobody_else():
    tokens, masks = inputs()
    adapter = awake("own")
    changed = {**tokens, "audio": tokens["audio"] * 2}
    torch.testing.assert_close(adapter(changed, masks)["text"], adapter(tokens, masks)["text"])


def test_absent_modalities_and_padding_are_not_read():
    tokens, masks = inputs()
    adapter = awake()
    loud = {**tokens, "audio": torch.where(masks["audio"][..., None], tokens["audio"], 99.0)}
    torch.testing.assert_close(adapter(loud, masks)["text"], adapter(tokens, masks)["text"])
    gone = {**masks, "audio": torch.zeros_like(masks["audio"]), "vision": torch.zeros_like(masks["vision"])}
    alone = adapter(tokens, gone)
    torch.testing.assert_close(alone["text"], adapter({m: x * (m == "text") for m, x in tokens.items()}, gone)["text"])
    assert not alone["audio"].any()
    assert not alone["vision"].any()
    assert torch.isfinite(alone["text"]).all()


def test_one_modality_has_nobody_to_read():
    adapter = CrossModalAdapter(("text",), 8, width=4)
    assert not adapter.cross


def test_the_stack_joins_what_was_and_what_became_of_it():
    torch.manual_seed(0)
    encoder = SequenceEncoder(5, 8, summary=0)
    mask = torch.tensor([[True, True, False], [False, False, False]])
    encoded = {m: encoder(torch.randn(2, 3, 5), mask) for m in ("text", "audio")}
    u = Adapters(("text", "audio"), 8, layers=2, width=4)(encoded)
    assert u["text"].shape == (2, 3, 8)
    assert u["text"][0, 0].abs().sum() > 0
    assert not u["text"][1].any()


def test_impossible_options_are_refused():
    with pytest.raises(ValueError, match="these exist: cross, own"):
        CrossModalAdapter(NAMES, 8, kind="other")
    with pytest.raises(ValueError, match="bottleneck of 5"):
        CrossModalAdapter(NAMES, 8, width=5)
