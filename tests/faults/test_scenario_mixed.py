"""Everything at once, for a while: faults of all kinds at random, with clients that submit, read and cancel."""

import signal
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable

import pytest

from service.failpoints import Point
from tests.faults.arena import BATCH_POINTS, Arena
from tests.faults.report import Report
from tests.faults.test_scenarios_servers import trickle

pytestmark = pytest.mark.timeout(5400)

MAY_GROW_MB = 40.0
MAY_GROW_SHARE = 1.25
QUICK_POINTS = [point for point in Point if not point.startswith("heartbeat") and point not in BATCH_POINTS]


def faults_of(arena: Arena) -> dict[str, Callable[[], object]]:
    """Every kind of fault, by name."""
    chance = arena.chance("s13/choice")

    def pause() -> None:
        with arena.stack.paused(chance.choice(arena.stack.worker_names)):
            time.sleep(2.0)

    return {
        "worker killed": lambda: arena.kill(chance.choice(arena.stack.worker_names)),
        "worker stopped and continued": pause,
        "worker told to end": lambda: arena.kill(chance.choice(arena.stack.worker_names), signal.SIGTERM),
        "exit at a point": lambda: arena.put_token(chance.choice(QUICK_POINTS)),
        "scheduler killed": lambda: arena.kill("scheduler"),
        "API killed": lambda: arena.kill("api"),
        "Redis killed": lambda: arena.kill("redis"),
        "Redis flushed": arena.flushed,
        "Postgres stopped at once": lambda: arena.kill("postgres", signal.SIGQUIT),
    }


def test_s13_mixed(arena: Arena, report: Report, full: bool) -> None:
    lasts_s = 1200.0 if full else 8.0
    chance = arena.chance("s13")
    kinds = faults_of(arena)
    done: Counter[str] = Counter()
    memory: dict[str, list[float]] = defaultdict(list)
    load, readers = arena.load(), arena.load()
    with report.scenario(arena, "S13 mixed") as found:
        until = time.monotonic() + lasts_s
        with trickle(load, every_s=0.2), readers.looking(clients=1, cancel_share=0.05):
            while time.monotonic() < until:
                time.sleep(chance.uniform(0.5, 4.0))
                name = chance.choice(sorted(kinds))
                if kinds[name]() is not False:  # Redis may be away already
                    done[name] += 1
                for program, size_mb in arena.memory_mb().items():
                    memory[program].append(size_mb)
        for token in arena.tokens.iterdir():
            token.unlink(missing_ok=True)
        found["faults"] = ", ".join(f"{name} {count}" for name, count in sorted(done.items()))
        if full:
            found["memory"] = grown(memory)


def grown(memory: dict[str, list[float]]) -> str:
    """Median memory of the first and of the last third of the time. Fails when a program grows steadily."""
    told = []
    for program, sizes in memory.items():
        third = max(1, len(sizes) // 3)
        first, last = statistics.median(sizes[:third]), statistics.median(sizes[-third:])
        told.append(f"{program} {first:.0f} to {last:.0f} MB")
        assert last < max(first * MAY_GROW_SHARE, first + MAY_GROW_MB), f"{program} grows: {sizes}"
    return ", ".join(told)
