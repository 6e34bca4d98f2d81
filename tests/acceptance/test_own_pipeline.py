"""A pipeline of somebody's own package, as docs/models.md shows it: one file, and all that medqueue does for a model works."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from tests.acceptance import cases, nights
from tests.acceptance.calls import assert_problem, job_of, scored
from tests.acceptance.own_pipeline import TEXTS, expected, write_bundle
from tests.acceptance.packaged import PackagedModel

NAME = "report-urgency"
FOREIGN = {"model_digest", "runtime", "provider"}  # what every result has beside the pipeline's


@pytest.fixture(scope="module")
def http(clinic: PackagedModel) -> Iterator[httpx.Client]:
    with clinic.stack.client() as client:
        yield client


def body(text: str = TEXTS[0], **fields: Any) -> dict[str, Any]:
    return {"model": NAME, "input": {"text": text}, **fields}


def own(result: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in result.items() if key not in FOREIGN}


def agree(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    rest = {key: value for key, value in wanted.items() if key != "score"}
    return bool(
        {key: found[key] for key in rest} == rest
        and found["score"] == pytest.approx(wanted["score"], abs=1e-5)
    )


@pytest.mark.parametrize("text", TEXTS)
def test_a_job_is_answered_as_a_bare_run_of_both_graphs_answers(text: str, http: httpx.Client) -> None:
    job = scored(http, body(text))
    assert agree(own(job["result"]), expected(text))


def test_the_catalogue_tells_its_schemas(http: httpx.Client) -> None:
    model = job_of(http.get(f"/v1/models/{NAME}"))
    assert (model["task"], model["problem"], model["labels"]) == ("report-triage", None, [])
    text = model["input_schema"]["properties"]["text"]
    assert (text["title"], text["maxLength"]) == ("Report", 500)
    assert model["options_schema"]["properties"]["top"]["maximum"] == 10
    [example] = model["input_schema"]["examples"]
    jsonschema.validate(own(scored(http, body() | {"input": example})["result"]), model["result_schema"])


@pytest.mark.parametrize(
    ("given", "pointer", "code"),
    [
        ({}, "/input/text", "missing_field"),
        ({"text": 3}, "/input/text", "wrong_type"),
        ({"text": "x" * 501}, "/input/text", "too_long"),
        ({"text": "pain", "age": 121}, "/input/age", "out_of_range"),
        ({"text": "pain", "Text": "pain"}, "/input/Text", "unknown_field"),
        ({"text": "unheard"}, "/input/text", "no_known_word"),
        ("pain", "/input", "not_an_object"),
    ],
)
def test_a_wrong_input_is_refused_where_it_is_wrong(
    given: Any, pointer: str, code: str, http: httpx.Client
) -> None:
    problem = assert_problem(http.post("/v1/jobs", json=body() | {"input": given}), 422, "input_invalid")
    [error] = problem["errors"]
    assert (error["pointer"], error["code"]) == (pointer, code)
    assert "unheard" not in problem["detail"] + error["detail"]


def test_a_job_chooses_by_options_that_are_checked(http: httpx.Client) -> None:
    assert own(scored(http, body(options={"top": 3}))["result"])["ranked"] == expected(TEXTS[0], 3)["ranked"]
    for options, pointer, code in (
        ({"top": 11}, "/options/top", "out_of_range"),
        ({"tip": 1}, "/options/tip", "unknown_option"),
    ):
        answer = http.post("/v1/jobs", json=body(options=options))
        [error] = assert_problem(answer, 422, "input_invalid")["errors"]
        assert (error["pointer"], error["code"]) == (pointer, code)


def test_an_explanation_is_refused_by_name(http: httpx.Client) -> None:
    answer = http.post("/v1/jobs", json=body(explain=True))
    [error] = assert_problem(answer, 422, "input_invalid")["errors"]
    assert (error["pointer"], error["code"]) == ("/explain", "explain_unsupported")


def test_the_command_line_submits_and_shows_it(clinic: PackagedModel) -> None:
    (clinic.folder / "report.json").write_text(json.dumps({"text": TEXTS[1], "age": 61}))
    submitted = clinic.medqueue("submit", "report.json", "--model", NAME)
    assert expected(TEXTS[1])["urgency"] in submitted
    assert NAME in clinic.medqueue("models", "list")
    shown = clinic.medqueue("models", "show", NAME)
    assert "age   Age [0 to 120 a] (optional)" in shown
    assert "top  How many labels are ranked [1 to 10, default 2]" in shown
    assert json.loads(clinic.medqueue("models", "show", NAME, "--example")) == {"text": "acute chest pain"}


@pytest.mark.parametrize("form", ["ndjson", "csv"])
def test_a_batch_is_scored_row_by_row_like_jobs(form: str, http: httpx.Client) -> None:
    rows: list[nights.Row] = [{"case": f"c-{row}", "text": text, "age": 50} for row, text in enumerate(TEXTS)]
    rows.insert(2, {"case": "bad", "text": "unheard of", "age": 500})
    content = nights.as_csv(rows) if form == "csv" else nights.as_ndjson(rows)
    batch = nights.completed(http, content, form, model=NAME, id_column="case", output={"format": "ndjson"})
    assert batch["counts"] == {"total": 6, "succeeded": 5, "failed": 1, "remaining": 0}
    for line, text in zip(nights.lines(http, batch), TEXTS, strict=True):
        wanted = {key: value for key, value in expected(text).items() if key != "type"}
        assert agree(line, wanted)
    errors = nights.lines(http, batch, "errors")
    assert {(line["case"], line["column"], line["code"]) for line in errors} == {
        ("bad", "age", "out_of_range")
    }


def test_a_check_tells_of_a_missing_package_or_side_file(clinic: PackagedModel, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    assert "side_file_missing" not in clinic.faults(bundle)
    (bundle / "vocabulary.json").unlink()
    assert clinic.faults(bundle)["side_file_missing"]["place"] == "manifest.toml: parameters.vocabulary"
    assert "'report-triage'" in clinic.faults(bundle, installed=False)["unknown_pipeline"]["detail"]


def test_a_package_that_broke_stops_its_own_model_alone(clinic: PackagedModel) -> None:
    clinic.stack.stop()
    module = clinic.site / "report_triage.py"
    source = module.read_text()
    module.write_text("raise RuntimeError('broken by an update')")
    try:
        clinic.stack.start()
        with clinic.stack.client() as http:
            assert_problem(http.post("/v1/jobs", json=body()), 503, "model_unavailable")
            listed = {model["name"]: model["problem"] for model in http.get("/v1/models").json()["items"]}
            assert listed.pop(NAME)["code"] == "model_unavailable"
            assert set(listed.values()) == {None}
            assert scored(http, cases.submission())["state"] == "succeeded"
        fault = clinic.faults(clinic.folder / "bundle")["pipeline_unavailable"]
        assert "the package report-triage 1.0.0 provides 'report-triage'" in fault["detail"]
        assert "RuntimeError: broken by an update" in fault["detail"]
    finally:
        module.write_text(source)
