"""Segmentations and detections beside what people drew: figures as computed by hand, and pictures of both."""

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.cli.cases import FileCase
from service.cli.evaluation.comparison import evaluated
from service.cli.evaluation.indexed import read_indexed
from service.cli.evaluation.labelled import Labelled, form_of
from service.cli.evaluation.report import page
from service.cli.evaluation.scoring import Scored
from tests.unit.service.evaluation.reading import value
from tests.unit.service.evaluation.test_gallery import MODEL, pictures

NUCLEUS = [{"id": "nucleus", "display": "Nucleus", "code": None, "positive": False}]
TWO = [*NUCLEUS, {"id": "vessel", "display": "Vessel", "code": None, "positive": False}]
SIZE = (20, 30)


def square(map_: NDArray[np.int64], number: int, top: int, left: int, side: int = 6) -> None:
    map_[top : top + side, left : left + side] = number


def label_map(*corners: tuple[int, int]) -> NDArray[np.int64]:
    found = np.zeros(SIZE, np.int64)
    for number, (top, left) in enumerate(corners, start=1):
        square(found, number, top, left)
    return found


def png(pixels: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def case(content: bytes) -> FileCase:
    return FileCase(len(content), lambda: io.BytesIO(content))


def run_lengths(inside: NDArray[np.bool_]) -> list[int]:
    """COCO's run lengths: columns one after the other, outside first."""
    columns = inside.T.ravel().astype(int)
    edges = np.flatnonzero(np.diff(columns)) + 1
    lengths = np.diff([0, *edges, columns.size]).tolist()
    return [0, *lengths] if columns[0] else lengths


def segmented(*maps: NDArray[np.int64], labels: list[Any] = NUCLEUS) -> dict[str, Any]:
    """The answer that has these label maps, one for each of the labels."""
    instances = [
        {"label": label["id"], "rle": {"size": SIZE, "counts": run_lengths(found == number)}}
        for label, found in zip(labels, maps, strict=False)
        for number in range(1, found.max() + 1)
    ]
    return {"type": "image-segmentation", "width": SIZE[1], "height": SIZE[0], "instances": instances}


def scored(place: str, truth: Any, answer: Any) -> Scored:
    return Scored(place, truth, {}, answer, source=case(png(np.full((*SIZE, 3), 9, np.uint8))))


def drawn(*maps: NDArray[np.int64], labels: list[Any] = NUCLEUS) -> dict[str, Any]:
    files = {
        label["id"]: case(png(found.astype(np.uint16))) for label, found in zip(labels, maps, strict=False)
    }
    return {"labels": files}


def test_masks_are_compared_by_overlap_and_by_instances() -> None:
    right, moved = label_map((1, 1), (10, 12)), label_map((1, 1), (10, 22))
    cases = [
        scored("same", drawn(right), segmented(right)),
        scored("moved", drawn(right), segmented(moved)),
        scored("more", drawn(right), segmented(label_map((1, 1), (10, 12), (1, 20)))),
        scored("nothing", drawn(label_map()), segmented(label_map())),
    ]
    cases.append(
        Scored("refused", drawn(right), {}, {**segmented(right), "instances": None, "abstained": True})
    )
    found = evaluated(cases, NUCLEUS, {})
    assert found.counts == {"cases": 5, "answered": 4, "abstained": 1, "not scored": 0}
    dices = [1, 2 * 36 / 144, 2 * 72 / 180, 1]
    assert value(found, "Dice") == pytest.approx(np.mean(dices))
    assert value(found, "AP@.5") == pytest.approx(np.mean([1, 1 / 3, 2 / 3, 1]))
    assert value(found, "recall of instances") == pytest.approx(5 / 6)
    assert value(found, "precision of instances") == pytest.approx(5 / 7)
    assert value(found, "count error of an image") == pytest.approx(1 / 4)
    assert [each["case"] for each in found.mistakes[:2]] == ["moved", "more"]
    assert (found.mistakes[0]["made up"], found.mistakes[0]["missed"]) == (1, 1)


def test_each_class_of_a_segmentation_has_its_dice() -> None:
    one, other, none = label_map((1, 1)), label_map((8, 8)), label_map()
    cases = [
        scored("a", drawn(one, other, labels=TWO), segmented(one, none, labels=TWO)),
        scored("b", drawn(one, none, labels=TWO), segmented(one, none, labels=TWO)),
    ]
    found = evaluated(cases, TWO, {})
    assert value(found, "Dice of nucleus") == 1
    assert value(found, "Dice of vessel") == 0
    assert value(found, "Dice") == pytest.approx((0.5 + 1) / 2)


def test_a_class_without_a_label_map_is_not_there() -> None:
    one, other = label_map((1, 1)), label_map((8, 8))
    found = evaluated([scored("a", drawn(one), segmented(one, other, labels=TWO))], TWO, {})
    assert value(found, "Dice of vessel") == 0
    assert value(found, "AP@.5") == pytest.approx(1 / 2)


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        ("nucleus", "is not"),
        ({"labels": case(png(np.zeros((5, 5), np.uint8)))}, "5 x 5 pixels"),
        ({"labels": case(png(np.zeros((*SIZE, 3), np.uint8)))}, "in colour"),
        ({"labels": case(b"content")}, "cannot be read"),
        ({"labels": {"bone": case(png(np.zeros(SIZE, np.uint8)))}}, "is no label"),
    ],
)
def test_a_label_map_that_fits_nothing_is_refused(truth: Any, message: str) -> None:
    with pytest.raises(click.UsageError, match=message):
        evaluated([scored("a", truth, segmented(label_map((1, 1))))], NUCLEUS, {})


