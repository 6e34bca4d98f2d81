"""What a child's answer to one file says, once it is checked: it may have been taken over by the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from models.field_codes import FieldCode, OtherCode
from models.pipelines import FieldFault, InputRejected
from models.pipelines.image_reading import Header as ImageHeader
from service.images import wire
from service.parsing.channel import Header, MessageInvalid

if TYPE_CHECKING:
    from models.pipelines.image_intake import ImageIntake

DETAIL_CHARS: Final = 1000
FAULTS: Final = 20

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
# What is raised by the functions here, and by whoever looks for what an answer lacks.
FORGED: Final = (MessageInvalid, KeyError, TypeError, ValueError)
_CODES: Final = frozenset(FieldCode)

log = structlog.get_logger()


def refuse(answer: Header) -> None:
    """Raises InputRejected for what a child could not read, or what is FORGED."""
    if (faults := answer.get(wire.FAULTS)) is not None:
        raise InputRejected(*(_fault(*each) for each in faults[:FAULTS]))
    if wire.COSTLY in answer:
        raise InputRejected(TOO_COSTLY)
    if wire.FAILED in answer:
        log.error("parsing_failed", error=str(answer[wire.FAILED])[:200])
        raise InputRejected(UNUSABLE)


def header_of(answer: Header) -> ImageHeader:
    """What the header says. Raises what is FORGED."""
    pixels, synthetic = answer[wire.PIXELS], answer[wire.SYNTHETIC]
    if not isinstance(pixels, int) or pixels < 0 or not isinstance(synthetic, bool):
        raise MessageInvalid
    return ImageHeader(pixels, synthetic)


def size_of(answer: Header, intake: ImageIntake) -> tuple[int, int]:
    """Width and height, upright, such as the intake takes. Raises what is FORGED."""
    width, height = answer[wire.SIZE]
    if type(width) is not int or type(height) is not int or not intake.may_have_size(width, height):
        raise MessageInvalid
    return width, height


def header_and_size(answer: Header, intake: ImageIntake) -> tuple[ImageHeader, tuple[int, int]]:
    """Of an image of which the pixels are there. Raises what is FORGED."""
    header, (width, height) = header_of(answer), size_of(answer, intake)
    if header.pixels != width * height:
        raise MessageInvalid
    return header, (width, height)


def _fault(pointer: object, code: object, detail: object) -> FieldFault:
    if not (isinstance(pointer, str) and isinstance(code, str) and isinstance(detail, str)):
        raise MessageInvalid
    known = FieldCode(code) if code in _CODES else OtherCode(code)
    return FieldFault(pointer[:DETAIL_CHARS], known, detail[:DETAIL_CHARS])
