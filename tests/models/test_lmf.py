"""Do LMF's few factors give what the full tensor that they stand for gives?"""

import pytest
import torch
from test_models import SPEC, make_batch
from test_tfn import any_number_of_modalities, skips_holes

from msaviz.catalog import MODELS
from msaviz.data.missing import Subset, corrupt
from msaviz.models.lmf import LowRankFusion
from msaviz.models.tfn import product

Lmf = MODELS["lmf"]


@pytest.mark.parametrize("encoder", ["paper", "lstm", "transformer", "pooled"])
def test_it_takes_any_modalities_and_skips_holes(encoder):
    any_number_of_modalities("lmf", encoder=encoder)
    skips_holes("lmf", encoder=encoder)


@pytest.mark.parametrize("modalities", [1, 2, 3, 4])
def test_it_is_tfns_product_contracted_with_the_full_weight(modalities):
    torch.manual_seed(0)
    fusion = LowRankFusion(modalities, 3, 5, rank=4)
    torch.nn.init.normal_(fusion.bias)
    vectors = torch.randn(modalities, 6, 3)
    letters = "ijkl"[:modalities]
    terms = ",".join(f"{i}rd" for i in letters)
    full = torch.einsum(f"{terms},r->{letters}d", *fusion.factors, fusion.weight)  # one weight for every product and output
    expected = product(list(vectors)) @ full.reshape(-1, 5) + fusion.bias
    torch.testing.assert_close(fusion(vectors), expected, atol=1e-5, rtol=1e-5)


def test_an_absent_modality_leaves_its_constant():
    torch.manual_seed(0)
    fusion = LowRankFusion(3, 3, 5, rank=4)
    vectors = torch.randn(3, 6, 3)
    vectors[1] = 0
    two = LowRankFusion(2, 3, 5, rank=4)
    with torch.no_grad():
        two.factors.copy_(fusion.factors[[0, 2]])
        two.factors[0] *= fusion.factors[1, 0]
        two.weight.copy_(fusion.weight)
    torch.testing.assert_close(fusion(vectors), two(vectors[[0, 2]]), atol=1e-5, rtol=1e-5)


def test_no_modality_has_a_vector_where_it_is_absent():
    torch.manual_seed(0)
    model = Lmf(SPEC["regression"], Lmf.Config()).eval()
    output = model(corrupt(make_batch(), Subset(keep=("audio",)), seed=0))
    assert (output.private["text"] == 0).all()
    assert (output.private["audio"] != 0).any(1).all()
