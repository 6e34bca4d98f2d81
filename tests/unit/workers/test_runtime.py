"""ONNX Runtime: the provider is chosen and checked, faults are told apart by type, a long run can be stopped."""

import os
import re
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime as ort
import psutil
import pytest
from onnx import TensorProto, helper

from models.pipelines import Array
from service.config import Provider
from tests.factories import ZOO
from tests.unit.workers import graphs
from workers.ort_faults import is_out_of_memory
from workers.provider import ProviderUnavailable
from workers.runtime import (
    CPU,
    CUDA,
    PROBE,
    UNUSED,
    OnnxGraph,
    OnnxRuntime,
    OutOfMemory,
    RunFailed,
    RunTimedOut,
    cuda_options,
    describe,
)

without_cuda = pytest.mark.skipif(
    CUDA in ort.get_available_providers(), reason="this ONNX Runtime offers CUDA"
)
# As ONNX Runtime 1.31, CUDA 13 and cuDNN 9 word it, cut.
ALLOCATORS_WORDS = (
    "bfc_arena.cc:376 AllocateRawInternal(size_t, bool) Failed to allocate memory for requested buffer of size 17179869184",
    "bfc_arena.cc:167 Available memory of 1048576 is smaller than requested bytes of 4194304",
    "CudaMempoolArena::AllocOnStream: cudaMallocFromPoolAsync failed on stream=0x1: out of memory",
    "Memory allocation failed. Size=17179869184",
    "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0 ; expr=cublasCreate(&cublas_handle_);",
    "CUBLAS failure 3: the resource allocation failed ; GPU=0",
    "CUDNN failure 2: CUDNN_STATUS_ALLOC_FAILED ; GPU=0 ; expr=cudnnCreate(&cudnn_handle_)",
    "CUDNN failure 4003: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED ; GPU=0",
    "CUDNN failure 4002: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED ; GPU=0",
    "CURAND_STATUS_ALLOCATION_FAILED",
    "CUFFT failure 2: CUFFT_ALLOC_FAILED",
    "CUDA error cudaErrorMemoryAllocation:out of memory",
)
ROWS = {"x": np.ones((2, 1), np.float32)}
IMPOSSIBLE = {"x": np.full((1, 1), 987654, np.float32)}


def cpu() -> OnnxRuntime:
    return OnnxRuntime(Provider.CPU, allow_cpu=False, threads=1)


def own_mb() -> float:
    found: int = psutil.Process().memory_full_info().uss
    return found / 2**20


class FailingSession:
    """A session of ONNX Runtime whose every run raises."""

    def __init__(self, fault: Exception) -> None:
        self.fault = fault

    def get_outputs(self) -> Sequence[SimpleNamespace]:
        """One output."""
        return [SimpleNamespace(name="y")]

    def run(self, names: None, feeds: Mapping[str, Array], options: ort.RunOptions) -> Sequence[Array]:
        """Fail."""
        raise self.fault


def failing(fault: Exception) -> OnnxGraph:
    return OnnxGraph(FailingSession(fault), 1.0)


def test_threads_of_a_session_are_not_as_nice_as_the_thread_that_asks_for_it(tmp_path: Path) -> None:
    """A slow lane loads the models of the quick one as well."""
    runtime = OnnxRuntime(Provider.CPU, allow_cpu=False, threads=3)
    own, before = psutil.Process(), {each.id for each in psutil.Process().threads()}
    kept = []

    def load() -> None:
        os.nice(5)
        before.add(threading.get_native_id())  # for a moment after join the system still has it
        kept.append(runtime.load(graphs.written(graphs.adding(), tmp_path)))

    thread = threading.Thread(target=load)
    thread.start()
    thread.join()
    made = {each.id for each in own.threads()} - before
    assert len(made) >= 2
    assert {os.getpriority(os.PRIO_PROCESS, each) for each in made} == {os.getpriority(os.PRIO_PROCESS, 0)}


