"""The requests that must be refused: what is sent, and what the refusal says. Rows of test_bad_input."""

import gzip
import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from tests.acceptance import cases

JSON = {"Content-Type": "application/json"}
VALUE = 987654.25  # never to be repeated in an answer
BODY_LIMIT_BYTES = 16 * 1024 * 1024
INPUT_LIMIT_BYTES = 8 * 1024 * 1024
NO_SUCH = str(uuid4())
RANGE = ("mean_radius", "between 0 and 57")


@dataclass(frozen=True)
class Bad:
    """A request, the status and code of its refusal, where it points to, and words that its text holds."""

    name: str
    status: int
    code: str
    content: bytes | Iterator[bytes] | None = None
    method: str = "POST"
    path: str = "/v1/jobs"
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)
    pointer: str | None = None
    says: tuple[str, ...] = ()


def body(
    name: str,
    status: int,
    code: str,
    content: Any,
    pointer: str | None = None,
    *says: str,
    path: str = "/v1/jobs",
) -> Bad:
    """A bad body, as JSON unless it is bytes."""
    sent = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Bad(name, status, code, sent, path=path, pointer=pointer, says=says)


def invalid(name: str, pointer: str | None = None, *says: str, **fields: Any) -> Bad:
    """A submit of which some `fields` do not fit the schema."""
    return body(name, 422, "request_invalid", cases.submission(**fields), pointer, *says)


def bulk(name: str, pointer: str, content: Any) -> Bad:
    """A bulk request that does not fit the schema."""
    return body(name, 422, "request_invalid", content, pointer, path="/v1/jobs/bulk")


def unfit(name: str, pointer: str | None, content: Any, *says: str) -> Bad:
    """A submit whose input does not fit the model."""
    return body(name, 422, "input_invalid", content, pointer, *says)


def header(name: str, status: int, code: str, **headers: str) -> Bad:
    """A good body with bad headers."""
    sent = json.dumps(cases.submission()).encode()
    given = {key.replace("_", "-"): value for key, value in headers.items()}
    return Bad(name, status, code, sent, headers=JSON | given)


def get(name: str, status: int, code: str, path: str, pointer: str | None = None) -> Bad:
    return Bad(name, status, code, method="GET", path=path, headers={}, pointer=pointer)


def number(name: str, text: str, *says: str) -> Bad:
    """A submit with this JSON text as `mean_radius`."""
    sent = json.dumps(cases.with_input(mean_radius="@")).replace('"@"', text).encode()
    return unfit(name, "/input/mean_radius", sent, *RANGE, *says)


def no_number(text: str) -> Bad:
    """A submit with this as `mean_radius`, which is no JSON."""
    sent = json.dumps(cases.with_input(mean_radius="@")).replace('"@"', text).encode()
    return body(text, 400, "body_not_json", sent, None, "NaN and Infinity")


def image(name: str, fault: str, content: bytes) -> Bad:
    return unfit(name, None, cases.image_submission(content), fault)


def picture(name: str, pointer: str, **given: Any) -> Bad:
    """A submit of the image model whose input is not of the right form."""
    return unfit(name, pointer, {"model": cases.PNEUMONIA, "input": given})


def half_a_scan(jpeg: bytes) -> bytes:
    """A JPEG without the second half of its pixels, closed again."""
    start = jpeg.rindex(b"\xff\xda")
    return jpeg[: (start + len(jpeg)) // 2] + b"\xff\xd9"


def png(width: int, height: int, pixels: bytes, colour: int = 0) -> bytes:
    """A PNG whose header says `width` and `height`, whatever its pixels are."""
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(pixels)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in parts
    )


def in_parts(content: bytes) -> Iterator[bytes]:
    """A body without a Content-Length."""
    yield from (content[start : start + 65536] for start in range(0, len(content), 65536))


