"""Does an expert read through its mask alone, and does the mask drop what is not the same in all domains?"""

import torch
import torch.nn.functional as F

from msaviz.nn.invariance import coral, irm_penalty, variance_of_risks
from msaviz.nn.invariant import InvariantExperts, ReadMasks


def test_masks_are_hard_and_have_the_gradient_of_the_sigmoid():
    masks = ReadMasks(2, 3)
    with torch.no_grad():
        masks.score.copy_(torch.tensor([[0.3, -0.3, 0.1], [-0.1, 0.2, 0.0]]))
    hard = masks()
    torch.testing.assert_close(hard, torch.tensor([[1.0, 0, 1], [0, 1, 0]]))
    weight = torch.arange(6.0).view(2, 3)
    (hard * weight).sum().backward()
    soft = (5 * masks.score).sigmoid()
    torch.testing.assert_close(masks.score.grad, (weight * 5 * soft * (1 - soft)).detach())


def test_every_expert_begins_by_reading_everything():
    assert ReadMasks(4, 200)().eq(1).all()


def test_overlap_and_sparsity_equal_their_formulas():
    masks = ReadMasks(3, 4)
    with torch.no_grad():
        masks.score.copy_(torch.tensor([[1.0, 1, -1, -1], [1, -1, -1, -1], [-1, -1, 1, 1]]))
    torch.testing.assert_close(masks.overlap(), torch.tensor(0.5))  # cos² of the pairs: 1/2, 0, 0
    torch.testing.assert_close(masks.sparsity(), masks.soft.mean())
    assert ReadMasks(1, 4).overlap() == 0


def test_what_a_mask_hides_changes_nothing_and_what_it_shows_does():
    torch.manual_seed(0)
    experts = InvariantExperts(4, 2, 3, 8, kind="soft").eval()
    with torch.no_grad():
        experts.masks.score.fill_(1.0)
        experts.masks.score[1, 2] = -1.0
    u = torch.randn(5, 4)
    moved = u.clone()
    moved[:, 2] += 3
    before, after = experts(u)[1], experts(moved)[1]
    torch.testing.assert_close(before[:, 1], after[:, 1])
    assert (before[:, 0] - after[:, 0]).abs().max() > 1e-3


def test_the_answer_is_the_gated_sum_and_gates_sum_to_one():
    torch.manual_seed(0)
    experts = InvariantExperts(4, 2, 3, 8, k=2).eval()
    z, answers, routing = experts(torch.randn(6, 4))
    assert routing.gates.shape == (6, 1, 3)
    torch.testing.assert_close(routing.gates.sum(-1), torch.ones(6, 1))
    torch.testing.assert_close(z, (routing.gates[:, 0, :, None] * answers).sum(1))
    one = InvariantExperts(4, 2, 1, 8)
    assert one(torch.randn(6, 4))[2].gates.eq(1).all()


def planted(rows, strength, generator):
    """y = the first coordinate and noise; the second follows y with the domain's own strength (less noisy than the first); two say nothing."""
    true = torch.randn(rows, generator=generator)
    y = true + 0.5 * torch.randn(rows, generator=generator)
    spurious = strength * y + 0.2 * torch.randn(rows, generator=generator)
    return torch.stack([true, spurious, *torch.randn(2, rows, generator=generator)], 1), y


def learn(penalty, weight, seed):
    """(mask Float[e d], error in an unseen domain where the cue is flipped) after a short training on two source domains."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    parts = [planted(256, s, generator) for s in (1.0, 0.2)]
    x, y = torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])
    domain = torch.arange(2).repeat_interleave(256)
    model, head = InvariantExperts(4, 8, 2, 16, kind="soft", dropout=0.0), torch.nn.Linear(8, 1)
    optimizer = torch.optim.AdamW([*model.parameters(), *head.parameters()], lr=5e-3)
    for step in range(500):
        z, answers, _ = model(x)
        loss = F.mse_loss(head(z)[:, 0], y) + 0.05 * model.masks.sparsity()
        if step >= 50:
            loss = loss + weight * penalty(answers, head, y, domain)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    unseen, label = planted(1000, -1.0, generator)
    with torch.no_grad():
        return model.masks(), float(F.mse_loss(head(model(unseen)[0])[:, 0], label))


def own_risks(answers, head, y, domain):
    each = (head(answers)[..., 0] - y[:, None]).square()
    return torch.stack([each[domain == d].mean(0) for d in (0, 1)], 1)


PENALTIES = {
    "vrex": lambda answers, head, y, domain: variance_of_risks(own_risks(answers, head, y, domain), torch.tensor([True, True])),
    "irm": lambda answers, head, y, domain: torch.stack(
        [
            irm_penalty(lambda s, e=e: (head(answers[:, e])[:, 0] * s - y).square(), domain, 2, torch.ones(len(y), dtype=torch.bool))
            for e in range(2)
        ]
    ).mean(),
    "coral": lambda answers, head, y, domain: coral(answers, domain, 2),
}


def test_the_mask_drops_a_cue_that_the_domains_disagree_about_and_keeps_the_true_one():
    """Without a penalty the cue is the best thing to read; with one, reading it costs more than it gives. Three seeds each."""
    for name, weight in {"vrex": 30.0, "irm": 30.0, "coral": 30.0}.items():
        plain = [learn(PENALTIES[name], 0.0, seed) for seed in range(3)]
        invariant = [learn(PENALTIES[name], weight, seed) for seed in range(3)]
        assert all(mask[:, 1].all() for mask, _ in plain), name
        assert all(mask[:, 0].any() for mask, _ in invariant), name
        dropped = sum(int((mask[:, 1] == 0).sum()) for mask, _ in invariant)
        print(name, dropped, [round(e, 2) for _, e in plain], [round(e, 2) for _, e in invariant], [m.tolist() for m, _ in invariant])
