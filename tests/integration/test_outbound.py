"""Sending to receivers on real sockets, most of them hostile: time, size, faults. Beside: reuse, TLS."""

import asyncio
import os
import socket
import struct
import sys
import time
from dataclasses import replace

import psutil
import pytest

from tests.integration.receiver import (
    GIB,
    HEAD,
    OK,
    Behaviour,
    Exchange,
    Receiver,
    answer_all,
    answering,
    endless,
    hang,
    on_a_loop,
    receiving,
)
from tests.integration.sending import PATIENT, SHORT, Answers, outbound, to, url_of
from workers.webhooks.connection import MAX_ANSWER_BYTES
from workers.webhooks.outbound import Answer, Limits, SendFailed, SendFault

KERNEL_BYTES = 16 * 2**20  # what the two sockets' buffers may take of an endless answer


async def post(receiver: Receiver, limits: Limits = PATIENT) -> Answer:
    async with outbound(limits) as sender:
        return await sender.post(url_of(receiver), {}, b"{}")


async def fault_of(behaviour: Behaviour, limits: Limits = PATIENT) -> SendFault:
    async with receiving(behaviour) as receiver:
        with pytest.raises(SendFailed) as failed:
            await post(receiver, limits)
        await receiver.gone()
        return failed.value.code


@pytest.fixture(scope="module")
def connects() -> list[tuple[str, int]]:
    """Every address that a socket of this process is connected to from here on, as the interpreter itself reports it."""
    seen: list[tuple[str, int]] = []

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if event == "socket.connect" and isinstance(arguments[1], tuple):
            seen.append(arguments[1][:2])

    sys.addaudithook(note)
    return seen


@pytest.mark.parametrize("status", [200, 202, 204, 400, 404, 410, 429, 500, 503])
@on_a_loop
async def test_a_status_is_an_answer_whatever_it_is(status: int) -> None:
    body = b"" if status == 204 else b"Content-Length: 7\r\n\r\nbecause"
    async with receiving(
        answering(b"HTTP/1.1 %d x\r\nRetry-After: 7\r\n" % status + (body or b"\r\n"))
    ) as receiver:
        assert await post(receiver) == Answer(status, "because" if body else "", 7.0)
    assert receiver.requests[0].startswith(
        b"POST /in HTTP/1.1\r\nHost: hooks.example.com:%d\r\n" % receiver.port
    )
    assert receiver.requests[0].endswith(b"\r\n\r\n{}")


@on_a_loop
async def test_a_large_request_arrives_whole() -> None:
    async with receiving(answer_all) as receiver, outbound() as sender:
        await sender.post(url_of(receiver), {}, bytes(5_000_000))
    assert receiver.requests[0].endswith(bytes(5_000_000))


@on_a_loop
async def test_a_receiver_that_hangs_is_left_when_the_time_is_over() -> None:
    began = time.monotonic()
    assert await fault_of(hang, SHORT) is SendFault.TIMED_OUT
    assert 0.5 < time.monotonic() - began < 5


@on_a_loop
async def test_a_receiver_that_takes_no_bytes_is_left_when_the_time_is_over() -> None:
    async def deaf(exchange: Exchange) -> None:
        await asyncio.sleep(5)

    async with receiving(deaf) as receiver, outbound(SHORT) as sender:
        with pytest.raises(SendFailed, match="timed_out"):
            await sender.post(url_of(receiver), {}, bytes(50_000_000))


@on_a_loop
async def test_a_head_that_drips_is_left_when_the_time_is_over() -> None:
    async def drip(exchange: Exchange) -> None:
        await exchange.drip(HEAD + b"X: " + b"a" * 1000, 0.05)

    began = time.monotonic()
    assert await fault_of(drip, SHORT) is SendFault.TIMED_OUT
    assert time.monotonic() - began < 5


