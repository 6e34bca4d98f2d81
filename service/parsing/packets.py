"""Small messages between a child and the process that asked: one object of JSON a packet, for what is asked often.

As with Channel, whoever made a file may have taken the child over: the reader checks what is in a message.
"""

import json
import socket
from typing import Final

from service.parsing.channel import ChannelClosed, Header, MessageInvalid, MessageLate

PACKET_BYTES: Final = 64 * 1024


class Packets:
    """One end of a connection. One thread at a time."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def close(self) -> None:
        """Close this end."""
        self._connection.close()

    def send(self, header: Header, *, within_s: float | None = None) -> None:
        """Send a message. Raises ChannelClosed or MessageLate."""
        self._connection.settimeout(within_s)
        try:
            self._connection.send(json.dumps(header).encode())
        except TimeoutError:
            raise MessageLate from None
        except OSError:
            raise ChannelClosed from None

    def receive(self, *, within_s: float | None = None) -> Header:
        """The next message; one of more than PACKET_BYTES is invalid. Raises ChannelClosed, MessageInvalid or MessageLate."""
        self._connection.settimeout(within_s)
        try:
            content = self._connection.recv(PACKET_BYTES)
        except TimeoutError:
            raise MessageLate from None
        except OSError:
            raise ChannelClosed from None
        if not content:
            raise ChannelClosed
        try:
            value = json.loads(content)
        except (ValueError, RecursionError):
            raise MessageInvalid from None
        if not isinstance(value, dict):
            raise MessageInvalid
        return value
