"""Do attributions of a trained DERL point at the steps that were planted to tell the label? (minutes long)"""

import pytest
from attribution_truth import facts, over_seeds, trained

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    frame = facts(trained(tmp_path_factory.mktemp("truth") / "derl"), ("integrated_gradients", "feature_ablation"))
    return frame.assign(model="derl", seed=0)


@pytest.mark.parametrize("method", ["integrated_gradients", "feature_ablation"])
def test_the_largest_step_is_planted_evidence(found, method):
    row = found.query("method == @method and fact == 'pointing' and modality == 'all'").iloc[0]
    assert row.value > row.control + 0.2
    assert row.low > row.control


@pytest.mark.parametrize("method", ["integrated_gradients", "feature_ablation"])
@pytest.mark.parametrize("kind", ["deletion", "insertion"])
def test_the_order_of_the_steps_beats_a_random_one(found, method, kind):
    row = found.query("method == @method and fact == @kind + ' gain'").iloc[0]
    assert row.low > 0


def test_what_adds_up_adds_up(found):
    value = found.query("modality == 'all'").set_index(["method", "fact"])["value"]
    assert value["integrated_gradients", "relative gap (median)"] < 0.01
    assert value["modality_shapley", "gap (largest)"] < 1e-4


def test_one_seed_is_its_own_mean(found):
    mean = over_seeds(found)
    assert len(mean) == len(found)
    assert (mean["seeds"] == 1).all()
