"""How does a run that sees everything teach one that does not?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from msaviz.catalog import OBJECTIVES
from msaviz.nn import distillation
from msaviz.training.components import Distillation, untrained
from msaviz.training.experiment import Experiment
from msaviz.training.objectives.mixup import Mixup
from msaviz.training.run import Run
from msaviz.training.system import System
from msaviz.types import GRADE, Batch, Output, Spec, heads_of, label_of

AGREE = ("modalities", "widths", "vocabularies", "tasks")
"""What of the data's spec a student shares with its teacher."""


class Lessons(nn.Module):
    """The terms beside a student's task. The teacher is frozen, and no part of this module: it is in no checkpoint and no run.

    The bridge, from the student's width to the teacher's where they differ, is trained with the student and left behind with it.
    """

    def __init__(self, options: Distillation, teacher: System, spec: Spec, student: int, width: int):
        super().__init__()
        self.options, self.spec = options, spec
        self._teacher = (teacher.eval().requires_grad_(False),)
        self.bridge = nn.Linear(student, width) if student != width else nn.Identity()

    @torch.no_grad()
    def asked(self, batch: Batch) -> Output:
        """What the teacher says of the complete batch."""
        (teacher,) = self._teacher
        batch = batch if batch.complete is None else batch.complete
        vectors = {}
        for m, encoder in teacher.front.encoders.items():
            read: Any = getattr(encoder, "remembered", encoder.encode)  # complete rows come again every epoch
            vectors[m] = read(batch.x[m], batch.mask[m])
        return teacher.model(batch.with_x(**vectors))

    def forward(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        """The weighted terms, by name, for what the student made of a batch."""
        o, asked, fused = self.options, self.asked(batch), self.bridge(output.fused)
        tasks, found = heads_of(self.spec), {}
        if o.contrast:
            found["teacher/contrast"] = o.contrast * distillation.contrast(fused, asked.fused)
        if o.prototypes:
            target = self.spec.target
            head = target if self.spec.task.kind == "classes" else f"{target}{GRADE}"
            label = label_of(batch.labels, head, self.spec)
            found["teacher/prototypes"] = o.prototypes * distillation.prototypes(fused, asked.fused, label, tasks[head].width)
        if o.response:
            both = [name for name in output.predictions if name in asked.predictions]
            terms = [distillation.response(output.predictions[name], asked.predictions[name], tasks[name]) for name in both]
            found["teacher/response"] = o.response * torch.stack(terms).sum()
        return found


def lessons_of(experiment: Experiment, spec: Spec, sample: Callable[[], Output], device: torch.device) -> Lessons | None:
    """What the experiment's teacher teaches; None without one. ValueError where it cannot teach this student, saying why."""
    options = experiment.components.distillation
    if not options.taught:
        return None
    if issubclass(OBJECTIVES[OBJECTIVES.name_of(type(experiment.objective))], Mixup):
        raise ValueError("objective mixup and components.distillation do not go together: the teacher has not seen the mixed utterances")
    run = Run.open(options.teacher)
    if strange := differences(run.spec, spec):
        raise ValueError(f"{run.path} cannot teach: its data are of another kind ({'; '.join(strange)})")
    there, here = run.experiment.domains, experiment.domains
    if here.active and (there.sources, there.targets) != (here.sources, here.targets):
        raise ValueError(
            f"{run.path} cannot teach: its sources are {list(there.sources)} and its targets {list(there.targets)}, but this experiment "
            f"has sources {list(here.sources)} and targets {list(here.targets)}; what is unseen must be unseen by both"
        )
    teacher = run.model()
    assert isinstance(teacher, System)
    width = untrained(teacher.model, teacher.front.spec_after(spec)).fused.shape[-1]
    return Lessons(options, teacher.to(device), spec, sample().fused.shape[-1], width).to(device)


def differences(there: Spec, here: Spec) -> list[str]:
    """What two kinds of data disagree about, in words."""
    pairs = {name: (getattr(there, name), getattr(here, name)) for name in AGREE}
    return [f"{name}: {one} there, {two} here" for name, (one, two) in pairs.items() if one != two]
