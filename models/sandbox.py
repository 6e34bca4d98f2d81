"""A separate process for checking and running an untrusted graph, which may be endless, huge or fatal.

Starts and ends the process, and limits its time and memory. The functions to run are passed in; CpuRun runs a graph. The
process is forked from a warm one, which has imported what they need (models.sandboxed) and has read no bundle.
"""

import math
import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, NamedTuple, Self, TypeVar

from models.forking import ROOT, WarmProcess
from models.pipelines import Array
from models.weights import session_entries

MEMORY_BYTES: Final = (
    4 * 1024**3
)  # beside four times the bundle's files: weights as read, as loaded, as optimized
LIMIT_S: Final = 300.0  # for everything that is done in one sandbox

Result = TypeVar("Result")


class SandboxFailed(Exception):
    """The call raised, took too long, used too much memory or crashed its process. The message says which."""


class _Pipes(NamedTuple):
    """The pipes to the process and back."""

    asks: "Connection[Any, Any]"
    answers: "Connection[Any, Any]"


class Sandbox:
    """The process, started at the first call. After a call that ended it, every further call fails in the same way."""

    def __init__(self, *, files_bytes: int = 0, limit_s: float = LIMIT_S) -> None:
        self._memory_bytes = MEMORY_BYTES + 4 * files_bytes
        self._ends_at = time.monotonic() + limit_s
        self._limit_s = limit_s
        self._process: int | None = None
        self._pipes: _Pipes | None = None
        self._failure: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        if self._pipes is not None:
            self._pipes.asks.close()
            self._pipes.answers.close()
        if self._process is not None:
            _warm.end(self._process)
        self._pipes = self._process = None

    def call(
        self, function: Callable[..., Result], *arguments: object, limit_s: float | None = None
    ) -> Result:
        """Call `function`, which must be importable by name, with `arguments`. Raises SandboxFailed."""
        if self._failure is not None:
            raise SandboxFailed(self._failure)
        line = self._started()
        left_s = max(0.0, self._ends_at - time.monotonic())
        wait_s = left_s if limit_s is None else min(limit_s, left_s)
        try:
            line.asks.send((function, arguments))
            if not line.answers.poll(wait_s):
                spent = "one run" if limit_s is not None and limit_s <= left_s else "the whole check"
                raise self._fail(
                    f"{spent} took longer than {wait_s if spent == 'one run' else self._limit_s:g} s"
                )
            good, value = line.answers.recv()
        except (EOFError, OSError):
            raise self._fail(self._end()) from None
        if not good:
            raise SandboxFailed(value)
        result: Result = value
        return result

    def _started(self) -> _Pipes:
        if self._pipes is None:
            asked, asks = multiprocessing.Pipe(duplex=False)
            answers, answered = multiprocessing.Pipe(duplex=False)
            folder = os.open(".", getattr(os, "O_PATH", os.O_RDONLY))
            try:
                self._process = _warm.child([asked.fileno(), answered.fileno(), folder])
            finally:
                os.close(folder)
                asked.close()
                answered.close()
            self._pipes = _Pipes(asks, answers)
            with suppress(OSError):  # if it has died already, the call finds out why
                asks.send((self._memory_bytes, math.ceil(self._limit_s)))
        return self._pipes

    def _fail(self, reason: str) -> SandboxFailed:
        self.close()
        self._failure = reason
        return SandboxFailed(reason)

    def _end(self) -> str:
        """How the process ended."""
        assert self._process is not None
        code, self._process = _warm.end(self._process), None
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return (
            f"its process ended with {name}; it may use up to {self._memory_bytes // 1024**2} MiB of memory"
        )


class CpuRun:
    """Runs graphs with ONNX Runtime on the CPU, in one thread. Keeps the sessions of one folder's files."""

    def __init__(self, *, optimized: bool = True) -> None:
        """`optimized`: whether ONNX Runtime may replace operators by others."""
        self._optimized = optimized
        self._sessions: dict[Path, Any] = {}

    def __call__(self, model_path: Path, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Every output of the graph by name. Raises OSError for a graph that is missing, and what ONNX Runtime raises."""
        self.open(model_path)
        session = self._sessions[model_path]
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, dict(feeds)), strict=True))

    def open(self, model_path: Path) -> None:
        """Load the graph unless it is loaded already."""
        if model_path not in self._sessions:
            beside = {path for path in self._sessions if path.parent == model_path.parent}
            self._sessions = {path: self._sessions[path] for path in beside}
            self._sessions[model_path] = cpu_session(model_path, optimized=self._optimized)


def cpu_session(model_path: Path, *, threads: int = 1, optimized: bool = True) -> Any:
    """A session of ONNX Runtime on the CPU whose products are a worker's. Raises OSError, and what ONNX Runtime raises."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # what is wrong comes back as a fault, not on stderr
    for key, value in session_entries(model_path).items():
        options.add_session_config_entry(key, value)
    return onnxruntime.InferenceSession(model_path, options, providers=["CPUExecutionProvider"])


class SandboxRun:
    """Runs a graph as CpuRun does, in a sandbox. A run may take `limit_s`; only the sandbox limits loading."""

    def __init__(self, sandbox: Sandbox, limit_s: float) -> None:
        self._sandbox = sandbox
        self._limit_s = limit_s

    def __call__(self, model_path: Path, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        """Every output of the graph by name. Raises SandboxFailed."""
        self._sandbox.call(open_on_cpu, model_path)
        return self._sandbox.call(run_on_cpu, model_path, dict(feeds), limit_s=self._limit_s)


_cpu_run: Final = CpuRun()


def open_on_cpu(model_path: Path) -> None:
    """Load a graph into this process."""
    _cpu_run.open(model_path)


def run_on_cpu(model_path: Path, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Every output of the graph by name, run in this process."""
    return _cpu_run(model_path, feeds)


def serve(
    asked: "Connection[Any, Any]", answered: "Connection[Any, Any]", memory_bytes: int, cpu_s: int
) -> None:
    """Serve calls within `memory_bytes` and `cpu_s`, until the other side closes the connection.

    The limit of CPU time ends this process if the other side was killed during a call.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupted command ends this process itself
    _limit(resource.RLIMIT_DATA, memory_bytes)
    _limit(resource.RLIMIT_CPU, cpu_s)
    while True:
        try:
            function, arguments = asked.recv()
        except EOFError:
            return
        try:
            answer = (True, function(*arguments))
        except Exception as error:  # noqa: BLE001 - the edge of the process: a runtime raises what it likes
            answer = (False, f"{type(error).__name__}: {error}")
        answered.send(answer)


def _limit(kind: int, wanted: int) -> None:
    _, most = resource.getrlimit(kind)
    resource.setrlimit(kind, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most))


def _environment() -> dict[str, str]:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return os.environ | {"PYTHONPATH": path}


_warm: Final = WarmProcess("models.sandboxed", _environment)
