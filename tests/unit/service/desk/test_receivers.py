"""URLs that callers name: judged with their names looked up in time, and origins that are remembered."""

import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from service.accounts import Principal, Scope
from service.crypto import Cipher
from service.db import Database
from service.desk.callbacks import LOOKUPS_S, REMEMBER_REFUSED_S, REMEMBER_S, Callbacks
from service.egress import EgressRules
from service.errors import CallbackSecretMissing, TenantBusy, TooManyEndpoints, UrlRefused
from service.webhooks.receivers import LOOKUPS_AT_ONCE, Receivers
from tests.fakes import AllTenants

TENANT = UUID(int=9)
PUBLIC, PRIVATE = "93.184.215.14", "10.0.0.7"
ADDRESSES = {"good.example": [PUBLIC], "inside.example": [PRIVATE], "mixed.example": [PUBLIC, PRIVATE]}
CALLER = Principal("0123456789ab", UUID(int=1), frozenset({Scope.JOBS_WRITE}), Cipher(bytes(32)))
STRANGER = Principal("ba9876543210", UUID(int=2), frozenset({Scope.JOBS_WRITE}), Cipher(bytes(32)))
Answer = Sequence[tuple[int, int, int, str, tuple[str | int | bytes, ...]]]


class Resolver:
    """A resolver of a few names that counts what it is asked; while `hangs` is set it answers nobody."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.hangs = threading.Event()
        self.goes_on = threading.Event()

    def __call__(self, host: str, port: int, family: int, kind: int) -> Answer:
        self.asked.append(host)
        if self.hangs.is_set():
            self.goes_on.wait(10)
        if host not in ADDRESSES:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, kind, 6, "", (address, port)) for address in ADDRESSES[host]]


@dataclass
class FakeWork:
    """Answers the two statements about callbacks."""

    has_secret: bool = True
    has_room: bool = True
    ensured: list[str] = field(default_factory=list)

    def execute(self, query: str, params: Mapping[str, Any]) -> list[Any]:
        if "SELECT EXISTS" in query:
            return [SimpleNamespace(can_sign=self.has_secret)]
        self.ensured.append(params["origin"])
        return [SimpleNamespace(id=uuid4())] if self.has_room else []


class FakeDatabase:
    """Gives out the same work and counts the transactions."""

    def __init__(self, work: FakeWork) -> None:
        self.work = work
        self.transactions = 0

    @contextmanager
    def transaction(self) -> Iterator[FakeWork]:
        self.transactions += 1
        yield self.work


@pytest.fixture
def resolver() -> Iterator[Resolver]:
    made = Resolver()
    yield made
    made.goes_on.set()


@pytest.fixture
def receivers(resolver: Resolver) -> Receivers:
    return Receivers(AllTenants(EgressRules()), resolve=resolver, lookup_s=0.2)


def refusal(judge: Callable[[], object], pointer: str) -> UrlRefused:
    with pytest.raises(UrlRefused) as caught:
        judge()
    (error,) = caught.value.errors
    assert (error.pointer, error.code, error.detail) == (pointer, caught.value.code, caught.value.detail)
    return caught.value


def test_a_good_url_is_read_and_looked_up(receivers: Receivers, resolver: Resolver) -> None:
    assert receivers.judge(TENANT, "https://Good.example/hook?token=1").origin == "https://good.example"
    assert resolver.asked == ["good.example"]


def test_a_look_up_is_waited_for_within_what_was_given(resolver: Resolver) -> None:
    within: list[str] = []

    @contextmanager
    def meanwhile() -> Iterator[None]:
        within.append("entered")
        yield
        within.append("left")

    receivers = Receivers(AllTenants(EgressRules()), resolve=resolver, lookup_s=0.2, meanwhile=meanwhile)
    for url in ("https://good.example", "https://nowhere.example"):
        with suppress(UrlRefused):
            receivers.judge(TENANT, url)
    assert within == ["entered", "left", "entered"]


@pytest.mark.parametrize(
    ("url", "code", "says", "looked_up"),
    [
        ("http://good.example", "url_refused", "use https", 0),
        ("https://user:hunter2@good.example", "url_refused", "user name", 0),
        ("https://good.example:22", "url_refused", "443, 8443", 0),
        ("https://127.0.0.1", "url_refused", "private", 0),
        ("https://[::1]", "url_refused", "private", 0),
        ("https://localhost", "url_refused", "this machine", 0),
        ("not a url", "url_refused", "spaces", 0),
        ("https://", "url_refused", "malformed", 0),
        ("https://inside.example", "url_refused", "resolves to a private", 1),
        ("https://mixed.example", "url_refused", "resolves to a private", 1),
        ("https://nowhere.example", "host_unresolvable", "does not resolve", 1),
    ],
)
def test_a_bad_url_is_refused_with_the_reason_and_not_repeated(
    receivers: Receivers, resolver: Resolver, url: str, code: str, says: str, looked_up: int
) -> None:
    error = refusal(lambda: receivers.judge(TENANT, url), "/url")
    assert error.code == code
    assert says in error.detail
    assert "hunter2" not in error.detail
    assert len(resolver.asked) == looked_up


def test_a_resolver_that_hangs_is_waited_for_a_moment_only(receivers: Receivers, resolver: Resolver) -> None:
    resolver.hangs.set()
    assert "within" in refusal(lambda: receivers.judge(TENANT, "https://good.example"), "/url").detail


def test_lookups_that_hang_do_not_take_ever_more_threads(receivers: Receivers, resolver: Resolver) -> None:
    resolver.hangs.set()
    for _ in range(LOOKUPS_AT_ONCE // 2):
        refusal(lambda: receivers.judge(TENANT, "https://good.example"), "/url")
    with pytest.raises(TenantBusy):
        receivers.judge(TENANT, "https://good.example")
    assert len(resolver.asked) == LOOKUPS_AT_ONCE // 2
    assert "within" in refusal(lambda: receivers.judge(UUID(int=8), "https://good.example"), "/url").detail
    resolver.hangs.clear()
    resolver.goes_on.set()
    assert receivers.judge(TENANT, "https://good.example").host == "good.example"


@dataclass
class Bench:
    """Callbacks over fakes, with a clock that stands still."""

    receivers: Receivers
    work: FakeWork = field(default_factory=FakeWork)
    now: float = 1000.0

    def __post_init__(self) -> None:
        self.database = FakeDatabase(self.work)
        self.callbacks = Callbacks(cast(Database, self.database), self.receivers, clock=lambda: self.now)

    def of(self, url: str, caller: Principal = CALLER) -> UUID:
        """The endpoint of a callback."""
        found = self.callbacks.of(caller, url, until=self.callbacks.lookup_deadline())
        assert found.url == url
        return found.endpoint_id


@pytest.fixture
def bench(receivers: Receivers) -> Bench:
    return Bench(receivers)


def test_a_thousand_callbacks_to_one_origin_cost_one_lookup_and_one_transaction(
    bench: Bench, resolver: Resolver
) -> None:
    found = {bench.of(f"https://good.example/jobs/{number}") for number in range(1000)}
    assert len(found) == 1
    assert resolver.asked == ["good.example"]
    assert bench.database.transactions == 1
    assert bench.work.ensured == ["https://good.example"]


def test_another_port_is_another_origin_and_another_tenant_has_its_own(bench: Bench) -> None:
    same = bench.of("https://good.example/a")
    assert bench.of("https://good.example:443/b") == same
    assert bench.of("https://good.example:8443/a") != same
    assert bench.of("https://good.example/a", STRANGER) != same


def test_an_origin_is_judged_again_after_a_while(bench: Bench, resolver: Resolver) -> None:
    bench.of("https://good.example")
    bench.now += REMEMBER_S - 1
    bench.of("https://good.example")
    assert len(resolver.asked) == 1
    bench.now += 2
    bench.of("https://good.example")
    assert len(resolver.asked) == 2


def test_a_refused_origin_is_remembered_for_a_moment_and_its_path_is_judged_each_time(
    bench: Bench, resolver: Resolver
) -> None:
    for _ in range(1000):
        refusal(lambda: bench.of("https://inside.example/a"), "/callback_url")
    refusal(lambda: bench.of("https://good.example/a\\b"), "/callback_url")
    assert resolver.asked == ["inside.example"]
    bench.now += REMEMBER_REFUSED_S + 1
    refusal(lambda: bench.of("https://inside.example/a"), "/callback_url")
    assert len(resolver.asked) == 2
    assert bench.database.transactions == 0


def test_without_a_secret_there_is_no_callback_until_there_is_one(bench: Bench) -> None:
    bench.work.has_secret = False
    with pytest.raises(CallbackSecretMissing) as caught:
        bench.of("https://good.example")
    assert caught.value.errors[0].pointer == "/callback_url"
    assert bench.work.ensured == []
    bench.work.has_secret = True
    bench.of("https://good.example")


def test_too_many_origins_are_refused_until_there_is_room(bench: Bench) -> None:
    bench.work.has_room = False
    with pytest.raises(TooManyEndpoints):
        bench.of("https://good.example")
    bench.work.has_room = True
    bench.of("https://good.example")


def test_one_request_has_so_long_for_all_its_lookups_together(bench: Bench, resolver: Resolver) -> None:
    until = bench.callbacks.lookup_deadline()
    bench.now += LOOKUPS_S
    with pytest.raises(TenantBusy):
        bench.callbacks.of(CALLER, "https://good.example", until=until)
    assert resolver.asked == []
    bench.of("https://good.example")
