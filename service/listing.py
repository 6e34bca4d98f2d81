"""Pages of a list, newest first: composed of parts that each walk one index, no further than a page.

An index serves a filter when its leading columns are given by equality and what follows is (created_at, id). A column
without a filter is filled in with all the values that it can have, one part or one step of a part for each; so two
indexes serve all filters of a table, where one index for each would cost more at every insert.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

Params = dict[str, Any]

ORDER = "ORDER BY created_at DESC, id DESC"
LIMIT = f"{ORDER} LIMIT %(limit)s"
# Rows of the page are looked up by id: a join could be planned to walk the table.
PAGE = f"""
SELECT {{columns}} FROM {{table}} WHERE id = ANY (ARRAY(SELECT id FROM ({{parts}}) AS part {LIMIT})) {ORDER}
"""
SIMPLE = f"(SELECT id, created_at FROM {{table}} WHERE {{conditions}} {LIMIT})"
# One step for each combination of values, which ends at the page's length. Indexes of steps leave out what is running.
STEPS = f"""(SELECT found.id, found.created_at FROM {{values}} CROSS JOIN LATERAL (
    SELECT id, created_at FROM {{table}} WHERE state <> 'running' AND {{conditions}} {LIMIT}) AS found)"""
# Few rows, found by a key of their own, are all read. Materialized, so that no plan walks the table in order instead.
FEW = """(WITH few AS MATERIALIZED (SELECT * FROM {table} WHERE {key})
    SELECT id, created_at FROM few WHERE {conditions})"""
# Running rows are few and change often: they are in no list index, but in that of leases.
RUNNING = "lease_expires_at IS NOT NULL"
# The earlier of two upper bounds: given both, an index scan would begin at one and skip what is beyond the other.
BOUNDED = (
    "least(created_at, %(created_before)s)",
    f"CASE WHEN created_at < %(created_before)s THEN id ELSE '{UUID(int=0)}' END",
)


def within(
    table: str, *, before: UUID | None, created_after: datetime | None, created_before: datetime | None
) -> tuple[list[str], Params]:
    """The conditions on time, and their parameters: a page begins behind the row `before`."""
    params = {"before": before, "created_after": created_after, "created_before": created_before}
    conditions = []
    if before is not None:
        place = "created_at", "id"
        if created_before is not None:
            place = BOUNDED
        bound = ", ".join(f"(SELECT {part} FROM {table} WHERE id = %(before)s)" for part in place)
        conditions.append(f"(created_at, id) < ({bound})")
    elif created_before is not None:
        conditions.append("created_at < %(created_before)s")
    if created_after is not None:
        conditions.append("created_at >= %(created_after)s")
    return conditions, {name: value for name, value in params.items() if value is not None}


def page(table: str, columns: str, parts: Iterable[str]) -> str:
    """The statement of a page over parts that yield `id` and `created_at`; its parameter `limit` is the page's length."""
    return PAGE.format(columns=columns, table=table, parts="\n    UNION ALL ".join(parts))


def simple(table: str, conditions: Iterable[str]) -> str:
    """The newest rows that fulfil conditions."""
    return SIMPLE.format(table=table, conditions=" AND ".join(conditions))


def steps(table: str, values: Mapping[str, str], conditions: Iterable[str]) -> str:
    """The newest rows that fulfil conditions and do not run, for all values of columns: each of a query of one column."""
    tables = " CROSS JOIN ".join(f"({query}) AS {column} (value)" for column, query in values.items())
    equal = [f"{column} = {column}.value" for column in values]
    where = " AND ".join(f"{table}.{condition}" for condition in equal) + " AND " + " AND ".join(conditions)
    return STEPS.format(table=table, values=tables, conditions=where)


def few(table: str, key: str, conditions: Iterable[str]) -> str:
    """Those of the rows of `key`, a condition that few fulfil, that fulfil the conditions as well."""
    return FEW.format(table=table, key=key, conditions=" AND ".join(conditions))


def equal(given: Mapping[str, Any]) -> tuple[list[str], Params]:
    """Conditions `column = value` for the values that are not None, and their parameters."""
    known = {name: value for name, value in given.items() if value is not None}
    return [f"{name} = %({name})s" for name in known], known


def every(kind: str, values: Iterable[str]) -> str:
    """A query of one column with all values of a closed set."""
    return f"SELECT unnest('{{{','.join(values)}}}'::{kind}[])"
