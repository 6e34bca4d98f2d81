"""From submit to result while other clients keep the system half busy."""

import time
from collections import deque

from benchmarks import cases
from benchmarks.figures import Figure, figure, latencies
from benchmarks.plan import Plan
from benchmarks.sections.idle import polling, probes
from benchmarks.sections.many_clients import MANY_CLIENTS
from benchmarks.sections.section import Section, Turn
from benchmarks.system import LoadFailed, System, has_succeeded, job_id
from benchmarks.wire import Script, drive

SHARE = 0.5
READ_AFTER_S = 1.0
LEAD_S = 0.5  # the load runs for this long before the first probe


def measure(turn: Turn) -> list[Figure]:
    """Latencies of a probing client beside a steady load at half of the measured rate. Raises LoadFailed."""
    if "fetched_per_s" not in turn.found:
        raise LoadFailed(f"half load needs the section {MANY_CLIENTS.name} before it")
    system, plan, per_s = turn.system, turn.plan, SHARE * turn.found["fetched_per_s"].value
    count = int(per_s * (plan.load_s + 2 * LEAD_S))
    bodies = [cases.body(case) for case in cases.inputs(count, plan.seed)]
    start = time.monotonic() + 0.1
    seconds: list[float] = []
    load = [
        _steady(system, bodies[first :: plan.clients], start + first / per_s, plan.clients / per_s)
        for first in range(plan.clients)
    ]
    drive(system.port, [*load, _probing(system, plan, start + LEAD_S, seconds)])
    return [
        figure("half_per_s", "steady load", "jobs/s", per_s),
        *latencies("half", "submit to result, polled every 2 ms", seconds),
    ]


def _probing(system: System, plan: Plan, start: float, seconds: list[float]) -> Script:
    """The probe of the idle section, once the load is there."""
    yield start
    yield from polling(system, plan, probes(plan)[: int(plan.load_s * plan.probe_per_s)], seconds)


def _steady(system: System, bodies: list[bytes], start: float, every_s: float) -> Script:
    """One client's part of the load: submits at its own times, and reads each result a second later."""
    unread: deque[tuple[float, str]] = deque()
    for turn, body in enumerate(bodies):
        yield start + turn * every_s
        submitted = job_id((yield system.submit(body)))
        unread.append((time.monotonic() + READ_AFTER_S, submitted))
        if unread[0][0] <= time.monotonic():
            yield system.read(unread.popleft()[1])
    for due, submitted in unread:
        yield due
        if not has_succeeded((yield system.read(submitted))):
            raise LoadFailed(f"{system.title}: at half load a result was not there after a second")


HALF_LOAD = Section(
    "half-load",
    "Half load",
    "Sixteen clients together submit at a steady pace, half of the jobs a second that this system completed and"
    " delivered above, and fetch each result a second later. Beside them one client polls as on the idle system.",
    measure,
)
