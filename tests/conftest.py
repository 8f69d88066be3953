"""What all tests share: shapes are checked, caches are private, real data are found or the test skips."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from jaxtyping import install_import_hook
from places import ROOT

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
_hook = install_import_hook("msaviz.nn", "beartype.beartype")  # shapes in signatures are checked under pytest only


@pytest.fixture(autouse=True)
def _private_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("MSAVIZ_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    folder = Path(os.environ.get("MSAVIZ_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder} (set MSAVIZ_DATA)")
    return folder


@pytest.fixture(scope="session")
def mosi(real_data, tmp_path_factory) -> Path:
    """Folder with mosi_standard.pkl and mosi_bclstm.pkl, expanded once per test session."""
    maker = real_data / "make_mosi.py"
    if not maker.exists():
        pytest.skip(f"no {maker}")
    folder = tmp_path_factory.mktemp("mosi")
    subprocess.run([sys.executable, str(maker), str(folder)], check=True, capture_output=True)
    return folder
