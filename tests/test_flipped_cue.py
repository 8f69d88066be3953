"""Does MIDG hold up in a domain where a cue that ERM leans on is turned round? (minutes long)"""

import pytest
from flipped_cue import measured

pytestmark = pytest.mark.slow


def test_midg_keeps_its_accuracy_where_erm_loses_it(tmp_path):
    found = measured(rows=3000, seeds=1, workers=1, out=tmp_path, objectives=["erm"])
    accuracy = {}
    for name, one in found.items():
        rows = one.frame[(one.frame["target"] == "game") & (one.frame["metric"] == "acc2_negpos")]
        accuracy[name] = float(rows["mean"].iloc[0])
    assert accuracy["MIDG"] > accuracy["early fusion"] + 0.1
    assert accuracy["MIDG"] > accuracy["MIDG, nothing invariant"] + 0.1
