"""Cases that were not scored, and why: on the terminal, in JSON and on the page, without values of inputs."""

import json
from pathlib import Path
from typing import Any

import click
import httpx
import pytest

from service.cli import main
from service.cli.evaluation.comparison import evaluated
from service.cli.evaluation.figures import MOST_UNSCORED
from service.cli.evaluation.labelled import Labelled
from service.cli.evaluation.report import page
from service.cli.evaluation.scoring import Scored, _of_row
from tests.unit.service.test_cli_commands import ID, KEY, PROBLEM, Api, job

FAILED = {"code": "image_unreadable", "detail": "Send a whole file."}
LABELS = [{"id": name, "display": name, "code": None, "positive": name == "b"} for name in ("a", "b")]
ANSWER = {"type": "classification", "label": "a", "probabilities": {"a": 0.8, "b": 0.2}, "abstained": False}
WHY = "/input/mean_radius: between 0 and 57 mm"
# One case is scored, one refused, one failed.
ENDED = [job(result=ANSWER), {"status": 422, **PROBLEM}, job("failed", problem=FAILED)]


def run(folder: Path, *words: str, ended: list[dict[str, Any]]) -> int:
    api, data = Api(), folder / "cases.ndjson"
    data.write_text("".join('{"input": {"mean_radius": 99}, "expected": "a"}\n' for _ in ended))
    model = {"name": "m", "version": "1.0.0", "labels": LABELS, "task": "tabular-classification"}
    api.on("GET /v1/models/m", model)
    api.on("POST /v1/jobs/bulk", {"items": ended})
    api.on(f"GET /v1/jobs/{ID}", *[each for each in ended if "state" in each] or [job()])
    command = [
        "models",
        "evaluate",
        "m",
        "--data",
        str(data),
        *words,
        "--url",
        "http://api.test",
        "--key",
        KEY,
    ]
    return main(command, transport=httpx.MockTransport(api))


def test_the_first_cases_that_were_not_scored_are_listed_with_what_to_change(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "page.html"
    assert run(tmp_path, "--report", str(report), ended=ENDED) == 0
    written = capsys.readouterr().out
    assert [line.split(maxsplit=3) for line in written.splitlines() if line.startswith("line ")] == [
        ["line", "2", "input_invalid", WHY],
        ["line", "3", "image_unreadable", "Send a whole file."],
    ]
    assert "99" not in written
    assert f"<td>line 2</td><td>input_invalid</td><td>{WHY}</td>" in report.read_text()


def test_json_lists_them_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "--json", ended=ENDED) == 0
    assert json.loads(capsys.readouterr().out)["not_scored"] == [
        {"case": "line 2", "code": "input_invalid", "detail": WHY},
        {"case": "line 3", "code": "image_unreadable", "detail": "Send a whole file."},
    ]


def test_where_no_case_was_scored_the_first_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, ended=ENDED[1:2]) == 2
    written = capsys.readouterr().err
    assert "No case was scored: input_invalid 1." in written
    assert f"line 1: input_invalid. {WHY}" in written


def test_only_the_first_are_named() -> None:
    cases = [Scored(f"line {line}", "a", {}, None, "input_invalid", detail="Send it.") for line in range(99)]
    with pytest.raises(click.UsageError) as told:
        evaluated(cases, LABELS, {})
    assert str(told.value).count("Send it.") == MOST_UNSCORED


def test_a_row_of_a_batch_is_named_with_its_column_and_message() -> None:
    row = {"row": 3, "column": "age", "code": "out_of_range", "message": "age must be at most 120."}
    found = _of_row(Labelled("line 3", {}, "a"), row)
    assert (found.problem, found.detail) == ("out_of_range", "age: age must be at most 120.")
    assert _of_row(Labelled("line 3", {}, "a"), None).problem == "missing_from_results"


def test_a_page_of_cases_that_were_all_scored_lists_none() -> None:
    answer = {"label": "a", "abstained": False, "probability_a": 0.7, "probability_b": 0.3}
    scored = [Scored(f"line {line}", "ab"[line % 2], {}, answer) for line in range(4)]
    found = evaluated(scored, LABELS, {})
    assert "not scored</th>" not in page({"name": "m", "version": "1"}, "x", found)
