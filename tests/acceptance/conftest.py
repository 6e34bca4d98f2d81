"""The stacks that acceptance tests talk to. Started once: a stack takes seconds to come up."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.acceptance import own_pipeline
from tests.acceptance.packaged import PackagedModel, served
from tests.acceptance.stack import STOPS_WITHIN_S, Stack
from tests.integration import parts_pipeline
from tests.web_files import WebFiles, web_files

# Short leases, so that what a killed worker held is soon rescued; limits that are quick to reach, but for the queue's not
# so quick that the tests of chaos would meet them.
QUICK_TO_TEST = {
    "MEDQUEUE_LEASE_S": "2",
    "MEDQUEUE_SWEEP_S": "0.5",
    "MEDQUEUE_MAX_UPLOAD_BYTES": "1000000",
    "MEDQUEUE_MAX_QUEUED": "3600",
    "MEDQUEUE_MAX_QUEUED_PER_TENANT": "3000",
    "MEDQUEUE_BATCH_CHUNK_S": "0.05",
}

# Receivers may be on this machine, but with TLS and on three ports only: on the last of them nobody listens.
NOBODY_LISTENS = "https://127.0.0.1:9"
STRICT_RECEIVERS = {
    "MEDQUEUE_WEBHOOK_TENANT_NETWORKS": "* = 127.0.0.0/8",
    "MEDQUEUE_WEBHOOK_ALLOWED_PORTS": "443,8443,9",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the rough stack come last, so that two cores never carry two busy stacks, and chaos after all."""
    items.sort(
        key=lambda item: ("rough_stack" in getattr(item, "fixturenames", ()), "chaos" in item.path.name)
    )


@pytest.fixture(scope="package")
def night_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where sources of batches may lie on this machine."""
    return tmp_path_factory.mktemp("night")


@pytest.fixture(scope="package")
def scored_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where copies of the output of batches may be written on this machine."""
    return tmp_path_factory.mktemp("scored")


@pytest.fixture(scope="package")
def ward_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tenant `ward with a root` alone may read sources and write copies."""
    return tmp_path_factory.mktemp("ward")


@pytest.fixture(scope="package")
def night_server(night_root: Path) -> Iterator[WebFiles]:
    """A web server of the files below `night_root`, an allowed root as well."""
    with web_files(night_root) as server:
        yield server


@pytest.fixture(scope="package")
def stack(
    tmp_path_factory: pytest.TempPathFactory,
    night_root: Path,
    night_server: WebFiles,
    scored_root: Path,
    ward_root: Path,
) -> Iterator[Stack]:
    """A stack with default settings but for where receivers and files may be, which no test disturbs for long.

    Its processes are executed: tests look into what they have loaded.
    """
    roots = {
        "MEDQUEUE_BATCH_TENANT_ROOTS": f"* = {night_root}, read; * = {night_server.url}, read; * = {scored_root}, write; "
        f"ward with a root = {ward_root}, read|write"
    }
    folder = tmp_path_factory.mktemp("stack")
    yield from _running(Stack(folder / "data", STRICT_RECEIVERS | roots, forked=False))


@pytest.fixture(scope="package")
def rough_stack(tmp_path_factory: pytest.TempPathFactory, full: bool) -> Iterator[Stack]:
    """A stack of two workers whose programs may be killed; what that leaves is mended within seconds."""
    # A worker that stands still while another one starts may lose its lease: what it held has crashed as well.
    settings = QUICK_TO_TEST | {"MEDQUEUE_MAX_CRASHES": "20"}
    folder = tmp_path_factory.mktemp("rough")
    yield from _running(Stack(folder / "data", settings, workers=2, forked=not full))


@pytest.fixture(scope="package")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PackagedModel]:
    """A stack with two installed packages: the pipeline of docs/models.md, and one whose inputs have parts."""
    folder = tmp_path_factory.mktemp("clinic")
    own_pipeline.write_package(folder / "report-triage")
    own_pipeline.install(folder / "report-triage", folder / "site")
    bundles = own_pipeline.write_bundle(folder / "bundle"), parts_pipeline.written(folder / "site")
    with served(folder, folder / "site", *bundles) as made:
        yield made


@pytest.fixture(scope="package")
def http(stack: Stack) -> Iterator[httpx.Client]:
    """A client with the admin key of tenant `default`."""
    with stack.client() as client:
        yield client


@pytest.fixture(scope="package")
def stranger(stack: Stack) -> Iterator[httpx.Client]:
    """A client of another tenant."""
    with stack.client(stack.new_key("stranger")) as client:
        yield client


@pytest.fixture(scope="package")
def rough_http(rough_stack: Stack) -> Iterator[httpx.Client]:
    """A client with the admin key of the rough stack."""
    with rough_stack.client() as client:
        yield client


def _running(stack: Stack) -> Iterator[Stack]:
    try:
        stack.start()
        yield stack
        assert stack.stop() < STOPS_WITHIN_S
    finally:
        stack.kill()
