"""Do the real files of the field train, evaluate and report, text really missing in MMMO's train split included? (minutes long)"""

import numpy as np
import pytest

from msaviz import Experiment, evaluate, override, report, train

pytestmark = pytest.mark.slow
FILES = ("mmmo_seq.npz", "youtube_seq.npz", "mosi_dev_seq.npz")


def finish(source: str, folder, **changes):
    experiment = override(Experiment(model="derl", data=source), {"train.epochs": 2, "train.validation_rates": [0.0, 0.6], **changes})
    run = train(experiment, folder / "run", progress=False)
    frames = {p: evaluate(run, p, rates=(0.0, 0.5, 0.9), progress=False) for p in ("clean", "missing", "subsets")}
    for protocol, frame in frames.items():
        assert np.isfinite(frame["value"]).all(), protocol
    page = report([run], folder / "report.html")
    assert page.stat().st_size < 9e6
    why = run.attribute("test", limit=16, progress=False)
    assert np.abs(why.gap).max() < 1e-3 + 0.01 * np.abs(why.explained - why.reference).max()
    assert all(np.isfinite(steps.value).all() for steps in why.steps.values())
    return run, frames


@pytest.mark.parametrize("name", FILES)
def test_sequence_files(name, real_data, tmp_path):
    run, frames = finish(str(real_data / name), tmp_path)
    assert set(run.spec.modalities) == {"text", "audio", "vision"}
    subsets = set(frames["subsets"].subset) - {"mean", "area"}
    assert len(subsets) == 7
    if name == "mmmo_seq.npz":
        assert run.dataset["train"].lengths("text").max() == 0
        assert run.dataset["test"].lengths("text").max() > 0


def test_mosi_with_three_modalities(mosi, tmp_path):
    run, frames = finish(str(mosi / "mosi_bclstm.pkl"), tmp_path, **{"train.epochs": 1})
    assert set(run.spec.modalities) == {"text", "audio", "vision"}
    clean = frames["clean"].set_index("metric")
    assert clean.value["mae"] < clean.floor["mae"], "one epoch on frozen text already beats the train median"
