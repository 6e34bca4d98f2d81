"""A receiver of webhooks, as a caller would write one: a small HTTP server of the standard library."""

import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from standardwebhooks import Webhook, WebhookVerificationError

from service.cli.client import Json
from service.cli.demo.errors import DemoFailed

LARGEST_BYTES = 20_000  # the Standard Webhooks specification asks senders to stay below


@dataclass(frozen=True)
class Received:
    """A webhook as it came in: its headers, in lower case, and the bytes of its body."""

    headers: Mapping[str, str]
    body: bytes

    def verified(self, secret: str) -> Json:
        """What it says, once its signature and its time were found good. Raises DemoFailed."""
        try:
            content: Json = Webhook(secret).verify(self.body, dict(self.headers))
        except WebhookVerificationError as error:
            raise DemoFailed(f"The webhook is not signed as it should be: {error}") from None
        return content


class Receiver:
    """Listens on a free port of 127.0.0.1 while the block lasts, and takes what is sent to it."""

    def __init__(self) -> None:
        self._received: queue.SimpleQueue[Received] = queue.SimpleQueue()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _request_class(self._received.put))
        self._thread = threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}/hook"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def next(self, timeout_s: float) -> Received:
        """The next webhook. Raises DemoFailed when none comes in time."""
        try:
            return self._received.get(timeout=timeout_s)
        except queue.Empty:
            raise DemoFailed(f"No webhook came within {timeout_s:.0f} s.") from None


def _request_class(take: Callable[[Received], None]) -> type[BaseHTTPRequestHandler]:
    """What answers a request: hands it to `take` and says 204."""

    class Request(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # http.server calls it by this name
            size = min(int(self.headers.get("Content-Length", 0)), LARGEST_BYTES)
            headers = {name.lower(): value for name, value in self.headers.items()}
            take(Received(headers, self.rfile.read(size)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """The demo tells by itself what came."""

    return Request
