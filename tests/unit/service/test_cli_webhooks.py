"""`medqueue webhooks` against a small API in memory: what it sends and shows, and how `listen` forwards and resumes."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import parse_qs

import click
import httpx
import pytest
from standardwebhooks import Webhook

from service.cli import main, root
from service.cli.client import ApiClient
from service.cli.errors import ApiProblem
from service.cli.feed import Message, follow, messages
from service.cli.forwarding import Forwarder
from service.cli.options import Moment
from service.cli.target import Target
from tests.unit.service.test_cli_commands import ID, KEY, Api

Run = Callable[..., int]
Captured = pytest.CaptureFixture[str]
ENDPOINT: dict[str, Any] = {
    "id": ID, "url": "https://example.org/hook", "description": "ward", "event_types": ["job.failed"],
    "state": "enabled", "disabled_because": None, "failures": 0,
}  # fmt: skip
DELIVERY: dict[str, Any] = {
    "id": ID, "endpoint_id": ID, "event_id": ID, "event_type": "job.failed", "job_id": None, "state": "dead",
    "tries": 10, "created_at": "2026-11-22T04:00:00Z", "next_try_at": None, "finished_at": "2026-11-25T04:00:00Z",
}  # fmt: skip
BODY = json.dumps({"type": "job.failed", "data": {"job_id": "j-1"}})
EVENT = f"id: {ID}\nevent: job.failed\ndata: {BODY}\n\n"


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def medqueue(api: Api) -> Run:
    def run(*words: str) -> int:
        command = ["webhooks", *words, "--url", "http://api.test", "--key", KEY]
        return main(command, transport=httpx.MockTransport(api))

    return run


def test_endpoints_are_listed(api: Api, medqueue: Run, capsys: Captured) -> None:
    api.on("GET /v1/webhook-endpoints", {"items": [ENDPOINT], "next_cursor": None})
    assert medqueue("list") == 0
    shown = capsys.readouterr().out.splitlines()[1]
    assert shown.split() == [ID, "enabled", "https://example.org/hook", "job.failed", "0", "ward"]


def test_an_endpoint_is_registered_and_its_secret_shown_once(
    api: Api, medqueue: Run, capsys: Captured
) -> None:
    api.on("POST /v1/webhook-endpoints", ENDPOINT | {"secret": "whsec_x"}, status=201)
    words = ("--event", "job.failed", "--event", "job.overdue", "--description", "ward")
    assert medqueue("create", "https://example.org/hook", *words) == 0
    assert api.body() == {
        "url": "https://example.org/hook",
        "event_types": ["job.failed", "job.overdue"],
        "description": "ward",
    }
    written = capsys.readouterr()
    assert "secret       whsec_x\n" in written.out
    assert "whsec_" not in written.err


@pytest.mark.parametrize(
    "words",
    [
        ("create", "https://example.org"),
        ("create", "https://example.org", "--event", "job.done"),
        ("delete", "no-uuid"),
        ("replay",),
        ("replay", "--endpoint", ID),
        ("replay", "--since", "2026-01-01"),
        ("replay", ID, "--since", "2026-01-01"),
        ("replay", "--endpoint", ID, "--since", "2026-01-01", "--state", "queued"),
        ("listen",),
        ("listen", "--forward", "localhost:3000"),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_sends_nothing(
    api: Api, medqueue: Run, words: tuple[str, ...]
) -> None:
    assert medqueue(*words) == 2
    assert api.asked == []


def test_an_endpoint_is_deleted_pinged_and_its_secret_rotated(
    api: Api, medqueue: Run, capsys: Captured
) -> None:
    api.on(f"DELETE /v1/webhook-endpoints/{ID}", httpx.Response(204))
    api.on(f"POST /v1/webhook-endpoints/{ID}/ping", {"delivery_id": "d-1"}, status=202)
    rotated = {"secret": "whsec_y", "previous_valid_until": "2026-11-23T04:00:00Z"}
    api.on(f"POST /v1/webhook-endpoints/{ID}/rotate-secret", rotated)
    assert [medqueue(word, ID, "--json") for word in ("delete", "ping", "rotate")] == [0, 0, 0]
    shown = capsys.readouterr().out
    assert all(words in shown for words in ('"state": "deleted"', '"delivery_id": "d-1"', "whsec_y"))


def test_a_delete_of_what_is_not_there_ends_with_4(api: Api, medqueue: Run, capsys: Captured) -> None:
    problem = {"code": "endpoint_not_found", "detail": "There is no such webhook endpoint."}
    api.on(f"DELETE /v1/webhook-endpoints/{ID}", problem, status=404)
    assert medqueue("delete", ID) == 4
    assert "[endpoint_not_found]" in capsys.readouterr().err


def test_deliveries_are_listed_by_endpoint_state_and_job(api: Api, medqueue: Run, capsys: Captured) -> None:
    api.on("GET /v1/webhook-deliveries", {"items": [DELIVERY], "next_cursor": None})
    assert medqueue("deliveries", "--endpoint", ID, "--state", "dead", "--job", ID) == 0
    asked = parse_qs(api.asked[0].url.query.decode())
    assert asked == {"endpoint": [ID], "state": ["dead"], "job": [ID], "limit": ["20"]}
    assert capsys.readouterr().out.splitlines()[1].split()[:4] == [ID, "dead", "job.failed", "-"]


def test_one_delivery_is_sent_again(api: Api, medqueue: Run, capsys: Captured) -> None:
    api.on(f"POST /v1/webhook-deliveries/{ID}/replay", DELIVERY | {"state": "queued"})
    assert medqueue("replay", ID) == 0
    assert "state        queued\n" in capsys.readouterr().out


def test_a_range_is_sent_again(api: Api, medqueue: Run) -> None:
    api.on(f"POST /v1/webhook-endpoints/{ID}/replay", {"replayed": 3, "planned": 1})
    words = (
        "--since",
        "2026-11-22T04:00:00",
        "--until",
        "2026-11-23",
        "--state",
        "delivered",
        "--state",
        "dead",
    )
    assert medqueue("replay", "--endpoint", ID, *words) == 0
    assert api.body() == {
        "since": "2026-11-22T04:00:00+00:00",
        "until": "2026-11-23T00:00:00+00:00",
        "states": ["delivered", "dead"],
    }


@pytest.mark.parametrize(
    ("told", "sent"),
    [
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00+00:00"),
        ("2026-11-22T04:16:24.802169Z", "2026-11-22T04:16:24.802169+00:00"),
        ("2026-11-22T04:16:24.8Z", "2026-11-22T04:16:24.800000+00:00"),
        ("2026-11-22T05:16:24+01:00", "2026-11-22T04:16:24+00:00"),
        ("2026-11-22 04:16:24+00:00", "2026-11-22T04:16:24+00:00"),
        ("2026-11-22T04:16", "2026-11-22T04:16:00+00:00"),
        ("2026-11-22", "2026-11-22T00:00:00+00:00"),
    ],
)
@pytest.mark.parametrize("option", ["--since", "--until"])
def test_times_are_taken_as_the_api_and_the_tables_write_them(
    api: Api, medqueue: Run, option: str, told: str, sent: str
) -> None:
    api.on(f"POST /v1/webhook-endpoints/{ID}/replay", {"replayed": 0, "planned": 0})
    since = () if option == "--since" else ("--since", "2026-01-01")
    assert medqueue("replay", "--endpoint", ID, *since, option, told) == 0
    found = datetime.fromisoformat(api.body()[option[2:]])
    assert found == datetime.fromisoformat(sent)


def test_every_time_of_the_command_line_is_taken_in_the_same_forms() -> None:
    """One type of option for all of them: click's own knows neither zones nor fractions."""
    times = [
        (path, option)
        for path, command in commands()
        for option in command.params
        if option.human_readable_name.rpartition("_")[2] in {"since", "until", "deadline", "before", "after"}
        and not isinstance(option.type, click.types.FloatRange)
        and option.type is not click.UUID  # `--after` of a job
    ]
    assert len(times) >= 6
    assert [(path, option.name) for path, option in times if not isinstance(option.type, Moment)] == []


