"""Which connections are ended, by what the kernel says of made-up ones over time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from service import slow_peers
from service.slow_peers import EVERY_S, SLOW_S, SLOWEST_BYTES_S, Link, Reason, SlowPeers

A, B = ("192.0.2.1", 1001), ("192.0.2.1", 1002)
LOOKS = 12  # a minute
FLOOR = int(SLOWEST_BYTES_S * EVERY_S)


def link(peer: tuple[str, int] = A, **changed: object) -> Link:
    """A connection whose request of 200 bytes arrived at the time 0 and waits for its answer."""
    plain = Link(peer, received=200, received_at=0, acked=0, sent_at=0, unread=False, left=False)
    return replace(plain, **changed)  # type: ignore[arg-type]


@dataclass
class Story:
    """Looks every EVERY_S seconds at the connections that a test describes."""

    bodies: Sequence[float] = ()

    def __post_init__(self) -> None:
        self.peers = SlowPeers(0, bodies_since=lambda _: list(self.bodies))

    def ended(self, links: "Sequence[Link] | object", looks: int = LOOKS) -> dict[tuple[str, int], Reason]:
        """What is ended in `looks` looks. `links` gives the connections at a look's number and time."""
        found: dict[tuple[str, int], Reason] = {}
        for at in range(looks):
            found |= self.peers.overdue(links(at, at * EVERY_S), at * EVERY_S)  # type: ignore[operator]
        return found


def test_who_takes_nothing_is_ended() -> None:
    assert Story().ended(lambda at, now: [link(unread=True, acked=5000)]) == {A: Reason.UNREAD}


def test_who_takes_a_little_now_and_then_is_ended() -> None:
    assert Story().ended(lambda at, now: [link(unread=True, acked=5000 + at * (FLOOR - 1))]) == {
        A: Reason.UNREAD
    }


def test_a_slow_line_is_not_ended() -> None:
    assert not Story().ended(lambda at, now: [link(unread=True, acked=5000 + at * FLOOR)], looks=1000)


def test_no_answer_is_sent_for_ever() -> None:
    looks = int(slow_peers.LONGEST_S / EVERY_S)
    story = Story()
    assert not story.ended(lambda at, now: [link(unread=True, acked=at * FLOOR)], looks=looks)
    later = story.peers.overdue([link(unread=True, acked=looks * FLOOR)], looks * EVERY_S)
    assert later == {A: Reason.UNREAD}


def test_half_a_minute_is_counted_from_when_it_became_slow() -> None:
    story = Story()
    looks = int(SLOW_S / EVERY_S)
    assert not story.ended(lambda at, now: [link(unread=at > 0)], looks=looks + 1)
    assert story.peers.overdue([link(unread=True)], SLOW_S + EVERY_S) == {A: Reason.UNREAD}


def test_a_body_that_does_not_come_ends_its_connection() -> None:
    assert Story([0.1]).ended(lambda at, now: [link()]) == {A: Reason.UNSENT}


def test_nobody_is_ended_while_no_body_is_awaited() -> None:
    assert not Story().ended(lambda at, now: [link()], looks=1000)


def test_who_waits_for_a_result_is_not_taken_for_who_owes_a_body() -> None:
    """Both from one address, as behind a proxy: the one whose request arrived as the body was first asked for is ended."""
    waits = link(B, received_at=-5.0, sent_at=-6.0)
    story = Story([0.1])
    for at in range(LOOKS):
        found = story.peers.overdue([link(), waits], at * EVERY_S)
        if found:
            assert found == {A: Reason.UNSENT}
            return
    raise AssertionError("nobody was ended")


def test_a_body_that_trickles_ends_its_connection_and_no_other() -> None:
    def links(at: int, now: float) -> list[Link]:
        return [link(received=200 + at, received_at=now), link(B)]

    story = Story([0.1])
    found = [story.peers.overdue(links(at, at * EVERY_S), at * EVERY_S) for at in range(LOOKS)]
    assert next(each for each in found if each) == {A: Reason.UNSENT}


def test_a_body_that_was_told_to_continue_is_still_owed() -> None:
    assert Story([0.1]).ended(lambda at, now: [link(acked=25, sent_at=0.002)]) == {A: Reason.UNSENT}


def test_a_body_that_comes_over_a_slow_line_is_awaited() -> None:
    def links(at: int, now: float) -> list[Link]:
        return [link(received=200 + at * FLOOR, received_at=now)]

    assert not Story([0.1]).ended(links, looks=1000)


def test_a_body_that_we_do_not_read_is_not_the_peers_fault() -> None:
    assert not Story([0.1]).ended(lambda at, now: [link(left=True)], looks=1000)


def test_a_peer_has_its_time_again_once_we_read_on() -> None:
    def links(at: int, now: float) -> list[Link]:
        return [link(received=200 + at, received_at=now, left=True)]

    story = Story([0.1])
    assert not story.ended(links)
    now = LOOKS * EVERY_S
    assert not story.peers.overdue([link(received=200 + LOOKS, received_at=now - 1)], now)


def test_a_body_that_was_asked_for_just_now_is_not_overdue_on_an_old_connection() -> None:
    """It has carried nothing for a minute before its next request."""
    now = LOOKS * EVERY_S
    story = Story([now - 5])
    assert not story.ended(lambda at, now: [link(acked=500, sent_at=0.1)])
    asked = link(received=400, received_at=now - 5, acked=500, sent_at=0.1)
    assert not story.peers.overdue([asked], now)


def test_who_was_answered_before_it_waits_is_not_taken_for_who_owes_a_body() -> None:
    """Its earlier requests arrived at many looks, and each was answered; the other one's body trickles."""
    story = Story([61.0])
    for at in range(2 * LOOKS):
        now = at * EVERY_S
        asked = min(at, LOOKS)
        waits = link(
            B,
            received=200 * asked,
            received_at=asked * EVERY_S - 1,
            acked=500 * asked,
            sent_at=asked * EVERY_S - 4,
        )
        owes = link(received=200 + max(0, at - LOOKS), received_at=max(61.0, now - 1), sent_at=0)
        found = story.peers.overdue([waits, owes], now)
        if found:
            assert found == {A: Reason.UNSENT}
            return
    raise AssertionError("nobody was ended")


def test_an_event_stream_is_not_taken_for_who_owes_a_body() -> None:
    def links(at: int, now: float) -> list[Link]:
        return [link(acked=at * 13, sent_at=now - 3)]

    assert not Story([0.1]).ended(links, looks=1000)


def test_another_connection_from_the_same_port_starts_anew() -> None:
    story = Story()
    story.ended(lambda at, now: [link(unread=True, acked=5000)], looks=5)
    assert not story.peers.overdue([link(unread=True, acked=10)], SLOW_S + EVERY_S)


def test_of_an_address_beyond_its_share_the_idle_ones_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_peers, "ADDRESS_SHARE", 3)
    links = [link(("192.0.2.1", port), received=0 if port < 5 else 500) for port in range(8)]
    others = [link(("192.0.2.2", port), received=0) for port in range(3)]
    found = SlowPeers(0, bodies_since=lambda _: []).overdue([*others, *links], 0.0)
    assert found == {("192.0.2.1", port): Reason.SHARE for port in range(5)}
