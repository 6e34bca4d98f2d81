"""Checks of bundles: faults hide no other faults, graphs without end are ended, and logits are no probabilities."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from models.bundle import BundleRefused, renew_golden, seal_bundle
from models.checking import check_bundle, publishable, sealed
from models.golden_cases import parse_golden
from models.manifest import ManifestInvalid, ModelManifest
from models.pipelines import ReadFile, load_pipeline
from models.sandbox import CpuRun
from tests.unit.models.example_bundles import graph, told, write_bundle

RUN = CpuRun()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good, sealed bundle."""
    return write_bundle(tmp_path / "dose-effect")


def found(folder: Path, run: Any = RUN) -> set[tuple[str, str]]:
    """(place, code) of every fault."""
    return told(check_bundle(folder, run))


def edit(folder: Path, name: str, change: Callable[[str], str]) -> None:
    (folder / name).write_text(change((folder / name).read_text()))


def put(folder: Path, model: onnx.ModelProto) -> None:
    """Another graph, its answers taken as right, sealed."""
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    renew_golden(folder, RUN)
    seal_bundle(folder)


def endless(folder: Path) -> None:
    """A graph with a loop that never ends, sealed; one run may take a second."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["going"], ["on"]), helper.make_node("Identity", ["held"], ["kept"])],
        "body",
        [helper.make_tensor_value_info("turn", TensorProto.INT64, []),
         helper.make_tensor_value_info("going", TensorProto.BOOL, []),
         helper.make_tensor_value_info("held", TensorProto.FLOAT, ["rows", 1])],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, []),
         helper.make_tensor_value_info("kept", TensorProto.FLOAT, ["rows", 1])],
    )  # fmt: skip
    yes = numpy_helper.from_array(np.array(True), "yes")
    model = graph([helper.make_node("Loop", ["", "yes", "logit"], ["mixed"], body=body)])
    model.graph.initializer.append(yes)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    edit(
        folder,
        "manifest.toml",
        lambda text: text.replace("[files]", "[runtime]\nrun_timeout_s = 1.0\n[files]"),
    )
    seal_bundle(folder)


def test_a_graph_without_end_is_ended_and_refused(folder: Path) -> None:
    endless(folder)
    began = time.monotonic()
    [fault] = check_bundle(folder)
    assert (fault.place, fault.code) == ("golden.json", "golden_failed")
    assert "one run took longer than 1 s" in fault.detail
    assert time.monotonic() - began < 60


def test_renewing_the_answers_of_a_graph_without_end_is_ended(folder: Path) -> None:
    endless(folder)
    with pytest.raises(BundleRefused, match="longer than 1 s"):
        renew_golden(folder)


def test_a_graph_that_takes_all_memory_is_refused(folder: Path) -> None:
    shape = helper.make_node("Constant", [], ["shape"], value_ints=[3_000_000_000])
    zeros = helper.make_node("ConstantOfShape", ["shape"], ["zeros"])
    least = helper.make_node("ReduceMax", ["zeros"], ["least"], keepdims=0)
    added = helper.make_node("Add", ["logit", "least"], ["mixed"])
    (folder / "model.onnx").write_bytes(graph([shape, zeros, least, added]).SerializeToString())
    seal_bundle(folder)
    assert found(folder, None) == {("golden.json", "golden_failed")}


def test_a_good_bundle_passes_in_a_process_of_its_own(folder: Path) -> None:
    assert publishable(folder).manifest.name == "dose-effect"


def without_sigmoid(factor: float, offset: float) -> onnx.ModelProto:
    """A graph that gives `factor` * logit + `offset`; of the golden cases the logit is -2 to 1.5."""
    model = graph(
        [
            helper.make_node("Mul", ["logit", "factor"], ["scaled"]),
            helper.make_node("Add", ["scaled", "offset"], ["mixed"]),
        ]
    )
    for name, value in (("factor", factor), ("offset", offset)):
        model.graph.initializer.append(numpy_helper.from_array(np.array([value], np.float32), name))
    del model.graph.node[-1]
    model.graph.node.append(helper.make_node("Identity", ["mixed"], ["probability"]))
    return model


@pytest.mark.parametrize(("factor", "offset"), [(0.2, 0.45), (-0.2, 0.5), (0.25, 0.5), (0.0, 1.5)])
def test_logits_that_happen_to_lie_between_0_and_1_are_refused(
    folder: Path, factor: float, offset: float
) -> None:
    if factor:
        put(folder, without_sigmoid(factor, offset))
        [fault] = check_bundle(folder, RUN)
        assert (fault.place, fault.code) == ("model.onnx", "not_a_probability")
        assert fault.detail.endswith('for a regression use `pipeline = "tabular-regression"`')
    else:
        with pytest.raises(BundleRefused, match="not between 0 and 1"):
            put(folder, without_sigmoid(factor, offset))


def test_faults_of_all_parts_are_told_at_once(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(graph(output="score").SerializeToString())
    (folder / "CARD.md").write_text(" ")
    (folder / "extra.bin").write_bytes(b"x")
    edit(folder, "golden.json", lambda text: json.dumps({"cases": json.loads(text)["cases"][:4]}))
    edit(folder, "golden.json", lambda text: text.replace('"dose": 5.0', '"dose": 500.0'))
    assert found(folder) == {
        ("CARD.md", "card_empty"),
        ("CARD.md", "digest_differs"),
        ("extra.bin", "file_not_listed"),
        ("golden.json", "digest_differs"),
        ("golden.json", "golden_too_few"),
        ("golden.json: case 1", "golden_input_rejected"),
        ("model.onnx", "digest_differs"),
        ("manifest.toml: graph.outputs", "output_differs"),
    }


def test_a_manifest_at_fault_hides_no_fault_of_other_parts(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"no model")
    (folder / "CARD.md").unlink()
    (folder / "golden.json").write_text("{")
    edit(
        folder,
        "manifest.toml",
        lambda text: text.replace('"1.0.0"', '"one"').replace('"positive" = "ill"', '"positive" = "sick"'),
    )
    assert found(folder) == {
        ("manifest.toml: version", "manifest_invalid"),
        ("manifest.toml: parameters", "manifest_invalid"),
        ("CARD.md", "file_missing"),
        ("golden.json", "golden_invalid"),
        ("model.onnx", "onnx_invalid"),
    }


def test_a_wrong_answer_is_told_beside_a_missing_card(folder: Path) -> None:
    edit(folder, "golden.json", lambda text: text.replace('"label": "well"', '"label": "ill"', 1))
    seal_bundle(folder)
    (folder / "CARD.md").unlink()
    assert {("CARD.md", "file_missing"), ("golden.json: case 0", "golden_alone")} <= found(folder)


def test_foreign_operators_hide_no_wrong_tensors(folder: Path) -> None:
    foreign = helper.make_node("Identity", ["logit"], ["mixed"], domain="com.example")
    (folder / "model.onnx").write_bytes(graph([foreign], output="score").SerializeToString())
    seal_bundle(folder)
    assert found(folder) == {
        ("model.onnx", "unknown_operator_domain"),
        ("manifest.toml: graph.outputs", "output_differs"),
    }


@pytest.mark.parametrize("dimensions", [["rows", "columns"], ["rows", None], [None, None]])
def test_a_shape_that_the_graph_does_not_say_is_no_fault(folder: Path, dimensions: Any) -> None:
    """What it gives for the golden cases says it."""
    model = graph()
    output = helper.make_tensor_value_info("probability", TensorProto.FLOAT, dimensions)
    model.graph.output[0].CopyFrom(output)
    put(folder, model)
    assert found(folder) == set()


def test_graphs_that_the_pipeline_lacks_or_needs_are_named(folder: Path) -> None:
    table = '[graphs.encoder]\nfile = "model.onnx"\n[graphs.decoder]\nfile = "model.onnx"\n[files]'
    edit(folder, "manifest.toml", lambda text: text.replace("[files]", table))
    faults = check_bundle(folder, RUN)
    assert told(faults) == {
        ("manifest.toml: graphs", "graph_missing"),
        ("manifest.toml: graphs", "graph_name_unknown"),
    }
    assert [fault.detail for fault in faults] == [
        "the pipeline needs a graph 'model': add its table [graphs.model]",
        "the pipeline knows no graph 'decoder'; it has model",
        "the pipeline knows no graph 'encoder'; it has model",
    ]


@pytest.mark.parametrize(
    ("key", "side", "detail"),
    [
        (
            'outputs.probability = "odds"',
            "outputs",
            (
                "'probability' is mapped to 'odds', and the graph's outputs are 'probability': remove the key "
                "`outputs.probability` in [graphs.model]: the pipeline needs float32 [N, 1]"
            ),
        ),
        (
            'outputs.odds = "probability"',
            "outputs",
            "the pipeline knows no 'odds'; it has 'probability': rename the key `outputs.odds` in [graphs.model]",
        ),
        ("classes = [0]", "classes", "the pipeline reads no scores by class from this graph: remove the key"),
    ],
)
def test_a_fault_of_a_graph_with_a_table_of_its_own_names_that_table(
    folder: Path, key: str, side: str, detail: str
) -> None:
    table = f'[graphs.model]\nfile = "model.onnx"\n{key}\n[files]'
    edit(folder, "manifest.toml", lambda text: text.replace("[files]", table))
    for change in (lambda text: text, lambda text: text.replace('"1.0.0"', '"one"')):  # read, and refused
        edit(folder, "manifest.toml", change)
        [fault] = [each for each in check_bundle(folder, RUN) if "graph" in each.place]
        assert (fault.place, fault.detail) == (f"manifest.toml: graphs.model.{side}", detail)


def test_a_run_of_a_graph_that_the_bundle_lacks_names_those_it_has(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a pipeline that calls its only graph `head`, and runs it as `run(feeds)`."""
    edit(
        folder,
        "manifest.toml",
        lambda text: text.replace("[files]", '[graphs.head]\nfile = "model.onnx"\n[files]'),
    )
    seal_bundle(folder)

    def renamed(manifest: ModelManifest, read: ReadFile) -> Any:
        pipeline: Any = load_pipeline(manifest, read)
        pipeline.graphs = {"head": pipeline.graphs["model"]}
        return pipeline

    monkeypatch.setattr("models.checking.load_pipeline", renamed)
    [fault] = check_bundle(folder, RUN)
    assert (fault.place, fault.code) == ("manifest.toml: graphs", "graph_name_unknown")
    assert fault.detail == (
        "the pipeline runs a graph 'model', but the bundle has head: "
        "name one of its graphs in `run(feeds, graph=...)`"
    )


