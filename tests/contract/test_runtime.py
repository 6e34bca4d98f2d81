"""Runtime and LoadedGraph: what the fake and ONNX Runtime have in common."""

import re
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from onnx import ModelProto

from service.config import Provider
from tests.fakes import FakeRuntime, ScriptedGraph
from tests.unit.workers import graphs
from workers.runtime import CPU, OnnxGraph, OnnxRuntime, OutOfMemory, RunFailed, Runtime, RunTimedOut

Load = Callable[[ModelProto], Runtime]
ROWS = {"x": np.array([[0], [1], [2]], np.float32)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.onnx"


@pytest.fixture(params=["fake", "onnxruntime", "onnxruntime, bound"])
def runtime_for(request: pytest.FixtureRequest, tmp_path: Path) -> Load:
    """Writes a graph to `path`; the runtime that is to load it. Bound as on CUDA, and to the CPU's memory."""

    def made(model: ModelProto) -> Runtime:
        path = graphs.written(model, tmp_path)
        real = OnnxRuntime(Provider.CPU, allow_cpu=False, threads=1)
        if request.param == "fake":
            return FakeRuntime(ScriptedGraph(real.load(path)))
        return real if request.param == "onnxruntime" else FakeRuntime(bound(path))

    return made


def bound(path: Path) -> OnnxGraph:
    return OnnxGraph(ort.InferenceSession(str(path), providers=[CPU]), 1.0, device="cpu")


def test_a_runtime_says_its_name_version_and_provider(runtime_for: Load) -> None:
    runtime = runtime_for(graphs.adding())
    assert re.fullmatch(r"\w+ \d+(\.\d+)+", runtime.name)
    assert runtime.provider.endswith("ExecutionProvider")


def test_outputs_come_by_name_one_row_for_each_row(runtime_for: Load, path: Path) -> None:
    outputs = runtime_for(graphs.adding()).load(path).run(ROWS)
    assert set(outputs) == {"more", "less"}
    assert outputs["more"].tolist() == [[1], [2], [3]]
    assert outputs["less"].dtype == np.float32


def test_a_batch_may_have_any_size(runtime_for: Load, path: Path) -> None:
    graph = runtime_for(graphs.adding()).load(path)
    for size in (1, 7, 2):
        assert graph.run({"x": np.zeros((size, 1), np.float32)})["more"].shape == (size, 1)


def test_a_graph_counts_for_some_memory(runtime_for: Load, path: Path) -> None:
    assert runtime_for(graphs.adding()).load(path).size_mb > 0


def test_rows_that_the_graph_cannot_take_fail_the_run(runtime_for: Load, path: Path) -> None:
    graph = runtime_for(graphs.picking()).load(path)
    with pytest.raises(RunFailed):
        graph.run({"x": np.array([[0], [99]], np.float32)})
    assert graph.run(ROWS)["y"].tolist() == [[1], [2], [3]]


def test_missing_feeds_fail_the_run(runtime_for: Load, path: Path) -> None:
    with pytest.raises(RunFailed):
        runtime_for(graphs.adding()).load(path).run({})


def test_a_run_that_asks_for_too_much_memory_is_told_apart(runtime_for: Load, path: Path) -> None:
    with pytest.raises(OutOfMemory):
        runtime_for(graphs.greedy()).load(path).run({"x": np.ones((1, 1), np.float32)})


def test_stop_ends_a_long_run(runtime_for: Load, path: Path) -> None:
    graph = runtime_for(graphs.lasting()).load(path)
    timer = threading.Timer(0.1, graph.stop)
    timer.start()
    with pytest.raises(RunTimedOut):
        graph.run(ROWS)
    timer.join()


def test_a_graph_beside_runs_alike_and_is_stopped_alone(runtime_for: Load, path: Path) -> None:
    graph = runtime_for(graphs.lasting()).load(path)
    beside, ended = graph.beside(), []

    def run() -> None:
        with pytest.raises(RunTimedOut):
            graph.run(ROWS)
        ended.append(1)

    running = threading.Thread(target=run)
    running.start()
    timer = threading.Timer(0.1, beside.stop)
    timer.start()
    with pytest.raises(RunTimedOut):
        beside.run(ROWS)
    assert not ended
    graph.stop()
    running.join(5)
    assert ended


def test_stop_between_runs_does_not_end_the_next(runtime_for: Load, path: Path) -> None:
    graph = runtime_for(graphs.adding()).load(path)
    graph.stop()
    assert len(graph.run(ROWS)["more"]) == 3


def test_bound_outputs_are_those_of_a_plain_run(tmp_path: Path) -> None:
    path = graphs.written(graphs.adding(), tmp_path)
    plain = OnnxRuntime(Provider.CPU, allow_cpu=False, threads=1).load(path)
    for rows in (
        np.arange(8, dtype=np.float32).reshape(8, 1),
        np.arange(16, dtype=np.float32).reshape(8, 2)[:, ::2],
    ):
        found, expected = bound(path).run({"x": rows}), plain.run({"x": rows})
        assert {name: value.tolist() for name, value in found.items()} == {
            name: value.tolist() for name, value in expected.items()
        }


def test_text_is_not_bound_and_comes_through_all_the_same(tmp_path: Path) -> None:
    graph = bound(graphs.written(graphs.repeating_text(), tmp_path))
    assert graph.run({"x": np.array([["a"], ["bb"]], object)})["y"].tolist() == [["a"], ["bb"]]
