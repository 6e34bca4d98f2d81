"""Which URLs and addresses we may send to. What is really connected to: workers/test_outbound_ssrf."""

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.egress import (
    MAX_URL_LENGTH,
    SPECIAL_V4,
    SPECIAL_V6,
    EgressRules,
    Resolve,
    Target,
    may_connect_to,
    resolved,
    target_of,
)
from service.errors import HostUnresolvable, UrlRefused

RULES = EgressRules()
ON_PREMISE = EgressRules(
    allow_http=True, ports=None, networks=(ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
)
PROXIED = EgressRules(proxy="http://proxy.example.com:3128")
OUTSIDE_GLOBAL_V6 = [ip_network(network) for network in ("::/3", "4000::/2", "8000::/1")]
PUBLIC = "93.184.215.14"
PUBLIC_V6 = "2606:2800:21f:cb07:6820:80da:af6b:8b2c"


def answering(*addresses: str) -> Resolve:
    """A resolver that gives these addresses for every name."""

    def resolve(
        host: str, port: int, family: int, kind: int
    ) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        return [(socket.AF_INET, kind, 6, "", (address, port)) for address in addresses]

    return resolve


def failing(host: str, port: int, family: int, kind: int) -> list[tuple[int, int, int, str, tuple[str, int]]]:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def reason_of(url: str, rules: EgressRules = RULES) -> str:
    with pytest.raises(UrlRefused) as refused:
        target_of(url, rules)
    return refused.value.reason


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://hooks.example.com", Target("https", "hooks.example.com", 443, "/")),
        ("HTTPS://Hooks.Example.COM:443/A", Target("https", "hooks.example.com", 443, "/A")),
        ("https://hooks.example.com:8443/in", Target("https", "hooks.example.com", 8443, "/in")),
        ("https://hooks.example.com?x=1", Target("https", "hooks.example.com", 443, "/?x=1")),
        ("https://hooks.example.com/a//b/../c", Target("https", "hooks.example.com", 443, "/a//b/../c")),
        ("https://hooks.example.com/ä?q=ö%20", Target("https", "hooks.example.com", 443, "/%C3%A4?q=%C3%B6%20")),
        ('https://hooks.example.com/"<>^`{|}', Target("https", "hooks.example.com", 443, "/%22%3C%3E%5E%60%7B%7C%7D")),
        ("https://bücher.example/", Target("https", "xn--bcher-kva.example", 443, "/")),
        ("https://bücher-bus.example/", Target("https", "xn--bcher-bus-q9a.example", 443, "/")),
        ("https://हिन्दी९.example/", Target("https", "xn--j2bd4cyah0f5l.example", 443, "/")),
        ("https://xn--bcher-kva.example/", Target("https", "xn--bcher-kva.example", 443, "/")),
        ("https://1and1.example/", Target("https", "1and1.example", 443, "/")),
        (f"https://{PUBLIC}/", Target("https", PUBLIC, 443, "/")),
        ("https://[2606:2800:021F:CB07:6820:80DA:AF6B:8B2C]/", Target("https", PUBLIC_V6, 443, "/")),
    ],
)  # fmt: skip
def test_a_url_is_read_into_one_spelling(url: str, target: Target) -> None:
    assert target_of(url, RULES) == target


@pytest.mark.parametrize(
    ("longest", "reason"),
    [
        ("https://hooks.example.com/" + "a" * (MAX_URL_LENGTH - 26), "2048 characters"),
        ("https://" + "a." * 125 + "com", "host or port is malformed"),
    ],
)
def test_a_url_and_its_host_may_be_as_long_as_is_said_and_no_longer(longest: str, reason: str) -> None:
    target_of(longest, RULES)
    assert reason in reason_of(f"{longest}m")


def test_where_every_port_is_open_any_that_there_is_may_be_used() -> None:
    anywhere = EgressRules(ports=None)
    assert target_of("https://hooks.example.com:65535/", anywhere).port == 65535
    assert "use one of 1 to 65535" in reason_of("https://hooks.example.com:65536/", anywhere)


