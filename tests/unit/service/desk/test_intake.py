"""From a submitted case to a checked job: deadline, input, upload. Over HTTP: acceptance."""

import base64
import gc
import weakref
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from models.manifest import ModelManifest
from models.pipelines.tabular_classification import TabularClassification
from service.accounts import Principal, Scope
from service.catalog import Catalog, PublishedModel
from service.crypto import Cipher
from service.desk import JobRequest
from service.desk.intake import Intake
from service.errors import (
    AfterUnsuitable,
    BodyTooLarge,
    DeadlinePassed,
    InputInvalid,
    RequestInvalid,
    ServiceError,
    UploadNotFound,
)
from service.jobs.submission import NewJob
from service.lifecycle import Priority
from service.uploads import Uploads
from tests.unit.models.example_bundles import manifest
from tests.unit.models.example_images import gradient, noise, png

CALLER = Principal("0123456789ab", UUID(int=1), frozenset({Scope.JOBS_WRITE}), Cipher(bytes(32)))
STORED, LARGE, ABSENT = UUID(int=7), UUID(int=8), UUID(int=9)
LIMIT_BYTES = 4096
IMAGE = png(gradient(8, 8))
CASE: dict[str, Any] = {"dose": 10.0, "age": 40.0}


class OneModel(Catalog):
    """A catalogue of one model, whatever it is asked for."""

    def __init__(self, of: ModelManifest) -> None:
        self.model = PublishedModel(UUID(int=2), of, "sha256:0", "# card", datetime(2026, 1, 1, tzinfo=UTC))

    def resolve(self, reference: str) -> PublishedModel:
        """See Catalog."""
        return self.model


class TwoUploads(Uploads):
    """A good image and one that is too large, both the caller's."""

    def __init__(self) -> None:
        self._files = {STORED: IMAGE, LARGE: bytes(LIMIT_BYTES + 1)}

    def size_bytes(self, tenant_id: UUID, upload_id: UUID) -> int:
        """See Uploads."""
        return len(b"".join(self.read(tenant_id, upload_id)))

    def read(self, tenant_id: UUID, upload_id: UUID) -> Iterator[bytes]:
        """See Uploads."""
        if tenant_id != CALLER.tenant_id or upload_id not in self._files:
            raise UploadNotFound
        yield self._files[upload_id]


class CountedUploads(Uploads):
    """One upload, and how often its content was read."""

    def __init__(self, content: bytes = IMAGE) -> None:
        self.reads = 0
        self._content = content

    def size_bytes(self, tenant_id: UUID, upload_id: UUID) -> int:
        """See Uploads."""
        return len(self._content)

    def read(self, tenant_id: UUID, upload_id: UUID) -> Iterator[bytes]:
        """See Uploads."""
        self.reads += 1
        yield self._content


def checked(pipeline: str, wanted: JobRequest, limit_bytes: int = LIMIT_BYTES) -> NewJob:
    """The job that a case of this pipeline's example model becomes. No case here has a callback."""
    callbacks: Any = None
    intake = Intake(OneModel(manifest(pipeline)), TwoUploads(), callbacks, most_bytes=limit_bytes)
    return intake.checked(CALLER, wanted, look_up_until=0.0)


def tabular(**wanted: Any) -> NewJob:
    """The job that a case of the tabular model becomes."""
    return checked("tabular-classification", JobRequest(**({"model": "a", "input": CASE} | wanted)))


def image(value: Any, limit_bytes: int = LIMIT_BYTES) -> NewJob:
    """The job that an input of the image model becomes."""
    return checked("image-classification", JobRequest("a", value), limit_bytes)


def data(content: bytes) -> dict[str, str]:
    return {"data": base64.b64encode(content).decode()}


def pointers(error: ServiceError) -> list[str]:
    return [field.pointer for field in error.errors]


def test_a_case_becomes_a_job_with_its_caller_model_and_stored_input() -> None:
    found = tabular()
    assert (found.principal, found.model.name) == (CALLER, "dose-effect")
    assert (found.payload, found.upload_id) == (found.model.encode(CASE), None)
    assert found.priority is Priority.ROUTINE


@pytest.mark.parametrize("fault", [RuntimeError("secret patient"), SystemExit("secret patient")])
def test_an_unexpected_error_of_a_pipeline_is_the_fault_of_this_case_alone(
    monkeypatch: pytest.MonkeyPatch, fault: BaseException
) -> None:
    def broken(*_: object) -> bytes:
        raise fault

    monkeypatch.setattr(TabularClassification, "encode", broken)
    with pytest.raises(InputInvalid) as caught:
        tabular()
    assert [(field.pointer, field.code) for field in caught.value.errors] == [("/input", "model_failed")]


