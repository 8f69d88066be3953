"""Does a file's name become a name, and does a real installed plug-in join in?"""

import json
import shutil
import subprocess
import sys

import pytest
from places import ROOT

from msaviz.catalog import DATASETS, MODELS, OBJECTIVES, TABLES, VIEWS, UnknownName


def test_file_names_are_names_and_need_no_import():
    code = "import sys; from msaviz.catalog import MODELS as M; print(list(M), M.describe('derl')); assert 'torch' not in sys.modules"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert "derl" in out
    assert "early_fusion" in out


@pytest.mark.parametrize("catalog", [DATASETS, MODELS, OBJECTIVES, TABLES, VIEWS], ids=lambda c: c.kind)
def test_everything_listed_loads_and_has_a_question(catalog):
    assert len(catalog) == len(list(catalog)) > 0
    for name in catalog:
        assert catalog[name] is not None
        assert len(catalog.describe(name)) > 10


def test_an_unknown_name_is_a_plain_sentence():
    with pytest.raises(UnknownName) as error:
        MODELS["nope"]
    assert str(error.value).startswith("no model is called 'nope'; these exist: ")


def test_a_plug_in_is_found_trained_and_drawn(tmp_path):
    """tests/plugin is installed for real (pip, into a folder of its own), then used by name in a fresh process."""
    source = shutil.copytree(ROOT / "tests" / "plugin", tmp_path / "plugin")
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", str(site), str(source)]
    done = subprocess.run(pip, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (tmp_path / "numbers.tinyline").write_text("\n".join(str(x / 10) for x in range(-30, 30)))
    code = f"""
import json, sys
sys.path.insert(0, {str(site)!r})
import msaviz
from msaviz import MODELS, TABLES, VIEWS, DATASETS, Experiment, override, train
experiment = Experiment(model="tiny_mean", data={str(tmp_path / "numbers.tinyline")!r})
run = train(override(experiment, {{"train.epochs": 2}}), {str(tmp_path / "run")!r}, progress=False)
frame = TABLES["tiny_bias"](run.observe("test"))
print(json.dumps([run.model_name, "tiny_line" in DATASETS, MODELS.describe("tiny_mean"), len(VIEWS["tiny_bias"](frame).data)]))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert out.returncode == 0, out.stderr
    assert json.loads(out.stdout) == ["tiny_mean", True, "Tiny mean: what does one linear layer on the mean of every modality predict?", 1]
