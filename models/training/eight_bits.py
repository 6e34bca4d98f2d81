"""Exports a model of texts with weights in eight bits."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from models.training.export import export, parity, save
from models.variants.eight_bits import with_int8_weights


def write_graph(path: Path, model: nn.Module, feeds: Mapping[str, Tensor], outputs: Sequence[str]) -> float:
    """Write a model of texts with weights of eight bits; the gap between its float32 form and the trained model.

    `feeds` is an example: each is int64 [N,L], of any N and L.
    """
    dynamic = [{0: "rows", 1: "tokens"}] * len(feeds)
    export(model, tuple(feeds.values()), path, inputs=list(feeds), outputs=outputs, dynamic=dynamic)
    with torch.no_grad():
        wanted = {name: each.numpy() for name, each in zip(outputs, model(*feeds.values()), strict=True)}
    gap = parity(path, {name: each.numpy() for name, each in feeds.items()}, wanted)
    save(with_int8_weights(onnx.load(str(path))), path)
    return gap
