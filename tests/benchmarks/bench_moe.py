"""Which dispatch of the experts is fastest at which size? Run as a script; prints milliseconds and ratios to `auto`.

OMP_NUM_THREADS=1 python tests/benchmarks/bench_moe.py
"""

from __future__ import annotations

import time

import torch

from msaviz.nn.moe import Experts
from msaviz.nn.routers import Router, chosen

DISPATCHES = ("auto", "dense", "padded", "sorted")


def milliseconds(dispatch: str, tokens: int, *, experts: int, k: int, dim: int, hidden: int, repeats: int = 9) -> float:
    """Least processor time (a busy machine does not disturb it much) of a forward and backward pass of a top-k mixture."""
    torch.manual_seed(0)
    mixture, x = Experts(experts, dim, hidden), torch.randn(tokens, dim, requires_grad=True)
    gates = Router(dim, experts, kind="top_k", k=k)(x)[1].detach()
    best = float("inf")
    for _ in range(repeats + 1):
        mixture.zero_grad()
        start = time.process_time()
        mixture(x, gates, chosen(gates), dispatch).sum().backward()
        best = min(best, time.process_time() - start)
    return best * 1e3


def main() -> None:
    torch.set_num_threads(1)
    print(f"{'experts k dim hidden tokens':>28}   " + "   ".join(f"{name:>16}" for name in DISPATCHES))
    for experts, k, dim, hidden in ((8, 2, 128, 128), (8, 2, 128, 512), (4, 2, 64, 128)):
        for tokens in (96, 512, 4096):
            times = {name: milliseconds(name, tokens, experts=experts, k=k, dim=dim, hidden=hidden) for name in DISPATCHES}
            cells = (f"{value:8.2f} ms {value / times['auto']:4.1f}x" for value in times.values())
            print(f"{experts:>10} {k} {dim:>4} {hidden:>5} {tokens:>5}   " + "   ".join(cells))


if __name__ == "__main__":
    main()
