"""From submit to result on an idle system, and what a system uses while nothing is asked of it."""

import time

from benchmarks import cases, cpu
from benchmarks.figures import Figure, figure, latencies
from benchmarks.plan import Plan
from benchmarks.sections.section import Section, Turn
from benchmarks.system import System, has_succeeded, job_id
from benchmarks.systems import MEDQUEUE
from benchmarks.wire import Script, drive

POLL_S = 0.002
PROBE_SEED = 1_000


def measure(turn: Turn) -> list[Figure]:
    """CPU at rest, then one client's latencies."""
    system, plan = turn.system, turn.plan
    found = [_at_rest(system, plan)]
    bodies = probes(plan)
    polled: list[float] = []
    drive(system.port, [polling(system, plan, bodies, polled)])
    found += latencies("idle", "submit to result, polled every 2 ms", polled)
    if system.name == MEDQUEUE:
        waited: list[float] = []
        drive(system.port, [waiting(system, plan, bodies, waited)])
        found += latencies("idle_wait", "submit to result, `Prefer: wait`", waited)
    return found


def probes(plan: Plan) -> list[bytes]:
    """The bodies that a probing client submits."""
    return [cases.body(case) for case in cases.inputs(plan.probe_jobs, plan.seed + PROBE_SEED)]


def polling(system: System, plan: Plan, bodies: list[bytes], seconds: list[float]) -> Script:
    """A client that submits at a steady pace and asks for each result every 2 ms."""
    start = time.monotonic()
    for turn, body in enumerate(bodies):
        yield start + turn / plan.probe_per_s
        begun = time.monotonic()
        wanted = system.read(job_id((yield system.submit(body))))
        done = False
        while not done:
            yield time.monotonic() + POLL_S
            done = has_succeeded((yield wanted))
        seconds.append(time.monotonic() - begun)


def waiting(system: System, plan: Plan, bodies: list[bytes], seconds: list[float]) -> Script:
    """A client that submits at a steady pace and lets each submit wait for its result."""
    start = time.monotonic()
    for turn, body in enumerate(bodies):
        yield start + turn / plan.probe_per_s
        response = yield system.submit(body, wait=True)
        assert has_succeeded(response)
        seconds.append(response.took_s)


def _at_rest(system: System, plan: Plan) -> Figure:
    before, begun = system.cpu(), time.monotonic()
    time.sleep(plan.rest_s)
    used, took_s = cpu.between(before, system.cpu()), time.monotonic() - begun
    return figure("rest_cpu", "CPU at rest", "% of a core", 100 * sum(used.values()) / took_s)


IDLE = Section(
    "idle",
    "Idle system",
    "One client submits 20 jobs a second and asks for each result every 2 ms; for medqueue also once with"
    " `Prefer: wait=10`, where the submit itself is answered with the result. CPU at rest is read with no client at all.",
    measure,
)