class Watched(dict[str, Any]):
    """An input that can be watched."""


@pytest.mark.parametrize("more", [{}, {"explain": True}, {"options": {"unknown": 1}}])
def test_a_refused_input_is_not_kept(more: dict[str, Any]) -> None:
    """A large one would stay for a long time: the garbage of processes that have started is hardly ever looked through."""
    given = Watched(CASE | {"dose": "much"})
    watched = weakref.ref(given)
    gc.disable()
    try:
        with suppress(InputInvalid):
            tabular(input=given, **more)
        del given
        assert watched() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("stored", [None, "text", {}])
def test_a_pipeline_that_stores_no_bytes_fails_this_case_alone(
    monkeypatch: pytest.MonkeyPatch, stored: object
) -> None:
    monkeypatch.setattr(TabularClassification, "encode", lambda *_: stored)
    with pytest.raises(InputInvalid) as caught:
        tabular()
    assert [(field.pointer, field.code) for field in caught.value.errors] == [("/input", "model_failed")]


@pytest.mark.parametrize("checked", [None, [1], {"top": object()}])
def test_a_pipeline_whose_options_cannot_be_stored_fails_this_case_alone(
    monkeypatch: pytest.MonkeyPatch, checked: object
) -> None:
    monkeypatch.setattr(TabularClassification, "check_options", lambda *_: checked)
    with pytest.raises(InputInvalid) as caught:
        tabular(options={"top": 1})
    assert [(field.pointer, field.code) for field in caught.value.errors] == [("/options", "model_failed")]


@pytest.mark.parametrize("priority", Priority)
def test_a_priority_is_taken_over(priority: Priority) -> None:
    assert tabular(priority=priority).priority is priority


def test_a_deadline_to_come_is_taken_over() -> None:
    deadline = datetime.now(UTC) + timedelta(hours=1)
    assert tabular(deadline=deadline).deadline_at == deadline


def test_a_deadline_in_the_past_is_refused() -> None:
    with pytest.raises(DeadlinePassed) as caught:
        tabular(deadline=datetime(2020, 1, 1, tzinfo=UTC))
    assert pointers(caught.value) == ["/deadline"]


@pytest.mark.parametrize("deadline", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"])
def test_a_deadline_outside_all_calendars_is_refused_or_can_be_read_back(deadline: str) -> None:
    """In UTC it lies in the year 10000 or 0, which Python cannot hold: the job could be stored and never read."""
    with suppress(ServiceError):
        found = tabular(deadline=datetime.fromisoformat(deadline))
        assert found.deadline_at is not None
        found.deadline_at.astimezone(UTC)


def test_an_explanation_that_the_model_does_not_offer_is_refused() -> None:
    with pytest.raises(InputInvalid) as caught:
        tabular(explain=True)
    assert pointers(caught.value) == ["/explain"]


def test_every_wrong_field_of_an_input_is_named() -> None:
    with pytest.raises(InputInvalid) as caught:
        tabular(input={"dose": 1e9, "colour": "red"})
    assert sorted(pointers(caught.value)) == ["/input/age", "/input/colour", "/input/dose"]


@pytest.mark.parametrize("value", [None, True, 1, "x", [], [CASE]])
def test_an_input_of_another_kind_is_refused(value: Any) -> None:
    with pytest.raises(InputInvalid):
        tabular(input=value)


def test_an_image_may_come_with_the_case() -> None:
    found = image(data(IMAGE))
    assert (found.payload, found.upload_id) == (IMAGE, None)


def test_an_image_may_come_as_its_bytes() -> None:
    found = image(IMAGE)
    assert (found.payload, found.upload_id) == (IMAGE, None)


def test_an_image_may_have_been_uploaded_before() -> None:
    found = image({"upload_id": str(STORED)})
    assert (found.payload, found.upload_id) == (None, STORED)


def test_an_upload_is_decoded_once_however_often_it_is_named() -> None:
    uploads = CountedUploads()
    callbacks: Any = None
    intake = Intake(OneModel(manifest("image-classification")), uploads, callbacks, most_bytes=LIMIT_BYTES)
    wanted = JobRequest("a", {"upload_id": str(STORED)})
    jobs = [intake.checked(CALLER, wanted, look_up_until=0.0) for _ in range(256)]
    assert {job.upload_id for job in jobs} == {STORED}
    assert uploads.reads == 1


def test_an_upload_that_is_unfit_stays_so() -> None:
    uploads = CountedUploads(b"no image")
    callbacks: Any = None
    intake = Intake(OneModel(manifest("image-classification")), uploads, callbacks, most_bytes=LIMIT_BYTES)
    for _ in range(2):
        with pytest.raises(InputInvalid):
            intake.checked(CALLER, JobRequest("a", {"upload_id": str(STORED)}), look_up_until=0.0)


@pytest.mark.parametrize(
    "value",
    [None, "x", [], {}, CASE, {"data": 1}, {"data": None}, {"upload_id": 1},
     {"data": "", "upload_id": str(STORED)}, {"Data": ""}],
    ids=repr,
)  # fmt: skip
def test_a_file_in_any_other_form_is_refused(value: Any) -> None:
    with pytest.raises(InputInvalid) as caught:
        image(value)
    assert pointers(caught.value) == ["/input"]


@pytest.mark.parametrize("text", ["*", "a", "aa aa", "aaaa\n", "ä", "-_-_"])
def test_what_is_not_base64_is_refused(text: str) -> None:
    with pytest.raises(InputInvalid) as caught:
        image({"data": text})
    assert pointers(caught.value) == ["/input/data"]


@pytest.mark.parametrize("content", [b"", b"no image", IMAGE[:40]], ids=["empty", "text", "cut"])
def test_a_file_that_is_no_image_is_refused(content: bytes) -> None:
    with pytest.raises(InputInvalid):
        image(data(content))


@pytest.mark.parametrize("text", ["", "x", "0" * 31, "../../etc/passwd"])
def test_an_upload_id_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputInvalid) as caught:
        image({"upload_id": text})
    assert pointers(caught.value) == ["/input/upload_id"]


