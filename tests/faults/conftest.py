"""The stack that all scenarios break, the size of a run, its seed, and the report of it."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from service.embedded import embedded_servers
from service.embedded.folder import DataFolder
from service.embedded.ports import kept_ports
from tests.faults.arena import Arena, opened_arena
from tests.faults.proxy import Proxy
from tests.faults.report import Report, write_report

WORKERS = 3


@pytest.fixture(scope="session")
def seed(request: pytest.FixtureRequest) -> int:
    """The seed of this run: `--fault-seed`, printed in the header."""
    return int(request.config.getoption("--fault-seed"))


@pytest.fixture(scope="session")
def report(seed: int, pytestconfig: pytest.Config) -> Iterator[Report]:
    """What the scenarios found; written as a page where `--fault-report` says."""
    collected = Report(seed=seed)
    yield collected
    page = pytestconfig.getoption("--fault-report")
    if page is not None:
        write_report(collected, page)


@pytest.fixture(scope="package")
def arena(tmp_path_factory: pytest.TempPathFactory, seed: int, full: bool) -> Iterator[Arena]:
    """Three workers with short leases on the embedded stack."""
    folder: Path = tmp_path_factory.mktemp("arena")
    with opened_arena(folder, seed, workers=WORKERS, settings={}, forked=not full) as opened:
        yield opened


@dataclass(frozen=True)
class CutOffArena:
    """An arena whose Postgres and Redis are reached through proxies that misbehave on request."""

    arena: Arena
    postgres: Proxy
    redis: Proxy


@pytest.fixture(scope="package")
def cut_off(tmp_path_factory: pytest.TempPathFactory, seed: int, full: bool) -> Iterator[CutOffArena]:
    """One worker on servers of its own, behind proxies."""
    folder = tmp_path_factory.mktemp("cut-off")
    with ExitStack() as opened:
        urls = opened.enter_context(embedded_servers(folder / "servers", fsync=False))
        ports = kept_ports(DataFolder.at(folder / "servers"))
        postgres, redis = (Proxy(("127.0.0.1", ports[name])) for name in ("postgres", "redis"))
        opened.callback(postgres.close)
        opened.callback(redis.close)
        settings = {
            "MEDQUEUE_DATABASE_URL": through(urls.database_url, postgres.port),
            "MEDQUEUE_REDIS_URL": urls.redis_url.replace(f":{ports['redis']}", f":{redis.port}"),
        }
        arena = opened.enter_context(
            opened_arena(folder, seed, workers=1, settings=settings, forked=not full)
        )
        direct = replace(arena, database_url=urls.database_url, redis_url=urls.redis_url)
        yield CutOffArena(direct, postgres, redis)


def through(url: str, port: int) -> str:
    """The address of Postgres over TCP on `port` of this machine."""
    parts = urlsplit(url)
    return f"postgresql://{parts.username}:{parts.password}@127.0.0.1:{port}{parts.path}"
