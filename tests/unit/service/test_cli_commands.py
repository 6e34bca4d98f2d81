"""The commands that speak to the API, against a small API in memory: what they send, show, and end with."""

import base64
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from models.pipelines.parts import Part, PartKind, part_schema
from service.cli import main
from service.cli.model_tables import example

ID = "0199f2f0-5b1e-7c70-8a3b-2f6f0c3f9d11"
KEY = "mq_0123456789ab_" + "s" * 43
FIRST_ID, SECOND_ID = "0199f2f0-5b1e-7c70-8a3b-2f6f0c3f9d11", "0199f2f0-5b1e-7c70-8a3b-2f6f0c3f9d12"
RESULT = {"type": "classification", "label": "benign", "display": "Benign", "probabilities": {"benign": 0.9}}
PROBLEM = {
    "code": "input_invalid",
    "detail": "The input does not fit the model.",
    "errors": [{"pointer": "/input/mean_radius", "code": "out_of_range", "detail": "between 0 and 57 mm"}],
}
Json = dict[str, Any]


def job(state: str = "succeeded", **fields: Any) -> Json:
    ended = state not in {"queued", "running"}
    return {
        "id": ID, "model": "m", "model_version": "1.0.0", "model_digest": "sha256:0", "kind": "diagnosis",
        "state": state, "priority": "routine", "created_at": "2026-11-22T04:00:00.000Z",
        "started_at": None, "finished_at": "2026-11-22T04:00:00.020Z" if ended else None, "deadline": None,
        "attempt": 1, "subject": None, "metadata": {}, **({"result": RESULT} if state == "succeeded" else {}), **fields,
    }  # fmt: skip


