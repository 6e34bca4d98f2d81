"""Images that cost far more to read than to send, and children that die or lie: one file is refused, no other is touched."""

import json
import os
import signal
import threading
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from models.field_codes import FieldCode
from models.pipelines import InputRejected
from models.pipelines.image_header import JPEG
from models.pipelines.image_intake import ImageFileParameters, ImageIntake
from models.pipelines.image_reading import NO_IMAGE, ReadHere, read_by
from service.batches.files.apart import reading
from service.batches.files.checking import DECODED_AT_ONCE, checked
from service.batches.files.layouts import BatchFormat
from service.images import children as kept
from service.images.children import ImageChildren
from service.images.owned import OwnedFile
from service.images.reading import ReadApart, worked_s
from tests.acceptance.stack import eventually
from tests.hostile.taken_over import DO
from tests.hostile.test_files import planned
from tests.unit.models.example_images import chunk, gradient, inserted, jpeg, noise, png
from tests.unit.models.test_dicom_file import WHOLE as DICOM
from tests.unit.service.batches.files.example_batches import image, images, zip_file

GREY = ImageIntake(ImageFileParameters.model_validate({"formats": ["PNG", "JPEG", "DICOM"]}), 4)
COLOUR = ImageIntake(ImageFileParameters.model_validate({"channels": 3, "max_pixels": 3_000_000}), 4)
SMALL = png(gradient(12, 10))
TURNED = jpeg(
    gradient(40, 24), exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
)
MORE_MB = 150


def doing(act: str, more: Any = None, owner: str = "attacker") -> OwnedFile:
    return OwnedFile(JPEG + DO + json.dumps([act, more]).encode(), owner)


def children(reader: ReadApart) -> list[psutil.Process]:
    return psutil.Process(reader.children.warm.pid).children()


def samples(reader: ReadApart | ReadHere, file: bytes, intake: ImageIntake) -> Any:
    return np.asarray(reader.pixels(file, intake)).tolist()


def code(reader: ReadApart, file: bytes, intake: ImageIntake = GREY) -> str:
    with pytest.raises(InputRejected) as refused:
        reader.pixels(file, intake)
    return str(refused.value.faults[0].code)


@pytest.mark.parametrize(
    ("file", "intake"),
    [(SMALL, GREY), (TURNED, GREY), (jpeg(noise(64, 48)), COLOUR), (png(np.dstack([gradient(1200, 900)] * 3)), COLOUR)],
    ids=["png", "turned", "jpeg", "large"],
)  # fmt: skip
def test_a_child_reads_what_this_process_would(apart: ReadApart, file: bytes, intake: ImageIntake) -> None:
    here, owned = ReadHere(), OwnedFile(file, "a")
    for each in (file, owned):
        assert apart.pixel_count(each) == here.pixel_count(file)
        assert samples(apart, each, intake) == samples(here, file, intake)
        assert apart.header(each) == here.header(file)
        apart.check(each, intake)


def test_a_child_reads_dicom_files(apart: ReadApart) -> None:
    limits = ImageFileParameters.model_validate(
        {"formats": ["DICOM"], "window": {"center": 100, "width": 300}}
    )
    intake = ImageIntake(limits, 4)
    assert samples(apart, DICOM, intake) == samples(ReadHere(), DICOM, intake)
    assert apart.header(DICOM) == ReadHere().header(DICOM)


@pytest.mark.parametrize(
    "file",
    [b"", b"no image", SMALL[:-20], SMALL[:18], png(gradient(3, 3)), TURNED[:200], png(gradient(2000, 2000))],
)
def test_a_child_refuses_what_this_process_would_in_the_same_words(apart: ReadApart, file: bytes) -> None:
    limits = ImageFileParameters.model_validate(
        {"max_pixels": 100_000, "proportions": {"narrowest": 0.5, "widest": 2}}
    )
    intake = ImageIntake(limits, 4)
    with pytest.raises(InputRejected) as expected:
        ReadHere().pixels(file, intake)
    with pytest.raises(InputRejected) as found:
        apart.pixels(file, intake)
    assert found.value.faults == expected.value.faults


def test_files_of_one_owner_share_a_child_and_no_others(apart: ReadApart) -> None:
    apart.check(OwnedFile(SMALL, "a"), GREY)
    (first,) = children(apart)
    apart.check(OwnedFile(TURNED, "a"), COLOUR)
    assert children(apart) == [first]
    apart.check(OwnedFile(SMALL, "b"), GREY)
    assert len(children(apart)) == 2
    apart.check(SMALL, GREY)  # anybody's: its child reads nothing else
    assert len(children(apart)) == 2


def test_idle_children_are_few_and_end_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "KEPT_S", 0.5)
    reader = ReadApart()
    for number in range(kept.KEPT + 3):
        reader.check(OwnedFile(SMALL, number), GREY)
    assert len(children(reader)) == kept.KEPT
    eventually(lambda: not children(reader), within_s=10)
    reader.close()