@pytest.mark.parametrize(
    ("target", "origin"),
    [
        (Target("https", "a.example", 443, "/"), "https://a.example"),
        (Target("https", "a.example", 8443, "/"), "https://a.example:8443"),
        (Target("http", "a.example", 443, "/"), "http://a.example:443"),
        (Target("http", "a.example", 80, "/"), "http://a.example"),
        (Target("https", PUBLIC_V6, 8443, "/"), f"https://[{PUBLIC_V6}]:8443"),
    ],
)
def test_an_origin_names_the_port_unless_the_scheme_implies_it(target: Target, origin: str) -> None:
    assert target.origin == origin
    assert target.host_header == origin.partition("://")[2]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://hooks.example.com/", "not encrypted"),
        ("https://hooks.example.com:80/", "port is not allowed; use one of 443, 8443"),
        ("https://hooks.example.com:65536/", "port is not allowed"),
        ("https://hooks.example.com:0/", "port is malformed"),
        ("https://hooks.example.com:0443/", "port is malformed"),
        ("https://hooks.example.com:/", "port is malformed"),
        ("https://hooks.example.com:\uff14\uff14\uff13/", "port is malformed"),
        ("https://me@hooks.example.com/", "user name"),
        ("https://me:secret@hooks.example.com/", "user name"),
        ("https://hooks.example.com/#top", "fragment"),
        ("https://hooks.example.com/" + "a" * MAX_URL_LENGTH, "2048 characters"),
        ("https://hooks.example.com/a b", "spaces"),
        (" https://hooks.example.com/", "spaces"),
        ("https://hooks.example.com/\r\nX: y", "control characters"),
        ("https://hooks.example.com\\@10.0.0.1/", "backslashes"),
        ("https://hooks.ex\u00adample.com/", "control characters"),
        ("https://hooks.example.com/\udcff", "control characters"),
        ("ftp://hooks.example.com/", "malformed"),
        ("//hooks.example.com/", "malformed"),
        ("https:/hooks.example.com/", "malformed"),
        ("https:///hooks.example.com/", "malformed"),
        ("", "malformed"),
        ("https://exa%6dple.com/", "host or port is malformed"),
        ("https://hooks_.example.com/", "host or port is malformed"),
        ("https://-a.example.com/", "host or port is malformed"),
        ("https://a..example.com/", "host or port is malformed"),
        ("https://hooks.example.com./", "host or port is malformed"),
        ("https://" + "a" * 64 + ".example.com/", "host or port is malformed"),
        ("https://" + "ü" * 64 + ".example.com/", "host or port is malformed"),
        ("https://" + "a." * 127 + "com/", "host or port is malformed"),
        ("https://faß.example/", "host or port is malformed"),
        ("https://BÜCHER.example/", "host or port is malformed"),
        ("https://\u212aelvin.example/", "host or port is malformed"),
        ("https://\uff11\uff12\uff17.0.0.1/", "host or port is malformed"),
        ("https://127\u30020\u30020\u30021/", "host or port is malformed"),
        ("https://[::1/", "host or port is malformed"),
        ("https://[fe80::1%25eth0]/", "host or port is malformed"),
        ("https://[:::]/", "ambiguous spelling"),
        ("https://[127.0.0.1]/", "ambiguous spelling"),
        ("https://0177.0.0.1/", "ambiguous spelling"),
        ("https://0x7f.1/", "ambiguous spelling"),
        ("https://2130706433/", "ambiguous spelling"),
        ("https://1.2.3.4.5/", "ambiguous spelling"),
        ("https://a.example.0x/", "ambiguous spelling"),
        ("https://10.0.0.1/", "private or special-purpose"),
        ("https://[::ffff:10.0.0.1]/", "private or special-purpose"),
        ("https://localhost/", "this machine"),
        ("https://a.localhost/", "this machine"),
        ("https://receiver/", "local network"),
        ("https://pacs.local/", "local network"),
        ("https://metadata.google.internal/", "local network"),
        ("https://nas.home.arpa/", "local network"),
    ],
)
def test_a_url_that_may_not_be_called_is_refused_with_the_reason(url: str, reason: str) -> None:
    assert reason in reason_of(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://me:s3cret@hooks.example.com/",
        "https://10.0.0.1/?s3cret",
        "https://hooks.example.com:1/?s3cret",
    ],
)
def test_a_refusal_quotes_nothing_of_the_url(url: str) -> None:
    with pytest.raises(UrlRefused) as refused:
        target_of(url, RULES)
    assert "s3cret" not in f"{refused.value!r} {refused.value.detail}"
    assert "example" not in refused.value.detail


@given(st.text(max_size=40))
@example("127.0.0.1 ")
@example("0x7f000001")
@example("\u2460\u2461\u2466.0.0.1")
def test_no_spelling_of_a_host_reaches_an_address_that_is_not_judged(host: str) -> None:
    """Whatever inet_aton would make of what we hand to a resolver, it is the address that was judged."""
    try:
        target = target_of(f"https://{host}/", RULES)
    except UrlRefused:
        return
    try:
        meant = IPv4Address(socket.inet_aton(target.host))
    except OSError:
        return
    assert target.host == str(meant)
    assert may_connect_to(meant, RULES)


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_no_address_that_python_calls_private_or_reserved_may_be_connected_to(address: IPv4Address) -> None:
    if may_connect_to(address, RULES):
        assert address.is_global
        assert not address.is_multicast
        assert not address.is_reserved


@given(st.integers(0, 2**128 - 1).map(IPv6Address))
def test_no_ipv6_address_outside_global_unicast_may_be_connected_to(address: IPv6Address) -> None:
    if may_connect_to(address, RULES):
        assert address.is_global
        assert 0x2000 <= int(address) >> 112 <= 0x3FFF


@pytest.mark.parametrize("network", [*SPECIAL_V4, *SPECIAL_V6, *OUTSIDE_GLOBAL_V6])
def test_both_ends_of_every_registered_range_are_refused(network: IPv4Network | IPv6Network) -> None:
    assert not may_connect_to(network[0], RULES)
    assert not may_connect_to(network[-1], RULES)


