"""Laws of missingness: what goes, what stays, and what the masks depend on."""

import hashlib
import itertools
import math
import time

import pytest
import torch

from msaviz.data.missing import (
    Corruption,
    Draw,
    Missingness,
    Mixture,
    Noise,
    Nothing,
    RandomFrames,
    Span,
    Spans,
    Subset,
    WholeModality,
    corrupt,
    missingness,
    uniform,
)
from msaviz.options import Options, override, paths
from msaviz.types import Batch

UNKNOWN = {"ids": 7}
RATED = [RandomFrames, WholeModality, Span, Spans]
RANDOM = [
    RandomFrames(rate=0.4),
    WholeModality(rate=0.4),
    Span(rate=0.4),
    Spans(rate=0.4, count=3),
    Mixture(),
    Mixture(inter_modal=True),
    Noise(),
]


def make(rows: int = 64, *, seed: int = 0, shapes=None, examples=None, ids: bool = False) -> Batch:
    """A batch of unequal lengths (zero where padded); some utterances lack audio altogether."""
    generator = torch.Generator().manual_seed(seed)
    shapes = shapes or {"text": (12, 4), "audio": (30, 3), "vision": (20, 5)}
    x, mask = {}, {}
    for i, (m, (steps, width)) in enumerate(shapes.items()):
        lengths = torch.randint(3, steps + 1, (rows,), generator=generator)
        lengths[0] = steps
        if m == "audio":
            lengths[5::7] = 0
        mask[m] = torch.arange(steps) < lengths[:, None]
        x[m] = (torch.randn(rows, steps, width, generator=generator) + 3 + i) * mask[m].unsqueeze(-1)
    if ids:
        mask["ids"] = mask["text"]
        x["ids"] = torch.randint(10, 99, mask["ids"].shape, generator=generator) * mask["ids"]
    example = torch.arange(rows) if examples is None else torch.as_tensor(examples)
    return Batch(x, mask, {"y": torch.zeros(rows)}, torch.zeros(rows, dtype=torch.long), example)


def same(a: Batch, b: Batch) -> bool:
    return all(torch.equal(a.x[m], b.x[m]) and torch.equal(a.mask[m], b.mask[m]) for m in a.modalities)


def pick(batch: Batch, rows: torch.Tensor) -> Batch:
    return batch.map(lambda tensor: tensor[rows])


def removed(batch: Batch, kind: Corruption, **options) -> dict[str, torch.Tensor]:
    return dict(corrupt(batch, kind, **{"seed": 0, "unknown": UNKNOWN, **options}).dropped)


# -- the generator ------------------------------------------------------------------------------------------------------


def test_uniform_is_uniform_and_open():
    u = uniform(3, 1, torch.arange(4000), "audio", 50)
    assert u.shape == (4000, 50)
    assert u.min() > 0
    assert u.max() < 1
    assert abs(u.mean() - 0.5) < 0.003
    assert abs(u.var() - 1 / 12) < 0.002
    counts = torch.histc(u, 20, 0, 1)
    chi = ((counts - 10_000) ** 2 / 10_000).sum()
    assert chi < 60  # 19 degrees of freedom; 60 is beyond p = 1e-5


def test_uniform_streams_are_independent():
    example = torch.arange(3000)
    streams = [uniform(s, e, example, m, 8) for s, e, m in ((0, 0, "a"), (0, 0, "b"), (0, 1, "a"), (1, 0, "a"))]
    flat = torch.stack([s.flatten() for s in streams])
    off = torch.corrcoef(flat) - torch.eye(len(flat))
    assert off.abs().max() < 0.03
    neighbours = torch.corrcoef(streams[0].T) - torch.eye(8)
    assert neighbours.abs().max() < 0.08
    assert torch.corrcoef(torch.stack([streams[0][:-1].flatten(), streams[0][1:].flatten()]))[0, 1].abs() < 0.03