@without_cuda
def test_cuda_that_is_asked_for_and_absent_is_refused() -> None:
    with pytest.raises(
        ProviderUnavailable, match=r"built without CUDA.*medqueue\[gpu\].*MEDQUEUE_ALLOW_CPU=1"
    ):
        OnnxRuntime(Provider.CUDA, allow_cpu=False, threads=1)


@without_cuda
def test_cuda_that_is_absent_gives_way_to_the_cpu_where_that_is_allowed() -> None:
    assert OnnxRuntime(Provider.CUDA, allow_cpu=True, threads=1).provider == CPU


@pytest.mark.parametrize(
    "reason", ["missing driver: libcuda.so.1. Install it", "missing libraries: libcudnn.so.9. Get it"]
)
def test_what_cuda_lacks_is_named_before_a_model_is_loaded(reason: str) -> None:
    with pytest.raises(ProviderUnavailable, match=re.escape(reason)):
        OnnxRuntime(Provider.CUDA, allow_cpu=False, threads=1, cuda_fault=lambda: reason)


def test_what_cuda_lacks_is_kept_where_the_cpu_takes_its_place() -> None:
    runtime = OnnxRuntime(Provider.CUDA, allow_cpu=True, threads=1, cuda_fault=lambda: "missing driver")
    assert (runtime.provider, runtime.cuda_fault) == (CPU, "missing driver")


def test_the_cpu_is_not_asked_what_cuda_lacks() -> None:
    runtime = OnnxRuntime(Provider.CPU, allow_cpu=False, threads=1, cuda_fault=lambda: pytest.fail("asked"))
    assert runtime.cuda_fault is None


@without_cuda
@pytest.mark.filterwarnings("ignore:Specified provider")  # this build has no CUDA: a GPU build says nothing
def test_a_session_that_silently_falls_back_is_refused_before_a_model_is_loaded() -> None:
    with pytest.raises(ProviderUnavailable, match="does not use it"):
        OnnxRuntime(Provider.CUDA, allow_cpu=False, threads=1, cuda_fault=lambda: None)


@without_cuda
@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_session_that_silently_falls_back_is_told_of_where_that_is_allowed(tmp_path: Path) -> None:
    runtime = OnnxRuntime(Provider.CUDA, allow_cpu=True, threads=1, cuda_fault=lambda: None)
    assert (runtime.provider, runtime.cuda_fault) == (CPU, UNUSED)
    outputs = runtime.load(graphs.written(graphs.adding(), tmp_path)).run(ROWS)
    assert outputs["more"].tolist() == [[2], [2]]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (
            RuntimeError(
                "cuda_call.cc:121 CUDA failure 46: CUDA-capable device(s) is/are busy or unavailable ; GPU=-1 ; hostname=h"
            ),
            "CUDA failure 46: CUDA-capable device(s) is/are busy or unavailable. Check",
        ),
        (RuntimeError("CUDA failure 2: out of memory ; GPU=0"), "the GPU has no memory left"),
        (RuntimeError("what nobody foresaw"), "RuntimeError. Check"),
    ],
    ids=["busy", "full", "other"],
)
def test_a_gpu_that_takes_no_session_is_named_with_the_reason(fault: Exception, reason: str) -> None:
    class Failing(OnnxRuntime):
        def _session(self, graph: str | bytes, *providers: object) -> ort.InferenceSession:
            if is_out_of_memory(fault):
                raise OutOfMemory from fault
            raise fault

    with pytest.raises(ProviderUnavailable, match=re.escape(reason)):
        Failing(Provider.CUDA, allow_cpu=False, threads=1, cuda_fault=lambda: None)
    assert Failing(Provider.AUTO, allow_cpu=False, threads=1, cuda_fault=lambda: None).provider == CPU