def test_the_page_outlines_what_was_drawn_beside_what_was_found() -> None:
    truth, answer = label_map((1, 1)), label_map((10, 20))
    found = evaluated([scored("a.png", drawn(truth), segmented(answer))], NUCLEUS, {})
    shown = page(MODEL, "folder", found)
    left, right = pictures(shown)
    assert left[1, 1].tolist() == right[10, 20].tolist() == [255, 0, 200]
    assert left[10, 20].tolist() == right[1, 1].tolist() == [9, 9, 9]
    assert "a.png: Dice 0.000, 0 instances found, 1 made up, 1 missed" in shown


CELLS = [
    {"id": "red", "display": "Red cell", "code": None, "positive": False},
    {"id": "white", "display": "White cell", "code": None, "positive": False},
]


def box(label: str, left: float, top: float, side: float = 5, **more: Any) -> dict[str, Any]:
    edges = {"left": left, "top": top, "right": left + side, "bottom": top + side}
    return {"label": label, "box": edges, **more}


def detected(*boxes: dict[str, Any]) -> dict[str, Any]:
    return {"type": "detections", "width": SIZE[1], "height": SIZE[0], "detections": list(boxes)}


def test_boxes_are_compared_by_average_precision_and_counts() -> None:
    cases = [
        scored(
            "first",
            [box("red", 1, 1), box("red", 10, 10), box("white", 20, 10)],
            detected(
                box("red", 1, 2, score=0.9), box("red", 20, 1, score=0.8), box("white", 20, 10, score=0.7)
            ),
        ),
        scored("second", [{"label": "Red cell", "box": [1, 1, 6, 6]}], detected(box("red", 1, 1, score=0.6))),
        scored("third", [], detected()),
    ]
    found = evaluated(cases, CELLS, {})
    red = 1 / 3 + 2 / 3 / 3  # right, wrong, right of three that were drawn
    assert value(found, "AP@.5 of red") == pytest.approx(red)
    assert value(found, "AP@.5 of white") == 1
    assert value(found, "mAP@.5") == pytest.approx((red + 1) / 2)
    assert value(found, "recall") == pytest.approx(3 / 4)
    assert value(found, "precision") == pytest.approx(3 / 4)
    assert value(found, "count error of red in an image") == 0
    assert found.mistakes[0] == {"case": "first", "found": 2, "made up": 1, "missed": 1}
    curves = {
        name: (recall.tolist(), precision.tolist())
        for name, (recall, precision) in found.curves["boxes"].items()
    }
    assert curves == {
        "red": (
            [pytest.approx(1 / 3)] * 2 + [pytest.approx(2 / 3)],
            [1, pytest.approx(2 / 3), pytest.approx(2 / 3)],
        ),
        "white": ([1], [1]),
    }
    shown = page(MODEL, "folder", found)
    assert "<figcaption>Precision and recall of the boxes that are answered</figcaption><svg" in shown
    left, right, *_ = pictures(shown)
    assert left[10, 10].tolist() == right[1, 20].tolist() == [255, 0, 200]
    assert left[1, 20].tolist() == [9, 9, 9]


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        ([{"label": "red"}], "is not a list of"),
        ([{"label": "red", "box": [1, 2, 3]}], "is not a list of"),
        ([box("red", 28, 1)], "leaves the upright image of 30 x 20 pixels"),
        ([box("red", 1, 1, side=0)], "is empty"),
        ([box("green", 1, 1)], "is no label"),
    ],
)
def test_boxes_that_fit_nothing_are_refused(truth: Any, message: str) -> None:
    with pytest.raises(click.UsageError, match=message):
        evaluated([scored("a", truth, detected(box("red", 1, 1, score=0.9)))], CELLS, {})