def test_an_upload_that_is_not_there_is_not_found() -> None:
    with pytest.raises(UploadNotFound):
        image({"upload_id": str(ABSENT)})


@pytest.mark.parametrize(
    "value",
    [data(png(noise(80, 80))), png(noise(80, 80)), {"upload_id": str(LARGE)}],
    ids=["data", "bytes", "upload"],
)
def test_a_file_past_the_limit_is_refused(value: Any) -> None:
    with pytest.raises(BodyTooLarge, match=str(LIMIT_BYTES)):
        image(value)


def test_a_file_of_exactly_the_limit_is_accepted_and_a_larger_one_is_not() -> None:
    content = png(noise(40, 40))
    assert image(data(content), limit_bytes=len(content)).payload == content
    with pytest.raises(BodyTooLarge):
        image(data(content + bytes(3)), limit_bytes=len(content))


def test_what_a_job_waits_for_is_taken_over() -> None:
    not_before = datetime.now(UTC) + timedelta(hours=1)
    found = tabular(after=[STORED, ABSENT], not_before=not_before)
    assert (list(found.after), found.not_before) == ([STORED, ABSENT], not_before)


def test_a_job_that_is_named_twice_is_refused_where_it_is_named_again() -> None:
    with pytest.raises(AfterUnsuitable) as caught:
        tabular(after=[STORED, ABSENT, STORED])
    assert pointers(caught.value) == ["/after/2"]


@pytest.mark.parametrize("hours", [0, 1])
def test_a_time_to_begin_that_is_not_before_the_deadline_is_refused(hours: int) -> None:
    deadline = datetime.now(UTC) + timedelta(hours=1)
    with pytest.raises(RequestInvalid) as caught:
        tabular(deadline=deadline, not_before=deadline + timedelta(hours=hours))
    assert pointers(caught.value) == ["/not_before"]


@pytest.mark.parametrize("year", [1999, 9001])
def test_a_time_to_begin_outside_of_all_calendars_is_refused(year: int) -> None:
    with pytest.raises(RequestInvalid) as caught:
        tabular(not_before=datetime(year, 6, 1, tzinfo=UTC))
    assert pointers(caught.value) == ["/not_before"]


def test_an_option_that_the_model_does_not_offer_is_named() -> None:
    with pytest.raises(InputInvalid) as caught:
        tabular(options={"top": 3})
    assert pointers(caught.value) == ["/options/top"]


def test_faults_of_the_input_and_of_the_options_are_named_together() -> None:
    with pytest.raises(InputInvalid) as caught:
        tabular(input={"dose": "much"}, options={"top": 3}, explain=True)
    assert pointers(caught.value) == ["/explain", "/input/dose", "/input/age", "/options/top"]
