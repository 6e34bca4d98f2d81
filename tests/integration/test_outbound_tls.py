"""Sending encrypted, and through a proxy: whose certificate is believed, and who looks a name up."""

import asyncio
import base64
import ssl
import time
from dataclasses import replace
from pathlib import Path

import pytest

from service.egress import EgressRules
from tests.integration.authority import Authority
from tests.integration.receiver import (
    GIB,
    HEAD,
    NAME,
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
from tests.integration.sending import LOOPBACK, PATIENT, SHORT, to
from workers.webhooks.outbound import Answer, Limits, Outbound, SendFailed

ANSWERED = Answer(200, "ok", None)
CONNECTED = b"HTTP/1.1 200 Connection established\r\n\r\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.made(tmp_path_factory.mktemp("authority"))


def url_of(receiver: Receiver, host: str = NAME) -> str:
    return f"https://{host}:{receiver.port}/in"


async def post(
    receiver: Receiver,
    ca_file: Path | None,
    *,
    host: str = NAME,
    limits: Limits = PATIENT,
    rules: EgressRules = LOOPBACK,
) -> Answer:
    async with Outbound(rules, limits=limits, ca_file=ca_file, resolve=to("127.0.0.1")) as outbound:
        return await outbound.post(url_of(receiver, host), {}, b"{}")


async def fault_of(
    receiver: Receiver, ca_file: Path | None, *, host: str = NAME, limits: Limits = PATIENT
) -> str:
    with pytest.raises(SendFailed) as failed:
        await post(receiver, ca_file, host=host, limits=limits)
    await receiver.gone()
    return failed.value.code.value


@on_a_loop
async def test_a_receiver_with_a_certificate_for_its_name_is_sent_to_and_its_connection_kept(
    authority: Authority,
) -> None:
    names: list[str | None] = []
    tls = authority.server(NAME)
    tls.sni_callback = lambda _, name, __: names.append(name)
    async with (
        receiving(answer_all, tls=tls) as receiver,
        Outbound(LOOPBACK, limits=PATIENT, ca_file=authority.file, resolve=to("127.0.0.1")) as outbound,
    ):
        for _ in range(5):
            assert await outbound.post(url_of(receiver), {}, b"{}") == ANSWERED
    assert receiver.connections == 1
    assert names == [NAME]


@on_a_loop
async def test_a_receiver_with_a_certificate_for_its_address_is_sent_to(authority: Authority) -> None:
    async with receiving(answer_all, tls=authority.server("127.0.0.1")) as receiver:
        assert await post(receiver, authority.file, host="127.0.0.1") == ANSWERED


@on_a_loop
async def test_a_certificate_that_nobody_vouches_for_is_refused(authority: Authority, tmp_path: Path) -> None:
    async with receiving(answer_all, tls=authority.server(NAME)) as receiver:
        assert await fault_of(receiver, None) == "tls_failed"
        assert await fault_of(receiver, Authority.made(tmp_path, "stranger").file) == "tls_failed"
    assert receiver.requests == []


@pytest.mark.parametrize(
    ("names", "days", "common_name"),
    [
        (["other.example.com"], 1, NAME),
        (["example.com"], 1, NAME),
        (["127.0.0.1"], 1, NAME),
        (["*.hooks.example.com"], 1, NAME),
        ([], 1, NAME),
        ([NAME], -1, NAME),
    ],
)
@on_a_loop
async def test_a_certificate_for_another_name_or_time_is_refused(
    names: list[str], days: int, common_name: str, authority: Authority
) -> None:
    tls = authority.server(*names, days=days, common_name=common_name)
    async with receiving(answer_all, tls=tls) as receiver:
        assert await fault_of(receiver, authority.file) == "tls_failed"
    assert receiver.requests == []


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
@on_a_loop
async def test_a_receiver_that_speaks_no_tls_later_than_1_1_is_refused(authority: Authority) -> None:
    tls = authority.server(NAME)
    tls.set_ciphers("DEFAULT@SECLEVEL=0")
    tls.minimum_version = tls.maximum_version = ssl.TLSVersion.TLSv1_1
    async with receiving(answer_all, tls=tls) as receiver:
        assert await fault_of(receiver, authority.file) == "tls_failed"


async def leave(exchange: Exchange) -> None:
    await exchange.reader.read(1)


async def silent(exchange: Exchange) -> None:
    await exchange.reader.read()


@pytest.mark.parametrize(
    ("behaviour", "limits", "fault"),
    [
        (answering(OK), SHORT, "timed_out"),
        (leave, PATIENT, "tls_failed"),
        (silent, replace(PATIENT, connect_s=0.2), "timed_out"),
        (silent, replace(PATIENT, total_s=0.2), "timed_out"),
    ],
)
@on_a_loop
async def test_a_receiver_that_does_not_shake_hands_is_left(
    behaviour: Behaviour, limits: Limits, fault: str, authority: Authority
) -> None:
    began = time.monotonic()
    async with receiving(behaviour) as receiver:
        assert await fault_of(receiver, authority.file, limits=limits) == fault
    assert time.monotonic() - began < 10


@on_a_loop
async def test_a_gib_of_encrypted_body_is_left_after_its_start(authority: Authority) -> None:
    behaviour = endless(HEAD + b"Content-Length: %d\r\n\r\n" % GIB, b"a" * 65536)
    async with receiving(behaviour, tls=authority.server(NAME)) as receiver:
        assert (await post(receiver, authority.file)).excerpt == "a" * 1024
        await receiver.gone()
    assert receiver.sent_bytes < GIB / 64


@on_a_loop
async def test_an_encrypted_receiver_that_hangs_is_left_when_the_time_is_over(authority: Authority) -> None:
    async with receiving(hang, tls=authority.server(NAME)) as receiver:
        assert await fault_of(receiver, authority.file, limits=replace(PATIENT, total_s=0.3)) == "timed_out"


def behind(proxy: Receiver, credentials: str = "") -> EgressRules:
    return replace(LOOPBACK, networks=(), proxy=f"http://{credentials}127.0.0.1:{proxy.port}")


def tunnel(port: int, answer: bytes = CONNECTED) -> Behaviour:
    """A proxy that leads every CONNECT to a port of this machine."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def behave(exchange: Exchange) -> None:
        await exchange.request()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await exchange.send(answer)
        try:
            await asyncio.gather(pump(exchange.reader, writer), pump(reader, exchange.writer))
        finally:
            writer.transport.abort()

    return behave


@on_a_loop
async def test_a_proxy_is_given_the_name_and_never_sees_the_request(authority: Authority) -> None:
    async with (
        receiving(answer_all, tls=authority.server(NAME)) as receiver,
        receiving(tunnel(receiver.port)) as proxy,
        Outbound(
            behind(proxy, "me:s%40crt@"), limits=PATIENT, ca_file=authority.file, resolve=to()
        ) as outbound,
    ):
        for _ in range(3):
            assert await outbound.post(url_of(receiver), {}, b"{}") == ANSWERED
    assert (proxy.connections, receiver.connections, len(receiver.requests)) == (1, 1, 3)
    [asked] = proxy.requests
    assert asked.startswith(b"CONNECT hooks.example.com:%d HTTP/1.1\r\n" % receiver.port)
    assert b"\r\nProxy-Authorization: Basic " + base64.b64encode(b"me:s@crt") in asked
    assert b"Proxy-Authorization" not in receiver.requests[0]


@on_a_loop
async def test_an_unencrypted_request_is_handed_to_the_proxy_whole() -> None:
    async with (
        receiving(answer_all) as proxy,
        Outbound(behind(proxy), limits=PATIENT, resolve=to()) as outbound,
    ):
        assert await outbound.post("http://hooks.example.com:8080/in?a=b", {}, b"{}") == ANSWERED
    assert proxy.requests[0].startswith(b"POST http://hooks.example.com:8080/in?a=b HTTP/1.1\r\n")
    assert b"\r\nHost: hooks.example.com:8080\r\n" in proxy.requests[0]


@on_a_loop
async def test_what_a_proxy_says_in_clear_does_not_pass_for_the_receivers_answer(
    authority: Authority,
) -> None:
    forged = b"HTTP/1.1 204 No Content\r\n\r\n"
    async with (
        receiving(answer_all, tls=authority.server(NAME)) as receiver,
        receiving(tunnel(receiver.port, CONNECTED + forged)) as proxy,
    ):
        [answered] = await asyncio.gather(
            post(receiver, authority.file, rules=behind(proxy)), return_exceptions=True
        )
    assert str(answered) in {str(ANSWERED), "tls_failed"}


@on_a_loop
async def test_a_certificate_is_checked_through_a_proxy_too(authority: Authority) -> None:
    async with (
        receiving(answer_all, tls=authority.server("other.example.com")) as receiver,
        receiving(tunnel(receiver.port)) as proxy,
    ):
        with pytest.raises(SendFailed, match="tls_failed"):
            await post(receiver, authority.file, rules=behind(proxy))
        await proxy.gone()


@pytest.mark.parametrize(
    ("behaviour", "fault"),
    [
        (
            answering(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"),
            "proxy_failed",
        ),
        (answering(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"), "proxy_failed"),
        (answering(b"no proxy\r\n\r\n"), "protocol_error"),
        (hang, "timed_out"),
    ],
)
@on_a_loop
async def test_a_proxy_that_does_not_connect_is_told_apart(behaviour: Behaviour, fault: str) -> None:
    async with receiving(behaviour) as proxy:
        with pytest.raises(SendFailed, match=fault):
            await post(
                Receiver(port=443), None, rules=behind(proxy), limits=SHORT if behaviour is hang else PATIENT
            )
        await proxy.gone()


@on_a_loop
async def test_a_proxy_that_is_down_is_told_apart() -> None:
    async with receiving(answer_all) as proxy:
        pass
    with pytest.raises(SendFailed, match="proxy_failed"):
        await post(Receiver(port=443), None, rules=behind(proxy))


@on_a_loop
async def test_proxies_of_the_environment_are_not_used(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        receiving(answer_all, tls=authority.server(NAME)) as receiver,
        receiving(tunnel(receiver.port)) as proxy,
    ):
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
            monkeypatch.setenv(name.lower(), f"http://127.0.0.1:{proxy.port}")
        assert await post(receiver, authority.file) == ANSWERED
    assert (proxy.connections, receiver.connections) == (0, 1)


@pytest.mark.parametrize("proxy", ["proxy:3128", "socks5://proxy:1080", "http://", ""])
def test_a_proxy_that_is_no_http_url_is_refused_at_the_start(proxy: str) -> None:
    with pytest.raises(ValueError, match="proxy"):
        Outbound(EgressRules(proxy=proxy))
