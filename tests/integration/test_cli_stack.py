"""The command line against a real stack: every caller's command, health, doctor, Ctrl-C, and the demo."""

import contextlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import psutil
import psycopg
import pytest

from models.bundle import bundled, read_bundle
from service.cli import main
from service.cli.demo.steps import STEPS
from service.embedded import server_urls
from tests import factories
from tests.integration.conftest import logging_as_it_was

MEDQUEUE = (sys.executable, "-m", "service.cli")
MODEL = factories.BREAST_CANCER
READY_WITHIN_S = 120
Evaluate = Callable[..., Any]
MOST_MEMORY_BYTES = 100 * 1024**2  # 59 MiB: it imports neither migrations nor models


@dataclass(frozen=True)
class Ran:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Stack:
    """A running `medqueue up`."""

    data_dir: Path
    output: Path
    errors: Path
    pid: int

    def run(self, *words: str, stdin: str = "") -> Ran:
        """Run a command that finds this stack by its folder; in this process, which saves half a second of CPU."""
        out, err, given = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="") for _ in range(3))
        given.write(stdin)
        given.seek(0)
        with (
            mock.patch("sys.stdin", given),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            logging_as_it_was(),
        ):
            code = main([*words, "--data-dir", str(self.data_dir)])
        out.seek(0)
        err.seek(0)
        return Ran(code, out.read(), err.read())

    def run_as_process(self, *words: str, stdin: str = "") -> Ran:
        """The same in a process of its own, as it is typed."""
        ended = subprocess.run(
            [*MEDQUEUE, *words, "--data-dir", str(self.data_dir)],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        return Ran(ended.returncode, ended.stdout, ended.stderr)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of its own, stopped with Ctrl-C. The stop must be clean."""
    folder = tmp_path_factory.mktemp("cli")
    with (folder / "up.out").open("wb") as output, (folder / "up.err").open("wb") as errors:
        process = subprocess.Popen(
            [*MEDQUEUE, "up", "--port", str(free_port()), "--data-dir", str(folder / "data")],
            stdin=subprocess.DEVNULL, stdout=output, stderr=errors,
        )  # fmt: skip
    until = time.monotonic() + READY_WITHIN_S
    while not (folder / "up.out").read_text() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.1)
    assert (folder / "up.out").read_text(), (folder / "up.err").read_text()
    yield Stack(folder / "data", folder / "up.out", folder / "up.err", process.pid)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0


@pytest.fixture
def evaluate(stack: Stack, logs_left_as_they_were: None, capsys: pytest.CaptureFixture[str]) -> Evaluate:
    """`medqueue models evaluate` in this process, which imports scikit-learn once; its document."""

    def run(model: str, data: Path, *options: str) -> Any:
        words = ("models", "evaluate", model, "--json", "--data", str(data), *options)
        code = main([*words, "--data-dir", str(stack.data_dir)])
        written = capsys.readouterr()
        assert code == 0, written.err
        return json.loads(written.out)

    return run


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_labelled_cases_are_evaluated_alike_as_table_as_jobs_and_as_batch(
    evaluate: Evaluate, tmp_path: Path
) -> None:
    golden = json.loads((factories.ZOO / MODEL / "golden.json").read_text())["cases"]
    cases = [(case["input"], case["expected"]["label"]) for case in golden if case["expected"]["label"]]
    names = list(cases[0][0])
    rows = [[*names, "diagnosis"], *([*map(str, each.values()), label[0]] for each, label in cases)]
    (tmp_path / "cases.csv").write_text("\n".join(map(",".join, rows)))
    lines = (json.dumps({"input": each, "expected": label}) for each, label in cases)
    (tmp_path / "cases.ndjson").write_text("\n".join(lines))
    values = ("--value", "m=malignant", "--value", "b=benign")
    table = evaluate(MODEL, tmp_path / "cases.csv", "--label", "diagnosis", *values)
    jobs = evaluate(MODEL, tmp_path / "cases.ndjson")
    batch = evaluate(MODEL, tmp_path / "cases.ndjson", "--batch")
    assert table["counts"] == {"cases": len(cases), "answered": len(cases), "abstained": 0, "not scored": 0}
    assert {figure["name"]: figure["value"] for figure in table["figures"]}["accuracy"] == 1.0
    assert table["figures"] == jobs["figures"] == batch["figures"]


def test_tasks_with_missing_truths_are_evaluated_alike_as_table_as_jobs_and_as_batch(
    evaluate: Evaluate, tmp_path: Path
) -> None:
    name = "molecule-properties"
    golden = json.loads((factories.ZOO / name / "golden.json").read_text())["cases"][:8]
    cases = []
    for row, case in enumerate(golden):
        tasks = case["expected"]["tasks"]
        active = int(tasks["tox21_nr_er"]["probability"] >= 0.1)
        truth = {"solubility": tasks["solubility"]["value"] + 0.5, "tox21_nr_er": active if row else None}
        cases.append((case["input"]["smiles"], truth))
    rows = [f"{smiles},{truth['solubility']},{_cell(truth['tox21_nr_er'])}" for smiles, truth in cases]
    (tmp_path / "cases.csv").write_text("\n".join(["smiles,logs,er", *rows]))
    lines = (json.dumps({"input": {"smiles": smiles}, "expected": truth}) for smiles, truth in cases)
    (tmp_path / "cases.ndjson").write_text("\n".join(lines))
    columns = ("--task", "solubility=logs", "--task", "tox21_nr_er=er")
    table = evaluate(name, tmp_path / "cases.csv", *columns)
    jobs = evaluate(name, tmp_path / "cases.ndjson")
    batch = evaluate(name, tmp_path / "cases.ndjson", "--batch")
    assert table["figures"] == jobs["figures"] == batch["figures"]
    assert table["tasks"] == jobs["tasks"] == batch["tasks"]
    assert table["tasks"]["solubility"] == {"known": 8, "answered": 8, "abstained": 0}
    assert table["tasks"]["tox21_nr_er"]["known"] == 7
    found = {figure["name"]: (round(figure["value"], 5), figure["rows"]) for figure in table["figures"]}
    assert found["solubility: root mean squared error"] == (0.5, 8)
    assert found["tox21_nr_er: AUC"] == (1.0, 7)


def _cell(value: object) -> str:
    return "" if value is None else str(value)


def test_up_writes_the_ready_line_and_nothing_else_to_stdout(stack: Stack) -> None:
    port = json.loads((stack.data_dir / "run" / "ports.json").read_text())["api"]
    assert stack.output.read_text() == f"ready http://127.0.0.1:{port}\n"


def test_up_says_what_it_does_and_what_is_ready(stack: Stack) -> None:
    lines = stack.errors.read_text().splitlines()
    published = [
        f"published the model {folder.name} {read_bundle(folder).manifest.version}" for folder in bundled()
    ]
    servers = ["starting the servers", "postgres is ready", "redis is ready"]
    assert lines[:-3] == [
        *servers, "preparing the database", *published, "starting API, workers and scheduler"
    ]  # fmt: skip
    assert sorted(lines[-3:]) == ["api is ready", "scheduler is ready", "worker-1 is ready"]


def test_up_needs_little_memory_beside_what_it_runs(stack: Stack) -> None:
    assert psutil.Process(stack.pid).memory_info().rss < MOST_MEMORY_BYTES


def test_a_models_example_can_be_submitted_and_is_answered(stack: Stack) -> None:
    example = stack.run_as_process("models", "show", MODEL, "--example")
    answered = stack.run_as_process("submit", "-", "--model", MODEL, "--json", stdin=example.out)
    assert answered.code == 0, answered.err
    assert answered.document["state"] == "succeeded"
    assert answered.document["result"]["type"] == "classification"


def test_a_list_of_real_cases_is_answered_as_known(stack: Stack, tmp_path: Path) -> None:
    known = json.loads((factories.ZOO / MODEL / "golden.json").read_text())["cases"]
    (tmp_path / "ward.json").write_text(json.dumps([case["input"] for case in known]))
    answered = stack.run("submit", str(tmp_path / "ward.json"), "--model", MODEL, "--json")
    assert answered.code == 0, answered.err
    labels = [job["result"]["label"] for job in answered.document["items"]]
    assert labels == [case["expected"]["label"] for case in known]


def test_a_value_out_of_range_is_refused_by_name_with_its_range(stack: Stack) -> None:
    case = json.dumps({**factories.case(), "mean_radius": 5713.25})
    refused = stack.run_as_process("submit", "-", "--model", MODEL, stdin=case)
    assert (refused.code, refused.out) == (4, "")
    assert "/input/mean_radius: mean_radius must be between 0 and 57" in refused.err
    assert "5713.25" not in refused.err


def test_a_job_is_found_by_its_patient_shown_and_traced(stack: Stack) -> None:
    case = json.dumps(factories.case())
    job = stack.run("submit", "-", "--model", MODEL, "--subject", "pat-42", "--json", stdin=case).document
    (listed,) = stack.run("jobs", "list", "--subject", "pat-42", "--json").document["items"]
    assert listed["id"] == job["id"]
    assert stack.run("jobs", "show", job["id"], "--json").document["result"] == job["result"]
    events = stack.run("jobs", "events", job["id"], "--json").document["items"]
    actions = [event["action"] for event in events]
    assert actions[:3] == ["job.submitted", "job.claimed", "job.succeeded"]
    assert actions.count("result.read") == 2
    assert stack.run("jobs", "cancel", job["id"]).code == 1


def test_a_repeated_submit_is_stored_once(stack: Stack) -> None:
    case = json.dumps(factories.case())
    words = ("submit", "-", "--model", MODEL, "--json", "--no-wait", "--idempotency-key", "once")
    first, second = (stack.run(*words, stdin=case).document for _ in range(2))
    assert first == second


def test_a_fresh_key_may_do_what_its_scopes_say_and_no_more(stack: Stack) -> None:
    key = stack.run("keys", "create", "--name", "reader", "--scope", "models:read", "--json").document["key"]
    assert stack.run("models", "list", "--key", key).code == 0
    refused = stack.run("jobs", "list", "--key", key)
    assert refused.code == 4
    assert "the scope jobs:read" in refused.err
    assert key not in refused.err


@contextmanager
def worker_standing_still(stack: Stack) -> Iterator[None]:
    """No job is claimed while the block lasts."""
    pid = int((stack.data_dir / "run" / "worker-1.pid").read_text())
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def submitted(stack: Stack) -> str:
    """The id of a job that nobody waits for."""
    words = ("submit", "-", "--model", MODEL, "--json", "--no-wait")
    return str(stack.run(*words, stdin=json.dumps(factories.case())).document["id"])


def test_an_operator_inspects_and_cancels_a_job_that_waits(stack: Stack) -> None:
    with worker_standing_still(stack):
        job_id = submitted(stack)
        found = stack.run("jobs", "inspect", job_id, "--json").document
        assert (found["state"], found["attempt"], found["lease_owner"]) == ("queued", 0, None)
        assert stack.run("jobs", "cancel", job_id).code == 0
    shown = stack.run("jobs", "inspect", job_id)
    assert (shown.code, shown.err) == (0, "")
    assert re.search(r"^state +canceled$", shown.out, re.MULTILINE)
    assert "this state is final" in shown.out


def test_an_operator_requeues_a_job_that_was_set_aside(stack: Stack) -> None:
    with worker_standing_still(stack):
        job_id = submitted(stack)
        with psycopg.connect(server_urls(stack.data_dir).database_url) as connection:
            connection.execute(
                "UPDATE job SET state = 'quarantined', finished_at = now(), attempt = 3, fence = 3, crash_count = 3 "
                "WHERE id = %s",
                (job_id,),
            )
        found = stack.run("jobs", "inspect", job_id, "--json").document
        assert (found["state"], found["crash_count"]) == ("quarantined", 3)
        assert f"medqueue jobs requeue {job_id}" in found["advice"]
        assert stack.run("jobs", "requeue", job_id).code == 0
    until = time.monotonic() + 30
    while (state := stack.run("jobs", "inspect", job_id, "--json").document["state"]) != "succeeded":
        assert time.monotonic() < until, state
        time.sleep(0.5)


@pytest.mark.parametrize("name", ["worker-1", "scheduler"])
def test_the_metrics_of_a_process_are_where_its_file_says(stack: Stack, name: str) -> None:
    port = int((stack.data_dir / "run" / f"{name}.metrics").read_text())
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        assert "medqueue_jobs_rescued_total" in answer.read().decode()


@pytest.mark.parametrize(
    "line", ["health api", "health worker --name worker-1", "health scheduler --name scheduler"]
)
def test_every_process_of_the_stack_is_healthy(stack: Stack, line: str) -> None:
    eventually_well = time.monotonic() + 30  # jobs are accepted before the worker has loaded its models
    while (ran := stack.run(*line.split())).code != 0 and time.monotonic() < eventually_well:
        time.sleep(0.5)
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_the_doctor_finds_nothing_that_fails(stack: Stack) -> None:
    examined = stack.run_as_process("doctor", "--json")
    failed = [finding for finding in examined.document["findings"] if finding["status"] == "fail"]
    assert (examined.code, failed) == (0, [])


def test_a_reader_who_goes_away_is_no_traceback(stack: Stack) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    words = [*MEDQUEUE, "models", "list", "--json", "--data-dir", str(stack.data_dir)]
    ended = subprocess.run(words, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (1, b"")


def test_ctrl_c_ends_a_command_that_waits(stack: Stack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        process = subprocess.Popen(
            [*MEDQUEUE, "jobs", "list", "--url", url, "--key", "k"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        connection, _ = silent.accept()  # the command has asked, and waits
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
        connection.close()
    assert (process.returncode, out, err.strip()) == (130, b"", b"")


def test_the_demo_does_all_it_promises_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pictures = tmp_path_factory.mktemp("pictures")
    for place in ("TMPDIR", "XDG_CACHE_HOME"):
        monkeypatch.setenv(place, str(tmp_path))
    monkeypatch.setenv("MEDQUEUE_DATABASE_URL", "postgresql://somebody-elses")
    command = [*MEDQUEUE, "demo", "--json", "--pictures", str(pictures)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    document = json.loads(ended.stdout)
    assert document["ok"] is True
    assert [step["title"] for step in document["steps"]] == [title for title, _ in STEPS]
    drawn = {
        "blood-cell-detection-overlay.png",
        "nuclei-segmentation-overlay.png",
        "xray-generator-synthetic-7-pneumonia.png",
    }
    assert {file.name for file in pictures.iterdir()} == drawn
    assert list(tmp_path.iterdir()) == []


def test_a_demo_that_is_interrupted_leaves_nothing_either(tmp_path: Path, full: bool) -> None:
    """While its stack starts and servers run; with `--faults full` in its first step, which takes a whole start more."""
    process = subprocess.Popen(
        [*MEDQUEUE, "demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert process.stdout is not None
    if full:
        while not process.stdout.readline().startswith(b"1. "):
            assert process.poll() is None
    else:
        ready = "redis is ready"
        while not any(ready in log.read_text() for log in tmp_path.glob("medqueue-demo-*/up.log")):
            assert process.poll() is None
            time.sleep(0.05)
    assert processes_below(tmp_path)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.strip()) == (130, b"")
    assert list(tmp_path.iterdir()) == []
    assert processes_below(tmp_path) == []


def processes_below(folder: Path) -> list[psutil.Process]:
    """The processes that have a place below a folder on their command line."""
    found = psutil.process_iter(["cmdline"])
    return [each for each in found if str(folder) in " ".join(each.info["cmdline"] or [])]
