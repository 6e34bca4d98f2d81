"""Small images of one owner are read together: a message that one of them spoils is read again, and that one is refused."""

import signal
import time
from collections.abc import Sequence
from typing import Any

import pytest

from models.field_codes import FieldCode
from models.pipelines import InputRejected
from models.pipelines.image_fitting import Fitting
from models.pipelines.image_intake import ImageFileParameters, ImageIntake
from models.pipelines.image_reading import ReadHere
from service.images.children import ImageChild, ImageChildren
from service.images.owned import OwnedFile
from service.images.reading import ReadApart
from tests.hostile.test_images import GREY, SMALL, TURNED, children, doing
from tests.unit.models.example_images import gradient, jpeg, noise, png
from tests.unit.models.test_dicom_file import WHOLE as DICOM

FIT = Fitting(8, 6)
COLOUR = ImageIntake(ImageFileParameters.model_validate({"channels": 3}), 4)
LARGE = png(gradient(1200, 900))
HALF = jpeg(gradient(800, 600))  # of what may be read together
GOOD = [SMALL, TURNED, jpeg(noise(64, 48)), LARGE, DICOM, HALF, HALF]
REFUSED = [b"", SMALL[:-20], b"no image", png(gradient(3, 3))]
MIXED = [*GOOD, *REFUSED, *GOOD[::-1]]
OTHERS = 32


class Counted(ImageChildren):
    """Notes how often a child is taken."""

    taken = 0

    def take(self, *about: Any, **more: Any) -> ImageChild:
        """Count, and take."""
        self.taken += 1
        return super().take(*about, **more)


@pytest.fixture(scope="module")
def counted() -> Any:
    made = Counted()
    yield made
    made.close()


@pytest.fixture
def attacked_patiently(hostile_children: ImageChildren) -> Any:
    yield ReadApart(hostile_children, file_s=2.0, short_s=1.0)
    hostile_children.end_kept()


def owned(files: Sequence[bytes], owner: str | None = "a") -> list[bytes]:
    return [file if isinstance(file, OwnedFile) else OwnedFile(file, owner) for file in files]


def fitted(
    reader: ReadApart | ReadHere, files: Sequence[bytes], intake: ImageIntake = GREY, fit: Fitting = FIT
) -> list[Any]:
    """Of each file its pixels, or its faults."""
    found: list[Any] = []
    while len(found) < len(files):
        some = reader.fitted(files[len(found) :], intake, fit)
        assert some
        found += some
    return [list(each.faults) if isinstance(each, InputRejected) else each.tolist() for each in found]


@pytest.mark.parametrize("intake", [GREY, COLOUR], ids=["grey", "colour"])
def test_files_read_together_are_read_as_each_in_this_process(counted: Counted, intake: ImageIntake) -> None:
    files = owned(MIXED * 3)
    assert fitted(ReadApart(counted), files, intake) == fitted(ReadHere(), MIXED * 3, intake)
    headers = [file.header for file in files if isinstance(file, OwnedFile)]
    assert headers[0] == headers[len(MIXED)] == (120, False)


def test_one_message_has_many_small_files_and_few_of_many_pixels_or_bytes(counted: Counted) -> None:
    def messages(files: Sequence[bytes], fit: Fitting = FIT) -> int:
        before = counted.taken
        assert fitted(reader, files, fit=fit) == fitted(ReadHere(), files, fit=fit)
        return counted.taken - before

    reader = ReadApart(counted)
    assert messages(owned([SMALL] * 96)) == 3
    assert messages([*owned([SMALL] * 3, "a"), *owned([SMALL] * 3, "b"), *owned([SMALL] * 3, "a")]) == 3
    assert messages([SMALL] * 3) == 3  # anybody's
    assert messages(owned([HALF] * 6)) == 3
    assert messages(owned([SMALL] * 4), Fitting(700, 700)) == 2
    assert messages(owned([LARGE] * 3)) == 3
    assert (
        messages(owned([jpeg(gradient(1200, 900))] * 2)) <= 4
    )  # what a JPEG file holds is seen by the child alone
    padded = SMALL + bytes(50_000)
    assert messages(owned([padded] * 4)) == 2


def test_files_of_two_owners_are_read_by_two_children(apart: ReadApart) -> None:
    fitted(apart, [*owned([SMALL] * 3, "a"), *owned([SMALL] * 3, "b")])
    assert len(children(apart)) == 2
    fitted(apart, [SMALL] * 3)
    assert len(children(apart)) == 2


@pytest.mark.parametrize("place", [0, 17, OTHERS - 1])
@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (("die", signal.SIGSEGV), FieldCode.DAMAGED_IMAGE),
        (("die", signal.SIGKILL), FieldCode.INPUT_TOO_COSTLY),
        (("hang",), FieldCode.INPUT_TOO_COSTLY),
        (("fill",), FieldCode.INPUT_TOO_COSTLY),
        (("say", {"begins": 100}), FieldCode.INPUT_TOO_COSTLY),
        (("say", {"answers": 3}), FieldCode.DAMAGED_IMAGE),
        (("say", {"answers": [{"size": [12, 10], "pixels": 120, "synthetic": False}] * 33}), FieldCode.DAMAGED_IMAGE),
        (("answer", {"size": [6000, 6000], "pixels": 36_000_000, "synthetic": False, "more": 1}), None),
        (("answer", {"size": [12, 10], "pixels": 121, "synthetic": False}), FieldCode.DAMAGED_IMAGE),
        (("answer", {"faults": [[1, 2, 3]]}), FieldCode.DAMAGED_IMAGE),
        (("answer", 3), FieldCode.DAMAGED_IMAGE),
    ],
)  # fmt: skip
def test_one_file_that_attacks_is_refused_and_the_others_are_read(
    attacked_patiently: ReadApart, act: tuple[Any, ...], expected: FieldCode | None, place: int
) -> None:
    good = [(SMALL, TURNED, SMALL[:-20])[number % 3] for number in range(OTHERS)]
    files = [*good[:place], doing(*act), *good[place:]]
    found = fitted(attacked_patiently, owned(files, "attacker"))
    attack = found.pop(place)
    assert found == fitted(ReadHere(), good)
    if expected is not None:  # where it forges an image of its own, that is what it has sent
        assert [fault.code for fault in attack] == [expected]


def test_many_files_that_hang_are_waited_for_no_longer_than_one_by_one(
    hostile_children: ImageChildren,
) -> None:
    files = owned([SMALL if number % 8 else doing("hang") for number in range(OTHERS)], "attacker")
    began = time.monotonic()
    found = fitted(ReadApart(hostile_children, file_s=6.0, short_s=1.0), files)
    assert time.monotonic() - began < 6 + 3 + 1.5 + 1
    assert [row for row, each in enumerate(found) if each[0] != found[1][0]] == [0, 8, 16, 24]


def test_files_that_were_refused_or_spoiled_a_message_are_not_read_together_again(
    attacked_patiently: ReadApart,
) -> None:
    files = owned([SMALL, doing("hang"), SMALL], "attacker")
    first = fitted(attacked_patiently, files)
    began = time.monotonic()
    assert fitted(attacked_patiently, files) == first
    assert time.monotonic() - began < 0.9  # what waiting for the file again takes at least


def test_a_strip_that_a_graph_would_have_enlarged_to_gigabytes_is_refused_in_a_child(
    apart: ReadApart,
) -> None:
    strip = owned([png(gradient(1_000_000, 4))])
    ((fault,),) = fitted(apart, strip, fit=Fitting(28, 28, shorter_side=4096))
    assert fault.code == FieldCode.INPUT_TOO_COSTLY
