"""This side: what an image file says and shows, as a child that reads it tells.

Of what comes back, sizes are checked before an image is made of it; pixels are any. A child that dies, hangs or answers
what it cannot have found is one refused file.
"""

from __future__ import annotations

import os
import struct
import threading
import time
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import structlog

from models.field_codes import FieldCode, OtherCode
from models.pipelines import FieldFault, InputRejected
from models.pipelines.image_header import format_of
from models.pipelines.image_reading import NO_IMAGE, read_by
from models.pipelines.image_reading import Header as ImageHeader
from service.errors import ServerBusy
from service.images import wire
from service.images.children import ImageChild, ImageChildren, Room
from service.images.owned import OwnedFile
from service.parsing.channel import ChannelClosed, Header, MessageInvalid, MessageLate

if TYPE_CHECKING:
    from PIL import Image

    from models.pipelines.image_intake import ImageIntake

# Beside what large images take (children.S_PER_PIXEL). Whose child was late has half the time for the next file, and so on, so
# that a micro-batch of such files does not take as long as all of them may.
FILE_S: Final = 5.0
SHORT_S: Final = 0.2
LATELY_S: Final = 10.0
OWNERS: Final = 1000
DETAIL_CHARS: Final = 1000
FAULTS: Final = 20
AGAIN_S: Final = (0.1, 1.0)

# Where a PNG file has its width and height (W3C Recommendation, 3rd edition, 5.2 and 11.2.1).
PNG_SIZE: Final = struct.Struct(">II")
PNG_SIZE_AT: Final = 16

CRASHED: Final = FieldFault(
    "", FieldCode.DAMAGED_IMAGE, "The image is damaged: it crashes what decodes it. Export it again."
)
UNUSABLE: Final = FieldFault(
    "", FieldCode.DAMAGED_IMAGE, "The image is damaged and cannot be decoded: export it again."
)
TOO_COSTLY: Final = FieldFault(
    "",
    FieldCode.INPUT_TOO_COSTLY,
    "The image takes more time or memory to decode than an image of its size may: export it again as a plain file.",
)
_CODES: Final = frozenset(FieldCode)

log = structlog.get_logger()
_worked = threading.local()


def read_apart() -> None:
    """Have children read the image files of this process from now on. Needs memory that processes share as Linux has it."""
    if hasattr(os, "memfd_create"):
        read_by(ReadApart())


def worked_s() -> float:
    """What this thread has worked so far, in seconds: its own CPU, that of children that read for it, and waits in vain."""
    return time.thread_time() + _children_s()


def _children_s() -> float:
    return getattr(_worked, "children_s", 0.0)


@contextmanager
def _counted(child: ImageChild) -> Iterator[None]:
    """Count the CPU of a child as work of this thread; if the child fails, all the time that it was waited for."""
    cpu_s, began_s = child.cpu_s, time.monotonic()
    spent_s = None
    try:
        yield
        spent_s = child.cpu_s - cpu_s
    finally:
        waited_s = time.monotonic() - began_s
        _worked.children_s = _children_s() + (waited_s if spent_s is None else spent_s)


