"""Segmentations: overlap with masks that were drawn, and instances that were found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from models.mask_agreement import Matches, dice, matches
from service.cli.cases import FileCase
from service.cli.evaluation.classes import label_of
from service.cli.evaluation.figures import Evaluation, Floats, Ints, evaluation, given
from service.cli.evaluation.gallery import Marks, Mistake
from service.cli.evaluation.scoring import Scored

LabelMap = NDArray[np.int64]
MODES: Final = frozenset({"1", "L", "P", "I", "I;16", "I;16B", "I;16L"})
NOT_A_MAP: Final = "save grey pixels of 8 or 16 bits, 0 outside and the number of the instance inside"


class _Compared(NamedTuple):
    """One image: Dice of each class [C], NaN if it occurs neither in the truth nor in the answer, and the instances of all."""

    dice: Floats
    instances: Matches


def segmentation(
    scored: Sequence[Scored], labels: Sequence[Mapping[str, Any]], values: Mapping[str, str]
) -> Evaluation:
    """Compare masks. A truth is `{"labels": file}`, a label map, or `{"labels": {label: file}}`. Raises click.UsageError.

    Dice and AP@.5 are means over images: of an image, AP@.5 is found / (found + made up + missed) instances, those being found
    that overlap by more than a half (Caicedo et al., Nat Methods 16:1247, 2019). See mask_agreement.
    """
    answered = [case for case in scored if case.answer is not None and given(case)["instances"] is not None]
    if not answered:
        raise click.UsageError("The model abstained from every case.")
    names = [str(label["id"]) for label in labels]
    found = [_compared(case, names, labels, values) for case in answered]
    worst = sorted(
        range(len(found)), key=lambda row: (found[row].instances.precision, _mean(found[row].dice))
    )
    mistakes = [_mistake(answered[row], found[row]) for row in worst]
    return evaluation(
        "segmentation",
        scored,
        _measures(found, names),
        answered,
        mistakes=mistakes,
        pictures=[
            Mistake(source, _caption(mistake), partial(_marks, answered[row], names, labels, values))
            for row, mistake in zip(worst, mistakes, strict=True)
            if (source := answered[row].source) is not None
        ],
    )


def _measures(found: Sequence[_Compared], names: Sequence[str]) -> dict[str, Callable[[Ints], float]]:
    dices = np.stack([each.dice for each in found])
    means = np.array([_mean(each.dice) for each in found])
    counts = np.array([each.instances for each in found])
    precisions = np.array([each.instances.precision for each in found])
    wrong = np.abs(counts[:, 1] - counts[:, 2])
    measures: dict[str, Callable[[Ints], float]] = {
        "Dice": lambda rows: float(means[rows].mean()),
        "AP@.5": lambda rows: float(precisions[rows].mean()),
        "recall of instances": lambda rows: _share(counts[rows], 2),
        "precision of instances": lambda rows: _share(counts[rows], 1),
        "count error of an image": lambda rows: float(wrong[rows].mean()),
    }
    if len(names) > 1:
        for place, name in enumerate(names):
            measures[f"Dice of {name}"] = partial(_mean_of_known, dices[:, place])
    return measures


def _share(counts: Ints, other: int) -> float:
    """The found ones as a share of them and of those in column `other`; NaN of none."""
    right, rest = counts[:, 0].sum(), counts[:, other].sum()
    return float(right / (right + rest)) if right + rest else float("nan")


def _mean_of_known(column: Floats, rows: Ints) -> float:
    known = column[rows][np.isfinite(column[rows])]
    return float(known.mean()) if len(known) else float("nan")


def _mean(dices: Floats) -> float:
    """The mean over the classes that occur; 1 if none does and none was found."""
    known = dices[np.isfinite(dices)]
    return float(known.mean()) if len(known) else 1.0


def _compared(
    case: Scored, names: Sequence[str], labels: Sequence[Mapping[str, Any]], values: Mapping[str, str]
) -> _Compared:
    truth = _truth(case, labels, values)
    dices, counts = np.full(len(names), np.nan), np.zeros(3, np.int64)
    for place, name in enumerate(names):
        ours, theirs = _answer(case, name), truth.get(name)
        theirs = np.zeros_like(ours) if theirs is None else theirs
        if ours.any() or theirs.any():
            dices[place] = dice(ours, theirs)
            counts += np.array(matches(ours, theirs))
    return _Compared(dices, Matches(*counts.tolist()))


def _answer(case: Scored, label: str) -> LabelMap:
    """The instances of a label, numbered from 1: [H,W]."""
    height, width = int(given(case)["height"]), int(given(case)["width"])
    columns = np.zeros(height * width, np.int64)  # COCO's run lengths go down the columns
    instances = [each for each in given(case)["instances"] if each["label"] == label]
    for number, instance in enumerate(instances, start=1):
        ends = np.cumsum(instance["rle"]["counts"])
        for start, end in zip(ends[0::2], ends[1::2], strict=False):
            columns[start:end] = number
    return columns.reshape(width, height).T


def _truth(
    case: Scored, labels: Sequence[Mapping[str, Any]], values: Mapping[str, str]
) -> dict[str, LabelMap]:
    """The label map of each label that is drawn. Raises click.UsageError."""
    told = case.truth.get("labels") if isinstance(case.truth, dict) else None
    if isinstance(told, FileCase) and len(labels) == 1:
        told = {str(labels[0]["id"]): told}
    if not isinstance(told, dict) or not all(isinstance(file, FileCase) for file in told.values()):
        shape = '{"labels": FILE}' if len(labels) == 1 else '{"labels": {LABEL: FILE, ...}}'
        raise click.UsageError(
            f"What is expected of {case.place} is not {shape}, with files of the folder or archive."
        )
    return {label_of(label, case.place, labels, values): _label_map(case, told[label]) for label in told}


def _label_map(case: Scored, file: FileCase) -> LabelMap:
    """A label map of the size of the image, [H,W]. Raises click.UsageError."""
    try:
        with file.open() as opened, Image.open(opened) as image:
            mode, found = image.mode, np.asarray(image).astype(np.int64)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
        raise click.UsageError(f"The label map of {case.place} cannot be read: {NOT_A_MAP}.") from None
    if mode not in MODES:
        raise click.UsageError(f"The label map of {case.place} is a picture in colour: {NOT_A_MAP}.")
    size = int(given(case)["height"]), int(given(case)["width"])
    if found.shape != size:
        raise click.UsageError(
            f"The label map of {case.place} has {found.shape[1]} x {found.shape[0]} pixels, and the upright image "
            f"{size[1]} x {size[0]}."
        )
    return found


def _mistake(case: Scored, found: _Compared) -> dict[str, Any]:
    return {
        "case": case.place,
        "Dice": _mean(found.dice),
        "AP@.5": found.instances.precision,
        "found": found.instances.found,
        "made up": found.instances.false,
        "missed": found.instances.missed,
    }


def _caption(mistake: Mapping[str, Any]) -> str:
    text = "{case}: Dice {Dice:.3f}, {found} instances found, {made up} made up, {missed} missed"
    return text.format(**mistake)


def _marks(
    case: Scored, names: Sequence[str], labels: Sequence[Mapping[str, Any]], values: Mapping[str, str]
) -> dict[str, Marks]:
    truth = _truth(case, labels, values)
    found = {name: _answer(case, name) for name in names}
    return {"truth": Marks(_together(list(truth.values()))), "answer": Marks(_together(list(found.values())))}


def _together(maps: Sequence[LabelMap]) -> LabelMap:
    """Label maps as one: of two instances the one of the later map is seen."""
    found = np.zeros_like(maps[0])
    for each in maps:
        found = np.where(each > 0, each + found.max(), found)
    return found
