"""A web server of files that answers requests for parts of them, and misbehaves on request."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

RANGE = re.compile(r"bytes=(\d+)-(\d+)")


class WebFiles(ThreadingHTTPServer):
    """The files of a folder on a port of this machine."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Exchange)
        self.folder = folder
        self.statuses: dict[str, int] = {}  # by method: what is answered instead of a file
        self.refused = 0  # requests that were answered so
        self.serves_parts = True
        self.cuts_off = False  # in the middle of the body
        self.headers: dict[str, str] = {}  # sent with every file

    def handle_error(self, *_: object) -> None:
        """Nothing: a client may leave in the middle of an answer."""

    @property
    def url(self) -> str:
        """Of the folder."""
        return f"http://127.0.0.1:{self.server_port}"


class _Exchange(BaseHTTPRequestHandler):
    server: WebFiles

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """Nothing: tests do not print."""

    def _answer(self) -> None:
        file = self.server.folder / self.path.lstrip("/")
        status = self.server.statuses.get(self.command) or (None if file.is_file() else HTTPStatus.NOT_FOUND)
        if status is not None:
            self.server.refused += 1
            self._head(status, 0, Location=f"{self.server.url}/elsewhere")
            return
        content = file.read_bytes()
        asked = RANGE.fullmatch(self.headers.get("Range", "")) if self.server.serves_parts else None
        first, last = (int(asked[1]), int(asked[2])) if asked else (0, len(content) - 1)
        part = content[first : last + 1]
        self._head(HTTPStatus.PARTIAL_CONTENT if asked else HTTPStatus.OK, len(part))
        if self.command == "GET":
            self.wfile.write(part[: len(part) // 2] if self.server.cuts_off else part)

    def _head(self, status: int, length: int, **more: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        for name, value in (self.server.headers | more).items():
            self.send_header(name, value)
        self.end_headers()


@contextmanager
def web_files(folder: Path) -> Iterator[WebFiles]:
    """The server, running while the block lasts."""
    with WebFiles(folder) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
