"""The graphs of a bundle in a worker: what a pipeline runs, by name."""

import pytest
from structlog.testing import capture_logs

from models.fitting import GraphUnknown
from workers.fitted import FittedGraphs


def test_a_graph_that_the_bundle_lacks_is_named_in_the_log_as_the_check_names_it() -> None:
    with capture_logs() as lines, pytest.raises(GraphUnknown) as raised:
        FittedGraphs({}, {}).run({}, "encoder")
    assert [(line["event"], line["reason"]) for line in lines] == [("graph_unknown", str(raised.value))]
    assert "the pipeline runs a graph 'encoder', but the bundle has" in str(raised.value)
