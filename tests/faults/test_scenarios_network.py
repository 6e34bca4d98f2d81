"""The network between the service and its servers: replies dropped, connections reset, black holes, latency."""

import time

import pytest

from tests.acceptance.stack import eventually
from tests.faults.conftest import CutOffArena
from tests.faults.report import Report
from tests.faults.test_scenarios_servers import RESUMES_WITHIN_S, resumed, trickle
from tests.faults.test_scenarios_workers import bodies

pytestmark = pytest.mark.timeout(5400)

WRITES_FROM_BYTES = 300  # a sealed input or result is in it; reads, claims and heartbeats are smaller


def test_s7_replies_to_commits_dropped(cut_off: CutOffArena, report: Report, full: bool) -> None:
    """Postgres has committed, and whoever asked is never told."""
    drops = 300 if full else 12
    arena, proxy = cut_off.arena, cut_off.postgres
    load = arena.load()
    before = proxy.dropped
    with report.scenario(arena, "S7 replies to COMMIT dropped") as found:
        for number in range(drops):
            proxy.drop_replies(1, to_requests_from_bytes=WRITES_FROM_BYTES)
            wave = 0
            while proxy.dropped <= before + number and wave < 50:
                load.submit_wave(number * 100 + wave, bodies(2))
                wave += 1
            assert proxy.dropped > before + number, "no reply was dropped: nothing shown"
        found["faults"] = f"{drops} replies"
        found["keys with an unknown try"] = str(len(arena.history.unknown_keys()))


def test_s4_redis_behind_a_black_hole(cut_off: CutOffArena, report: Report, full: bool) -> None:
    """Connections stand open and nothing passes; then every connection is reset."""
    holes, hole_s = (10, 15.0) if full else (1, 3.0)
    arena, proxy = cut_off.arena, cut_off.redis
    load, probe = arena.load(), arena.load()
    slowest = 0.0
    with report.scenario(arena, "S4 Redis behind a black hole, connections reset") as found:
        with trickle(load):
            for number in range(holes):
                with proxy.black_hole():
                    time.sleep(hole_s)
                slowest = max(slowest, resumed(probe, arena, 2 * number))
                proxy.reset_all()
                slowest = max(slowest, resumed(probe, arena, 2 * number + 1))
        assert slowest < RESUMES_WITHIN_S
        found["faults"] = f"{holes} black holes of {hole_s:.0f} s, {holes} times all connections reset"
        found["slowest resumption"] = f"{slowest:.1f} s"


def test_postgres_behind_a_black_hole_is_a_503_in_time_and_loses_nothing(
    cut_off: CutOffArena, report: Report, full: bool
) -> None:
    holes, hole_s = (5, 10.0) if full else (1, 2.0)
    arena, proxy = cut_off.arena, cut_off.postgres
    load, probe = arena.load(), arena.load()
    with report.scenario(arena, "Postgres behind a black hole, connections reset") as found:
        with trickle(load):
            for number in range(holes):
                with proxy.black_hole():
                    time.sleep(hole_s)
                proxy.reset_all()
                began = time.monotonic()
                ids = probe.submit_wave(number, bodies(1))
                arena.all_ended(ids, within_s=60)
        found["faults"] = f"{holes} black holes of {hole_s:.0f} s"
        found["last resumption"] = f"{time.monotonic() - began:.1f} s"


def test_a_slow_network_loses_nothing(cut_off: CutOffArena, report: Report) -> None:
    arena = cut_off.arena
    load = arena.load()
    with report.scenario(arena, "50 ms each way to both servers") as found:
        cut_off.postgres.latency_s = cut_off.redis.latency_s = 0.05
        try:
            ids = load.submit_wave(0, bodies(50))
            eventually(lambda: arena.all_ended(ids, within_s=30) >= 0, within_s=30)
        finally:
            cut_off.postgres.latency_s = cut_off.redis.latency_s = 0.0
        found["faults"] = "latency"
