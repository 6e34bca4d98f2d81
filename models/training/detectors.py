"""A small detector of things that lie side by side, such as cells: one heat map a class, without anchors.

At every eighth pixel the network tells, for each class, whether a thing has its centre there (Zhou et al. 2019, arXiv
1904.07850) and how far the edges of its box are (Tian et al. 2019, arXiv 1904.01355). Overlapping boxes of one class are
suppressed in the graph, by ONNX's NonMaxSuppression.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's usual name

from models.detection_figures import Boxes
from models.training.images import Residual

STRIDE = 8
SCALE = 16.0  # pixels: edges are learned as logarithms of shares of it


class Detector(nn.Module):
    """Images [n,3,H,W] in 0..1 -> logits of centres [n,C,h,w] and distances to the edges [n,4,h,w], in pixels; h = H/8."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
            Residual(16, 32, halve=True), Residual(32, 32, halve=False),
        )  # fmt: skip
        self.eighth = nn.Sequential(Residual(32, 64, halve=True), Residual(64, 64, halve=False))
        self.sixteenth = nn.Sequential(Residual(64, 96, halve=True), Residual(96, 96, halve=False))
        self.coarsest = nn.Sequential(Residual(96, 128, halve=True), Residual(128, 128, halve=False))
        self.down = nn.ModuleList([nn.Conv2d(128, 96, 1), nn.Conv2d(96, 64, 1)])
        self.merge = nn.ModuleList([Residual(96, 96, halve=False), Residual(64, 64, halve=False)])
        self.centres = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, classes, 1))
        self.edges = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 4, 1))
        nn.init.constant_(self.centres[2].bias, -4.0)  # type: ignore[arg-type]  # a tensor: centres are rare

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        eighth = self.eighth(self.stem(4 * images - 2))
        sixteenth = self.sixteenth(eighth)
        coarse = self.coarsest(sixteenth)
        for down, merge, fine in zip(self.down, self.merge, (sixteenth, eighth), strict=True):
            above = F.interpolate(down(coarse), size=fine.shape[2:], mode="nearest")
            coarse = merge(fine + above)
        return self.centres(coarse), SCALE * self.edges(coarse).clamp(-6, 4).exp()


class Targets(NamedTuple):
    """What the network should tell of images: heat [n,C,h,w] in 0..1; edges [n,4,h,w] in pixels, and their weight [n,h,w]."""

    heat: Tensor
    edges: Tensor
    weight: Tensor


def targets_of(boxes: Sequence[Boxes], shape: tuple[int, int], classes: int) -> Targets:
    """Targets of images with their boxes in pixels; `shape` is that of the heat maps.

    A centre is a Gaussian of a sixth of the box's sides; where those of two things meet, the nearer one tells the edges.
    """
    height, width = shape
    down, across = (np.arange(length, dtype=np.float32) * STRIDE + STRIDE / 2 for length in shape)
    heat = np.zeros((len(boxes), classes, height, width), np.float32)
    edges = np.ones((len(boxes), 4, height, width), np.float32)
    weight = np.zeros((len(boxes), height, width), np.float32)
    for row, some in enumerate(boxes):
        for (left, top, right, bottom), kind in zip(some.edges.tolist(), some.labels, strict=True):
            x, y = (left + right) / 2, (top + bottom) / 2
            spread_x, spread_y = (max(side / 6, STRIDE / 3) for side in (right - left, bottom - top))
            blob = np.exp(
                -(((down - y) / spread_y) ** 2)[:, None] / 2 - (((across - x) / spread_x) ** 2)[None] / 2
            )
            cell = min(int(y / STRIDE), height - 1), min(int(x / STRIDE), width - 1)
            blob /= blob[cell]
            blob = np.minimum(blob, 1)
            heat[row, kind] = np.maximum(heat[row, kind], blob)
            near = (blob > weight[row]) & (blob > 0.3)
            gaps = (across[None] - left, down[:, None] - top, right - across[None], bottom - down[:, None])
            for place, gap in enumerate(gaps):
                edges[row, place][near] = np.broadcast_to(gap, near.shape)[near]
            weight[row][near] = blob[near]
    return Targets(*(torch.from_numpy(each) for each in (heat, edges, weight)))


def loss_of(centres: Tensor, edges: Tensor, targets: Targets) -> Tensor:
    """Focal loss of the heat (CornerNet's, as in CenterNet), and the generalized IoU of the boxes (Rezatofighi et al. 2019)."""
    share = centres.sigmoid().clamp(1e-4, 1 - 1e-4)
    peak = targets.heat >= 0.999
    right = torch.where(peak, (1 - share) ** 2 * share.log(), torch.zeros_like(share))
    wrong = torch.where(peak, torch.zeros_like(share), (1 - targets.heat) ** 4 * share**2 * (1 - share).log())
    number = peak.sum().clamp(min=1)
    overlap = _generalized_overlap(edges, targets.edges)
    placed = (targets.weight * (1 - overlap)).sum() / targets.weight.sum().clamp(min=1)
    return -(right.sum() + wrong.sum()) / number + 2 * placed