TEXTS = ["title", "summary", "license"]


@pytest.mark.parametrize("character", ["\\u0000", "\\u001b", "\\u007f", "\\u0085"])
@pytest.mark.parametrize("name", TEXTS)
def test_control_characters_in_the_manifest_are_refused(folder: Path, name: str, character: str) -> None:
    line = f'{name} = "'
    edit(folder, "manifest.toml", lambda text: f"\n{text}".replace(f"\n{line}", f"\n{line}{character}", 1))
    assert found(folder) == {(f"manifest.toml: {name}", "manifest_invalid")}


def test_control_characters_are_refused_wherever_they_stand(folder: Path) -> None:
    edit(
        folder,
        "manifest.toml",
        lambda text: text.replace('"Dose"', '"D\\u0000"').replace(
            "[files]", '[metrics]\n"a\\u0000" = 1\n[files]'
        ),
    )
    (folder / "CARD.md").write_text("card\x00")
    assert found(folder) == {
        ("manifest.toml: parameters.features[0].title", "manifest_invalid"),
        ("manifest.toml: metrics", "manifest_invalid"),
        ("CARD.md", "card_invalid"),
        ("CARD.md", "digest_differs"),
    }


def test_lines_and_tabs_are_text(folder: Path) -> None:
    edit(folder, "manifest.toml", lambda text: text.replace('summary = "', 'summary = "one\\ttwo\\r\\n', 1))
    assert found(folder) == set()


