"""This side: what image files say and show, as a child that reads them tells.

Of what comes back, sizes are checked before an image is made of it; pixels are any. A child that dies, hangs or answers
what it cannot have found is one refused file: small files of one owner are read together, and again one by one if that fails.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import structlog

from models.lazy import np
from models.pipelines import InputRejected
from models.pipelines.image_header import format_of
from models.pipelines.image_reading import NO_IMAGE, read_by
from models.pipelines.image_reading import Header as ImageHeader
from service.errors import ServerBusy
from service.images import answers, wire
from service.images.children import ImageChild, ImageChildren, Room
from service.images.owned import OwnedFile
from service.images.patience import FILE_S, SHORT_S, TOGETHER_S, Patience
from service.images.together import first_together, png_pixels
from service.parsing.channel import ChannelClosed, Header, MessageInvalid, MessageLate

if TYPE_CHECKING:
    from PIL import Image

    from models.pipelines import Array
    from models.pipelines.image_fitting import Fitting
    from models.pipelines.image_intake import ImageIntake

AGAIN_S: Final = (0.1, 1.0)

log = structlog.get_logger()
_worked = threading.local()


def read_apart() -> None:
    """Have children read the image files of this process from now on. Needs memory that processes share as Linux has it."""
    if hasattr(os, "memfd_create"):
        read_by(ReadApart())


def worked_s() -> float:
    """What this thread has worked so far, in seconds: its own CPU, that of children that read for it, and waits in vain."""
    return time.thread_time() + _children_s()


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


def _children_s() -> float:
    return getattr(_worked, "children_s", 0.0)


class ReadApart:
    """Has children read files; see ImageReader. An OwnedFile shares its child with others of its owner, no other file does."""

    def __init__(
        self, children: ImageChildren | None = None, *, file_s: float = FILE_S, short_s: float = SHORT_S
    ) -> None:
        self.children = children or ImageChildren()
        self._patience = Patience(file_s, short_s)

    def header(self, content: bytes) -> ImageHeader:
        """See ImageReader. Raises ServerBusy."""
        if isinstance(content, OwnedFile) and content.header is not None:
            return content.header
        if format_of(content) is None:
            return NO_IMAGE
        try:
            with self._read(content, None) as (_, answer):
                found = answers.header_of(answer)
        except InputRejected:
            found = NO_IMAGE
        if isinstance(content, OwnedFile):
            content.header, content.pixels = found, found.pixels
        return found

    def pixel_count(self, content: bytes) -> int:
        """See ImageReader. Raises ServerBusy. That of a PNG file needs no child."""
        if format_of(content) != "PNG":
            return self.header(content).pixels
        pixels = png_pixels(content)
        if isinstance(content, OwnedFile):
            content.pixels = pixels
        return pixels

    def check(self, content: bytes, intake: ImageIntake) -> None:
        """See ImageReader. Raises ServerBusy."""
        with self._read(content, intake, wanted=False) as (_, answer):
            answers.size_of(answer, intake)

    def pixels(self, content: bytes, intake: ImageIntake) -> Image.Image:
        """See ImageReader. Raises ServerBusy."""
        from PIL import Image

        with self._read(content, intake, wanted=True) as (child, answer):
            header, (width, height) = answers.header_and_size(answer, intake)
            if isinstance(content, OwnedFile):
                content.header = header
            with child.samples(
                width * height * intake.channels
            ) as samples:  # copied, as the child may write there
                return Image.frombytes(intake.mode, (width, height), samples)

    def fitted(
        self, contents: Sequence[bytes], intake: ImageIntake, fitting: Fitting
    ) -> list[Array | InputRejected]:
        """See ImageReader. Raises ServerBusy."""
        files = first_together(contents)
        if (
            len(files) > 1
            and not self._patience.is_short(files[0].owner)
            and (found := self._read_together(files, intake, fitting))
        ):
            return found
        try:
            with self._read(contents[0], intake, wanted=True, fitting=fitting) as (child, answer):
                return self._samples(child, [answer], contents[:1], intake, fitting)
        except InputRejected as rejected:
            return [rejected]

    def close(self) -> None:
        """End the children."""
        self.children.close()

    def _read_together(
        self, files: Sequence[OwnedFile], intake: ImageIntake, fitting: Fitting
    ) -> list[Array | InputRejected]:
        """Of the first files, as many as are quick to read. If it is none, the first is read alone from now on; if the child
        fails, each of them is. Raises ServerBusy.
        """
        owner, asked = files[0].owner, wire.request_of(files, intake, wanted=True, fitting=fitting)
        child = self._taken(owner, Room(intake.most_pixels, sum(map(len, files))))
        try:
            with _counted(child):
                told = child.ask(files, asked, within_s=min(TOGETHER_S, self._patience.limit_s(owner)))
            found = self._samples(child, told, files, intake, fitting)
        except (ChannelClosed, MessageLate, *answers.FORGED) as fault:
            child.lost(late=not isinstance(fault, ChannelClosed))
            if isinstance(fault, MessageLate):
                self._patience.was_late(owner)
            for file in files:
                file.is_alone = True
            return []
        except BaseException:
            child.end()
            raise
        self.children.give_back(child)
        files[0].is_alone = not found
        return found

    def _samples(
        self,
        child: ImageChild,
        told: Sequence[Header],
        files: Sequence[bytes],
        intake: ImageIntake,
        fitting: Fitting,
    ) -> list[Array | InputRejected]:
        """What the child has left of the files that it has `told` of. Raises what is FORGED."""
        found = [_header_or_fault(answer, intake) for answer in told]
        headers = [each for each in found if isinstance(each, ImageHeader)]
        size = fitting.height, fitting.width, intake.channels
        pixels = sum(max(each.pixels, fitting.width * fitting.height) for each in headers)
        if len(files) > 1 and pixels > wire.QUICK_PIXELS:
            raise MessageInvalid
        with child.samples(len(headers) * math.prod(size)) as samples:  # copied, as the child may write there
            images = iter(np.frombuffer(bytes(samples), np.uint8).reshape(-1, *size))
        for file, each in zip(files, found, strict=False):
            if isinstance(file, OwnedFile) and isinstance(each, ImageHeader):
                file.header = each
        return [next(images) if isinstance(each, ImageHeader) else each for each in found]

    @contextmanager
    def _read(
        self,
        content: bytes,
        intake: ImageIntake | None,
        *,
        wanted: bool = False,
        fitting: Fitting | None = None,
    ) -> Iterator[tuple[ImageChild, Header]]:
        """A child and its answer to one file, to be checked. Raises InputRejected or ServerBusy."""
        file = content if isinstance(content, OwnedFile) else OwnedFile(content, None)
        if file.refused is not None:
            raise InputRejected(file.refused)
        asked = wire.request_of([file], intake, wanted=wanted, fitting=fitting)
        child, answer = self._answered(file, asked, 0 if intake is None else intake.most_pixels)
        try:
            answers.refuse(answer)
            yield child, answer
        except answers.FORGED:
            child.lost(late=True)
            raise InputRejected(answers.UNUSABLE) from None
        except BaseException:
            self.children.give_back(child)
            raise
        self.children.give_back(child)

    def _answered(self, file: OwnedFile, asked: Header, most_pixels: int) -> tuple[ImageChild, Header]:
        """A child that broke off is replaced once: something else than the file may have ended it."""
        room = Room(most_pixels, len(file))
        if file.pixels is not None:
            most_pixels = min(most_pixels, file.pixels)
        for fresh in (False, True):
            child = self._taken(file.owner, room, fresh=fresh)
            try:
                with _counted(child):
                    limit_s = self._patience.limit_s(file.owner)
                    (answer,) = child.ask([file], asked, within_s=limit_s, most_pixels=most_pixels)
            except MessageLate:
                child.lost(late=True)
                self._patience.was_late(file.owner)
                file.refused = answers.TOO_COSTLY
                break
            except (MessageInvalid, ValueError):
                child.lost(late=True)
                file.refused = answers.UNUSABLE
                break
            except ChannelClosed:
                broke_off = answers.TOO_COSTLY if child.lost().too_costly else answers.CRASHED
            except BaseException:
                child.end()
                raise
            else:
                return child, answer
        else:
            file.refused = broke_off
        raise InputRejected(file.refused)

    def _taken(self, owner: Hashable, room: Room, *, fresh: bool = False) -> ImageChild:
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


def _header_or_fault(answer: Header, intake: ImageIntake) -> ImageHeader | InputRejected:
    """What an answer says of a file. Raises what is FORGED."""
    try:
        answers.refuse(answer)
    except InputRejected as rejected:
        return rejected
    header, _ = answers.header_and_size(answer, intake)
    return header
