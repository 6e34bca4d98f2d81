"""POST /v1/uploads, and jobs whose input is an upload."""

import hashlib
from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest

from tests.acceptance import cases
from tests.acceptance.calls import assert_problem, job_of, pages, scored


def uploaded(http: httpx.Client, content: bytes) -> str:
    answer = http.post("/v1/uploads", content=content, headers={"Content-Type": "image/png"})
    assert answer.status_code == 201, answer.text
    return str(job_of(answer)["id"])


def of_upload(upload_id: str, **fields: str) -> dict[str, object]:
    return {"model": cases.PNEUMONIA, "input": {"upload_id": upload_id}, **fields}


def test_an_upload_is_answered_with_its_size_and_digest(http: httpx.Client) -> None:
    content = cases.image(400)
    answer = http.post("/v1/uploads", content=content)
    assert answer.status_code == 201
    assert job_of(answer) == {
        "id": job_of(answer)["id"],
        "size_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def test_a_streamed_upload_of_announced_length_is_stored_whole(http: httpx.Client) -> None:
    parts = [bytes([number]) * 300_000 for number in range(10)]

    def stream() -> Iterator[bytes]:
        yield from parts

    answer = http.post("/v1/uploads", content=stream(), headers={"Content-Length": "3000000"})
    assert answer.status_code == 201, answer.text
    assert job_of(answer)["sha256"] == hashlib.sha256(b"".join(parts)).hexdigest()


def test_an_upload_of_unknown_length_is_refused(http: httpx.Client) -> None:
    answer = http.post("/v1/uploads", content=iter([b"part"]))
    assert (answer.status_code, answer.json()["code"]) == (411, "length_required")


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_an_uploaded_image_scores_as_the_same_image_in_the_request(http: httpx.Client, kind: str) -> None:
    content = cases.image(200, kind)
    by_id = scored(http, of_upload(uploaded(http, content)))["result"]
    assert by_id == scored(http, cases.image_submission(content))["result"]


def test_one_upload_serves_many_jobs(http: httpx.Client) -> None:
    upload_id = uploaded(http, cases.image())
    assert len({scored(http, of_upload(upload_id))["id"] for _ in range(3)}) == 3


def test_an_upload_of_another_tenant_does_not_exist(http: httpx.Client, stranger: httpx.Client) -> None:
    upload_id = uploaded(stranger, cases.image())
    subject = str(uuid4())
    answer = http.post("/v1/jobs", json=of_upload(upload_id, subject=subject))
    assert_problem(answer, 404, "upload_not_found")
    assert list(pages(http, "/v1/jobs", subject=subject)) == []
    missing = http.post("/v1/jobs", json=of_upload(str(uuid4())))
    assert job_of(missing) == job_of(answer), "the answer must not tell whether it exists elsewhere"


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "text/csv", "application/json", "odd"]
)
def test_the_raw_body_is_stored_whatever_its_content_type_says(http: httpx.Client, content_type: str) -> None:
    """The first is what `curl --data-binary @FILE` sends by itself."""
    content = b"a=1&b=%41+&c\r\n\x00\xff"
    answer = http.post("/v1/uploads", content=content, headers={"Content-Type": content_type})
    assert answer.status_code == 201, answer.text
    assert job_of(answer)["sha256"] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("kind", ["form-data", "mixed"])
def test_a_multipart_form_is_refused_with_how_to_send_it_instead(http: httpx.Client, kind: str) -> None:
    headers = {"Content-Type": f"multipart/{kind}; boundary=x"}
    problem = assert_problem(
        http.post("/v1/uploads", content=b"--x--", headers=headers), 415, "content_type_unsupported"
    )
    assert "--data-binary @FILE" in problem["detail"]


@pytest.mark.parametrize(
    ("content", "code"), [(b"no image", "not_an_image"), (cases.image()[:200], "truncated_image")]
)  # fmt: skip
def test_an_upload_that_is_no_image_is_refused_when_it_is_submitted(
    http: httpx.Client, content: bytes, code: str
) -> None:
    answer = http.post("/v1/jobs", json=of_upload(uploaded(http, content)))
    assert assert_problem(answer, 422, "input_invalid")["errors"][0]["code"] == code


def test_an_empty_upload_is_refused(http: httpx.Client) -> None:
    answer = http.post("/v1/uploads", content=b"")
    assert 400 <= answer.status_code < 500, answer.text
    assert_problem(answer, answer.status_code, job_of(answer)["code"])


def test_a_tabular_model_takes_no_upload(http: httpx.Client) -> None:
    body = cases.submission(input={"upload_id": uploaded(http, b"mean_radius,1")})
    assert_problem(http.post("/v1/jobs", json=body), 422, "input_invalid")
