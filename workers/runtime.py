"""Runs ONNX graphs: chooses and checks the execution provider, binds I/O on CUDA, tells out-of-memory from other faults.

The only module of the workers that uses ONNX Runtime.
"""

import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime as ort
import structlog

from models.pipelines import Array
from models.signature import Signature, signature_of
from models.weights import session_entries
from service.config import Provider
from workers import cuda
from workers.ort_faults import CUDA_FAILURE, DEVICE_LOST, DEVICE_LOST_EXIT_STATUS, is_out_of_memory
from workers.provider import ProviderUnavailable

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"
CUDA_DEVICE = "cuda"  # the name of CUDA's memory; the execution provider's name differs

UNUSED = "ONNX Runtime does not use it. Run `medqueue doctor`, and check the output of nvidia-smi"
# An ONNX graph with one node, Neg, of opset 13.
PROBE = bytes.fromhex(
    "080812003a320a0b0a017812017922034e65671201675a0f0a0178120a0a08"
    "080112040a020801620f0a0179120a0a08080112040a02080142040a00100d"
)

# ONNX Runtime's own log lines quote values of the input; failures are raised as exceptions anyway.
SILENT = 4

log = structlog.get_logger()


class OutOfMemory(Exception):
    """A run needed more memory than available; a smaller batch may fit."""


class RunFailed(Exception):
    """The graph failed on this batch."""


class RunTimedOut(Exception):
    """The graph ran longer than its manifest allows and was stopped."""


class Graph(Protocol):
    """A graph that is ready to run. For one thread at a time."""

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name. Raises OutOfMemory, RunTimedOut or RunFailed."""

    def stop(self) -> None:
        """Make a run in progress end with RunTimedOut, as soon as its kernel checks for this. Called from another thread."""


class LoadedGraph(Graph, Protocol):
    """A graph in memory."""

    @property
    def size_mb(self) -> float:
        """Its share of the memory budget, in MiB."""

    @property
    def signature(self) -> Signature:
        """Its inputs and outputs."""

    def trim(self) -> None:
        """Let the next run free the memory that larger ones before it left allocated, and it does not need."""

    def beside(self) -> "LoadedGraph":
        """The same graph for another thread: its runs may overlap with these, and a stop ends only its own."""


class Runtime(Protocol):
    """Loads graphs on one execution provider."""

    @property
    def name(self) -> str:
        """Runtime and version, such as `onnxruntime 1.31.1`."""

    @property
    def provider(self) -> str:
        """The execution provider that graphs run on, such as `CPUExecutionProvider`."""

    def load(self, path: Path, *, allow_tf32: bool = False) -> LoadedGraph:
        """Load a graph, for exact float32 unless `allow_tf32`.

        Raises OutOfMemory, ProviderUnavailable if it would fall back to another provider, or what ONNX Runtime raises for a
        file that is not a graph.
        """


class OnnxRuntime:
    """ONNX Runtime on CUDA or the CPU."""

    def __init__(
        self,
        provider: Provider,
        *,
        allow_cpu: bool,
        threads: int,
        cuda_fault: Callable[[], str | None] = cuda.fault,
    ) -> None:
        """Choose the provider. Raises ProviderUnavailable with the reason if CUDA is required and cannot work.

        `cuda_fault` returns why it cannot; the reason is kept if the CPU is used instead.
        """
        self._threads = threads
        self._making = _new_thread() if threads > 1 else None
        self.cuda_fault: str | None = None
        wants_cuda = provider is Provider.CUDA or (
            provider is Provider.AUTO and CUDA in ort.get_available_providers()
        )
        self._provider = CPU
        if wants_cuda:
            self.cuda_fault = cuda_fault() or self._session_fault()
            if self.cuda_fault is None:
                self._provider = CUDA
            elif allow_cpu or provider is Provider.AUTO:
                log.warning("cuda_unavailable", using=CPU, reason=self.cuda_fault)
            else:
                raise ProviderUnavailable(self.cuda_fault)

    @property
    def name(self) -> str:
        """See Runtime."""
        return f"onnxruntime {ort.__version__}"

    @property
    def provider(self) -> str:
        """See Runtime."""
        return self._provider

    def load(self, path: Path, *, allow_tf32: bool = False) -> "OnnxGraph":
        """See Runtime. Checks the provider that the session really uses, since ONNX Runtime falls back silently."""
        # Weights, by experience about as much again for the arena of one run, and the fixed cost of a session.
        size_mb = 2 * path.stat().st_size / 2**20 + 8
        if self._provider == CPU:
            return OnnxGraph(self._session(str(path), CPU), size_mb)
        session = self._session(str(path), (CUDA, cuda_options(allow_tf32=allow_tf32)), CPU)
        if session.get_providers()[0] != CUDA:  # results record the provider, so it never changes
            raise ProviderUnavailable(UNUSED)
        return OnnxGraph(session, size_mb, device=CUDA_DEVICE)

    def _session_fault(self) -> str | None:
        """Why no session runs on CUDA although nothing is missing: the GPU is in use, or too old. None if one does."""
        try:
            session = self._session(PROBE, (CUDA, cuda_options(allow_tf32=False)), CPU)
        except OutOfMemory:
            return "the GPU has no memory left. Check the output of nvidia-smi"
        except Exception as fault:  # noqa: BLE001 - what ONNX Runtime raises is the answer
            found = CUDA_FAILURE.search(str(fault))
            return f"{found[0] if found else type(fault).__name__}. Check the output of nvidia-smi"
        return None if session.get_providers()[0] == CUDA else UNUSED

    def _session(
        self, graph: str | bytes, *providers: str | tuple[str, dict[str, str]]
    ) -> ort.InferenceSession:
        """A session for a path or a graph's bytes, without ONNX Runtime's own fallback, which prints and uses the CPU."""
        try:
            options = self.options(graph, on_cpu=providers == (CPU,))
            make = partial(ort.InferenceSession, graph, options, providers=list(providers), enable_fallback=0)
            return make() if self._making is None else self._making.submit(make).result()
        except Exception as fault:
            if is_out_of_memory(fault):
                raise OutOfMemory from fault
            raise

    def options(self, graph: str | bytes, *, on_cpu: bool) -> ort.SessionOptions:
        """The options of a session for a graph, given by its path or its bytes."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = SILENT
        if self._threads == 1:
            options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        if isinstance(graph, str):
            for key, value in session_entries(Path(graph), mapped=on_cpu).items():
                options.add_session_config_entry(key, value)
        return options


