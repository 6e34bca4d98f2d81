"""A stored file as an answer: whole or a range, with a strong entity tag. Readings are recorded before the first byte.

A reader holds some megabytes of the file, so tenants share fewer places for files than for other requests.
"""

from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from flask import Response, request

from service.accounts import Principal
from service.api.http.ranges import ByteRange, wanted_range
from service.errors import TenantBusy
from service.shares import Shares


@dataclass(frozen=True)
class StoredFile:
    """A file of known length and digest (SHA-256 in hexadecimal), under the name by which it is saved."""

    name: str
    media_type: str
    size_bytes: int
    sha256: str

    @property
    def etag(self) -> str:
        """Its strong entity tag."""
        return f'"{self.sha256}"'

    @property
    def headers(self) -> dict[str, str]:
        """What every answer with content says. `Repr-Digest` is of the whole file, also where a range is sent (RFC 9530)."""
        digest = b64encode(bytes.fromhex(self.sha256)).decode()
        return file_headers(self.name, self.media_type) | {
            "ETag": self.etag,
            "Accept-Ranges": "bytes",
            "Repr-Digest": f"sha-256=:{digest}:",
        }


def file_headers(name: str, media_type: str) -> dict[str, str]:
    """Headers of any file: it is saved under `name` and never taken for a page."""
    return {
        "Content-Type": media_type,
        "Content-Disposition": f'attachment; filename="{name}"',
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, no-cache",
    }


class Downloads:
    """Files being read: at most `places` at a time."""

    def __init__(self, places: int) -> None:
        self._shares = Shares(places, multiple=3)

    def held(self, principal: Principal, answer: Callable[[], Response]) -> Response:
        """The answer, which holds a place of the caller's tenant until its last byte. Raises TenantBusy."""
        if not self._shares.take(principal.tenant_id):
            raise TenantBusy(
                "The tenant reads as many files as it may at once. Try again once others are read."
            )
        try:
            response = answer()
        except BaseException:
            self._shares.leave(principal.tenant_id)
            raise
        if response.is_streamed:
            response.call_on_close(partial(self._shares.leave, principal.tenant_id))
        else:
            self._shares.leave(principal.tenant_id)
        return response


def respond(
    file: StoredFile, opened: Callable[[dict[str, str]], Callable[[int, int], Iterator[bytes]]]
) -> Response:
    """The file, or the part of it that the request's headers ask for.

    `opened` records the reading, with the detail that it is given, and gives what reads bytes [start, end). It is not called
    where nothing is read. Raises RangeUnsatisfiable and what `opened` raises.
    """
    if request.if_none_match.contains_weak(file.sha256):
        kept = ("ETag", "Cache-Control")
        return Response(status=304, headers={name: file.headers[name] for name in kept})
    if request.method == "HEAD":
        return Response(headers=file.headers | {"Content-Length": str(file.size_bytes)})
    wanted = wanted_range(
        request.headers.get("Range"),
        request.headers.get("If-Range"),
        etag=file.etag,
        size_bytes=file.size_bytes,
    )
    read = opened({"sha256": file.sha256} | ({} if wanted is None else {"range": wanted.content_range}))
    if wanted is None:
        return streamed(read, ByteRange(0, file.size_bytes, file.size_bytes), 200, file.headers)
    return streamed(read, wanted, 206, file.headers | {"Content-Range": wanted.content_range})


def streamed(
    read: Callable[[int, int], Iterator[bytes]], wanted: ByteRange, status: int, headers: Mapping[str, str]
) -> Response:
    """Stream the bytes. The first frame is read before the answer begins: a missing file is still a problem."""
    frames = read(wanted.start, wanted.end)
    first = next(frames, b"")
    length = {"Content-Length": str(wanted.end - wanted.start)}
    return Response(_chained(first, frames), status, {**headers, **length})


def _chained(first: bytes, frames: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from frames
