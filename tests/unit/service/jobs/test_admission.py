"""Room in the queue: bounds, what is known between two counts, and who counts."""

import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from service.errors import DatabaseUnavailable, QueueFull, ServiceError, TenantQueueFull
from service.jobs.admission import COUNTED_EVERY_S, PAUSES, Admission, Tally
from service.metrics import REGISTRY

TENANT, OTHER = UUID(int=1), UUID(int=2)
MOST_OF_TENANT, MOST = 10, 15


class Queue:
    """What a count finds, how long it takes, and a clock that only it moves."""

    def __init__(self, found: Tally | None = None) -> None:
        self.found: Tally = found or {None: 0}
        self.now = 100.0
        self.takes_s = 0.0
        self.away = False
        self.counts = 0

    def count(self) -> Tally:
        """See Admission."""
        self.counts += 1
        self.now += self.takes_s
        if self.away:
            raise DatabaseUnavailable
        return self.found

    def admission(self) -> Admission:
        """Bounds over this queue."""
        return Admission(self.count, most=MOST, most_of_tenant=MOST_OF_TENANT, clock=lambda: self.now)


def accept(admission: Admission, jobs: int = 1, tenant_id: UUID = TENANT) -> None:
    with admission.room(tenant_id, jobs):
        pass


def refused(admission: Admission, jobs: int = 1, tenant_id: UUID = TENANT) -> QueueFull:
    with pytest.raises(QueueFull) as caught:
        accept(admission, jobs, tenant_id)
    return caught.value


def test_jobs_are_accepted_up_to_the_tenants_bound() -> None:
    admission = Queue({TENANT: 9, None: 9}).admission()
    accept(admission)
    assert isinstance(refused(admission), TenantQueueFull)


def test_jobs_of_all_tenants_are_accepted_up_to_the_whole_bound() -> None:
    admission = Queue({TENANT: 8, OTHER: 6, None: 14}).admission()
    accept(admission)
    assert type(refused(admission)) is QueueFull
    assert type(refused(admission, tenant_id=OTHER)) is QueueFull


def test_a_tenant_that_is_full_holds_up_no_other() -> None:
    admission = Queue({TENANT: 10, None: 10}).admission()
    refused(admission)
    accept(admission, 5, OTHER)


def test_a_tenant_past_its_own_bound_is_told_so_though_all_is_full() -> None:
    assert isinstance(refused(Queue({TENANT: 10, None: 15}).admission()), TenantQueueFull)


def test_many_jobs_are_accepted_whole_or_not_at_all() -> None:
    admission = Queue({TENANT: 5, None: 5}).admission()
    refused(admission, 6)
    accept(admission, 5)


def test_room_taken_for_what_was_not_stored_is_given_back() -> None:
    admission = Queue().admission()
    for _ in range(3):
        with pytest.raises(DatabaseUnavailable), admission.room(TENANT, MOST_OF_TENANT):
            raise DatabaseUnavailable
    accept(admission, MOST_OF_TENANT)


def test_room_that_is_not_filled_is_given_back() -> None:
    admission = Queue().admission()
    with admission.room(TENANT, 8) as room:
        refused(admission, 3)
        room.filled = 3
    accept(admission, MOST_OF_TENANT - 3)
    refused(admission)


def test_a_full_queue_has_room_for_nothing_new() -> None:
    """As a request that repeats what has been stored brings."""
    accept(Queue({TENANT: MOST_OF_TENANT + 5, None: MOST}).admission(), 0)


def test_room_is_taken_while_jobs_are_being_stored() -> None:
    admission = Queue().admission()
    with admission.room(TENANT, MOST_OF_TENANT):
        refused(admission)


def test_a_count_replaces_what_was_accepted_before_it() -> None:
    queue = Queue()
    admission = queue.admission()
    accept(admission, 10)
    queue.now += COUNTED_EVERY_S  # the workers have been busy: nothing waits any more
    accept(admission, 10)
    refused(admission)