def test_a_child_is_replaced_once_it_has_read_many_files_or_a_large_one(
    apart: ReadApart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "FILES", 2)
    apart.check(OwnedFile(SMALL, "a"), GREY)
    assert len(children(apart)) == 1
    apart.check(OwnedFile(SMALL, "a"), GREY)
    assert not children(apart)
    monkeypatch.setattr(kept, "FILLED_BYTES", 1000)
    apart.pixels(OwnedFile(jpeg(noise(64, 48)), "a"), GREY)
    assert not children(apart)


def test_texts_that_unpack_to_gigabytes_are_refused_in_time(honest_children: ImageChildren) -> None:
    """Eight megabytes that are inflated to eight gigabytes."""
    packed = b"Comment\0\0" + zlib.compress(bytes(16 * 2**20 - 1), 9)
    bomb, reader = inserted(SMALL, 33, chunk(b"zTXt", packed) * 500), ReadApart(honest_children, file_s=0.5)
    before, began = psutil.Process().memory_info().rss, time.monotonic()
    assert code(reader, OwnedFile(bomb, "a")) == FieldCode.INPUT_TOO_COSTLY
    assert time.monotonic() - began < 5
    assert not children(reader)
    reader.check(OwnedFile(SMALL, "a"), GREY)
    assert psutil.Process().memory_info().rss < before + MORE_MB * 2**20
    honest_children.end_kept()


def test_what_fills_the_memory_is_refused_and_its_child_goes_on(attacked: ReadApart) -> None:
    attacked.check(OwnedFile(SMALL, "attacker"), GREY)
    before = children(attacked)
    assert code(attacked, doing("fill")) == FieldCode.INPUT_TOO_COSTLY
    assert children(attacked) == before


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (signal.SIGSEGV, FieldCode.DAMAGED_IMAGE),
        (signal.SIGABRT, FieldCode.DAMAGED_IMAGE),
        (signal.SIGKILL, FieldCode.INPUT_TOO_COSTLY),
    ],
)
def test_a_file_that_ends_its_child_is_refused_and_the_next_is_read(
    attacked: ReadApart, number: int, expected: FieldCode
) -> None:
    assert code(attacked, doing("die", number)) == expected
    assert attacked.header(doing("die", number)) == NO_IMAGE
    assert attacked.pixels(OwnedFile(SMALL, "attacker"), GREY).size == (12, 10)


def test_a_child_that_hangs_is_ended_and_its_owner_waits_shorter_for_a_while(attacked: ReadApart) -> None:
    attacked.check(OwnedFile(SMALL, "attacker"), GREY)
    waits = []
    for file in (doing("hang"), doing("hang"), doing("say", {"begins": 100}), doing("hang")):
        began = time.monotonic()
        assert code(attacked, file) == FieldCode.INPUT_TOO_COSTLY
        waits.append(time.monotonic() - began)
    assert waits[0] >= 1
    assert 0.5 <= waits[1] < waits[0]
    assert max(waits[2:]) < waits[1]
    assert not children(attacked)


def test_a_file_that_ended_its_child_is_not_read_again(attacked: ReadApart) -> None:
    file = doing("hang")
    assert attacked.header(file) == NO_IMAGE
    began = time.monotonic()
    assert code(attacked, file) == FieldCode.INPUT_TOO_COSTLY
    assert time.monotonic() - began < 0.2


def test_waiting_for_a_child_counts_as_work(attacked: ReadApart) -> None:
    before = worked_s()
    assert code(attacked, doing("hang")) == FieldCode.INPUT_TOO_COSTLY
    assert worked_s() - before > 0.9


def test_the_cpu_of_a_child_counts_as_work(apart: ReadApart) -> None:
    file = OwnedFile(jpeg(noise(1500, 1000)), "a")
    apart.check(file, GREY)
    before, own = worked_s(), time.thread_time()
    apart.check(file, GREY)
    assert worked_s() - before > time.thread_time() - own + 0.002


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"pixels": 120, "synthetic": False},
        {"size": [12, 10], "pixels": 121, "synthetic": False},
        {"size": [12, 10], "pixels": 120, "synthetic": 0},
        {"size": [12, 10, 3], "pixels": 120, "synthetic": False},
        {"size": [12.0, 10], "pixels": 120, "synthetic": False},
        {"size": [True, 120], "pixels": 120, "synthetic": False},
        {"size": [-12, -10], "pixels": 120, "synthetic": False},
        {"size": [3, 40], "pixels": 120, "synthetic": False},
        {"size": [100_000, 100_000], "pixels": 10**10, "synthetic": False},
        {"size": None},
        {"faults": 3},
        {"faults": [[1, 2, 3]]},
        {"faults": [["", "damaged_image"]]},
        {"size": [12, 10], "pixels": 120, "synthetic": False, "more": "x" * 100_000},
    ],
)
def test_an_answer_that_cannot_be_is_a_refused_file_and_ends_the_child(
    attacked: ReadApart, answer: dict[str, Any]
) -> None:
    assert code(attacked, doing("answer", answer)) == FieldCode.DAMAGED_IMAGE
    assert not children(attacked)


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"answers": 3},
        {"answers": [3]},
        {"answers": []},
        {"answers": [{"size": [12, 10], "pixels": 120, "synthetic": False}] * 2},
        {"begins": 10**9},
        {"begins": "1"},
    ],
)
def test_a_message_that_cannot_be_is_a_refused_file_and_ends_the_child(
    attacked: ReadApart, message: dict[str, Any]
) -> None:
    assert code(attacked, doing("say", message)) == FieldCode.DAMAGED_IMAGE
    assert not children(attacked)