class Api:
    """Answers from a script: route -> answers in turn, the last one for ever. Remembers what was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, list[httpx.Response | Exception]] = {}
        self.asked: list[httpx.Request] = []

    def on(self, route: str, *answers: Json | Exception | httpx.Response, status: int = 200) -> None:
        self.answers[route] = [
            httpx.Response(status, json=answer) if isinstance(answer, dict) else answer for answer in answers
        ]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.asked.append(request)
        answers = self.answers[f"{request.method} {request.url.path}"]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        stream = httpx.ByteStream(
            answer.content
        )  # not read before the client does: it may want it piece by piece
        return httpx.Response(answer.status_code, headers=answer.headers, stream=stream)

    def body(self, index: int = 0) -> Json:
        parsed: Json = json.loads(self.asked[index].content)
        return parsed


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def medqueue(api: Api) -> Callable[..., int]:
    """Run a command against the API in memory."""

    def run(*words: str) -> int:
        return main([*words, "--url", "http://api.test", "--key", KEY], transport=httpx.MockTransport(api))

    return run


@pytest.fixture
def case(tmp_path: Path) -> str:
    path = tmp_path / "case.json"
    path.write_text('{"mean_radius": 13.5}')
    return str(path)


Run = Callable[..., int]
Captured = pytest.CaptureFixture[str]


def test_submit_sends_the_case_with_the_key_and_what_was_asked_for(
    api: Api, medqueue: Run, case: str
) -> None:
    api.on("POST /v1/jobs", job("queued"))
    words = (
        "--priority",
        "stat",
        "--subject",
        "pat-1",
        "--deadline",
        "2030-01-01T12:00:00+01:00",
        *("--not-before", "2029-01-01T12:00:00+01:00", "--after", FIRST_ID, "--after", SECOND_ID),
        *("--option", "top=3", "--option", "way=fast"),
        "--no-wait",
    )
    assert medqueue("submit", case, "--model", "m", *words) == 0
    assert api.body() == {
        "model": "m",
        "priority": "stat",
        "subject": "pat-1",
        "deadline": "2030-01-01T11:00:00+00:00",
        "not_before": "2029-01-01T11:00:00+00:00",
        "after": [FIRST_ID, SECOND_ID],
        "options": {"top": 3, "way": "fast"},
        "input": {"mean_radius": 13.5},
    }
    assert api.asked[0].headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("option", ["[]", "=3", "top"])
def test_an_option_that_names_no_value_is_a_usage_error(
    medqueue: Run, case: str, capsys: Captured, option: str
) -> None:
    assert medqueue("submit", case, "--model", "m", "--option", option) == 2
    assert "NAME=VALUE" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["submit", "batch submit", "batch schedules create"])
@pytest.mark.parametrize("second", ["top=1", "top=3"])
def test_an_option_of_a_model_that_is_given_twice_is_a_usage_error(
    api: Api, medqueue: Run, case: str, capsys: Captured, command: str, second: str
) -> None:
    given = ("--model", "m", "--option", "top=3", "--option", "way=fast", "--option", second)
    assert medqueue(*command.split(), case, *given) == 2
    assert "top is given twice: give each name once" in " ".join(capsys.readouterr().err.split())
    assert api.asked == []


def test_a_part_that_is_given_twice_is_a_usage_error(
    api: Api, medqueue: Run, case: str, capsys: Captured
) -> None:
    assert medqueue("submit", case, "--model", "m", "--part", f"ecg={case}", "--part", f"ecg={case}") == 2
    assert "ecg is given twice: give each name once" in " ".join(capsys.readouterr().err.split())
    assert api.asked == []


@pytest.mark.parametrize("given", ['{"upload_id": "u-1"}', '{"data": "AAE="}', "null"])
def test_a_part_that_the_input_holds_already_is_a_usage_error(
    api: Api, medqueue: Run, tmp_path: Path, capsys: Captured, given: str
) -> None:
    path = tmp_path / "case.json"
    path.write_text(f'{{"age": 61, "ecg": {given}}}')
    assert medqueue("submit", str(path), "--model", "m", "--part", f"ecg={path}") == 2
    assert "ecg is in FILE and given with --part" in " ".join(capsys.readouterr().err.split())
    assert api.asked == []


def test_a_part_takes_the_place_that_an_example_holds_for_it(api: Api, medqueue: Run, tmp_path: Path) -> None:
    path = tmp_path / "case.json"
    path.write_text(
        json.dumps(example({"properties": {"ecg": part_schema(Part(PartKind.FILE))}, "required": ["ecg"]}))
    )
    api.on("POST /v1/jobs", job("queued"))
    assert medqueue("submit", str(path), "--model", "m", "--no-wait", "--part", f"ecg={path}") == 0
    assert set(api.body()["input"]["ecg"]) == {"data"}


def test_a_job_that_waits_is_shown_with_what_it_waits_for(
    api: Api, medqueue: Run, case: str, capsys: Captured
) -> None:
    api.on("POST /v1/jobs", job("waiting") | {"after": [FIRST_ID], "not_before": "2029-01-01T11:00:00Z"})
    assert medqueue("submit", case, "--model", "m", "--no-wait") == 0
    shown = capsys.readouterr().out
    assert FIRST_ID in shown
    assert "2029-01-01" in shown


def test_submit_waits_for_the_result_and_shows_it(
    api: Api, medqueue: Run, case: str, capsys: Captured
) -> None:
    api.on("POST /v1/jobs", job("queued"))
    api.on(f"GET /v1/jobs/{ID}", job("succeeded"))
    assert medqueue("submit", case, "--model", "m", "--wait", "5") == 0
    assert api.asked[1].headers["Prefer"] in {"wait=4", "wait=5"}
    shown = capsys.readouterr().out
    assert "probabilities  benign 0.900\n" in shown
    assert "took           20 ms\n" in shown


@pytest.mark.parametrize("state", ["failed", "expired", "quarantined", "canceled"])
def test_a_job_that_does_not_succeed_ends_with_1(api: Api, medqueue: Run, case: str, state: str) -> None:
    api.on("POST /v1/jobs", job("queued"))
    api.on(f"GET /v1/jobs/{ID}", job(state))
    assert medqueue("submit", case, "--model", "m") == 1


def test_a_job_that_goes_on_after_the_wait_ends_with_6_and_says_how_to_see_it(
    api: Api, medqueue: Run, case: str, capsys: Captured
) -> None:
    api.on("POST /v1/jobs", job("queued"))
    api.on(f"GET /v1/jobs/{ID}", job("running"))
    assert medqueue("submit", case, "--model", "m", "--wait", "0.01") == 6
    assert f"medqueue jobs show {ID}" in capsys.readouterr().err


def test_a_refused_case_ends_with_4_and_names_code_and_field_on_stderr_alone(
    api: Api, medqueue: Run, case: str, capsys: Captured
) -> None:
    api.on("POST /v1/jobs", PROBLEM, status=422)
    assert medqueue("submit", case, "--model", "m", "--json") == 4
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err == (
        "error: The input does not fit the model. [input_invalid]\n"
        "  /input/mean_radius: between 0 and 57 mm [out_of_range]\n"
    )


def test_json_is_one_document_as_the_api_sent_it(
    api: Api, medqueue: Run, case: str, capsys: Captured
) -> None:
    api.on("POST /v1/jobs", job("queued"))
    api.on(f"GET /v1/jobs/{ID}", job("succeeded", news="of a later release"))
    assert medqueue("submit", case, "--model", "m", "--json") == 0
    assert json.loads(capsys.readouterr().out) == job("succeeded", news="of a later release")


def test_a_list_is_submitted_in_bulk_and_answered_in_order(
    api: Api, medqueue: Run, tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "ward.json").write_text('[{"a": 1}, {"a": 2}]')
    api.on("POST /v1/jobs/bulk", {"items": [job("queued"), PROBLEM]})
    api.on(f"GET /v1/jobs/{ID}", job("succeeded"))
    assert medqueue("submit", str(tmp_path / "ward.json"), "--model", "m") == 4
    assert [each["input"] for each in api.body()["jobs"]] == [{"a": 1}, {"a": 2}]
    shown = capsys.readouterr().out.splitlines()
    assert shown[1].split()[:2] == ["0", "succeeded"]
    assert shown[2].split()[:2] == ["1", "refused"]
    assert shown[-1] == "1 succeeded, 1 refused"


def test_more_than_a_thousand_cases_go_in_parts_each_under_its_own_idempotency_key(
    api: Api, medqueue: Run, tmp_path: Path
) -> None:
    (tmp_path / "ward.json").write_text(json.dumps([{"a": 1}] * 1001))
    api.on("POST /v1/jobs/bulk", {"items": [job("queued")] * 1000}, {"items": [job("queued")]})
    words = ("--model", "m", "--no-wait", "--idempotency-key", "k")
    assert medqueue("submit", str(tmp_path / "ward.json"), *words) == 0
    assert [len(api.body(index)["jobs"]) for index in (0, 1)] == [1000, 1]
    assert [request.headers["Idempotency-Key"] for request in api.asked] == ["k.0", "k.1"]


def test_a_small_image_travels_in_the_request(api: Api, medqueue: Run, tmp_path: Path) -> None:
    (tmp_path / "chest.png").write_bytes(b"\x89PNG...")
    api.on("POST /v1/jobs", job("queued"))
    assert medqueue("submit", str(tmp_path / "chest.png"), "--model", "m", "--no-wait") == 0
    assert base64.b64decode(api.body()["input"]["data"]) == b"\x89PNG..."


def test_a_large_file_is_uploaded_first(api: Api, medqueue: Run, tmp_path: Path) -> None:
    content = b"\x89" * (1024 * 1024 + 1)
    (tmp_path / "scan.dcm").write_bytes(content)
    api.on("POST /v1/uploads", {"id": "u-1", "size_bytes": len(content), "sha256": ""}, status=201)
    api.on("POST /v1/jobs", job("queued"))
    assert medqueue("submit", str(tmp_path / "scan.dcm"), "--model", "m", "--no-wait") == 0
    assert api.asked[0].content == content
    assert api.asked[0].headers["Content-Length"] == str(len(content))
    assert api.body(1)["input"] == {"upload_id": "u-1"}


def test_files_that_are_parts_of_an_input_go_with_it(
    api: Api, medqueue: Run, case: str, tmp_path: Path
) -> None:
    large = b"{" + b"x" * 1024 * 1024
    (tmp_path / "a=b.json").write_bytes(b"[1]")  # sent as it is, though it is JSON
    (tmp_path / "large").write_bytes(large)
    api.on("POST /v1/uploads", {"id": "u-1", "size_bytes": len(large), "sha256": ""}, status=201)
    api.on("POST /v1/jobs", job("queued"))
    parts = ("--part", f"note={tmp_path / 'a=b.json'}", "--part", f"scan={tmp_path / 'large'}")
    assert medqueue("submit", case, "--model", "m", "--no-wait", *parts) == 0
    assert api.asked[0].content == large
    assert api.body(1)["input"] == {
        "mean_radius": 13.5,
        "note": {"data": base64.b64encode(b"[1]").decode()},
        "scan": {"upload_id": "u-1"},
    }


@pytest.mark.parametrize(
    ("content", "part", "told"),
    [
        ('{"a": 1}', "scan", "NAME=PATH"),
        ('{"a": 1}', "=case", "NAME=PATH"),
        ('{"a": 1}', "scan=", "NAME=PATH"),
        ('{"a": 1}', "scan=/no/such/file", "cannot be read"),
        ('{"a": 1}', "scan=/dev/null", "a pipe or a device"),
        ('[{"a": 1}]', "scan={case}", "--part goes with one input"),
        ("7", "scan={case}", "--part goes with one input"),
        ("no JSON", "scan={case}", "--part goes with one input"),
    ],
)
def test_a_part_that_cannot_be_sent_is_a_usage_error(
    api: Api, medqueue: Run, tmp_path: Path, capsys: Captured, content: str, part: str, told: str
) -> None:
    path = tmp_path / ("case" if content == "no JSON" else "case.json")
    path.write_text(content)
    assert medqueue("submit", str(path), "--model", "m", "--part", part.format(case=path)) == 2
    assert told in " ".join(capsys.readouterr().err.split())
    assert api.asked == []


@pytest.mark.parametrize("size", [50, 2 * 1024 * 1024])  # within the request, and by an upload
@pytest.mark.parametrize("code", ["missing_field", "unknown_field"])
def test_a_file_that_is_not_json_is_told_so_where_fields_are_wanted(
    api: Api, medqueue: Run, tmp_path: Path, capsys: Captured, code: str, size: int
) -> None:
    path = tmp_path / "passwd"
    path.write_bytes(b"x" * size)
    fields = [{"pointer": f"/input/field_{n}", "code": code, "detail": "is missing"} for n in range(30)]
    problem = {"code": "input_invalid", "detail": "The input does not fit the model.", "errors": fields}
    api.on("POST /v1/uploads", {"id": ID})
    api.on("POST /v1/jobs", problem, status=422)
    assert medqueue("submit", str(path), "--model", "m") == 4
    told = capsys.readouterr().err
    assert f"{path} is not JSON" in told
    assert "medqueue models show m --example" in told
    assert "field_" not in told


@pytest.mark.parametrize(("name", "code"), [("case.json", "missing_field"), ("a.png", "not_an_image")])
def test_what_is_wrong_with_fields_of_json_or_with_an_image_is_told_as_it_is(
    api: Api, medqueue: Run, tmp_path: Path, capsys: Captured, name: str, code: str
) -> None:
    (tmp_path / name).write_text("{}")
    if name == "a.png":
        (tmp_path / name).write_bytes(b"\x89PNG")
    problem = {
        "code": "input_invalid",
        "detail": "No.",
        "errors": [{"pointer": "/input", "code": code, "detail": "Why."}],
    }
    api.on("POST /v1/jobs", problem, status=422)
    assert medqueue("submit", str(tmp_path / name), "--model", "m") == 4
    told = capsys.readouterr().err
    assert "/input: Why." in told
    assert "is not JSON" not in told


def test_a_dash_reads_stdin(api: Api, medqueue: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b' {"a": 1}')))
    api.on("POST /v1/jobs", job("queued"))
    assert medqueue("submit", "-", "--model", "m", "--no-wait") == 0
    assert api.body()["input"] == {"a": 1}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"a": 1', "is not JSON: EOF while parsing an object at line 1 column 7."),
        ('{"a": NaN}', "NaN and Infinity are not JSON numbers."),
        ("[]", "holds no case"),
        ("", "is not JSON"),
    ],
)
def test_a_bad_file_is_a_usage_error_that_is_found_before_anything_is_sent(
    api: Api, medqueue: Run, tmp_path: Path, capsys: Captured, content: str, reason: str
) -> None:
    (tmp_path / "case.json").write_text(content)
    assert medqueue("submit", str(tmp_path / "case.json"), "--model", "m") == 2
    assert reason in capsys.readouterr().err
    assert api.asked == []


def test_a_missing_file_is_a_usage_error(medqueue: Run, tmp_path: Path, capsys: Captured) -> None:
    assert medqueue("submit", str(tmp_path / "none.png"), "--model", "m") == 2
    assert "No such file" in capsys.readouterr().err


def test_a_request_whose_answer_was_lost_is_sent_once_more_under_the_same_key(
    api: Api, medqueue: Run, case: str
) -> None:
    api.on("POST /v1/jobs", httpx.ReadError("gone"), job("queued"))
    assert medqueue("submit", case, "--model", "m", "--no-wait") == 0
    first, second = api.asked
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]
    assert first.content == second.content


def test_an_answer_lost_twice_ends_with_3_and_says_how_to_repeat(
    api: Api, medqueue: Run, case: str, capsys: Captured
) -> None:
    api.on("POST /v1/jobs", httpx.ReadError("gone"))
    assert medqueue("submit", case, "--model", "m", "--idempotency-key", "k-7") == 3
    assert "--idempotency-key k-7" in capsys.readouterr().err


def test_jobs_are_listed_page_by_page_up_to_the_limit(api: Api, medqueue: Run, capsys: Captured) -> None:
    page = {"items": [job()] * 200, "next_cursor": "next"}
    api.on("GET /v1/jobs", page, {"items": [job()] * 50, "next_cursor": "more"})
    assert medqueue("jobs", "list", "--limit", "250", "--state", "succeeded", "--json") == 0
    asked = [parse_qs(request.url.query.decode()) for request in api.asked]
    assert asked[0] == {"state": ["succeeded"], "limit": ["200"]}
    assert asked[1] == {"state": ["succeeded"], "limit": ["50"], "cursor": ["next"]}
    assert len(json.loads(capsys.readouterr().out)["items"]) == 250


def test_the_whole_trail_of_a_job_is_shown(api: Api, medqueue: Run, capsys: Captured) -> None:
    event = {
        "id": ID, "action": "job.claimed", "occurred_at": "2026-11-22T04:00:00.123456Z", "actor": "worker:w1",
        "object": None, "detail": {"claim_size": 3}, "leaf": "00",
    }  # fmt: skip
    api.on(
        f"GET /v1/jobs/{ID}/events",
        {"items": [event], "next_cursor": "c"},
        {"items": [event | {"action": "job.succeeded", "detail": {}}], "next_cursor": None},
    )
    api.on(f"GET /v1/jobs/{ID}/delay", {"state": "succeeded", "code": None, "detail": None})
    assert medqueue("jobs", "events", ID) == 0
    _, first, second = capsys.readouterr().out.splitlines()
    assert first.split(maxsplit=4)[2:] == ["job.claimed", "worker:w1", "claim_size 3"]
    assert "job.succeeded" in second


def test_a_cancel_that_came_too_late_ends_with_1(api: Api, medqueue: Run, capsys: Captured) -> None:
    api.on(f"POST /v1/jobs/{ID}/cancel", job("canceled"), job("succeeded"))
    assert medqueue("jobs", "cancel", ID) == 0
    assert medqueue("jobs", "cancel", ID) == 1
    assert "had ended before" in capsys.readouterr().err


MODEL = {
    "name": "m", "title": "A model", "summary": "It answers.", "kind": "diagnosis", "task": "tabular-classification",
    "version": "1.0.0", "digest": "sha256:0", "license": "CC0-1.0",
    "input_schema": {
        "properties": {
            "age": {"title": "Age", "minimum": 0, "maximum": 120, "unit": "a", "examples": [61]},
            "smoker": {"title": "Smoker", "enum": ["never", "former"], "examples": ["never"]},
        },
        "required": ["age"],
    },
    "result_schema": {}, "labels": [{"id": "ill", "display": "Ill", "system": "urn:x", "code": "1"}],
    "metrics": {"auc": 0.99}, "aliases": {"stable": "1.0.0"}, "card": "# Card",
    "versions": [{"version": "1.0.0", "digest": "sha256:0", "published_at": "2026-11-22T04:00:00Z"}],
}  # fmt: skip


def test_a_model_is_shown_with_the_unit_and_range_of_each_input(
    api: Api, medqueue: Run, capsys: Captured
) -> None:
    api.on("GET /v1/models/m@1.0.0", MODEL)
    assert medqueue("models", "show", "m@1.0.0") == 0
    shown = capsys.readouterr().out
    assert "age     Age [0 to 120 a]\n" in shown
    assert "smoker  Smoker [never, former] (optional)\n" in shown
    assert "aliases   stable 1.0.0\n" in shown
    assert "ill  Ill (1, urn:x)\n" in shown


def test_a_model_is_shown_with_what_a_job_may_choose(api: Api, medqueue: Run, capsys: Captured) -> None:
    top = {"title": "How many labels", "minimum": 1, "maximum": 5}
    api.on("GET /v1/models/m", MODEL | {"options_schema": {"properties": {"top": top}}, "problem": None})
    assert medqueue("models", "show", "m") == 0
    assert "\nOptions\ntop  How many labels [1 to 5]\n" in capsys.readouterr().out


def test_a_model_is_shown_with_its_precision_and_that_of_each_version(
    api: Api, medqueue: Run, capsys: Captured
) -> None:
    version = {"version": "1.0.0", "digest": "sha256:0", "published_at": "2026-11-22T04:00:00Z"}
    versions = [version | {"version": "1.0.0-int8", "precision": "int8"}, version | {"precision": None}]
    api.on("GET /v1/models/m", MODEL | {"precision": "int8", "versions": versions})
    assert medqueue("models", "show", "m") == 0
    shown = capsys.readouterr().out
    assert "precision  int8\n" in shown
    assert "1.0.0-int8 in int8 of 2026" in shown
    assert "1.0.0 of 2026" in shown


def test_a_model_that_cannot_be_used_says_so_in_the_list_and_alone(
    api: Api, medqueue: Run, capsys: Captured
) -> None:
    problem = {"code": "model_unavailable", "detail": "Tell the operator."}
    unusable = MODEL | {"input_schema": {}, "result_schema": {}, "labels": [], "problem": problem}
    api.on("GET /v1/models", {"items": [unusable], "next_cursor": None})
    api.on("GET /v1/models/m", unusable)
    assert medqueue("models", "list") == 0
    assert "(cannot be used) A model" in capsys.readouterr().out
    assert medqueue("models", "show", "m") == 0
    shown = capsys.readouterr().out
    assert "detail  Tell the operator." in shown
    assert "Input" not in shown


def test_an_example_of_a_models_input_is_json_that_submit_takes(
    api: Api, medqueue: Run, tmp_path: Path, capsys: Captured
) -> None:
    api.on("GET /v1/models/m", MODEL)
    assert medqueue("models", "show", "m", "--example") == 0
    assert json.loads(capsys.readouterr().out) == {"age": 61, "smoker": "never"}


def test_a_models_card_is_shown_alone(api: Api, medqueue: Run, capsys: Captured) -> None:
    api.on("GET /v1/models/m", MODEL)
    assert medqueue("models", "show", "m", "--card") == 0
    assert capsys.readouterr().out == "# Card\n"


def test_the_catalogue_is_listed(api: Api, medqueue: Run, capsys: Captured) -> None:
    api.on("GET /v1/models", {"items": [MODEL], "next_cursor": None})
    assert medqueue("models", "list") == 0
    assert capsys.readouterr().out.splitlines()[1].split() == [
        "m", "1.0.0", "diagnosis", "tabular-classification", "A", "model",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (httpx.ConnectError("no"), 3, "http://api.test does not answer"),
        (httpx.ReadError("reset"), 3, "broke before the answer came"),
        (httpx.ReadTimeout("slow"), 3, "http://api.test accepted the connection and was silent for 10 s"),
        (httpx.WriteTimeout("slow"), 3, "http://api.test accepted the connection and was silent for 10 s"),
        (httpx.Response(200, text="<html>"), 3, "is not medqueue"),
        (httpx.Response(302, headers={"Location": "http://x"}), 3, "redirects elsewhere"),
        (
            httpx.Response(401, json={"code": "key_invalid", "detail": "Check it."}),
            4,
            "Check it. [key_invalid]",
        ),
        (httpx.Response(404, text="not here"), 4, "[http_404]"),
        (
            httpx.Response(500, json={"code": "internal_error", "detail": "Ours."}),
            5,
            "Ours. [internal_error]",
        ),
        (httpx.Response(502, text="<html>"), 5, "[http_502]"),
    ],
)
def test_every_way_of_not_answering_has_its_exit_code(
    api: Api, medqueue: Run, capsys: Captured, answer: httpx.Response | Exception, code: int, words: str
) -> None:
    api.on("GET /v1/models", answer)
    assert medqueue("models", "list") == code
    written = capsys.readouterr()
    assert words in written.err
    assert written.out == ""
    assert KEY not in written.err


def test_the_password_in_an_address_is_not_shown(api: Api, capsys: Captured) -> None:
    api.on("GET /v1/models", httpx.ConnectError("no"))
    words = ["models", "list", "--url", "http://user:hunter2@api.test", "--key", KEY]
    assert main(words, transport=httpx.MockTransport(api)) == 3
    assert "hunter2" not in capsys.readouterr().err


def test_what_the_api_sends_cannot_steer_the_terminal(api: Api, medqueue: Run, capsys: Captured) -> None:
    steering = "a\x1b]0;title\x07\x9b31m\u202eb"
    api.on(f"GET /v1/jobs/{ID}", job("succeeded", subject=steering))
    assert medqueue("jobs", "show", ID) == 0
    assert "subject        a\u00b7]0;title\u00b7\u00b731m\u00b7b\n" in capsys.readouterr().out


def test_square_brackets_are_text_and_no_markup(api: Api, medqueue: Run, capsys: Captured) -> None:
    api.on(f"GET /v1/jobs/{ID}", job("succeeded", subject="[red]pat[/red] :warning:"))
    assert medqueue("jobs", "show", ID) == 0
    assert "[red]pat[/red] :warning:" in capsys.readouterr().out


def test_health_of_the_api_is_silent_when_it_is_ready(api: Api, capsys: Captured) -> None:
    api.on("GET /healthz", {"status": "ok"})
    api.on("GET /readyz", {"status": "ready"})
    words = ["health", "api", "--url", "http://api.test"]
    assert main(words, transport=httpx.MockTransport(api)) == 0
    written = capsys.readouterr()
    assert written.out + written.err == ""


def test_health_of_the_api_is_0_when_redis_is_at_fault_and_says_so(api: Api, capsys: Captured) -> None:
    api.on("GET /healthz", {"status": "ok"})
    api.on("GET /readyz", {"status": "ready", "redis": "read_only", "scheduler": "ok"})
    assert main(["health", "api", "--url", "http://api.test"], transport=httpx.MockTransport(api)) == 0
    assert "redis is read_only" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("readyz", "words"),
    [
        (
            httpx.Response(503, json={"status": "not_ready", "postgres": "unreachable"}),
            "postgres unreachable",
        ),
        (httpx.ConnectError("no"), "does not answer"),
    ],
)
def test_health_of_the_api_is_1_when_it_takes_no_jobs(
    api: Api, capsys: Captured, readyz: httpx.Response | Exception, words: str
) -> None:
    api.on("GET /healthz", {"status": "ok"})
    api.on("GET /readyz", readyz)
    assert main(["health", "api", "--url", "http://api.test"], transport=httpx.MockTransport(api)) == 1
    assert words in capsys.readouterr().err


DELAY = {"state": "queued", "code": "queue", "detail": "12 jobs are before it.", "ahead": 12, "after": []}


@pytest.mark.parametrize("state", ["queued", "waiting"])
def test_a_job_that_has_not_started_says_why(api: Api, medqueue: Run, capsys: Captured, state: str) -> None:
    api.on(f"GET /v1/jobs/{ID}", job(state))
    api.on(f"GET /v1/jobs/{ID}/delay", DELAY)
    assert medqueue("jobs", "show", ID) == 0
    assert "12 jobs are before it." in capsys.readouterr().out
    assert medqueue("jobs", "show", ID, "--json") == 0
    assert json.loads(capsys.readouterr().out)["delay"] == DELAY


@pytest.mark.parametrize("state", ["running", "succeeded"])
def test_of_other_jobs_no_delay_is_asked_for(api: Api, medqueue: Run, state: str) -> None:
    api.on(f"GET /v1/jobs/{ID}", job(state))
    assert medqueue("jobs", "show", ID) == 0
    assert [request.url.path for request in api.asked] == [f"/v1/jobs/{ID}"]


def test_the_trail_of_a_job_ends_with_why_it_has_not_started(
    api: Api, medqueue: Run, capsys: Captured
) -> None:
    api.on(f"GET /v1/jobs/{ID}/events", {"items": [], "next_cursor": None})
    api.on(f"GET /v1/jobs/{ID}/delay", DELAY, DELAY | {"code": None, "detail": None})
    assert medqueue("jobs", "events", ID) == 0
    assert "12 jobs are before it." in capsys.readouterr().out
    assert medqueue("jobs", "events", ID) == 0
    assert "None" not in capsys.readouterr().out
