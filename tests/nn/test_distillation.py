"""Does a student that already is its teacher have nothing left to learn, and one that is not, what was planted?"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from msaviz.nn.distillation import MARGIN, SOFTNESS, contrast, prototypes, response
from msaviz.types import Task

CLASSES = Task("classes", classes=("low", "middle", "high"))
LABEL = torch.tensor([0, 0, 1, 1, 2, -1, 2, 0])


def features(seed: int = 0) -> torch.Tensor:
    return torch.randn(8, 5, generator=torch.Generator().manual_seed(seed))


def test_who_is_the_teacher_has_nothing_to_learn():
    one = features()
    assert prototypes(one, one, LABEL, 3).abs() < 1e-6
    assert response(one[:, 0], one[:, 0], Task()) == 0
    assert response(one[:, :3], one[:, :3], CLASSES).abs() < 1e-6
    assert prototypes(features(1), one, LABEL, 3) > 0.01
    assert response(features(1)[:, :3], one[:, :3], CLASSES) > 0.01


def test_contrast_is_worked_out_by_hand():
    """Same: squared distance of unit vectors. Others: what is missing to the margin, squared."""
    unit = torch.eye(3)
    torch.testing.assert_close(contrast(5 * unit, unit), torch.zeros(()))  # others are sqrt(2) apart, beyond the margin
    both = F.normalize(torch.tensor([[1.0, 0.0], [1.0, 1.0]]), dim=-1)
    near = math.sqrt(2 - 2 * math.cos(math.pi / 4))
    torch.testing.assert_close(contrast(both, both), torch.tensor((MARGIN - near) ** 2), atol=1e-5, rtol=0)
    swapped = contrast(both.flip(0), both)
    torch.testing.assert_close(swapped, torch.tensor(near**2 + MARGIN**2), atol=1e-3, rtol=0)


def test_contrast_brings_every_utterance_to_its_own_teacher():
    teacher = features()
    student = features(1).requires_grad_()
    optimizer = torch.optim.Adam([student], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        contrast(student, teacher).backward()
        optimizer.step()
    nearest = (F.normalize(student, dim=-1) @ F.normalize(teacher, dim=-1).T).argmax(1)
    assert torch.equal(nearest, torch.arange(8))


def test_prototypes_are_the_teachers_means_of_the_classes_that_are_there():
    teacher, student = features(), features(1)
    unit = F.normalize(teacher, dim=-1)
    mean = F.normalize(torch.stack([unit[c == LABEL].mean(0) for c in range(3)]), dim=-1)
    said, asked = ((F.normalize(x, dim=-1) @ mean.T / 0.1).softmax(-1) for x in (student, teacher))
    expected = (asked * (asked.log() - said.log())).sum(-1).mean()
    torch.testing.assert_close(prototypes(student, teacher, LABEL, 3), expected)
    torch.testing.assert_close(prototypes(student, teacher, LABEL, 9), expected)  # classes without a row are no prototypes


def test_nothing_labelled_is_nothing_to_learn_but_still_of_the_graph():
    student = features().requires_grad_()
    loss = prototypes(student, features(1), torch.full((8,), -1), 3)
    loss.backward()
    assert loss == 0
    assert not student.grad.any()


def test_responses_are_squared_errors_and_softened_divergences():
    one, two = features()[:, :3], features(1)[:, :3]
    torch.testing.assert_close(response(one[:, 0], two[:, 0], Task()), F.mse_loss(one[:, 0], two[:, 0]))
    said, asked = ((x / SOFTNESS).softmax(-1) for x in (one, two))
    expected = SOFTNESS**2 * (asked * (asked.log() - said.log())).sum(-1).mean()
    torch.testing.assert_close(response(one, two, CLASSES), expected)


def test_a_single_row_is_enough():
    found = [contrast(features()[:1], features(1)[:1]), prototypes(features()[:1], features(1)[:1], LABEL[:1], 3)]
    assert all(value.isfinite() for value in found)
