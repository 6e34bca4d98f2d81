"""Weights in a file beside the graph stay mapped: neither the check nor a worker has a second copy of them."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from models.pipelines import Array
from models.sandbox import CpuRun, cpu_session
from models.variants.eight_bits import with_int8_weights
from models.weights import EXACT_PRODUCTS, MAPPED_WEIGHTS, UNPACKED_WEIGHTS, lie_beside
from service.config import Provider
from workers.runtime import OnnxRuntime

WIDTH = 64
WIDE = 4096  # so many columns that memory tells whether there is a copy of their weights
WEIGHTS_MIB = 4 * WIDE**2 / 2**20

Load = Callable[[Path], Callable[[Array], Array]]


def on_worker(path: Path) -> Callable[[Array], Array]:
    graph = OnnxRuntime(Provider.CPU, allow_cpu=False, threads=1).load(path)
    return lambda rows: graph.run({"x": rows})["y"]


def in_check(path: Path) -> Callable[[Array], Array]:
    run = CpuRun()
    run.open(path)
    return lambda rows: run(path, {"x": rows})["y"]


def written(folder: Path, *, beside: bool, width: int = WIDTH) -> Path:
    """A graph that multiplies by square weights."""
    weights = np.tile(np.arange(width, dtype=np.float32) / width, (width, 1))
    kinds = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", width]) for name in ("x", "y")]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weights"], ["y"])],
        "wide", [kinds[0]], [kinds[1]], [numpy_helper.from_array(weights, "weights")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    path = folder / "model.onnx"
    onnx.save(model, path, save_as_external_data=beside, location="w.bin", size_threshold=0)
    return path


def anonymous_mib() -> float:
    """The memory of this process that is not mapped from a file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon:"))


@pytest.mark.parametrize("load", [on_worker, in_check])
def test_weights_beside_a_graph_are_not_copied(tmp_path: Path, load: Load) -> None:
    path, before = written(tmp_path, beside=True, width=WIDE), anonymous_mib()
    answer = load(path)
    found = answer(np.ones((2, WIDE), np.float32))
    assert anonymous_mib() - before < WEIGHTS_MIB / 2
    assert found[1] == pytest.approx(np.arange(WIDE), rel=1e-4)


@pytest.mark.parametrize("beside", [True, False])
def test_a_graph_says_where_its_weights_are(tmp_path: Path, *, beside: bool) -> None:
    assert lie_beside(written(tmp_path, beside=beside)) is beside


def test_an_empty_file_has_no_weights_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.touch()
    assert not lie_beside(path)


def entries(options: ort.SessionOptions) -> dict[str, str]:
    """What the options say of weights."""
    found = {}
    for key in MAPPED_WEIGHTS | UNPACKED_WEIGHTS | EXACT_PRODUCTS:
        with suppress(RuntimeError):  # raised for an entry that is not set
            found[key] = options.get_session_config_entry(key)
    return found


def in_eight_bits(path: Path, *, products: bool) -> None:
    """Give a graph a second output: weights in eight bits, and with `products` its input in eight bits, too."""
    model = onnx.load(str(path), load_external_data=False)
    kind = helper.make_tensor_value_info("more", TensorProto.FLOAT, ["rows", 1])
    codes = numpy_helper.from_array(np.ones((1, 1), np.int8), "codes")
    scale = numpy_helper.from_array(np.array(0.5, np.float32), "scale")
    model.graph.initializer.extend([codes, scale])
    model.graph.output.append(kind)
    model.graph.node.append(helper.make_node("DequantizeLinear", ["codes", "scale"], ["more"]))
    if products:
        model.graph.output.append(helper.make_tensor_value_info("steps", TensorProto.UINT8, ["rows", WIDTH]))
        model.graph.node.append(helper.make_node("QuantizeLinear", ["x", "scale"], ["steps"]))
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize("on_cpu", [True, False])
@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize("eight_bits", ["none", "weights", "products"])
def test_weights_in_eight_bits_alone_are_unpacked_once_and_only_a_cpu_maps_weights_beside_a_graph(
    eight_bits: str, beside: bool, on_cpu: bool, tmp_path: Path
) -> None:
    """No GPU is needed: these are the options of the session that a worker opens."""
    path = written(tmp_path, beside=beside)
    if eight_bits != "none":
        in_eight_bits(path, products=eight_bits == "products")
    runtime = OnnxRuntime(Provider.CPU, allow_cpu=False, threads=1)
    wanted = MAPPED_WEIGHTS if beside and on_cpu else {}
    wanted |= {} if eight_bits == "none" else EXACT_PRODUCTS
    wanted |= UNPACKED_WEIGHTS if eight_bits == "weights" and not beside else {}
    assert entries(runtime.options(str(path), on_cpu=on_cpu)) == wanted
    assert entries(runtime.load(path)._session.get_session_options()) == entries(
        runtime.options(str(path), on_cpu=True)
    )


@pytest.mark.parametrize("beside", [True, False])
def test_products_with_weights_in_eight_bits_are_exact(beside: bool, tmp_path: Path) -> None:
    """Unless it is told otherwise, ONNX Runtime rounds the rows to eight bits, too, which costs a hundred times more here."""
    rng = np.random.default_rng(1)
    weights, rows = (rng.normal(size=shape).astype(np.float32) for shape in ((256, 64), (8, 256)))
    kinds = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", None]) for name in ("x", "y")]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weights"], ["y"])],
        "small", [kinds[0]], [kinds[1]], [numpy_helper.from_array(weights, "weights")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    path = tmp_path / "model.onnx"
    onnx.save(with_int8_weights(model, least=1), path, save_as_external_data=beside, size_threshold=0)
    runtime = OnnxRuntime(Provider.CPU, allow_cpu=False, threads=1)
    exact = cpu_session(path, optimized=False).run(["y"], {"x": rows})[0]
    assert np.abs(runtime.load(path).run({"x": rows})["y"] - exact).max() < 1e-4
    assert np.abs(cpu_session(path).run(["y"], {"x": rows})[0] - exact).max() < 1e-4


def test_products_with_weights_in_four_bits_are_those_of_the_runtimes_defaults(tmp_path: Path) -> None:
    """The model builder of onnxruntime-genai writes them, with weights beside the graph: each was unpacked in every run."""
    rng = np.random.default_rng(1)
    blocks = rng.integers(0, 256, (64, 8, 16), dtype=np.uint8)
    scales = rng.random(64 * 8).astype(np.float32)
    rows = rng.normal(size=(3, 256)).astype(np.float32)
    product = helper.make_node(
        "MatMulNBits", ["x", "blocks", "scales"], ["y"], domain="com.microsoft",
        K=256, N=64, bits=4, block_size=32, accuracy_level=4,
    )  # fmt: skip
    kinds = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", None]) for name in ("x", "y")]
    weights = [numpy_helper.from_array(blocks, "blocks"), numpy_helper.from_array(scales, "scales")]
    graph = helper.make_graph([product], "small", [kinds[0]], [kinds[1]], weights)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    path = tmp_path / "model.onnx"
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    [usual] = ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(["y"], {"x": rows})
    assert np.array_equal(on_worker(path)(rows), usual)
    assert np.array_equal(in_check(path)(rows), usual)
