"""Are genes and experiments the same thing said twice?"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msaviz import Experiment, override
from msaviz.search.genome import Genome

MODALITIES = ("text", "audio", "vision")
HAEMSA = Genome(Experiment(model="haemsa"), MODALITIES)


def drawn(genome: Genome) -> st.SearchStrategy:
    def one(known):
        if "choices" in known:
            return st.sampled_from(known["choices"])
        kind = st.integers if isinstance(known["low"], int) else st.floats
        return kind(known["low"], known["high"])

    return st.fixed_dictionaries({gene: one(known) for gene, known in genome.ranges.items()})


def test_the_default_genome_is_the_untouched_experiment():
    assert HAEMSA.decode(HAEMSA.default) == HAEMSA.base
    assert set(HAEMSA.default) == set(HAEMSA.ranges)
    assert {"model.dim", "train.lr", "model.modalities[text]", "model.pairs[text>audio]"} <= set(HAEMSA.ranges)
    assert sum(gene.startswith("model.pairs[") for gene in HAEMSA.ranges) == 6


@settings(max_examples=40, deadline=None)
@given(drawn(HAEMSA))
def test_what_is_decoded_is_canonical(genes):
    """decode(encode(decode(g))) == decode(g), the key agrees, and a repaired model is never without a modality."""
    built = HAEMSA.decode(genes)
    again = HAEMSA.decode(HAEMSA.encode(built))
    assert again == built
    assert HAEMSA.key(built) == HAEMSA.key(again)
    active = MODALITIES if built.model.modalities == "all" else built.model.modalities
    assert active
    pairs = [] if built.model.pairs == "all" else built.model.pairs
    assert all(set(pair.split(">")) <= set(active) for pair in pairs)


def test_genomes_that_build_the_same_model_have_one_key():
    without_vision = {**HAEMSA.default, "model.modalities[vision]": False}
    other = {**without_vision, "model.pairs[vision>text]": False, "model.pairs[audio>vision]": False}
    key = HAEMSA.key(HAEMSA.decode(without_vision))
    assert HAEMSA.key(HAEMSA.decode(other)) == key
    assert HAEMSA.key(HAEMSA.decode({**other, "model.pairs[text>audio]": False})) != key
    assert HAEMSA.key(HAEMSA.decode({**other, "model.dim": 32})) != key
    nobody = {gene: False if gene.startswith("model.modalities[") else value for gene, value in HAEMSA.default.items()}
    assert HAEMSA.decode(nobody) == HAEMSA.base
    assert HAEMSA.key(override(HAEMSA.base, {"seed": 1})) != HAEMSA.key(HAEMSA.base)


def test_a_fixed_set_of_modalities_still_drops_pairs():
    base = override(Experiment(model="haemsa"), {"model.modalities": "text+audio"})
    genome = Genome(base, MODALITIES, ("model.pairs",))
    assert genome.decode(genome.default).model.pairs == "all"
    assert genome.decode({**genome.default, "model.pairs[text>audio]": False}).model.pairs == ("audio>text",)


def test_a_value_outside_of_the_range_widens_it():
    genome = Genome(override(Experiment(model="derl"), {"model.dim": 8, "model.layers": 6, "model.dropout": 0.7}), MODALITIES)
    assert genome.ranges["model.dim"]["choices"] == [8, 32, 64, 128, 256]
    assert genome.ranges["model.layers"] == {"low": 0, "high": 6, "log": False}
    assert genome.ranges["model.dropout"]["high"] == 0.7
    assert isinstance(genome.ranges["model.layers"]["high"], int)
    assert isinstance(genome.ranges["train.lr"]["low"], float)


def test_prefixes_choose_and_a_strange_one_says_what_exists():
    assert set(Genome(HAEMSA.base, MODALITIES, ("model.dim", "train.lr")).ranges) == {"model.dim", "train.lr"}
    with pytest.raises(ValueError, match=r"'model\.width'.*model\.dim"):
        _ = Genome(HAEMSA.base, MODALITIES, ("model.width",)).ranges


def test_what_the_options_refuse_is_said():
    with pytest.raises(ValueError, match="dropout"):
        HAEMSA.decode({**HAEMSA.default, "model.dropout": 7.0})
