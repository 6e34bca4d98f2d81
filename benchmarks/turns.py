"""`python -m benchmarks.turns`: CPU of a claim in Postgres while few or many tenants have a million jobs queued.

Each number of tenants has a database of its own in the same server, and their claims alternate. The jobs of all tenants lie
mixed in the table, as they do when all submit at once.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from uuid import UUID, uuid4

import psycopg

from service.db import Database
from service.embedded import embedded_servers
from service.jobs import execution
from service.jobs.execution import FIRST_IN_RING
from service.schema import migrate

TENANTS = (1, 100, 10_000)
LIMITS = (16, 64)
ROUNDS = 60
CLAIMS = 10  # in a round, of each database

ADD_TENANTS = """
INSERT INTO tenant (id, name, data_key)
SELECT gen_random_uuid(), 'tenant-' || n, '' FROM generate_series(1, %s) AS n
"""
ADD_JOBS = """
INSERT INTO job (id, tenant_id, model_version_id, rank_at, priority, submitted_by, payload, promise_at)
SELECT uuidv7(), tenant.id, %(model)s, now() + make_interval(secs => n * 0.001), 3, 'bench', '', now() + '1 day'
FROM generate_series(1, %(jobs)s) AS n
JOIN (SELECT id, row_number() OVER () - 1 AS place FROM tenant) AS tenant ON tenant.place = n %% %(tenants)s
ORDER BY hashint4(n)
"""


@dataclass
class Queue:
    """A database with jobs of so many tenants, and who was served last."""

    tenants: int
    model_id: UUID
    database: Database
    last: UUID = FIRST_IN_RING
    jobs: int = 0

    def claim(self, limit: int) -> None:
        """One claim, after the tenant that was served last."""
        with self.database.statement() as work:
            claim = execution.claim(
                work,
                model_version_id=self.model_id,
                limit=limit,
                owner="bench",
                lease_s=600.0,
                retries_first=False,
                after=self.last,
            )
        self.last = claim.last_tenant or self.last
        self.jobs += len(claim.jobs)

    def cpu_ms(self) -> float:
        """CPU that its only connection's process has used, ms."""
        with self.database.statement() as work:
            (backend,) = work.execute("SELECT pg_backend_pid() AS pid")
        return int(Path(f"/proc/{backend.pid}/schedstat").read_text().split()[0]) / 1e6


def filled(server_url: str, tenants: int, jobs: int) -> Queue:
    """A new database with `jobs` queued ones."""
    name, model_id = f"turns_{tenants}", uuid4()
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    url = server_url.replace("/medqueue?", f"/{name}?")
    migrate(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(ADD_TENANTS, (tenants,))
        connection.execute(ADD_JOBS, {"model": model_id, "jobs": jobs, "tenants": tenants})
        connection.execute("VACUUM ANALYZE")
    return Queue(tenants, model_id, Database(url, pool_size=1))


def measured(queues: list[Queue], limit: int) -> dict[int, float]:
    """The median of rounds: CPU of a claim, ms, by the number of tenants."""
    rounds: dict[int, list[float]] = {queue.tenants: [] for queue in queues}
    for number in range(ROUNDS + 1):
        for queue in queues:
            before = queue.cpu_ms()
            for _ in range(CLAIMS):
                queue.claim(limit)
            if number:  # the first round warms up
                rounds[queue.tenants].append((queue.cpu_ms() - before) / CLAIMS)
    return {tenants: median(each) for tenants, each in rounds.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.turns", description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000_000, help="queued jobs of each database")
    options = parser.parse_args()
    with TemporaryDirectory() as folder, embedded_servers(Path(folder), fsync=False) as urls:
        queues = [filled(urls.database_url, tenants, options.jobs) for tenants in TENANTS]
        print("| jobs in a claim | tenants | CPU of a claim, ms | of that with one tenant |")
        print("| --- | --- | --- | --- |")
        for limit in LIMITS:
            found = measured(queues, limit)
            for tenants, each_ms in found.items():
                print(f"| {limit} | {tenants:,} | {each_ms:.2f} | {each_ms / found[1]:.0%} |", flush=True)
        for queue in queues:
            queue.database.close()


if __name__ == "__main__":
    main()
