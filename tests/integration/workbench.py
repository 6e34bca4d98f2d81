"""A worker's parts over a test's own database: a small model whose graph can be made to fail, and a scorer.

The model takes a dose and an age, at most eight rows at a time; for dose 0 and age 0 its graph answers NaN.
"""

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import psycopg
from onnx import helper

from models.bundle import seal_bundle
from models.pipelines import Array
from service.accounts import Principal, TenantCiphers
from service.catalog import Catalog, PublishedModel, publishing
from service.config import Provider
from service.crypto import Keyring
from service.db import Database
from service.jobs import submission
from service.jobs.artifacts import ArtifactStore
from service.jobs.queries import JobView, Reading, read
from service.jobs.submission import NewJob
from service.metrics import REGISTRY
from service.uploads import Uploads
from tests import factories
from tests.fakes import FakeRuntime, FakeTaskQueue, MemoryBlobStore, ScriptedGraph
from tests.unit.models.example_bundles import graph
from tests.unit.workers.shelf import small_bundle
from workers.arbiter import GraphArbiter
from workers.heartbeat import Heartbeat
from workers.jobs.artifacts import ArtifactLimits
from workers.jobs.scoring import Scorer
from workers.jobs.write_back import Limits, WriteBack
from workers.pool import ModelPool
from workers.runtime import OnnxRuntime

MAX_BATCH = 8
AGE = 40.0
POISON = 13.0  # a dose for `raising`
RETRY_BASE_S = 10.0
MAX_ATTEMPTS = 3
MOST_ARTIFACTS = 3
MOST_ARTIFACT_BYTES = 1024 * 1024


class WatchedHeartbeat(Heartbeat):
    """A heartbeat that counts the steps it is told of, and leaves the process alone."""

    def __init__(self, database: Database, *, lease_s: float) -> None:
        self.steps = 0
        self.hung = False
        super().__init__(database, table="job", lease_s=lease_s, end_process=self._hang)

    def step(self, step_s: float, on_overrun: Any = None) -> None:
        """See Heartbeat."""
        self.steps += 1
        super().step(step_s, on_overrun)

    def _hang(self, status: int) -> None:
        self.hung = True
        self.let_go()


@dataclass
class Workbench:
    """One worker, one model, one caller."""

    database: Database
    blobs: MemoryBlobStore
    keyring: Keyring
    queue: FakeTaskQueue
    model: PublishedModel
    graph: ScriptedGraph
    pool: ModelPool
    heartbeat: WatchedHeartbeat
    scorer: Scorer
    write_back: WriteBack
    caller: Principal
    uploads: Uploads
    arbiter: GraphArbiter
    admin_url: str
    database_name: str = field(default="")

    def score(self) -> int:
        """One micro-batch, written back."""
        return self.score_model(self.model)

    def score_model(self, model: PublishedModel) -> int:
        """One micro-batch of another model, written back."""
        claimed = self.scorer.score(model.id)
        self.write_back.wait()
        return claimed

    def submit(self, *doses: float, caller: Principal | None = None, age: float = AGE) -> list[UUID]:
        """Jobs with these doses, submitted together."""
        return self.submit_payloads(
            *(self.model.encode({"dose": dose, "age": age}) for dose in doses), caller=caller
        )

    def submit_payloads(
        self, *payloads: bytes, caller: Principal | None = None, model: PublishedModel | None = None
    ) -> list[UUID]:
        """Jobs with these stored inputs, of the bench's model or another."""
        jobs = [NewJob(caller or self.caller, model or self.model, payload=payload) for payload in payloads]
        with self.database.statement() as work:
            return [job.id for job in submission.submit(work, jobs)]

    def submit_upload(self) -> tuple[UUID, UUID]:
        """A job whose input is an upload, and the upload."""
        payload = self.model.encode({"dose": 10.0, "age": AGE})
        upload = self.uploads.store(self.caller, [payload])
        with self.database.statement() as work:
            new_job = NewJob(self.caller, self.model, upload_id=upload.id)
            return submission.submit(work, [new_job])[0].id, upload.id

    def view(self, job_id: UUID, caller: Principal | None = None) -> JobView:
        """A job as its caller reads it."""
        with self.database.statement() as work:
            (found,) = read(work, [Reading(caller or self.caller, job_id)])
        assert isinstance(found, JobView)
        return found

    def probability_of(self, job_id: UUID) -> float:
        """What the model answered to a job."""
        result = self.view(job_id).result
        assert result is not None
        return float(result.content["probabilities"]["ill"])

    def outcomes(self, job_ids: list[UUID]) -> list[str]:
        """How jobs stand: their problem's code, or else their state."""
        rows = self.rows(
            "SELECT id, coalesce(problem->>'code', state::text) FROM job WHERE id = ANY(%s)", job_ids
        )
        found = dict(rows)
        return [found[job_id] for job_id in job_ids]

    def actions(self, job_id: UUID) -> list[str]:
        """What the trail of a job records, in order."""
        rows = self.rows("SELECT action FROM audit_event WHERE job_id = %s ORDER BY id", job_id)
        return [row[0] for row in rows]

    def rows(self, query: str, *params: object) -> list[Any]:
        """What Postgres answers to one statement."""
        with self.database.statement() as work:
            return work.execute(query, params)

    def lapse(self, *job_ids: UUID) -> None:
        """Let the leases of jobs run out now."""
        self.rows(
            "UPDATE job SET lease_expires_at = now() - interval '1 s' WHERE id = ANY(%s)", list(job_ids)
        )

    def make_due(self, *job_ids: UUID) -> None:
        """Let the back-off of jobs be over."""
        self.rows("UPDATE job SET available_at = now() WHERE id = ANY(%s)", list(job_ids))

    def cut_postgres(self) -> None:
        """Break every connection to this database and take no new ones."""
        with psycopg.connect(self.admin_url, autocommit=True) as admin:
            admin.execute(f"ALTER DATABASE {self.database_name} ALLOW_CONNECTIONS false".encode())
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                (self.database_name,),
            )

    def mend_postgres(self) -> None:
        """Take connections again."""
        with psycopg.connect(self.admin_url, autocommit=True) as admin:
            admin.execute(f"ALTER DATABASE {self.database_name} ALLOW_CONNECTIONS true".encode())


