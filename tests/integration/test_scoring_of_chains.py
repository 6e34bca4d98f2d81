"""Chains of jobs as a worker scores them: each goes on from an answer, and from nothing else."""

import json
from pathlib import Path

import pytest

from models.bundle import renew_golden, seal_bundle
from models.sandbox import CpuRun
from service.catalog import Catalog, PublishedModel, publishing
from service.jobs import submission
from service.jobs.submission import NewJob
from tests.integration.workbench import AGE, Workbench
from tests.unit.models.example_bundles import manifest_table, toml, write_bundle

SURE, UNSURE = 50.0, 12.0  # probabilities of 0.98 and 0.5


@pytest.fixture
def cautious(bench: Workbench, tmp_path: Path) -> PublishedModel:
    """The small model, which abstains where it is not sure."""
    folder = write_bundle(tmp_path / "cautious")
    table = manifest_table(abstain={"lower": 0.4, "upper": 0.6, "reason": "not sure"}) | {"name": "cautious"}
    (folder / "manifest.toml").write_text(toml(table))
    golden = json.loads((folder / "golden.json").read_text())
    (folder / "golden.json").write_text(
        json.dumps({"cases": golden["cases"][1:]})
    )  # for nothing but zeros it answers NaN
    renew_golden(folder, CpuRun())
    with bench.database.transaction() as work:
        publishing.publish(work, bench.blobs, seal_bundle(folder), actor="test")
    return Catalog(bench.database, cache_s=0).resolve("cautious")


@pytest.mark.parametrize(
    ("dose", "states"), [(SURE, ["succeeded", "succeeded"]), (UNSURE, ["succeeded", "failed"])]
)
def test_a_job_goes_on_from_an_answer_and_not_from_an_abstention(
    bench: Workbench, cautious: PublishedModel, dose: float, states: list[str]
) -> None:
    payload = cautious.encode({"dose": dose, "age": AGE})
    with bench.database.statement() as work:
        (first,) = submission.submit(work, [NewJob(bench.caller, cautious, payload=payload)])
    follower = NewJob(bench.caller, cautious, payload=payload, after=[first.id])
    with bench.database.transaction() as work:
        (second,) = submission.submit_after(work, [follower])
    for _ in range(2):
        bench.scorer.score(cautious.id)
        bench.write_back.wait()
    ids = [first.id, second.id]  # type: ignore[union-attr]
    assert [bench.view(job_id).state.value for job_id in ids] == states
