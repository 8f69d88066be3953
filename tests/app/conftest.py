"""Runs for the tests of the app: two seeds of one model, and another model that has no experts."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_runs import trained


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return {
        "derl": trained(folder, "derl-0", log_test=True),
        "again": trained(folder, "derl-1", seed=1, log_test=True),
        "plain": trained(folder, "plain", model="early_fusion", log_test=True),
    }
