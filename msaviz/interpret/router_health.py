"""Does each router decide, share its work, keep its experts alive, and know the modality, the domain or the label?

* `entropy`: mean entropy of a token's gates, nats · `token_effective`: exp(entropy) / experts (1 = undecided).
* `load_effective`: exp(entropy of the load) / experts (1 = all experts work alike) · `load_ratio`: busiest load / ideal load (1 is best).
* `dead_experts`: how many carry less than a tenth of the ideal load.
* `mutual_information_…`: between the expert and the modality, domain or label group, nats, plug-in; each utterance counts once.
  `floor` is the 95 % quantile of the same estimate after permuting the groups over the utterances: below it there is nothing to see.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from einops import rearrange

from msaviz.interpret.groups import grouping
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered
from msaviz.interpret.tokens import Routed, routed
from msaviz.interpret.trace import Trace
from msaviz.types import JOINT

COLUMNS = ("run", "split", "router", "modality", "experts", "metric", "value", "floor")
DEAD = 0.1
"""Share of the ideal load 1/experts under which an expert counts as dead."""


def answer(trace: Trace, *, permutations: int = 100, seed: int = 0, separate: Sequence[str] = ("private",)) -> pd.DataFrame:
    """Health of every router; for one used by several modalities, a row with modality "joint" says how well it knows the modality.

    That row is left out for the routers in `separate`, whose modalities have experts of their own: number 0 of one is not number 0
    of another.
    """
    rows = []
    everything = routed(trace)
    for tokens in everything:
        generator = np.random.default_rng(seed)
        found = [(name, value, np.nan) for name, value in _balance(tokens).items()]
        for by in ("domain", "label"):
            value, floor = _knowledge(tokens.by_utterance, grouping(trace, by).one_hot(), permutations, generator)
            found.append((f"mutual_information_{by}", value, floor))
        rows += [(tokens.router, tokens.modality, tokens.experts, *row) for row in found]
    for router in dict.fromkeys(tokens.router for tokens in everything):
        members = [tokens for tokens in everything if tokens.router == router]
        if router not in separate and len(members) > 1 and len({tokens.experts for tokens in members}) == 1:
            value, floor = _modality_knowledge(members, permutations, np.random.default_rng(seed))
            rows.append((router, JOINT, members[0].experts, "mutual_information_modality", value, floor))
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


def mutual_information(joint: np.ndarray) -> np.ndarray:
    """I(E; G) in nats of joint shares Float[... g e]; they need not sum to 1."""
    joint = joint / joint.sum((-2, -1), keepdims=True).clip(1e-12)
    independent = joint.sum(-1, keepdims=True) * joint.sum(-2, keepdims=True)
    return (joint * np.log(joint.clip(1e-12) / independent.clip(1e-12))).sum((-2, -1)).clip(0)


def _knowledge(gates: np.ndarray, member: np.ndarray, permutations: int, generator: np.random.Generator) -> tuple[float, float]:
    """Mutual information of expert and group, and its floor; `gates` Float[n e] with NaN rows, `member` Float[n g]."""
    keep = np.isfinite(gates[:, 0]) & (member.sum(1) > 0)
    gates, member = gates[keep], member[keep]
    if not len(gates) or (member.sum(0) > 0).sum() < 2:
        return np.nan, np.nan
    order = generator.permuted(np.tile(np.arange(len(gates)), (permutations, 1)), axis=1)
    null = mutual_information(rearrange(member[order], "p n g -> p g n") @ gates)
    return float(mutual_information(member.T @ gates)), float(np.quantile(null, 0.95))


def _modality_knowledge(members: list[Routed], permutations: int, generator: np.random.Generator) -> tuple[float, float]:
    """The same for the modality: permuted within each utterance, since one utterance gives a row to every modality."""
    gates = np.stack([tokens.by_utterance for tokens in members])  # m n e
    present = np.isfinite(gates[..., 0])
    # a mean over utterances that have the modality: an often absent modality must not look like a rarely used expert
    shares = np.nan_to_num(gates)

    def information(values: np.ndarray, there: np.ndarray) -> np.ndarray:
        return mutual_information(values.sum(-2) / there.sum(-1)[..., None].clip(1))

    null = []
    for _ in range(permutations):
        order = generator.permuted(np.tile(np.arange(len(members))[:, None], (1, gates.shape[1])), axis=0)
        null.append(information(np.take_along_axis(shares, order[..., None], 0), np.take_along_axis(present, order, 0)))
    return float(information(shares, present)), float(np.quantile(null, 0.95))


TABLE = Table(COLUMNS, answer)