@on_a_loop
async def test_a_body_that_drips_ends_with_the_time_and_is_an_answer() -> None:
    async def drip(exchange: Exchange) -> None:
        await exchange.request()
        await exchange.send(HEAD + b"Content-Length: 1000\r\n\r\n")
        await exchange.drip(b"a" * 1000, 0.05)

    began = time.monotonic()
    async with receiving(drip) as receiver:
        answer = await post(receiver, replace(SHORT, total_s=1.5))
        await receiver.gone()
    assert time.monotonic() - began < 5
    assert answer.status == 200
    assert set(answer.excerpt) == {"a"}


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (HEAD + b"Content-Length: %d\r\n\r\n" % GIB, b"a" * 65536),
        (HEAD + b"\r\n", b"a" * 65536),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"a" * 65536 + b"\r\n"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n" * 10000),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1;" + b"x" * 5000 + b"\r\na\r\n"),
    ],
)
@on_a_loop
async def test_a_gib_of_body_costs_no_memory_and_is_an_answer(head: bytes, piece: bytes) -> None:
    process = psutil.Process(os.getpid())
    async with receiving(endless(head, piece)) as receiver:
        await post(receiver)
        before = process.memory_info().rss
        answer = await post(receiver)
        grown = process.memory_info().rss - before
        await receiver.gone()
    assert answer.status == 200
    assert set(answer.excerpt) == {"a"}
    assert receiver.sent_bytes < 2 * KERNEL_BYTES
    assert grown < 8 * 2**20


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (HEAD, b"X: y\r\n" * 10000),
        (HEAD + b"X: ", b"a" * 65536),
        (b"", b"a" * 65536),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
        (b"", b"\r\n" * 30000),
    ],
)
@on_a_loop
async def test_a_head_without_end_is_left_after_its_start(head: bytes, piece: bytes) -> None:
    async with receiving(endless(head, piece)) as receiver:
        with pytest.raises(SendFailed, match="protocol_error"):
            await post(receiver)
        await receiver.gone()
    assert receiver.sent_bytes < KERNEL_BYTES


@on_a_loop
async def test_a_head_of_16_kib_is_read() -> None:
    headers = b"".join(b"X-%d: %s\r\n" % (number, b"a" * 1000) for number in range(15))
    async with receiving(answering(HEAD + headers + b"Content-Length: 0\r\n\r\n")) as receiver:
        assert await post(receiver) == Answer(200, "", None)
    assert len(headers) < MAX_ANSWER_BYTES


@on_a_loop
async def test_a_redirect_to_the_metadata_of_a_cloud_is_not_followed(connects: list[tuple[str, int]]) -> None:
    moved = b"HTTP/1.1 307 x\r\nLocation: http://169.254.169.254/latest/\r\nContent-Length: 0\r\n\r\n"
    del connects[:]
    async with receiving(answering(moved)) as receiver:
        assert await post(receiver) == Answer(307, "", None)
    assert connects == [("127.0.0.1", receiver.port)]


@on_a_loop
async def test_a_name_bound_anew_is_never_connected_to(connects: list[tuple[str, int]]) -> None:
    """Both addresses accept; only 127.0.0.1 is allowed. The second look-up, for a new connection, gives 127.0.0.2."""
    looked_up = [to("127.0.0.1"), to("127.0.0.2")]

    def resolve(host: str, port: int, family: int, kind: int) -> Answers:
        return looked_up.pop(0)(host, port, family, kind)

    del connects[:]
    async with (
        receiving(answering(OK)) as allowed,
        receiving(answering(OK), host="127.0.0.2", port=allowed.port) as inward,
        outbound(resolve=resolve) as sender,
    ):
        assert (await sender.post(url_of(allowed), {}, b"{}")).status == 200
        await allowed.gone()
        with pytest.raises(SendFailed, match="refused_address"):
            await sender.post(url_of(allowed), {}, b"{}")
    assert (allowed.connections, inward.connections) == (1, 0)
    assert connects == [("127.0.0.1", allowed.port)]


async def reset(exchange: Exchange) -> None:
    await exchange.request()
    linger = struct.pack("ii", 1, 0)
    exchange.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


@pytest.mark.parametrize(
    ("behaviour", "fault"),
    [
        (reset, SendFault.RESET),
        (answering(b""), SendFault.RESET),
        (answering(HEAD), SendFault.PROTOCOL_ERROR),
        (answering(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), SendFault.PROTOCOL_ERROR),
        (answering(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), SendFault.PROTOCOL_ERROR),
        (answering(b"HTTP/2 200\r\n\r\n"), SendFault.PROTOCOL_ERROR),
    ],
)
@on_a_loop
async def test_what_is_no_answer_is_a_fault(behaviour: Behaviour, fault: SendFault) -> None:
    assert await fault_of(behaviour) is fault


@on_a_loop
async def test_a_body_that_breaks_off_is_still_an_answer() -> None:
    async with receiving(answering(HEAD + b"Content-Length: 1000\r\n\r\nso far")) as receiver:
        assert await post(receiver) == Answer(200, "so far", None)


@on_a_loop
async def test_a_port_that_nobody_listens_on_is_told_apart() -> None:
    async with receiving(answer_all) as receiver:
        pass
    with pytest.raises(SendFailed, match="connect_failed"):
        await post(receiver)
