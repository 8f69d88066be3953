"""Is the disagreement of domains what its formula says: 0 where they agree, large where a cue flips?"""

import numpy as np
import torch

from msaviz.nn import invariance as v


def test_disagreement_is_the_variance_of_correlations_beyond_sampling():
    """Against numpy, on three domains; rows without a label do not count."""
    g = torch.Generator().manual_seed(3)
    x, y, domain = torch.randn(60, 2, 3, generator=g), torch.randn(60, 1, generator=g), torch.arange(60) % 3
    known = torch.arange(60) > 5
    found = v.disagreement(x, torch.where(known[:, None], y, torch.nan), domain, 3, known)
    assert found.shape == (2, 3)
    for e in range(2):
        for j in range(3):
            r, n = [], []
            for d in range(3):
                rows = (known & (domain == d)).numpy()
                r.append(np.corrcoef(x[rows, e, j], y[rows, 0])[0, 1])
                n.append(rows.sum())
            r, n = np.array(r), np.array(n)
            chance = ((1 - r**2) ** 2 / (n - 1)).sum() * (1 / 3) * (2 / 3)
            np.testing.assert_allclose(found[e, j], r.var() - chance, rtol=1e-4, atol=1e-6)


def test_disagreement_is_zero_on_average_where_domains_agree_and_large_where_a_cue_flips():
    g = torch.Generator().manual_seed(0)
    agreed, flipped = [], []
    for _ in range(200):
        y, domain = torch.randn(90, 1, generator=g), torch.arange(90) % 3
        sign = torch.tensor([1.0, 1.0, -1.0])[domain][:, None]
        style = 1 + 3 * domain[:, None]  # another scale and mean in each domain: no disagreement
        x = torch.cat([style * (y + torch.randn(90, 1, generator=g)) + style, sign * y + 0.3 * torch.randn(90, 1, generator=g)], 1)
        a, b = v.disagreement(x, y, domain, 3, torch.ones(90, dtype=torch.bool))
        agreed.append(float(a))
        flipped.append(float(b))
    assert abs(np.mean(agreed)) < 3 * np.std(agreed) / np.sqrt(200)
    assert min(flipped) > 0.5


def test_one_domain_cannot_disagree_and_the_slope_is_finite():
    x = torch.zeros(8, 3, requires_grad=True)  # a constant feature has no correlation
    value = v.disagreement(x, torch.arange(8.0)[:, None], torch.zeros(8, dtype=torch.long), 2, torch.ones(8, dtype=torch.bool)).sum()
    assert value == 0
    v.disagreement(x, torch.arange(8.0)[:, None], torch.arange(8) % 2, 2, torch.ones(8, dtype=torch.bool)).sum().backward()
    assert torch.isfinite(x.grad).all()