@contextmanager
def workbench(
    database: Database,
    blobs: MemoryBlobStore,
    keyring: Keyring,
    queue: FakeTaskQueue,
    folder: Path,
    urls: tuple[str, str],
    *,
    lease_s: float = 30.0,
    join_s: float = 5.0,
    chance: float = 0.5,
    pause: Callable[[float], None] = time.sleep,
    **runtime: Any,
) -> Iterator[Workbench]:
    """A worker over `database`; `urls` are of its server and of itself, `runtime` limits of its model."""
    model = publish(database, blobs, folder / "bundle", **runtime)
    real = OnnxRuntime(Provider.CPU, allow_cpu=False, threads=1)
    scripted = ScriptedGraph(real.load(folder / "bundle" / "model.onnx"))
    fake = FakeRuntime(scripted)
    heartbeat = WatchedHeartbeat(database, lease_s=lease_s)
    pool = ModelPool(fake, Catalog(database, cache_s=0), blobs, cache=folder / "cache", budget_mb=1000)
    uploads = Uploads(database, blobs, keyring, limit_bytes=10**6)
    storing = WatchedHeartbeat(database, lease_s=lease_s)
    artifacts = ArtifactStore(blobs, keyring)
    write_back = WriteBack(
        owner="w1",
        database=database,
        store=artifacts,
        heartbeat=storing,
        limits=Limits(MAX_ATTEMPTS, RETRY_BASE_S, 300.0),
        runtime=fake.name,
        provider=fake.provider,
        chance=lambda: chance,
        pause=pause,
    )
    arbiter = GraphArbiter()
    scorer = Scorer(
        owner="w1",
        database=database,
        queue=queue,
        pool=pool,
        runtime=fake,
        uploads=uploads,
        artifacts=artifacts,
        artifact_limits=ArtifactLimits(MOST_ARTIFACTS, MOST_ARTIFACT_BYTES),
        ciphers=TenantCiphers(database, keyring),
        heartbeat=heartbeat,
        write_back=write_back,
        arbiter=arbiter,
        lease_s=lease_s,
        join_s=join_s,
    )
    pool.get(model.id)
    scripted.batch_sizes.clear()
    yield Workbench(
        database, blobs, keyring, queue, model, scripted, pool, heartbeat, scorer,
        write_back, factories.principal(database, keyring), uploads, arbiter, urls[0],
        urlsplit(urls[1]).path.strip("/"),
    )  # fmt: skip
    write_back.close()
    heartbeat.close()
    storing.close()


def publish(
    database: Database, blobs: MemoryBlobStore, folder: Path, name: str = "dose-effect", **runtime: Any
) -> PublishedModel:
    """The small model under `name`, published."""
    small_bundle(folder, name, **{"max_batch": MAX_BATCH, **runtime})
    nodes = [
        helper.make_node("Div", ["product", "product"], ["one"]),  # 0 / 0 for dose 0 and age 0
        helper.make_node("Mul", ["logit", "one"], ["mixed"]),
    ]
    (folder / "model.onnx").write_bytes(graph(nodes).SerializeToString())
    golden = json.loads((folder / "golden.json").read_text())
    golden["cases"] = [case for case in golden["cases"] if any(case["input"].values())]
    (folder / "golden.json").write_text(json.dumps(golden))
    with database.transaction() as work:
        publishing.publish(work, blobs, seal_bundle(folder), actor="test")
    return Catalog(database, cache_s=0).resolve(name)


def counted(name: str, **labels: str) -> float:
    """The value of a metric of this process."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


def probability(dose: float, age: float = AGE) -> float:
    """What the model of the workbench answers."""
    return 1 / (1 + math.exp(-(0.1 * dose + 0.02 * age - 2)))


def raising(fault: BaseException, *doses: float) -> Callable[[Mapping[str, Array]], None]:
    """A script: a run with one of these doses among its rows fails."""

    def script(feeds: Mapping[str, Array]) -> None:
        if set(feeds["features"][:, 0].tolist()) & set(doses):
            raise fault

    return script