DEEP = b"[" * 100_000 + b"]" * 100_000
DOUBLED = (
    json.dumps(cases.submission()).replace('"mean_texture"', '"mean_radius": 20.0, "mean_texture"').encode()
)

BAD_JSON = [
    body("empty body", 400, "body_not_json", b""),
    body("broken JSON", 400, "body_not_json", b'{"model": "breast-cancer-wisconsin", "input": {'),
    body("JSON with a trailing comma", 400, "body_not_json", b'{"model": "a",}'),
    body("two JSON texts", 400, "body_not_json", b"{}{}"),
    body("invalid UTF-8", 400, "body_not_json", b'{"model": "\xff\xfe", "input": {}}'),
    body("UTF-16", 400, "body_not_json", json.dumps(cases.submission()).encode("utf-16")),
    body("a lone surrogate", 400, "body_not_json", b'{"model": "a", "input": {}, "subject": "\\ud800"}'),
    body("an unescaped control character", 400, "body_not_json", b'{"model": "a\x00", "input": {}}'),
    body("100,000 open brackets", 400, "body_not_json", b'{"model": "a", "input": ' + b"[" * 100_000),
    body("100,000 levels", 400, "body_not_json", b'{"model": "a", "input": ' + DEEP + b"}"),
    body("100,000 levels of objects", 400, "body_not_json", b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    body("100,000 levels in bulk", 400, "body_not_json", b'{"jobs": ' + DEEP + b"}", path="/v1/jobs/bulk"),
    body("null", 422, "request_invalid", None),
    body("true", 422, "request_invalid", True),
    body("a number", 422, "request_invalid", 3),
    body("a string", 422, "request_invalid", "case"),
    body("a list", 422, "request_invalid", [cases.submission()]),
    body("an empty object", 422, "request_invalid", {}, "/model"),
    unfit("100 levels as input", "/input", cases.submission(input=json.loads("[" * 100 + "]" * 100))),
    body("a doubled field of the input", 400, "body_not_json", DOUBLED),
    body(
        "a doubled field", 400, "body_not_json", b'{"model":"a","model":"breast-cancer-wisconsin","input":{}}'
    ),
]

BAD_FIELDS = [
    body("no model", 422, "request_invalid", {"input": {}}, "/model"),
    body("no input", 422, "request_invalid", {"model": cases.BREAST_CANCER}, "/input"),
    invalid("an extra field", "/urgent", urgent=True),
    body("a field with a NUL in its name", 422, "request_invalid", cases.submission(**{"a\x00b": 1})),
    invalid("model as a number", "/model", model=7),
    invalid("model with capitals", "/model", model="Breast"),
    invalid("model with a NUL", "/model", model="breast\x00"),
    invalid("model of 100,000 characters", "/model", model="a" * 100_000),
    body("unknown model", 404, "model_not_found", cases.submission(model="no-such-model")),
    body("unknown alias", 404, "model_not_found", cases.submission(model=f"{cases.BREAST_CANCER}@nightly")),
    body("unknown version", 404, "model_not_found", cases.submission(model=f"{cases.BREAST_CANCER}@9.9.9")),
    invalid("unknown priority", "/priority", priority="now"),
    invalid("priority with capitals", "/priority", priority="STAT"),
    invalid("priority as a number", "/priority", priority=0),
    invalid("explain as a string", "/explain", explain="yes"),
    unfit("an explanation that is not offered", "/explain", cases.submission(explain=True)),
    invalid("an empty subject", "/subject", subject=""),
    invalid("a subject of 201 characters", "/subject", subject="s" * 201),
    invalid("subject as a number", "/subject", subject=4711),
    body("deadline in the past", 422, "deadline_passed", cases.submission(deadline="2020-01-01T00:00:00Z")),
    body(
        "deadline of the year 1",
        422,
        "deadline_passed",
        cases.submission(deadline="0001-01-01T00:00:00+14:00"),
    ),
    body(
        "deadline of the year 1, west",
        422,
        "deadline_passed",
        cases.submission(deadline="0001-01-01T00:00:00-12:00"),
    ),
    invalid("deadline of the year 10000", "/deadline", deadline="10000-01-01T00:00:00Z"),
    invalid("deadline without an offset", "/deadline", deadline="2101-01-01T00:00:00"),
    invalid("deadline as a number", "/deadline", deadline=4133980800),
    invalid("deadline as a number in a string", "/deadline", deadline="4133980800"),
    invalid("deadline as a date", "/deadline", deadline="2101-01-01"),
    invalid("deadline that is no time", "/deadline", deadline="tomorrow"),
    invalid("17 metadata pairs", "/metadata", "16", metadata={str(pair): "" for pair in range(17)}),
    invalid("a metadata key of 65 characters", metadata={"k" * 65: ""}),
    invalid("an empty metadata key", metadata={"": ""}),
    invalid("a metadata value of 513 characters", "/metadata/a", "512", metadata={"a": "v" * 513}),
    invalid("metadata with a number", "/metadata/a", metadata={"a": 1}),
    invalid("nested metadata", "/metadata/a", metadata={"a": {"b": "c"}}),
    invalid("metadata as a list", "/metadata", metadata=[]),
    bulk("an empty bulk", "/jobs", {"jobs": []}),
    bulk("a bulk that is no list", "/jobs", {"jobs": {}}),
    bulk("a bulk with an extra field", "/batch", {"jobs": [cases.submission()], "batch": 1}),
    bulk("a single case as bulk", "/jobs", cases.submission()),
]

BAD_INPUTS = [
    no_number("NaN"),
    no_number("Infinity"),
    no_number("-Infinity"),
    number("1e999", "1e999"),
    number("-1e999", "-1e999"),
    number("an integer of 30 digits", "9" * 30),
    number("too large", str(VALUE)),
    number("too small", "-0.001"),
    number("null", "null"),
    number("true", "true"),
    number("a number as a string", '"17.99"'),
    number("a list", "[17.99]"),
    number("an object", "{}"),
    body(
        "an integer of 5,000 digits", 400, "body_not_json", b'{"model": "a", "input": ' + b"9" * 5000 + b"}"
    ),
    unfit("a missing field", "/input/mean_radius", cases.without("mean_radius"), *RANGE),
    unfit("an unknown field", "/input/mean_radios", cases.with_input(mean_radios=1.0), "mean_radius"),
    unfit("a field with a slash and a tilde", "/input/a~1b~0c", cases.with_input(**{"a/b~c": 1.0})),
    unfit("a field with a NUL", "/input/\x00", cases.with_input(**{"\x00": 1.0})),
    unfit("input as null", "/input", cases.submission(input=None)),
    unfit(
        "input as a list of numbers", "/input", cases.submission(input=list(cases.golden()["input"].values()))
    ),
    unfit("a file for a tabular model", "/input/data", cases.submission(input={"data": "aGk="})),
]

BAD_IMAGES = [
    image("zero bytes", "not_an_image", b""),
    image("text", "not_an_image", b"no image at all"),
    image("an animated GIF renamed", "not_an_image", cases.image(64, "GIF")),
    image("a PNG cut short", "truncated_image", cases.image(64)[:-100]),
    image("a PNG of its signature only", "truncated_image", cases.image(64)[:8]),
    image("a JPEG cut short", "truncated_image", cases.image(64, "JPEG")[:-50]),
    image("a damaged PNG", "damaged_image", cases.image(64)[:60] + bytes(20) + cases.image(64)[80:]),
    image("a palette PNG without a palette", "damaged_image", png(64, 64, bytes(65 * 64), colour=3)),
    image("a JPEG with half a scan", "damaged_image", half_a_scan(cases.image(300, "JPEG"))),
    image("an image bomb", "image_too_large", png(50_000, 50_000, bytes(1000))),
    image("a PNG with too few rows", "truncated_image", png(100, 100, bytes(1000))),
    image("a PNG whose sides are zero", "damaged_image", png(0, 0, b"")),
    image("a PNG whose sides are 2^32 - 1", "image_too_large", png(2**32 - 1, 2**32 - 1, b"")),
    image("an image that is too small", "image_too_small", cases.image(27)),
    picture("an image that is not base64", "/input/data", data="\N{SECTION SIGN}"),
    picture("an image as URL-safe base64", "/input/data", data="_-_-"),
    picture("data and upload_id", "/input", data="aGk=", upload_id=NO_SUCH),
    picture("numbers for an image model", "/input", **cases.golden()["input"]),
    picture("an upload id that is no UUID", "/input/upload_id", upload_id="../../master.key"),
    picture("an upload id as a number", "/input", upload_id=7),
    body(
        "an upload that is not there",
        404,
        "upload_not_found",
        {"model": cases.PNEUMONIA, "input": {"upload_id": NO_SUCH}},
    ),
    body(
        "an image over the limit",
        413,
        "body_too_large",
        cases.image_submission(bytes(INPUT_LIMIT_BYTES + 10)),
    ),
]

COMPRESSED = gzip.compress(json.dumps(cases.submission()).encode())

BAD_HEADERS = [
    header("a wrong content type", 415, "content_type_unsupported", Content_Type="text/plain"),
    header("a form", 415, "content_type_unsupported", Content_Type="application/x-www-form-urlencoded"),
    header("a content type that is none", 415, "content_type_unsupported", Content_Type="json"),
    header("an empty content type", 415, "content_type_unsupported", Content_Type=""),
    Bad(
        "a compressed body",
        415,
        "content_type_unsupported",
        COMPRESSED,
        headers=JSON | {"Content-Encoding": "gzip"},
    ),
    header("wait=x", 400, "header_invalid", Prefer="wait=x"),
    header("wait=-1", 400, "header_invalid", Prefer="wait=-1"),
    header("wait=1e9", 400, "header_invalid", Prefer="wait=1e9"),
    header("wait of nothing", 400, "header_invalid", Prefer="wait="),
    header("wait without a number", 400, "header_invalid", Prefer="wait"),
    header("wait=0.5", 400, "header_invalid", Prefer="wait=0.5"),
    header("wait of 100 digits", 400, "header_invalid", Prefer="wait=" + "9" * 100),
    header("a key with a space", 400, "header_invalid", Idempotency_Key="a b"),
    header("a key that is too long", 400, "header_invalid", Idempotency_Key="k" * 256),
    Bad(
        "no content type",
        415,
        "content_type_unsupported",
        json.dumps(cases.submission()).encode(),
        headers={},
    ),
    Bad(
        "wait=x on a read",
        400,
        "header_invalid",
        method="GET",
        path=f"/v1/jobs/{NO_SUCH}",
        headers={"Prefer": "wait=x"},
    ),
]

BAD_SIZES = [
    body("a body over the limit", 413, "body_too_large", b" " * (BODY_LIMIT_BYTES + 1)),
    body("a bulk over the limit", 413, "body_too_large", b" " * (BODY_LIMIT_BYTES + 1), path="/v1/jobs/bulk"),
]

BAD_QUERIES = [
    get("limit=0", 422, "request_invalid", "/v1/jobs?limit=0", "/limit"),
    get("limit=100000", 422, "request_invalid", "/v1/jobs?limit=100000", "/limit"),
    get("limit=-1", 422, "request_invalid", "/v1/jobs?limit=-1", "/limit"),
    get("limit=x", 422, "request_invalid", "/v1/jobs?limit=x", "/limit"),
    get("limit of 5,000 digits", 422, "request_invalid", "/v1/jobs?limit=" + "1" * 5000, "/limit"),
    get("an unknown parameter", 422, "request_invalid", "/v1/jobs?offset=3", "/offset"),
    get("a doubled parameter", 422, "request_invalid", "/v1/jobs?limit=3&limit=4", "/limit"),
    get("an unknown state", 422, "request_invalid", "/v1/jobs?state=done", "/state"),
    get("an unknown kind", 422, "request_invalid", "/v1/jobs?kind=prognosis", "/kind"),
    get("a malformed model", 422, "request_invalid", "/v1/jobs?model=%00", "/model"),
    get("an unknown version", 404, "model_not_found", f"/v1/jobs?model={cases.BREAST_CANCER}@9.9.9"),
    get("an empty subject", 422, "request_invalid", "/v1/jobs?subject=", "/subject"),
    get(
        "a time without an offset",
        422,
        "request_invalid",
        "/v1/jobs?created_after=2026-01-01T00:00:00",
        "/created_after",
    ),
    get("a time that is none", 422, "request_invalid", "/v1/jobs?created_before=never", "/created_before"),
    get("a time as a number", 422, "request_invalid", "/v1/jobs?created_after=2026", "/created_after"),
    get("a time past all times", 422, "request_invalid", "/v1/jobs?created_after=1e308", "/created_after"),
    get("an empty cursor", 400, "cursor_invalid", "/v1/jobs?cursor="),
    get("a cursor of noise", 400, "cursor_invalid", "/v1/jobs?cursor=AAAA"),
    get("a cursor that is no base64", 400, "cursor_invalid", "/v1/jobs?cursor=%00%FF"),
    get("a cursor of the right length", 400, "cursor_invalid", "/v1/jobs?cursor=" + "A" * 27),
    get("a cursor of 60,000 characters", 400, "cursor_invalid", "/v1/jobs?cursor=" + "A" * 60_000),
    get("a cursor of events that is bad", 400, "cursor_invalid", f"/v1/jobs/{NO_SUCH}/events?cursor=x"),
    get("a parameter of a list without pages", 422, "request_invalid", "/v1/models?limit=1", "/limit"),
]

BAD_PATHS = [
    get("an unknown path", 404, "not_found", "/v1/patients"),
    get("another version", 404, "not_found", "/v2/jobs"),
    get("the root", 404, "not_found", "/"),
    get("an id that is no UUID", 404, "not_found", "/v1/jobs/17"),
    get("an id with SQL in it", 404, "not_found", "/v1/jobs/'%20OR%201=1--"),
    get("an id with a NUL", 404, "not_found", "/v1/jobs/%00"),
    get("a path of 60,000 characters", 404, "not_found", "/v1/jobs/" + "a" * 60_000),
    get("a path out of the tree", 404, "not_found", "/docs/..%2f..%2fmaster.key"),
    get("a job that is not there", 404, "job_not_found", f"/v1/jobs/{NO_SUCH}"),
    get("events of no job", 404, "job_not_found", f"/v1/jobs/{NO_SUCH}/events"),
    Bad("a cancel of no job", 404, "job_not_found", path=f"/v1/jobs/{NO_SUCH}/cancel"),
    get("an upload read back", 405, "method_not_allowed", "/v1/uploads"),
    get("a cancel as GET", 405, "method_not_allowed", f"/v1/jobs/{NO_SUCH}/cancel"),
    Bad("DELETE of all jobs", 405, "method_not_allowed", method="DELETE"),
    Bad("PATCH of a job", 405, "method_not_allowed", b"{}", method="PATCH", path=f"/v1/jobs/{NO_SUCH}"),
    Bad("PUT of a model", 405, "method_not_allowed", b"{}", method="PUT", path="/v1/models/a"),
    Bad("a method that nobody knows", 405, "method_not_allowed", method="BREW"),
    Bad("TRACE", 405, "method_not_allowed", method="TRACE", headers={}),
]

ALL = [*BAD_JSON, *BAD_FIELDS, *BAD_INPUTS, *BAD_IMAGES, *BAD_HEADERS, *BAD_SIZES, *BAD_QUERIES, *BAD_PATHS]
