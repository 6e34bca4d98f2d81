"""/v1/uploads: stream a file into the encrypted store."""

from typing import Any
from uuid import UUID

from flask import Blueprint, Response, request

from service.accounts import Scope
from service.api.http.answers import answer
from service.api.http.examples import ID
from service.api.http.operations import operation
from service.api.http.schemas import Wire
from service.api.services import Services
from service.errors import ContentTypeUnsupported

RAW = "application/octet-stream"
EXAMPLE: dict[str, Any] = {"id": ID, "size_bytes": 48213, "sha256": "5e" * 32}


class UploadView(Wire):
    """A stored file."""

    id: UUID
    size_bytes: int
    sha256: str


def blueprint(services: Services) -> Blueprint:
    """The routes of uploads."""
    routes = Blueprint("uploads", __name__, url_prefix="/v1/uploads")

    @routes.post("")
    @operation(
        "Upload a file",
        example=EXAMPLE,
        scope=Scope.UPLOADS_WRITE,
        body=RAW,
        answers={201: UploadView},
        problems=(400, 409, 411, 413, 415, 429),
    )
    def upload() -> Response:
        """Store the raw body, whatever its content type says: curl calls every body a form unless it is told otherwise."""
        principal = services.auth.principal(Scope.UPLOADS_WRITE)
        if request.mimetype.startswith("multipart/"):
            raise ContentTypeUnsupported(
                "Send the bytes of the file as the body, not a multipart form: `curl --data-binary @FILE`"
                " instead of `curl -F`."
            )
        body = services.bodies.file(principal, services.settings.max_upload_bytes)
        with services.quotas.room(principal.tenant_id, request.content_length or 0):
            stored = services.uploads.store(principal, body)
        return answer({"id": stored.id, "size_bytes": stored.size_bytes, "sha256": stored.sha256}, 201)

    return routes
