"""Does each router decide, share its work and keep its experts alive?

* `entropy`: mean entropy of a token's gates, nats · `token_effective`: exp(entropy) / experts (1 = undecided).
* `load_effective`: exp(entropy of the load) / experts (1 = all experts work alike) · `load_ratio`: busiest load / ideal load (1 is best).
* `dead_experts`: how many carry less than a tenth of the ideal load.

What its choice tells of the modality, the domain, the label or the time is asked in `expert_information.py`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered
from msaviz.interpret.tokens import Routed, routed
from msaviz.interpret.trace import Trace

COLUMNS = ("run", "split", "router", "modality", "experts", "metric", "value")
DEAD = 0.1
"""Share of the ideal load 1/experts under which an expert counts as dead."""


def answer(trace: Trace) -> pd.DataFrame:
    """Health of every router, in each modality that it serves."""
    rows = [(t.router, t.modality, t.experts, *row) for t in routed(trace) for row in _balance(t).items()]
    return gathered([pd.DataFrame(rows, columns=list(COLUMNS[2:]))], COLUMNS, run=trace.run, split=trace.split)


def _balance(tokens: Routed) -> dict[str, float]:
    """How decided the tokens are and how evenly the experts work."""
    entropy = float(_entropy(tokens.gates).mean(dtype=np.float64))
    return {
        "entropy": entropy,
        "token_effective": float(np.exp(entropy) / tokens.experts),
        "load_effective": float(np.exp(_entropy(tokens.load)) / tokens.experts),
        "load_ratio": float(tokens.load.max() * tokens.experts),
        "dead_experts": float((tokens.load < DEAD / tokens.experts).sum()),
    }


def _entropy(shares: np.ndarray) -> np.ndarray:
    """-Σ p log p over the last axis, nats."""
    return -(shares * np.log(shares.clip(1e-12))).sum(-1)


TABLE = Table(COLUMNS, answer)
