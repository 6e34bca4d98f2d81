"""Features guessed from a graph's inputs: names, types, categories, and what is no table."""

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from models.bundle import renew_golden, seal_bundle
from models.checking import check_bundle, publishable
from models.manifest import FILL_IN, ModelManifest
from models.sandbox import CpuRun
from models.signature import Tensor
from models.skeleton import write_skeleton
from models.table_guess import GuessedFeature, Values, example_rows, guessed_features, is_table, mapped
from tests.unit.models.test_foreign_graphs import FILES
from tests.unit.models.test_foreign_words import inputs


def filled_in(folder: Path, name: str, **changes: str) -> ModelManifest:
    """Start a bundle of a foreign file and write into each place left open; golden cases are those predicted."""
    write_skeleton(FILES / f"{name}.onnx", folder, "own")
    for file in ("manifest.toml", "CARD.md"):
        text = (folder / file).read_text()
        for old, new in changes.items():
            text = text.replace(old, new)
        (folder / file).write_text(text.replace(FILL_IN, "Filled in"))
    manifest = ModelManifest.parse((folder / "manifest.toml").read_text())
    features = manifest.parameters["features"]
    names = [each if isinstance(each, str) else each["name"] for each in features]
    cases = [{"input": dict(zip(names, each.values(), strict=True)), "expected": {}} for each in inputs(name)]
    (folder / "golden.json").write_text(json.dumps({"cases": cases}))
    return manifest


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("sklearn-columns", {}),
        ("sklearn-ordinal", {}),
        ("sklearn-codes", {}),
        ("sklearn-text", {f'type = "category", values = ["{FILL_IN}"]': 'type = "text"'}),
    ],
)
def test_a_skeleton_of_a_table_with_words_needs_no_more_than_its_places_filled_in(
    name: str, changes: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "own"
    filled_in(folder, name, **changes)
    renew_golden(folder, CpuRun())
    seal_bundle(folder)
    assert publishable(folder, CpuRun()).model_path.read_bytes() == (FILES / f"{name}.onnx").read_bytes()


def test_types_and_categories_are_read_from_the_graph(tmp_path: Path) -> None:
    features = filled_in(tmp_path / "one", "sklearn-columns").parameters["features"]
    assert features == [
        "age",
        {"name": "visits", "title": "visits", "type": "integer"},
        {"name": "sex", "title": "sex", "type": "category", "values": ["female", "male"]},
        {"name": "site", "title": "site", "type": "category", "values": ["Arm", "Rücken", "leg, lower"]},
    ]
    features = filled_in(tmp_path / "other", "sklearn-ordinal").parameters["features"]
    assert [each["values"] for each in features] == [["female", "male"], ["Arm", "Rücken", "leg, lower"]]


def test_numbers_that_an_encoder_knows_are_the_limits(tmp_path: Path) -> None:
    features = filled_in(tmp_path / "own", "sklearn-codes").parameters["features"]
    assert features[2] == {
        "name": "stage",
        "title": "stage",
        "type": "integer",
        "minimum": 0,
        "maximum": 2,
    }


def test_a_text_whose_categories_are_not_told_is_left_open(tmp_path: Path) -> None:
    left = write_skeleton(FILES / "sklearn-text.onnx", tmp_path / "own", "own").left
    assert any(what.startswith("give the values") and what.endswith("for text_in") for _, what in left)
    assert "not_filled_in" in {fault.code for fault in check_bundle(tmp_path / "own", CpuRun())}


def test_what_may_be_the_code_of_a_category_is_said(tmp_path: Path) -> None:
    left = write_skeleton(FILES / "sklearn-codes.onnx", tmp_path / "own", "own").left
    assert any("codes of categories" in what for _, what in left)


def no_graph() -> Any:
    return helper.make_graph([], "g", [], [])


def test_names_of_inputs_become_names_of_features() -> None:
    titles = ["Age", "Größe (cm)", "2nd visit", "age", "µ!", "x" * 80, ""]
    inputs = [Tensor(title, "float32", (None, 1)) for title in titles]
    found = guessed_features(inputs, no_graph())
    names = [each.name for each in found]
    assert names == ["age", "grosse_cm", "feature_2nd_visit", "age_2", "feature", "x" * 60, "feature_2"]
    assert mapped(found, inputs) == dict(zip(names, titles, strict=True))


def test_inputs_of_several_columns_are_counted_and_mapped_together() -> None:
    inputs = [
        Tensor("num", "float64", (None, 2)),
        Tensor("word", "string", (None,)),
        Tensor("flag", "bool", (None, 1)),
    ]
    found = guessed_features(inputs, no_graph())
    assert [(each.name, each.type) for each in found] == [
        ("num_1", "number"),
        ("num_2", "number"),
        ("word", "category"),
        ("flag", "boolean"),
    ]
    assert mapped(found, inputs) == {"num_1": "num", "num_2": "num"}


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ([("X", "float32", (None, 4))], {"features": "X"}),
        ([("X", "float32", (None, None))], {"features": "X"}),
        ([("X", "float32", (None, 1))], {"features": "X"}),
        ([("text", "string", (None, 1))], {}),
        ([("codes", "int64", (None, 3))], {"features": "codes"}),
        ([("Text", "string", (None, 1))], {"features": "Text"}),
    ],
)
def test_one_input_is_mapped_whole(inputs: list[tuple[Any, ...]], expected: dict[str, str]) -> None:
    tensors = [Tensor(*each) for each in inputs]
    assert is_table(tensors)
    assert mapped(guessed_features(tensors, no_graph()), tensors) == expected


