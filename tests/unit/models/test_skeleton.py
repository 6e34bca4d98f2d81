"""Bundles started from an ONNX file alone: what is guessed, what is left open, and that nothing half-filled is published."""

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from models.bundle import renew_golden, seal_bundle
from models.checking import check_bundle, publishable, sealed
from models.column_ranges import RowsFile
from models.golden_cases import FEWEST_CASES
from models.manifest import FILL_IN, BundleRefused, ModelManifest
from models.sandbox import CpuRun
from models.skeleton import write_skeleton
from tests.unit.models.example_bundles import graph
from tests.unit.models.test_foreign_graphs import FILES, FOREIGN, ROWS


def started(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / name
    write_skeleton(FILES / f"{name}.onnx", folder, name)
    return folder


def fill_in(folder: Path, **changes: str) -> None:
    """Write something into every place that was left open, and real cases into golden.json."""
    for name in ("manifest.toml", "CARD.md"):
        text = (folder / name).read_text().replace(FILL_IN, "Filled in")
        for old, new in changes.items():
            text = text.replace(old, new)
        (folder / name).write_text(text)
    names = [f"feature_{number}" for number in range(1, 5)]
    cases = [{"input": dict(zip(names, row, strict=True)), "expected": {}} for row in ROWS]
    (folder / "golden.json").write_text(json.dumps({"cases": cases}))


@pytest.mark.parametrize("name", [name for name in FOREIGN if name not in {"torch-fixed", "torch-int8"}])
def test_a_skeleton_of_a_common_export_needs_no_more_than_its_places_filled_in(
    name: str, tmp_path: Path
) -> None:
    folder = started(tmp_path, name)
    fill_in(folder)
    renew_golden(folder, CpuRun())
    seal_bundle(folder)
    assert publishable(folder, CpuRun()).model_path.read_bytes() == (FILES / f"{name}.onnx").read_bytes()


def test_a_skeleton_is_refused_as_long_as_a_place_is_open(tmp_path: Path) -> None:
    folder = started(tmp_path, "sklearn-tensor")
    renew_golden(folder, CpuRun())
    seal_bundle(folder)
    with pytest.raises(BundleRefused) as caught:
        publishable(folder, CpuRun())
    assert {(fault.place, fault.code) for fault in caught.value.faults} == {
        ("manifest.toml", "not_filled_in"),
        ("CARD.md", "not_filled_in"),
    }


def test_logits_under_an_unknown_name_are_not_taken_for_probabilities(tmp_path: Path) -> None:
    folder = started(tmp_path, "torch-fixed")
    fill_in(folder)
    with pytest.raises(BundleRefused, match="say so with `output`"):
        renew_golden(folder, CpuRun())


def test_classes_that_the_graph_names_become_labels(tmp_path: Path) -> None:
    manifest = ModelManifest.parse((started(tmp_path, "sklearn-strings") / "manifest.toml").read_text())
    assert manifest.parameters["labels"] == ["setosa", "versicolor", "virginica"]


@pytest.mark.parametrize(
    ("name", "labels", "classes"),
    [
        ("sklearn-signed", ["class_-1", "class_1"], (-1, 1)),
        ("sklearn-gaps", ["class_1", "class_2", "class_4"], (1, 2, 4)),
        ("sklearn-digits", ["class_0", "class_1", "class_2"], ("0", "1", "2")),
        ("sklearn-zipmap", ["class_0", "class_1"], None),
        ("sklearn-strings", ["setosa", "versicolor", "virginica"], None),
    ],
)
def test_classes_that_are_no_ids_of_labels_are_listed(
    name: str, labels: list[str], classes: object, tmp_path: Path
) -> None:
    manifest = ModelManifest.parse((started(tmp_path, name) / "manifest.toml").read_text())
    assert manifest.parameters["labels"] == labels
    assert manifest.graph is not None
    assert manifest.graph.classes == classes


def test_what_is_left_to_do_is_said_by_file_and_key(tmp_path: Path) -> None:
    left = write_skeleton(FILES / "torch-fixed.onnx", tmp_path / "own", "own").left
    places = [place for place, _ in left]
    assert places[0] == "manifest.toml: title, summary, license"
    assert "manifest.toml: parameters.features" in places
    assert any(place == "CARD.md" and "one row at a time" in what for place, what in left)


def image_graph(
    shape: list[str | int], output: str = "score", channels: int | str | None = 1
) -> onnx.ModelProto:
    node = helper.make_node("GlobalAveragePool", ["picture"], [output])
    given = helper.make_tensor_value_info("picture", TensorProto.FLOAT, shape)
    answered = helper.make_tensor_value_info(
        output, TensorProto.FLOAT, None if channels is None else ["n", channels]
    )
    tensors = helper.make_graph([node], "g", [given], [answered])
    return helper.make_model(tensors, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


IMAGE_MANIFEST = """\
name = "own"
version = "1.0.0"
kind = "diagnosis"
pipeline = "image-classification"
title = "FILL IN"
summary = "FILL IN"
license = "FILL IN"

[graph]
inputs.image = "picture"
outputs.probability = "score"

[parameters]
size = 64
channels = 3
labels = ["absent", "present"]
output = "probability"
positive = "present"
threshold = { value = 0.5, sensitivity = 0.0, specificity = 0.0, ppv = 0.0, prevalence = 0.0, source = "FILL IN" }
"""
IMAGE_LEFT = {
    "manifest.toml: title, summary, license": "who may use it",
    "manifest.toml: parameters.mean, std, fit": "values from 0 to 1 are fed",
    "manifest.toml: parameters.labels": "check the ids and their order",
    "manifest.toml: parameters.threshold": "your threshold",
    "manifest.toml: parameters.output": "rename `outputs.probability` in [graph] as well",
    "golden.json": "at least 5 real inputs that differ",
    "CARD.md": "every section",
}


def test_a_skeleton_of_an_image_model_holds_all_that_the_graph_tells(tmp_path: Path) -> None:
    onnx.save(image_graph(["n", 3, 64, 64]), tmp_path / "m.onnx")
    found = write_skeleton(tmp_path / "m.onnx", tmp_path / "own", "own")
    assert (found.folder, found.pipeline) == (tmp_path / "own", "image-classification")
    assert (found.folder / "manifest.toml").read_text() == IMAGE_MANIFEST
    assert [place for place, _ in found.left] == list(IMAGE_LEFT)
    for place, what in found.left:
        assert IMAGE_LEFT[place] in what
    golden = (found.folder / "golden.json").read_text()
    assert json.loads(golden) == {"cases": [{"input": {"data": FILL_IN}, "expected": {}}] * FEWEST_CASES}
    assert len(golden.splitlines()) > FEWEST_CASES, "somebody writes in it by hand"
    card = (found.folder / "CARD.md").read_text()
    assert card.startswith(
        "# own\n\nA model of the pipeline `image-classification`.\n\n## Intended use\n\nFILL IN: "
    )
    assert re.findall("^## (.*)", card, re.MULTILINE) == [
        "Intended use", "Out of scope", "Data", "Figures", "Limits",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("output", "channels", "expected"),
    [
        ("score", 1, ("probability", ["absent", "present"], "present")),
        ("Logit", 1, ("logit", ["absent", "present"], "present")),
        ("logits", 3, ("logits", ["class_0", "class_1", "class_2"], None)),
        ("score", 3, ("probabilities", ["class_0", "class_1", "class_2"], None)),
        ("score", "classes", ("probabilities", ["class_0", "class_1"], None)),
        ("score", None, ("probabilities", ["class_0", "class_1"], None)),
    ],
)
def test_the_scores_and_their_labels_are_guessed_from_the_output(
    output: str, channels: int | str | None, expected: tuple[str, list[str], str | None], tmp_path: Path
) -> None:
    onnx.save(image_graph(["n", 3, 64, 64], output, channels), tmp_path / "m.onnx")
    write_skeleton(tmp_path / "m.onnx", tmp_path / "own", "own")
    manifest = ModelManifest.parse((tmp_path / "own" / "manifest.toml").read_text())
    parameters = manifest.parameters
    assert (parameters["output"], parameters["labels"], parameters.get("positive")) == expected
    assert manifest.graph_tables["model"].outputs == {expected[0]: output}


@pytest.mark.parametrize(
    ("outputs", "chosen"),
    [
        ({"label": TensorProto.INT64, "y_prob": TensorProto.FLOAT, "score": TensorProto.FLOAT}, "y_prob"),
        ({"score": TensorProto.DOUBLE, "hidden": TensorProto.FLOAT16, "label": TensorProto.INT64}, "hidden"),
        ({"label": TensorProto.INT64}, None),
    ],
)
def test_of_several_outputs_the_probabilities_are_taken_or_else_the_last_of_scores(
    outputs: dict[str, int], chosen: str | None, tmp_path: Path
) -> None:
    model = image_graph(["n", 3, 64, 64])
    del model.graph.output[:]
    for name, element in outputs.items():
        model.graph.output.append(helper.make_tensor_value_info(name, element, ["n", 2]))
    onnx.save(model, tmp_path / "m.onnx")
    if chosen is None:
        with pytest.raises(BundleRefused) as caught:
            write_skeleton(tmp_path / "m.onnx", tmp_path / "own", "own")
        [fault] = caught.value.faults
        assert (fault.place, fault.code) == ("model.onnx", "output_differs")
        assert fault.detail == "no output holds scores of classes"
    else:
        write_skeleton(tmp_path / "m.onnx", tmp_path / "own", "own")
        manifest = ModelManifest.parse((tmp_path / "own" / "manifest.toml").read_text())
        assert manifest.graph_tables["model"].outputs == {"probabilities": chosen}


def test_a_graph_of_grey_images_is_told_from_one_of_colours(tmp_path: Path) -> None:
    onnx.save(image_graph(["n", 1, 28, 28]), tmp_path / "m.onnx")
    write_skeleton(tmp_path / "m.onnx", tmp_path / "own", "own")
    manifest = ModelManifest.parse((tmp_path / "own" / "manifest.toml").read_text())
    assert (manifest.parameters["size"], manifest.parameters["channels"]) == (28, 1)


@pytest.mark.parametrize(
    "shape",
    [
        ["n", 2, 64, 64],
        ["n", "h", "w", 3],
        ["n", 64, "w", 3],
        ["n", 3, "h", "w"],
        ["n", 5, 8],
        ["n", 3, 8, 8, 8],
    ],
)
def test_a_graph_of_neither_tables_nor_images_is_one_of_tensors(
    shape: list[str | int], tmp_path: Path
) -> None:
    onnx.save(image_graph(shape), tmp_path / "m.onnx")
    skeleton = write_skeleton(tmp_path / "m.onnx", tmp_path / "own", "own")
    manifest = ModelManifest.parse((tmp_path / "own" / "manifest.toml").read_text())
    assert manifest.pipeline == skeleton.pipeline == "tensor"
    axes = [length if isinstance(length, int) else -1 for length in shape[1:]]
    assert manifest.parameters["inputs"] == [{"name": "picture", "dtype": "float32", "shape": axes}]
    assert manifest.parameters["outputs"] == [{"name": "score", "dtype": "float32", "shape": [1]}]
    assert ("manifest.toml: parameters.longest" in {place for place, _ in skeleton.left}) == (-1 in axes)


def graph_of_tensors(rows: list[str | int]) -> onnx.ModelProto:
    """The sum of some whole numbers, as many as one likes, and of four numbers."""
    nodes = [
        helper.make_node("Cast", ["Token IDs"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["numbers", "last"], ["1st"], keepdims=1),
        helper.make_node("Flatten", ["token.ids"], ["flat"]),
        helper.make_node("ReduceSum", ["flat", "last"], ["ÄÖ"], keepdims=1),
    ]
    given = [
        helper.make_tensor_value_info("Token IDs", TensorProto.INT64, [*rows, "length"]),
        helper.make_tensor_value_info("token.ids", TensorProto.FLOAT, [*rows, 2, 2]),
    ]
    answered = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [*rows, 1]) for name in ("1st", "ÄÖ")]
    last = helper.make_tensor("last", TensorProto.INT64, [1], [1])
    tensors = helper.make_graph(nodes, "g", given, answered, [last])
    return helper.make_model(tensors, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_a_bundle_of_tensors_needs_no_more_than_its_places_filled_in(tmp_path: Path) -> None:
    onnx.save(graph_of_tensors(["n"]), tmp_path / "m.onnx")
    folder = tmp_path / "own"
    write_skeleton(tmp_path / "m.onnx", folder, "own")
    written = json.loads((folder / "golden.json").read_text())["cases"]
    assert written[0]["input"] == {"token_ids": [0], "token_ids_2": [[0.0, 0.0], [0.0, 0.0]]}
    fill_in(folder)
    cases = [
        {"input": {"token_ids": [*range(count)], "token_ids_2": [[0.5, count], [1, 2]]}}
        for count in range(1, 7)
    ]
    (folder / "golden.json").write_text(json.dumps({"cases": cases}))
    bundle = sealed(folder, golden=True)
    assert [case.expected["outputs"] for case in bundle.golden] == [
        {"tensor_1st": [sum(range(count))], "tensor": [3.5 + count]} for count in range(1, 7)
    ]


def test_a_graph_whose_tensors_have_no_rows_is_refused_with_what_it_takes(tmp_path: Path) -> None:
    onnx.save(graph_of_tensors([]), tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    model.graph.input[0].type.tensor_type.shape.Clear()
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(BundleRefused) as caught:
        write_skeleton(tmp_path / "m.onnx", tmp_path / "own", "own")
    [fault] = caught.value.faults
    assert (fault.place, fault.code) == ("model.onnx", "pipeline_unknown")
    assert "Token IDs int64[]" in fault.detail
    assert not (tmp_path / "own").exists()


@pytest.mark.parametrize("location", ["w.bin", "some/where/w.bin"])
def test_weights_beside_the_graph_come_along(location: str, tmp_path: Path) -> None:
    model = graph()
    (tmp_path / location).parent.mkdir(parents=True, exist_ok=True)
    onnx.external_data_helper.convert_model_to_external_data(model, location=location, size_threshold=0)
    onnx.save(model, tmp_path / "m.onnx")
    folder = write_skeleton(tmp_path / "m.onnx", tmp_path / "new" / "own", "own").folder
    assert (folder / location).read_bytes() == np.array([0.1, 0.02, -2.0], np.float32).tobytes()


@pytest.mark.parametrize(
    ("right", "wrong", "place"),
    [
        ('name = "sklearn-zipmap"', 'name = "My_Model"', "manifest.toml: name"),
        ('version = "1.0.0"', 'version = "one"', "manifest.toml: version"),
        ("[graph]", "[runtime]\nmax_batch = 0\n[graph]", "manifest.toml: runtime.max_batch"),
        ("[graph]", "[graph]\nrow_by_row = 1", "manifest.toml: graph.row_by_row"),
        ("[graph]", '[graph]\nfile = "../model.onnx"', "manifest.toml: graph.file"),
    ],
)
def test_one_fault_of_the_manifest_is_not_told_as_others_of_the_graph(
    right: str, wrong: str, place: str, tmp_path: Path
) -> None:
    folder = started(tmp_path, "sklearn-zipmap")
    fill_in(folder)
    renew_golden(folder, CpuRun())
    seal_bundle(folder)
    text = (folder / "manifest.toml").read_text()
    (folder / "manifest.toml").write_text(text.replace(right, wrong))
    assert [fault.place for fault in check_bundle(folder, CpuRun())] == [place]


def test_a_graph_is_compared_beside_a_fault_of_the_manifest(tmp_path: Path) -> None:
    folder = started(tmp_path, "sklearn-zipmap")
    fill_in(folder, **{'version = "1.0.0"': 'version = "one"', '"float_input"': '"another"'})
    found = {(fault.place, fault.code) for fault in check_bundle(folder, CpuRun())}
    assert found == {
        ("manifest.toml: version", "manifest_invalid"),
        ("manifest.toml: graph.inputs", "input_differs"),
    }


@pytest.mark.parametrize("name", ["torch-legacy", "torch-fixed"])
def test_another_output_than_was_guessed_is_said_to_need_its_key_renamed(name: str, tmp_path: Path) -> None:
    folder = started(tmp_path, name)
    text = (folder / "manifest.toml").read_text()
    [guessed] = re.findall(r'^output = "(.+)"', text, re.MULTILINE)
    other = {"logits": "probabilities", "probabilities": "logits"}[guessed]
    fill_in(folder, **{f'output = "{guessed}"': f'output = "{other}"'})
    with pytest.raises(BundleRefused) as caught:
        renew_golden(folder, CpuRun())
    [fault] = caught.value.faults
    assert (fault.place, fault.code) == ("manifest.toml: graph.outputs", "graph_name_unknown")
    assert f"it has '{other}': rename the key `outputs.{guessed}` in [graph]" in fault.detail


def test_names_of_classes_that_are_no_text_are_guessed_from(tmp_path: Path) -> None:
    scored = helper.make_node(
        "LinearClassifier",
        ["X"],
        ["label", "probabilities"],
        domain="ai.onnx.ml",
        classlabels_strings=[b"\xff", b"b"],
        coefficients=[0.0] * 6,
    )
    given = helper.make_tensor_value_info("X", TensorProto.FLOAT, ["rows", 3])
    answered = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["rows", 2])
    onnx.save(helper.make_model(helper.make_graph([scored], "g", [given], [answered])), tmp_path / "m.onnx")
    assert write_skeleton(tmp_path / "m.onnx", tmp_path / "own", "own").pipeline == "tabular-classification"
    assert 'labels = ["class__", "b"]' in (tmp_path / "own" / "manifest.toml").read_text()


def test_a_skeleton_of_a_table_asks_for_ranges_or_has_those_of_a_file(tmp_path: Path) -> None:
    advice = "# give each number its range"
    assert advice in (started(tmp_path, "sklearn-tensor") / "manifest.toml").read_text()
    data = tmp_path / "rows.csv"
    data.write_text("length,width,petal,stem\n" + "".join(f"{row},2.5,{row / 2},0\n" for row in range(10)))
    folder = tmp_path / "own"
    write_skeleton(FILES / "sklearn-tensor.onnx", folder, "own", RowsFile(data))
    text = (folder / "manifest.toml").read_text()
    assert "# minimum and maximum are those of rows.csv: widen them" in text
    assert advice in text, "two columns are all alike"
    features = ModelManifest.parse(text).parameters["features"]
    assert features[0] == {"name": "length", "title": "length", "minimum": 0.0, "maximum": 9.0}
    assert features[1] == "width"


def test_rows_are_refused_for_a_graph_that_takes_none(tmp_path: Path) -> None:
    onnx.save(image_graph(["n", 3, 64, 64]), tmp_path / "m.onnx")
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    with pytest.raises(BundleRefused, match="the graph takes no table"):
        write_skeleton(tmp_path / "m.onnx", tmp_path / "own", "own", RowsFile(tmp_path / "rows.csv"))
    assert not (tmp_path / "own").exists()