def test_the_graph_that_cuda_is_tried_with_is_sound() -> None:
    session = ort.InferenceSession(PROBE, providers=[CPU])
    assert session.run(None, {"x": np.array([2], np.float32)})[0].tolist() == [-2]


@pytest.mark.parametrize(("allowed", "option"), [(False, "0"), (True, "1")])
def test_tf32_is_off_unless_it_is_allowed(allowed: bool, option: str) -> None:
    assert cuda_options(allow_tf32=allowed)["use_tf32"] == option


@without_cuda
def test_auto_takes_the_cpu_where_there_is_no_cuda() -> None:
    assert OnnxRuntime(Provider.AUTO, allow_cpu=False, threads=1).provider == CPU


def test_the_cpu_is_taken_when_it_is_asked_for() -> None:
    assert cpu().provider == CPU


def test_a_runtime_says_its_name_version_and_provider() -> None:
    assert describe(cpu()) == {"runtime": f"onnxruntime {ort.__version__}", "provider": CPU}


def test_outputs_come_by_name(tmp_path: Path) -> None:
    outputs = cpu().load(graphs.written(graphs.adding(), tmp_path)).run(ROWS)
    assert {name: output.tolist() for name, output in outputs.items()} == {
        "more": [[2], [2]],
        "less": [[0], [0]],
    }


