"""Does a row get the same numbers alone, among others, in another order, and as one of few? To rounding: a product of other shape adds
up in another order; to the bit where the shapes are the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from endurance import tell, tries
from numeric_models import ASKED, SPECS, corrupted, made, picked, rows, tensors

from msaviz.data.missing import Mixture, Noise, RandomFrames, Span, Spans, Subset, WholeModality, corrupt
from msaviz.training.metrics import metrics
from msaviz.types import Batch

RELATIVE, ABSOLUTE = 1e-4, 1e-5
"""Rounding of single precision, after all layers."""
KINDS = (RandomFrames(rate=0.4), WholeModality(rate=0.4), Span(rate=0.4), Spans(rate=0.4), Noise())
MIXED = (Mixture(), Mixture(inter_modal=True), Subset(keep=("text",)))


def said(model: torch.nn.Module, batch: Batch, size: int) -> dict[str, torch.Tensor]:
    """All that the model says of the rows, `size` at a time; what is not by row left out."""
    with torch.inference_mode():
        parts = [tensors(model(picked(batch, part))) for part in torch.arange(len(batch)).split(size)]
    names = [name for name in parts[0] if not name.startswith(("masks/", "uncertainty/"))]
    return {name: torch.cat([part[name] for part in parts]) for name in names}


@pytest.mark.parametrize(("case", "task"), ASKED)
def test_numbers_of_a_row_do_not_depend_on_the_other_rows(case, task):
    """Batches of 1, 7 and all, and any order, of complete and of corrupted rows: predictions, representations, gates, metrics."""
    model, worst = made(case, task), 0.0
    for seed in range(tries(1)):
        whole = rows(12, task, seed)
        for batch in (whole, corrupted(whole, seed)):
            all_at_once = said(model, batch, 12)
            order = torch.from_numpy(np.random.default_rng(seed).permutation(12))
            others = [
                said(model, batch, 1),
                said(model, batch, 7),
                {n: v[order.argsort()] for n, v in said(model, picked(batch, order), 12).items()},
            ]
            for other in others:
                for name, value in all_at_once.items():
                    torch.testing.assert_close(
                        other[name], value, rtol=RELATIVE, atol=ABSOLUTE, msg=lambda text, name=name: f"{name}: {text}"
                    )
                    if value.is_floating_point():
                        worst = max(worst, float((other[name] - value).abs().max()))
                guess = other[f"predictions/{SPECS[task].target}"]
                found, first = (
                    metrics(p.numpy(), batch.y.numpy(), SPECS[task].task) for p in (guess, all_at_once[f"predictions/{SPECS[task].target}"])
                )
                assert found == pytest.approx(first, rel=1e-4, abs=1e-4, nan_ok=True)
            again = said(model, batch, 12)
            assert all(torch.equal(again[name], value) for name, value in all_at_once.items()), "the same batch gives the same bits"
    tell("batches of 1 and 7, permuted: models", 6 * tries(1), **{"beyond 1e-6": int(worst > 1e-6)})


@pytest.mark.parametrize("kind", [*KINDS, *MIXED], ids=lambda kind: f"{kind.kind}")
def test_masks_belong_to_the_utterance_and_not_to_its_place(kind):
    """Any order, any part, any padding: the row that is called so loses the same, to the bit."""
    for seed in range(tries(5)):
        batch = rows(12, seed=seed)
        whole, order = corrupt(batch, kind, seed=seed, epoch=3), torch.from_numpy(np.random.default_rng(seed).permutation(12)[:7])
        part = corrupt(picked(batch, order), kind, seed=seed, epoch=3)
        for m in batch.modalities:
            assert torch.equal(part.mask[m], whole.mask[m][order])
            assert torch.equal(part.dropped[m], whole.dropped[m][order])
            assert torch.equal(part.x[m], whole.x[m][order])
    tell("masks of permuted rows", tries(5))
