"""Does each objective beat the plain mean loss in an unseen domain for the reason it was made for, and lose nothing for another?

In every test an easy cue is right in (most of) the sources and flips in the unseen domain; what differs is what the sources say about it.
Errors are mean squared errors over three seeds; a model of the true cue alone has .5, the plain mean loss 1.4 or more.
"""

from functools import cache

import numpy as np
import pytest
from planted_cue import FLIPPED, Sources, error, learn

SEEDS = (0, 1, 2)
UNEQUAL = Sources(rows=(600, 600, 600), cue=(1.2, 0.7, 0.2))
MINORITY = Sources(rows=(180, 20), cue=(1.0, -1.0))
MOVING = Sources(rows=(100, 100), cue=(1.0, 1.0), shift=(-0.5, 0.5), spread=(0.6, 1.4))
models = cache(learn)


def errors(name: str, sources: Sources, cue: float, **options: object) -> float:
    """Mean error of the models of all seeds in a domain where the easy cue is worth `cue`."""
    return float(np.mean([error(models(name, sources, seed, **options), cue, seed) for seed in SEEDS]))


def assert_wins(name: str, sources: Sources, **options: object) -> None:
    """At least 30% less error where the easy cue flips (35% or more for each of seven seeds), and none where it holds."""
    plain, other = errors("erm", sources, FLIPPED), errors(name, sources, FLIPPED, **options)
    assert plain > 1.4, "the easy cue must tempt"
    assert other < 0.7 * plain, f"{name}: {other:.2f}, plain mean loss: {plain:.2f}"
    held = sources.cue[0]
    assert errors("erm", sources, held) <= errors(name, sources, held, **options), "where the cue holds, giving it up wins nothing"


def test_irm_wins_because_the_best_scale_differs():
    """The easy cue is worth something else in every source, so no scale of a prediction that uses it is best in all of them.

    Three sources, as a wrong answer exists that satisfies any two of them.
    """
    assert_wins("irm", UNEQUAL, weight=100.0)


def test_vrex_wins_because_the_risks_differ():
    """A prediction that uses the easy cue serves the sources unequally; the true cue has the same noise everywhere.

    Three sources, as with two the gain of the true cue can make up for the difference.
    """
    assert_wins("vrex", UNEQUAL, weight=100.0)


def test_groupdro_wins_because_a_small_source_is_badly_served():
    """A tenth of the rows is from a source where the easy cue is flipped: the mean loss gives them up, the worst domain's does not."""
    assert_wins("groupdro", MINORITY, eta=0.05)


def test_mixup_of_equal_labels_wins_because_the_cues_of_a_pair_cancel():
    """A row of the large source is mixed with one of equal label of the small source, whose easy cue says the opposite."""
    assert_wins("mixup", MINORITY, alpha=2.0, pairs="same_label")


@pytest.mark.parametrize(("name", "weight"), [("coral", 10.0), ("mmd", 3.0), ("dann", 3.0)])
def test_alignment_wins_because_the_easy_cue_tells_the_domain(name, weight):
    """The easy cue is equally good in both sources but has another mean and spread; the true cue is distributed alike.

    Between two sources nothing but that says which cue to leave.
    """
    assert_wins(name, MOVING, weight=weight)


@pytest.mark.parametrize(
    ("name", "options"), [("irm", {"weight": 100.0}), ("vrex", {"weight": 100.0}), ("groupdro", {"eta": 0.05}), ("coral", {"weight": 10.0})]
)
def test_nothing_is_won_where_the_sources_say_nothing(name, options):
    """The same easy cue with the same worth, mean and spread in all sources: no objective can know that it will flip."""
    alike = Sources(rows=(300, 300, 300), cue=(1.0, 1.0, 1.0))
    assert errors(name, alike, FLIPPED, **options) > 0.7 * errors("erm", alike, FLIPPED)
