"""How the integration tests send: to receivers on this machine."""

import socket
from collections.abc import Sequence
from ipaddress import ip_network

from service.egress import EgressRules, Resolve
from tests.integration.receiver import NAME, Receiver
from workers.webhooks.outbound import Limits, Outbound

Answers = Sequence[tuple[int, int, int, str, tuple[str | int | bytes, ...]]]

LOOPBACK = EgressRules(allow_http=True, ports=None, networks=(ip_network("127.0.0.1/32"),))
PATIENT = Limits(resolve_s=20, connect_s=20, total_s=40, idle_s=40)  # a busy machine must not decide a test
SHORT = Limits(total_s=0.6)  # for receivers whose answer never comes


def to(*addresses: str) -> Resolve:
    """A resolver that gives these addresses for every name."""

    def resolve(host: str, port: int, family: int, kind: int) -> Answers:
        return [(socket.AF_INET, kind, 6, "", (address, port)) for address in addresses]

    return resolve


def url_of(receiver: Receiver, path: str = "/in") -> str:
    """Where an unencrypted receiver is reached by name."""
    return f"http://{NAME}:{receiver.port}{path}"


def outbound(limits: Limits = PATIENT, resolve: Resolve | None = None) -> Outbound:
    """A sender that may send to this machine, and to whom every name is this machine."""
    return Outbound(LOOPBACK, limits=limits, resolve=resolve or to("127.0.0.1"))
