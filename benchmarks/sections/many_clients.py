"""Sixteen clients submit thousands of jobs as fast as they are answered; each result is fetched once."""

import time
from dataclasses import dataclass, field

from benchmarks import cases, cpu
from benchmarks.figures import Figure, cpu_split, cpu_total, figure, latencies
from benchmarks.sections.section import Section, Turn
from benchmarks.system import LoadFailed, System, has_succeeded, job_id
from benchmarks.wire import Script, drive


@dataclass
class Record:
    """What the clients of one repeat saw."""

    ids: list[str] = field(default_factory=list)
    submit_s: list[float] = field(default_factory=list)
    read_s: list[float] = field(default_factory=list)
    fetched: int = 0


@dataclass(frozen=True)
class Mark:
    """A moment: the wall clock, our own CPU time and the system's."""

    wall_s: float
    own_s: float
    used: cpu.Seconds

    @classmethod
    def now(cls, system: System) -> "Mark":
        """This moment."""
        return cls(time.monotonic(), time.process_time(), system.cpu())


def submitting(system: System, bodies: list[bytes], record: Record) -> Script:
    """A client that submits one job after another."""
    for body in bodies:
        response = yield system.submit(body)
        record.ids.append(job_id(response))
        record.submit_s.append(response.took_s)


def fetching(system: System, ids: list[str], record: Record) -> Script:
    """A client that reads each of these jobs once."""
    for wanted in ids:
        response = yield system.read(wanted)
        record.fetched += has_succeeded(response)
        record.read_s.append(response.took_s)


def submit_all(system: System, bodies: list[bytes], clients: int, record: Record) -> None:
    """Submit, each client its share."""
    shares = [bodies[client::clients] for client in range(clients)]
    drive(system.port, [submitting(system, share, record) for share in shares])


def fetch_all(system: System, clients: int, record: Record) -> None:
    """Read every recorded job once, each client its share."""
    shares = [record.ids[client::clients] for client in range(clients)]
    drive(system.port, [fetching(system, share, record) for share in shares])


def measure(turn: Turn) -> list[Figure]:
    """Submit all, wait for all, fetch all. Raises LoadFailed unless all jobs succeed."""
    system, jobs, clients = turn.system, turn.plan.jobs, turn.plan.clients
    bodies = [cases.body(case) for case in cases.inputs(jobs, turn.seed)]
    record, since = Record(), system.now()
    marks = [Mark.now(system)]
    submit_all(system, bodies, clients, record)
    submitted_s = time.monotonic() - marks[0].wall_s
    system.wait_for(record.ids)
    marks.append(Mark.now(system))
    fetch_all(system, clients, record)
    marks.append(Mark.now(system))
    if min(system.succeeded_since(since), record.fetched) != jobs:
        raise LoadFailed(f"{system.title}: {record.fetched} of {jobs} results were fetched")
    return [
        *_cpu(marks, jobs),
        figure("submitted_per_s", "submits answered", "jobs/s", jobs / submitted_s),
        figure("jobs_per_s", "completed", "jobs/s", jobs / (marks[1].wall_s - marks[0].wall_s)),
        figure(
            "fetched_per_s", "completed and fetched", "jobs/s", jobs / (marks[2].wall_s - marks[0].wall_s)
        ),
        *latencies("submit", "submit answered", record.submit_s),
        *latencies("read", "result fetched", record.read_s),
        figure("mean_batch", "mean batch size", "jobs", system.mean_batch(since)),
        figure("succeeded", "jobs succeeded", f"of {jobs:,}", record.fetched),
    ]


def _cpu(marks: list[Mark], jobs: int) -> list[Figure]:
    """CPU figures from the moments of the start, of all jobs ended and of all results fetched."""
    start, ended, fetched = marks
    whole, unread = cpu.between(start.used, fetched.used), cpu.between(start.used, ended.used)
    own = (fetched.own_s - start.own_s) * 1000 / jobs
    return [
        cpu_total("cpu_fetched", "CPU, every result fetched", whole, jobs),
        *cpu_split("cpu_fetched", whole, jobs),
        cpu_total("cpu_completed", "CPU, results left unread", unread, jobs),
        figure("cpu_load", "load generator's own CPU", "s per 1,000", own),
    ]


MANY_CLIENTS = Section(
    "clients",
    "Many clients",
    "Clients, each on a keep-alive connection, submit one job after another as fast as they are answered. When all"
    " jobs have succeeded, every result is fetched once. That all have succeeded is read from the database, every"
    " 50 ms and by primary key, for both systems alike.",
    measure,
    repeated=True,
)
