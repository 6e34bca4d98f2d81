"""The judgements of `medqueue doctor`, each from what was found; and the doctor on an empty folder."""

import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from service.cli import main
from service.cli.checks import application, configuration, machine, servers
from service.cli.checks.finding import Examined, Finding, Status
from service.cli.doctor import run
from service.config import Settings
from service.jobs.sweeps import LastSweep
from service.pulse import Pulse, pulse_file
from service.refusals import Refusal, refusals_file, write_refusals
from tests.factories import MASTER_KEY_TEXT

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
OK, WARN, FAIL = Status.OK, Status.WARN, Status.FAIL


def examined(data_dir: Path, transport: httpx.BaseTransport | None = None, **settings: str) -> Examined:
    return Examined(Settings(data_dir=data_dir).model_copy(update=settings), "http://api.test", transport)


def statuses(findings: Iterator[Finding]) -> list[Status]:
    return [finding.status for finding in findings]


@pytest.mark.parametrize(
    ("finding", "status"),
    [
        (servers.postgres_version(180_004, "18.4"), OK),
        (servers.postgres_version(150_018, "15.18"), OK),
        (servers.postgres_version(140_020, "14.20"), FAIL),
        (servers.clock_difference(timedelta(milliseconds=-900)), OK),
        (servers.clock_difference(timedelta(seconds=-1)), WARN),
        (servers.clock_difference(timedelta(seconds=30)), FAIL),
        (servers.redis_version("6.2.14"), OK),
        (servers.redis_version("5.0.7"), WARN),
        (servers.eviction("noeviction"), OK),
        (servers.eviction("allkeys-lru"), WARN),
        (machine.disk_space(10 * 2**30, Path("/x")), OK),
        (machine.disk_space(5 * 2**30 - 1, Path("/x")), WARN),
        (machine.disk_space(512 * 2**20 - 1, Path("/x")), FAIL),
        (machine.provider({"runtime": "r", "provider": "CPUExecutionProvider"}, gpu=False), OK),
        (machine.provider({"runtime": "r", "provider": "CPUExecutionProvider"}, gpu=True), WARN),
        (machine.provider({"runtime": "r", "provider": "CUDAExecutionProvider"}, gpu=True), OK),
        (machine.runtime_fault("...\nModuleNotFoundError: No module named 'onnxruntime'"), WARN),
        (machine.runtime_fault("...\nworkers.runtime.ProviderUnavailable: No CUDA here. Mend it."), FAIL),
        (machine.runtime_fault(""), FAIL),
        (machine.rdkit("2026.09.1"), OK),
        (machine.rdkit(None), WARN),
        (application.queue(0, 0), OK),
        (application.queue(5, 59.9), OK),
        (application.queue(5, 60), WARN),
        (application.last_sweep(None), WARN),
        (application.last_sweep(LastSweep(NOON, 1.0, "scheduler@here", 2.0)), OK),
        (application.last_sweep(LastSweep(NOON, 60.0, "scheduler@here", 2.0)), FAIL),
    ],
)
def test_each_judgement_has_its_limits(finding: Finding, status: Status) -> None:
    assert finding.status is status


