"""Peers that neither read nor send, from one tenant and from strangers: another tenant's submits and the probes go on."""

import json
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from statistics import quantiles
from uuid import UUID

import pytest

from models.pipelines import Artifact
from service.accounts import Principal
from service.crypto import Keyring
from service.db import Database
from service.jobs import artifacts, execution
from service.jobs.artifacts import ArtifactStore
from service.storage import FsspecBlobStore
from tests import factories
from tests.acceptance.stack import eventually
from tests.fakes import FakeTaskQueue
from tests.integration.api_processes import Api, running_api

PICTURE_BYTES = 32 * 2**20
REQUESTS = 40
BUSY_S = 0.3
MORE_MB = 150


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with running_api(tmp_path_factory.mktemp("slow")) as running:
        yield running


@pytest.fixture(scope="module")
def quiet_key(api: Api) -> str:
    """The key of another tenant."""
    with database_of(api) as database:
        return factories.issue_token(database, Keyring(factories.MASTER_KEY), tenant="quiet")


@pytest.fixture(scope="module")
def loud_keys(api: Api) -> list[str]:
    """The keys of two more tenants that attack."""
    with database_of(api) as database:
        keyring = Keyring(factories.MASTER_KEY)
        return [factories.issue_token(database, keyring, tenant=name) for name in ("loud", "louder")]


@contextmanager
def database_of(api: Api) -> Iterator[Database]:
    database = Database(api.settings.database_url, queue=FakeTaskQueue())
    yield database
    database.close()


@pytest.fixture(scope="module")
def picture(api: Api) -> str:
    """The path of a large file of the loud tenant."""
    keyring = Keyring(factories.MASTER_KEY)
    store = ArtifactStore(FsspecBlobStore(api.settings.blob_location), keyring)
    with database_of(api) as database:
        caller = factories.principal(database, keyring)
        job_id = ended_with(database, store, caller, Artifact("mask.png", "image/png", bytes(PICTURE_BYTES)))
    return f"/v1/jobs/{job_id}/artifacts/mask.png"


def ended_with(database: Database, store: ArtifactStore, caller: Principal, file: Artifact) -> UUID:
    """A job of this caller that has succeeded with a file."""
    from service.catalog import Catalog

    model = Catalog(database, cache_s=0).resolve(factories.BREAST_CANCER)
    factories.submitted(database, caller, model)
    (held,) = factories.claimed(database, model)
    made = store.prepare(caller.cipher, caller.tenant_id, held.lease, [file])
    with database.statement() as work:
        artifacts.note(work, made)
    store.write(made[0])
    with database.statement() as work:
        sealed = caller.cipher.seal(b"{}", b"")
        ending = execution.Ending(held.lease, payload=sealed, artifacts=made)
        assert execution.end(work, [ending], owner="w1", runtime="r", provider="p")
    return held.lease.id


def unread(api: Api, path: str, count: int, stack: ExitStack) -> None:
    """Requests whose answers are never read."""
    for _ in range(count):
        connection = stack.enter_context(socket.socket())
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", api.port))
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.key}\r\n\r\n".encode()
        )


def unsent(api: Api, keys: Sequence[str], count: int, stack: ExitStack) -> None:
    """Submits with each of the keys whose bodies never come."""
    for key in list(keys) * count:
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", api.port)))
        connection.sendall(
            f"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
            "Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n".encode()
        )


def idle(api: Api, count: int, stack: ExitStack) -> None:
    """Connections that say nothing."""
    for _ in range(count):
        stack.enter_context(socket.create_connection(("127.0.0.1", api.port)))


def p95_s(ask: Callable[[], int], status: int) -> float:
    """The 95th percentile of how long an answer with this status takes."""
    took = []
    for _ in range(REQUESTS):
        began = time.monotonic()
        assert ask() == status
        took.append(time.monotonic() - began)
    return quantiles(took, n=20)[-1]


def submits(api: Api, key: str) -> Callable[[], int]:
    """A submit of another tenant over a connection of its own."""
    body = json.dumps({"model": factories.BREAST_CANCER, "input": factories.case(), "priority": "stat"})
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def ask() -> int:
        with closing(HTTPConnection("127.0.0.1", api.port, timeout=30)) as connection:
            connection.request("POST", "/v1/jobs", body, headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status

    return ask


def memory_mb(api: Api) -> float:
    """What the largest of its processes has to itself."""
    return max(process.memory_full_info().uss for process in api.process.children()) / 2**20


@pytest.mark.parametrize("attack", ["unread", "unsent", "idle", "all"])
def test_another_tenant_submits_and_probes_are_answered(
    api: Api, quiet_key: str, loud_keys: list[str], picture: str, attack: str
) -> None:
    """Each takes at most three times as long as without the attack, or what a busy machine may add."""
    submit, probe = submits(api, quiet_key), lambda: api.get("/healthz")[0]
    before_s, probed_s, used_mb = p95_s(submit, 202), p95_s(probe, 200), memory_mb(api)
    with ExitStack() as stack:
        if attack in {"unread", "all"}:
            unread(api, picture, 64, stack)
        if attack in {"unsent", "all"}:
            unsent(api, [api.key, *loud_keys], 30, stack)
        if attack in {"idle", "all"}:
            idle(api, 4000, stack)
        time.sleep(1)
        assert p95_s(probe, 200) < max(3 * probed_s, BUSY_S)
        assert p95_s(submit, 202) < max(3 * before_s, BUSY_S)
        assert memory_mb(api) < used_mb + MORE_MB
        assert api.get("/readyz")[0] == 200
    assert api.get("/v1/models")[0] == 200


def test_the_tenant_itself_is_told_that_it_reads_too_many_files(api: Api, picture: str) -> None:
    with ExitStack() as stack:
        unread(api, picture, 60, stack)
        time.sleep(1)
        status, headers, body = api.get(picture)
        assert (status, json.loads(body)["code"]) == (429, "tenant_busy")
        assert int(headers["retry-after"]) >= 1
        assert api.get("/v1/models")[0] == 200
    eventually(lambda: api.get(picture)[0] == 200, within_s=10)
