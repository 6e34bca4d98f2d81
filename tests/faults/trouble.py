"""A model that misbehaves on request, made for the fault tests: one dose each that raises, lasts, hangs, or asks for
more memory than there is. Any other dose is scored like the example model of the unit tests.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper

from models.bundle import renew_golden, seal_bundle
from tests.unit.models.example_bundles import golden_table, graph, manifest_table, toml

NAME = "trouble"
RAISES, HANGS, GREEDY, LASTS = 41.0, 42.0, 43.0, 44.0
HANG_ROUNDS = 400_000_000  # a microsecond each, about: minutes
LAST_ROUNDS = 700_000
RUN_TIMEOUT_S = 3.0


def body(dose: float) -> dict[str, Any]:
    """A submit of this dose."""
    return {"model": NAME, "input": {"dose": dose, "age": 40.0}}


def write_trouble(folder: Path) -> Path:
    """The bundle, sealed, in `folder`."""
    folder.mkdir(parents=True)
    runtime = {"max_batch": 16, "run_timeout_s": RUN_TIMEOUT_S}
    (folder / "manifest.toml").write_text(toml(manifest_table() | {"name": NAME, "runtime": runtime}))
    (folder / "CARD.md").write_text("# trouble\n\nMade up for fault tests.\n")
    (folder / "model.onnx").write_bytes(graph(_nodes()).SerializeToString())
    (folder / "golden.json").write_text(json.dumps(golden_table()))
    renew_golden(folder)
    seal_bundle(folder)
    return folder


def _nodes() -> list[NodeProto]:
    """logit + 0 * (what each kind of trouble gives), each kind switched on by a dose of any row."""
    return [
        _constant("column", np.array([0], np.int64)),
        _constant("zero", np.array(0, np.float32)),
        _constant("none", np.array(0, np.int64)),
        helper.make_node("Gather", ["features", "column"], ["doses"], axis=1),
        *_switch("raise", RAISES, 1, 0),
        _constant("table", np.array([1.0], np.float32)),
        helper.make_node("Gather", ["table", "raise_value"], ["raised"]),
        *_switch("greed", GREEDY, 2**50, 1),
        helper.make_node("Unsqueeze", ["greed_value", "column"], ["wide"]),
        helper.make_node("ConstantOfShape", ["wide"], ["much"]),
        helper.make_node("ReduceMax", ["much"], ["greedy"], keepdims=0),
        *_switch("hang", HANGS, HANG_ROUNDS, 0),
        *_switch("last", LASTS, LAST_ROUNDS, 0),
        helper.make_node("Add", ["hang_value", "last_value"], ["rounds"]),
        _constant("yes", np.array(True)),
        helper.make_node("Loop", ["rounds", "yes", "raised"], ["lasted"], body=_loop_body()),
        helper.make_node("Add", ["lasted", "greedy"], ["trouble"]),
        helper.make_node("Mul", ["trouble", "zero"], ["nothing"]),
        helper.make_node("Add", ["logit", "nothing"], ["mixed"]),
    ]


def _switch(name: str, dose: float, there: int, otherwise: int) -> list[NodeProto]:
    """`name_value`: int64 scalar, `there` if some row has this dose."""
    return [
        _constant(f"{name}_dose", np.array(dose, np.float32)),
        helper.make_node("Equal", ["doses", f"{name}_dose"], [f"{name}_rows"]),
        helper.make_node("Cast", [f"{name}_rows"], [f"{name}_numbers"], to=TensorProto.INT64),
        helper.make_node("ReduceMax", [f"{name}_numbers"], [f"{name}_any"], keepdims=0),
        _constant(f"{name}_step", np.array(there - otherwise, np.int64)),
        _constant(f"{name}_least", np.array(otherwise, np.int64)),
        helper.make_node("Mul", [f"{name}_any", f"{name}_step"], [f"{name}_more"]),
        helper.make_node("Add", [f"{name}_more", f"{name}_least"], [f"{name}_value"]),
    ]


def _loop_body() -> Any:
    return helper.make_graph(
        [
            helper.make_node("Identity", ["condition"], ["again"]),
            helper.make_node("Neg", ["before"], ["after"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("condition", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("again", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, None),
        ],
    )


def _constant(name: str, value: Any) -> NodeProto:
    kind = helper.np_dtype_to_tensor_dtype(value.dtype)
    content = helper.make_tensor(name, kind, value.shape, value.flatten().tolist())
    return helper.make_node("Constant", [], [name], value=content)
