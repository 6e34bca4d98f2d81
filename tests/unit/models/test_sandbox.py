"""The process that untrusted graphs run in: its limits, its end, and what comes back of it."""

import math
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing import Pipe
from pathlib import Path

import numpy as np
import pytest

import models
from models.sandbox import MEMORY_BYTES, CpuRun, Sandbox, SandboxFailed, SandboxRun, serve
from tests.unit.models.example_bundles import graph

MIB = 1024**2
ROOT = Path(models.__file__).parent.parent
FEEDS = {"features": np.array([[10, 40]], np.float32)}


def test_a_process_that_dies_is_told_of_and_ends_the_sandbox() -> None:
    with Sandbox(files_bytes=2 * MIB) as sandbox:
        assert sandbox.call(abs, -3) == 3
        with pytest.raises(SandboxFailed, match=r"^ValueError: invalid literal"):
            sandbox.call(int, "x")
        ends = f"^its process ended with SIGABRT; it may use up to {MEMORY_BYTES // MIB + 8} MiB of memory$"
        with pytest.raises(SandboxFailed, match=ends):
            sandbox.call(os.abort)
        with pytest.raises(SandboxFailed, match=ends):
            sandbox.call(abs, 1)


def test_a_process_that_leaves_by_itself_is_told_of_by_its_exit_code() -> None:
    with Sandbox() as sandbox, pytest.raises(SandboxFailed, match=r"^its process ended with exit code 3; "):
        sandbox.call(os._exit, 3)


@pytest.mark.parametrize(
    ("whole_s", "one_s", "reason"),
    [
        (0.2, None, "the whole check took longer than 0.2 s"),
        (0.2, 9.0, "the whole check took longer than 0.2 s"),
        (9.0, 0.3, "one run took longer than 0.3 s"),
    ],
)
def test_what_takes_too_long_is_ended_and_the_limit_named(
    whole_s: float, one_s: float | None, reason: str
) -> None:
    began = time.monotonic()
    with Sandbox(limit_s=whole_s) as sandbox, pytest.raises(SandboxFailed, match=f"^{reason}$"):
        sandbox.call(time.sleep, 60, limit_s=one_s)
    assert time.monotonic() - began < 5


