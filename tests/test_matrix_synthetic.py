"""Does every model work with every table and view, on the built-in data?"""

import pytest
from matrix import check_protocols, check_tables_and_views, trained

from msaviz.catalog import MODELS


@pytest.fixture(scope="module", params=list(MODELS))
def run(request, tmp_path_factory):
    return trained(request.param, "synthetic", tmp_path_factory.mktemp("matrix"))


def test_tables_and_views(run):
    check_tables_and_views(run)


def test_protocols_have_every_metric_beside_its_floor(run):
    check_protocols(run)
