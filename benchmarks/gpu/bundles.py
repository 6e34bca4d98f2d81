"""Two models made for the checks: one whose larger batches fit into no memory, one with a case that never ends.

Both are logistic regressions of two numbers; the trouble is switched on by the size of a batch, or by one dose.
"""

import json
from pathlib import Path

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper, save

from benchmarks.gpu.device import Device
from models.bundle import renew_golden, seal_bundle

GREEDY, HANGING = "greedy", "hanging"
FITS = 8  # rows of a batch; of the next size there are more numbers than any memory holds
LARGEST = 32
HANG_DOSE = 42.0
HANG_TIMEOUT_S = 2.0
RUNS_S = 30.0

MANIFEST = """
name = "{name}"
version = "1.0.0"
kind = "diagnosis"
pipeline = "tabular-classification"
title = "Made for checks of a GPU"
summary = "A line through made-up points."
license = "CC0-1.0"

[runtime]
max_batch = {largest}
run_timeout_s = {timeout_s}

[parameters]
positive = "ill"
labels = [
    {{id = "well", display = "Well", system = "http://example.org/codes", code = "W"}},
    {{id = "ill", display = "Ill", system = "http://example.org/codes", code = "I"}},
]
threshold = {{value = 0.5, sensitivity = 0.9, specificity = 0.8, ppv = 0.7, prevalence = 0.3, source = "made up"}}
features = [
    {{name = "dose", title = "Dose", unit = "mg", minimum = 0.0, maximum = 50.0, example = 10.0}},
    {{name = "age", title = "Age", unit = "a", minimum = 0.0, maximum = 120.0, example = 40.0}},
]
"""


def write_greedy(folder: Path, device: Device) -> Path:
    """A model that asks for petabytes, or a GPU for 256 GiB, when a batch has more than FITS rows."""
    numbers = 2**36 if device.on_cuda else 2**50
    nodes = [
        helper.make_node("Shape", ["features"], ["shape"]),
        _constant("first", np.array([0], np.int64)),
        helper.make_node("Gather", ["shape", "first"], ["rows"], axis=0),
        _constant("fits", np.array([FITS], np.int64)),
        helper.make_node("Greater", ["rows", "fits"], ["many"]),
        *_amount("many", numbers),
        helper.make_node("ConstantOfShape", ["amount"], ["much"], value=_one("value", [1])),
        helper.make_node("ReduceMax", ["much"], ["trouble"], keepdims=0),
    ]
    return _write(folder, GREEDY, nodes, LARGEST, RUNS_S)


def write_hanging(folder: Path, device: Device) -> Path:
    """A model with one kernel that takes minutes for HANG_DOSE, so that no flag between two kernels can end it.

    On CUDA it is a cumulative sum of float32, whose time there is the square of its length; on the CPU a large product.
    """
    switch = [
        _constant("column", np.array([0], np.int64)),
        helper.make_node("Gather", ["features", "column"], ["doses"], axis=1),
        _constant("hang_dose", np.array(HANG_DOSE, np.float32)),
        helper.make_node("Equal", ["doses", "hang_dose"], ["matches"]),
        helper.make_node("Cast", ["matches"], ["numbers"], to=TensorProto.INT64),
        helper.make_node("ReduceMax", ["numbers"], ["found"], keepdims=0),
        _constant("one_long", np.array([1], np.int64)),
        helper.make_node("Reshape", ["found", "one_long"], ["found_one"]),
        helper.make_node("Cast", ["found_one"], ["hangs"], to=TensorProto.BOOL),
    ]
    if device.on_cuda:
        work = [
            *_amount("hangs", 2**26),
            helper.make_node("ConstantOfShape", ["amount"], ["much"], value=_one("value", [1])),
            _constant("axis", np.array(0, np.int64)),
            helper.make_node("CumSum", ["much", "axis"], ["long"]),
        ]
    else:
        work = [
            *_amount("hangs", 7000),
            helper.make_node("Concat", ["amount", "amount"], ["square"], axis=0),
            helper.make_node("ConstantOfShape", ["square"], ["much"], value=_one("value", [1])),
            helper.make_node("MatMul", ["much", "much"], ["long"]),
        ]
    end = helper.make_node("ReduceMax", ["long"], ["trouble"], keepdims=0)
    return _write(folder, HANGING, [*switch, *work, end], FITS, HANG_TIMEOUT_S)


def write_lasting(folder: Path) -> Path:
    """A graph of very many small kernels, which takes minutes and can be ended between any two of them."""
    number = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("before", "after")]
    truth = [helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("condition", "again")]
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["condition"], ["again"]),
            helper.make_node("Neg", ["before"], ["after"]),
        ],
        "body",
        [helper.make_tensor_value_info("round", TensorProto.INT64, []), truth[0], number[0]],
        [truth[1], number[1]],
    )
    graph = helper.make_graph(
        [
            _constant("rounds", np.array(10**9, np.int64)),
            _constant("yes", np.array(True)),
            helper.make_node("Loop", ["rounds", "yes", "features"], ["probability"], body=body),
        ],
        "lasting",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["rows", 2])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["rows", 2])],
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "lasting.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), str(path))
    return path


def _amount(switch: str, there: int) -> list[NodeProto]:
    """`amount`: int64 of one place, `there` where `switch` is true, else 1."""
    return [
        _constant("there", np.array([there], np.int64)),
        _constant("otherwise", np.array([1], np.int64)),
        helper.make_node("Where", [switch, "there", "otherwise"], ["amount"]),
    ]


def _write(folder: Path, name: str, trouble: list[NodeProto], largest: int, timeout_s: float) -> Path:
    """A bundle whose graph is a logistic regression, with nothing times `trouble` added."""
    nodes = [
        *trouble,
        helper.make_node("MatMul", ["features", "weight"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["logit"]),
        _constant("zero", np.array(0, np.float32)),
        helper.make_node("Mul", ["trouble", "zero"], ["nothing"]),
        helper.make_node("Add", ["logit", "nothing"], ["mixed"]),
        helper.make_node("Sigmoid", ["mixed"], ["probability"]),
    ]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["rows", 2])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["rows", 1])],
        [
            numpy_helper.from_array(np.array([[0.1], [0.02]], np.float32), "weight"),
            numpy_helper.from_array(np.array([-2], np.float32), "bias"),
        ],
    )
    folder.mkdir(parents=True)
    save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10),
        str(folder / "model.onnx"),
    )
    (folder / "manifest.toml").write_text(MANIFEST.format(name=name, largest=largest, timeout_s=timeout_s))
    (folder / "CARD.md").write_text(f"# {name}\n\nMade for checks of a GPU.\n")
    cases = [{"input": {"dose": 5.0 * row, "age": 10.0 * row}, "expected": {}} for row in range(6)]
    (folder / "golden.json").write_text(json.dumps({"cases": cases}))
    renew_golden(folder)
    seal_bundle(folder)
    return folder


def _constant(name: str, value: np.ndarray) -> NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value, name))


def _one(name: str, shape: list[int]) -> TensorProto:
    return helper.make_tensor(name, TensorProto.FLOAT, shape, [1.0])
