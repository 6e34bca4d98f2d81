"""Bulk submits: hundreds of cases in one request."""

import time

from benchmarks import cases, cpu
from benchmarks.figures import Figure, cpu_split, cpu_total, figure, latencies
from benchmarks.sections.section import Section, Turn
from benchmarks.system import LoadFailed, System, job_ids
from benchmarks.systems import MEDQUEUE
from benchmarks.wire import Script, drive


def requests(system: System, jobs: int, size: int, seed: int) -> list[bytes]:
    """The bulk submits of one repeat."""
    inputs = cases.inputs(jobs, seed)
    return [
        system.submit_bulk(cases.bulk_body(inputs[start : start + size])) for start in range(0, jobs, size)
    ]


def submitting(wanted: list[bytes], ids: list[str], seconds: list[float]) -> Script:
    """A client that sends one bulk submit after another."""
    for request in wanted:
        response = yield request
        ids.extend(job_ids(response))
        seconds.append(response.took_s)


def measure(turn: Turn) -> list[Figure]:
    """Submit all, wait for all. Raises LoadFailed unless all jobs succeed."""
    system, plan = turn.system, turn.plan
    wanted = requests(system, plan.bulk_jobs, plan.bulk_size, turn.seed)
    since = system.now()
    ids: list[str] = []
    seconds: list[float] = []
    before, begun = system.cpu(), time.monotonic()
    shares = [wanted[client :: plan.bulk_clients] for client in range(plan.bulk_clients)]
    drive(system.port, [submitting(share, ids, seconds) for share in shares])
    system.wait_for(ids)
    took_s, used = time.monotonic() - begun, cpu.between(before, system.cpu())
    if system.succeeded_since(since) != plan.bulk_jobs:
        raise LoadFailed(f"{system.title}: not every job of the bulk submits succeeded")
    return [
        figure("bulk_per_s", f"completed, {plan.bulk_size} a request", "jobs/s", plan.bulk_jobs / took_s),
        cpu_total("cpu_bulk", "CPU, results left unread", used, plan.bulk_jobs),
        *cpu_split("cpu_bulk", used, plan.bulk_jobs),
        *latencies("bulk", "bulk submit answered", seconds),
        figure("bulk_mean_batch", "mean batch size", "jobs", system.mean_batch(since)),
    ]


BULK = Section(
    "bulk",
    "Bulk submits",
    "Four clients send bulk submits of 500 cases, one after another; measured until every job has succeeded."
    " The plain twin has no bulk submit.",
    measure,
    repeated=True,
    systems=(MEDQUEUE,),
)
