"""A worker's batch thread over a test's own database, with a real model: batches go from a file to their output."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from service.accounts import TenantCiphers
from service.batches import output, queries
from service.batches.files.layouts import BatchFormat
from service.batches.files.parts import PartStore
from service.batches.keys import part_cipher
from service.batches.output import OutputKind
from service.batches.requests import BatchRequest
from service.batches.roots import granted_roots
from service.catalog import Catalog
from service.config import Provider
from service.crypto import Keyring
from service.db import Database
from service.gate import Gate
from service.lifecycle import BatchState
from service.tenant_grants import EVERY_TENANT, Access, RootGrant
from service.uploads import Uploads
from tests import factories
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.integration import nights as bench
from tests.integration.nights import Nights
from workers.arbiter import GraphArbiter
from workers.batches.services import BatchServices
from workers.batches.thread import BatchThread
from workers.jobs.write_back import Limits
from workers.pool import ModelPool
from workers.runtime import OnnxRuntime, Runtime

MAX_ATTEMPTS = 3
CASES = [case.input for case in factories.bundle().golden]
FIELDS = list(CASES[0])


@dataclass
class Shift:
    """One worker that works on batches, and one tenant that has some."""

    nights: Nights
    services: BatchServices
    blobs: MemoryBlobStore
    folder: Path
    batch_thread: BatchThread
    arbiter: GraphArbiter

    def file(self, name: str, content: bytes) -> str:
        """A file below the allowed root; its URI."""
        path = self.folder / "in" / name
        path.write_bytes(content)
        return path.as_uri()

    def open(self, uri: str, form: BatchFormat = BatchFormat.CSV, **values: Any) -> UUID:
        """Open a batch over a file; `values` are of its request, but for those of the batch itself."""
        ours = {name: values.pop(name) for name in ("window", "error_limit", "deadline") if name in values}
        request = BatchRequest(format=form, uri=uri, **{"id_column": "id"} | values)
        return self.nights.open(request=request.as_json(), **ours).id

    def chunks_of(self, rows: int, run_rows: int = 64) -> None:
        """Let batches be cut into chunks of so many rows: as if one of this size had taken as long as meant."""
        before = UUID(int=2**128 - rows)  # newer than any other
        self.nights.rows(
            "INSERT INTO batch (id, tenant_id, model_version_id, open_from, submitted_by, request, data_key, state,"
            " finished_at, rows_total, rows_succeeded, chunk_rows, run_rows, chunks_total, chunks_done)"
            " VALUES (%s, %s, %s, now(), 'test', '', '', 'completed', now(), %s, %s, %s, %s, 1, 1)",
            *(before, self.nights.caller.tenant_id, self.nights.model.id, rows, rows, rows, run_rows),
        )
        self.nights.rows(
            "INSERT INTO batch_chunk (batch_id, number, first_row, rows, rows_succeeded, seek, seconds, state, finished_at)"
            " VALUES (%s, 0, 0, %s, %s, '', %s, 'done', now())",
            *(before, rows, rows, self.services.chunk_s),
        )

    def work(self, most: int = 1000) -> int:
        """Work until there is nothing left to do; how many pieces of work that were."""
        return next(done for done in range(most) if not self.batch_thread.work())

    def run(self, uri: str, form: BatchFormat = BatchFormat.CSV, **values: Any) -> UUID:
        """Open a batch and see it to its end."""
        batch_id = self.open(uri, form, **values)
        self.work()
        return batch_id

    def content(self, batch_id: UUID, kind: OutputKind = OutputKind.RESULTS) -> bytes:
        """The joined file of a completed batch."""
        view = self.nights.view(batch_id)
        assert view.state is BatchState.COMPLETED, (view.state, view.problem)
        table = view.results if kind is OutputKind.RESULTS else view.errors
        assert table is not None
        with self.nights.database.statement() as work:
            found = queries.finished_chunks(work, batch_id, limit=10**6)
        file = output.file_of(self.store(batch_id), found, kind, table)
        content = b"".join(file.read())
        assert len(content) == table["size_bytes"]
        return content

    def lines(self, batch_id: UUID, kind: OutputKind = OutputKind.RESULTS) -> list[dict[str, Any]]:
        """The same as objects, of NDJSON."""
        return [json.loads(line) for line in self.content(batch_id, kind).splitlines()]

    def store(self, batch_id: UUID) -> PartStore:
        """The parts of a batch."""
        caller = self.nights.caller
        sealed = self.nights.rows("SELECT data_key FROM batch WHERE id = %s", batch_id)[0][0]
        cipher = part_cipher(caller.cipher, caller.tenant_id, batch_id, sealed)
        return PartStore(self.blobs, cipher, caller.tenant_id, batch_id)

    def code(self, batch_id: UUID) -> str | None:
        """Why a batch failed."""
        problem = self.nights.view(batch_id).problem
        return None if problem is None else problem["code"]

    def make_due(self) -> None:
        """Let every back-off be over."""
        for table in ("batch_chunk", "batch_step"):
            self.nights.rows(f"UPDATE {table} SET available_at = now() WHERE state = 'queued'")


@contextmanager
def shift(
    database: Database,
    blobs: MemoryBlobStore,
    keyring: Keyring,
    queue: FakeTaskQueue,
    folder: Path,
    *,
    lease_s: float = 30.0,
    runtime: Runtime | None = None,
    gate: Gate | None = None,
) -> Iterator[Shift]:
    """A batch thread that works when it is told to, over ONNX Runtime or another runtime."""
    (folder / "in").mkdir()
    nights = bench.nights(database, blobs, keyring, queue)
    catalog = Catalog(database, cache_s=0)
    runtime = runtime or OnnxRuntime(Provider.CPU, allow_cpu=False, threads=1)
    services = BatchServices(
        owner="w1",
        lease_s=lease_s,
        chunk_s=3.0,
        database=database,
        ciphers=TenantCiphers(database, keyring),
        uploads=Uploads(database, blobs, keyring, limit_bytes=10**9),
        blobs=blobs,
        catalog=catalog,
        pool=ModelPool(runtime, catalog, blobs, cache=folder / "cache", budget_mb=1000),
        limits=Limits(MAX_ATTEMPTS, 60.0, 300.0),
        roots=granted_roots(
            database,
            (
                RootGrant(EVERY_TENANT, str(folder / "in"), Access.READ),
                RootGrant(EVERY_TENANT, str(folder / "out"), Access.WRITE),
            ),
        ),
        gate=gate or Gate("w1", tuple),
    )
    arbiter = GraphArbiter()
    batch_thread = BatchThread(services, arbiter)
    try:
        yield Shift(nights, services, blobs, folder, batch_thread, arbiter)
    finally:
        batch_thread.close()


def rows_of(count: int, bad: Sequence[int] = ()) -> list[dict[str, Any]]:
    """Cases with an id; `bad` are row numbers, from 1, whose first field is out of its range."""
    rows = [{"id": f"case-{row}", **CASES[row % len(CASES)]} for row in range(1, count + 1)]
    for row in bad:
        rows[row - 1][FIELDS[0]] = -1e9
    return rows


def csv_of(rows: Sequence[dict[str, Any]]) -> bytes:
    """Rows as CSV."""
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    return ("\n".join(lines) + "\n").encode()


def ndjson_of(rows: Sequence[dict[str, Any]]) -> bytes:
    """Rows as lines of JSON."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode()