@pytest.mark.parametrize(
    "inputs",
    [
        [],
        [("ids", "int64", (None, None))],
        [("ids", "int64", (None, None)), ("mask", "int64", (None, None))],
        [("ids", "int64", (None, 128)), ("mask", "int64", (None, 128))],
        [("a", "float32", (None, 1)), ("image", "float32", (None, 3, 8, 8))],
        [("a", "float32", (None, 1)), ("b", "float32", (None, None))],
        [("a", "float32", (None, 1)), ("b", "complex64", (None, 1))],
        [("a", "float32", (None, 2, 2))],
        [("a", "uint8", (None, 2))],
    ],
)
def test_what_a_table_does_not_feed_is_none(inputs: list[tuple[Any, ...]]) -> None:
    assert not is_table([Tensor(*each) for each in inputs])


def test_categories_are_not_taken_from_another_column() -> None:
    """The encoder of the second column tells nothing of the first."""
    model = onnx.load(FILES / "sklearn-ordinal.onnx")
    encoder = next(node for node in model.graph.node if node.op_type == "LabelEncoder")
    model.graph.node.remove(encoder)
    found = guessed_features([Tensor("X", "string", (None, 2))], model.graph)
    assert [each.values for each in found] == [(), ("Arm", "Rücken", "leg, lower")]


@pytest.mark.parametrize(
    ("feature", "written", "example"),
    [
        (GuessedFeature("age", "age", "X", "number"), '"age"', 0.0),
        (GuessedFeature("age", "Age", "X", "number"), '{ name = "age", title = "Age" }', 0.0),
        (GuessedFeature("n", "n", "X", "integer"), '{ name = "n", title = "n", type = "integer" }', 0),
        (
            GuessedFeature("n", "n", "X", "integer", (3, 1, 2)),
            '{ name = "n", title = "n", type = "integer", minimum = 1, maximum = 3 }',
            3,
        ),
        (GuessedFeature("f", "f", "X", "boolean"), '{ name = "f", title = "f", type = "boolean" }', False),
        (
            GuessedFeature("s", "s", "X", "category"),
            '{ name = "s", title = "s", type = "category", values = ["FILL IN"] }',
            "FILL IN",
        ),
        (
            GuessedFeature("s", "s", "X", "category", ("é", '"')),
            '{ name = "s", title = "s", type = "category", values = ["é", "\\""] }',
            "é",
        ),
    ],
)
def test_a_feature_is_written_on_one_line_with_an_example(
    feature: GuessedFeature, written: str, example: object
) -> None:
    assert (str(feature), feature.examples[0]) == (written, example)
    assert type(feature.examples[0]) is type(example)


def encoded(picks: list[int], *between: str, keys: object, name: str = "keys_strings") -> Any:
    """A graph that picks columns of X, passes them on, and encodes them."""
    nodes = [helper.make_node("ArrayFeatureExtractor", ["X", "which"], ["v0"], domain="ai.onnx.ml")]
    for number, kind in enumerate(between):
        nodes.append(helper.make_node(kind, [f"v{number}"], [f"v{number + 1}"]))
    last = f"v{len(between)}"
    nodes.append(
        helper.make_node("LabelEncoder", [last], ["y"], domain="ai.onnx.ml", **{name: keys})  # type: ignore[arg-type]
    )
    which = helper.make_tensor("which", TensorProto.INT64, [len(picks)], picks)
    return helper.make_graph(nodes, "g", [], [], [which])


