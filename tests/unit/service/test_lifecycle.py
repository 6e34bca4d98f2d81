"""The transition table of jobs: what it must allow, whatever states it has."""

import ast
import sys
from pathlib import Path

import pytest

import service.lifecycle
from service.lifecycle import (
    BATCH_TRANSITIONS,
    ENDED_BATCH_STATES,
    ENDED_STATES,
    FINAL_STATES,
    PRIORITY_HEADSTART_S,
    TRANSITIONS,
    BatchState,
    JobState,
    Priority,
)


def reachable_from(start: JobState) -> set[JobState]:
    found, todo = {start}, [start]
    while todo:
        fresh = TRANSITIONS[todo.pop()] - found
        found |= fresh
        todo.extend(fresh)
    return found


def test_every_state_stands_in_the_table() -> None:
    assert set(TRANSITIONS) == set(JobState)


def test_every_state_can_be_reached_from_where_a_job_begins() -> None:
    assert reachable_from(JobState.QUEUED) == set(JobState) - {JobState.WAITING}
    assert reachable_from(JobState.WAITING) == set(JobState)


def test_a_job_waits_only_before_it_is_queued() -> None:
    assert [state for state in JobState if JobState.WAITING in TRANSITIONS[state]] == []


@pytest.mark.parametrize("state", JobState)
def test_from_every_state_a_job_can_still_end(state: JobState) -> None:
    assert reachable_from(state) & ENDED_STATES


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED, JobState.EXPIRED])
def test_a_final_state_is_never_left(state: JobState) -> None:
    assert state in FINAL_STATES
    assert reachable_from(state) == {state}


def test_a_quarantined_job_has_ended_and_can_only_be_queued_again() -> None:
    assert JobState.QUARANTINED in ENDED_STATES - FINAL_STATES
    assert TRANSITIONS[JobState.QUARANTINED] == {JobState.QUEUED}


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.QUARANTINED])
def test_only_a_running_job_ends_by_what_a_worker_did(state: JobState) -> None:
    assert [source for source in JobState if state in TRANSITIONS[source]] == [JobState.RUNNING]


def test_a_job_fails_by_its_run_or_by_what_it_waits_for() -> None:
    failing = [source for source in JobState if JobState.FAILED in TRANSITIONS[source]]
    assert failing == [JobState.WAITING, JobState.RUNNING]


def test_only_a_job_that_no_worker_has_expires() -> None:
    assert [source for source in JobState if JobState.EXPIRED in TRANSITIONS[source]] == [
        JobState.WAITING,
        JobState.QUEUED,
    ]


def test_no_state_leads_to_itself() -> None:
    assert [state for state in JobState if state in TRANSITIONS[state]] == []


def batches_reach(start: BatchState) -> set[BatchState]:
    found, todo = {start}, [start]
    while todo:
        fresh = BATCH_TRANSITIONS[todo.pop()] - found
        found |= fresh
        todo.extend(fresh)
    return found


def test_every_state_of_a_batch_stands_in_its_table_and_can_be_reached() -> None:
    assert set(BATCH_TRANSITIONS) == set(BatchState) == batches_reach(BatchState.VALIDATING)


@pytest.mark.parametrize("state", BatchState)
def test_from_every_state_a_batch_can_still_end(state: BatchState) -> None:
    assert batches_reach(state) & ENDED_BATCH_STATES


def test_the_end_states_of_a_batch_are_never_left() -> None:
    assert {"completed", "failed", "canceled", "expired"} == ENDED_BATCH_STATES
    assert all(batches_reach(state) == {state} for state in ENDED_BATCH_STATES)


def test_a_batch_is_completed_by_finalizing_and_by_nothing_else() -> None:
    assert [state for state in BatchState if BatchState.COMPLETED in BATCH_TRANSITIONS[state]] == [
        "finalizing"
    ]


def test_work_that_is_all_done_does_not_expire() -> None:
    assert BatchState.EXPIRED not in BATCH_TRANSITIONS[BatchState.FINALIZING]


def test_a_more_pressing_job_gives_way_for_a_shorter_time() -> None:
    headstarts = [PRIORITY_HEADSTART_S[priority] for priority in Priority]
    assert headstarts == sorted(set(headstarts))
    assert headstarts[0] == 0


def test_the_table_needs_the_standard_library_only() -> None:
    tree = ast.parse(Path(service.lifecycle.__file__).read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported <= sys.stdlib_module_names
    assert not any(isinstance(node, ast.Import) for node in ast.walk(tree))