def _new_thread() -> Executor:
    """A thread as nice as this one. Those of a session get the niceness of who makes it, and run for all that use it."""
    made = ThreadPoolExecutor(1, thread_name_prefix="sessions")
    made.submit(int).result()  # it starts with its first task
    return made


def cuda_options(*, allow_tf32: bool) -> dict[str, str]:
    """Options of the CUDA provider.

    TF32, ONNX Runtime's default, rounds the factors of products to ten bits, which golden cases do not tolerate. The arena
    grows by the requested size instead of doubling. The heuristic search for convolutions suits micro-batches, whose size
    changes from run to run.
    """
    return {
        "use_tf32": "1" if allow_tf32 else "0",
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC",
    }


class OnnxGraph:
    """A session of ONNX Runtime. Any number of threads may run the session."""

    def __init__(
        self,
        session: ort.InferenceSession,
        size_mb: float,
        *,
        device: str | None = None,
        end_process: Callable[[int], None] = os._exit,
    ) -> None:
        """With a `device`, inputs and outputs are bound to its memory if possible: strings exist only in CPU memory."""
        self._session = session
        self._size_mb = size_mb
        self._end_process = end_process
        self._outputs = [output.name for output in session.get_outputs()]
        self._device = device if device is not None and _is_numeric(session) else None
        self._lock = threading.Lock()
        self._running: ort.RunOptions | None = None
        self._trims = False

    @property
    def size_mb(self) -> float:
        """See LoadedGraph."""
        return self._size_mb

    @property
    def signature(self) -> Signature:
        """See LoadedGraph."""
        return signature_of(self._session)

    def beside(self) -> "OnnxGraph":
        """See LoadedGraph."""
        return OnnxGraph(self._session, self._size_mb, device=self._device, end_process=self._end_process)

    def trim(self) -> None:
        """See LoadedGraph. The memory of a device is kept: to allocate it again takes long."""
        self._trims = True

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """See Graph."""
        options = ort.RunOptions()
        options.log_severity_level = SILENT
        if self._trims:
            options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
            self._trims = False
        with self._lock:
            self._running = options
        try:
            values = (
                self._session.run(None, dict(feeds), options)
                if self._device is None
                else self._run_bound(feeds, options, self._device)
            )
        except Exception as fault:
            raise self._named(fault, options) from fault
        finally:
            with self._lock:
                self._running = None
        return dict(zip(self._outputs, values, strict=True))

    def stop(self) -> None:
        """See Graph."""
        with self._lock:
            if self._running is not None:
                self._running.terminate = True

    def _run_bound(self, feeds: Mapping[str, Array], options: ort.RunOptions, device: str) -> list[Array]:
        """Run with inputs copied to the device once, and outputs kept there until all of them are fetched."""
        binding = self._session.io_binding()
        for name, value in feeds.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(value))
        for name in self._outputs:
            binding.bind_output(name, device)
        self._session.run_with_iobinding(binding, options)
        values: list[Array] = binding.copy_outputs_to_cpu()
        return values

    def _named(self, fault: BaseException, options: ort.RunOptions) -> Exception:
        """The fault as one of this module's exceptions. Its message is matched only here and never passed on.

        A lost device ends the process: every later run would fail as well and be blamed on its input. The current work is
        rescued when its lease lapses.
        """
        lost = DEVICE_LOST.search(str(fault).lower())
        if lost is not None:
            log.error("device_lost", cuda_error=int(lost[1]))
            self._end_process(DEVICE_LOST_EXIT_STATUS)
        if options.terminate:
            return RunTimedOut()
        return OutOfMemory() if is_out_of_memory(fault) else RunFailed(type(fault).__name__)


def _is_numeric(session: ort.InferenceSession) -> bool:
    """Whether every input and output is a tensor of numbers."""
    values = [*session.get_inputs(), *session.get_outputs()]
    return all(value.type.startswith("tensor(") and value.type != "tensor(string)" for value in values)


def describe(runtime: Runtime) -> dict[str, Any]:
    """Runtime and provider as a log line or `doctor` shows them."""
    return {"runtime": runtime.name, "provider": runtime.provider}