def test_uniform_is_splitmix64_and_has_a_fixed_value():
    """The masks behind published numbers must not move with a release; whole-number Python as the independent reference."""

    def splitmix(state: int) -> int:
        z = state % 2**64
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return z ^ (z >> 31)

    golden = 0x9E3779B97F4A7C15
    key = int.from_bytes(hashlib.blake2b(b"0|4|text", digest_size=8).digest(), "big")
    rows = [splitmix(key + example * golden) for example in (0, 685)]
    expected = [[((splitmix(row + step * golden) >> 41) + 0.5) / 2**23 for step in (1, 2, 3)] for row in rows]
    assert uniform(0, 4, torch.tensor([0, 685]), "text", 3).tolist() == expected
    fixed = [0.324016, 0.633195, 0.208138, 0.697062, 0.233907, 0.852865]
    assert uniform(0, 0, torch.tensor([0, 685], dtype=torch.int32), "text", 3).flatten().tolist() == pytest.approx(fixed, abs=1e-6)


def test_uniform_does_not_know_the_number_of_steps():
    example = torch.arange(9)
    assert torch.equal(uniform(0, 0, example, "text", 50)[:, :7], uniform(0, 0, example, "text", 7))


# -- laws for all kinds -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", [*(k(rate=0) for k in RATED), Noise(scale=0), Subset(keep=("text", "audio", "vision")), Mixture(clean=1), Nothing()]
)
def test_rate_zero_is_the_identity(kind):
    batch = make()
    after = corrupt(batch, kind, seed=0)
    assert same(batch, after)
    assert all(not d.any() for d in after.dropped.values())


@pytest.mark.parametrize("kind", RANDOM, ids=lambda k: k.kind)
def test_masks_depend_on_seed_epoch_example_and_modality_only(kind):
    batch = make()
    whole = corrupt(batch, kind, seed=1, epoch=2)
    order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(5))[:17]
    part = corrupt(pick(batch, order), kind, seed=1, epoch=2)
    assert same(part, pick(whole, order))
    reordered = Batch(dict(reversed(batch.x.items())), batch.mask, batch.labels, batch.domain, batch.example)
    assert same(whole, corrupt(reordered, kind, seed=1, epoch=2))


@pytest.mark.parametrize("kind", RANDOM, ids=lambda k: k.kind)
def test_padding_changes_nothing(kind):
    batch = make()
    longer = {m: torch.nn.functional.pad(x, (0, 0, 0, 9)) for m, x in batch.x.items()}
    padded = Batch(
        longer, {m: torch.nn.functional.pad(k, (0, 9)) for m, k in batch.mask.items()}, batch.labels, batch.domain, batch.example
    )
    short, long = corrupt(batch, kind, seed=0), corrupt(padded, kind, seed=0)
    for m in batch.modalities:
        assert torch.equal(short.x[m], long.x[m][:, :-9])
        assert torch.equal(short.mask[m], long.mask[m][:, :-9])
        assert not long.x[m][:, -9:].any()
        assert not long.dropped[m][:, -9:].any()


@pytest.mark.parametrize("kind", RANDOM, ids=lambda k: k.kind)
def test_redrawn_each_epoch_and_seed_and_repeatable(kind):
    batch = make()
    first = corrupt(batch, kind, seed=0, epoch=0)
    assert same(first, corrupt(batch, kind, seed=0, epoch=0))
    assert not same(first, corrupt(batch, kind, seed=0, epoch=1))
    assert not same(first, corrupt(batch, kind, seed=1, epoch=0))


@pytest.mark.parametrize("kind", [*RANDOM, Subset(keep=("text",))], ids=lambda k: k.kind)
def test_the_batch_is_untouched_and_kept_as_complete(kind):
    batch, copy = make(), make()
    after = corrupt(batch, kind, seed=0)
    assert same(batch, copy)
    assert after.complete is batch
    assert after is not batch
    for m in batch.modalities:
        assert not (after.dropped[m] & ~batch.mask[m]).any(), "only valid steps can be dropped"
        assert not (after.mask[m] & ~batch.mask[m]).any(), "what was absent stays absent"
        assert not after.x[m][after.dropped[m]].any()
        if kind.kind != "noise":
            assert torch.equal(after.x[m][~after.dropped[m]], batch.x[m][~after.dropped[m]])


