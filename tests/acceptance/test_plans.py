"""A treatment plan after diagnosis jobs, over HTTP: it waits, names what it used, and refuses diagnoses that are none."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.acceptance import cases
from tests.acceptance.calls import Job, actions, assert_problem, ended, job_of, scored, submit
from tests.acceptance.stack import Stack

PLAN = "treatment-plan-recommender"
XRAY = "pneumonia-xray-28"
LATER = "2099-01-01T00:00:00Z"
PATIENT: dict[str, Any] = {
    "age": 66.0,
    "sex": "male",
    "drugs": ["norepinephrine", "propofol"],
    "allergies": ["penicillin"],
    "diagnoses": ["A41.9"],
}


@pytest.fixture(scope="module")
def http(stack: Stack) -> Iterator[httpx.Client]:
    with stack.client(stack.new_key("plans")) as client:
        yield client


def xray(label: str | None) -> Job:
    """An X-ray whose known answer is this label; None: the model abstains."""
    return next(
        {"model": XRAY, "input": each["input"]}
        for each in cases.golden_cases(XRAY)
        if each["expected"]["label"] == label
    )


def body(*diagnoses: str, **fields: Any) -> Job:
    names = ("diagnosis", "diagnosis_2", "diagnosis_3", "diagnosis_4")
    jobs = {name: {"job": each} for name, each in zip(names, diagnoses, strict=False)}
    return {"model": PLAN, "input": {**jobs, **PATIENT, **fields}}


def test_a_plan_waits_for_its_diagnosis_and_names_everything_that_it_used(http: httpx.Client) -> None:
    diagnosis = submit(http, xray("pneumonia"))
    accepted = submit(http, body(diagnosis["id"]))
    assert (accepted["state"], accepted["after"]) == ("waiting", [diagnosis["id"]])
    job = ended(http, accepted["id"])
    assert job["state"] == "succeeded", job
    first = ended(http, diagnosis["id"])
    [read] = job["result"]["diagnoses"]
    assert (read["job"], read["model"], read["model_version"]) == (first["id"], XRAY, first["model_version"])
    assert read["model_digest"] == first["model_digest"]
    assert (read["code"], read["used_by"]) == (
        first["result"]["code"],
        ["interventions", "drugs", "services"],
    )
    made_of = {each["section"]: each["model"] for each in job["result"]["made_of"]}
    assert made_of == {
        "drugs": "medication-recommender",
        "services": "care-service-recommender",
        "advice": "health-advice-recommender",
    }
    assert "pulmonology" in {item["id"] for item in job["result"]["services"]["items"]}
    removed = {each["display"]: each["against"] for each in job["result"]["drugs"]["removed"]}
    assert removed["Piperacillin / tazobactam"] == "penicillin"
    assert job["result"]["interventions"]["items"]
    assert job["result"]["advice"]["reviewed_by"] is None
    assert actions(http, job["id"])[:3] == ["job.submitted", "job.ready", "job.claimed"]


def test_several_diagnoses_and_one_that_is_no_condition_make_one_plan(http: httpx.Client) -> None:
    heart = {"model": "heart-disease-cleveland", "input": next(
        each["input"] for each in cases.golden_cases("heart-disease-cleveland") if each["expected"]["label"] == "disease"
    )}  # fmt: skip
    ids = [submit(http, each)["id"] for each in (xray("normal"), heart)]
    result = scored(http, body(*ids, diagnoses=[]))["result"]
    assert [each["job"] for each in result["diagnoses"]] == ids
    normal, coronary = result["diagnoses"]
    assert normal["used_by"] == []
    assert "no conditions from codes of" in normal["unrecognised"]
    assert coronary["used_by"] == ["interventions", "drugs", "services", "advice"]
    assert result["abstained"] is False


def test_a_plan_without_a_condition_abstains(http: httpx.Client) -> None:
    result = scored(http, body(submit(http, xray("normal"))["id"], diagnoses=[]))["result"]
    assert result["abstained"] is True
    assert result["drugs"] is None


def test_a_canceled_diagnosis_fails_its_plan_and_is_refused_afterwards(http: httpx.Client) -> None:
    diagnosis = submit(http, xray("pneumonia") | {"not_before": LATER})["id"]
    waiting = submit(http, body(diagnosis))["id"]
    assert job_of(http.post(f"/v1/jobs/{diagnosis}/cancel"))["state"] == "canceled"
    failed = ended(http, waiting)
    assert (failed["state"], failed["problem"]["code"]) == ("failed", "predecessor_failed")
    assert diagnosis in failed["problem"]["detail"]
    assert _refusal(http, body(diagnosis)) == [("/input/diagnosis/job", "predecessor_unfit")]


def test_an_abstained_diagnosis_fails_its_plan_and_is_refused_afterwards(
    http: httpx.Client, stack: Stack
) -> None:
    with stack.workers_paused():  # or it may have abstained before the plan is submitted
        diagnosis = submit(http, xray(None))["id"]
        plan = submit(http, body(diagnosis))["id"]
    failed = ended(http, plan)
    assert (failed["state"], failed["problem"]["code"]) == ("failed", "predecessor_failed")
    assert "abstained" in failed["problem"]["detail"]
    assert _refusal(http, body(diagnosis)) == [("/input/diagnosis/job", "predecessor_unfit")]


def test_a_failed_diagnosis_fails_its_plan(http: httpx.Client) -> None:
    """The diagnosis waits for a job that is canceled, and so fails itself."""
    first = submit(http, xray("normal") | {"not_before": LATER})["id"]
    diagnosis = submit(http, xray("pneumonia") | {"after": [first]})["id"]
    plan = submit(http, body(diagnosis))["id"]
    http.post(f"/v1/jobs/{first}/cancel")
    assert ended(http, diagnosis)["state"] == "failed"
    failed = ended(http, plan)
    assert failed["problem"]["code"] == "predecessor_failed"
    assert diagnosis in failed["problem"]["detail"]


@pytest.mark.parametrize(
    "model", ["medication-recommender", "diabetes-progression", "nuclei-segmentation", "ecg-beats"]
)
def test_a_job_that_is_no_diagnosis_of_a_classifier_is_refused_at_submit(
    http: httpx.Client, model: str
) -> None:
    other = submit(http, {"model": model, "input": cases.golden_cases(model)[0]["input"]})["id"]
    assert _refusal(http, body(other)) == [("/input/diagnosis/job", "result_unfit")]
    good = submit(http, xray("pneumonia"))["id"]
    assert _refusal(http, body(good, other)) == [("/input/diagnosis_2/job", "result_unfit")]


@pytest.mark.parametrize("subject", ["patient-A", "patient-B", None])
def test_diagnoses_of_two_patients_make_no_plan(http: httpx.Client, subject: str | None) -> None:
    diagnoses = [submit(http, xray("pneumonia") | {"subject": f"patient-{each}"})["id"] for each in "AB"]
    wrong = "diagnosis" if subject == "patient-B" else "diagnosis_2"
    assert _refusal(http, body(*diagnoses) | {"subject": subject}) == [
        (f"/input/{wrong}/job", "other_subject")
    ]


def test_a_plan_names_a_diagnosis_job_or_is_refused(http: httpx.Client) -> None:
    diagnosis = submit(http, xray("pneumonia"))["id"]
    wanted = body() | {"after": [diagnosis]}
    error = assert_problem(http.post("/v1/jobs", json=wanted), 422, "input_invalid")["errors"][0]
    assert (error["pointer"], error["code"]) == ("/input/diagnosis", "missing_field")
    unknown = body("01a20178-34e2-71dd-924c-9e5807b634d9")
    assert _refusal(http, unknown) == [("/input/diagnosis/job", "job_not_found")]


def _refusal(http: httpx.Client, wanted: Job) -> list[tuple[str, str]]:
    problem = assert_problem(http.post("/v1/jobs", json=wanted), 422, "after_unsuitable")
    return [(each["pointer"], each["code"]) for each in problem["errors"]]
