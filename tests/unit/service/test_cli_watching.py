"""`medqueue jobs watch` against a small API in memory: a text as it comes, over several connections."""

import json
from collections.abc import Callable

import httpx
import pytest

from service.api.http.event_streams import message
from service.cli import main
from service.cli.client import ApiClient
from service.cli.output import Output
from service.cli.target import Target
from service.cli.watching import ABSTAINED, VOID, watch
from tests.unit.service.test_cli_commands import ID, KEY, Api
from tests.unit.service.test_cli_webhooks import stream

Captured = pytest.CaptureFixture[str]
ROUTE = f"GET /v1/jobs/{ID}/text"


def appended(place: str, text: str) -> str:
    return message(place, "text.appended", json.dumps({"text": text}))


def ended(state: str = "succeeded", *, abstained: bool = False) -> str:
    return message("ended", f"job.{state}", json.dumps({"state": state, "abstained": abstained}))


@pytest.fixture
def watched() -> Callable[..., int]:
    def run(*streams: str, as_json: bool = False) -> int:
        api = Api()
        api.on(f"GET /v1/jobs/{ID}", {"id": ID, "result": {"text": None, "abstain_reason": "it is not sure"}})
        api.on(ROUTE, *(stream(f"retry: 0\n\n{each}") for each in streams))
        with ApiClient(Target("http://api.test", KEY), httpx.MockTransport(api)) as client:
            code = watch(client, Output(as_json=as_json), ID, pause=lambda _: None)
        lasts = [each.headers.get("Last-Event-ID") for each in api.asked if each.url.path.endswith("text")]
        assert lasts == [None, *(each.rpartition("id: ")[2].split("\n")[0] for each in streams[:-1])]
        return code

    return run


def test_a_text_is_shown_piece_by_piece_over_several_connections(
    watched: Callable[..., int], capsys: Captured
) -> None:
    assert (
        watched(appended("1-2-0", "no") + appended("1-8-0", " fever"), appended("1-9-0", ".") + ended()) == 0
    )
    shown = capsys.readouterr()
    assert shown.out == "no fever.\n"
    assert "The job has ended: succeeded." in shown.err


def test_a_text_that_begins_again_is_said_to_be_void(watched: Callable[..., int], capsys: Captured) -> None:
    void = message("0-0-00000000", "text.discarded", "{}")
    assert watched(appended("1-2-0", "no") + void + appended("2-5-0", "fever") + ended()) == 0
    shown = capsys.readouterr()
    assert shown.out == f"no\n{VOID}\nfever\n"


@pytest.mark.parametrize("state", ["failed", "canceled", "expired", "quarantined"])
def test_a_job_that_does_not_succeed_ends_with_1(watched: Callable[..., int], state: str) -> None:
    assert watched(ended(state)) == 1


def test_an_abstention_is_told_with_its_reason_where_the_text_was(
    watched: Callable[..., int], capsys: Captured
) -> None:
    """Through a pipe, too: a text that was taken back stood there as if it had succeeded."""
    void = message("0-0-00000000", "text.discarded", "{}")
    assert watched(appended("1-2-0", "no") + void + ended(abstained=True)) == 0
    shown = capsys.readouterr()
    assert shown.out == f"no\n{VOID}\n{ABSTAINED.format(reason='it is not sure')}\n"
    assert "succeeded" not in shown.err
    assert watched(ended(abstained=True), as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["abstain_reason"] == "it is not sure"


def test_with_json_each_event_is_a_line(watched: Callable[..., int], capsys: Captured) -> None:
    assert watched(appended("1-4-0", "a\nb\x1b") + ended(), as_json=True) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"event": "text.appended", "text": "a\nb\x1b"},
        {"event": "job.succeeded", "state": "succeeded", "abstained": False},
    ]


def test_what_could_steer_the_terminal_is_not_written(watched: Callable[..., int], capsys: Captured) -> None:
    watched(appended("1-4-0", "no\x1b[2J") + ended())
    assert "\x1b" not in capsys.readouterr().out


def test_an_unknown_job_is_refused(capsys: Captured) -> None:
    api = Api()
    api.on(ROUTE, {"code": "job_not_found", "detail": "Unknown."}, status=404)
    words = ["jobs", "watch", ID, "--url", "http://api.test", "--key", KEY]
    assert main(words, transport=httpx.MockTransport(api)) == 4
    assert "job_not_found" in capsys.readouterr().err