def test_feeds_in_float16_are_bound_to_a_device_and_outputs_come_back_in_float16() -> None:
    """The device is the CPU's memory: binding is the same call for CUDA's."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT16, ["rows", 2]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "half", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    session = ort.InferenceSession(model.SerializeToString(), providers=[CPU])
    rows = np.arange(6, dtype=np.float16).reshape(2, 3).T  # not contiguous
    found = OnnxGraph(session, 1.0, device="cpu").run({"x": rows})["y"]
    assert found.dtype == np.float16
    assert (found == -rows).all()


def test_trimming_frees_what_a_large_run_left_allocated() -> None:
    graph = cpu().load(ZOO / "pneumonia-xray-28" / "model.onnx")
    (images,) = graph.signature.inputs
    many = {images.name: np.zeros((1024, 1, 28, 28), np.float32)}
    graph.run(many)
    before = own_mb()
    graph.trim()
    for _ in range(2):  # the second run does as it always did
        graph.run({name: value[:1] for name, value in many.items()})
    assert own_mb() < before - 20


def test_a_larger_model_counts_for_more_memory(tmp_path: Path) -> None:
    path = graphs.written(graphs.adding(), tmp_path)
    small = cpu().load(path).size_mb
    model = graphs.adding()
    model.doc_string = "x" * 2**20
    large = cpu().load(graphs.written(model, tmp_path)).size_mb
    assert small >= path.stat().st_size / 2**20
    assert large >= small + 1


def test_a_run_that_asks_for_too_much_memory_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(OutOfMemory):
        cpu().load(graphs.written(graphs.greedy(), tmp_path)).run(ROWS)


@pytest.mark.parametrize(
    "fault",
    [
        MemoryError(),
        RuntimeError("std::bad_alloc"),
        RuntimeError("bad allocation"),
        RuntimeError("CUDA failure 2: out of memory ; GPU=0"),
        RuntimeError("CUDA_ERROR_OUT_OF_MEMORY"),
        RuntimeError("cudaMalloc(&p, size) failed"),
        ValueError("BFCArena: Failed to Allocate memory"),
        *map(RuntimeError, ALLOCATORS_WORDS),
    ],
    ids=lambda fault: str(fault)[-60:] or type(fault).__name__,
)
def test_the_words_of_every_allocator_mean_out_of_memory(fault: Exception) -> None:
    with pytest.raises(OutOfMemory):
        failing(fault).run(ROWS)


@pytest.mark.parametrize("number", [214, 700, 702, 719, 999])
def test_a_device_that_is_lost_ends_the_process(number: int) -> None:
    statuses: list[int] = []
    words = f"CUDA failure {number}: unspecified ; GPU=0 ; expr=cudaMalloc((void**)&p, size);"
    graph = OnnxGraph(FailingSession(RuntimeError(words)), 1.0, end_process=statuses.append)
    with pytest.raises((RunFailed, OutOfMemory)):
        graph.beside().run(ROWS)
    assert statuses == [75]


@pytest.mark.parametrize(
    "words", ["CUDA failure 2: out of memory", "CUDA failure 701: too many resources", "CUDA failure 1"]
)
def test_a_device_that_answers_again_does_not_end_the_process(words: str) -> None:
    graph = OnnxGraph(
        FailingSession(RuntimeError(words)), 1.0, end_process=lambda status: pytest.fail("ended")
    )
    with pytest.raises((RunFailed, OutOfMemory)):
        graph.run(ROWS)


@pytest.mark.parametrize(
    "fault",
    [
        RuntimeError("Non-zero status code returned while running Gather node"),
        RuntimeError("CUDA failure 1: invalid argument ; GPU=0 ; expr=cudaMemcpyAsync(to, from, size)"),
        RuntimeError("CUBLAS failure 7: CUBLAS_STATUS_INVALID_VALUE"),
        ValueError("CUDNN_STATUS_EXECUTION_FAILED"),
        KeyError("x"),
    ],
    ids=str,
)
def test_any_other_fault_means_that_the_run_failed(fault: Exception) -> None:
    with pytest.raises(RunFailed):
        failing(fault).run(ROWS)


def test_the_message_of_a_failed_run_quotes_no_input(tmp_path: Path) -> None:
    with pytest.raises(RunFailed) as caught:
        cpu().load(graphs.written(graphs.picking(), tmp_path)).run(IMPOSSIBLE)
    assert "987654" not in str(caught.value)


def test_a_failed_run_writes_no_input_to_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    graph = cpu().load(graphs.written(graphs.picking(), tmp_path))
    with pytest.raises(RunFailed):
        graph.run(IMPOSSIBLE)
    assert "987654" not in capfd.readouterr().err


@pytest.mark.parametrize(
    "feeds",
    [{}, {"y": ROWS["x"]}, {"x": np.ones((2, 1))}, {"x": np.ones((2, 1, 3), np.float32)}],
    ids=["missing", "misnamed", "wrong type", "wrong rank"],
)
def test_wrong_feeds_fail_the_run(feeds: dict[str, Array], tmp_path: Path) -> None:
    with pytest.raises(RunFailed):
        cpu().load(graphs.written(graphs.adding(), tmp_path)).run(feeds)


def test_a_graph_runs_again_after_a_failed_run(tmp_path: Path) -> None:
    graph = cpu().load(graphs.written(graphs.picking(), tmp_path))
    with pytest.raises(RunFailed):
        graph.run(IMPOSSIBLE)
    assert graph.run(ROWS)["y"].tolist() == [[2], [2]]


@pytest.mark.parametrize("threads", [1, 2])
def test_stop_ends_a_long_run(threads: int, tmp_path: Path) -> None:
    graph = OnnxRuntime(Provider.CPU, allow_cpu=False, threads=threads).load(
        graphs.written(graphs.lasting(), tmp_path)
    )
    timer = threading.Timer(0.1, graph.stop)
    timer.start()
    started = time.monotonic()
    with pytest.raises(RunTimedOut):
        graph.run(ROWS)
    assert time.monotonic() - started < 5
    timer.join()


def test_stop_between_runs_does_not_end_the_next(tmp_path: Path) -> None:
    graph = cpu().load(graphs.written(graphs.adding(), tmp_path))
    graph.stop()
    assert graph.run(ROWS)["more"].tolist() == [[2], [2]]


def test_a_file_that_is_no_model_is_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(ort.capi.onnxruntime_pybind11_state.InvalidProtobuf):
        cpu().load(path)