@pytest.mark.parametrize(
    ("graph", "values"),
    [
        (encoded([0], keys=["a", "b"]), [("a", "b"), ()]),
        (encoded([1], keys=["a", "b"]), [(), ("a", "b")]),
        (encoded([0, 1], keys=["a", "b"]), [(), ()]),
        (encoded([1], "Cast", "Reshape", "Identity", keys=["a", "b"]), [(), ("a", "b")]),
        (encoded([1], "Squeeze", "Unsqueeze", "Flatten", keys=["b", "a"]), [(), ("b", "a")]),
        (encoded([1], "Abs", keys=["a", "b"]), [(), ()]),
    ],
)
def test_categories_are_followed_from_the_column_to_its_encoder(graph: Any, values: Any) -> None:
    found = guessed_features([Tensor("X", "string", (None, 2))], graph)
    assert [each.values for each in found] == values
    assert [(each.name, each.title, each.input) for each in found] == [
        ("feature_1", "feature_1", "X"),
        ("feature_2", "feature_2", "X"),
    ]


@pytest.mark.parametrize(
    ("keys", "values"),
    [([2, 0, 1], (0, 1, 2)), ([5, 6], (5, 6)), ([0, 2], ()), ([7], ()), ([0, 1, 1], ())],
)
def test_whole_numbers_without_a_gap_are_what_an_encoder_knows(keys: list[int], values: Any) -> None:
    graph = encoded([0], keys=keys, name="keys_int64s")
    found = guessed_features([Tensor("X", "int64", (None, 2))], graph)
    assert [each.values for each in found] == [values, ()]


def test_an_input_of_one_column_is_called_as_the_graph_calls_it_unless_it_is_a_number() -> None:
    one = [
        guessed_features([Tensor("X", kind, (None, 1))], no_graph())[0]
        for kind in ("float32", "string", "bool")
    ]
    assert [(each.name, each.title) for each in one] == [("feature_1", "feature_1"), ("x", "X"), ("x", "X")]
    assert guessed_features([Tensor("X", "float32", (None, None))], no_graph()) == []


@pytest.mark.parametrize(
    ("kinds", "rows"),
    [
        ((("number", ()), ("boolean", ())), [(0.0, False), (1.0, True), (2.0, False), (3.0, True), (4.0, False)]),
        ((("category", ("a", "b")),), [("a",), ("b",)]),
        ((("category", ("a", "b")), ("boolean", ())), [("a", False), ("b", True), ("a", True), ("b", False)]),
        ((("integer", (7, 8, 9)), ("boolean", ())), [(7, False), (8, True), (9, False), (7, True), (8, False)]),
        ((("integer", (3, 4)), ("category", ())), [(3, FILL_IN), (4, FILL_IN)]),
    ],
)  # fmt: skip
def test_examples_of_a_table_differ_as_long_as_there_are_other_rows(
    kinds: tuple[tuple[str, Values], ...], rows: list[tuple[object, ...]]
) -> None:
    features = [GuessedFeature(f"f{at}", f"f{at}", "x", *kind) for at, kind in enumerate(kinds)]
    assert [tuple(row.values()) for row in example_rows(features, 5)] == rows


def test_a_wide_table_has_examples_too() -> None:
    features = [GuessedFeature(f"f{at}", f"f{at}", "x", "boolean") for at in range(4000)]
    rows = example_rows(features, 5)
    assert len({tuple(row.values()) for row in rows}) == 5


@pytest.mark.parametrize("name", ["sklearn-columns", "sklearn-ordinal", "sklearn-codes"])
def test_the_cases_of_a_skeleton_differ_as_a_check_asks_for(name: str, tmp_path: Path) -> None:
    write_skeleton(FILES / f"{name}.onnx", tmp_path / "own", "own")
    renew_golden(tmp_path / "own", CpuRun())
    seal_bundle(tmp_path / "own")
    assert {fault.code for fault in check_bundle(tmp_path / "own", CpuRun())} == {"not_filled_in"}
