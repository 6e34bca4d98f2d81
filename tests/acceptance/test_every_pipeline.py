"""Every pipeline through the running service: a file of unlike inputs is answered as single jobs are, however it is written."""

import csv
import io
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from models.pipelines.registry import registered_pipelines
from tests.acceptance import nights
from tests.acceptance.calls import Job, scored
from tests.acceptance.kinds_of_input import CASES, CsvCell, KindCase, assert_same
from tests.acceptance.made_models import MADE
from tests.acceptance.stack import Stack

FILES = [(case, form) for cases in CASES.values() for case in cases for form in case.forms]


@dataclass(frozen=True)
class Clinic:
    """A tenant, its batches by model and form, and the results of single jobs by model, once they are known."""

    http: httpx.Client
    batches: dict[tuple[str, str], str]
    results: dict[str, list[Job]] = field(default_factory=dict)


@pytest.fixture(scope="module")
def clinic(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    """Every file as a batch, with the models that are made up for them. Some are scored while others are compared."""
    folder = tmp_path_factory.mktemp("made")
    for name, write in MADE.items():
        write(folder / name)
        stack.publish(folder / name, seal=False)
    with stack.client(stack.new_key("every pipeline")) as http:
        yield Clinic(http, {(case.model, form): _opened(http, case, form)["id"] for case, form in FILES})


def test_every_pipeline_has_a_case() -> None:
    assert sorted(CASES) == registered_pipelines(), "add a line to CASES in kinds_of_input"


@pytest.mark.parametrize(("case", "form"), FILES, ids=[f"{case.model}-{form}" for case, form in FILES])
def test_a_file_is_answered_as_single_jobs_are(case: KindCase, form: str, clinic: Clinic) -> None:
    results = clinic.results.get(case.model) or _one_by_one(clinic.http, case)
    clinic.results[case.model] = results
    batch_id = clinic.batches[case.model, form]
    batch = nights.reached(
        clinic.http, batch_id, "completed", within_s=180
    )  # all models are loaded on the way
    assert batch["counts"]["succeeded"] == len(results), nights.lines(clinic.http, batch, "errors")
    lines = _csv_lines(clinic.http, batch) if form == "csv" else nights.lines(clinic.http, batch)
    names = [line.get("case", line.get("file")) for line in lines]
    assert names == [f"c-{row}" for row in range(len(results))]
    for line, result in zip(lines, results, strict=True):
        assert_same(line, result)


def _opened(http: httpx.Client, case: KindCase, form: str) -> Job:
    return nights.opened(
        http,
        case.file(form),
        form,
        model=case.model,
        options=case.options,
        output={"format": "csv" if form == "csv" else "ndjson"},
        **({} if form == "zip" else {"id_column": "case"}),
    )


def _one_by_one(http: httpx.Client, case: KindCase) -> list[Job]:
    """The results of jobs, each of which is scored before the next one is submitted: no run holds two of them."""
    bodies = [{"model": case.model, "input": each, "options": case.options} for each in case.inputs()]
    return [scored(http, body)["result"] for body in bodies]


def _csv_lines(http: httpx.Client, batch: Job) -> list[dict[str, Any]]:
    """The rows of results in CSV; lists and objects stand in their cells as JSON."""
    text = nights.download(http, batch).decode("utf-8-sig")
    return [{name: _cell(cell) for name, cell in row.items()} for row in csv.DictReader(io.StringIO(text))]


def _cell(text: str) -> Any:
    if text.startswith(("[", "{")):
        with suppress(ValueError):  # a molecule may be written so, too
            return json.loads(text)
    return CsvCell(text) if text else None