def test_what_is_accepted_during_a_count_is_added_to_it() -> None:
    queue = Queue()
    admission = queue.admission()
    accept(admission)
    queue.now += COUNTED_EVERY_S
    found = queue.count

    def count() -> Tally:
        accept(admission, 4)  # by another thread, which goes on with what is known
        return found()

    queue.found = {TENANT: 5, None: 5}
    admission._count = count
    accept(admission)
    refused(admission)


def test_a_second_is_one_count() -> None:
    queue = Queue()
    admission = queue.admission()
    for _ in range(5):
        accept(admission)
        queue.now += COUNTED_EVERY_S / 5 - 0.001
    assert queue.counts == 1
    queue.now += COUNTED_EVERY_S / 5
    accept(admission)
    assert queue.counts == 2


def test_counting_takes_up_little_of_the_time_however_long_it_takes() -> None:
    queue = Queue()
    queue.takes_s = 0.5
    admission = queue.admission()
    accept(admission)
    queue.now += 0.5 * PAUSES - 0.01
    accept(admission)
    assert queue.counts == 1
    queue.now += 0.02
    accept(admission)
    assert queue.counts == 2


def test_who_is_refused_is_told_when_the_next_count_is_due() -> None:
    queue = Queue({TENANT: 10, None: 10})
    admission = queue.admission()
    assert refused(admission).retry_after_s == 1
    queue.takes_s, queue.now = 0.5, queue.now + 1
    refused(admission)
    queue.now += 4.5
    assert refused(admission).retry_after_s == 0.5 * PAUSES - 4


def test_without_postgres_the_submit_itself_says_so() -> None:
    queue = Queue()
    queue.away = True
    admission = queue.admission()
    accept(admission)
    assert queue.counts == 1


def test_without_postgres_the_last_count_stands_and_a_second_later_there_is_another() -> None:
    queue = Queue({TENANT: 10, None: 10})
    admission = queue.admission()
    refused(admission)
    queue.away, queue.takes_s, queue.now = True, 5.0, queue.now + 1
    refused(admission)
    queue.away, queue.takes_s, queue.found = False, 0.0, {None: 0}
    queue.now += COUNTED_EVERY_S
    accept(admission)


def test_the_first_count_is_waited_for_and_made_once() -> None:
    queue, release = Queue({TENANT: 10, None: 10}), threading.Event()
    found = queue.count

    def count() -> Tally:
        assert release.wait(10)
        return found()

    admission = queue.admission()
    admission._count = count
    with ThreadPoolExecutor(4) as pool:
        outcomes = [pool.submit(refused, admission) for _ in range(4)]
        release.set()
        assert all(isinstance(outcome.result(10), TenantQueueFull) for outcome in outcomes)
    assert queue.counts == 1


def test_while_one_counts_the_others_go_on_with_what_is_known() -> None:
    queue, counting, release = Queue(), threading.Event(), threading.Event()
    found = queue.count
    admission = queue.admission()
    accept(admission)

    def count() -> Tally:
        counting.set()
        assert release.wait(10)
        return found()

    admission._count = count
    queue.now += COUNTED_EVERY_S
    with ThreadPoolExecutor(1) as pool:
        counts = pool.submit(accept, admission)
        assert counting.wait(10)
        accept(admission)
        release.set()
        counts.result(10)
    assert queue.counts == 2


@pytest.mark.parametrize(
    ("found", "reason"), [({TENANT: 10, None: 10}, "tenant_queue_full"), ({None: 15}, "queue_full")]
)
def test_a_refusal_is_counted_by_its_reason(found: Tally, reason: str) -> None:
    def counted() -> float:
        return REGISTRY.get_sample_value("medqueue_submits_refused_total", {"reason": reason}) or 0.0

    before = counted()
    error: ServiceError = refused(Queue(found).admission())
    assert (error.code, counted() - before) == (reason, 1)