@pytest.mark.parametrize(
    "finding",
    [
        *servers.durability({"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}),
        servers.eviction("allkeys-lru"),
        machine.runtime_fault("workers.runtime.ProviderUnavailable: No CUDA here. Mend it."),
    ],
)
def test_what_is_not_ok_says_what_to_do(finding: Finding) -> None:
    assert finding.advice


def test_each_setting_that_may_lose_a_commit_fails() -> None:
    found = servers.durability({"fsync": "on", "synchronous_commit": "off", "full_page_writes": "off"})
    assert statuses(found) == [FAIL, FAIL]
    assert statuses(servers.durability({"fsync": "on", "synchronous_commit": "remote_apply"})) == [OK]


def test_a_misspelt_variable_is_reported_with_the_setting_that_was_meant() -> None:
    (finding,) = configuration.variables(["MEDQUEUE_LEASES_S"])
    assert (finding.status, finding.advice) == (WARN, "Did you mean MEDQUEUE_LEASE_S?")


def test_a_missing_or_malformed_master_key_fails(tmp_path: Path) -> None:
    assert statuses(configuration.master_key(examined(tmp_path))) == [FAIL]
    assert statuses(configuration.master_key(examined(tmp_path, master_key="c2hvcnQ="))) == [FAIL]
    assert statuses(configuration.master_key(examined(tmp_path, master_key=MASTER_KEY_TEXT))) == [OK]


def test_a_secret_that_others_may_read_is_reported(tmp_path: Path) -> None:
    key = tmp_path / "admin.key"
    key.write_text("mq_x")
    key.chmod(0o640)
    (finding,) = configuration.secret_files(examined(tmp_path))
    assert (finding.status, finding.advice) == (WARN, f"chmod 600 {key}")
    key.chmod(0o600)
    assert statuses(configuration.secret_files(examined(tmp_path))) == [OK]


def test_a_blob_store_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    assert statuses(servers.blob_store(examined(tmp_path))) == [OK]
    assert list((tmp_path / "blobs").iterdir()) == []


def test_a_blob_store_whose_folder_is_missing_fails_and_is_not_made(tmp_path: Path) -> None:
    assert statuses(servers.blob_store(examined(tmp_path))) == [FAIL]
    assert list(tmp_path.iterdir()) == []


def test_a_blob_store_that_cannot_be_opened_fails(tmp_path: Path) -> None:
    (tmp_path / "blobs").write_text("a file is in the way")
    assert statuses(servers.blob_store(examined(tmp_path))) == [FAIL]
    assert statuses(servers.blob_store(examined(tmp_path, blob_url="nonsense://x"))) == [FAIL]


def answering(handler: Callable[[httpx.Request], httpx.Response]) -> httpx.MockTransport:
    return httpx.MockTransport(handler)


def test_an_api_that_takes_no_jobs_fails(tmp_path: Path) -> None:
    not_ready = answering(lambda _: httpx.Response(503, json={"status": "not_ready", "schema": "behind"}))
    (finding,) = application.api(examined(tmp_path, not_ready))
    assert finding.status is FAIL
    assert "schema behind" in finding.found


def test_an_admin_key_that_the_service_does_not_take_is_reported(tmp_path: Path) -> None:
    (tmp_path / "admin.key").write_text("mq_old\n")

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/readyz":
            return httpx.Response(200, json={"status": "ready"})
        return httpx.Response(401, json={"code": "key_invalid", "detail": ""})

    found = list(application.api(examined(tmp_path, answering(answer))))
    assert [finding.status for finding in found] == [OK, WARN]
    assert "mq_old" not in str(found)
    assert "fix the database first" in found[1].advice


def test_models_that_the_api_cannot_use_fail_by_name(tmp_path: Path) -> None:
    (tmp_path / "admin.key").write_text("mq_old\n")
    unusable = {"code": "model_unavailable", "detail": "note-risk 1.1.0 cannot be used at the moment."}
    items = [
        {"name": "dose-effect", "version": "1.0.0", "problem": None},
        {"name": "note-risk", "version": "1.1.0", "problem": unusable},
    ]

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/readyz":
            return httpx.Response(200, json={"status": "ready"})
        return httpx.Response(200, json={"items": items, "next_cursor": None})

    found = list(application.api(examined(tmp_path, answering(answer))))
    assert [finding.status for finding in found] == [OK, OK, FAIL]
    assert found[2].found == "the API cannot use note-risk 1.1.0: submits are answered with model_unavailable"
    assert "`model_unavailable` in the API's log" in found[2].advice


def test_a_model_that_every_worker_refuses_fails_by_name(tmp_path: Path) -> None:
    (tmp_path / "admin.key").write_text("mq_old\n")
    refused = {"code": "model_refused", "detail": "Jobs of note-risk 1.1.0 are accepted and wait."}

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/readyz":
            return httpx.Response(200, json={"status": "ready"})
        items = [{"name": "note-risk", "version": "1.1.0", "problem": refused}]
        return httpx.Response(200, json={"items": items, "next_cursor": None})

    finding = list(application.api(examined(tmp_path, answering(answer))))[2]
    assert (finding.status, finding.found) == (FAIL, "every worker refuses note-risk@1.1.0")
    assert "medqueue models show note-risk@1.1.0" in finding.advice


def test_an_admin_key_that_cannot_be_tested_is_kept(tmp_path: Path) -> None:
    (tmp_path / "admin.key").write_text("mq_old\n")

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/readyz":
            return httpx.Response(200, json={"status": "ready"})
        return httpx.Response(503, json={"code": "database_unavailable", "detail": ""})

    found = list(application.api(examined(tmp_path, answering(answer))))
    assert [finding.status for finding in found] == [OK, FAIL]
    assert found[1].advice.startswith(f"Keep {tmp_path / 'admin.key'}")


def process_file(folder: Path, name: str, content: str = "") -> None:
    (folder / "run").mkdir(exist_ok=True)
    (folder / "run" / name).write_text(content)


def test_workers_are_judged_by_their_process_and_their_ready_file(tmp_path: Path) -> None:
    process_file(tmp_path, "worker-1.pid", str(os.getpid()))
    process_file(tmp_path, "worker-1.ready")
    Pulse(time.monotonic(), None, busy=False, redis_away=False).write(pulse_file(tmp_path, "worker-1"))
    process_file(tmp_path, "worker-2.pid", str(os.getpid()))
    process_file(tmp_path, "worker-3.pid", "4194305")
    process_file(tmp_path, "worker-3.ready")
    process_file(tmp_path, "worker-4.pid", str(os.getpid()))
    process_file(tmp_path, "worker-4.ready")
    Pulse(time.monotonic(), time.monotonic() - 60, busy=False, redis_away=False).write(
        pulse_file(tmp_path, "worker-4")
    )
    process_file(tmp_path, "api.pid", "4194305")
    found = list(application.workers(examined(tmp_path)))
    assert [finding.status for finding in found] == [OK, WARN, FAIL, FAIL]


def test_a_model_that_a_worker_refuses_fails_by_name(tmp_path: Path) -> None:
    process_file(tmp_path, "worker-1.ready")
    write_refusals(
        refusals_file(tmp_path, "worker-1"),
        {"dose-effect 1.0.0": Refusal("it cannot be loaded", "Restart it.")},
    )
    refused = [finding for finding in application.workers(examined(tmp_path)) if finding.check == "models"]
    assert [finding.status for finding in refused] == [FAIL]
    assert refused[0].found == "worker-1 refuses dose-effect 1.0.0: it cannot be loaded"
    assert refused[0].advice == "Restart it."


@pytest.mark.parametrize("fault", ["missing driver: libcuda.so.1. Install it", None])
def test_a_cpu_in_place_of_cuda_is_reported_with_the_reason(fault: str | None) -> None:
    described = {"runtime": "r", "provider": "CPUExecutionProvider", "cuda_fault": fault}
    finding = machine.provider(described, gpu=False)
    assert finding.status is (OK if fault is None else WARN)
    if fault is not None:
        assert finding.found.endswith("CUDA does not work here: missing driver: libcuda.so.1")
        assert finding.advice == "Install it."


def test_a_machine_without_workers_fails_only_where_a_stack_has_run(tmp_path: Path) -> None:
    assert statuses(application.workers(examined(tmp_path))) == [WARN]
    process_file(tmp_path, "ports.json", "{}")
    assert statuses(application.workers(examined(tmp_path))) == [FAIL]


def test_a_check_that_breaks_down_has_failed_and_quotes_nothing(tmp_path: Path) -> None:
    def odd_check(_: Examined) -> Iterator[Finding]:
        yield servers.eviction("noeviction")
        raise RuntimeError("secret")

    found = list(run(odd_check, examined(tmp_path)))
    assert [finding.status for finding in found] == [OK, FAIL]
    assert found[1].check == "odd check"
    assert "secret" not in str(found)


def test_a_wrong_setting_is_the_only_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MEDQUEUE_PROVIDER", "tpu")
    assert main(["doctor", "--data-dir", str(tmp_path), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False
    (finding,) = document["findings"]
    assert "MEDQUEUE_PROVIDER" in finding["found"]
