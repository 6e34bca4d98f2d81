"""Many cases at once: what keeps one out is told of that case, what keeps all of them out is raised."""

import gc
import weakref
from typing import Any
from uuid import UUID

import pytest

from service.accounts import Principal, Scope
from service.crypto import Cipher
from service.desk import Desk, JobRequest
from service.desk.intake import Intake
from service.errors import (
    DatabaseUnavailable,
    InputInvalid,
    ModelNotFound,
    QueueFull,
    ScopeMissing,
    ServiceError,
)
from service.jobs.admission import Admission

UNUSED: Any = None
JOB_ID = UUID(int=3)
CASE = JobRequest("m", {})


ROOM = Admission(lambda: {None: 0}, most=10, most_of_tenant=10)
FULL = Admission(lambda: {None: 9}, most=10, most_of_tenant=10)


class Refusing(Intake):
    """Finds the same fault with every case."""

    def __init__(self, error: ServiceError) -> None:
        self._error = error
        self.asked = 0

    def lookup_deadline(self) -> float:
        """See Intake."""
        return 0.0

    def checked(self, *_: Any, **__: Any) -> Any:
        """See Intake."""
        self.asked += 1
        raise self._error


def desk_with(intake: Intake, admission: Admission = ROOM) -> Desk:
    unused = dict.fromkeys(("catalog", "waiting", "artifact_store", "workers"), UNUSED)
    return Desk(UNUSED, intake=intake, admission=admission, **unused)


def desk(error: ServiceError | None = None) -> Desk:
    return desk_with(Refusing(error or ModelNotFound()))


def caller(*scopes: Scope) -> Principal:
    return Principal("0123456789ab", UUID(int=1), frozenset(scopes), Cipher(bytes(32)))


def test_a_case_at_fault_is_told_so_beside_the_others() -> None:
    refused, fault = InputInvalid(), ModelNotFound()
    answers = desk(fault).submit_many(caller(Scope.JOBS_WRITE), [refused, CASE, refused])
    assert answers == [refused, fault, refused]


class Input(dict[str, Any]):
    """An input that can be watched."""


class Checking(Refusing):
    """Raises a new fault for each case, while another one is handled, as a check of an input does."""

    def checked(self, *_: Any, **__: Any) -> Any:
        """See Intake."""
        try:
            return int("much")
        except ValueError:
            raise InputInvalid from None


def test_refused_inputs_are_not_kept() -> None:
    """Large ones would stay for a long time: the garbage of processes that have started is hardly ever looked through."""
    checking = desk_with(Checking(ModelNotFound()))
    given = Input()
    watched = weakref.ref(given)
    gc.disable()
    try:
        [refused] = checking.submit_many(caller(Scope.JOBS_WRITE), [JobRequest("m", given)])
        assert isinstance(refused, InputInvalid)
        del given, refused
        assert watched() is None
    finally:
        gc.enable()


def test_many_cases_for_which_the_queue_has_no_room_are_not_checked() -> None:
    intake = Refusing(ModelNotFound())
    full = desk_with(intake, FULL)
    with pytest.raises(QueueFull):
        full.submit_many(caller(Scope.JOBS_WRITE), [CASE, CASE])
    assert intake.asked == 0


def test_cases_that_are_refused_take_no_room() -> None:
    full = desk_with(Refusing(ModelNotFound()), FULL)
    for _ in range(3):
        full.submit_many(caller(Scope.JOBS_WRITE), [CASE, ModelNotFound()])


def test_a_postgres_that_is_unavailable_is_no_fault_of_a_case() -> None:
    with pytest.raises(DatabaseUnavailable):
        desk(DatabaseUnavailable()).submit_many(caller(Scope.JOBS_WRITE), [CASE])


@pytest.mark.parametrize(
    "call",
    [
        lambda desk, who: desk.submit(who, CASE),
        lambda desk, who: desk.submit_many(who, [CASE]),
        lambda desk, who: desk.cancel(who, JOB_ID),
    ],
    ids=["submit", "submit many", "cancel"],
)
def test_whoever_may_only_read_changes_nothing(call: Any) -> None:
    with pytest.raises(ScopeMissing):
        call(desk(), caller(Scope.JOBS_READ))


@pytest.mark.parametrize(
    "call",
    [
        lambda desk, who: desk.read(who, JOB_ID),
        lambda desk, who: desk.read_many(who, [JOB_ID]),
        lambda desk, who: desk.newest(who, UNUSED, before=None, limit=1),
        lambda desk, who: desk.events(who, JOB_ID, after=None, limit=1),
        lambda desk, who: desk.artifact(who, JOB_ID, "mask.png"),
        lambda desk, who: desk.open_artifact(who, UNUSED, {}),
    ],
    ids=["read", "read many", "list", "events", "artifact", "open artifact"],
)
def test_whoever_may_only_submit_reads_nothing(call: Any) -> None:
    with pytest.raises(ScopeMissing):
        call(desk(), caller(Scope.JOBS_WRITE))
