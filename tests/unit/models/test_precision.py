"""The precision that a manifest states is that of most weights of its graphs."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from models.bundle import bundled, read_manifest, seal_bundle
from models.checking import check_bundle
from models.manifest import RuntimeLimits
from models.precision import held, precision_of, weights_of
from tests.unit.models.example_bundles import manifest_table, toml, write_bundle

FOREIGN = Path(__file__).parent / "foreign"


def saved(path: Path, *nodes: onnx.NodeProto, weights: dict[str, np.ndarray]) -> Path:
    """A graph without inputs that holds these weights."""
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    onnx.save(helper.make_model(helper.make_graph([*nodes], "g", [], [], tensors)), str(path))
    return path


def test_weights_are_counted_by_precision_and_wide_integers_are_none(tmp_path: Path) -> None:
    kinds = {"a": np.float32, "b": np.float64, "c": np.float16, "d": np.int8, "e": np.uint8, "f": np.int64}
    weights = {name: np.zeros((2, place + 1), kind) for place, (name, kind) in enumerate(kinds.items())}
    counts = weights_of(saved(tmp_path / "m.onnx", weights=weights))
    assert counts == {"fp32": 2 + 4, "fp16": 6, "int8": 8 + 10}


def test_constants_of_nodes_of_inner_graphs_and_of_trees_count(tmp_path: Path) -> None:
    def constant(count: int) -> onnx.NodeProto:
        tensor = numpy_helper.from_array(np.zeros(count, np.float16))
        return helper.make_node("Constant", [], [f"c{count}"], value=tensor)

    inner = helper.make_graph([constant(3)], "inner", [], [])
    both = helper.make_node("If", ["b"], ["x"], then_branch=inner, else_branch=inner)
    trees = helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], nodes_values=[1.0, 2.0])
    counts = weights_of(saved(tmp_path / "m.onnx", constant(5), both, trees, weights={}))
    assert counts == {"fp16": 5 + 3 + 3, "fp32": 2}


def test_most_weights_decide_and_the_wider_of_equals() -> None:
    assert held({"fp32": 1, "int8": 2}) == "int8"
    assert held({"int8": 2, "fp16": 2}) == "fp16"
    assert held({}) == "fp32"


@pytest.mark.parametrize(
    ("stated", "refused"), [("fp16", True), ("int8", True), ("fp32", False), (None, False)]
)
def test_a_manifest_that_states_another_precision_than_the_graph_has_is_refused(
    stated: str | None, refused: bool, tmp_path: Path
) -> None:
    folder = write_bundle(tmp_path / "bundle")
    runtime = {} if stated is None else {"precision": stated}
    (folder / "manifest.toml").write_text(toml(manifest_table() | {"runtime": runtime}))
    seal_bundle(folder)
    found = check_bundle(folder)
    assert [fault.code for fault in found] == (["precision_differs"] if refused else [])
    assert all('write `precision = "fp32"`' in fault.detail for fault in found)


def test_a_graph_in_eight_bits_is_not_said_to_be_fp32(tmp_path: Path) -> None:
    assert held(weights_of(FOREIGN / "torch-int8.onnx")) == "int8"
    assert held(weights_of(FOREIGN / "torch-legacy.onnx")) == "fp32"


@pytest.mark.parametrize("folder", bundled(), ids=lambda folder: folder.name)
def test_a_bundled_model_in_lower_precision_states_it(folder: Path) -> None:
    manifest = read_manifest(folder)
    found = precision_of(folder / table.file for table in manifest.graph_tables.values())
    assert (manifest.runtime.precision or "fp32") == found


def test_precision_is_stored_only_where_it_is_stated() -> None:
    stated = RuntimeLimits.model_validate({"precision": "int8"})
    assert stated.model_dump(mode="json")["precision"] == "int8"
    assert "precision" not in RuntimeLimits.model_validate({}).model_dump(mode="json")


def test_bounds_of_variants_are_stored_only_where_they_are_set() -> None:
    limits = {"variant_tolerance": 0.02, "variant_loss": 0.01}
    stored = RuntimeLimits.model_validate(limits).model_dump(mode="json")
    assert limits.items() <= stored.items()
    assert not limits.keys() & RuntimeLimits.model_validate({}).model_dump(mode="json").keys()


def test_float16_is_told_by_its_type_and_not_by_its_size(tmp_path: Path) -> None:
    tensor = helper.make_tensor("w", TensorProto.BFLOAT16, [3], [1.0, 2.0, 3.0])
    onnx.save(helper.make_model(helper.make_graph([], "g", [], [], [tensor])), str(tmp_path / "m.onnx"))
    assert weights_of(tmp_path / "m.onnx") == {"fp16": 3}
