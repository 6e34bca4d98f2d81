"""Nothing inside can be reached: each vector is sent to for real but for the socket, and who is connected to is noted.

What resolves to a public address is refused here for its URL alone, so a hole in either half shows.
"""

import asyncio
from ipaddress import ip_network

import pytest

from service.egress import EgressRules
from tests.unit.workers.receivers import NO_CONTENT, Receivers, Resolver
from tests.unit.workers.ssrf_vectors import (
    DISGUISED_HOSTS,
    INWARD_V4,
    INWARD_V6,
    MIXED_ANSWERS,
    OTHER_V4,
    PUBLIC_V4,
    PUBLIC_V6,
    REACHABLE_ANSWERS,
    REACHABLE_URLS,
    TWISTED_URLS,
)
from workers.webhooks.outbound import STANDARD_LIMITS, Answer, Limits, Outbound, SendFailed, SendFault

RULES = EgressRules()
NAME = "https://hooks.example.com/"
LOCAL = {"localhost": ["127.0.0.1", "::1"]}


def public(host: str) -> list[str]:
    return LOCAL.get(host, [PUBLIC_V4])


def send(
    loop: asyncio.AbstractEventLoop,
    receivers: Receivers,
    resolver: Resolver,
    *urls: str,
    rules: EgressRules = RULES,
    limits: Limits = STANDARD_LIMITS,
) -> list[Answer | SendFault]:
    """Send to each URL in turn from one Outbound; what was answered, or why nothing was."""

    async def one(outbound: Outbound, url: str) -> Answer | SendFault:
        try:
            return await outbound.post(url, {}, b"{}")
        except SendFailed as failed:
            return failed.code

    async def all_of_them() -> list[Answer | SendFault]:
        async with Outbound(rules, limits=limits, resolve=resolver, dial=receivers.dial) as outbound:
            return [await one(outbound, url) for url in urls]

    return loop.run_until_complete(all_of_them())


def bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def test_there_are_at_least_200_vectors_and_none_twice() -> None:
    tables = (INWARD_V4, INWARD_V6, MIXED_ANSWERS, DISGUISED_HOSTS, TWISTED_URLS)
    assert sum(len(set(table)) for table in tables) == sum(len(table) for table in tables) >= 200


@pytest.mark.parametrize("address", [*INWARD_V4, *INWARD_V6])
def test_a_name_that_resolves_inward_is_not_connected_to(
    address: str, loop: asyncio.AbstractEventLoop
) -> None:
    receivers = Receivers()
    assert send(loop, receivers, Resolver(lambda _: [address]), NAME) == [SendFault.REFUSED_ADDRESS]
    assert receivers.connected == []


@pytest.mark.parametrize("answers", MIXED_ANSWERS)
def test_a_name_that_resolves_inward_among_others_is_not_connected_to(
    answers: tuple[str, ...], loop: asyncio.AbstractEventLoop
) -> None:
    receivers = Receivers()
    [fault] = send(loop, receivers, Resolver(lambda _: list(answers)), NAME)
    assert fault is (SendFault.REFUSED_ADDRESS if answers else SendFault.UNRESOLVABLE)
    assert receivers.connected == []


@pytest.mark.parametrize("address", [*INWARD_V4, *INWARD_V6])
def test_an_inward_address_in_the_url_is_not_connected_to(
    address: str, loop: asyncio.AbstractEventLoop
) -> None:
    receivers = Receivers()
    assert send(loop, receivers, Resolver(public), f"https://{bracketed(address)}/") == [
        SendFault.URL_REFUSED
    ]
    assert receivers.connected == []


@pytest.mark.parametrize("host", DISGUISED_HOSTS)
def test_a_disguised_host_is_not_connected_to(host: str, loop: asyncio.AbstractEventLoop) -> None:
    receivers, resolver = Receivers(), Resolver(public)
    assert send(loop, receivers, resolver, f"https://{host}/") == [SendFault.URL_REFUSED]
    assert (receivers.connected, resolver.asked) == ([], [])


@pytest.mark.parametrize("url", TWISTED_URLS)
def test_a_twisted_url_leads_nowhere(url: str, loop: asyncio.AbstractEventLoop) -> None:
    receivers, resolver = Receivers(), Resolver(public)
    assert send(loop, receivers, resolver, url) == [SendFault.URL_REFUSED]
    assert (receivers.connected, resolver.asked) == ([], [])


@pytest.mark.parametrize(("url", "address", "port"), REACHABLE_URLS)
def test_a_public_receiver_is_connected_to(
    url: str, address: str, port: int, loop: asyncio.AbstractEventLoop
) -> None:
    receivers = Receivers()
    assert send(loop, receivers, Resolver(public), url) == [Answer(204, "", None)]
    assert receivers.connected == [(address, port)]


@pytest.mark.parametrize("address", REACHABLE_ANSWERS)
def test_a_name_that_resolves_to_a_public_address_is_connected_to_there(
    address: str, loop: asyncio.AbstractEventLoop
) -> None:
    receivers = Receivers()
    assert send(loop, receivers, Resolver(lambda _: [address]), NAME) == [Answer(204, "", None)]
    assert receivers.connected == [(address, 443)]


