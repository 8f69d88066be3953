"""How are a model's routers told from outside whom to call: the routing of one input kept for another, or an expert switched off?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch

from msaviz.types import Routing, Steer


def frozen(routing: Mapping[str, Routing]) -> dict[str, Steer]:
    """Steering by which every sparse router calls exactly the experts that it called here, with gates of its own; {} for dense ones.

    A choice of experts jumps as the input moves, so that no method that follows a path to a baseline can explain it (the error of
    Integrated Gradients through a top-k router does not fall with more steps).
    """
    sparse = {key: r for key, r in routing.items() if bool(((r.gates == 0) & r.mask[..., None]).any())}
    return {key: Steer(allowed=r.gates > 0) for key, r in sparse.items()}


def members(routing: Iterable[str], router: str) -> tuple[str, ...]:
    """The routing keys of a router: itself, or "shared" -> "shared/text", "shared/audio", …; ValueError lists what exists."""
    keys = list(routing)
    found = tuple(key for key in keys if router in (key, key.rpartition("/")[0]))
    if not found:
        raise ValueError(f"no router is called {router!r}; these exist: {', '.join(keys) or 'none'}")
    return found


def without(routing: Mapping[str, Routing], router: str, expert: int) -> dict[str, Steer]:
    """Steering by which a router (a key, or the name of all its keys) does without one expert; the others share its work.

    Raises ValueError for an expert that does not exist, and for the only one.
    """
    steered = {}
    for key in members(routing, router):
        experts = routing[key].gates.shape[-1]
        if experts < 2 or not 0 <= expert < experts:
            raise ValueError(f"expert {expert} cannot be switched off: {key} has {experts}, numbered from 0, and one must remain")
        here = torch.arange(experts, device=routing[key].gates.device) != expert
        steered[key] = Steer(allowed=here.expand(len(routing[key].gates), 1, experts))
    return steered
