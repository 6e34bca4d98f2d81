"""Small ONNX graphs, made on the spot: one that adds, one that lasts, one that asks for too much memory."""

from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, save

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
LONG_ROUNDS = 15_000_000  # a microsecond each, about


def written(model: ModelProto, folder: Path) -> Path:
    """`model` as a file."""
    path = folder / "model.onnx"
    save(model, str(path))
    return path


def adding() -> ModelProto:
    """Two outputs: `more` is `x` and one, `less` is `x` without one."""
    return _model(
        [helper.make_node("Add", ["x", "one"], ["more"]), helper.make_node("Sub", ["x", "one"], ["less"])],
        outputs=("more", "less"),
        constants={"one": np.array([1], np.float32)},
    )


def lasting() -> ModelProto:
    """A loop that multiplies `x` by one for a quarter of a minute."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["condition"], ["again"]),
            helper.make_node("Mul", ["before", "one"], ["after"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("round", INT64, []),
            helper.make_tensor_value_info("condition", BOOL, []),
            helper.make_tensor_value_info("before", FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("again", BOOL, []),
            helper.make_tensor_value_info("after", FLOAT, None),
        ],
    )
    return _model(
        [helper.make_node("Loop", ["rounds", "yes", "x"], ["y"], body=body)],
        constants={
            "rounds": np.array(LONG_ROUNDS, np.int64),
            "yes": np.array(True),
            "one": np.array([1], np.float32),
        },
    )


def greedy() -> ModelProto:
    """Spreads `x` over more bytes than any address space has."""
    return _model(
        [helper.make_node("Expand", ["x", "shape"], ["wide"]), helper.make_node("Neg", ["wide"], ["y"])],
        constants={"shape": np.array([2**40, 1024, 1, 1], np.int64)},
    )


def picking() -> ModelProto:
    """Looks up `x` in a table of three: fails for any row that is not 0, 1 or 2."""
    return _model(
        [
            helper.make_node("Cast", ["x"], ["index"], to=INT64),
            helper.make_node("Gather", ["table", "index"], ["y"]),
        ],
        constants={"table": np.array([1, 2, 3], np.float32)},
    )


def repeating_text() -> ModelProto:
    """Gives back the text that it is given."""
    text = [helper.make_tensor_value_info(name, TensorProto.STRING, ["rows", 1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "test", text[:1], text[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _model(
    nodes: list[NodeProto], *, constants: dict[str, np.ndarray], outputs: tuple[str, ...] = ("y",)
) -> ModelProto:
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", FLOAT, ["rows", 1])],
        [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
