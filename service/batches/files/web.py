"""Files of web servers: which answers can be read from, and how faults are translated."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final

import aiohttp

from service.batches.files.problems import GONE, FileProblem, FileRefused, SourceUnavailable

# Of one request, for a block of a file or for its size.
TIMEOUT_S: Final = 60.0
# fsspec reads the first as the end of the file. The others may pass soon, like everything from 500 on.
NO_FAULT: Final = frozenset((HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,))
FOR_NOW: Final = frozenset((HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS))

MOVED = "The web server redirects. Give the address that it redirects to."
CLOSED = "The web server does not let us read the source."
NO_PARTS = "The web server does not serve parts of a file (range requests). Enable that, or upload the file."


def options() -> dict[str, Any]:
    """What fsspec's file system is made with. Redirects are not followed: they may lead outside of the root."""
    client = {"timeout": aiohttp.ClientTimeout(total=TIMEOUT_S), "raise_for_status": check}
    return {"allow_redirects": False, "client_kwargs": client}


async def check(answer: aiohttp.ClientResponse) -> None:
    """Raises FileRefused or SourceUnavailable for an answer that holds no part of the file."""
    fault = _fault(answer.status)
    if fault is not None:
        answer.release()
        raise fault


def _fault(status: int) -> FileRefused | SourceUnavailable | None:
    if status < HTTPStatus.MULTIPLE_CHOICES or status in NO_FAULT:
        return None
    if status < HTTPStatus.BAD_REQUEST:
        return FileRefused(FileProblem.UNREADABLE, MOVED)
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        return FileRefused(FileProblem.GONE, GONE)
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return FileRefused(FileProblem.NOT_ALLOWED, CLOSED)
    if status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in FOR_NOW:
        return FileRefused(
            FileProblem.UNREADABLE, f"The web server answers {status} when asked for the source."
        )
    return SourceUnavailable()


@contextmanager
def translated_faults() -> Iterator[None]:
    """Translates the errors of fsspec and its client. Raises FileRefused or SourceUnavailable."""
    try:
        yield
    except FileNotFoundError as error:  # why fsspec did not get the size of the file is in the cause
        if isinstance(error.__cause__, FileRefused | SourceUnavailable):
            raise error.__cause__ from None
        raise SourceUnavailable from error
    except (aiohttp.ClientError, OSError) as error:
        raise SourceUnavailable from error
    except ValueError:  # fsspec's text where a whole file answers a request for a part
        raise FileRefused(FileProblem.UNREADABLE, NO_PARTS) from None