def test_codes_that_nobody_knows_are_passed_on_as_such(attacked: ReadApart) -> None:
    assert code(attacked, doing("answer", {"faults": [["", "odd", "Words." * 1000]]})) == "odd"


def test_a_child_that_was_ended_from_outside_is_replaced(attacked: ReadApart) -> None:
    attacked.check(OwnedFile(SMALL, "a"), GREY)
    (child,) = children(attacked)
    child.kill()
    assert attacked.pixels(OwnedFile(SMALL, "a"), GREY).size == (12, 10)
    assert child not in children(attacked)
    psutil.Process(attacked.children.warm.pid).kill()
    assert attacked.pixels(OwnedFile(SMALL, "a"), GREY).size == (12, 10)


def test_a_child_cannot_shorten_the_memory_that_it_shares(attacked: ReadApart) -> None:
    """Whoever read beyond the new end would be ended by SIGBUS."""
    assert code(attacked, doing("shorten")) == "refused"


def test_a_file_of_a_batch_that_ends_its_child_is_an_error_of_its_row(attacked: ReadApart) -> None:
    members = [(f"{number:02}.png", image(number)) for number in range(40)]
    members[1] = ("01.jpg", doing("die", signal.SIGSEGV))
    members[3] = ("03.png", image(3)[:40])
    model = images()["model"]
    source, plan = planned(zip_file(members), BatchFormat.ZIP, **images())
    reader = reading.reader_of(source.open(), plan.layout, model)
    (block,) = reader.read(plan.chunks[0])
    reader.close()
    read_by(attacked)
    try:
        found = checked(model, block, plan.chunks[0], None, lambda: None)
    finally:
        read_by(ReadHere())
    assert found.faults.rows.tolist() == [1, 3]
    assert [found.faults.kinds[kind].code for kind in found.faults.faults] == [
        "damaged_image",
        "truncated_image",
    ]
    good = [number for number in range(40) if number not in {1, 3}]
    expected = model.preprocess([image(number) for number in good])
    assert found.feeds["image"][good].tolist() == expected["image"].tolist()
    assert 1 <= len(children(attacked)) <= DECODED_AT_ONCE  # its members are of one owner


def test_children_are_limited_and_as_nice_as_who_waits_for_them(apart: ReadApart) -> None:
    def niced() -> None:
        os.setpriority(os.PRIO_PROCESS, 0, 7)
        apart.check(OwnedFile(SMALL, "a"), GREY)

    apart.check(OwnedFile(SMALL, "a"), GREY)
    thread = threading.Thread(target=niced)
    thread.start()
    thread.join()
    found = children(apart)
    assert sorted(child.nice() for child in found) == sorted([psutil.Process().nice(), 7])
    for child in found:
        assert 0 < child.rlimit(psutil.RLIMIT_DATA)[0] < child.rlimit(psutil.RLIMIT_DATA)[1] < 2**31
        assert not any(name.startswith("MEDQUEUE") for name in child.environ())
        opened = [str(each.readlink()) for each in Path(f"/proc/{child.pid}/fd").iterdir()]
        assert sum(each.startswith("socket:") for each in opened) == 1
        assert sum("memfd" in each for each in opened) == 1


def test_files_good_and_bad_leave_no_descriptor_and_no_process(attacked: ReadApart) -> None:
    def some() -> None:
        attacked.check(SMALL, GREY)
        attacked.pixels(OwnedFile(SMALL, "a"), GREY)
        code(attacked, doing("die", signal.SIGSEGV))
        code(attacked, doing("answer", {}))

    some()
    here, warm = psutil.Process(), psutil.Process(attacked.children.warm.pid)
    before = (here.num_fds(), warm.num_fds(), len(here.children()))
    for _ in range(10):
        some()
    assert (here.num_fds(), warm.num_fds(), len(here.children())) == before
    assert len(warm.children()) == 1
    assert not [each for each in warm.children() if each.status() == psutil.STATUS_ZOMBIE]
