"""Does the inspection count what is there?"""

import json

import numpy as np

from msaviz.data.dataset import Dataset
from msaviz.data.inspect import inspect


def test_numbers_against_a_dataset_made_by_hand():
    speech = [np.ones((n, 5)) for n in (1, 2, 3, 4, 6, 2)]
    speech[5][0, 0], speech[5][1, :2], speech[0][:] = np.nan, -np.inf, 0
    data = Dataset.from_arrays(
        audio=[None, *speech[1:]],
        gaze=speech,
        y=np.array([-3, 0, 0.1, 3, np.nan, 1]),
        splits=["train"] * 5 + ["test"],
        domain=["a", "b", "a", "a", "a", "b"],
        texts=["x", "", "", "", "", "y"],
    )
    seen = inspect(data)
    assert seen.splits.to_dict("list") == {"split": ["train", "test"], "rows": [5, 1], "complete": [0.8, 1.0], "transcripts": [0.2, 1.0]}
    audio = seen.modalities.query("modality == 'audio'").set_index("split")
    assert audio.loc["train", "missing"] == 0.2
    assert audio.loc["train", ["steps_min", "steps_median", "steps_max"]].tolist() == [2, 3.5, 6]
    assert audio.loc["test", ["nan", "inf"]].tolist() == [1, 2]
    gaze = seen.modalities.query("modality == 'gaze' and split == 'train'").iloc[0]
    assert gaze["zero"] == 1 / 16
    counts = seen.labels.query("split == 'train'").set_index("value")["rows"]
    assert counts[counts > 0].to_dict() == {"-3": 1, "0": 2, "3": 1}
    domains = seen.domains.set_index(["split", "domain"])
    assert domains["rows"].to_dict() == {("train", "a"): 4, ("train", "b"): 1, ("test", "a"): 0, ("test", "b"): 1}
    assert abs(domains.loc[("train", "a"), "label"] - 0.1 / 3) < 1e-6
    assert seen.notes == ("audio (5): usually columns 1, 3, 6, 25, 60 of COVAREP's 74.",)
    assert any("6 of 170 values" in t or "3 of 85 values" in t for t in seen.traps)


def test_it_reads_well_and_fits_into_json():
    seen = inspect("synthetic:rows=200,missing=.3")
    facts = json.loads(json.dumps(seen.to_dict(), allow_nan=False))
    assert facts["source"] == "synthetic:rows=200,missing=.3"
    assert sum(row["rows"] for row in facts["splits"]) == 200
    assert facts["tasks"]["emotion"]["classes"] == ["angry", "happy", "neutral", "sad"]
    text = str(seen)
    for expected in ("train", "vision", "sentiment (-3 to 3)", "film", "missing", "No traps found."):
        assert expected in text