@pytest.mark.parametrize(
    "beside",
    [
        "1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
        "168.63.129.15", "168.63.129.17", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0",
        "192.0.1.0", "192.0.3.0", "192.31.195.255", "192.31.197.0", "192.52.192.255", "192.52.194.0",
        "192.88.98.255", "192.88.100.0", "192.167.255.255", "192.169.0.0", "192.175.47.255", "192.175.49.0",
        "198.17.255.255", "198.20.0.0", "198.51.99.255", "198.51.101.0", "203.0.112.255", "203.0.114.0",
        "223.255.255.255", "2001:200::", "2001:db7:ffff::", "2001:db9::", "2003::", "2620:4f:7fff::",
        "2620:4f:8001::", "3ffd::", "2000::1",
    ],
)  # fmt: skip
def test_the_neighbours_of_special_ranges_are_public(beside: str) -> None:
    assert may_connect_to(ip_address(beside), RULES)


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("fd00::1", True),
        ("192.168.0.1", False),
        ("::ffff:192.168.0.1", False),
        ("fc00::1", False),
        (PUBLIC, True),
        (f"::ffff:{PUBLIC}", False),
    ],
)
def test_a_range_is_opened_by_name_and_nothing_beside_it(address: str, allowed: bool) -> None:
    assert may_connect_to(ip_address(address), ON_PREMISE) is allowed


def test_an_opened_ipv6_range_opens_no_ipv4_address_inside_it() -> None:
    rules = EgressRules(networks=(ip_network("::/0"),))
    assert may_connect_to(ip_address("fe80::1"), rules)
    assert not may_connect_to(ip_address("::ffff:10.0.0.1"), rules)


def test_an_address_with_a_zone_is_refused() -> None:
    assert not may_connect_to(ip_address("2606:4700::1%eth0"), RULES)


@pytest.mark.parametrize(
    "url", ["http://receiver:8080/", "https://pacs.internal/", "https://10.0.0.7:9000/", "https://[fd00::7]/"]
)
def test_with_a_range_open_receivers_of_the_local_network_may_be_called(url: str) -> None:
    assert target_of(url, ON_PREMISE).origin == url.removesuffix("/")


def test_localhost_stays_closed_until_loopback_is_opened() -> None:
    assert "this machine" in reason_of("https://localhost/", ON_PREMISE)
    loopback = EgressRules(networks=(ip_network("127.0.0.0/8"),))
    assert target_of("https://localhost/", loopback).host == "localhost"


def test_all_addresses_of_a_name_are_given_once_and_in_order() -> None:
    target = target_of("https://hooks.example.com/", RULES)
    found = resolved(target, RULES, answering(PUBLIC_V6, PUBLIC, PUBLIC_V6))
    assert found == (IPv6Address(PUBLIC_V6), IPv4Address(PUBLIC))


def test_a_resolver_is_asked_for_stream_addresses_of_either_family_at_the_targets_port() -> None:
    asked: list[tuple[object, ...]] = []

    def resolve(*question: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        asked.append(question)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (PUBLIC, 8443))]

    resolved(target_of("https://hooks.example.com:8443/", RULES), RULES, resolve)
    assert asked == [("hooks.example.com", 8443, socket.AF_UNSPEC, socket.SOCK_STREAM)]


@pytest.mark.parametrize("bad", ["10.0.0.1", "::1", "169.254.169.254", "fe80::1%eth0", "no address"])
@pytest.mark.parametrize("first", [True, False])
def test_one_bad_address_among_good_ones_refuses_them_all(bad: str, first: bool) -> None:
    target = target_of("https://hooks.example.com/", RULES)
    answers = [bad, PUBLIC] if first else [PUBLIC, bad]
    with pytest.raises(UrlRefused, match="resolves to a private or special-purpose address"):
        resolved(target, RULES, answering(*answers))


@pytest.mark.parametrize("resolve", [failing, answering()])
def test_a_name_without_an_address_is_told_apart(resolve: Resolve) -> None:
    with pytest.raises(HostUnresolvable, match="does not resolve"):
        resolved(target_of("https://hooks.example.com/", RULES), RULES, resolve)


def test_an_address_is_not_looked_up() -> None:
    assert resolved(target_of(f"https://{PUBLIC}/", RULES), RULES, failing) == (IPv4Address(PUBLIC),)


def test_rules_that_changed_meanwhile_hold_for_an_address_too() -> None:
    target = target_of("https://10.0.0.1/", ON_PREMISE)
    with pytest.raises(UrlRefused):
        resolved(target, RULES, failing)


def test_behind_a_proxy_no_name_is_looked_up() -> None:
    assert resolved(target_of("https://hooks.example.com/", PROXIED), PROXIED, failing) == ()


@pytest.mark.parametrize(
    "url",
    [
        "https://10.0.0.1/",
        "https://localhost/",
        "https://receiver/",
        "https://x.internal/",
        f"https://[{PUBLIC_V6}]/",
    ],
)
def test_behind_a_proxy_what_needs_no_look_up_is_still_judged(url: str) -> None:
    assert reason_of(url, PROXIED)
