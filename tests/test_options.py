"""Does one dotted path serve every option, and does a wrong one say which exist?"""

import pytest

from msaviz.catalog import MODELS
from msaviz.options import override, paths, read_value, search_space, settled, validated
from msaviz.training.experiment import Experiment


def test_a_name_a_dict_and_ready_options_are_the_same_experiment():
    by_name = Experiment(model="derl")
    assert by_name == Experiment(model={"name": "derl"}) == Experiment(model=MODELS["derl"].Config())
    assert by_name.model_name == "derl"


def test_dump_and_validate_are_inverse():
    experiment = override(Experiment(model="derl"), {"model.experts": "8", "train.epochs": 3, "missing": {"kind": "random", "rate": 0.2}})
    assert Experiment.model_validate(experiment.model_dump(mode="json")) == experiment
    assert (experiment.model.experts, experiment.train.epochs, experiment.missing.rate) == (8, 3, 0.2)


@pytest.mark.parametrize("path", ["model.expert", "experts", "train.lr.x", "nothing"])
def test_an_unknown_path_says_which_exist(path):
    with pytest.raises(ValueError, match=rf"unknown option '{path}'.*model\.experts.*train\.epochs"):
        override(Experiment(model="derl"), {path: 1})


def test_a_wrong_value_says_where():
    with pytest.raises(ValueError, match="train.epochs"):
        override(Experiment(), {"train.epochs": "many"})
    with pytest.raises(ValueError, match="model"):
        override(Experiment(model="derl"), {"model.experts": 0})


def test_an_unknown_model_lists_what_exists():
    with pytest.raises(ValueError, match=r"no model is called 'derrl'.*early_fusion"):
        Experiment(model="derrl")


def test_options_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Experiment().seed = 3


def test_search_space_points_at_real_paths():
    experiment = Experiment(model="derl")
    space = search_space(experiment)
    assert space["model.experts"] == {"low": 1, "high": 8, "log": False}
    assert set(space) <= set(paths(experiment))


@pytest.mark.parametrize(
    ("text", "value"), [("8", 8), ("true", True), ("True", True), ("None", None), ("[1, 2]", [1, 2]), ("l1", "l1"), (3, 3)]
)
def test_values_from_a_shell(text, value):
    assert read_value(text) == value


def test_options_that_say_nothing_beside_the_others_settle_at_their_default():
    sparse = validated(Experiment, {"model": {"name": "haemsa", "router": "top_k", "k": 3, "fusion_k": 4}})
    assert settled(sparse).model.k == 3
    assert settled(sparse).model.fusion_k == 2
    assert settled(override(sparse, {"model.router": "soft"})) == settled(override(sparse, {"model.router": "soft", "model.k": 1}))
    assert settled(Experiment()) == Experiment()