GOOD = 'name="a"\nversion="1.0.0"\nkind="diagnosis"\npipeline="a"\ntitle="t"\nsummary="s"\nlicense="MIT"\n'


@pytest.mark.parametrize(
    "text",
    ["x = " + "1" * 5000, "[metrics]\na = " + "1" * 4000, "[metrics]\na = 1e400", "[runtime]\nrun_timeout_s = " + "1" * 4000,
     "x = " + "[" * 5000, "x = " + "{a=" * 5000, "\0", "[runtime]\npromised_s = 1e400", "x = 1\nx = 2"],
    ids=lambda text: repr(text[:30]),
)  # fmt: skip
def test_odd_toml_is_refused_and_no_accident(text: str) -> None:
    with pytest.raises(ManifestInvalid):
        ModelManifest.parse(GOOD + text)


def test_cases_without_an_answer_can_be_renewed(folder: Path) -> None:
    edit(
        folder,
        "golden.json",
        lambda text: json.dumps({"cases": [{"input": case["input"]} for case in json.loads(text)["cases"]]}),
    )
    assert found(folder) >= {("golden.json: cases[0].expected", "golden_invalid")}
    renew_golden(folder, RUN)
    seal_bundle(folder)
    assert found(folder) == set()


@pytest.mark.parametrize("name", ["pipe", "side/pipe"])
def test_what_is_no_plain_file_keeps_a_bundle_from_being_sealed(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    os.mkfifo(folder / name)
    assert found(folder) == {(name, "file_missing")}
    with pytest.raises(BundleRefused, match="plain file"):
        seal_bundle(folder)


def headless(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(graph(output="score").SerializeToString())


def no_graph(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"no model")


def graph_is_gone(folder: Path) -> None:
    (folder / "model.onnx").unlink()


def misnamed_graph(folder: Path) -> None:
    edit(folder, "manifest.toml", lambda text: text.replace("[files]", "[graphs.other]\n[files]"))


def wrong_input(folder: Path) -> None:
    edit(folder, "golden.json", lambda text: text.replace('"dose": 5.0', '"dose": 500.0'))


def wrong_version(folder: Path) -> None:
    edit(folder, "manifest.toml", lambda text: text.replace('"1.0.0"', '"one"'))


def wrong_parameters(folder: Path) -> None:
    edit(folder, "manifest.toml", lambda text: text.replace('"positive" = "ill"', '"positive" = "sick"'))


def no_json(folder: Path) -> None:
    (folder / "golden.json").write_text("{")


BREAKAGES = (
    headless, no_graph, graph_is_gone, misnamed_graph, wrong_input, wrong_version, wrong_parameters, no_json,
)  # fmt: skip


@pytest.mark.parametrize("golden", [True, False])
@pytest.mark.parametrize("broken", BREAKAGES)
def test_what_keeps_a_bundle_from_being_sealed_is_told_as_a_check_tells_it(
    broken: Callable[[Path], None], golden: bool, folder: Path
) -> None:
    broken(folder)
    (folder / "CARD.md").write_text(" ")
    expected = {fault for fault in check_bundle(folder, RUN) if fault.code != "digest_differs"}
    assert len(expected) >= 2
    with pytest.raises(BundleRefused) as caught:
        sealed(folder, golden=golden)
    assert len(caught.value.faults) == len(expected)
    assert set(caught.value.faults) == expected


def test_answers_of_fewer_cases_than_are_asked_for_are_written(folder: Path) -> None:
    edit(folder, "golden.json", lambda text: json.dumps({"cases": [{"input": {"dose": 5, "age": 40}}]}))
    with pytest.raises(BundleRefused) as caught:
        sealed(folder, golden=True)
    assert [fault.code for fault in caught.value.faults] == ["golden_too_few"]
    [case] = parse_golden((folder / "golden.json").read_text())
    assert case.expected["label"] == "well"


def test_a_listed_file_that_is_gone_is_no_fault_when_sealed_again(folder: Path) -> None:
    (folder / "words.txt").write_text("a")
    sealed(folder, golden=False)
    (folder / "words.txt").unlink()
    assert found(folder) == {("words.txt", "file_missing")}
    sealed(folder, golden=True)
    assert found(folder) == set()
