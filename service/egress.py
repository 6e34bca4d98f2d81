"""Where we may send to: which URLs a receiver may have, and which addresses a socket may be connected to.

Pure rules on plain data; the one call that leaves the process is the resolver, and it is an argument. Sends nothing:
workers/webhooks/outbound does, and connects to nothing but what `resolved` gave it. So no receiver can make us call a machine
of our own network (server-side request forgery, CWE-918).

Two rules carry the rest. The address counts that the socket is really connected to, never a name and never a second
look-up. And what several programs would read differently is refused rather than understood.
"""

import re
import socket
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from encodings import idna
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import quote

from service.errors import HostUnresolvable, UrlRefused

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolve = Callable[[str, int, int, int], Sequence[tuple[int, int, int, str, tuple[str | int | bytes, ...]]]]
"""Called and answering like socket.getaddrinfo: host, port, family, type."""

MAX_URL_LENGTH = 2048
MAX_HOST_LENGTH = 253  # RFC 1035, 2.3.4, without the trailing dot
DEFAULT_PORTS = {"https": 443, "http": 80}

# IANA IPv4 Special-Purpose Address Registry (RFC 6890), multicast (RFC 5771). Those that are reachable from anywhere
# but only ever answer for an infrastructure of their own (AS112, AMT, 6to4 relays) are refused with the rest.
SPECIAL_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network, RFC 791
        "10.0.0.0/8",  # private, RFC 1918
        "100.64.0.0/10",  # shared by carriers, RFC 6598; Alibaba's metadata at 100.100.100.200
        "127.0.0.0/8",  # loopback, RFC 1122
        "168.63.129.16/32",  # public by number, but Azure's host to each of its machines
        "169.254.0.0/16",  # link-local, RFC 3927; most clouds' metadata at 169.254.169.254
        "172.16.0.0/12",  # private, RFC 1918
        "192.0.0.0/24",  # IETF protocol assignments, RFC 6890; Oracle's metadata at 192.0.0.192
        "192.0.2.0/24",  # documentation, RFC 5737
        "192.31.196.0/24",  # AS112, RFC 7535
        "192.52.193.0/24",  # AMT, RFC 7450
        "192.88.99.0/24",  # 6to4 relays, RFC 7526
        "192.168.0.0/16",  # private, RFC 1918
        "192.175.48.0/24",  # AS112, RFC 7534
        "198.18.0.0/15",  # benchmarks, RFC 2544
        "198.51.100.0/24",  # documentation, RFC 5737
        "203.0.113.0/24",  # documentation, RFC 5737
        "224.0.0.0/4",  # multicast, RFC 5771
        "240.0.0.0/4",  # reserved, RFC 1112, and limited broadcast, RFC 919
    )
)

# IANA IPv6 Special-Purpose Address Registry and IPv6 Address Space: global unicast is 2000::/3 (RFC 4291, 2.4). All
# else is refused unnamed: :: and ::1, IPv4 in ::/96, ::ffff:0:0/96 and ::ffff:0:0:0/96, NAT64 64:ff9b::/96 (RFC 6052)
# and 64:ff9b:1::/48 (RFC 8215) whatever they embed, discard 100::/64 (RFC 6666), SRv6 5f00::/16 (RFC 9602), unique
# local fc00::/7 with Amazon's metadata at fd00:ec2::254, link-local fe80::/10, site-local fec0::/10, multicast ff00::/8.
GLOBAL_V6 = IPv6Network("2000::/3")
SPECIAL_V6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # IETF protocol assignments, RFC 2928: Teredo, benchmarks, ORCHID, ...
        "2001:db8::/32",  # documentation, RFC 3849
        "2002::/16",  # 6to4, RFC 3056: embeds any IPv4 address
        "2620:4f:8000::/48",  # AS112, RFC 7534
        "3ffe::/16",  # the 6bone, given back, RFC 3701
        "3fff::/20",  # documentation, RFC 9637
    )
)

# Names of local networks: RFC 6762, 2 and appendix G; `internal` also by ICANN, 2024-07-29; home.arpa by RFC 8375.
LOCAL_NAMES = re.compile(
    r"(?:^[^.]*$)|(?:(?:^|\.)(?:local|localdomain|internal|intranet|private|corp|home|lan|home\.arpa)$)"
)
LOOPBACK_NAME = re.compile(r"(?:^|\.)localhost$")  # RFC 6761, 6.3: loopback, whatever a resolver says
LOOPBACK: tuple[Address, ...] = (IPv4Address("127.0.0.1"), IPv6Address("::1"))

