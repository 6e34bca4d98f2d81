"""A role as the application has it, of which a test can take single rights."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import psycopg

from service.config import Settings


@contextmanager
def application_role(settings: Settings) -> Iterator[tuple[str, psycopg.Connection, str]]:
    """A role with all rights on rows: its name, a connection that grants and revokes, and its address."""
    split = urlsplit(settings.database_url)
    role = f"app_{split.path.strip('/')}"
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x'".encode())
        try:
            connection.execute(
                f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}".encode()
            )
            url = settings.database_url.replace(f"{split.username}:{split.password}@", f"{role}:x@")
            yield role, connection, url
        finally:
            connection.execute(f"DROP OWNED BY {role}".encode())
            connection.execute(f"DROP ROLE {role}".encode())
