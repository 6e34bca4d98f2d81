"""What ONNX Runtime has to know of the weights of a graph before it loads them. Reads no protobuf."""

import mmap
from pathlib import Path
from typing import Final

# How a tensor names the file that its weights are in: the key of TensorProto.external_data as it is serialized.
_LOCATION: Final = b"\x0a\x08location"

# Kernels repack weights when a graph is loaded, into memory of their own. Of weights that are mapped from a file that
# would be a second copy, which neither the page cache nor other processes share. Without it a model of one layer of 1 GiB
# took 1 GiB instead of 2 and was loaded at once instead of in 13 s; one row was as fast, 64 rows a quarter slower.
MAPPED_WEIGHTS: Final = {"session.disable_prepacking": "1"}

# How nodes name their operators: the key of NodeProto.op_type as it is serialized.
_DEQUANTIZES: Final = b"\x22\x10DequantizeLinear"
_QUANTIZES: Final = b"\x22\x0eQuantizeLinear"

# Kernels of products with weights in four bits need these repacked. If not, every run turns all of them into float32: a row
# took 40 times as long with ONNX Runtime 1.32 (20 products of 2048 x 2048), and did not come out as with its defaults.
_FOUR_BITS: Final = b"\x22\x0bMatMulNBits"

# By default a product with weights in eight bits rounds its other factor to eight bits as well, by kernels that differ from
# CPU to CPU: probabilities differed by up to 0.01 between AVX2 and AVX-512 VNNI, with ONNX Runtime 1.31.
EXACT_PRODUCTS: Final = {"session.qdq_matmulnbits_accuracy_level": "1"}

# Where weights alone are int8, ONNX Runtime would turn them into float32 in every run, which doubled the time of
# pneumonia-xray-28 and note-section; so it does that once, when it loads the graph. Mapped weights stay as small as they are.
UNPACKED_WEIGHTS: Final = {"session.disable_quant_qdq": "1"}


def session_entries(graph: Path, *, mapped: bool = True) -> dict[str, str]:
    """What to tell ONNX Runtime beside its defaults: products with weights in eight bits are exact on every CPU.

    With `mapped`, for the CPU provider, weights beside a graph stay mapped, unless they have four bits. Raises OSError.
    """
    beside, four_bits, dequantizes, quantizes = _found(graph, _LOCATION, _FOUR_BITS, _DEQUANTIZES, _QUANTIZES)
    alone = dequantizes and not quantizes
    return (
        (MAPPED_WEIGHTS if beside and mapped and not four_bits else {})
        | (EXACT_PRODUCTS if dequantizes else {})
        | (UNPACKED_WEIGHTS if alone and not beside else {})
    )


def lie_beside(graph: Path) -> bool:
    """Whether a graph has weights in other files. Raises OSError."""
    return _found(graph, _LOCATION)[0]


def _found(graph: Path, *wanted: bytes) -> list[bool]:
    """Which of the byte strings `wanted` the file holds."""
    if not graph.stat().st_size:
        return [False] * len(wanted)
    with graph.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return [content.find(each) >= 0 for each in wanted]
