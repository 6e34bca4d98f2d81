"""ONNX files and names of which no bundle is started: what is said, and that no folder is left behind."""

import os
from pathlib import Path

import onnx
import pytest
from onnx import helper

from models.manifest import BundleRefused
from models.skeleton import write_skeleton
from tests.unit.models.example_bundles import graph
from tests.unit.models.test_foreign_graphs import FILES


@pytest.mark.parametrize("location", ["nothing.bin", "../outside.bin"])
def test_weights_that_are_missing_or_outside_are_refused(location: str, tmp_path: Path) -> None:
    model = graph()
    onnx.external_data_helper.convert_model_to_external_data(model, location="w.bin", size_threshold=0)
    (tmp_path / "in").mkdir()
    onnx.save(model, tmp_path / "in" / "m.onnx")
    (tmp_path / "outside.bin").write_bytes(bytes(12))
    changed = onnx.load(tmp_path / "in" / "m.onnx", load_external_data=False)
    for tensor in changed.graph.initializer:
        for entry in tensor.external_data:
            entry.value = location if entry.key == "location" else entry.value
    (tmp_path / "in" / "m.onnx").write_bytes(changed.SerializeToString())
    (tmp_path / "there").mkdir()
    for folder in (tmp_path / "own", tmp_path / "there" / "new" / "own"):
        with pytest.raises(BundleRefused, match="external_data_missing"):
            write_skeleton(tmp_path / "in" / "m.onnx", folder, "own")
    assert not (tmp_path / "own").exists()
    assert list((tmp_path / "there").iterdir()) == []


@pytest.mark.parametrize(
    ("operator", "side", "count"),
    [("ArgMax", "input", 0), ("Identity", "input", 0), ("Add", "input", 1), ("Neg", "output", 0)],
)
@pytest.mark.parametrize("file", ["sklearn-tensor", "sklearn-zipmap"])
def test_a_node_that_lacks_inputs_or_outputs_is_refused_in_words(
    file: str, operator: str, side: str, count: int, tmp_path: Path
) -> None:
    model = onnx.load(FILES / f"{file}.onnx")
    cut = helper.make_node(operator, ["X"] * 2, ["cut"])
    del getattr(cut, side)[count:]
    model.graph.node.append(cut)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BundleRefused) as caught:
        write_skeleton(tmp_path / "m.onnx", tmp_path / "own", "own")
    [fault] = caught.value.faults
    needed = 2 if operator == "Add" else 1
    words = f"a node {operator} has {count} {side}s and needs {needed}: export the graph again"
    assert (fault.place, fault.code, fault.detail) == ("m.onnx", "onnx_invalid", words)


@pytest.mark.parametrize("name", ["My_Model", "Sepsis", "a--b", "", "a" * 65, "sepsis\n"])
def test_a_name_that_no_model_can_have_starts_no_bundle(name: str, tmp_path: Path) -> None:
    with pytest.raises(BundleRefused, match="--name: write lower-case letters and digits"):
        write_skeleton(FILES / "sklearn-tensor.onnx", tmp_path / "own", name)
    assert not (tmp_path / "own").exists()


@pytest.mark.parametrize("kind", ["device", "pipe", "sparse"])
def test_what_has_no_end_or_is_too_large_is_not_read(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "endless.onnx"
    if kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        with path.open("wb") as opened:
            opened.truncate(2 * 1024**3 + 1)
    with pytest.raises(BundleRefused, match=r"endless.onnx: .*(not a regular file|at most 2 GiB)"):
        write_skeleton(path, tmp_path / "new", "endless")
    assert not (tmp_path / "new").exists()


def test_a_file_that_is_no_graph_starts_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"no graph at all")
    with pytest.raises(BundleRefused) as caught:
        write_skeleton(tmp_path / "m.onnx", tmp_path / "own", "own")
    [fault] = caught.value.faults
    assert (fault.place, fault.code) == ("m.onnx", "onnx_invalid")
    assert not (tmp_path / "own").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "the file is empty"), (graph().SerializeToString() * 2, "defined 2 times")],
    ids=["empty", "twice"],
)
def test_an_empty_file_and_one_that_holds_its_model_twice_start_no_bundle(
    content: bytes, words: str, tmp_path: Path
) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(BundleRefused, match=words) as caught:
        write_skeleton(tmp_path / "m.onnx", tmp_path / "own", "own")
    [fault] = caught.value.faults
    assert (fault.place, fault.code) == ("m.onnx", "onnx_invalid")
    assert not (tmp_path / "own").exists()
