"""GET /v1/jobs/{id}/artifacts/{name}: a file of a job's result, streamed whole or a range; each reading is recorded."""

import io
from collections.abc import Callable, Iterator
from uuid import UUID

from flask import Blueprint, Response

from service.accounts import Scope
from service.api.http import parameters
from service.api.http.downloads import StoredFile, respond
from service.api.http.operations import operation
from service.api.http.requests import NoQuery, query_as
from service.api.services import Services
from service.crypto import FRAME_BYTES
from service.errors import BlobMissing

ANY_TYPE = "application/octet-stream"


def blueprint(services: Services) -> Blueprint:
    """The route of artifacts."""
    routes = Blueprint("job_artifacts", __name__, url_prefix="/v1/jobs/<uuid:job_id>/artifacts")

    @routes.get("/<string:name>")
    @operation(
        "Download an artifact of a result",
        scope=Scope.JOBS_READ,
        answers={200: ANY_TYPE, 206: ANY_TYPE, 304: ""},
        parameters=(parameters.RANGE, parameters.IF_RANGE, parameters.IF_NONE_MATCH),
        problems=(404, 416, 422),
    )
    def get_artifact(job_id: UUID, name: str) -> Response:
        """A file that the result lists under `artifacts`, in its own media type; each download is recorded."""
        principal = services.auth.principal(Scope.JOBS_READ)
        query_as(NoQuery)
        desk = services.desk
        found = desk.artifact(principal, job_id, name)
        file = StoredFile(found.name, found.media_type, found.size_bytes, found.sha256)
        return services.downloads.held(
            principal,
            lambda: respond(file, lambda detail: _reader(desk.open_artifact(principal, found, detail))),
        )

    return routes


def _reader(opened: io.RawIOBase | io.BytesIO) -> Callable[[int, int], Iterator[bytes]]:
    def read(start: int, end: int) -> Iterator[bytes]:
        opened.seek(start)
        try:
            while start < end:
                block = opened.read(min(FRAME_BYTES, end - start)) or b""
                start += len(block)
                yield block
        except FileNotFoundError:
            raise BlobMissing from None

    return read