@pytest.mark.parametrize("family", RATED)
def test_masks_are_nested_in_the_rate(family):
    batch = make(200)
    rates = [i / 20 for i in range(21)]
    sweep = [removed(batch, family(rate=r)) for r in rates]
    for less, more in itertools.pairwise(sweep):
        assert all(not (less[m] & ~more[m]).any() for m in batch.modalities)
    assert sum(d.sum() for d in sweep[-1].values()) > sum(d.sum() for d in sweep[1].values())


def test_a_second_corruption_keeps_the_first_complete():
    batch = make()
    once = corrupt(batch, RandomFrames(rate=0.5), seed=0)
    twice = corrupt(once, Subset(keep=("audio",)), seed=0)
    assert twice.complete is batch
    assert all(not (once.dropped[m] & ~twice.dropped[m]).any() for m in batch.modalities)
    assert (twice.kept("text") == 0).all()
    assert torch.equal(twice.kept("audio"), once.kept("audio"))


# -- frames -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("family", [RandomFrames, Span, Spans])
def test_share_of_removed_frames(family, rate):
    batch = make(1500)
    after = corrupt(batch, family(rate=rate), seed=0)
    for m in ("audio", "vision"):
        share = after.dropped[m].sum() / batch.mask[m].sum()
        assert abs(share - rate) < 0.015
        assert torch.equal(after.mask[m], batch.mask[m]), "within a modality the place in time stays known"


def test_independent_between_modalities_and_neighbours():
    batch = make(2000, shapes={"a": (20, 1), "b": (20, 1)})
    both = batch.mask["a"] & batch.mask["b"]
    gone = removed(batch, RandomFrames(rate=0.5))
    pair = torch.stack([gone[m][both].float() for m in ("a", "b")])
    assert torch.corrcoef(pair)[0, 1].abs() < 0.03
    inner = both[:, 1:] & both[:, :-1]
    steps = torch.stack([gone["a"][:, 1:][inner].float(), gone["a"][:, :-1][inner].float()])
    assert torch.corrcoef(steps)[0, 1].abs() < 0.03


@pytest.mark.parametrize("family", [RandomFrames, Span, Spans])
def test_first_and_last_token_stay(family):
    batch = make(ids=True)
    after = corrupt(batch, family(rate=1), seed=0, unknown=UNKNOWN)
    length = batch.mask["text"].sum(1)
    for m in ("text", "ids"):
        kept = batch.mask[m] & ~after.dropped[m]
        assert torch.equal(kept.sum(1), length.clamp(max=2))
        assert kept[:, 0].all()
        assert kept[torch.arange(len(batch)), length - 1].all()
    assert (after.x["ids"][after.dropped["ids"]] == 7).all()
    assert torch.equal(after.x["ids"][~after.dropped["ids"]], batch.x["ids"][~after.dropped["ids"]])
    assert after.dropped["audio"][batch.mask["audio"]].all()


def test_a_single_text_vector_can_go_but_a_single_token_cannot():
    one = Batch(
        {"text": torch.ones(50, 1, 3), "ids": torch.ones(50, 1, dtype=torch.long)},
        {m: torch.ones(50, 1, dtype=torch.bool) for m in ("text", "ids")},
        {"y": torch.zeros(50)},
        torch.zeros(50, dtype=torch.long),
        torch.arange(50),
    )
    gone = removed(one, RandomFrames(rate=1))
    assert gone["text"].all()
    assert not gone["ids"].any()


def test_token_ids_need_an_unknown_id():
    with pytest.raises(ValueError, match="unknown token"):
        corrupt(make(ids=True), RandomFrames(rate=0.5), seed=0, unknown={})


