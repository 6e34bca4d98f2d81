"""The actions that the schema names are those of the code: in the conditions of indexes and in its functions."""

import re

import pytest

from service import lifecycle
from service.audit import Action
from service.db import Database

NAMED = re.compile(r"'((?:job|batch|webhook|schedule|upload|artifact|result|model|tenant|key)\.[a-z_]+)'")
INDEXES = "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'audit_event'"
FUNCTIONS = (
    "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prosrc IS NOT NULL"
)

ENDS_OF_JOBS = {f"job.{state}" for state in lifecycle.FINAL_STATES}
ENDS_OF_BATCHES = {f"batch.{state}" for state in lifecycle.ENDED_BATCH_STATES}


@pytest.fixture
def indexed(database: Database) -> dict[str, set[str]]:
    """The actions that each index of the trail is restricted to."""
    with database.statement() as work:
        return {row.indexname: set(NAMED.findall(row.indexdef)) for row in work.execute(INDEXES)}


def test_what_ends_a_job_or_a_batch_once_is_what_the_unique_indexes_name(
    indexed: dict[str, set[str]],
) -> None:
    assert indexed["uq_audit_event_closing"] == ENDS_OF_JOBS
    assert indexed["uq_audit_event_batch_closing"] == ENDS_OF_BATCHES


def test_what_was_published_before_there_was_a_flag_is_what_the_index_of_the_feed_names(
    indexed: dict[str, set[str]],
) -> None:
    assert indexed["ix_audit_event_feed"] == set(lifecycle.PUBLISHED_BEFORE_FLAG)
    assert set(lifecycle.PUBLISHED_BEFORE_FLAG) <= set(lifecycle.PUBLISHED_ACTIONS)


def test_indexes_and_functions_name_no_action_that_is_none(
    database: Database, indexed: dict[str, set[str]]
) -> None:
    with database.statement() as work:
        in_functions = {action for row in work.execute(FUNCTIONS) for action in NAMED.findall(row.prosrc)}
    assert set().union(in_functions, *indexed.values()) <= set(Action)
