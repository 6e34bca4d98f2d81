"""ONNX files of trained models: without traces of the machine, and compared with what was trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import onnx
from numpy.typing import NDArray

from models.sandbox import cpu_session

if TYPE_CHECKING:
    from torch import Tensor, nn

OPSET = 20


def export(
    model: nn.Module,
    example: Sequence[Tensor],
    path: Path,
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    dynamic: Sequence[Mapping[int, str]] | None = None,
    multiples: Mapping[str, int] = MappingProxyType({}),
) -> None:
    """Write `model` with any number of rows.

    `example` holds two rows or more of each input. `dynamic` names the dimensions of each input that are free, by their
    place; the first alone if omitted. `multiples` says of which number a dimension is a multiple, by its name.
    """
    import torch  # here, because some models are trained without it

    names = dynamic or [{0: "rows"}] * len(example)
    dimensions = {name: torch.export.Dim(name, min=1) for each in names for name in each.values()}
    dimensions |= {name: multiples[name] * torch.export.Dim(f"{name}_parts", min=1) for name in multiples}
    program = torch.onnx.export(
        model.eval(), tuple(example), input_names=list(inputs), output_names=list(outputs),
        dynamic_shapes=tuple({place: dimensions[name] for place, name in each.items()} for each in names),
        dynamo=True, opset_version=OPSET, verbose=False,
    )  # fmt: skip
    assert program is not None
    program.optimize()
    save(program.model_proto, path)


def save(model: onnx.ModelProto, path: Path) -> None:
    """Check and write a model, the same bytes each time."""
    onnx.checker.check_model(without_traces(model), full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model without what an exporter notes of where it ran, such as the paths of scripts."""
    graph = model.graph
    del model.metadata_props[:], graph.metadata_props[:], graph.value_info[:]
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer, *model.functions):
        del part.metadata_props[:]
        part.doc_string = ""
    return model


def parity(
    path: Path,
    feeds: Mapping[str, NDArray[np.generic]],
    wanted: Mapping[str, NDArray[np.generic]],
    within: float = 1e-3,
) -> float:
    """The largest difference between an ONNX file's outputs and those of the trained model.

    Raises ValueError where it is more than `within`.
    """
    given = cpu_session(path).run(list(wanted), dict(feeds))
    gaps = [
        np.abs(found.astype(np.float64) - right.astype(np.float64)).max()
        for found, right in zip(given, wanted.values(), strict=True)
    ]
    gap = float(np.max(gaps))  # NaN if one is, other than the built-in max
    if not gap <= within:
        raise ValueError(f"{path.name} answers up to {gap:g} beside the trained model")
    return gap
