"""What is made of an answer, and what is sent. Who is connected to: test_outbound_ssrf; real sockets: integration."""

import asyncio
import gc
import threading
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Never

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.egress import EgressRules
from tests.unit.workers.receivers import Receivers, Resolver
from workers.webhooks.outbound import (
    Answer,
    Limits,
    Outbound,
    SendFailed,
    SendFault,
    excerpt_of,
    retry_after_s,
)

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
URL = "https://hooks.example.com/in"


def send(
    loop: asyncio.AbstractEventLoop, receivers: Receivers, headers: dict[str, str], body: bytes
) -> Answer:
    async def one() -> Answer:
        resolver = Resolver(lambda _: ["93.184.215.14"])
        async with Outbound(EgressRules(), resolve=resolver, dial=receivers.dial) as outbound:
            return await outbound.post(URL, headers, body)

    return loop.run_until_complete(one())


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        ("86401", 86400.0),
        ("9" * 20, 86400.0),
        ("Sun, 01 Mar 2026 12:02:00 GMT", 120.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
        ("Sun, 01 Mar 2099 12:00:00 GMT", 86400.0),
        ("Sunday, 01-Mar-26 12:02:00 GMT", 120.0),
        ("Sun Mar  1 12:02:00 2026", 120.0),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("9" * 21, None),
        ("\u0661", None),
        ("Sun, 99 Mar 2026 12:02:00 GMT", None),
        ("Sun, 01 Mar 99999 12:02:00 GMT", None),
        ("120, 120", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_a_day_at_most(value: str, seconds: float | None) -> None:
    assert retry_after_s(value, NOW) == seconds


@given(st.text(alphabet=st.characters(max_codepoint=255)))
@example("Mon, 01 Jan 0001 00:00:00 +2359")
@example("Fri, 31 Dec 9999 23:59:59 -2359")
def test_any_retry_after_is_a_time_within_a_day_or_none(value: str) -> None:
    seconds = retry_after_s(value, NOW)
    assert seconds is None or 0 <= seconds <= 86400


@pytest.mark.parametrize(
    ("body", "excerpt"),
    [
        (b"", ""),
        (b'{"ok": true}', '{"ok": true}'),
        ("schön\r\n\tgut".encode(), "schön gut"),
        (b"a\x00b\x1b[31mc\x7fd", "ab[31mcd"),
        ("a\u202eb\u200bc\u2028d".encode(), "abc d"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"a" * 5000, "a" * 1024),
    ],
)
def test_an_excerpt_is_one_printable_line_of_a_kib(body: bytes, excerpt: str) -> None:
    assert excerpt_of(body) == excerpt


@given(st.binary(max_size=2000))
def test_any_body_gives_a_printable_excerpt(body: bytes) -> None:
    excerpt = excerpt_of(body)
    assert excerpt.isprintable()
    assert len(excerpt) <= 1024


def test_a_request_is_framed_by_us_and_carries_the_callers_headers(loop: asyncio.AbstractEventLoop) -> None:
    receivers = Receivers()
    send(loop, receivers, {"Content-Type": "application/json", "webhook-id": "msg_1"}, b'{"a":1}')
    [line] = receivers.lines
    assert line.sent == (
        b"POST /in HTTP/1.1\r\n"
        b"Host: hooks.example.com\r\n"
        b"Content-Length: 7\r\n"
        b"User-Agent: medqueue/" + version("medqueue").encode() + b"\r\n"
        b"Accept-Encoding: identity\r\n"
        b"Content-Type: application/json\r\n"
        b"webhook-id: msg_1\r\n"
        b"\r\n"
        b'{"a":1}'
    )


@pytest.mark.parametrize(
    "name", ["Host", "content-length", "Transfer-Encoding", "Connection", "ACCEPT-ENCODING"]
)
def test_a_header_that_frames_the_request_cannot_be_given(name: str, loop: asyncio.AbstractEventLoop) -> None:
    receivers = Receivers()
    send(loop, receivers, {name: "s3cret"}, b"{}")
    assert b"s3cret" not in receivers.lines[0].sent


@pytest.mark.parametrize("headers", [{"X": "a\r\nY: b"}, {"X\r\nY": "a"}, {"X": "\x00"}])
def test_a_header_cannot_smuggle_another_in(headers: dict[str, str], loop: asyncio.AbstractEventLoop) -> None:
    receivers = Receivers()
    with pytest.raises(SendFailed) as failed:
        send(loop, receivers, headers, b"{}")
    assert failed.value.code is SendFault.PROTOCOL_ERROR
    assert receivers.lines[0].sent == b""


def test_a_date_until_which_to_stay_away_counts_from_now(loop: asyncio.AbstractEventLoop) -> None:
    head = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nRetry-After: %b\r\n\r\n"
    past, far = (head % f"Sun, 01 Mar {year} 12:00:00 GMT".encode() for year in (2020, 2099))
    assert send(loop, Receivers(answer=past), {}, b"{}") == Answer(503, "", 0.0)
    assert send(loop, Receivers(answer=far), {}, b"{}") == Answer(503, "", 86400.0)


def test_a_kept_connection_that_has_ended_costs_a_repetition_over_a_new_one(
    loop: asyncio.AbstractEventLoop,
) -> None:
    receivers = Receivers(answer=b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async def two() -> list[Answer]:
        resolver = Resolver(lambda _: ["93.184.215.14"])
        async with Outbound(EgressRules(), resolve=resolver, dial=receivers.dial) as outbound:
            return [await outbound.post(URL, {}, b"{}") for _ in range(2)]

    assert loop.run_until_complete(two()) == [Answer(200, "", None)] * 2
    first, second = receivers.lines
    assert (first.sent.count(b"POST "), second.sent.count(b"POST ")) == (2, 1)


def test_a_look_up_that_fails_after_its_time_is_nobodys_error(loop: asyncio.AbstractEventLoop) -> None:
    told: list[dict[str, object]] = []
    late = threading.Event()

    def resolve(*question: object) -> Never:
        late.wait()
        raise OSError

    async def one() -> None:
        limits = Limits(resolve_s=0.01)
        async with Outbound(EgressRules(), limits=limits, resolve=resolve) as outbound:
            with pytest.raises(SendFailed) as failed:
                await outbound.post(URL, {}, b"{}")
            assert failed.value.code is SendFault.UNRESOLVABLE
            late.set()
            while outbound._names._under_way:  # noqa: ASYNC110 - it sets no event
                await asyncio.sleep(0.001)

    loop.set_exception_handler(lambda _, context: told.append(context))
    loop.run_until_complete(asyncio.wait_for(one(), 20))
    gc.collect()
    loop.set_exception_handler(None)
    assert told == []


def test_a_packed_body_is_not_unpacked(loop: asyncio.AbstractEventLoop) -> None:
    packed = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08"
    assert send(loop, Receivers(answer=packed), {}, b"{}") == Answer(200, "\ufffd", None)


@given(
    st.one_of(
        st.binary(max_size=300),
        st.binary(max_size=300).map(lambda rest: b"HTTP/1.1 200 OK\r\n" + rest),
        st.binary(max_size=300).map(
            lambda rest: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + rest
        ),
        st.integers(0, 999).map(lambda status: b"HTTP/1.1 %03d x\r\nRetry-After: x\r\n\r\nbody" % status),
    )
)
@example(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
@example(b"HTTP/1.1 200 OK\r\nRetry-After: \xff\r\n\r\n")
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n")
@example(b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n")
@example(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n")
@example(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 5000 + b"\r\n")
def test_whatever_comes_back_is_an_answer_or_a_fault(loop: asyncio.AbstractEventLoop, answer: bytes) -> None:
    receivers = Receivers(answer=answer)
    with suppress(SendFailed):
        assert 100 <= send(loop, receivers, {}, b"{}").status <= 999
    assert all(line.closed for line in receivers.lines)
