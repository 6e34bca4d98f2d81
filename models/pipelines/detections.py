"""The boxes that a detector's graph answers for one image, in the forms in which common exporters write them.

All forms become edges [k,4] (left, top, right, bottom, in pixels of the graph's image), scores [k] and labels [k].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from models.lazy import np
from models.pipelines.contract import ANY_LENGTH, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.pipelines.contract import Array

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

# boxes: boxes [N,K,4], scores [N,K] and labels [N,K]; lists: the same of one image without N, as torchvision exports;
# rows: [N,K,6], box, score and label of each; raw: [N,4+C,A], box and score of each class, before suppression (YOLO v8).
Form = Literal["boxes", "lists", "rows", "raw"]
BoxFormat = Literal["xyxy", "yxyx", "cxcywh", "xywh"]

BOXES: Final = "boxes"
SCORES: Final = "scores"
LABELS: Final = "labels"
DETECTIONS: Final = "detections"
PREDICTIONS: Final = "predictions"
MOST_COMPARED: Final = (
    3000  # boxes of one image among which overlapping ones are suppressed: their number squared is work
)


class Candidates(NamedTuple):
    """The boxes of one image as the graph answered them: edges [k,4], scores [k] and labels [k], counted from 0."""

    edges: Floats
    scores: Floats
    labels: Ints

    def only(self, chosen: Array) -> Candidates:
        """Some of them, by place or flag."""
        return Candidates(self.edges[chosen], self.scores[chosen], self.labels[chosen])


class NotBoxes(Exception):
    """What a graph answered for an image cannot be read as boxes. The message says why, for the model's author."""


def output_specs(form: Form, classes: int) -> tuple[TensorSpec, ...]:
    """The outputs that a graph needs for a form. The first axis of `lists` is that of the boxes."""
    match form:
        case "boxes":
            return (
                TensorSpec(BOXES, "float32", (ANY_LENGTH, 4)),
                TensorSpec(SCORES, "float32", (ANY_LENGTH,)),
                TensorSpec(LABELS, "int64", (ANY_LENGTH,)),
            )
        case "lists":
            return (
                TensorSpec(BOXES, "float32", (4,)),
                TensorSpec(SCORES, "float32", ()),
                TensorSpec(LABELS, "int64", ()),
            )
        case "rows":
            return (TensorSpec(DETECTIONS, "float32", (ANY_LENGTH, 6)),)
        case "raw":
            return (TensorSpec(PREDICTIONS, "float32", (4 + classes, ANY_LENGTH)),)


def candidates(form: Form, outputs: Mapping[str, Array], row: int, count: int) -> Candidates:
    """The boxes of the image in `row` of `count` (of `lists`: of the only one). Raises NotBoxes if the shapes do not fit."""
    lone = form == "lists"
    names = {"raw": (PREDICTIONS,), "rows": (DETECTIONS,)}.get(form, (BOXES, SCORES, LABELS))
    given = [np.asarray(outputs[name]) for name in names]
    if not lone and any(len(each) != count for each in given):
        raise NotBoxes(f"{names[0]} has {len(given[0])} rows for {count} images")
    own = [each if lone else each[row] for each in given]
    if form == "raw":
        found = own[0].T.astype(np.float64)
        shares = found[:, 4:]
        return Candidates(found[:, :4], shares.max(1, initial=0), shares.argmax(1))
    if form == "rows":
        found = own[0].astype(np.float64)
        with np.errstate(invalid="ignore"):
            return Candidates(found[:, :4], found[:, 4], found[:, 5].astype(np.int64))
    edges, scores, labels = own
    if not (edges.shape == (len(scores), 4) and scores.shape == labels.shape == (len(scores),)):
        raise NotBoxes(f"there are {len(edges)} boxes, {len(scores)} scores and {len(labels)} labels")
    return Candidates(edges.astype(np.float64), scores.astype(np.float64), labels.astype(np.int64))


def in_edges(boxes: Floats, written: BoxFormat) -> Floats:
    """Boxes [k,4] as left, top, right, bottom. `xywh` begins with the left upper corner, `cxcywh` with the centre."""
    if written == "xyxy":
        return boxes
    if written == "yxyx":
        return boxes[:, [1, 0, 3, 2]]
    start, sides = boxes[:, :2], boxes[:, 2:]
    if written == "cxcywh":
        start = start - sides / 2
    return np.concatenate([start, start + sides], axis=1)


def suppressed(found: Candidates, most_overlap: float) -> Candidates:
    """Without boxes that overlap a better scored one of their class by more than `most_overlap` (intersection over union).

    The best first; equal scores in the graph's order. Of more than MOST_COMPARED the best are looked at.
    """
    found = found.only(np.argsort(-found.scores, kind="stable")[:MOST_COMPARED])
    areas = np.clip(found.edges[:, 2:] - found.edges[:, :2], 0, None).prod(1)
    free, kept = np.ones(len(areas), np.bool_), []
    for place in range(len(areas)):
        if not free[place]:
            continue
        kept.append(place)
        start = np.maximum(found.edges[place, :2], found.edges[place:, :2])
        end = np.minimum(found.edges[place, 2:], found.edges[place:, 2:])
        shared = np.clip(end - start, 0, None).prod(1)
        overlapping = shared > most_overlap * (areas[place] + areas[place:] - shared)
        free[place:] &= ~(overlapping & (found.labels[place:] == found.labels[place]))
    return found.only(np.array(kept, np.int64))
