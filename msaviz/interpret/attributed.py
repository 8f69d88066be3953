"""What do all tables of attributions share: who is asked, in which groups, which words stand behind steps, and how sure is a mean?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from msaviz.interpret import resample
from msaviz.interpret.attribution import Attribution
from msaviz.interpret.groups import grouping
from msaviz.interpret.trace import Trace

Subject = Mapping[str, Attribution]
"""Any label -> an attribution of the same trace."""
HEAD = ("run", "split", "method", "baseline", "routing")
"""The first columns of every table of attributions; `method` is the label."""


def checked(subject: Subject) -> dict[str, Attribution]:
    """The attributions by label; ValueError where they are not of the same utterances of one run."""
    found = dict(subject)
    about = {label: (one.trace.run, one.trace.split, list(one.trace.examples["example"])) for label, one in found.items()}
    first = next(iter(about.values()), None)
    if strange := [label for label, other in about.items() if other != first]:
        raise ValueError(
            f"attributions are compared over the same utterances; {', '.join(strange)} and {next(iter(about))} are of different traces"
        )
    return found


def head(label: str, found: Attribution) -> dict[str, str]:
    """The columns HEAD of an attribution."""
    values = (found.trace.run, found.trace.split, label, found.baseline, found.routing)
    return dict(zip(HEAD, values, strict=True))


def groups(trace: Trace) -> list[tuple[str, np.ndarray]]:
    """(name, Bool[n]) of "all" and, where there are several, of each domain that has utterances."""
    domains = grouping(trace, "domain")
    each = [(name, domains.codes == code) for code, name in enumerate(domains.names)]
    each = [(name, member) for name, member in each if member.any()]
    return [("all", np.ones(len(trace.examples), dtype=bool)), *(each if len(each) > 1 else [])]


def means(values: np.ndarray, resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """mean, low, high Float[k] of the columns of Float[n k]: 95 % bootstrap intervals over utterances, NaN for a single one."""
    frame = resample.averages(values, resamples, seed)
    if len(values) < 2:
        frame[["low", "high"]] = np.nan
    return tuple(frame[name].to_numpy() for name in ("value", "low", "high"))  # type: ignore[return-value]


def behind(parts: Sequence[Any], row: np.ndarray, time: np.ndarray, missing: object) -> list:
    """What `parts[row]` says at each time; `missing` where it says nothing."""
    if not len(parts):
        return [missing] * len(row)
    return [parts[r][t] if t < len(parts[r]) else missing for r, t in zip(row.tolist(), time.tolist(), strict=True)]
