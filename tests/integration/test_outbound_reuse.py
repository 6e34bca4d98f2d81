"""Connections that are kept and used again, and many tries at once: those that hang hold nobody up."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.integration.receiver import (
    GIB,
    HEAD,
    NAME,
    OK,
    Exchange,
    answer_all,
    answering,
    hang,
    on_a_loop,
    receiving,
    until,
)
from tests.integration.sending import PATIENT, Answers, outbound, url_of
from workers.webhooks.outbound import Answer, Limits


@on_a_loop
async def test_a_connection_is_used_again() -> None:
    async with receiving(answer_all) as receiver, outbound() as sender:
        for _ in range(20):
            assert await sender.post(url_of(receiver), {}, b"{}") == Answer(200, "ok", None)
        assert (receiver.connections, len(receiver.requests)) == (1, 20)
        await sender.aclose()
        await receiver.gone()


@pytest.mark.parametrize("limits", [replace(PATIENT, idle_s=0.1), replace(PATIENT, age_s=0.1)])
@on_a_loop
async def test_a_connection_past_its_time_is_not_used_again(limits: Limits) -> None:
    async with receiving(answer_all) as receiver, outbound(limits) as sender:
        await sender.post(url_of(receiver), {}, b"{}")
        await asyncio.sleep(0.15)
        await sender.post(url_of(receiver), {}, b"{}")
    assert receiver.connections == 2


@on_a_loop
async def test_a_connection_that_nobody_uses_is_closed_without_a_next_request() -> None:
    async with receiving(answer_all) as receiver, outbound(replace(PATIENT, idle_s=0.1)) as sender:
        await sender.post(url_of(receiver), {}, b"{}")
        await receiver.gone()


@on_a_loop
async def test_a_connection_that_the_receiver_closed_at_rest_is_not_used_again() -> None:
    async with receiving(answering(OK)) as receiver, outbound() as sender:
        for _ in range(3):
            assert (await sender.post(url_of(receiver), {}, b"{}")).status == 200
            await receiver.gone()
    assert (receiver.connections, len(receiver.requests)) == (3, 3)


@on_a_loop
async def test_what_comes_unasked_is_not_taken_for_the_next_answer() -> None:
    async def talkative(exchange: Exchange) -> None:
        await exchange.request()
        await exchange.send(OK)
        await asyncio.sleep(0.05)
        await exchange.send(b"HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n")
        await exchange.reader.read()

    async with receiving(talkative) as receiver, outbound() as sender:
        for _ in range(2):
            assert await sender.post(url_of(receiver), {}, b"{}") == Answer(200, "ok", None)
            await asyncio.sleep(0.15)
    assert receiver.connections == 2


@on_a_loop
async def test_a_receiver_that_floods_a_connection_at_rest_is_not_read() -> None:
    async def flood(exchange: Exchange) -> None:
        await exchange.request()
        await exchange.send(OK)
        await asyncio.sleep(0.1)
        for _ in range(GIB // 65536):
            await exchange.send(bytes(65536))

    async with receiving(flood) as receiver, outbound() as sender:
        await sender.post(url_of(receiver), {}, b"{}")
        await asyncio.sleep(0.5)
        assert len(OK) < receiver.sent_bytes < GIB / 64


@on_a_loop
async def test_a_connection_belongs_to_one_port_of_a_name() -> None:
    async with receiving(answer_all) as one, receiving(answer_all) as other, outbound() as sender:
        for receiver in (one, other, one, other):
            await sender.post(url_of(receiver), {}, b"{}")
    assert (len(one.requests), len(other.requests)) == (2, 2)
    assert (one.connections, other.connections) == (1, 1)


@pytest.mark.parametrize(("size_bytes", "connections"), [(4096, 1), (4097, 2), (10_000, 2)])
@on_a_loop
async def test_a_body_longer_than_4_kib_costs_the_connection_instead(
    size_bytes: int, connections: int
) -> None:
    async def long_winded(exchange: Exchange) -> None:
        while True:
            await exchange.request()
            await exchange.send(HEAD + b"Content-Length: %d\r\n\r\n" % size_bytes + b"a" * size_bytes)

    async with receiving(long_winded) as receiver, outbound() as sender:
        for _ in range(2):
            assert await sender.post(url_of(receiver), {}, b"{}") == Answer(200, "a" * 1024, None)
    assert receiver.connections == connections


@on_a_loop
async def test_a_kept_connection_that_is_closed_on_the_next_request_costs_one_repetition() -> None:
    async def once(exchange: Exchange) -> None:
        await exchange.request()
        await exchange.send(OK)
        await exchange.request()

    async with receiving(once) as receiver, outbound() as sender:
        for _ in range(2):
            assert (await sender.post(url_of(receiver), {}, b"{}")).status == 200
    assert (receiver.connections, len(receiver.requests)) == (2, 3)


@on_a_loop
async def test_receivers_that_hang_hold_nobody_up() -> None:
    async with receiving(hang) as hung, receiving(answer_all) as well, outbound() as sender:
        hanging = [asyncio.create_task(sender.post(url_of(hung), {}, b"{}")) for _ in range(50)]
        await until(lambda: len(hung.requests) == 50)

        async def several() -> list[Answer]:
            return [await sender.post(url_of(well), {}, b"{}") for _ in range(10)]

        answers = await asyncio.gather(*(several() for _ in range(20)))
        assert answers == [[Answer(200, "ok", None)] * 10] * 20
        assert well.connections <= 20
        assert not any(task.done() for task in hanging)
        for task in hanging:
            task.cancel()
        await hung.gone()


@on_a_loop
async def test_a_try_that_is_given_up_leaves_no_connection_behind() -> None:
    async with receiving(hang) as receiver, outbound() as sender:
        trying = asyncio.create_task(sender.post(url_of(receiver), {}, b"{}"))
        await until(lambda: len(receiver.requests) == 1)
        trying.cancel()
        await receiver.gone()


@pytest.fixture
def let_go() -> Iterator[threading.Event]:
    """Set afterwards, so that no thread of a test outlives it."""
    event = threading.Event()
    yield event
    event.set()


@on_a_loop
async def test_a_name_that_takes_long_is_unresolvable_and_holds_one_thread_and_nobody_else_up(
    let_go: threading.Event,
) -> None:
    asked: list[str] = []

    def resolve(host: str, *rest: int) -> Answers:
        asked.append(host)
        if host.startswith("slow"):
            let_go.wait(30)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", rest[0]))]

    async with receiving(answer_all) as receiver, outbound(replace(PATIENT, resolve_s=1), resolve) as sender:
        slow = f"http://slow.example.com:{receiver.port}/"
        waiting = [asyncio.create_task(sender.post(slow, {}, b"{}")) for _ in range(50)]
        assert (await sender.post(url_of(receiver), {}, b"{}")).status == 200
        faults = await asyncio.gather(*waiting, return_exceptions=True)
        assert {str(fault) for fault in faults} == {"unresolvable"}
        assert sorted(asked) == [NAME, "slow.example.com"]
        let_go.set()
        assert (await sender.post(slow, {}, b"{}")).status == 200
