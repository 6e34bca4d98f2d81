"""The mechanism of claimed work: who holds a row, until when, and proof that no other process does.

A table of claimed work has `state`, `fence`, `attempt`, `claim_size`, `lease_owner` and `lease_expires_at`. A claim raises the
fence; a write-back carries the fence of its claim, so a claimant that was presumed dead cannot publish.
Time is always the database's, never a worker's clock. This module makes the SQL that all such tables
share; what a claim selects and what completion stores belongs to the table's own module.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from service.db import UnitOfWork


class Lease(NamedTuple):
    """A claimed row and the fence under which it was claimed."""

    id: UUID
    fence: int


# A claim that was held up may find what was committed after its now(): by the clock, read once for the statement, no job starts
# before one that it had to wait for has ended.
CLAIM = """state = 'running', fence = {t}.fence + 1, attempt = {t}.attempt + 1,
    started_at = coalesce({t}.started_at, (SELECT clock_timestamp())), lease_owner = %(owner)s,
    lease_expires_at = now() + make_interval(secs => %(lease_s)s)"""
RELEASE = "lease_owner = NULL, lease_expires_at = NULL"
# The rows are looked up by id before they are joined: a plan made while the table was small would walk all of it.
HELD = """{t}.id = ANY (ARRAY(SELECT id FROM held)) AND {t}.id = held.id AND {t}.fence = held.fence
    AND {t}.state = 'running'"""
EXPIRED = "state = 'running' AND lease_expires_at < now()"

RENEW = f"""
WITH held AS (SELECT * FROM unnest(%(ids)s::uuid[], %(fences)s::bigint[]) AS held (id, fence))
UPDATE {{t}} SET lease_expires_at = now() + make_interval(secs => %(lease_s)s) FROM held WHERE {HELD} RETURNING {{t}}.id
"""


def claim_clause(table: str) -> str:
    """SET clause of a claim; parameters: `owner`, and `lease_s`, the seconds of the lease."""
    return CLAIM.format(t=table)


def held_clause(table: str) -> str:
    """Condition under which a row of `held (id, fence, ...)` is still its claimant's."""
    return HELD.format(t=table)


def renew(work: UnitOfWork, table: str, leases: Sequence[Lease], lease_s: float) -> set[UUID]:
    """Renew leases; the ids still held. What is missing was canceled, rescued or claimed by another."""
    rows = work.execute(RENEW.format(t=table), {**columns(leases), "lease_s": lease_s})
    return {row.id for row in rows}


def columns(leases: Sequence[Lease]) -> dict[str, list[Any]]:
    """Leases as the two arrays that a statement unnests: `ids` and `fences`."""
    return {"ids": [lease.id for lease in leases], "fences": [lease.fence for lease in leases]}
