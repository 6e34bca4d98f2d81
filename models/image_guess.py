"""Guesses the parameters of a pipeline of images from the input of a graph."""

from typing import Final

from models.signature import Tensor

_NUMBERS: Final = frozenset(("float32", "float64", "float16"))
_CHANNELS: Final = (1, 3)


def image_parameters(tensor: Tensor) -> list[str]:
    """Lines of a manifest's `[parameters]` for a graph that takes images of one size; empty if it takes something else."""
    if tensor.element not in _NUMBERS or len(tensor.shape) != 4:
        return []
    _, first, second, last = tensor.shape
    if first in _CHANNELS and isinstance(second, int) and isinstance(last, int):
        return [_size(second, last), f"channels = {first}"]
    if last in _CHANNELS and isinstance(first, int) and isinstance(second, int):
        return [_size(first, second), f"channels = {last}", 'layout = "NHWC"']
    return []


def _size(height: int, width: int) -> str:
    return f"size = {height}" if height == width else f"size = [{height}, {width}]"
