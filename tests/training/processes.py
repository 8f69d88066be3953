"""Run by torchrun: does every process find the loss of the whole batch, and do their gradients average to that loss's gradient?"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from msaviz.catalog import OBJECTIVES
from msaviz.data.load import load
from msaviz.nn import penalties as p
from msaviz.nn.parallel import gathered, sharing, summed
from msaviz.options import override
from msaviz.training.experiment import Experiment
from msaviz.training.loop import Trainer
from msaviz.training.parallel import average_gradients, draw_apart, join_processes, leave_processes, mean_over_processes
from msaviz.types import Batch, Output, Spec, Task

ROWS, WIDTH, DOMAINS = 23, 4, 3
RANK, WORLD = join_processes()
DRAW = torch.Generator().manual_seed(0)
A, B = torch.randn(2, ROWS, WIDTH, generator=DRAW, dtype=torch.float64)
OWN = slice(RANK, None, WORLD)

Rows = Callable[[Tensor, Tensor, Tensor], Tensor]
PENALTIES: dict[str, Rows] = {
    "misa": p.orthogonality_misa,
    "cosine": p.orthogonality_cosine,
    "hsic": p.hsic,
    "cmd": p.cmd,
    "cmd, unpaired": lambda a, b, here: p.cmd(a, b, here, present_b=b[:, 0] > 0),
    "info_nce": p.info_nce,
    "load_balance": lambda a, b, here: p.load_balance(a.softmax(-1), here),
    "load_balance, top 2": lambda a, b, here: p.load_balance(a.softmax(-1) * (a > a.median(-1, keepdim=True).values), here, b),
    "z_loss": lambda a, b, here: p.z_loss(a, here),
    "importance_variation": lambda a, b, here: p.importance_variation(a.softmax(-1), here),
    "mean_where": lambda a, b, here: p.mean_where((a * b).sum(-1), here),
}


def same_step(module: nn.Module, whole: Callable[[], Tensor], part: Callable[[], Tensor], name: str) -> None:
    """The loss of the whole batch here, and that of its parts in all processes: the same value, the same gradients."""
    found = []
    for shared, loss_of in ((False, whole), (True, part)):
        module.zero_grad(set_to_none=True)
        with sharing(shared):
            loss = loss_of()
        loss.backward()
        if shared:
            average_gradients(list(module.parameters()), 1, WORLD)
        found.append((loss.detach(), *(g.grad for g in module.parameters())))
    torch.testing.assert_close(found[1], found[0], rtol=1e-9, atol=1e-12, msg=lambda text: f"{name}: {text}")


def penalties() -> None:
    nobody, one = torch.zeros(ROWS, dtype=torch.bool), torch.arange(ROWS) == 4
    some = torch.rand(ROWS, generator=DRAW) < 0.6
    uneven = some & (torch.arange(ROWS) % WORLD != 1)  # process 1 has no row that counts
    for name, penalty in PENALTIES.items():
        for here in (nobody, one, some, uneven, ~nobody):
            maps = nn.ModuleList(nn.Linear(WIDTH, WIDTH, dtype=torch.float64) for _ in range(2))
            for weight in maps.parameters():
                nn.init.normal_(weight, generator=DRAW)
            same_step(
                maps,
                lambda maps=maps, here=here, penalty=penalty: penalty(maps[0](A), maps[1](B), here),
                lambda maps=maps, here=here, penalty=penalty: penalty(maps[0](A[OWN]), maps[1](B[OWN]), here[OWN]),
                name,
            )


class Linear(nn.Module):
    """A system whose heads read vectors."""

    def __init__(self):
        super().__init__()
        self.body, self.head, self.emotion = (nn.Linear(WIDTH, n, dtype=torch.float64) for n in (WIDTH, 1, 3))
        self.log_variance = nn.Parameter(torch.tensor(0.3, dtype=torch.float64))
        for weight in self.parameters():
            nn.init.normal_(weight, generator=DRAW) if weight.ndim else None

    def forward(self, batch: Batch) -> Output:
        z = self.body(batch.x["x"][:, 0])
        predictions = {"y": self.head(z)[:, 0], "emotion": self.emotion(z)}
        return Output(predictions=predictions, fused=z, uncertainty={"y": self.log_variance})


def objectives() -> None:
    """Labels are missing in some rows of a process, a head has none at all in another, and a domain has no row there."""
    y = torch.randn(ROWS, generator=DRAW, dtype=torch.float64).masked_fill(torch.arange(ROWS) % 5 == 0, torch.nan)
    emotion = torch.randint(-1, 3, (ROWS,), generator=DRAW).masked_fill(torch.arange(ROWS) % WORLD == 1, -1)
    domain = torch.randint(0, DOMAINS - 1, (ROWS,), generator=DRAW) + (torch.arange(ROWS) % WORLD == 0).long()
    mask = torch.ones(ROWS, 1, dtype=torch.bool)
    batch = Batch({"x": A[:, None]}, {"x": mask}, {"y": y, "emotion": emotion}, domain, torch.arange(ROWS))
    tasks = {"y": Task(), "emotion": Task("classes", classes=("a", "b", "c"))}
    spec = Spec({"x": WIDTH}, tasks, domains=tuple("abc"))
    for name in (name for name in OBJECTIVES if name != "mixup"):
        torch.manual_seed(0)  # the discriminator of `dann` is drawn like on every process
        kind, system, states = OBJECTIVES[name], Linear(), []
        objective = kind(spec, kind.Config())
        objective.prepare(lambda system=system: system(batch))
        objective.double().train()
        before = {k: v.clone() for k, v in objective.state_dict().items()}

        def loss(batch: Batch, objective=objective, system=system, before=before, states=states) -> Tensor:
            objective.load_state_dict(before)
            total = sum(objective(system, batch, 0.7).values())
            states.append([v.clone() for v in objective.buffers()])
            return total

        part = batch.map(lambda tensor: tensor[OWN])
        same_step(nn.ModuleList([system, objective]), lambda: loss(batch), lambda: loss(part), name)  # noqa: B023
        torch.testing.assert_close(states[1], states[0])


def rows_and_sums() -> None:
    rows = torch.arange(ROWS)
    values = (A, rows, rows % 2 == 0, A[:, 0].bfloat16(), A.reshape(ROWS, 2, 2))
    with sharing():
        for one, whole in zip(gathered(*(value[OWN] for value in values)), values, strict=True):
            torch.testing.assert_close(one, whole, rtol=0, atol=0)
        here, _ = gathered(A[OWN][: 2 * RANK], rows[OWN][: 2 * RANK])
        assert len(here) == sum(2 * rank for rank in range(WORLD))
        torch.testing.assert_close(summed(A[OWN].sum(0)), A.sum(0))
    assert gathered(A)[0] is A
    assert summed(A) is A


def gradients() -> None:
    """Missing on some: 0 there. Missing on all: still missing. The kind of number stays."""
    one, none, half = (nn.Parameter(torch.zeros(3, dtype=dtype)) for dtype in (torch.float32, torch.float32, torch.bfloat16))
    if RANK == 1:
        one.grad = torch.full((3,), 6.0)
    half.grad = torch.full((3,), 2.0 * RANK, dtype=torch.bfloat16)
    found = average_gradients([one, none, half], 2, WORLD)
    assert [id(x) for x in found] == [id(one), id(half)]
    torch.testing.assert_close(one.grad, torch.full((3,), 3.0 / WORLD))
    torch.testing.assert_close(half.grad, torch.full((3,), (WORLD - 1) / 2, dtype=torch.bfloat16))


def numbers() -> None:
    mean = mean_over_processes({"all": float(RANK)} | ({"one": 3.0} if RANK == 1 else {}), WORLD)
    assert mean == {"all": (WORLD - 1) / 2, "one": 3.0 / WORLD}
    draw_apart(0, RANK + 1, 0)
    with sharing():
        (drawn,) = gathered(torch.rand(1))
    assert len(drawn.unique()) == WORLD


def training() -> None:
    """With dropout of their own all processes still take the same steps, also in a batch of fewer rows than processes."""
    dataset = load("synthetic:rows=240")
    most = len(dataset.splits["train"]) - 1
    options = {"train.epochs": 2, "train.batch": most, "model.dim": 8, "train.ema": 0.9, "train.validation_rates": [0]}
    trainer = Trainer(override(Experiment(), options), dataset, None, RANK, WORLD)
    sizes = [(len(batch), whole) for batch, whole in trainer._train_batches()]
    assert sorted(sizes) == [(1, 1), (len(range(RANK, most, WORLD)), most)]
    trainer.fit(progress=False)
    for weights in (trainer.system, trainer.average, trainer.objective):
        flat = torch.cat([p.detach().flatten() for p in weights.parameters()] or [torch.zeros(1)])
        with sharing():
            assert torch.equal(summed(flat) / WORLD, flat)


for check in (rows_and_sums, gradients, numbers, penalties, objectives, training):
    check()
print("equal", flush=True)
leave_processes(WORLD)
