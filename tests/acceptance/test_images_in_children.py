"""Images are read in children of the API and of workers: a costly one is refused, and nobody else waits."""

import base64
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import httpx
import psutil
import pytest

from tests.acceptance.calls import assert_problem, scored
from tests.acceptance.stack import Stack
from tests.unit.models.example_images import chunk, gradient, inserted, png

MODEL = "pneumonia-xray-28"
SMALL = png(gradient(28, 28))


@pytest.fixture(scope="module")
def http(stack: Stack) -> Iterator[httpx.Client]:
    with stack.client(stack.new_key("images")) as client:
        yield client


def costly() -> bytes:
    """A PNG of 8 MB with texts that unpack to 8 GB, which are looked through for half a minute."""
    packed = b"Comment\0\0" + zlib.compress(b"d" * (16 * 2**20 - 1), 9)
    return inserted(SMALL, 33, chunk(b"zTXt", packed) * 500)


def readers(stack: Stack) -> list[psutil.Process]:
    """The warm processes below the API's."""
    below = psutil.Process(stack.pid("api")).children(recursive=True)
    return [each for each in below if "service.images.child" in each.cmdline()]


def test_the_api_reads_images_in_children_and_loads_no_decoder(stack: Stack, http: httpx.Client) -> None:
    job = scored(http, {"model": MODEL, "input": {"data": base64.b64encode(SMALL).decode()}})
    assert job["state"] == "succeeded"
    children = {each.pid for reader in readers(stack) for each in (reader, *reader.children())}
    assert children
    api = psutil.Process(stack.pid("api"))
    for each in (api, *api.children(recursive=True)):
        has_decoder = "_imaging" in Path(f"/proc/{each.pid}/maps").read_text()
        assert has_decoder == (each.pid in children)


def test_a_costly_image_is_refused_while_others_are_scored(stack: Stack, http: httpx.Client) -> None:
    answers: list[httpx.Response] = []
    upload = http.post("/v1/uploads", content=costly()).json()["id"]
    before = [each.pid for each in psutil.Process(stack.pid("api")).children()]

    def submit() -> None:
        answers.append(http.post("/v1/jobs", json={"model": MODEL, "input": {"upload_id": upload}}))

    attack, waits = Thread(target=submit), []
    with stack.client(stack.new_key("neighbor")) as other:
        attack.start()
        while attack.is_alive():
            began = time.monotonic()
            scored(other, {"model": MODEL, "input": {"data": base64.b64encode(SMALL).decode()}})
            waits.append(time.monotonic() - began)
    attack.join()
    problem = assert_problem(answers[0], 422, "input_invalid")
    assert [each["code"] for each in problem["errors"]] == ["input_too_costly"]
    assert len(waits) > 3
    assert sorted(waits)[len(waits) // 2] < 2
    assert [each.pid for each in psutil.Process(stack.pid("api")).children()] == before