def commands(group: click.Command = root.medqueue, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command with its words."""
    if isinstance(group, click.Group):
        for name, command in group.commands.items():
            yield from commands(command, f"{path} {name}")
    else:
        yield path, group


def test_a_stream_is_read_message_by_message_and_one_that_breaks_off_is_none() -> None:
    text = f"retry: 5000\nid: @7\n\n: still here\n\nid: a\nevent: x\ndata: 1\ndata:2\n\n{EVENT}id: b\ndata: 3"
    assert list(messages(iter(text.split("\n")))) == [
        Message("@7", "", "", 5000),
        Message("@7", "", "", None),
        Message("a", "x", "1\n2", None),
        Message(ID, "job.failed", BODY, None),
    ]


@pytest.fixture
def client(api: Api) -> Iterator[ApiClient]:
    with ApiClient(Target("http://api.test", KEY), httpx.MockTransport(api)) as opened:
        yield opened


def stream(text: str) -> httpx.Response:
    return httpx.Response(200, text=text, headers={"Content-Type": "text/event-stream"})


class EndOfTestError(Exception):
    """Ends a follower that would go on for ever."""


def followed(client: ApiClient, pauses: int, *types: str) -> tuple[list[str | None], list[float], list[str]]:
    """The ids of events, until so many pauses have been made; the pauses, and what was noted."""
    ids: list[str | None] = []
    paused: list[float] = []
    notes: list[str] = []

    def pause(seconds: float) -> None:
        paused.append(seconds)
        if len(paused) == pauses:
            raise EndOfTestError

    with suppress(EndOfTestError):
        for message in follow(partial(client.follow, types), note=notes.append, pause=pause):
            ids.append(message.id)  # noqa: PERF401  kept when the pause raises
    assert len(paused) == pauses
    return ids, paused, notes


def test_a_stream_that_ends_is_resumed_behind_its_last_event(api: Api, client: ApiClient) -> None:
    api.on("GET /v1/events", stream(f"retry: 1000\nid: @7\n\n{EVENT}"), stream("retry: 5000\n\n"), stream(""))
    ids, paused, notes = followed(client, 3, "job.failed", "job.expired")
    assert ids == [ID]
    assert [request.headers.get("Last-Event-ID") for request in api.asked] == [None, ID, ID]
    assert api.asked[0].url.params["types"] == "job.failed,job.expired"
    assert paused == [1.0, 5.0, 5.0]
    assert notes == []


def test_a_stream_without_events_is_resumed_where_it_began(api: Api, client: ApiClient) -> None:
    api.on("GET /v1/events", stream("retry: 1000\nid: @7\n\n"), stream(EVENT))
    followed(client, 2)
    assert [request.headers.get("Last-Event-ID") for request in api.asked] == [None, "@7"]
    assert "types" not in api.asked[0].url.params


def test_a_service_that_is_away_is_asked_again_ever_less_often_and_told_of_once(
    api: Api, client: ApiClient
) -> None:
    away = httpx.ConnectError("no")
    api.on("GET /v1/events", away, away, httpx.Response(503, json={}), stream(EVENT), away)
    ids, paused, notes = followed(client, 5)
    assert ids == [ID]
    assert paused == [2.0, 4.0, 8.0, 1.0, 2.0]
    assert len(notes) == 2


def test_a_refusal_ends_the_following(api: Api, client: ApiClient) -> None:
    api.on("GET /v1/events", {"code": "key_invalid", "detail": "Check it."}, status=401)
    with pytest.raises(ApiProblem):
        next(follow(partial(client.follow, ()), note=print))


def test_an_event_is_forwarded_as_a_signed_webhook() -> None:
    received: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        received.append(request)
        return httpx.Response(302, headers={"Location": "http://elsewhere"})

    with Forwarder("http://localhost:3000/hook", httpx.MockTransport(answer)) as forwarder:
        outcome = forwarder.send(Message(ID, "job.failed", BODY, None))
    assert (outcome.job_id, outcome.status, outcome.error) == ("j-1", 302, None)
    (request,) = received
    assert request.content == BODY.encode()
    assert request.headers["webhook-id"] == ID
    Webhook(forwarder.secret).verify(request.content, dict(request.headers))


def test_a_receiver_that_is_away_is_told_by_the_kind_of_fault() -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("http://localhost:3000/?token=hunter2")

    with Forwarder("http://localhost:3000", httpx.MockTransport(answer)) as forwarder:
        outcome = forwarder.send(Message(ID, "job.failed", BODY, None))
    assert (outcome.status, outcome.error) == (None, "ConnectError")


def test_each_listener_signs_with_a_secret_of_its_own() -> None:
    with Forwarder("http://localhost") as first, Forwarder("http://localhost") as second:
        assert first.secret != second.secret
