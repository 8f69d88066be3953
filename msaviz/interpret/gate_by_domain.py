"""Does a router send the domains to different experts, beyond what chance would give?

`gate` is the mean gate of the utterances of a domain (each counts once, however long; sums to 1 over the experts), `low`, `high` its
95 % bootstrap interval over utterances. `divergence` = KL(mean gate on the domain || mean gate over all utterances), nats: one number a
domain, repeated on its experts' rows; `floor` is its 95 % quantile after permuting the domains over the utterances.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from einops import rearrange

from msaviz.interpret import resample
from msaviz.interpret.groups import Grouping, grouping
from msaviz.interpret.table import Table
from msaviz.interpret.tidy import gathered, long
from msaviz.interpret.tokens import Routed, routed
from msaviz.interpret.trace import Trace

COLUMNS = ("run", "split", "router", "modality", "domain", "expert", "gate", "low", "high", "divergence", "floor", "utterances")


def answer(trace: Trace, *, resamples: int = 300, permutations: int = 200, seed: int = 0) -> pd.DataFrame:
    """Mean gates of every router on every domain; a router that saw fewer than two domains has no rows."""
    domains = grouping(trace, "domain")
    parts = [_gates(tokens, domains, resamples, permutations, seed) for tokens in routed(trace)]
    return gathered(parts, COLUMNS, run=trace.run, split=trace.split)


def _gates(tokens: Routed, domains: Grouping, resamples: int, permutations: int, seed: int) -> pd.DataFrame:
    """Rows of one router; utterances without a routed token (the modality is absent) and domains without utterances are left out."""
    there = np.isfinite(tokens.by_utterance[:, 0])
    gates, member = tokens.by_utterance[there], domains.one_hot()[there].astype(np.float64)
    names = [name for name, size in zip(domains.names, member.sum(0), strict=True) if size]
    if len(names) < 2:
        return pd.DataFrame()
    member = member[:, member.sum(0) > 0]
    size = member.sum(0)
    mean, overall = member.T @ gates / size[:, None], gates.mean(0)
    order = np.random.default_rng(seed).permuted(np.tile(np.arange(len(gates)), (permutations, 1)), axis=1)
    null = divergence(rearrange(member[order], "p n g -> p g n") @ gates / size[:, None], overall)
    bounds = np.stack([_interval(gates[chosen], resamples, seed) for chosen in member.T > 0])  # g 2 e

    def each(values: np.ndarray) -> np.ndarray:
        """A number of a domain on the rows of all its experts."""
        return np.broadcast_to(values[:, None], mean.shape)

    axes = {"domain": names, "expert": range(tokens.experts)}
    values = {"divergence": each(divergence(mean, overall)), "floor": each(np.quantile(null, 0.95, axis=0))}
    frame = long(axes, gate=mean, low=bounds[:, 0], high=bounds[:, 1], utterances=each(size.astype(int)), **values)
    return frame.assign(router=tokens.router, modality=tokens.modality)


def divergence(shares: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """KL(shares || reference) in nats over the last axis; `reference` is 0 only where the shares are."""
    shares, reference = shares / shares.sum(-1, keepdims=True), reference / reference.sum(-1, keepdims=True)
    found = (shares * np.log(shares.clip(1e-12) / reference.clip(1e-12))).sum(-1)
    return np.where(found > 1e-12, found, 0)  # rounding is no difference: a router that never moves must not lie above its floor


def _interval(gates: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Float[2 e]: bounds of the mean over the rows of Float[n e]."""
    means = resample.resamples(np.arange(len(gates)), resamples, seed) @ gates / len(gates)
    return np.quantile(means, [0.025, 0.975], axis=0)


TABLE = Table(COLUMNS, answer)
