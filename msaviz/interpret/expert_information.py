"""What does the choice of expert tell: the modality, the domain, the label, or the time in the utterance?

`value`: mutual information between the expert and the variable, nats, plug-in; each utterance counts once, and its gates are shares of
a choice. The estimate is never negative and grows with few utterances, so `chance` is its mean after permuting the variable over the
utterances (the modality and the time: within each utterance), `low` and `high` the central 95 % of these, `p` the share of permutations
that reach it, (1 + k) / (1 + n). Below `high` there is nothing to see.

* "modality": on the row with modality "joint" of a router that serves several modalities with the same experts.
* "domain", "label" (the groups of `groups.py`).
* "time": the tenth of the utterance, for routers of tokens; the tenths of an utterance are permuted as wholes, since neighbouring tokens
  are alike. Learned summary tokens have no time and are left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from einops import rearrange

from msaviz.interpret.counterfactual import SEPARATE
from msaviz.interpret.groups import grouping
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered
from msaviz.interpret.tokens import Routed, routed, summed
from msaviz.interpret.trace import Trace
from msaviz.types import JOINT

COLUMNS = ("run", "split", "router", "modality", "variable", "value", "chance", "low", "high", "p", "experts")
VARIABLES = ("modality", "domain", "label", "time")
TENTHS = 10
ROUNDING = 1e-9
"""Nats; a permutation that comes so close has reached the value: a router that never moves must not look informed."""


def answer(trace: Trace, *, permutations: int = 300, seed: int = 0, separate: Sequence[str] = SEPARATE) -> pd.DataFrame:
    """Every router, in each modality that it serves; what cannot be asked (a single domain, one expert) has no row.

    The routers in `separate` have experts of their own in each modality, which therefore says nothing about the expert's number.
    """
    rows, everything = [], [tokens for tokens in routed(trace) if tokens.experts > 1]
    for tokens in everything:
        found = {by: _of_group(tokens.by_utterance, grouping(trace, by).one_hot(), permutations, seed) for by in ("domain", "label")}
        found["time"] = None if tokens.time is None else _of_time(tokens, permutations, seed)
        rows += [(tokens.router, tokens.modality, variable, *row, tokens.experts) for variable, row in found.items() if row]
    for router in dict.fromkeys(tokens.router for tokens in everything):
        members = [tokens for tokens in everything if tokens.router == router]
        if router not in separate and len(members) > 1 and len({tokens.experts for tokens in members}) == 1:
            row = _of_modality(np.stack([tokens.by_utterance for tokens in members], 1), permutations, seed)
            rows.append((router, JOINT, "modality", *row, members[0].experts))
    return gathered([pd.DataFrame(rows, columns=list(COLUMNS[2:]))], COLUMNS, run=trace.run, split=trace.split)


def mutual_information(joint: np.ndarray) -> np.ndarray:
    """I(E; G) in nats of joint shares Float[... g e]; they need not sum to 1."""
    joint = joint / joint.sum((-2, -1), keepdims=True).clip(1e-12)
    independent = joint.sum(-1, keepdims=True) * joint.sum(-2, keepdims=True)
    return (joint * np.log(joint.clip(1e-12) / independent.clip(1e-12))).sum((-2, -1)).clip(0)


def against(value: float, null: np.ndarray) -> tuple[float, float, float, float, float]:
    """value, chance, low, high, p from the permutations' values Float[p]."""
    low, high = np.quantile(null, [0.025, 0.975])
    reached = int((null >= value - ROUNDING).sum())
    return float(value), float(null.mean()), float(low), float(high), (1 + reached) / (1 + len(null))


Row = tuple[float, float, float, float, float]


def _of_group(gates: np.ndarray, member: np.ndarray, permutations: int, seed: int) -> Row | None:
    """For gates Float[n e] with NaN rows and groups Float[n g]; None for fewer than two groups."""
    keep = np.isfinite(gates[:, 0]) & (member.sum(1) > 0)
    gates, member = gates[keep], member[keep]
    member = member[:, member.sum(0) > 0]
    if member.shape[1] < 2:
        return None
    order = np.random.default_rng(seed).permuted(np.tile(np.arange(len(gates)), (permutations, 1)), axis=1)
    null = mutual_information(rearrange(member[order], "p n g -> p g n") @ gates)
    return against(float(mutual_information(member.T @ gates)), null)


def _of_time(tokens: Routed, permutations: int, seed: int) -> Row | None:
    """For the tenths of every utterance: its gates there, weighted by its share of tokens there; None for fewer than two tenths."""
    timed = tokens.tenth > 0
    code = tokens.row[timed] * TENTHS + tokens.tenth[timed] - 1
    sums, counts = summed(tokens.gates[timed], code, tokens.utterances * TENTHS)
    shares = rearrange(sums, "(n g) e -> n g e", g=TENTHS)
    counts = rearrange(counts, "(n g) -> n g", g=TENTHS)
    some = counts.sum(1) > 0
    shares, present = shares[some] / counts[some].sum(1)[:, None, None], counts[some] > 0
    if present.any(0).sum() < 2:
        return None
    generator = np.random.default_rng(seed)
    null = [mutual_information(_moved(shares, present, generator).sum(0)) for _ in range(permutations)]
    return against(float(mutual_information(shares.sum(0))), np.array(null))


def _of_modality(gates: np.ndarray, permutations: int, seed: int) -> Row:
    """For the gates Float[n m e] of the modalities, NaN where one is absent."""
    present, shares = np.isfinite(gates[..., 0]), np.nan_to_num(gates)
    # a mean over utterances that have the modality: an often absent modality must not look like a rarely used expert
    counts = present.sum(0)[:, None].clip(1)
    generator = np.random.default_rng(seed)
    null = [mutual_information(_moved(shares, present, generator).sum(0) / counts) for _ in range(permutations)]
    return against(float(mutual_information(shares.sum(0) / counts)), np.array(null))


def _moved(shares: np.ndarray, present: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Float[n g e]: in every utterance the groups that are present change places with each other."""
    source = np.where(present, generator.random(present.shape), 2.0).argsort(1)  # the present ones first, in a random order
    target = np.where(present, 0, 1).argsort(1, kind="stable")  # the same, in their own order
    moved = np.empty_like(shares)
    np.put_along_axis(moved, target[..., None], np.take_along_axis(shares, source[..., None], 1), 1)
    return moved


TABLE = Table(COLUMNS, answer)
