"""The base of files of ours that can be read anywhere and cannot be written."""

import io


class SeekableFile(io.RawIOBase):
    """A file to be read by `read`; a subclass has `read`, `tell` and `seek`."""

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: object) -> int:
        """Fill a writable buffer; the number of bytes."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]  # typeshed has no writable buffer
        content = self.read(len(view)) or b""
        view[: len(content)] = content
        return len(content)

    def readall(self) -> bytes:
        """All that is left."""
        return self.read() or b""
