"""The job store's tests see the bugs they are there for: each is put in on purpose, and they must fail.

Each flaw has a scenario of the state machine's own steps, which the product passes; the machine by itself must find
them too, the rarer ones in a full run. Nothing else in the tests swaps the product's own text; here the flaw is the subject.
"""

import importlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from service import leases
from service.errors import ServiceError
from service.jobs import execution, predecessors, queries, sweeps
from tests.conftest import TEMPLATE, fresh_database
from tests.faults.job_store_bench import Bench, bench
from tests.faults.job_store_machine import JobStoreMachine, Turn
from tests.faults.job_store_model import broken_promises

FENCE_IN_JOB = "AND job.fence = held.fence"
STATE_IN_JOB = "AND job.state = 'running'"
SEEN = (AssertionError, psycopg.Error, ServiceError)


@dataclass(frozen=True)
class Swap:
    """One piece of a statement, and what a careless hand makes of it."""

    module: ModuleType
    name: str
    old: str
    new: str = ""


@dataclass(frozen=True)
class Flaw:
    """A bug: statements changed, parts of the schema taken away, steps by which it shows; how soon chance finds it."""

    scenario: Callable[[JobStoreMachine], None]
    swaps: tuple[Swap, ...] = ()
    schema: tuple[str, ...] = ()
    found: Literal["soon", "late", "hardly"] = "late"


def late_write_back(what: str) -> Callable[[JobStoreMachine], None]:
    """A claimant loses its lease, another claims the job, and the first writes back."""

    def scenario(machine: JobStoreMachine) -> None:
        _step(machine, machine.submit)
        _step(machine, lambda: machine.crash(taken_over=True))
        _step(machine, machine.pass_time)
        _step(machine, lambda: machine.write_back(what=what, late=True))

    return scenario


def end_after_cancel(machine: JobStoreMachine) -> None:
    """A job is canceled while it is scored."""
    _step(machine, machine.submit)
    _step(machine, machine.claim)
    _step(machine, machine.cancel)
    _step(machine, lambda: machine.write_back(late=True))


def end_against_an_open_cancel(machine: JobStoreMachine) -> None:
    """The cancel is not committed yet when the result comes."""
    _step(machine, machine.submit)
    _step(machine, machine.claim)
    _step(machine, lambda: machine.cancel(Turn(1, hold=True)))
    _step(machine, lambda: machine.write_back(Turn(0, commit=True)))


def claims_side_by_side(machine: JobStoreMachine) -> None:
    """A second worker claims while the first has not committed its claim."""
    _step(machine, lambda: machine.submit(count=3))
    _step(machine, lambda: machine.claim(Turn(0, hold=True), limit=2))
    _step(machine, lambda: machine.claim(Turn(1), limit=2))
    _step(machine, machine.finish)


def result_written_twice(machine: JobStoreMachine) -> None:
    """A job that has its result is written back once more."""
    _step(machine, machine.submit)
    _step(machine, machine.claim)
    _step(machine, machine.write_back)
    _step(machine, lambda: machine.write_back(late=True))


def cancel_after_the_result(machine: JobStoreMachine) -> None:
    """A job that has its result is called off."""
    result_written_twice(machine)
    _step(machine, machine.cancel)


def forbidden_statements(machine: JobStoreMachine) -> None:
    """Somebody adds to a job that has succeeded, past the code."""
    _step(machine, machine.submit)
    _step(machine, machine.claim)
    _step(machine, machine.write_back)
    for name in ("second result", "second end recorded", "end state left for the queue", "fence put back"):
        machine.try_the_forbidden(name)


def wake_up_lost(machine: JobStoreMachine) -> None:
    """Redis forgets the wake-up of a job that nobody has claimed."""
    _step(machine, machine.submit)
    _step(machine, lambda: machine.sweep(what="rewake"))
    assert machine.bench.queue.waiting, "nobody will ever claim the job"


def crashes(machine: JobStoreMachine) -> None:
    """A job kills its worker each time it is claimed."""
    _step(machine, machine.submit)
    _step(machine, lambda: machine.crash(3))
    _step(machine, machine.requeue)


def fan_in(machine: JobStoreMachine) -> None:
    """A job waits for two, one of which ends."""
    _step(machine, lambda: machine.submit(count=2))
    _step(machine, lambda: machine.follow(picked=(0, 1)))
    _step(machine, machine.claim)
    _step(machine, machine.write_back)
    _step(machine, machine.claim)
    _step(machine, machine.write_back)


