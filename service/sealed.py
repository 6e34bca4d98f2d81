"""A sealed stream in the blob store as a seekable file: only the frames that are read are fetched and decrypted."""

import io
from collections import OrderedDict
from typing import Final

from service.crypto import FRAME_BYTES, STREAM_HEADER_BYTES, TAG_BYTES, Cipher, frame_count, frame_offset
from service.seekable import SeekableFile
from service.storage import BlobStore

FRAMES_AHEAD: Final = 4
# A reader of Parquet goes to and fro between as many places as it takes columns: their frames stay for it. One that reads on
# needs a few.
KEPT_FRAMES: Final = 96
FEW_FRAMES: Final = 2 * FRAMES_AHEAD


class SealedFile(SeekableFile):
    """The plain bytes of a blob that `Cipher.seal_stream` made. One thread at a time.

    `size_bytes` is the length of the plain bytes, as it was recorded when they were sealed: it says which frame is
    the last one, so a blob that is shorter or longer does not open. Reading raises PayloadUnreadable,
    BlobUnavailable, or FileNotFoundError when the blob is gone. Memory stays at about `kept_frames` frames.
    """

    def __init__(
        self,
        blobs: BlobStore,
        location: str,
        cipher: Cipher,
        bound_to: bytes,
        *,
        size_bytes: int,
        kept_frames: int = KEPT_FRAMES,
    ) -> None:
        super().__init__()
        self._blobs = blobs
        self._location = location
        self._cipher = cipher
        self._bound_to = bound_to
        self._size = size_bytes
        self._kept_frames = kept_frames
        self._count = frame_count(size_bytes)
        self._header = b""
        self._kept: OrderedDict[int, memoryview] = OrderedDict()
        self._sealed = memoryview(bytearray(FRAMES_AHEAD * (FRAME_BYTES + TAG_BYTES)))
        self._newest = -2  # the last frame fetched
        self._in_order = 0  # how often the frame behind it was the next one to be fetched
        self._position = 0

    def tell(self) -> int:
        """The position in the plain bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place in the plain bytes; nothing is read."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("a position before the start")
        self._position = base + offset
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """`size` plain bytes from here on, fewer at the end; without `size`, all that are left."""
        left = max(0, self._size - self._position)
        wanted = left if size is None or size < 0 else min(size, left)
        parts: list[memoryview | bytes] = []
        while wanted:
            number, start = divmod(self._position, FRAME_BYTES)
            frame = self._frame(number, (self._position + wanted - 1) // FRAME_BYTES)
            parts.append(frame[start : start + wanted])
            wanted -= len(parts[-1])
            self._position += len(parts[-1])
            if len(parts) > self._kept_frames // 2:  # copied before a frame's buffer is used again
                parts = [b"".join(parts)]
        return b"".join(parts)

    def _frame(self, number: int, last_wanted: int) -> memoryview:
        if number not in self._kept:
            self._fetch(number, last_wanted)
        self._kept.move_to_end(number)
        return self._kept[number]

    def _fetch(self, first: int, last_wanted: int) -> None:
        """Take frame `first`, those up to the last one wanted, and more where a file is read from front to back."""
        self._in_order = self._in_order + 1 if first == self._newest + 1 else 0
        ahead = FRAMES_AHEAD if self._in_order > 1 else last_wanted - first + 1
        count = min(ahead, FRAMES_AHEAD, self._count - first)
        if not self._header:
            header = bytearray(STREAM_HEADER_BYTES)
            read = self._blobs.read_into(self._location, 0, memoryview(header))
            self._header = bytes(header[:read])
        start = frame_offset(first)
        end = min(frame_offset(first + count), STREAM_HEADER_BYTES + self._size + TAG_BYTES * self._count)
        read = self._blobs.read_into(self._location, start, self._sealed[: end - start])
        for number in range(first, first + count):
            place = (number - first) * (FRAME_BYTES + TAG_BYTES)
            self._keep(number, self._sealed[place : min(place + FRAME_BYTES + TAG_BYTES, read)])
        self._newest = first + count - 1

    def _keep(self, number: int, sealed: memoryview) -> None:
        last = number == self._count - 1
        length = self._size - number * FRAME_BYTES if last else FRAME_BYTES
        room = (
            self._kept.popitem(last=False)[1].obj
            if len(self._kept) == self._kept_frames
            else bytearray(FRAME_BYTES)
        )
        plain = memoryview(room)[:length]
        self._cipher.open_frame_into(self._header, number, sealed, self._bound_to, plain, last=last)
        self._kept[number] = plain