class ReadApart:
    """Has children read files; see ImageReader. An OwnedFile shares its child with others of its owner, no other file does."""

    def __init__(
        self, children: ImageChildren | None = None, *, file_s: float = FILE_S, short_s: float = SHORT_S
    ) -> None:
        self.children = children or ImageChildren()
        self._file_s, self._short_s = file_s, short_s
        self._late = OrderedDict[Hashable, tuple[int, float]]()  # how often, and when at last

    def header(self, content: bytes) -> ImageHeader:
        """See ImageReader. Raises ServerBusy."""
        if isinstance(content, OwnedFile) and content.header is not None:
            return content.header
        if format_of(content) is None:
            return NO_IMAGE
        try:
            with self._read(content, None) as (_, answer):
                found = _header(answer)
        except InputRejected:
            found = NO_IMAGE
        if isinstance(content, OwnedFile):
            content.header, content.pixels = found, found.pixels
        return found

    def pixel_count(self, content: bytes) -> int:
        """See ImageReader. Raises ServerBusy. A PNG file has width and height at a fixed place, which saves asking a child."""
        if format_of(content) != "PNG":
            return self.header(content).pixels
        start = content[: PNG_SIZE_AT + PNG_SIZE.size].ljust(PNG_SIZE_AT + PNG_SIZE.size, b"\0")
        width, height = PNG_SIZE.unpack_from(start, PNG_SIZE_AT)
        if isinstance(content, OwnedFile):
            content.pixels = width * height
        return int(width * height)

    def check(self, content: bytes, intake: ImageIntake) -> None:
        """See ImageReader. Raises ServerBusy."""
        with self._read(content, intake, wanted=False) as (_, answer):
            _size(answer, intake)

    def pixels(self, content: bytes, intake: ImageIntake) -> Image.Image:
        """See ImageReader. Raises ServerBusy."""
        from PIL import Image

        with self._read(content, intake, wanted=True) as (child, answer):
            width, height = size = _size(answer, intake)
            header = _header(answer)
            if header.pixels != width * height:
                raise MessageInvalid
            if isinstance(content, OwnedFile):
                content.header = header
            with child.samples(width * height * len(intake.mode)) as samples:
                return Image.frombytes(intake.mode, size, samples)  # a copy, as the child may write there

    def close(self) -> None:
        """End the children."""
        self.children.close()

    @contextmanager
    def _read(
        self, content: bytes, intake: ImageIntake | None, *, wanted: bool = False
    ) -> Iterator[tuple[ImageChild, Header]]:
        """A child and its answer, to be checked. Raises InputRejected or ServerBusy.

        A child that broke off is replaced once: something else than the file may have ended it.
        """
        child, answer = self._answered(content, intake, wanted=wanted)
        try:
            _refuse(answer)
            yield child, answer
        except (MessageInvalid, KeyError, TypeError, ValueError):
            child.lost(late=True)
            raise InputRejected(UNUSABLE) from None
        except BaseException:
            self.children.give_back(child)
            raise
        self.children.give_back(child)

    def _answered(
        self, content: bytes, intake: ImageIntake | None, *, wanted: bool
    ) -> tuple[ImageChild, Header]:
        file = content if isinstance(content, OwnedFile) else OwnedFile(content, None)
        if file.refused is not None:
            raise InputRejected(file.refused)
        most_pixels = 0 if intake is None else intake.most_pixels
        room = Room(most_pixels, len(file))
        asked: dict[str, Any] = {wire.MEMORY: wire.memory_bytes(most_pixels, len(file))}
        if intake is not None:
            asked |= {wire.INTAKE: intake.told, wire.WANTED: wanted}
        if file.pixels is not None:
            most_pixels = min(most_pixels, file.pixels)
        for fresh in (False, True):
            child = self._taken(file.owner, room, fresh=fresh)
            try:
                with _counted(child):
                    answer = child.ask(
                        file, asked, within_s=self._limit_s(file.owner), most_pixels=most_pixels
                    )
            except MessageLate:
                child.lost(late=True)
                self._was_late(file.owner)
                file.refused = TOO_COSTLY
                break
            except MessageInvalid:
                child.lost(late=True)
                file.refused = UNUSABLE
                break
            except ChannelClosed:
                broke_off = TOO_COSTLY if child.lost().too_costly else CRASHED
            except BaseException:
                child.end()
                raise
            else:
                return child, answer
        else:
            file.refused = broke_off
        raise InputRejected(file.refused)

    def _taken(self, owner: Hashable, room: Room, *, fresh: bool) -> ImageChild:
        """A child. Raises ServerBusy if the system starts none for a while."""
        for wait_s in (*AGAIN_S, None):
            try:
                return self.children.take(owner, room, fresh=fresh)
            except (ChannelClosed, OSError) as fault:
                log.warning("no_parsing_child", reason=type(fault).__name__)
                if wait_s is None:
                    raise ServerBusy from None
                time.sleep(wait_s)
        raise AssertionError

    def _limit_s(self, owner: Hashable) -> float:
        times, latest = self._late.get(owner, (0, 0.0))
        return (
            max(self._short_s, self._file_s / 2**times)
            if time.monotonic() - latest < LATELY_S
            else self._file_s
        )

    def _was_late(self, owner: Hashable) -> None:
        if owner is None:  # anybody: the next one is another
            return
        times, latest = self._late.get(owner, (0, 0.0))
        times = times if time.monotonic() - latest < LATELY_S else 0
        self._late[owner] = (times + 1, time.monotonic())
        while len(self._late) > OWNERS:
            self._late.popitem(last=False)


def _refuse(answer: Header) -> None:
    """Raises InputRejected for what a child could not read."""
    if (faults := answer.get(wire.FAULTS)) is not None:
        raise InputRejected(*(_fault(*each) for each in faults[:FAULTS]))
    if wire.COSTLY in answer:
        raise InputRejected(TOO_COSTLY)
    if wire.FAILED in answer:
        log.error("parsing_failed", error=str(answer[wire.FAILED])[:200])
        raise InputRejected(UNUSABLE)


def _fault(pointer: object, code: object, detail: object) -> FieldFault:
    if not (isinstance(pointer, str) and isinstance(code, str) and isinstance(detail, str)):
        raise MessageInvalid
    known = FieldCode(code) if code in _CODES else OtherCode(code)
    return FieldFault(pointer[:DETAIL_CHARS], known, detail[:DETAIL_CHARS])


def _header(answer: Header) -> ImageHeader:
    pixels, synthetic = answer[wire.PIXELS], answer[wire.SYNTHETIC]
    if not isinstance(pixels, int) or pixels < 0 or not isinstance(synthetic, bool):
        raise MessageInvalid
    return ImageHeader(pixels, synthetic)


def _size(answer: Header, intake: ImageIntake) -> tuple[int, int]:
    """Width and height, upright, such as the intake takes. Raises MessageInvalid."""
    width, height = answer[wire.SIZE]
    if type(width) is not int or type(height) is not int or not intake.may_have_size(width, height):
        raise MessageInvalid
    return width, height