PARTS = re.compile(r"(https?)://([^/?]+)(.*)", re.IGNORECASE)
AUTHORITY = re.compile(
    r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[^:\[\]%]+))(?::(?P<port>[1-9][0-9]{0,4}))?", re.IGNORECASE
)
LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
NUMBER = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)")  # what inet_aton reads as a number
GRAPHIC_ASCII = re.compile(r"[!-~]*")
SAFE = "/?:@!$&'()*+,;=-._~%"  # RFC 3986, 3.3 and 3.4; what is percent-encoded already stays as it is

MALFORMED = "it is malformed; write it as https://host/path"
UNPRINTABLE = "it holds spaces, control characters or backslashes; percent-encode them"
HOST_MALFORMED = (
    "its host or port is malformed; write a DNS name, one in another script in its ASCII form (xn--...)"
)
ADDRESS_MALFORMED = (
    "its host is an address in an ambiguous spelling; write it the usual way, or use a DNS name"
)
SPECIAL = "a private or special-purpose address; use a public one"


@dataclass(frozen=True)
class EgressRules:
    """What an operator allows. The defaults are for receivers on the Internet.

    `ports` None allows every port. `networks` opens ranges that are special-purpose, for receivers on premise; with
    any of them open, names of local networks (`receiver`, `pacs.internal`) may be used too. `proxy` is the URL of a
    proxy that makes every connection, resolves names, and then has to check their addresses itself.
    """

    allow_http: bool = False
    ports: frozenset[int] | None = frozenset({443, 8443})
    networks: tuple[Network, ...] = ()
    proxy: str | None = None


@dataclass(frozen=True)
class Target:
    """An accepted URL, in the one spelling that is used from there on.

    The host is lower-case ASCII (an IDNA A-label, or an address without brackets), the request target path and query.
    """

    scheme: str
    host: str
    port: int
    request_target: str

    @property
    def host_header(self) -> str:
        """The host as written in a URL, with the port unless the scheme implies it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme, host and port (RFC 6454)."""
        return f"{self.scheme}://{self.host_header}"


def target_of(url: str, rules: EgressRules) -> Target:
    """Read a URL strictly and check what can be checked without a resolver. Raises UrlRefused, which quotes nothing of it."""
    scheme, authority, request_target = _parts(url)
    if scheme != "https" and not rules.allow_http:
        raise UrlRefused("it is not encrypted; use https")
    if "@" in authority:
        raise UrlRefused("it carries a user name or a password; leave them out")
    found = AUTHORITY.fullmatch(authority)
    if found is None:
        raise UrlRefused(HOST_MALFORMED)
    port = int(found["port"] or DEFAULT_PORTS[scheme])
    if port > 65535 or (rules.ports is not None and port not in rules.ports):
        allowed = "1 to 65535" if rules.ports is None else ", ".join(map(str, sorted(rules.ports)))
        raise UrlRefused(f"its port is not allowed; use one of {allowed}")
    host = _v6_host(found["v6"]) if found["v6"] else _host(found["name"])
    _judge_host(host, rules)
    return Target(scheme, host, port, request_target)


def may_connect_to(address: Address, rules: EgressRules) -> bool:
    """Whether a socket may be connected to this address: a public one, or one in a range that the rules open.

    An IPv4 address inside an IPv6 one (::ffff:0:0/96) reaches the IPv4 host, so it is allowed only where that one has
    been opened; nobody needs it for a public host.
    """
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return _opened(address.ipv4_mapped, rules)
        if address.scope_id is not None:
            return False
        if address not in GLOBAL_V6 or any(address in network for network in SPECIAL_V6):
            return _opened(address, rules)
        return True
    return _opened(address, rules) or not any(address in network for network in SPECIAL_V4)


def resolved(
    target: Target, rules: EgressRules, resolve: Resolve = socket.getaddrinfo
) -> tuple[Address, ...]:
    """All addresses of a target, each of them allowed, in the resolver's order. Blocks as long as the resolver does.

    None behind a proxy, which resolves names itself. Raises HostUnresolvable when the name has no address, and
    UrlRefused when any of them is not allowed: a name that mixes public and private addresses is an attempt to pass.
    """
    if rules.proxy is not None:
        return ()
    literal = _address(target.host)
    addresses = (literal,) if literal is not None else _look_up(target, resolve)
    if not all(may_connect_to(address, rules) for address in addresses):
        raise UrlRefused(f"it resolves to {SPECIAL}")
    return addresses


