"""Jobs of a model without a graph: scored like any other, and their results say that no graph ran."""

from pathlib import Path
from uuid import UUID

import pytest

from models.bundle import read_bundle
from service.catalog import Catalog, PublishedModel, publishing
from service.jobs import submission
from service.jobs.submission import NewJob
from tests.integration.workbench import Workbench
from tests.unit.models.example_rules import NAME, write_rules


@pytest.fixture
def rules(bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PublishedModel:
    monkeypatch.syspath_prepend(tmp_path)
    folder = write_rules(tmp_path / NAME, tmp_path)
    with bench.database.transaction() as work:
        publishing.publish(work, bench.blobs, read_bundle(folder), actor="test")
    return Catalog(bench.database, cache_s=0, blobs=bench.blobs).resolve(NAME)


def submitted(bench: Workbench, model: PublishedModel, dose: float) -> UUID:
    job = NewJob(bench.caller, model, payload=model.encode({"dose": dose, "age": 40.0}))
    with bench.database.statement() as work:
        return submission.submit(work, [job])[0].id


def test_a_result_of_rules_says_that_no_graph_ran(bench: Workbench, rules: PublishedModel) -> None:
    ids = [submitted(bench, rules, dose) for dose in (5.0, 15.0)]
    bench.scorer.score(rules.id)
    bench.write_back.wait()
    assert bench.outcomes(ids) == ["succeeded", "succeeded"]
    results = [bench.view(job_id).result for job_id in ids]
    assert [result and result.content["too_high"] for result in results] == [False, True]
    assert {(result.runtime, result.provider) for result in results if result} == {("rules", "none")}
    told = bench.rows("SELECT detail->>'provider' FROM audit_event WHERE action = 'job.succeeded'")
    assert told == [("none",), ("none",)]
    assert bench.graph.batch_sizes == []
