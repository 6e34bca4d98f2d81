"""A file that came from somebody, whose other files may be read by the same child."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from models.pipelines import FieldFault
    from models.pipelines.image_reading import Header


class OwnedFile(bytes):
    """The bytes of a file. `owner` is whose it is, such as a tenant's id.

    `pixels` is how many it has said that it has, and `header` all that a child has found in it, once it was asked; `refused` is
    set if it ended its child, `is_alone` if it is not to be read together with others.
    """

    owner: Hashable
    pixels: int | None
    header: Header | None
    refused: FieldFault | None
    is_alone: bool

    def __new__(cls, content: bytes | bytearray | memoryview, owner: Hashable) -> Self:
        """A file of `owner`."""
        file = super().__new__(cls, content)
        file.owner, file.pixels, file.header, file.refused = owner, None, None, None
        file.is_alone = owner is None
        return file
