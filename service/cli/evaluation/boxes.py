"""Detections: average precision of boxes, and errors of counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import click
import numpy as np

from models.detection_figures import (
    Boxes,
    Matches,
    average_precisions,
    counts,
    matched,
    precision_curves,
)
from service.cli.evaluation.classes import label_of
from service.cli.evaluation.figures import Evaluation, Floats, Ints, evaluation, given
from service.cli.evaluation.gallery import Marks, Mistake
from service.cli.evaluation.scoring import Scored

EDGES: Final = ("left", "top", "right", "bottom")
NEAR: Final = 1.0  # pixels by which a drawn box may leave its image
SHAPE: Final = (
    f'a list of {{"label": ..., "box": {{{", ".join(f"{edge!r}: ..." for edge in EDGES)}}}}}'.replace(
        "'", '"'
    )
)


@dataclass(frozen=True)
class _Image:
    """One image compared: what was found, what was drawn, and which of both are the same."""

    case: Scored
    found: Boxes
    drawn: Boxes
    matches: Matches

    @property
    def made_up(self) -> int:
        return int((~self.matches.right).sum())

    @property
    def missed(self) -> int:
        return len(self.matches.drawn) - int(self.matches.right.sum())


def detections(
    scored: Sequence[Scored], labels: Sequence[Mapping[str, Any]], values: Mapping[str, str]
) -> Evaluation:
    """Compare boxes. A truth is a list of {label, box}, the box in pixels of the upright image. Raises click.UsageError.

    See detection_figures for mAP@.5. It is of the boxes that are answered: by default those above the thresholds of the model.
    """
    answered = [case for case in scored if case.answer is not None and given(case)["detections"] is not None]
    if not answered:
        raise click.UsageError("The model abstained from every case.")
    names = [str(label["id"]) for label in labels]
    images = [_compared(case, names, labels, values) for case in answered]
    curves = precision_curves([image.matches for image in images], len(names))
    worst = sorted(images, key=lambda image: -(image.made_up + image.missed))
    return evaluation(
        "detection",
        scored,
        _measures(images, names),
        answered,
        curves={"boxes": {names[place]: curve for place, curve in curves.items()}},
        mistakes=[_mistake(image) for image in worst],
        pictures=[
            Mistake(image.case.source, _caption(image), partial(_marks, image))
            for image in worst
            if image.case.source is not None
        ],
    )


def _compared(
    case: Scored, names: Sequence[str], labels: Sequence[Mapping[str, Any]], values: Mapping[str, str]
) -> _Image:
    told = given(case)["detections"]
    found = Boxes(
        _edges([[each["box"][edge] for edge in EDGES] for each in told]),
        np.array([names.index(each["label"]) for each in told], np.int64),
        np.array([each["score"] for each in told], np.float64),
    )
    wanted = _truth(case)
    drawn = Boxes(
        _edges([_box(case, each["box"]) for each in wanted]),
        np.array(
            [names.index(label_of(each["label"], case.place, labels, values)) for each in wanted], np.int64
        ),
    )
    return _Image(case, found, drawn, matched(found, drawn))


def _edges(boxes: Sequence[Sequence[float]]) -> Floats:
    return np.array(boxes, np.float64).reshape(-1, 4)


def _truth(case: Scored) -> Sequence[Mapping[str, Any]]:
    told = case.truth.get("detections") if isinstance(case.truth, dict) else case.truth
    if not isinstance(told, list) or not all(
        isinstance(each, dict) and {"label", "box"} <= each.keys() for each in told
    ):
        raise _unusable(case)
    return told


def _box(case: Scored, told: Any) -> list[float]:
    """Edges of a drawn box, by name or in the order of EDGES. Raises click.UsageError."""
    try:
        edges = [float(told[edge]) for edge in EDGES] if isinstance(told, dict) else [*map(float, told)]
        left, top, right, bottom = edges
    except (KeyError, TypeError, ValueError):
        raise _unusable(case) from None
    width, height = int(given(case)["width"]), int(given(case)["height"])
    inside = -NEAR <= left < right <= width + NEAR and -NEAR <= top < bottom <= height + NEAR
    if not inside:
        raise click.UsageError(
            f"A box of {case.place} is empty, or leaves the upright image of {width} x {height} pixels: give left, top, right "
            "and bottom in its pixels."
        )
    return edges


def _unusable(case: Scored) -> click.UsageError:
    return click.UsageError(f"What is expected of {case.place} is not {SHAPE}.")


def _measures(images: Sequence[_Image], names: Sequence[str]) -> dict[str, Callable[[Ints], float]]:
    found = counts([image.found.labels for image in images], len(names))
    drawn = counts([image.drawn.labels for image in images], len(names))
    right = np.array([int(image.matches.right.sum()) for image in images])
    errors = np.abs(found - drawn)
    measures: dict[str, Callable[[Ints], float]] = {
        "mAP@.5": lambda rows: _mean(_precisions(images, len(names), rows)),
        "recall": lambda rows: _share(right[rows], drawn[rows]),
        "precision": lambda rows: _share(right[rows], found[rows]),
    }
    for place, name in enumerate(names):
        measures[f"AP@.5 of {name}"] = partial(_precision_of, images, len(names), place)
    for place, name in enumerate(names):
        measures[f"count error of {name} in an image"] = partial(_mean_error, errors[:, place])
    return measures


def _precisions(images: Sequence[_Image], classes: int, rows: Ints) -> Floats:
    return average_precisions([images[row].matches for row in rows], classes)


def _precision_of(images: Sequence[_Image], classes: int, place: int, rows: Ints) -> float:
    return float(_precisions(images, classes, rows)[place])


def _mean(precisions: Floats) -> float:
    """Over the classes that were drawn; NaN if none was."""
    known = precisions[np.isfinite(precisions)]
    return float(known.mean()) if len(known) else float("nan")


def _mean_error(errors: Ints, rows: Ints) -> float:
    return float(errors[rows].mean())


def _share(right: Ints, boxes: Ints) -> float:
    return float(right.sum() / boxes.sum()) if boxes.sum() else float("nan")


def _mistake(image: _Image) -> dict[str, Any]:
    return {
        "case": image.case.place,
        "found": int(image.matches.right.sum()),
        "made up": image.made_up,
        "missed": image.missed,
    }


def _caption(image: _Image) -> str:
    return "{case}: {found} found, {made up} made up, {missed} missed".format(**_mistake(image))


def _marks(image: _Image) -> dict[str, Marks]:
    return {
        title: Marks(boxes=[(left, top, right, bottom) for left, top, right, bottom in boxes.edges.tolist()])
        for title, boxes in (("truth", image.drawn), ("answer", image.found))
    }
