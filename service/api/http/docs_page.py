"""Swagger UI at /docs, from its wheel: no file is fetched from elsewhere. Anybody may read it, so its files are kept ready."""

import gzip
import hashlib
import mimetypes
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import flask_swagger_ui
from flask import Blueprint, Response, request

FOLDER: Final = Path(flask_swagger_ui.__file__).parent / "dist"
FILES: Final = frozenset(file.name for file in FOLDER.iterdir())
GZIP: Final = "gzip"


class Asset(NamedTuple):
    """A file of the page, as it is and compressed."""

    content: bytes
    compressed: bytes
    mimetype: str
    etag: str


def blueprint() -> Blueprint:
    """The page and its files."""
    page: Blueprint = flask_swagger_ui.get_swaggerui_blueprint(
        "/docs", "/openapi.json", config={"app_name": "medqueue"}
    )
    page.before_request(_answered)
    return page


def _answered() -> Response | None:
    """The answer to a request for a file; None for the page itself, and for what does not exist."""
    name = (request.view_args or {}).get("path")
    if name not in FILES:
        return None
    asset = _asset(name)
    compressed = request.accept_encodings.quality(GZIP) > 0
    response = Response(asset.compressed if compressed else asset.content, mimetype=asset.mimetype)
    response.set_etag(f"{asset.etag}-{GZIP}" if compressed else asset.etag)
    response.headers["Cache-Control"] = (
        "no-cache"  # kept, and asked for again with its tag: a release may change it
    )
    response.headers["Vary"] = "Accept-Encoding"
    if compressed:
        response.headers["Content-Encoding"] = GZIP
    response.make_conditional(request)
    return response


@cache
def _asset(name: str) -> Asset:
    content = (FOLDER / name).read_bytes()
    mimetype = mimetypes.guess_type(name)[0] or "text/plain"
    return Asset(content, gzip.compress(content), mimetype, hashlib.sha256(content).hexdigest()[:32])