def chain_called_off(machine: JobStoreMachine) -> None:
    """The first job of a chain of three is canceled."""
    _step(machine, machine.submit)
    _step(machine, machine.follow)
    _step(machine, machine.follow)
    _step(machine, lambda: machine.cancel(pick=2))


def abstention(machine: JobStoreMachine) -> None:
    """A job waits for one whose model gives no answer."""
    _step(machine, machine.submit)
    _step(machine, machine.follow)
    _step(machine, machine.claim)
    _step(machine, lambda: machine.write_back(what="abstain"))


def two_ends_meet(machine: JobStoreMachine) -> None:
    """Two jobs end side by side for which a third waits."""
    _step(machine, lambda: machine.submit(count=2))
    _step(machine, lambda: machine.follow(picked=(0, 1)))
    _step(machine, machine.claim)
    _step(machine, machine.claim)
    _step(machine, lambda: machine.write_back(Turn(0, hold=True), back=(0,)))
    _step(machine, lambda: machine.write_back(Turn(1, commit=True), back=(1,)))


def end_against_an_open_follow(machine: JobStoreMachine) -> None:
    """A job comes in that waits for one whose result comes before the submit is committed."""
    _step(machine, machine.submit)
    _step(machine, machine.claim)
    _step(machine, lambda: machine.follow(Turn(1, hold=True)))
    _step(machine, lambda: machine.write_back(Turn(0, commit=True)))


FOLLOW = importlib.import_module("migrations.versions.0012_jobs_that_wait").FOLLOW


def follow_without(old: str, new: str = "") -> tuple[str, ...]:
    """The function that releases and ends waiting jobs, with a piece of it changed."""
    assert old in FOLLOW, "the function reads differently now: mend the flaw's description"
    return (FOLLOW.replace(old, new),)


NO_CHECK_IN_END = (Swap(execution, "END", FENCE_IN_JOB), Swap(execution, "END", STATE_IN_JOB))
NO_INDEX_OF_ENDS = "DROP INDEX uq_audit_event_closing"
NO_KEY_OF_RESULTS = "ALTER TABLE job_result DROP CONSTRAINT pk_job_result"

