"""A batch and a schedule on the wire."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from service.api.batches.intake import error_limit_of
from service.api.batches.schemas import BatchSubmit, BatchView, ScheduleView, StopAfter
from service.api.batches.views import as_opened, batch_fields, schedule_fields
from service.api.http.requests import part_as
from service.batches import queries, schedules
from service.batches.files.layouts import BatchFormat
from service.batches.requests import BatchRequest
from service.batches.windows import Opening
from service.catalog import PublishedModel
from service.errors import RequestInvalid
from service.lifecycle import BatchState
from tests.unit.models.example_bundles import manifest

AT = datetime(2026, 11, 22, 18, tzinfo=UTC)
UPLOAD = UUID(int=7)
GOOD: dict[str, Any] = {"model": "m", "format": "csv", "source": {"upload_id": str(UPLOAD)}}
FILE = {"rows": 8, "size_bytes": 900, "sha256": "5e" * 32, "footer": {"location": "batches/secret"}}


def stored(**changed: Any) -> queries.BatchView:
    """A completed batch of ten rows, two of which failed."""
    request = BatchRequest(BatchFormat.CSV, upload_id=UPLOAD, carry=("ward",), id_column="case")
    later = AT + timedelta(hours=4)
    counts: list[Any] = [0, 10, 8, 2, 1, 1, 0, None, None, None, None, 1200, "ab" * 32, FILE, FILE]
    rest: list[Any] = [{**request.as_json(), "upload_id": str(UPLOAD)}, None, None, None]
    batch = queries.BatchView(
        *(UUID(int=1), UUID(int=2), BatchState.COMPLETED, AT, AT, later, None, None, later, later),
        *("22:00-06:00", "Europe/Berlin", None, None),
        Opening(later - timedelta(hours=1), later + timedelta(hours=7)),
        *counts,
        *rest,
    )
    return replace(batch, **changed)


def model() -> PublishedModel:
    return PublishedModel(id=UUID(int=2), digest="sha256:0", manifest=manifest(), published_at=AT, card="")


def test_a_batch_has_the_shape_that_the_document_says() -> None:
    fields = batch_fields(stored(), model())
    view = BatchView.model_validate(fields, strict=False)
    assert (view.counts.total, view.counts.succeeded, view.counts.failed, view.counts.remaining) == (
        10,
        8,
        2,
        0,
    )
    assert fields["source"] == {
        "upload_id": UPLOAD, "format": "csv", "size_bytes": 1200, "sha256": "ab" * 32
    }  # fmt: skip
    assert fields["results"]["url"] == f"/v1/batches/{UUID(int=1)}/results"
    assert fields["errors"]["url"].endswith("/errors")
    assert (fields["carry"], fields["id_column"], fields["dry_run"]) == (("ward",), "case", None)


def test_why_a_batch_is_tried_again_is_told_but_not_in_the_answer_to_a_submit() -> None:
    waiting = stored(retrying=queries.Retrying("source_unavailable", "Look at the server.", 2, AT))
    view = BatchView.model_validate(batch_fields(waiting, model()), strict=False)
    assert view.retrying is not None
    assert (view.retrying.code, view.retrying.attempt, view.retrying.next_try_at) == (
        "source_unavailable",
        2,
        AT,
    )
    assert as_opened(waiting).retrying is None


def test_where_parts_are_stored_is_not_told() -> None:
    assert "secret" not in str(batch_fields(stored(), model()))


@pytest.mark.parametrize(("limit", "on_error"), [(None, "continue"), (0, "stop"), (5, {"stop_after": 5})])
def test_on_error_comes_back_as_it_was_sent(limit: int | None, on_error: object) -> None:
    assert error_limit_of(part_as(BatchSubmit, GOOD | {"on_error": on_error}).on_error) == limit
    assert batch_fields(stored(error_limit=limit), model())["on_error"] == on_error


def test_a_repeated_submit_is_answered_with_the_batch_as_it_was_opened() -> None:
    opened = as_opened(stored())
    assert opened == as_opened(stored(state=BatchState.RUNNING, rows_succeeded=1, opening=Opening(AT)))
    assert (opened.state, opened.rows_total, opened.results) == (BatchState.VALIDATING, None, None)
    assert opened.opening == Opening(
        datetime(2026, 11, 22, 21, tzinfo=UTC), datetime(2026, 11, 23, 5, tzinfo=UTC)
    )


def test_a_schedule_has_the_shape_that_the_document_says() -> None:
    request = BatchRequest(BatchFormat.PARQUET, uri="/night/{date}.parquet")
    schedule = schedules.ScheduleView(
        *(UUID(int=1), "ward", "0 22 * * *", "Europe/Berlin", "m", None, None, 60, None),
        *(AT, AT, None, AT, None, None, 3600, None, request.as_json()),
    )
    view = ScheduleView.model_validate(schedule_fields(schedule), strict=False)
    assert (view.source.uri, view.on_error, view.window) == ("/night/{date}.parquet", "continue", None)


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"source": {}}, "/source"),
        ({"source": {"upload_id": str(UPLOAD), "uri": "/a"}}, "/source"),
        ({"source": {"upload_id": "x"}}, "/source/upload_id"),
        ({"on_error": "sometimes"}, "/on_error"),
        ({"on_error": {"stop_after": 0}}, "/on_error"),
        ({"on_error": {"stop_after": True}}, "/on_error"),
        ({"dry_run": 100_001}, "/dry_run"),
        ({"dry_run": 0}, "/dry_run"),
        ({"delimiter": ";;"}, "/delimiter"),
        ({"delimiter": '"'}, "/delimiter"),
        ({"delimiter": "\n"}, "/delimiter"),
        ({"delimiter": "a"}, "/delimiter"),
        ({"carry": ["c"] * 101}, "/carry"),
        ({"carry": ["\0"]}, "/carry/0"),
        ({"not_before": 0}, "/not_before"),
        ({"format": "xlsx"}, "/format"),
        ({"unknown": 1}, "/unknown"),
    ],
)
def test_a_wrong_field_is_pointed_at(wrong: dict[str, Any], pointer: str) -> None:
    with pytest.raises(RequestInvalid) as refused:
        part_as(BatchSubmit, GOOD | wrong)
    assert [fault.pointer for fault in refused.value.errors] == [pointer]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", " ", "^", "~"])
def test_a_delimiter_is_one_sign(delimiter: str) -> None:
    assert part_as(BatchSubmit, GOOD | {"delimiter": delimiter}).delimiter == delimiter


def test_stop_after_is_a_number_of_rows() -> None:
    assert error_limit_of(StopAfter(stop_after=3)) == 3
