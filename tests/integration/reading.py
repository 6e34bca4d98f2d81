"""How many rows of tables Postgres says that scans have read, once all sessions have reported theirs."""

import time
from typing import Any

import psycopg

UNCHANGED_FOR_S = 0.3
ROWS_READ = """
SELECT relname, seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables WHERE relname = ANY (%s)
"""


def rows_read(opened: "psycopg.Connection[Any]", *tables: str) -> dict[str, int]:
    """Rows read of each of these tables so far. `opened` commits by itself.

    This session reports at once what it has read itself, which else may come seconds later; a session that was closed
    does so as it ends, which takes a while on a busy machine.
    """
    opened.execute("SELECT pg_stat_force_next_flush()")
    found: dict[str, int] = {}
    while (now := dict(opened.execute(ROWS_READ, (list(tables),)).fetchall())) != found:
        found = now
        time.sleep(UNCHANGED_FOR_S)
    return found
