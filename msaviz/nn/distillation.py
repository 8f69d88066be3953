"""What may a student that sees less learn from a teacher that sees all, beside the label?

After CorrKD (Li et al. 2024): what samples, classes and answers are to each other. Every function takes the rows of both, reads the teacher
as it is given (detached by the caller), and returns the mean over the rows of all processes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from msaviz.nn.parallel import gathered
from msaviz.nn.penalties import full, mean_where
from msaviz.types import Task

MARGIN, TEMPERATURE, SOFTNESS = 1.0, 0.1, 2.0
"""Distance of unit vectors beyond which two utterances are apart; of similarities to prototypes; of class scores."""


def contrast(student: Float[Tensor, "n d"], teacher: Float[Tensor, "n d"], *, margin: float = MARGIN) -> Float[Tensor, ""]:
    """mean over i of |s_i - t_i|^2 + mean over j != i of max(0, margin - |s_i - t_j|)^2, s and t of unit length."""
    student, teacher = (F.normalize(full(x), dim=-1) for x in gathered(student, teacher))
    square = (2 - 2 * student @ teacher.T).clamp(min=0)
    same = torch.eye(len(square), dtype=torch.bool, device=square.device)
    apart = F.relu(margin - (square + 1e-8).sqrt()).square().masked_fill(same, 0).sum() / max(1, len(square) * (len(square) - 1))
    return square.diagonal().mean() + apart


def prototypes(
    student: Float[Tensor, "n d"],
    teacher: Float[Tensor, "n d"],
    label: Int[Tensor, " n"],
    classes: int,
    *,
    temperature: float = TEMPERATURE,
) -> Float[Tensor, ""]:
    """KL(teacher's | student's similarities to the prototypes): the teacher's mean of every class that the batch holds, by cosine.

    label -1: none; such a row has similarities, but is in no mean.
    """
    student, teacher, label = gathered(student, teacher, label)
    student, teacher = (F.normalize(full(x), dim=-1) for x in (student, teacher))
    member = F.one_hot(label + 1, classes + 1)[:, 1:].to(teacher.dtype)
    member = member[:, member.any(0)]
    mean = F.normalize(member.T @ teacher, dim=-1)
    said, asked = ((x @ mean.T / temperature).log_softmax(-1) for x in (student, teacher))
    return F.kl_div(said, asked, reduction="none", log_target=True).sum(-1).mean()


def response(student: Tensor, teacher: Tensor, task: Task) -> Float[Tensor, ""]:
    """The squared error of a real prediction; KL(teacher | student) of class scores softened by T, times T^2 (Hinton et al. 2015)."""
    if task.kind == "classes":
        said, asked = ((full(x) / SOFTNESS).log_softmax(-1) for x in (student, teacher))
        each = SOFTNESS**2 * F.kl_div(said, asked, reduction="none", log_target=True).sum(-1)
    else:
        each = (full(student) - full(teacher)).square()
    return mean_where(each, torch.ones_like(each, dtype=torch.bool))