@pytest.mark.parametrize("inward", ["10.0.0.1", "127.0.0.1", "169.254.169.254", "::1", "fd00:ec2::254"])
def test_a_name_that_is_bound_anew_after_the_check_is_followed_nowhere(
    inward: str, loop: asyncio.AbstractEventLoop
) -> None:
    """One look-up a connection, and its answer is what is connected to; the next connection is judged by the next one."""
    answers = iter([PUBLIC_V4, inward, OTHER_V4])
    receivers, resolver = Receivers(), Resolver(lambda _: [next(answers)])
    answered = send(loop, receivers, resolver, NAME, NAME, NAME)
    assert answered == [Answer(204, "", None), SendFault.REFUSED_ADDRESS, Answer(204, "", None)]
    assert receivers.connected == [(PUBLIC_V4, 443), (OTHER_V4, 443)]
    assert len(resolver.asked) == 3


def test_when_an_address_is_down_the_next_checked_one_is_tried(loop: asyncio.AbstractEventLoop) -> None:
    receivers = Receivers(down=frozenset({PUBLIC_V6, OTHER_V4}))
    resolver = Resolver(lambda _: [PUBLIC_V6, OTHER_V4, PUBLIC_V4])
    assert send(loop, receivers, resolver, NAME) == [Answer(204, "", None)]
    assert receivers.connected == [(PUBLIC_V6, 443), (OTHER_V4, 443), (PUBLIC_V4, 443)]
    assert len(resolver.asked) == 1


def test_an_address_that_never_accepts_leaves_time_for_the_next_one(loop: asyncio.AbstractEventLoop) -> None:
    receivers = Receivers(silent=frozenset({OTHER_V4}))
    resolver = Resolver(lambda _: [OTHER_V4, PUBLIC_V4])
    limits = Limits(connect_s=0.05, total_s=20)
    assert send(loop, receivers, resolver, NAME, limits=limits) == [Answer(204, "", None)]
    assert receivers.connected == [(OTHER_V4, 443), (PUBLIC_V4, 443)]


def test_a_name_with_many_dead_addresses_makes_us_knock_at_four_of_them(
    loop: asyncio.AbstractEventLoop,
) -> None:
    addresses = [f"8.8.8.{number}" for number in range(100)]
    receivers = Receivers(down=frozenset(addresses))
    assert send(loop, receivers, Resolver(lambda _: addresses), NAME) == [SendFault.CONNECT_FAILED]
    assert [host for host, _ in receivers.connected] == addresses[:4]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_answer_and_is_not_followed(status: int, loop: asyncio.AbstractEventLoop) -> None:
    inward = b"https://169.254.169.254/latest/meta-data/"
    moved = b"HTTP/1.1 %d Moved\r\nLocation: %b\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % (
        status,
        inward,
    )
    receivers = Receivers(answer=moved)
    assert send(loop, receivers, Resolver(public), NAME) == [Answer(status, "", None)]
    assert receivers.connected == [(PUBLIC_V4, 443)]


def test_the_name_is_what_tls_and_the_host_header_name(loop: asyncio.AbstractEventLoop) -> None:
    receivers = Receivers()
    send(loop, receivers, Resolver(public), "https://hooks.example.com:8443/in?a=b")
    [line] = receivers.lines
    assert line.server_name == "hooks.example.com"
    assert line.sent.startswith(b"POST /in?a=b HTTP/1.1\r\nHost: hooks.example.com:8443\r\n")
    assert line.closed


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3"])
def test_an_opened_range_is_connected_to(address: str, loop: asyncio.AbstractEventLoop) -> None:
    rules = EgressRules(networks=(ip_network("10.0.0.0/8"),))
    receivers = Receivers()
    assert send(loop, receivers, Resolver(lambda _: [address]), NAME, rules=rules) == [Answer(204, "", None)]
    assert [host for host, _ in receivers.connected] == [
        address.replace("10.1.2.3", "a01:203") if ":" in address else address
    ]


@pytest.mark.parametrize("url", [*(f"https://{host}/" for host in DISGUISED_HOSTS), *TWISTED_URLS])
def test_behind_a_proxy_the_same_urls_are_refused(url: str, loop: asyncio.AbstractEventLoop) -> None:
    receivers = Receivers(answer=NO_CONTENT)
    rules = EgressRules(proxy="http://proxy.example.com:3128")
    assert send(loop, receivers, Resolver(public), url, rules=rules) == [SendFault.URL_REFUSED]
    assert receivers.connected == []


@pytest.mark.parametrize(
    ("scheme", "port", "named"), [("http", 3128, None), ("https", 3129, "proxy.example.com")]
)
def test_a_proxy_is_connected_to_by_its_name_and_port_and_spoken_to_as_its_url_says(
    scheme: str, port: int, named: str | None, loop: asyncio.AbstractEventLoop
) -> None:
    receivers = Receivers()
    rules = EgressRules(proxy=f"{scheme}://proxy.example.com:{port}", allow_http=True, ports=None)
    assert send(loop, receivers, Resolver(public), "http://hooks.example.com/", rules=rules) == [
        Answer(204, "", None)
    ]
    assert receivers.connected == [("proxy.example.com", port)]
    [line] = receivers.lines
    assert line.server_name == named
    assert line.tls is None or not line.tls.hostname_checks_common_name, "as strict as with receivers"


@pytest.mark.parametrize("proxy", ["socks5://proxy.example.com:1080", "https://", "proxy.example.com:3128"])
def test_a_proxy_that_is_no_http_or_https_url_is_refused_at_the_start(proxy: str) -> None:
    with pytest.raises(ValueError, match="not given as an http or https URL"):
        Outbound(EgressRules(proxy=proxy))
