"""Artifacts of an answer: which can be listed, stored and downloaded by name, and what is said of the others."""

from typing import Any

import pytest

from models.pipelines import Answer, Artifact
from models.pipelines.artifacts import artifacts_fault


def fault(*artifacts: Artifact, **result: object) -> str | None:
    return artifacts_fault(Answer({"type": "thing", **result}, artifacts))


@pytest.mark.parametrize("name", ["mask.png", "0", "a-b_c.d", "a" * 64])
@pytest.mark.parametrize("media_type", ["image/png", "application/vnd.a+json", f"{'a' * 127}/{'b' * 127}"])
def test_artifacts_with_a_plain_name_and_a_media_type_are_taken(name: str, media_type: str) -> None:
    assert fault(Artifact("first", "text/plain", b""), Artifact(name, media_type, b"x")) is None


@pytest.mark.parametrize("name", ["", "Mask.png", ".mask", "-mask", "a" * 65, "a/b", "mask 1", "mask\n"])
def test_another_name_is_refused_and_not_quoted(name: str) -> None:
    reason = "an artifact has another name than [a-z0-9][a-z0-9._-]{0,63}"
    assert fault(Artifact("first", "text/plain", b""), Artifact(name, "image/png", b"x")) == reason


@pytest.mark.parametrize(
    "media_type", ["", "image", "image/", "/png", "image/PNG", "image/png; q=1", f"a/{'b' * 128}"]
)
def test_what_is_no_media_type_is_refused(media_type: str) -> None:
    reason = "the media type of artifact 1 is no type/subtype in lower case"
    assert fault(Artifact("mask.png", media_type, b"x")) == reason


def test_a_content_that_is_no_bytes_is_refused() -> None:
    content: Any = "text"
    reason = "the content of artifact 1 is no bytes"
    assert fault(Artifact("mask.png", "image/png", content)) == reason


def test_one_name_names_one_artifact() -> None:
    twice = [Artifact("mask.png", "image/png", b"x"), Artifact("mask.png", "image/png", b"x")]
    assert fault(*twice) == "several artifacts have the same name"


@pytest.mark.parametrize("artifacts", [(), (Artifact("mask.png", "image/png", b"x"),)])
def test_the_property_that_lists_artifacts_is_no_authors(artifacts: tuple[Artifact, ...]) -> None:
    reason = "the result has a property artifacts, in which artifacts are listed: choose another name"
    assert fault(*artifacts, artifacts=[]) == reason
    assert fault(*artifacts, artifact=[]) is None
