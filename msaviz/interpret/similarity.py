"""How alike are two representations of the same utterances? (n rows, d features; all functions centre for themselves)"""

from __future__ import annotations

import numpy as np
from einops import rearrange


def centred(x: np.ndarray) -> np.ndarray:
    """Zero mean in every column, float64 (sums of squares over thousands of rows)."""
    x = np.asarray(x, dtype=np.float64)
    return x - x.mean(0)


def squared_cosine(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Float[...]: mean over the rows of cos²(x_i, y_i) after centring, for Float[... n d]; 0 orthogonal, 1 parallel, 1/d by chance."""
    x, y = x - x.mean(-2, keepdims=True), y - y.mean(-2, keepdims=True)
    norms = (x * x).sum(-1) * (y * y).sum(-1)
    return np.where(norms > 1e-24, (x * y).sum(-1) ** 2 / norms.clip(1e-24), 0).mean(-1)


def linear_cka(x: np.ndarray, y: np.ndarray, *, debiased: bool = True) -> np.ndarray:
    """Linear centred kernel alignment of Float[n d] with Float[... n k] (leading axes: other orders of its rows); NaN for a constant.

    Kornblith et al. 2019, eq. 3; the debiased form is Song et al. 2012 in feature space, zero in expectation for
    independent rows whatever the widths (the plain one tends to 1 as widths reach n).
    """
    x, y = centred(x), y - y.mean(-2, keepdims=True)
    n = x.shape[-2]

    def inner(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        raw = ((np.swapaxes(a, -1, -2) @ b) ** 2).sum((-2, -1))
        if not debiased or n < 4:
            return raw
        rows_a, rows_b = (a * a).sum(-1), (b * b).sum(-1)
        return raw - n / (n - 2) * (rows_a * rows_b).sum(-1) + rows_a.sum(-1) * rows_b.sum(-1) / ((n - 1) * (n - 2))

    norm = inner(x, x) * inner(y, y)
    return np.where(norm > 1e-24, inner(x, y) / np.sqrt(np.where(norm > 1e-24, norm, 1)), np.nan)


def gram(x: np.ndarray) -> np.ndarray:
    """Float[n n]: the centred Gaussian kernel, width = median distance between rows (Gretton et al. 2005)."""
    x = centred(x)
    squares = (x * x).sum(1)
    distance = (squares[:, None] + squares - 2 * x @ x.T).clip(0)
    median = np.median(distance[np.triu_indices(len(x), 1)]) if len(x) > 1 else 1.0
    kernel = np.exp(-distance / max(median, 1e-12))
    return kernel - kernel.mean(0) - kernel.mean(1)[:, None] + kernel.mean()


def normalised_hsic(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Hilbert-Schmidt independence of two centred kernels (`gram`), divided by their norms: in [0, 1], also sees what is not linear."""
    norm = np.sqrt((a * a).sum()) * np.sqrt((b * b).sum((-2, -1)))
    return np.where(norm > 1e-24, (a * b).sum((-2, -1)) / np.maximum(norm, 1e-24), np.nan)


def basis(x: np.ndarray, variance: float = 0.9) -> np.ndarray:
    """Float[d k]: the fewest principal directions that hold `variance` of the total; k = 0 for a constant."""
    _, values, directions = np.linalg.svd(centred(x), full_matrices=False)
    power = values**2
    if power.sum() < 1e-24:
        return np.zeros((x.shape[1], 0))
    k = int(np.searchsorted(np.cumsum(power) / power.sum(), variance) + 1)
    return rearrange(directions[: min(k, len(values))], "k d -> d k")


def principal_cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Float[... min(k, l)]: cosines of the principal angles between two bases Float[... d k] and Float[... d l], largest first.

    Björck & Golub 1973.
    """
    return np.linalg.svd(np.swapaxes(a, -1, -2) @ b, compute_uv=False).clip(0, 1)


def random_cosines(d: int, k: int, other: int, *, draws: int, generator: np.random.Generator) -> np.ndarray:
    """Float[draws min(k, other)]: principal cosines between random subspaces of R^d of these sizes."""
    a = np.linalg.qr(generator.standard_normal((draws, d, k)))[0]
    b = np.linalg.qr(generator.standard_normal((draws, d, other)))[0]
    return principal_cosines(a, b)
