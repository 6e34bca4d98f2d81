"""The page at /docs and its files: compressed once, and not sent again to whoever has them."""

import gzip

import pytest
from flask import Flask
from flask.testing import FlaskClient

from service.api.http import docs_page

BUNDLE = "swagger-ui-bundle.js"


@pytest.fixture
def client() -> FlaskClient:
    app = Flask("docs", static_folder=None)
    app.register_blueprint(docs_page.blueprint())
    return app.test_client()


@pytest.mark.parametrize("name", sorted(docs_page.FILES))
def test_a_file_is_sent_as_it_is_or_compressed(client: FlaskClient, name: str) -> None:
    content = (docs_page.FOLDER / name).read_bytes()
    plain = client.get(f"/docs/{name}")
    assert plain.data == content
    assert "Content-Encoding" not in plain.headers
    packed = client.get(f"/docs/{name}", headers={"Accept-Encoding": "br, gzip;q=0.5"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == content
    assert {plain.headers["Vary"], packed.headers["Vary"]} == {"Accept-Encoding"}
    assert plain.mimetype == packed.mimetype
    refused = client.get(f"/docs/{name}", headers={"Accept-Encoding": "gzip;q=0"})
    assert refused.data == content


def test_types_are_those_of_the_files(client: FlaskClient) -> None:
    found = {
        name: client.get(f"/docs/{name}").mimetype for name in (BUNDLE, "swagger-ui.css", "favicon-16x16.png")
    }
    assert found == {
        BUNDLE: "text/javascript",
        "swagger-ui.css": "text/css",
        "favicon-16x16.png": "image/png",
    }


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_whoever_has_a_file_is_not_sent_it_again(client: FlaskClient, encoding: str) -> None:
    accepted = {"Accept-Encoding": encoding}
    first = client.get(f"/docs/{BUNDLE}", headers=accepted)
    assert first.headers["Cache-Control"] == "no-cache"
    again = client.get(f"/docs/{BUNDLE}", headers={**accepted, "If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    other = client.get(f"/docs/{BUNDLE}", headers={**accepted, "If-None-Match": '"another"'})
    assert other.status_code == 200


def test_the_two_forms_of_a_file_have_tags_of_their_own(client: FlaskClient) -> None:
    forms = [
        client.get(f"/docs/{BUNDLE}", headers={"Accept-Encoding": each}) for each in ("gzip", "identity")
    ]
    assert len({form.headers["ETag"] for form in forms}) == 2


def test_the_page_names_the_document_and_only_files_that_there_are(client: FlaskClient) -> None:
    page = client.get("/docs/").text
    assert "/openapi.json" in page
    named = {part.split('"')[0] for part in page.split('"/docs/')[1:]}
    assert {BUNDLE, "swagger-ui.css", "swagger-ui-standalone-preset.js"} <= named <= docs_page.FILES
    assert {client.head(f"/docs/{name}").status_code for name in named} == {200}


@pytest.mark.parametrize("path", ["nothing.js", "../setup.py", "..%2f__init__.py", "LICENSE/x"])
def test_nothing_else_is_served(client: FlaskClient, path: str) -> None:
    assert client.get(f"/docs/{path}").status_code == 404
