"""A receiver of webhooks that costs little: answers 200 and counts. `python -m benchmarks.receiver PORT`."""

import asyncio
import re
import sys

WEBHOOK_ID = re.compile(rb"\r\nwebhook-id: ([^\r]+)\r\n", re.IGNORECASE)
LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
COUNT_PATH = "/count"
HEAD_END = b"\r\n\r\n"


class Counting(asyncio.Protocol):
    """One connection. Counts the different events that have come over all of them."""

    seen: set[bytes] = set()  # noqa: RUF012 - of the process

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._heard = b""

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole."""
        self._heard += data
        while (end := self._heard.find(HEAD_END)) >= 0:
            head = self._heard[: end + 2]
            found = LENGTH.search(head)
            size = end + len(HEAD_END) + (int(found[1]) if found else 0)
            if len(self._heard) < size:
                return
            self._heard = self._heard[size:]
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        if (webhook_id := WEBHOOK_ID.search(head)) is not None:
            self.seen.add(webhook_id[1])
        body = b"%d" % len(self.seen)
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


async def serve(port: int) -> None:
    """Listen until killed."""
    server = await asyncio.get_running_loop().create_server(Counting, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
