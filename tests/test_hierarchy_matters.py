"""Does an ingredient of HAEMSA that was planted as the solution matter? (minutes long)"""

import pytest
from hierarchy_matters import PROBLEMS, distraction, evolved, measured

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("problem", "without", "factor"),
    [("trust", "flat mixture", 1.05), ("parts", "no transfer to parts", 1.1), ("few labels", "single task", 1.05)],
)
def test_without_its_ingredient_the_error_is_larger(problem, without, factor):
    frame = measured(problem, seeds=2).groupby("model")[["complete", "mean", "constant"]].mean()
    subject = PROBLEMS[problem].subject
    assert frame.loc[without, subject] > factor * frame.loc["haemsa", subject]
    assert frame.loc["haemsa", subject] < 0.7 * frame.loc["haemsa", "constant"]


def test_evolution_finds_what_the_default_genome_lacks(tmp_path):
    assert set(distraction(0)) >= {"y_train", "text_valid", "vision_test"}
    frame = evolved(1, 15, tmp_path).set_index("model")
    assert frame.loc["nsga2", "mean"] < frame.loc["default", "mean"]
