"""Runs ONNX graphs: execution providers chosen and checked, I/O binding on CUDA, out-of-memory told from other faults.

The only module of the workers that knows ONNX Runtime.
"""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime as ort
import structlog

from models.pipelines import Array
from service.config import Provider

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"
# ONNX Runtime has one exception class for most faults; its allocators are told by their words alone.
OUT_OF_MEMORY_WORDS = (
    "out of memory",
    "failed to allocate",
    "bad allocation",
    "bad_alloc",
    "cuda_error_out_of_memory",
    "cudamalloc",
    "cublas_status_alloc_failed",
)

# ONNX Runtime's own log lines quote values of the input; what fails is raised as well.
SILENT = 4

log = structlog.get_logger()


class ProviderUnavailable(Exception):
    """CUDA was asked for and does not work here. Mend the driver, or set MEDQUEUE_ALLOW_CPU=1 to run on the CPU."""

    def __init__(self) -> None:
        super().__init__((type(self).__doc__ or "").strip())


class OutOfMemory(Exception):
    """A run needed more memory than there is; a smaller batch may fit."""


class RunFailed(Exception):
    """The graph failed on this batch."""


class RunTimedOut(Exception):
    """The graph ran longer than its manifest allows and was stopped."""


class Graph(Protocol):
    """A graph, ready to run. One thread at a time."""

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name. Raises OutOfMemory, RunTimedOut or RunFailed."""

    def stop(self) -> None:
        """Make a run in progress end with RunTimedOut, where the kernel looks for it. From another thread."""


class LoadedGraph(Graph, Protocol):
    """A graph in memory."""

    @property
    def size_mb(self) -> float:
        """What it counts against the memory budget, in MiB."""

    def beside(self) -> "LoadedGraph":
        """The same graph for another thread: its runs may overlap with these, and a stop reaches its own alone."""


class Runtime(Protocol):
    """Loads graphs on one execution provider."""

    @property
    def name(self) -> str:
        """Runtime and version, such as `onnxruntime 1.31.1`."""

    @property
    def provider(self) -> str:
        """The execution provider that graphs run on, such as `CPUExecutionProvider`."""

    def load(self, path: Path) -> LoadedGraph:
        """Load a graph. Raises ProviderUnavailable when it would fall back to another provider."""


class OnnxRuntime:
    """ONNX Runtime on CUDA or the CPU."""

    def __init__(self, provider: Provider, *, allow_cpu: bool, threads: int) -> None:
        """Choose the provider. Raises ProviderUnavailable when CUDA is asked for and is not offered."""
        offered = ort.get_available_providers()
        wants_cuda = provider is Provider.CUDA or (provider is Provider.AUTO and CUDA in offered)
        if wants_cuda and CUDA not in offered:
            if not allow_cpu:
                raise ProviderUnavailable
            log.warning("cuda_unavailable", using=CPU)
            wants_cuda = False
        self._provider = CUDA if wants_cuda else CPU
        self._may_fall_back = allow_cpu or provider is Provider.AUTO
        self._threads = threads

    @property
    def name(self) -> str:
        """See Runtime."""
        return f"onnxruntime {ort.__version__}"

    @property
    def provider(self) -> str:
        """See Runtime."""
        return self._provider

    def load(self, path: Path) -> "OnnxGraph":
        """See Runtime. What a session really uses is asked after loading: a missing library falls back silently."""
        # Weights and, by experience, about as much again for the arena of one run, over the fixed cost of a session.
        size_mb = 2 * path.stat().st_size / 2**20 + 8
        session = self._session(path)
        if session.get_providers()[0] == self._provider:
            return OnnxGraph(session, size_mb, on_cuda=self._provider == CUDA)
        if not self._may_fall_back:
            raise ProviderUnavailable
        log.warning("cuda_unavailable", using=CPU)
        self._provider = CPU
        return OnnxGraph(self._session(path), size_mb, on_cuda=False)

    def _session(self, path: Path) -> ort.InferenceSession:
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = SILENT
        if self._threads == 1:
            options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        if self._provider == CPU:
            return ort.InferenceSession(str(path), options, providers=[CPU])
        # The arena grows by what is asked for instead of doubling; the search for a convolution that is quick to find
        # suits micro-batches, whose size changes from run to run.
        cuda_options = {"arena_extend_strategy": "kSameAsRequested", "cudnn_conv_algo_search": "HEURISTIC"}
        return ort.InferenceSession(str(path), options, providers=[(CUDA, cuda_options), CPU])


class OnnxGraph:
    """A session of ONNX Runtime, which any number of threads may run."""

    def __init__(self, session: ort.InferenceSession, size_mb: float, *, on_cuda: bool) -> None:
        self._session = session
        self._on_cuda = on_cuda
        self._outputs = [output.name for output in session.get_outputs()]
        self._size_mb = size_mb
        self._lock = threading.Lock()
        self._running: ort.RunOptions | None = None

    @property
    def size_mb(self) -> float:
        """See LoadedGraph."""
        return self._size_mb

    def beside(self) -> "OnnxGraph":
        """See LoadedGraph."""
        return OnnxGraph(self._session, self._size_mb, on_cuda=self._on_cuda)

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """See Graph."""
        options = ort.RunOptions()
        options.log_severity_level = SILENT
        with self._lock:
            self._running = options
        try:
            values = (
                self._run_bound(feeds, options)
                if self._on_cuda
                else self._session.run(None, dict(feeds), options)
            )
        except (MemoryError, RuntimeError, ort.capi.onnxruntime_pybind11_state.RuntimeException) as fault:
            raise self._named(fault, options) from fault
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

    def _run_bound(self, feeds: Mapping[str, Array], options: ort.RunOptions) -> list[Array]:
        """Run with inputs copied to the device once and outputs fetched once, the arena given back after a shrink."""
        binding = self._session.io_binding()
        for name, value in feeds.items():
            binding.bind_ortvalue_input(
                name, ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(value), "cuda", 0)
            )
        for name in self._outputs:
            binding.bind_output(name, "cuda")
        self._session.run_with_iobinding(binding, options)
        values: list[Array] = binding.copy_outputs_to_cpu()
        return values

    @staticmethod
    def _named(fault: BaseException, options: ort.RunOptions) -> Exception:
        """The fault as one of ours. Its words are looked at here and nowhere else, and never passed on."""
        words = str(fault).lower()
        if options.terminate:
            return RunTimedOut()
        if isinstance(fault, MemoryError) or any(word in words for word in OUT_OF_MEMORY_WORDS):
            return OutOfMemory()
        return RunFailed(type(fault).__name__)


def describe(runtime: Runtime) -> dict[str, Any]:
    """Runtime and provider as a log line or `doctor` shows them."""
    return {"runtime": runtime.name, "provider": runtime.provider}