def _parts(url: str) -> tuple[str, str, str]:
    """Scheme, authority, and the request target in ASCII."""
    if len(url) > MAX_URL_LENGTH:
        raise UrlRefused(f"it has more than {MAX_URL_LENGTH} characters; shorten it")
    if "\\" in url or not (GRAPHIC_ASCII.fullmatch(url) or all(map(_is_graphic, url))):
        raise UrlRefused(UNPRINTABLE)
    if "#" in url:
        raise UrlRefused("it has a fragment; leave out the # and what follows")
    found = PARTS.fullmatch(url)
    if found is None:
        raise UrlRefused(MALFORMED)
    scheme, authority, rest = found.groups()
    rooted = rest if rest.startswith("/") else f"/{rest}"
    return scheme.lower(), authority, quote(rooted, safe=SAFE)


def _is_graphic(character: str) -> bool:
    """Neither a space of any script nor a control, formatting, surrogate or unassigned character."""
    return unicodedata.category(character)[0] not in {"C", "Z"}


def _v6_host(text: str) -> str:
    """An IPv6 address in its canonical spelling; zones were refused before."""
    try:
        return str(IPv6Address(text))
    except ValueError:
        raise UrlRefused(ADDRESS_MALFORMED) from None


def _host(name: str) -> str:
    """A DNS name or an IPv4 address, lower case, in ASCII.

    A name that ends in a number is an address to inet_aton, which takes octal, hexadecimal and short forms, each
    program its own choice of them; so all but four plain decimal numbers are refused. So is a trailing dot, which
    resolvers, certificates and address parsers take differently.
    """
    host = ".".join(_a_label(label) for label in name.split("."))
    if len(host) > MAX_HOST_LENGTH:
        raise UrlRefused(HOST_MALFORMED)
    if NUMBER.fullmatch(host.rpartition(".")[2]):
        try:
            return str(IPv4Address(host))
        except ValueError:
            raise UrlRefused(ADDRESS_MALFORMED) from None
    return host


def _a_label(label: str) -> str:
    """A label in ASCII, lower case.

    One in another script is taken only when IDNA does not have to change it first: full-width digits, dots of other
    scripts, capitals and other letters that are folded are refused, since other programs may fold them otherwise
    (IDNA 2003, IDNA 2008, UTS 46).
    """
    if label.isascii():
        ascii_label = label.lower()
    elif len(label) <= 63 and all(
        unicodedata.category(letter)[0] in {"L", "M", "N"} or letter == "-" for letter in label
    ):
        ascii_label = _unfolded(label)
    else:
        raise UrlRefused(HOST_MALFORMED)
    if not LABEL.fullmatch(ascii_label):
        raise UrlRefused(HOST_MALFORMED)
    return ascii_label


def _unfolded(label: str) -> str:
    try:
        ascii_label = idna.ToASCII(label).decode().lower()
        if idna.ToUnicode(ascii_label) == label:
            return ascii_label
    except UnicodeError:
        pass
    raise UrlRefused(HOST_MALFORMED)


def _judge_host(host: str, rules: EgressRules) -> None:
    """Refuse what needs no resolver to be refused, behind a proxy too."""
    literal = _address(host)
    if literal is not None:
        if not may_connect_to(literal, rules):
            raise UrlRefused(f"its host is {SPECIAL}")
        if rules.proxy is not None and literal.version == 6:
            raise UrlRefused("an IPv6 address cannot be asked of the proxy; use a DNS name")
    elif LOOPBACK_NAME.search(host):
        if not any(may_connect_to(address, rules) for address in LOOPBACK):
            raise UrlRefused("its host names this machine; use a public name")
    elif LOCAL_NAMES.search(host) and not rules.networks:
        raise UrlRefused("its host is a name of a local network; use a public name")


def _look_up(target: Target, resolve: Resolve) -> tuple[Address, ...]:
    """Every address of a name, once."""
    try:
        answers = resolve(target.host, target.port, 0, socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise HostUnresolvable from None
    if not answers:
        raise HostUnresolvable
    try:
        return tuple(dict.fromkeys(ip_address(str(answer[4][0])) for answer in answers))
    except ValueError:
        raise UrlRefused(f"it resolves to {SPECIAL}") from None


def _address(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _opened(address: Address, rules: EgressRules) -> bool:
    return any(address in network for network in rules.networks)
