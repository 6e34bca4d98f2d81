"""Messages between a parsing child and the process that asked: a JSON header and plain buffers, never pickles.

Whoever made the file may have taken the child over. So the reader of a message says how large it may be, and checks
what is in it.
"""

import json
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from models.lazy import np

HEAD: Final = struct.Struct("<II")
LENGTH: Final = struct.Struct("<Q")
HEADER_BYTES: Final = 16 * 1024 * 1024
BUFFERS: Final = 1_000_000

Header = dict[str, Any]
Buffer = bytes | bytearray | memoryview


class ChannelClosed(Exception):
    """The other side has ended."""


class MessageInvalid(Exception):
    """The message is none, or larger than allowed."""


class MessageLate(Exception):
    """No message came in time."""


class Message(NamedTuple):
    """A header, an object of JSON, and its buffers."""

    header: Header
    buffers: Sequence[Buffer] = ()


class Channel:
    """One end of a connection. One thread at a time."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def close(self) -> None:
        """Close this end."""
        self._connection.close()

    def send(self, header: Header, buffers: Sequence[Buffer] = (), *, within_s: float | None = None) -> None:
        """Send a message. Raises ChannelClosed or MessageLate."""
        text = json.dumps(header).encode()
        lengths = b"".join(LENGTH.pack(len(each)) for each in buffers)
        self._connection.settimeout(within_s)
        try:
            self._connection.sendall(HEAD.pack(len(text), len(buffers)) + lengths + text)
            for each in buffers:
                self._connection.sendall(each)
        except TimeoutError:
            raise MessageLate from None
        except OSError:
            raise ChannelClosed from None

    def receive(self, *, most_bytes: int, within_s: float | None = None) -> Message:
        """The next message, with buffers of `most_bytes` together. Raises ChannelClosed, MessageInvalid or MessageLate."""
        ends_at = None if within_s is None else time.monotonic() + within_s
        length, count = HEAD.unpack(self._read(HEAD.size, ends_at))
        if length > HEADER_BYTES or count > BUFFERS:
            raise MessageInvalid
        lengths = [each[0] for each in LENGTH.iter_unpack(self._read(count * LENGTH.size, ends_at))]
        if sum(lengths) > most_bytes:
            raise MessageInvalid
        header = self._read(length, ends_at)
        buffers = [self._read(each, ends_at) for each in lengths]
        try:
            value = json.loads(bytes(header))
        except (ValueError, RecursionError):
            raise MessageInvalid from None
        if not isinstance(value, dict):
            raise MessageInvalid
        return Message(value, buffers)

    def _read(self, size: int, ends_at: float | None) -> memoryview:
        """So many bytes. The system gives memory as it is written to, not as it is announced."""
        content = memoryview(np.empty(size, np.uint8))  # type: ignore[arg-type]  # typeshed has no buffer of an array
        filled = 0
        while filled < size:
            left_s = None if ends_at is None else ends_at - time.monotonic()
            if left_s is not None and left_s <= 0:
                raise MessageLate
            self._connection.settimeout(left_s)
            try:
                count = self._connection.recv_into(content[filled:])
            except TimeoutError:
                raise MessageLate from None
            except OSError:
                raise ChannelClosed from None
            if not count:
                raise ChannelClosed
            filled += count
        return content