def test_a_rate_for_each_modality():
    batch = make(800)
    gone = removed(batch, RandomFrames(rate={"audio": 0.3, "vision": 1.0}))
    assert not gone["text"].any()
    assert gone["vision"][batch.mask["vision"]].all()
    assert abs(gone["audio"].sum() / batch.mask["audio"].sum() - 0.3) < 0.02


@pytest.mark.parametrize("kind", [RandomFrames(rate={"smell": 0.3}), Subset(keep=("text", "smell"))])
def test_an_unknown_modality_is_named(kind):
    with pytest.raises(ValueError, match=r"smell.*text.*audio.*vision"):
        corrupt(make(), kind, seed=0)


@pytest.mark.parametrize(("kind", "spans"), [(Span(rate=0.5), 1), (Spans(rate=0.5, count=4), 4)])
def test_spans_are_contiguous(kind, spans):
    batch = make(300)
    gone = removed(batch, kind)["vision"].int()
    starts = (torch.diff(gone, dim=1, prepend=torch.zeros(len(batch), 1, dtype=torch.int)) == 1).sum(1)
    assert starts.max() <= spans
    assert starts.float().mean() > spans / 2


def test_a_span_can_lie_anywhere():
    batch = make(2000, shapes={"audio": (10, 1)})
    full = batch.mask["audio"].all(1)
    share = removed(batch, Span(rate=0.3))["audio"][full].float().mean(0)
    assert share.min() > 0.05
    assert share.max() < 0.6


# -- whole modalities ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [WholeModality(rate=r) for r in (0.5, 0.9, 1)] + [Mixture(clean=0, low=0.9, inter_modal=True)])
def test_at_least_one_modality_stays(kind):
    batch = make(500)
    after = corrupt(batch, kind, seed=0)
    left = torch.stack([after.present(m) for m in batch.modalities])
    assert left.any(0).all()
    for m in batch.modalities:
        lost = batch.present(m) & ~after.present(m)
        assert lost.any()
        assert not after.x[m][lost].any()
        assert not after.mask[m][lost].any()
        assert torch.equal(after.mask[m][~lost], batch.mask[m][~lost]), "a modality goes whole or stays whole"
        assert (after.kept(m)[lost] == 0).all()
        assert (after.kept(m)[batch.present(m) & ~lost] == 1).all()


def test_share_of_lost_modalities():
    batch = make(4000, shapes={"a": (4, 1), "b": (4, 1), "c": (4, 1)})
    after = corrupt(batch, WholeModality(rate=0.5), seed=0)
    for m in "abc":
        expected = 0.5 - 0.5**3 / 3  # minus its third of the cases where all three would have gone
        assert abs((~after.present(m)).float().mean() - expected) < 0.025


def test_rates_of_whole_modalities_may_differ():
    batch = make(300, shapes={"a": (4, 1), "b": (4, 1)})
    after = corrupt(batch, WholeModality(rate={"a": 1.0}), seed=0)
    assert not after.present("a").any()
    assert after.present("b").all()


def test_subset_keeps_what_it_names():
    batch = make(ids=True)
    after = corrupt(batch, Subset(keep=("audio",)), seed=0)
    assert torch.equal(after.mask["audio"], batch.mask["audio"])
    assert torch.equal(after.x["audio"], batch.x["audio"])
    assert all(not after.mask[m].any() and not after.x[m].any() for m in ("text", "vision", "ids"))


# -- noise and the training mixture -------------------------------------------------------------------------------------


def test_noise_is_gaussian_and_scaled():
    batch = make(400, ids=True)
    after = corrupt(batch, Noise(scale=0.5), seed=0)
    for m in ("text", "audio", "vision"):
        noise = (after.x[m] - batch.x[m])[batch.mask[m]].flatten()
        assert abs(noise.mean()) < 0.02
        assert abs(noise.std() - 0.5) < 0.02
        assert abs((noise.abs() < 0.5).float().mean() - 0.683) < 0.02
        assert not after.x[m][~batch.mask[m]].any()
    assert torch.equal(after.x["ids"], batch.x["ids"])