def _generalized_overlap(found: Tensor, wanted: Tensor) -> Tensor:
    """GIoU of boxes told by how far left, top, right and bottom are from one place: [n,4,..] -> [n,..]."""
    left, top, right, bottom = found.unbind(1)
    left_w, top_w, right_w, bottom_w = wanted.unbind(1)
    across = (torch.minimum(left, left_w) + torch.minimum(right, right_w)).clamp(min=0)
    down = (torch.minimum(top, top_w) + torch.minimum(bottom, bottom_w)).clamp(min=0)
    shared = across * down
    union = (left + right) * (top + bottom) + (left_w + right_w) * (top_w + bottom_w) - shared
    hull = (torch.maximum(left, left_w) + torch.maximum(right, right_w)) * (
        torch.maximum(top, top_w) + torch.maximum(bottom, bottom_w)
    )
    return shared / (union + 1e-6) - (hull - union) / (hull + 1e-6)


class Decoded(nn.Module):
    """The detector's boxes before suppression: images -> boxes [n,A,4] left, top, right, bottom in pixels; scores [n,C,A].

    The score of class c is the logistic function of `slope[c]` * logit + `offset[c]` (Platt 1999).
    """

    slope: Tensor
    offset: Tensor
    places: Tensor

    def __init__(
        self,
        detector: Detector,
        shape: tuple[int, int],
        slope: NDArray[np.float64],
        offset: NDArray[np.float64],
    ) -> None:
        super().__init__()
        self.detector = detector
        self.register_buffer("slope", torch.from_numpy(slope).float()[None, :, None])
        self.register_buffer("offset", torch.from_numpy(offset).float()[None, :, None])
        down, across = np.indices((shape[0] // STRIDE, shape[1] // STRIDE)) * STRIDE + STRIDE / 2
        self.register_buffer("places", torch.from_numpy(np.stack([across, down])).float().flatten(1))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        centres, edges = self.detector(image)
        edges = edges.flatten(2)
        boxes = torch.cat([self.places - edges[:, :2], self.places + edges[:, 2:]], 1).transpose(1, 2)
        return boxes, (self.slope * centres.flatten(2) + self.offset).sigmoid()


def with_suppression(model: onnx.ModelProto, *, overlap: float, least: float, most: int) -> onnx.ModelProto:
    """Add the end of the graph: outputs `boxes` [N,A,4] and `scores` [N,C,A] become the best `most` of each image.

    `boxes` float32 [N,most,4], `scores` float32 [N,most] and `labels` int64 [N,most], the best first, boxes of one class that
    overlap by more than `overlap` left out; what is over has the score 0.
    """
    graph = model.graph
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [f"all_{each}" if each in ("boxes", "scores") else each for each in names]
    constants = {
        "per_class": np.array([most], np.int64), "overlap": np.array([overlap], np.float32),
        "least": np.array([least], np.float32), "most": np.array([most], np.int64), "zero": np.array(0, np.float32),
        "rows_first": np.array([0, -1], np.int64), "last": np.array([2], np.int64), "one": np.array(1, np.float32),
        "four": np.array([1, 1, 4], np.int64),
    }  # fmt: skip
    graph.initializer.extend(
        numpy_helper.from_array(value, f"nms_{name}") for name, value in constants.items()
    )

    def add(operator: str, inputs: list[str], *outputs: str, **attributes: object) -> None:
        graph.node.append(helper.make_node(operator, inputs, list(outputs), **attributes))

    given = ["all_boxes", "all_scores", "nms_per_class", "nms_overlap", "nms_least"]
    add("NonMaxSuppression", given, "nms_chosen")  # [S,3]: image, class, place
    add("Mul", ["all_scores", "nms_zero"], "nms_none")
    add("Shape", ["nms_chosen"], "nms_count", end=1)
    add("Expand", ["nms_one", "nms_count"], "nms_ones")
    add("ScatterND", ["nms_none", "nms_chosen", "nms_ones"], "nms_kept")
    add("Mul", ["all_scores", "nms_kept"], "nms_scores")
    add("Reshape", ["nms_scores", "nms_rows_first"], "nms_flat")  # [N,C*A]
    add("TopK", ["nms_flat", "nms_most"], "scores", "nms_places", axis=1, largest=1, sorted=1)
    add("Shape", ["all_boxes"], "nms_anchors", start=1, end=2)
    add("Div", ["nms_places", "nms_anchors"], "labels")
    add("Mod", ["nms_places", "nms_anchors"], "nms_anchor")
    add("Unsqueeze", ["nms_anchor", "nms_last"], "nms_column")
    add("Expand", ["nms_column", "nms_four"], "nms_rows")
    add("GatherElements", ["all_boxes", "nms_rows"], "boxes", axis=1)
    rows = graph.output[0].type.tensor_type.shape.dim[0].dim_param
    others = [each for each in graph.output if each.name not in ("boxes", "scores")]
    del graph.output[:]
    graph.output.extend(
        helper.make_tensor_value_info(name, element, shape)
        for name, element, shape in (
            ("boxes", TensorProto.FLOAT, [rows, most, 4]),
            ("scores", TensorProto.FLOAT, [rows, most]),
            ("labels", TensorProto.INT64, [rows, most]),
        )
    )
    graph.output.extend(others)
    return model
