"""`medqueue batch submit`: what it sends for which words, and what it says when it is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import httpx
import pytest

from service.batches.files.layouts import BatchFormat
from service.batches.files.outputs import OutputFormat
from service.cli.batches.sources import FORMATS, Counted, format_of
from service.cli.batches.work import OUTPUTS
from service.cli.batches.zones import machine_zone
from tests.unit.service.batch_cli.batch_views import BATCH, CONTENT, ERRORS, FAULTS, WHY, view
from tests.unit.service.test_cli_commands import ID, Api

Json = dict[str, Any]
Run = Callable[..., int]
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def ward(tmp_path: Path) -> str:
    path = tmp_path / "ward.csv"
    path.write_text("id,age\n1,40\n")
    return str(path)


def test_how_a_csv_is_to_be_read_is_passed_on(api: Api, medqueue: Run, ward: str) -> None:
    api.on("POST /v1/uploads", {"id": ID}, status=201)
    api.on("POST /v1/batches", view("validating", 0), status=202)
    words = "--ignore Age --ignore note --missing NA --missing n/a --decimal , --output csv"
    assert medqueue("submit", ward, "--model", "m", *words.split()) == 0
    told = {name: api.body(1)[name] for name in ("ignore", "missing", "decimal", "output")}
    assert told == {
        "ignore": ["Age", "note"],
        "missing": ["NA", "n/a"],
        "decimal": ",",
        "output": {"format": "csv"},
    }


def test_options_of_the_model_are_json_or_text_and_passed_on(api: Api, medqueue: Run, ward: str) -> None:
    api.on("POST /v1/uploads", {"id": ID}, status=201)
    api.on("POST /v1/batches", view("validating", 0), status=202)
    words = ["--option", "top=5", "--option", "way=fast", "--option", 'near=["a"]', "--option", "big=1e999"]
    assert medqueue("submit", ward, "--model", "m", *words) == 0
    assert api.body(1)["options"] == {"top": 5, "way": "fast", "near": ["a"], "big": float("inf")}


def test_an_option_without_a_name_is_refused(medqueue: Run, ward: str, capsys: Captured) -> None:
    for words in ("5", "=5"):
        assert medqueue("submit", ward, "--model", "m", "--option", words) == 2
    assert "NAME=VALUE" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("--missing", "NA"), ("--decimal", ",")])
def test_what_is_of_csv_alone_is_refused_for_other_formats(
    medqueue: Run, ward: str, words: tuple[str, str], capsys: Captured
) -> None:
    assert medqueue("submit", ward, "--model", "m", "--format", "parquet", *words) == 2
    assert "are for CSV" in capsys.readouterr().err


def test_a_file_is_uploaded_and_submitted_with_everything_that_was_asked_for(
    api: Api, medqueue: Run, ward: str, capsys: Captured
) -> None:
    api.on("POST /v1/uploads", {"id": ID}, status=201)
    api.on("POST /v1/batches", view("validating", 0), status=202)
    words = "--window 22:00-06:00 --zone Europe/Berlin --not-before 2030-01-01T12:00:00+01:00 --on-error 100"
    words += " --deadline 2030-01-02T12:00:00+01:00 --id-column id --carry age --carry ward --delimiter tab"
    words += " --output parquet --place s3://ward/out --dry-run 7 --idempotency-key k-1"
    assert medqueue("submit", ward, "--model", "m", *words.split()) == 0
    assert api.asked[0].content == Path(ward).read_bytes()
    assert api.asked[0].headers["Content-Length"] == "12"
    assert api.body(1) == {
        "model": "m",
        "source": {"upload_id": ID},
        "format": "csv",
        "window": {"hours": "22:00-06:00", "zone": "Europe/Berlin"},
        "not_before": "2030-01-01T11:00:00+00:00",
        "deadline": "2030-01-02T11:00:00+00:00",
        "on_error": {"stop_after": 100},
        "output": {"format": "parquet", "place": "s3://ward/out"},
        "id_column": "id",
        "carry": ["age", "ward"],
        "delimiter": "\t",
        "dry_run": 7,
    }
    assert api.asked[1].headers["Idempotency-Key"] == "k-1"
    written = capsys.readouterr()
    assert f"id             {ID}\n" in written.out
    assert f"medqueue batch watch {ID}" in written.err


@pytest.mark.parametrize(
    ("name", "source", "form"),
    [
        ("s3://ward/x.tar", {"uri": "s3://ward/x.tar"}, "tar"),
        ("https://example.org/x.parquet?v=1.0", {"uri": "https://example.org/x.parquet?v=1.0"}, "parquet"),
        ("file:///srv/x.jsonl", {"uri": "file:///srv/x.jsonl"}, "ndjson"),
    ],
)
def test_a_uri_is_passed_on_and_nothing_more_is_asked_for_than_was_said(
    api: Api, medqueue: Run, name: str, source: Json, form: str
) -> None:
    api.on("POST /v1/batches", view("validating", 0), status=202)
    assert medqueue("submit", name, "--model", "m") == 0
    assert api.body() == {"model": "m", "source": source, "format": form}


def test_an_upload_that_is_there_is_used(api: Api, medqueue: Run) -> None:
    api.on("POST /v1/batches", view("validating", 0), status=202)
    assert medqueue("submit", f"upload:{ID}", "--model", "m", "--format", "zip", "--index", "list.csv") == 0
    assert api.body() == {"model": "m", "source": {"upload_id": ID}, "format": "zip", "index": "list.csv"}


@pytest.mark.parametrize(("word", "sent"), [("continue", "continue"), ("stop", "stop")])
def test_what_to_do_when_rows_fail_is_sent_as_it_was_said(
    api: Api, medqueue: Run, word: str, sent: str
) -> None:
    api.on("POST /v1/batches", view("validating", 0), status=202)
    assert medqueue("submit", "s3://w/x.csv", "--model", "m", "--on-error", word) == 0
    assert api.body()["on_error"] == sent


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("submit WARD", "--model"),
        ("submit WARD.missing --model m --format csv", "No such file"),
        ("submit / --model m --format csv", "Is a directory"),
        ("submit EMPTY --model m", "is empty"),
        ("submit s3://ward/file --model m", "--format: parquet"),
        ("submit ward.tar.gz --model m", "--format: parquet"),
        ("submit upload:x --model m --format csv", "id of an upload"),
        ("submit WARD --model m --window 22-06", "22:00-06:00"),
        ("submit WARD --model m --window 22:00-06:00 --zone Berlin", "Europe/Berlin"),
        ("submit WARD --model m --zone Europe/Berlin", "--window"),
        ("submit WARD --model m --on-error never", "after how many"),
        ("submit WARD --model m --on-error 0", "after how many"),
        ("submit WARD --model m --delimiter ab", "one character"),
        ("submit WARD --model m --index x", "--index is for archives"),
        ("submit s3://w/x.zip --model m --delimiter ;", "--delimiter is for CSV"),
        ("submit WARD --model m --dry-run 0", "--dry-run"),
        ("submit WARD --model m --not-before soon", "give a time"),
        ("submit WARD --model m --not-before 2030-01-02 --deadline 2030-01-01", "later"),
        ("submit WARD --model m --out WARD", "is a file"),
        ("watch no-uuid", "UUID"),
        ("list --state done", "--state"),
        ("results no-uuid", "UUID"),
        (f"results {ID} --json", "-o"),
        ("schedules create WARD --name n --cron x --model m", "reads a URI"),
        ("schedules create s3://w/x.csv --name n --model m", "--cron"),
        ("schedules create s3://w/x.csv --name n --cron x --model m --zone Berlin", "Europe/Berlin"),
        ("schedules create s3://w/x.csv --name n --cron x --model m --deadline-after 0", "--deadline-after"),
    ],
)
def test_a_wrong_command_line_ends_with_2_says_why_and_sends_nothing(
    api: Api, medqueue: Run, ward: str, tmp_path: Path, capsys: Captured, line: str, told: str
) -> None:
    (tmp_path / "empty.csv").touch()
    line = line.replace("WARD", ward).replace("EMPTY", str(tmp_path / "empty.csv"))
    assert medqueue(*line.split()) == 2
    assert told in capsys.readouterr().err
    assert api.asked == []


def test_a_folder_that_holds_results_already_is_refused_before_anything_is_sent(
    api: Api, medqueue: Run, ward: str, tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "results.ndjson").touch()
    assert medqueue("submit", ward, "--model", "m", "--out", str(tmp_path)) == 2
    assert "is there already" in capsys.readouterr().err
    assert api.asked == []


def test_a_refused_batch_ends_with_4_and_says_how_to_use_the_upload_again(
    api: Api, medqueue: Run, ward: str, capsys: Captured
) -> None:
    api.on("POST /v1/uploads", {"id": ID}, status=201)
    api.on("POST /v1/batches", {"code": "model_not_found", "detail": "No such model."}, status=404)
    assert medqueue("submit", ward, "--model", "m") == 4
    written = capsys.readouterr().err
    assert "error: No such model. [model_not_found]" in written
    assert f"upload:{ID} in place of the file, --format csv" in written


def test_of_a_model_that_no_batch_can_hold_the_upload_is_of_no_use(
    api: Api, medqueue: Run, ward: str, capsys: Captured
) -> None:
    api.on("POST /v1/uploads", {"id": ID}, status=201)
    refusal = {"code": "model_has_parts", "detail": "No batch can hold cases of this model."}
    api.on("POST /v1/batches", refusal, status=422)
    assert medqueue("submit", ward, "--model", "treatment-plan-recommender") != 0
    written = capsys.readouterr().err
    assert "No batch can hold cases of this model." in written
    assert "upload:" not in written


def test_a_lost_answer_is_asked_for_once_more_under_the_same_key(api: Api, medqueue: Run) -> None:
    api.on("POST /v1/batches", httpx.ReadError("gone"), view("validating", 0))
    assert medqueue("submit", "s3://w/x.csv", "--model", "m") == 0
    assert len({request.headers["Idempotency-Key"] for request in api.asked}) == 1


def test_an_answer_that_stays_lost_ends_with_3_and_names_key_and_upload(
    api: Api, medqueue: Run, ward: str, capsys: Captured
) -> None:
    api.on("POST /v1/uploads", {"id": ID}, status=201)
    api.on("POST /v1/batches", httpx.ReadError("gone"))
    assert medqueue("submit", ward, "--model", "m") == 3
    key = api.asked[1].headers["Idempotency-Key"]
    told = f"with upload:{ID} in place of the file, --format csv and --idempotency-key {key}"
    assert told in capsys.readouterr().err


def test_what_is_watched_to_its_end_is_fetched_to_the_folder(
    api: Api, medqueue: Run, tmp_path: Path, capsys: Captured
) -> None:
    api.on("POST /v1/batches", view("validating", 0), status=202)
    api.on(f"GET {BATCH}", view(failed=3, errors=ERRORS))
    for kind, content in (("results", CONTENT), ("errors", FAULTS)):
        api.on(f"GET {BATCH}/{kind}", httpx.Response(200, content=content))
    folder = tmp_path / "out"
    assert medqueue("submit", "s3://w/x.csv", "--model", "m", "--out", str(folder)) == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "results.ndjson": CONTENT,
        "errors.ndjson": FAULTS,
    }
    written = capsys.readouterr()
    assert written.out == "completed: 47 of 50 rows scored, 3 failed, took 40 min\n"
    assert "completed: 50 of 50 rows, 3 failed\n" in written.err
    assert WHY in written.err
    assert [request.url.path for request in api.asked].count(f"{BATCH}/errors") == 1


def test_a_batch_of_which_every_row_failed_ends_with_1_and_leaves_its_errors(
    api: Api, medqueue: Run, tmp_path: Path, capsys: Captured
) -> None:
    api.on("POST /v1/batches", view("validating", 0), status=202)
    api.on(f"GET {BATCH}", view(failed=50, errors=ERRORS, results=None))
    api.on(f"GET {BATCH}/errors", httpx.Response(200, content=FAULTS))
    assert medqueue("submit", "s3://w/x.csv", "--model", "m", "--out", str(tmp_path / "out")) == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["errors.ndjson"]
    assert WHY in capsys.readouterr().err


def test_the_formats_that_are_offered_are_those_there_are() -> None:
    assert set(FORMATS) == set(BatchFormat)
    assert set(OUTPUTS) == set(OutputFormat)


@pytest.mark.parametrize(("name", "form"), [("X.PQ", "parquet"), ("x.tsv", "csv"), ("a.b/x.zip", "zip")])
def test_a_suffix_tells_the_format(name: str, form: str) -> None:
    assert format_of(name, None) == form
    assert format_of(name, "tar") == "tar"


def test_a_suffix_of_the_host_tells_nothing() -> None:
    with pytest.raises(click.UsageError):
        format_of("https://files.zip/x", None)


@pytest.mark.parametrize(
    ("name", "said"), [("b.xlsx", "save the sheet as CSV"), ("scan.png", "medqueue submit")]
)
def test_a_file_of_no_format_is_told_what_to_do_with_it(name: str, said: str) -> None:
    with pytest.raises(click.UsageError, match=said):
        format_of(name, None)


def test_an_upload_tells_how_far_it_is(ward: str) -> None:
    told: list[int] = []
    with Path(ward).open("rb") as opened:
        counted = Counted(opened, told.append)
        assert [counted.read(7), *counted] == [b"id,age\n", b"1,40\n"]
    assert told == [7, 12, 12]


@pytest.mark.parametrize(
    ("variables", "link", "written", "zone"),
    [
        ({"TZ": "Europe/Paris"}, "Europe/Berlin", "Europe/Rome", "Europe/Paris"),
        ({"TZ": ":/usr/share/zoneinfo/Europe/Paris"}, "Europe/Berlin", None, "Europe/Paris"),
        ({"TZ": ":Europe/Paris"}, "Europe/Berlin", None, "Europe/Paris"),
        ({"TZ": "CET-1CEST,M3.5.0,M10.5.0/3"}, "Europe/Berlin", None, "Europe/Berlin"),
        ({}, "Europe/Berlin", "Europe/Rome", "Europe/Berlin"),
        ({}, None, "Europe/Rome\n", "Europe/Rome"),
        ({}, None, "nonsense", "UTC"),
        ({}, None, None, "UTC"),
    ],
)
def test_the_zone_of_this_machine_is_found_or_utc(
    tmp_path: Path, variables: dict[str, str], link: str | None, written: str | None, zone: str
) -> None:
    localtime, timezone = tmp_path / "localtime", tmp_path / "timezone"
    if link is not None:
        target = tmp_path / "zoneinfo" / link
        target.parent.mkdir(parents=True)
        target.touch()
        localtime.symlink_to(target)
    if written is not None:
        timezone.write_text(written)
    assert machine_zone(variables, localtime=localtime, timezone=timezone) == zone


def test_a_dry_run_says_that_nothing_was_scored(api: Api, medqueue: Run, capsys: Captured) -> None:
    api.on("POST /v1/batches", view("validating", 0, dry_run=50), status=202)
    api.on(f"GET {BATCH}", view(failed=2, dry_run=50, results=None))
    assert medqueue("submit", "s3://w/x.csv", "--model", "m", "--dry-run", "50", "--watch") == 0
    written = capsys.readouterr()
    assert written.out == "completed: 48 of 50 rows good in a dry run, 2 failed, took 40 min\n"
    assert "medqueue batch results" not in written.err


def test_fields_without_a_column_are_named_when_a_batch_is_watched(
    api: Api, medqueue: Run, capsys: Captured
) -> None:
    columns = {"used": ["age"], "ignored": ["vessels"], "absent": ["ca", "thal"]}
    api.on("POST /v1/batches", view("validating", 0, columns=columns), status=202)
    api.on(f"GET {BATCH}", view())
    assert medqueue("submit", "s3://w/x.csv", "--model", "m", "--watch") == 0
    said = "The file has no column for these fields of the model: ca, thal. Columns that are not read: vessels.\n"
    assert said in capsys.readouterr().err


def test_what_an_index_leaves_out_is_noted_once_its_archive_was_validated(
    api: Api, medqueue: Run, capsys: Captured
) -> None:
    columns = {"used": [], "ignored": ["patient"], "absent": [], "unlisted": 1203}
    api.on("POST /v1/batches", view("validating", 0), status=202)
    api.on(f"GET {BATCH}", view(columns=columns))
    assert medqueue("submit", "s3://w/x.zip", "--model", "m", "--watch") == 0
    said = "Columns that are not read: patient. Files of the archive that its index does not list, not scored: 1,203.\n"
    assert said in capsys.readouterr().err
