"""Pictures that a model makes up, over HTTP: the same file each time, marked as synthetic; what cannot be drawn is refused."""

import base64
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.acceptance.calls import Job, assert_problem, ended, pages, scored, submit_many
from tests.acceptance.stack import Stack

MODEL = "xray-generator"
LARGEST_SEED = 2**32 - 1


@pytest.fixture(scope="module")
def http(stack: Stack) -> Iterator[httpx.Client]:
    with stack.client(stack.new_key("drawing")) as client:
        yield client


def body(seed: int, label: str = "normal", **fields: Any) -> Job:
    return {"model": MODEL, "input": {"label": label, "seed": seed, **fields}}


def files(http: httpx.Client, job: Job) -> dict[str, bytes]:
    """What the artifacts of a job hold, by name."""
    found = {each["name"]: http.get(each["url"]) for each in job["result"]["artifacts"]}
    assert {answer.headers["content-type"] for answer in found.values()} == {"image/png"}
    return {name: answer.content for name, answer in found.items()}


def test_a_seed_gives_the_same_file_in_a_job_of_its_own_and_among_many(http: httpx.Client) -> None:
    seeds = [*range(10), LARGEST_SEED]
    many = submit_many(http, [body(seed) for seed in seeds[::-1]])
    together = [files(http, ended(http, job["id"])) for job in many][::-1]
    alone = files(http, scored(http, body(3)))
    assert alone == together[3]
    assert list(alone) == ["synthetic-3-normal.png"]
    three = files(http, scored(http, body(2, count=3)))
    assert three == together[2] | together[3] | together[4]
    assert len({content for each in together for content in each.values()}) == len(seeds)


def test_a_drawn_picture_is_marked_and_can_be_sent_on(http: httpx.Client) -> None:
    job = scored(http, body(7, "pneumonia"))
    assert job["result"]["synthetic"] is True
    assert job["kind"] == "generation"
    [content] = files(http, job).values()
    assert b"Synthetic\x00true" in content
    assert b"trainedAlgorithmicMedia" in content
    sent_on = {"model": "pneumonia-xray-28", "input": {"data": base64.b64encode(content).decode()}}
    answer = scored(http, sent_on)["result"]
    assert (answer["type"], answer["synthetic"]) == ("classification", True)
    assert job["id"] in {each["id"] for each in pages(http, "/v1/jobs", kind="generation")}


@pytest.mark.parametrize(
    ("wanted", "pointer", "code"),
    [
        (body(-1), "/input/seed", "out_of_range"),
        (body(LARGEST_SEED + 1), "/input/seed", "out_of_range"),
        (body(LARGEST_SEED, count=2), "/input/seed", "out_of_range"),
        (body(0, count=17), "/input/count", "out_of_range"),
        (body(0, "tuberculosis"), "/input/label", "not_allowed"),
        ({"model": MODEL, "input": {"label": "normal"}}, "/input/seed", "missing_field"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_the_field_to_change(
    http: httpx.Client, wanted: Job, pointer: str, code: str
) -> None:
    problem = assert_problem(http.post("/v1/jobs", json=wanted), 422, "input_invalid")
    assert [(each["pointer"], each["code"]) for each in problem["errors"]] == [(pointer, code)]