def test_the_process_is_shut_off_from_this_one_and_ends_with_the_sandbox(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    with Sandbox(files_bytes=MIB, limit_s=29.5) as sandbox:
        assert sandbox.call(resource.getrlimit, resource.RLIMIT_DATA)[0] == MEMORY_BYTES + 4 * MIB
        assert sandbox.call(resource.getrlimit, resource.RLIMIT_CPU)[0] == 30, "if we are killed, it ends"
        assert sandbox.call(os.read, 0, 1) == b""
        for descriptor in (1, 2):
            sandbox.call(os.write, descriptor, b"noise")
        assert sandbox.call(os.getenv, "PYTHONPATH") == f"{ROOT}:/somewhere"
        process = sandbox.call(os.getpid)
    assert process != os.getpid()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    assert capfd.readouterr() == ("", "")


def test_no_folder_but_our_own_is_searched_for_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty entry would be the folder that the command runs in."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with Sandbox() as sandbox:
        assert sandbox.call(os.getenv, "PYTHONPATH") == str(ROOT)


def test_a_sandbox_knows_nothing_of_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Sandbox() as first:
        first.call(os.umask, 0o123)
        first.call(os.chdir, "/")
        warm, pid = first.call(os.getppid), first.call(os.getpid)
        monkeypatch.chdir(tmp_path)
        with Sandbox() as second:
            assert second.call(os.umask, 0) != 0o123
            assert second.call(os.getcwd) == str(tmp_path), "the command's folder"
            assert second.call(os.getppid) == warm, "forked, since imports take half a second"
            assert second.call(os.getpid) != pid
            opened = [each.readlink() for each in Path(f"/proc/{second.call(os.getpid)}/fd").iterdir()]
    assert sorted(str(each).partition(":")[0] for each in opened) == [*["/dev/null"] * 3, "pipe", "pipe"]


def test_a_warm_process_that_died_is_replaced() -> None:
    with Sandbox() as sandbox:
        os.kill(sandbox.call(os.getppid), signal.SIGKILL)
    with Sandbox() as sandbox:
        assert sandbox.call(abs, -3) == 3


def test_it_ends_with_a_command_that_is_killed_amid_a_call() -> None:
    script = """
import os, time
from models.sandbox import Sandbox
sandbox = Sandbox()
print(sandbox.call(os.getppid), sandbox.call(os.getpid), flush=True)
sandbox.call(time.sleep, 60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as command:
        assert command.stdout is not None
        processes = [int(each) for each in command.stdout.readline().split()]
        command.kill()
    ends_at = time.monotonic() + 20
    while any(Path(f"/proc/{each}").exists() for each in processes):
        assert time.monotonic() < ends_at
        time.sleep(0.01)


@pytest.fixture
def limits() -> Iterator[None]:
    """Put back what `serve` sets of this process."""
    kinds = (resource.RLIMIT_DATA, resource.RLIMIT_CPU)
    before, interrupt = [resource.getrlimit(kind) for kind in kinds], signal.getsignal(signal.SIGINT)
    yield
    for kind, limit in zip(kinds, before, strict=True):
        resource.setrlimit(kind, limit)
    signal.signal(signal.SIGINT, interrupt)


@pytest.mark.usefixtures("limits")
def test_calls_are_answered_within_the_limits_until_the_other_side_is_gone() -> None:
    asked, asks = Pipe(duplex=False)
    answers, answered = Pipe(duplex=False)
    calls = [
        (abs, (-3,)),
        (math.hypot, (3, 4)),
        (int, ("x",)),
        (resource.getrlimit, (resource.RLIMIT_DATA,)),
        (resource.getrlimit, (resource.RLIMIT_CPU,)),
        (signal.getsignal, (signal.SIGINT,)),
    ]
    for call in calls:
        asks.send(call)
    asks.close()
    memory_bytes, cpu_s = 2**40, 10_000
    most = [resource.getrlimit(kind)[1] for kind in (resource.RLIMIT_DATA, resource.RLIMIT_CPU)]
    serve(asked, answered, memory_bytes, cpu_s)
    assert [answers.recv() for _ in calls] == [
        (True, 3),
        (True, 5.0),
        (False, "ValueError: invalid literal for int() with base 10: 'x'"),
        (True, (memory_bytes, most[0])),
        (True, (cpu_s, most[1])),
        (True, signal.SIG_IGN),
    ]


def test_the_graphs_of_one_folder_stay_loaded(tmp_path: Path) -> None:
    run = CpuRun()
    paths = [tmp_path / "one" / "a.onnx", tmp_path / "one" / "b.onnx", tmp_path / "other" / "c.onnx"]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(graph().SerializeToString())
    for path in paths[:2]:
        run.open(path)
        path.unlink()
    for path in paths[:2]:
        assert run(path, FEEDS)["probability"] == pytest.approx(1 / (1 + np.exp(0.2)))
    run.open(paths[2])
    with pytest.raises(FileNotFoundError):
        run(paths[0], FEEDS)


def test_what_a_run_has_against_its_feeds_comes_back_and_is_not_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(graph().SerializeToString())
    with Sandbox() as sandbox:
        run = SandboxRun(sandbox, 9.0)
        assert run(path, FEEDS)["probability"] == pytest.approx(1 / (1 + np.exp(0.2)))
        with pytest.raises(SandboxFailed, match="InvalidArgument"):
            run(path, {"features": np.zeros((1, 3), np.float32)})
    with pytest.raises(Exception, match="INVALID_ARGUMENT"):
        CpuRun()(path, {"features": np.zeros((1, 3), np.float32)})
    assert capfd.readouterr() == ("", "")
