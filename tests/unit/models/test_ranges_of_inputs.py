"""Ranges of a manifest that the element types of a graph's inputs do not hold."""

from pathlib import Path

import numpy as np
from onnx import TensorProto, numpy_helper

from models.bundle import renew_golden, seal_bundle
from models.checking import check_bundle
from models.sandbox import CpuRun
from tests.unit.models.example_bundles import graph, write_bundle


def test_a_range_beyond_what_the_input_holds_is_refused(tmp_path: Path) -> None:
    """Of float16: a dose of 70000 mg would be fed as infinite, and answered as if it were sure."""
    half = graph(element=TensorProto.FLOAT16)
    for constant in half.graph.initializer:
        constant.CopyFrom(
            numpy_helper.from_array(numpy_helper.to_array(constant).astype(np.float16), constant.name)
        )
    folder = write_bundle(tmp_path / "dose-effect")
    (folder / "model.onnx").write_bytes(half.SerializeToString())
    renew_golden(folder, CpuRun())
    seal_bundle(folder)
    assert check_bundle(folder, CpuRun()) == []
    manifest = folder / "manifest.toml"
    manifest.write_text(manifest.read_text().replace("50.0", "70000.0"))
    [fault] = check_bundle(folder, CpuRun())
    assert (fault.code, "beyond float16" in fault.detail) == ("probe_failed", True)