def test_mixture_leaves_the_clean_share_whole_and_draws_a_rate_each():
    batch = make(3000, shapes={"a": (40, 1), "b": (40, 1)})
    kind = Mixture(clean=0.4)
    draw = Draw(0, 3, batch.example)
    rates = {m: kind.drawn(draw, m) for m in "ab"}
    clean = rates["a"] == 0
    assert abs(clean.float().mean() - 0.4) < 0.03
    assert torch.equal(clean, rates["b"] == 0)
    noisy = torch.stack([rates[m][~clean] for m in "ab"])
    assert torch.corrcoef(noisy)[0, 1].abs() < 0.06
    assert abs(noisy.mean() - 0.5) < 0.02
    assert noisy.max() > 0.97
    after = corrupt(batch, kind, seed=0, epoch=3)
    for m in "ab":
        assert not after.dropped[m][clean].any()
        share = 1 - after.kept(m)[~clean]
        assert abs(share.mean() - 0.5) < 0.02
        assert (share - rates[m][~clean]).abs().mean() < 0.12


def test_mixture_bounds():
    draw = Draw(0, 0, torch.arange(2000))
    rate = Mixture(clean=0, low=0.2, high=0.6).drawn(draw, "a")
    assert rate.min() >= 0.2
    assert rate.max() <= 0.6
    assert abs(rate.mean() - 0.4) < 0.01
    with pytest.raises(ValueError, match="above"):
        Mixture(low=0.7, high=0.2)


# -- as options ---------------------------------------------------------------------------------------------------------


class Holder(Options):
    missing: Missingness = Mixture()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("none", Nothing()),
        (None, Nothing()),
        ("random:0.3", RandomFrames(rate=0.3)),
        (0.3, RandomFrames(rate=0.3)),
        ("random:rate=.3", RandomFrames(rate=0.3)),
        ("modality:.2", WholeModality(rate=0.2)),
        ("structured:rate=0.5,count=2", Spans(rate=0.5, count=2)),
        ("subset:text+audio", Subset(keep=("text", "audio"))),
        ("noise:2", Noise(scale=2)),
        ("mixture:clean=.3,inter_modal=true", Mixture(clean=0.3, inter_modal=True)),
        ({"kind": "span", "rate": {"text": 0.5}}, Span(rate={"text": 0.5})),
        (Span(rate=0.1), Span(rate=0.1)),
    ],
)
def test_shorthand(text, expected):
    assert missingness(text) == expected
    if text is not None:
        assert Holder(missing=text).missing == expected
        assert Holder.model_validate(Holder(missing=text).model_dump(mode="json")).missing == expected


def test_dotted_paths_reach_it():
    assert override(Holder(), {"missing.clean": "0.2"}).missing == Mixture(clean=0.2)
    assert override(Holder(), {"missing": "subset:text"}).missing == Subset(keep=("text",))
    assert paths(Holder())["missing.kind"] == "mixture"


@pytest.mark.parametrize("text", ["rendom:.3", "random:1.5", "random:speed=3", "subset", {"rate": 0.3}])
def test_nonsense_is_refused_in_words(text):
    with pytest.raises(ValueError, match="describes no missingness"):
        missingness(text)


def test_corruption_is_a_small_part_of_a_step():
    """One call on a MOSI-sized unaligned batch stays far below a training step (tens of ms); a generous bound against Python loops."""
    batch = make(32, shapes={"text": (50, 64), "audio": (375, 5), "vision": (500, 20)})
    corrupt(batch, Mixture(), seed=0)
    best = math.inf
    for epoch in range(5):
        start = time.perf_counter()
        corrupt(batch, Mixture(), seed=0, epoch=epoch)
        best = min(best, time.perf_counter() - start)
    assert best < 0.05
