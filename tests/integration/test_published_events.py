"""Which events callers are notified of: a flag that the database sets, which a new type of event needs no new index for."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest

from service import audit
from service.accounts import Principal
from service.audit import Action
from service.crypto import Keyring
from service.db import Database
from service.lifecycle import PUBLISHED_ACTIONS
from service.schema import migrate, unmigrate
from service.webhooks import feed
from tests import factories

PREVIOUS = "0014"
FLAGGED = "SELECT action, published FROM audit_event"
INDEXES = "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'audit_event'"
TRAIL = "SELECT xmin::text, id, canon, leaf FROM audit_event ORDER BY id"
# As the previous release adds events and reads its feed.
APPEND = "INSERT INTO audit_event (tenant_id, actor, action) VALUES (%s, 'test', %s) RETURNING id"
FEED_OF_BEFORE = f"""
SELECT id FROM audit_event
WHERE tenant_id = %s AND action IN ({", ".join(f"'{action}'" for action in PUBLISHED_ACTIONS)})
    AND (xact_id, id) > (0, '00000000-0000-0000-0000-000000000000')
    AND xact_id < pg_snapshot_xmin(pg_current_snapshot())::text::bigint AND action = ANY (%s)
ORDER BY xact_id, id LIMIT 100
"""


def append(database: Database, tenant_id: UUID, action: Action) -> None:
    with database.transaction() as work:
        audit.append(work, action, actor="test", tenant_id=tenant_id)


def read(database: Database, caller: Principal, *types: str) -> list[str]:
    """The types of all events of these types in the feed."""
    with database.statement() as work:
        found, _ = feed.read(work, caller, feed.Place(0, feed.NOWHERE), types=types, limit=100)
    return [event.type for event in found]


@pytest.fixture
def caller(database: Database, keyring: Keyring) -> Principal:
    return factories.principal(database, keyring)


@pytest.fixture
def opened(database_url: str) -> Iterator["psycopg.Connection[Any]"]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def test_the_database_flags_what_callers_are_notified_of_and_nothing_else(
    database: Database, caller: Principal, opened: "psycopg.Connection[Any]"
) -> None:
    for action in Action:
        append(database, caller.tenant_id, action)
    flagged: dict[str, bool] = dict(opened.execute(FLAGGED).fetchall())
    assert {action for action, published in flagged.items() if published} == set(PUBLISHED_ACTIONS)
    assert set(flagged) == set(Action)


def test_a_new_type_of_event_needs_no_new_index(
    database: Database, caller: Principal, opened: "psycopg.Connection[Any]"
) -> None:
    indexes = opened.execute(INDEXES).fetchall()
    (function,) = opened.execute("SELECT pg_get_functiondef('audit_event_seal'::regproc)").fetchone() or ("",)
    opened.execute(function.replace("IN ('job.succeeded'", "IN ('key.revoked', 'job.succeeded'").encode())
    append(database, caller.tenant_id, Action.KEY_REVOKED)
    append(database, caller.tenant_id, Action.KEY_CREATED)
    append(database, caller.tenant_id, Action.JOB_OVERDUE)
    assert read(database, caller, "key.revoked", "key.created") == ["key.revoked"]
    assert read(database, caller, *PUBLISHED_ACTIONS, "key.revoked") == ["key.revoked", "job.overdue"]
    assert opened.execute(INDEXES).fetchall() == indexes


def test_a_type_that_is_asked_for_twice_is_read_once(database: Database, caller: Principal) -> None:
    append(database, caller.tenant_id, Action.JOB_OVERDUE)
    assert read(database, caller, "job.overdue", "job.overdue") == ["job.overdue"]


def test_the_flag_is_no_part_of_what_is_sealed(
    database: Database, caller: Principal, opened: "psycopg.Connection[Any]"
) -> None:
    append(database, caller.tenant_id, Action.JOB_OVERDUE)
    ((canon, leaf),) = opened.execute("SELECT canon, leaf FROM audit_event WHERE published").fetchall()
    assert sorted(audit.read_canon(canon)) == [
        *("action", "actor", "detail", "id", "job_id", "object", "occurred_at", "tenant_id")
    ]
    assert audit.leaf_of(canon) == leaf


def test_events_of_the_previous_release_stay_in_the_feed_and_are_not_rewritten(
    empty_database_url: str, keyring: Keyring
) -> None:
    migrate(empty_database_url, PREVIOUS)
    database = Database(empty_database_url)
    caller = factories.principal(database, keyring)
    with psycopg.connect(empty_database_url, autocommit=True) as opened:
        for action in Action:
            opened.execute(APPEND, (caller.tenant_id, action))
        before = opened.execute(TRAIL).fetchall()
        migrate(empty_database_url)
        assert opened.execute(TRAIL).fetchall() == before
    append(database, caller.tenant_id, Action.JOB_OVERDUE)
    assert sorted(read(database, caller, *Action)) == sorted([*PUBLISHED_ACTIONS, "job.overdue"])
    database.close()


def test_the_previous_release_adds_to_the_feed_and_reads_it_by_the_index(
    database: Database, caller: Principal, opened: "psycopg.Connection[Any]"
) -> None:
    """It runs while the schema is upgraded, and is started again where an upgrade is given up."""
    opened.execute("SET enable_seqscan = off")
    asked = caller.tenant_id, list(PUBLISHED_ACTIONS)
    told = [opened.execute(APPEND, (caller.tenant_id, action)).fetchone() for action in PUBLISHED_ACTIONS]
    opened.execute(APPEND, (caller.tenant_id, "job.submitted"))
    assert opened.execute(FEED_OF_BEFORE, asked).fetchall() == told
    assert sorted(read(database, caller, *Action)) == sorted(PUBLISHED_ACTIONS)
    plan = opened.execute("EXPLAIN " + FEED_OF_BEFORE, asked).fetchall()
    assert any("ix_audit_event_feed" in line for (line,) in plan), plan


def test_going_back_and_forth_loses_no_event(
    database: Database, caller: Principal, database_url: str, opened: "psycopg.Connection[Any]"
) -> None:
    append(database, caller.tenant_id, Action.JOB_OVERDUE)
    unmigrate(database_url, PREVIOUS)
    opened.execute(APPEND, (caller.tenant_id, "job.failed"))
    migrate(database_url)
    assert read(database, caller, *PUBLISHED_ACTIONS) == ["job.overdue", "job.failed"]