INDEX = [
    {"file": "images/a.png", "expected": {"labels": "drawn/a.png"}, "site": 1},
    {"file": "images/b.png", "expected": "red", "site": 2},
]
FILES = {"images/a.png": b"one", "images/b.png": b"two", "drawn/a.png": b"three"}


def written(folder: Path, *, index: list[Any] = INDEX, archive: bool) -> Path:
    files = {**FILES, "index.ndjson": "\n".join(map(json.dumps, index)).encode()}
    if archive:
        path = folder / "drawn.zip"
        with zipfile.ZipFile(path, "w") as made:
            for name, content in files.items():
                made.writestr(name, content)
        return path
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def content_of(labelled: Labelled) -> bytes:
    with labelled.input.open() as opened:
        return bytes(opened.read())


@pytest.mark.parametrize("archive", [True, False])
def test_an_index_names_files_and_what_is_true_of_them(tmp_path: Path, *, archive: bool) -> None:
    data = written(tmp_path, archive=archive)
    assert form_of(data) == "indexed"
    one, other = read_indexed(data, ["site"])
    assert (one.place, content_of(one), one.groups) == ("images/a.png", b"one", {"site": "1"})
    with one.truth["labels"].open() as opened:
        assert opened.read() == b"three"
    assert (other.place, content_of(other), other.truth) == ("images/b.png", b"two", "red")


@pytest.mark.parametrize("archive", [True, False])
def test_files_that_an_index_does_not_name_are_counted(tmp_path: Path, *, archive: bool) -> None:
    told: list[str] = []
    read_indexed(written(tmp_path, archive=archive), [], told.append)
    assert told == []
    line = {"file": "images/a.png", "expected": {"labels": "drawn/a.png"}}
    read_indexed(written(tmp_path, index=[line], archive=archive), [], told.append)
    assert [note.partition(",")[0] for note in told] == ["1 file was not read"]


@pytest.mark.parametrize("archive", [True, False])
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"file": "images/c.png", "expected": "red"}, "holds no file images/c.png"),
        ({"file": "../secret", "expected": "red"}, "holds no file"),
        ({"file": "images/a.png"}, "line 1 of the index is not"),
        ({"file": "images/a.png", "expected": {"labels": "drawn/b.png"}}, "holds no file drawn/b.png"),
        ([], "line 1 is not an object"),
    ],
)
def test_an_index_that_is_wrong_is_refused(tmp_path: Path, line: Any, message: str, *, archive: bool) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "secret").write_bytes(b"content")
    data = written(tmp_path / "data", index=[line], archive=archive)
    with pytest.raises(click.UsageError, match=re.escape(message)):
        read_indexed(data, [])


def test_an_archive_without_an_index_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "drawn.zip"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("a.png", b"one")
    with pytest.raises(click.UsageError, match=r"add index\.ndjson"):
        read_indexed(path, [])
    path.write_bytes(b"content")
    with pytest.raises(click.UsageError, match="is no ZIP archive"):
        read_indexed(path, [])
