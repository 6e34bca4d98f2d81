"""Quotas of uploads: what is refused, what is said about when, and how often the database is asked."""

import threading
from dataclasses import dataclass, field
from uuid import UUID

import pytest

from service.errors import BodyTooLarge, ServiceError, StorageQuotaExceeded, UploadQuotaExceeded
from service.quotas import HOUR_S, HOURS, UploadQuotas, Usage

TENANT, OTHER = UUID(int=1), UUID(int=2)
IN_A_DAY, IN_ALL = 100, 1000


@dataclass
class Store:
    """What tenants have uploaded, and a clock. Stands in for the database."""

    by_hour: dict[int, int] = field(default_factory=dict)
    before: int = 0
    counts: int = 0
    count_s: float = 0.0
    now_s: float = 50.0

    def count(self, tenant_id: UUID) -> Usage:
        self.counts += 1
        self.now_s += self.count_s
        if tenant_id != TENANT:
            return Usage()
        return Usage(
            [self.by_hour.get(hour, 0) for hour in range(HOURS)], self.before + sum(self.by_hour.values())
        )

    def quotas(self) -> UploadQuotas:
        return UploadQuotas(self.count, in_a_day=IN_A_DAY, in_all=IN_ALL, clock=lambda: self.now_s)


def refused(quotas: UploadQuotas, size_bytes: int) -> ServiceError | None:
    """Try to upload so much; the refusal, or None."""
    try:
        with quotas.room(TENANT, size_bytes):
            return None
    except ServiceError as error:
        return error


def test_what_fits_is_taken_and_counts_at_once() -> None:
    quotas = Store().quotas()
    assert refused(quotas, 60) is None
    assert isinstance(refused(quotas, 41), UploadQuotaExceeded)
    assert refused(quotas, 40) is None
    with quotas.room(OTHER, 100):
        pass


def test_an_upload_that_failed_gives_its_room_back() -> None:
    quotas = Store().quotas()
    with pytest.raises(OSError, match="broken"), quotas.room(TENANT, 100):
        raise OSError("broken")
    assert refused(quotas, 100) is None


def test_what_is_more_than_a_day_may_have_is_too_large_for_ever() -> None:
    assert isinstance(refused(Store().quotas(), 101), BodyTooLarge)


@pytest.mark.parametrize(
    ("by_hour", "size_bytes", "hours"),
    [
        ({23: 50, 0: 50}, 30, 1),
        ({23: 50, 0: 50}, 51, 24),
        ({23: 10, 12: 40, 5: 50}, 50, 12),
        ({5: 100}, 100, 19),
        ({23: 200}, 1, 1),
    ],
)
def test_a_refusal_says_by_when_there_is_room(by_hour: dict[int, int], size_bytes: int, hours: int) -> None:
    error = refused(Store(by_hour).quotas(), size_bytes)
    assert isinstance(error, UploadQuotaExceeded)
    assert error.retry_after_s == hours * HOUR_S
    assert f"in {hours} hours" in error.detail
    assert f"has uploaded {sum(by_hour.values())}." in error.detail


def test_who_has_too_much_stored_is_told_what_to_raise() -> None:
    quotas = Store({0: 1}, before=949).quotas()
    assert refused(quotas, 50) is None
    error = refused(quotas, 1)
    assert isinstance(error, StorageQuotaExceeded)
    assert "has 1000 of 1000 bytes" in error.detail
    assert "MEDQUEUE_UPLOADED_BYTES_PER_TENANT" in error.detail


def test_the_database_is_asked_once_a_second_and_what_was_stored_meanwhile_is_not_forgotten() -> None:
    store = Store()
    quotas = store.quotas()
    for _ in range(5):
        assert refused(quotas, 10) is None
    assert store.counts == 1
    store.now_s += 1.0
    store.by_hour = {0: 50}
    assert refused(quotas, 50) is None
    assert (store.counts, type(refused(quotas, 1))) == (2, UploadQuotaExceeded)


def test_what_is_stored_during_a_count_is_not_forgotten_with_what_it_has_seen() -> None:
    store = Store()
    count = store.count

    def counting(tenant_id: UUID) -> Usage:
        usage = count(tenant_id)
        if store.counts == 2:
            quotas._known[TENANT].added += 70  # by another thread that looked just before
        return usage

    quotas = UploadQuotas(counting, in_a_day=IN_A_DAY, in_all=IN_ALL, clock=lambda: store.now_s)
    assert refused(quotas, 10) is None
    store.now_s += 1.0
    assert isinstance(refused(quotas, 31), UploadQuotaExceeded)
    assert refused(quotas, 30) is None


def test_a_long_count_is_repeated_less_often() -> None:
    store = Store(count_s=2.0)
    quotas = store.quotas()
    for pause_s, counts in ((0.0, 1), (99.0, 1), (2.0, 2)):
        store.now_s += pause_s
        refused(quotas, 1)
        assert store.counts == counts


def test_uploads_at_the_same_time_take_no_more_than_there_is() -> None:
    quotas, outcomes, together = Store().quotas(), list[bool](), threading.Barrier(8)

    def upload() -> None:
        together.wait(5)
        outcomes.append(refused(quotas, 30) is None)

    threads = [threading.Thread(target=upload) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert sorted(outcomes) == [False] * 5 + [True] * 3
