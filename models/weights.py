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

# Stands in the metadata of a graph whose weights alone are int8. ONNX Runtime would turn them into float32 in every run, which
# doubled the time of pneumonia-xray-28, or replace products by others that are less exact; so it does that once, when it loads
# the graph.
WEIGHTS_ALONE: Final = "medqueue.int8_weights_alone"
UNPACKED_WEIGHTS: Final = {"session.disable_quant_qdq": "1"}


def session_entries(graph: Path, *, mapped: bool = True) -> dict[str, str]:
    """What to tell ONNX Runtime beside its defaults: weights in eight bits alone are unpacked once.

    With `mapped`, for the CPU provider, weights beside a graph stay mapped. Raises OSError.
    """
    beside, alone = _found(graph, _LOCATION, WEIGHTS_ALONE.encode())
    return (MAPPED_WEIGHTS if beside and mapped else {}) | (UNPACKED_WEIGHTS if alone else {})


def lie_beside(graph: Path) -> bool:
    """Whether a graph has weights in other files. Raises OSError."""
    return _found(graph, _LOCATION)[0]


def _found(graph: Path, *wanted: bytes) -> list[bool]:
    """Which of the byte strings `wanted` the file holds."""
    if not graph.stat().st_size:
        return [False] * len(wanted)
    with graph.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return [content.find(each) >= 0 for each in wanted]
