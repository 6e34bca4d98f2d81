"""The pool over real Postgres: a restart of Postgres costs no caller an error once it is back."""

import psycopg

from service.db import Database

# Waits until they are gone: a connection that breaks between its check and its use does cost an error.
OTHERS = """
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'medqueue' AND pid <> pg_backend_pid()
"""


def test_a_connection_that_postgres_has_closed_is_not_used_again(database_url: str) -> None:
    idle, killer = Database(database_url), Database(database_url)
    with idle.statement() as work:
        work.execute("SELECT 1")
    with killer.statement() as work:
        assert work.execute(OTHERS) == [(True,)]
    with idle.statement() as work:
        assert work.execute("SELECT 2") == [(2,)]
    with killer.statement() as work:
        assert work.execute(OTHERS) == [(True,)]
    with idle.transaction() as work:
        assert work.execute("SELECT 3") == [(3,)]
    idle.close()
    killer.close()


def test_a_connection_that_a_thread_still_uses_is_closed_when_it_is_given_back(database_url: str) -> None:
    database = Database(database_url)
    with database.transaction() as work:
        driver = work.session.connection().connection.driver_connection
        database.close()
    assert isinstance(driver, psycopg.Connection)
    assert driver.closed
