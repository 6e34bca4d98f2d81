"""Weights in a file beside the graph, in a whole bundle: where they are not what was sealed, that is a fault of the file."""

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from models.bundle import seal_bundle
from models.checking import check_bundle
from models.sandbox import CpuRun
from tests.unit.models.example_bundles import graph, told, write_bundle


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good, sealed bundle whose weights, three float32, are in w.bin."""
    folder = write_bundle(tmp_path / "bundle")
    model = graph()
    onnx.external_data_helper.convert_model_to_external_data(model, location="w.bin", size_threshold=0)
    onnx.save(model, folder / "model.onnx")
    seal_bundle(folder)
    assert check_bundle(folder) == []
    return folder


def points_at(location: str) -> Callable[[Path], None]:
    """Makes the graph name another file, and seals it."""

    def change(folder: Path) -> None:
        (folder.parent / "outside.bin").write_bytes((folder / "w.bin").read_bytes())
        model = onnx.load(folder / "model.onnx", load_external_data=False)
        for tensor in model.graph.initializer:
            for entry in tensor.external_data:
                entry.value = location if entry.key == "location" else entry.value
        (folder / "model.onnx").write_bytes(model.SerializeToString())
        seal_bundle(folder)

    return change


def remove(folder: Path) -> None:
    (folder / "w.bin").unlink()


def remove_and_seal(folder: Path) -> None:
    (folder / "w.bin").unlink()
    seal_bundle(folder)


def link(folder: Path) -> None:
    (folder / "w.bin").rename(folder.parent / "w.bin")
    (folder / "w.bin").symlink_to(folder.parent / "w.bin")


def change_a_byte(folder: Path) -> None:
    content = (folder / "w.bin").read_bytes()
    (folder / "w.bin").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def cut(folder: Path) -> None:
    content = (folder / "w.bin").read_bytes()
    (folder / "w.bin").write_bytes(content[:-1])


def link_the_folder(folder: Path) -> None:
    """Where the weights are in a folder that is a link."""
    (folder.parent / "side").mkdir()
    (folder / "w.bin").rename(folder.parent / "side" / "w.bin")
    (folder / "side").symlink_to(folder.parent / "side")
    text = (folder / "manifest.toml").read_text().replace('"w.bin"', '"side/w.bin"')
    (folder / "manifest.toml").write_text(text)
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            entry.value = "side/w.bin" if entry.key == "location" else entry.value
    (folder / "model.onnx").write_bytes(model.SerializeToString())


def cut_and_seal(folder: Path) -> None:
    cut(folder)
    seal_bundle(folder)


@pytest.mark.parametrize(
    ("change", "faults"),
    [
        (remove, {("w.bin", "file_missing")}),
        (remove_and_seal, {("model.onnx", "external_data_missing")}),
        (points_at("nothing.bin"), {("model.onnx", "external_data_missing")}),
        (points_at("../outside.bin"), {("model.onnx", "external_data_missing")}),
        (points_at("/etc/hostname"), {("model.onnx", "external_data_missing")}),
        (link, {("w.bin", "file_is_link")}),
        (link_the_folder, {("side/w.bin", "file_is_link"), ("model.onnx", "digest_differs")}),
        (change_a_byte, {("w.bin", "digest_differs")}),
        (cut, {("w.bin", "digest_differs"), ("model.onnx", "external_data_outside")}),
        (cut_and_seal, {("model.onnx", "external_data_outside")}),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_weights_that_are_not_those_that_were_sealed_are_a_fault_of_their_file(
    change: Callable[[Path], None], faults: set[tuple[str, str]], folder: Path
) -> None:
    change(folder)
    assert told(check_bundle(folder, CpuRun())) == faults
