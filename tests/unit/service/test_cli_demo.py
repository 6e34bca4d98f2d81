"""The demo's parts: what it takes from the caller's environment, and what it demands of an answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from uuid import uuid4

import pytest

from service.cli.client import ApiClient
from service.cli.demo.cases import KnownCase, bundled_models, known_cases
from service.cli.demo.errors import DemoFailed
from service.cli.demo.receiver import Received
from service.cli.demo.stack import RECEIVER_HERE, environment
from service.cli.demo.steps import Tour
from service.config import Settings
from service.egress import target_of
from service.errors import UrlRefused
from service.tenant_grants import granted_to
from service.webhooks.messages import headers, new_secret
from service.webhooks.rules import rules_of
from tests.factories import BREAST_CANCER

CASE = KnownCase("m", "row 1", {}, {"label": "benign", "probabilities": {"benign": 0.9}}, 1e-4)


def job(state: str = "succeeded", label: str = "benign", probability: float = 0.9) -> dict[str, object]:
    return {"id": "j", "state": state, "result": {"label": label, "probabilities": {"benign": probability}}}


def test_no_setting_of_the_caller_reaches_the_demo_but_those_of_the_gpu() -> None:
    given = {"PATH": "/bin", "MEDQUEUE_DATABASE_URL": "postgresql://theirs", "MEDQUEUE_PROVIDER": "cuda"}
    assert environment(given) == {"PATH": "/bin", "MEDQUEUE_PROVIDER": "cuda"} | RECEIVER_HERE


def test_the_demos_stack_sends_webhooks_to_this_machine_whatever_the_caller_has_set() -> None:
    given = {"MEDQUEUE_WEBHOOK_ALLOWED_NETWORKS": "10.0.0.0/8", "MEDQUEUE_WEBHOOK_PROXY": "http://proxy:3128"}
    settings = Settings.from_environment(environment(given))
    rules = rules_of(settings, granted_to(settings.webhook_network_grants, "default", is_first=True))
    assert target_of("http://127.0.0.1:49152/hook", rules).origin == "http://127.0.0.1:49152"
    with pytest.raises(UrlRefused):
        target_of("http://10.0.0.1/hook", rules)


SECRET, OTHER_SECRET = new_secret(), new_secret()


def received(secret: str, *, said: bytes = b'{"type":"job.succeeded"}', late_s: float = 0) -> Received:
    """A webhook that was signed with `secret` so many seconds ago."""
    at = datetime.now(UTC) - timedelta(seconds=late_s)
    signed = headers(uuid4(), b'{"type":"job.succeeded"}', [secret], at=at)
    return Received({name.lower(): value for name, value in signed.items()}, said)


def test_a_webhook_with_a_good_signature_says_what_it_says() -> None:
    assert received(SECRET).verified(SECRET) == {"type": "job.succeeded"}


@pytest.mark.parametrize(
    "webhook",
    [received(OTHER_SECRET), received(SECRET, said=b'{"type":"job.failed"}'), received(SECRET, late_s=600)],
    ids=["signed by another", "changed on the way", "sent again later"],
)
def test_a_webhook_that_is_not_what_it_should_be_ends_the_demo(webhook: Received) -> None:
    with pytest.raises(DemoFailed, match="not signed"):
        webhook.verified(SECRET)


def test_the_known_answer_is_accepted_within_what_a_gpu_may_differ() -> None:
    CASE.verify(job(probability=0.9009))


@pytest.mark.parametrize(
    "answer", [job("failed"), job("queued"), job(label="malignant"), job(probability=0.95)], ids=str
)
def test_any_other_answer_ends_the_demo(answer: dict[str, object]) -> None:
    with pytest.raises(DemoFailed):
        CASE.verify(answer)


def test_each_bundled_model_has_known_cases() -> None:
    assert BREAST_CANCER in bundled_models()
    assert all(case.expected for name in bundled_models() for case in known_cases(name))


def test_a_model_that_does_not_come_along_ends_the_demo() -> None:
    with pytest.raises(DemoFailed, match="nonsense"):
        known_cases("nonsense")


class OneFile:
    """An API that serves one artifact."""

    @contextmanager
    def file(self, path: str) -> Iterator[SimpleNamespace]:
        assert path == "/v1/jobs/j/artifacts/overlay.png"
        yield SimpleNamespace(blocks=[b"pic", b"ture"])


def test_pictures_of_a_result_are_written_into_the_wanted_folder_alone(tmp_path: Path) -> None:
    listed = [
        {"name": "overlay.png", "media_type": "image/png"},
        {"name": "masks.json", "media_type": "application/json"},
    ]
    drawn = {"id": "j", "state": "succeeded", "result": {"artifacts": listed}}
    api = cast(ApiClient, OneFile())
    [file] = Tour(api, lambda _: None, tmp_path / "new").keep_pictures(CASE, drawn)
    assert (file.name, file.read_bytes()) == ("m-overlay.png", b"picture")
    assert Tour(api, lambda _: None).keep_pictures(CASE, drawn) == []
    assert Tour(api, lambda _: None, tmp_path / "none").keep_pictures(CASE, job()) == []
    assert not (tmp_path / "none").exists()