FLAWS = {
    "end without fence": Flaw(late_write_back("succeed"), (Swap(execution, "END", FENCE_IN_JOB),)),
    "retry without fence": Flaw(late_write_back("retry"), (Swap(execution, "RETRY", FENCE_IN_JOB),)),
    "release without fence": Flaw(late_write_back("release"), (Swap(execution, "RELEASE", FENCE_IN_JOB),)),
    "renewal without fence": Flaw(
        late_write_back("renew"), (Swap(leases, "RENEW", "AND {t}.fence = held.fence"),)
    ),
    "claim that keeps the fence": Flaw(
        late_write_back("succeed"),
        (Swap(execution, "CLAIM", "fence = job.fence + 1", "fence = job.fence"),),
        found="soon",
    ),
    "end of what was canceled": Flaw(end_after_cancel, (Swap(execution, "END", STATE_IN_JOB),)),
    "end of what is being canceled": Flaw(
        end_against_an_open_cancel, (Swap(execution, "END", STATE_IN_JOB),), found="hardly"
    ),
    "claim that waits": Flaw(claims_side_by_side, (Swap(execution, "CLAIM", "SKIP LOCKED"),)),
    "second result": Flaw(
        result_written_twice, NO_CHECK_IN_END, (NO_INDEX_OF_ENDS, NO_KEY_OF_RESULTS), found="hardly"
    ),
    "second result, past the code": Flaw(forbidden_statements, schema=(NO_KEY_OF_RESULTS,)),
    "second closing event, past the code": Flaw(forbidden_statements, schema=(NO_INDEX_OF_ENDS,)),
    "end state left, past the code": Flaw(
        forbidden_statements, schema=("DROP TRIGGER job_guard ON job",), found="hardly"
    ),
    "end without its event": Flaw(
        result_written_twice,
        (Swap(execution, "END", "FROM ended RETURNING", "FROM ended WHERE false RETURNING"),),
    ),
    "wake-up never sent again": Flaw(
        wake_up_lost, (Swap(sweeps, "WITH_WORK", "WHERE EXISTS", "WHERE false AND EXISTS"),), found="soon"
    ),
    "crash not counted": Flaw(
        crashes, (Swap(sweeps, "RESCUE", "crash_count + (claim_size = 1)::int", "crash_count"),), found="soon"
    ),
    "release by the first of several": Flaw(fan_in, schema=follow_without("AND id <> ALL (held_up)")),
    "failure that is not passed on": Flaw(
        chain_called_off,
        schema=follow_without("reached := reached || ARRAY", "PERFORM ARRAY"),
    ),
    "release by an abstention": Flaw(
        abstention,
        schema=follow_without("OR (predecessor.state = 'succeeded' AND predecessor.abstained IS NOT FALSE)"),
    ),
    "release that does not wait": Flaw(
        two_ends_meet, schema=follow_without("ORDER BY id FOR UPDATE", "ORDER BY id FOR UPDATE SKIP LOCKED")
    ),
    "end that nobody follows up": Flaw(fan_in, schema=("DROP TRIGGER job_ended ON job",), found="soon"),
    "predecessor that is not held": Flaw(
        end_against_an_open_follow,
        (
            Swap(predecessors, "MARK", "SET followed = true", "SET followed = followed"),
            Swap(predecessors, "LOCK", "AND followed AND state", "AND state"),
            Swap(predecessors, "LOCK", "FOR SHARE SKIP LOCKED"),
        ),
    ),
    "cancel of what has ended": Flaw(
        cancel_after_the_result,
        (Swap(queries, "CANCEL", "AND state IN ('waiting', 'queued', 'running')"),),
        found="soon",
    ),
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each run searches for the flaws that are found within seconds, a full one for the others too."""
    if "to_find" in metafunc.fixturenames:
        full = metafunc.config.getoption("--faults", default="short") == "full"
        wanted = {"soon", "late"} if full else {"soon"}
        metafunc.parametrize("to_find", [name for name, flaw in FLAWS.items() if flaw.found in wanted])


@pytest.fixture(scope="module")
def sound(template: Any) -> Iterator[Bench]:
    """A bench whose schema stays whole."""
    with fresh_database(template, TEMPLATE) as url, bench(url) as opened:
        yield opened


@contextmanager
def put_in(flaw: Flaw, sound: Bench, template: Any) -> Iterator[Bench]:
    """A bench with the flaw; the product's text is whole again afterwards."""
    with ExitStack() as stack:
        for swap in flaw.swaps:
            text = getattr(swap.module, swap.name)
            assert swap.old in text, "the statement reads differently now: mend the flaw's description"
            stack.callback(setattr, swap.module, swap.name, text)
            setattr(swap.module, swap.name, text.replace(swap.old, swap.new))
        if not flaw.schema:
            yield sound
            return
        opened = stack.enter_context(bench(stack.enter_context(fresh_database(template, TEMPLATE))))
        for statement in flaw.schema:
            opened.change_schema(statement)
        yield opened


def _step(machine: JobStoreMachine, step: Callable[[], None]) -> None:
    step()
    machine.model_and_database_agree()


def _play(opened: Bench, scenario: Callable[[JobStoreMachine], None]) -> None:
    machine = JobStoreMachine(opened)
    try:
        scenario(machine)
    finally:
        machine.teardown()


def _search(opened: Bench) -> None:
    """The machine by itself, always the same runs, without making a failure smaller."""
    run_state_machine_as_test(
        lambda: JobStoreMachine(opened),  # type: ignore[arg-type]  # any factory will do, says its docstring
        settings=settings(
            max_examples=2_000,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("name", FLAWS)
def test_the_product_passes_what_a_flaw_fails(name: str, sound: Bench, template: Any) -> None:
    flaw = FLAWS[name]
    _play(sound, flaw.scenario)
    with put_in(flaw, sound, template) as flawed, pytest.raises(SEEN):
        _play(flawed, flaw.scenario)
    _play(sound, flaw.scenario)


@pytest.mark.timeout(900)
def test_the_machine_finds_a_flaw_by_itself(to_find: str, sound: Bench, template: Any) -> None:
    with put_in(FLAWS[to_find], sound, template) as flawed, pytest.raises(SEEN):
        _search(flawed)


def test_the_key_of_results_refuses_a_second_result_that_the_code_lets_through(
    sound: Bench, template: Any
) -> None:
    flaw = Flaw(result_written_twice, NO_CHECK_IN_END, (NO_INDEX_OF_ENDS,))
    with put_in(flaw, sound, template) as flawed:
        with pytest.raises(psycopg.errors.UniqueViolation, match="pk_job_result"):
            _play(flawed, flaw.scenario)
        assert [len(seen.results) for seen in flawed.seen().values()] == [1]


def test_without_that_key_a_second_result_is_seen(sound: Bench, template: Any) -> None:
    with put_in(FLAWS["second result"], sound, template) as flawed:
        with pytest.raises(AssertionError):
            _play(flawed, result_written_twice)
        (promise,) = broken_promises(flawed.seen(), {})[:1]
        assert promise.endswith("there is one result at most")
