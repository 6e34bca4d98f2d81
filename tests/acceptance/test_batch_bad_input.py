"""Whatever is wrong with a batch or its file: refused at once, or failed with a problem that says what to change."""

import bz2
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.acceptance import cases, nights
from tests.acceptance.calls import assert_problem, pages
from tests.acceptance.nights import BATCHES, ended, lines, rows
from tests.acceptance.stack import Stack

GOOD = nights.as_csv(rows(3))


@pytest.fixture(scope="module")
def clumsy(stack: Stack) -> Iterator[httpx.Client]:
    """A client of a tenant of its own."""
    with stack.client(stack.new_key("clumsy at night")) as client:
        yield client


@pytest.fixture(scope="module")
def upload_id(clumsy: httpx.Client) -> str:
    return nights.upload(clumsy, GOOD)


@pytest.mark.parametrize(
    ("wrong", "status", "code", "pointer"),
    [
        ({"format": "zip"}, 422, "wrong_format", "/format"),
        ({"model": cases.PNEUMONIA}, 422, "wrong_format", "/format"),
        ({"model": "no-such-model"}, 404, "model_not_found", None),
        ({"source": {"upload_id": str(uuid4())}}, 404, "upload_not_found", "/source/upload_id"),
        ({"source": {"uri": "/etc/passwd"}}, 422, "source_not_allowed", "/source/uri"),
        ({"source": {"uri": "{root}/../../etc/passwd"}}, 422, "source_not_allowed", "/source/uri"),
        ({"source": {"uri": "{root}/%2e%2e/x.csv"}}, 422, "source_not_allowed", "/source/uri"),
        ({"source": {"uri": "http://169.254.169.254/latest"}}, 422, "source_not_allowed", "/source/uri"),
        ({"source": {"uri": "s3://["}}, 422, "source_not_allowed", "/source/uri"),
        ({"source": {"uri": "file://[::1/x"}}, 422, "source_not_allowed", "/source/uri"),
        ({"source": {"uri": "simplecache::file:///etc/passwd"}}, 422, "source_not_allowed", "/source/uri"),
        ({"source": {"uri": "/" + "x" * 2000}}, 422, "source_not_allowed", "/source/uri"),
        ({"source": {}}, 422, "request_invalid", "/source"),
        ({"output": {"place": "/etc"}}, 422, "source_not_allowed", "/output/place"),
        ({"output": {"format": "xlsx"}}, 422, "request_invalid", "/output/format"),
        ({"window": {"hours": "22-06", "zone": "Europe/Berlin"}}, 422, "window_invalid", "/window"),
        ({"window": {"hours": "22:00-22:00", "zone": "UTC"}}, 422, "window_invalid", "/window"),
        ({"window": {"hours": "22:00-06:00", "zone": "Mars/Base"}}, 422, "window_invalid", "/window"),
        ({"window": {"hours": "22:00-06:00", "zone": "../../etc/passwd"}}, 422, "window_invalid", "/window"),
        ({"window": {"hours": "22:00-06:00", "zone": "\0"}}, 422, "window_invalid", "/window"),
        ({"window": {"hours": "22:00-06:00"}}, 422, "request_invalid", "/window/zone"),
        ({"deadline": "2020-01-01T00:00:00Z"}, 422, "deadline_passed", "/deadline"),
        ({"deadline": "9999-12-31T23:59:59-12:00"}, 422, "request_invalid", "/deadline"),
        ({"not_before": "9999-12-31T23:59:59-12:00"}, 422, "request_invalid", "/not_before"),
        ({"not_before": "0001-01-01T00:00:00+12:00"}, 422, "request_invalid", "/not_before"),
        (
            {"deadline": "2098-01-01T00:00:00Z", "not_before": "2099-01-01T00:00:00Z"},
            *(422, "deadline_passed", None),
        ),
        ({"id_column": "row"}, 422, "column_taken", "/id_column"),
        ({"carry": ["probability_x"]}, 422, "column_taken", "/carry"),
        ({"options": {"top": 5}}, 422, "request_invalid", "/options/top"),
        ({"options": 5}, 422, "request_invalid", "/options"),
        ({"carry": [""]}, 422, "request_invalid", "/carry/0"),
        ({"format": "parquet", "delimiter": ";"}, 422, "request_invalid", "/delimiter"),
        ({"format": "parquet", "missing": ["NA"]}, 422, "request_invalid", "/missing"),
        ({"format": "ndjson", "decimal": ","}, 422, "request_invalid", "/decimal"),
        ({"decimal": "x"}, 422, "request_invalid", "/decimal"),
        ({"ignore": [nights.FIELDS[0]]}, 422, "request_invalid", "/ignore"),
        ({"ignore": ["ward"], "carry": ["ward"]}, 422, "request_invalid", "/ignore"),
        ({"source": {"uri": "{root}/a%00b"}}, 422, "source_not_allowed", "/source/uri"),
        ({"source": {"uri": "{root}/" + "x" * 256}}, 422, "source_not_allowed", "/source/uri"),
        ({"source": {"uri": "/proc/self/environ"}}, 422, "source_not_allowed", "/source/uri"),
        ({"index": "index.csv"}, 422, "request_invalid", "/index"),
        ({"on_error": "never"}, 422, "request_invalid", "/on_error"),
        ({"dry_run": 0}, 422, "request_invalid", "/dry_run"),
        ({"dry_run": 100_001}, 422, "request_invalid", "/dry_run"),
        ({"priority": "stat"}, 422, "request_invalid", "/priority"),
    ],
)
def test_a_bad_request_is_refused_and_opens_nothing(
    clumsy: httpx.Client, upload_id: str, night_root: object, wrong: dict[str, Any], status: int, code: str,
    pointer: str | None,
) -> None:  # fmt: skip
    before = [batch["id"] for batch in pages(clumsy, BATCHES)]
    if "uri" in wrong.get("source", {}):
        wrong = {"source": {"uri": wrong["source"]["uri"].replace("{root}", str(night_root))}}
    problem = assert_problem(clumsy.post(BATCHES, json=nights.body(upload_id, **wrong)), status, code)
    if pointer is not None:
        assert pointer in {fault["pointer"] for fault in problem["errors"]}, problem
    assert "passwd" not in str(problem)
    assert [batch["id"] for batch in pages(clumsy, BATCHES)] == before


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"model":1,"model":2}', b'{"model": NaN}'])
def test_what_is_no_request_is_refused(clumsy: httpx.Client, body: bytes) -> None:
    answer = clumsy.post(BATCHES, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in {400, 422}, answer.text


def without(name: str) -> list[nights.Row]:
    return [{key: value for key, value in row.items() if key != name} for row in rows(3)]


BAD_FILES: dict[str, tuple[bytes, str, dict[str, Any], str]] = {
    "parquet cut short": (nights.as_parquet(rows(3))[:-100], "parquet", {}, "file_unreadable"),
    "parquet that is CSV": (GOOD, "parquet", {}, "wrong_format"),
    "header only": (GOOD.splitlines(keepends=True)[0], "csv", {}, "no_rows"),
    "white space only": (b"\n\n", "ndjson", {}, "no_rows"),
    "missing column": (nights.as_csv(without(nights.FIELDS[3])), "csv", {}, "column_missing"),
    "missing id": (GOOD, "csv", {"id_column": "nowhere"}, "column_missing"),
    "wrong delimiter": (GOOD, "csv", {"delimiter": ";"}, "wrong_delimiter"),
    "UTF-16": (GOOD.decode().encode("utf-16"), "csv", {}, "not_utf8"),
    "misspelt column": (
        GOOD.replace(nights.FIELDS[0].encode(), nights.FIELDS[0].upper().replace("_", " ").encode(), 1),
        *("csv", {}, "column_unknown"),
    ),
    "UTF-16 without a mark": (GOOD.decode().encode("utf-16-le"), "csv", {}, "not_utf8"),
    "bzip2": (bz2.compress(GOOD), "csv", {}, "wrong_format"),
    "quote left open": (GOOD + b'"c-9,1', "csv", {}, "unclosed_quote"),
    "doubled column": (GOOD.replace(b"ward", nights.FIELDS[0].encode(), 1), "csv", {}, "column_duplicate"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_ends_its_batch_with_a_problem_that_says_why(clumsy: httpx.Client, name: str) -> None:
    content, form, options, code = BAD_FILES[name]
    batch = ended(clumsy, content, form, **options)
    assert (batch["state"], batch["problem"]["code"]) == ("failed", code), batch["problem"]
    assert len(batch["problem"]["detail"]) > 15
    assert "c-0" not in str(batch["problem"])
    assert (batch["results"], batch["errors"]) == (None, None)
    for partial in ("false", "true"):
        answer = clumsy.get(f"{BATCHES}/{batch['id']}/results", params={"partial": partial})
        assert answer.status_code == 409, answer.text


def test_an_empty_file_is_not_even_stored(clumsy: httpx.Client) -> None:
    answer = clumsy.post("/v1/uploads", content=b"", headers=nights.OCTETS)
    assert_problem(answer, 400, "body_incomplete")


def test_an_empty_file_in_place_fails_its_batch(clumsy: httpx.Client, night_root: Any) -> None:
    name = night_root / f"{uuid4()}.csv"
    name.write_bytes(b"")
    for uri, code in ((str(name), "file_empty"), (f"{name}.gone", "source_gone")):
        answer = clumsy.post(BATCHES, json=nights.body("", source={"uri": uri}))
        assert answer.status_code == 202, answer.text
        batch = nights.reached(clumsy, answer.json()["id"], "failed")
        assert batch["problem"]["code"] == code


def test_a_repeated_id_is_an_error_of_its_row(clumsy: httpx.Client) -> None:
    table = rows(5)
    table[3]["case"] = table[4]["case"] = "c-1"
    batch = ended(clumsy, nights.as_ndjson(table), "ndjson", id_column="case", carry=["ward"])
    assert (batch["state"], batch["counts"]["failed"]) == ("completed", 2)
    errors = lines(clumsy, batch, "errors")
    assert [(error["row"], error["code"]) for error in errors] == [(4, "duplicate_id"), (5, "duplicate_id")]


def test_a_broken_line_spoils_no_other(clumsy: httpx.Client) -> None:
    good = nights.as_ndjson(rows(3)).splitlines(keepends=True)
    batch = ended(
        clumsy, b"".join([good[0], b"{oops\n", good[1], b"[1]\n", good[2]]), "ndjson", carry=["case", "ward"]
    )
    assert batch["counts"] == {"total": 5, "succeeded": 3, "failed": 2, "remaining": 0}
    codes = [(error["row"], error["code"]) for error in lines(clumsy, batch, "errors")]
    assert codes == [(2, "invalid_json"), (4, "not_an_object")]
