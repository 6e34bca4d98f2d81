"""Products in eight bits, by ONNX Runtime's quantization: weights and what they are multiplied with.

Static: the scale of each activation comes from calibration inputs and is part of the graph, so a row is scored alike in any
company. Dynamic: it comes from the batch, so a graph like that has to be run row by row.
"""

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import onnx

if TYPE_CHECKING:
    from models.pipelines.contract import Array

PRODUCTS: Final = ("Conv", "MatMul", "Gemm")
Feeds = Sequence[Mapping[str, "Array"]]


def quantized(model: onnx.ModelProto, feeds: Feeds | None) -> onnx.ModelProto:
    """The model with its products in eight bits, calibrated with `feeds` (static), or dynamic without.

    Weights have seven bits, as ONNX Runtime advises for processors without VNNI, where eight would overflow. Raises what ONNX
    Runtime raises.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory(prefix="medqueue-quantize-") as folder, _silent():
        whole, prepared, result = (
            Path(folder, name) for name in ("whole.onnx", "prepared.onnx", "result.onnx")
        )
        onnx.save(model, str(whole))
        quant_pre_process(str(whole), str(prepared), skip_symbolic_shape=True)
        how: dict[str, Any] = {
            "op_types_to_quantize": list(PRODUCTS),
            "per_channel": True,
            "reduce_range": True,
            "weight_type": QuantType.QInt8,
        }
        if feeds is None:
            quantize_dynamic(str(prepared), str(result), **how)
        else:
            quantize_static(
                str(prepared), str(result), _reader(feeds), activation_type=QuantType.QUInt8, **how
            )
        return _with_sets_in_use(onnx.load(str(result)))


def _with_sets_in_use(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without the operator sets that ONNX Runtime declares and no node uses."""
    used = {node.domain for node in model.graph.node} | {""}
    kept = [each for each in model.opset_import if each.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    return model


def _reader(feeds: Feeds) -> Any:
    """The feeds one by one, as ONNX Runtime's calibration asks for them."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime has no types
        def __init__(self) -> None:
            self._feeds = iter(feeds)

        def get_next(self) -> Mapping[str, "Array"] | None:
            return next(self._feeds, None)

    return Reader()


@contextmanager
def _silent() -> Iterator[None]:
    """Keep ONNX Runtime's advice on how to call it, which it gives the root logger, from stderr."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
