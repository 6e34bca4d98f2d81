"""Webhooks: one endpoint is told of every end of a job, on the machine that scores them."""

import json
import sys
import time

from benchmarks import cpu, receiver, wire
from benchmarks.figures import Figure, cpu_split, cpu_total, figure
from benchmarks.processes import free_port, running
from benchmarks.sections.bulk import requests, submitting
from benchmarks.sections.section import Section, Turn
from benchmarks.system import LoadFailed, System
from benchmarks.systems import MEDQUEUE

ENDPOINTS = "/v1/webhook-endpoints"
PATIENCE_S = 120.0
STARTS_WITHIN_S = 10.0
OBSERVE_S = 0.02


def measure(turn: Turn) -> list[Figure]:
    """Submit cases in bulk and wait until the receiver has one event of each. Raises LoadFailed when it never has."""
    system, plan = turn.system, turn.plan
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.receiver", str(port)]
    with running(command, {}, system.folder / "receiver.log"):
        _wait_for(port, 0, STARTS_WITHIN_S)
        endpoint = _registered(system, f"http://127.0.0.1:{port}/")
        wanted = requests(system, plan.webhook_jobs, plan.bulk_size, turn.seed)
        ids: list[str] = []
        before, begun = system.cpu(), time.monotonic()
        wire.drive(system.port, [submitting(wanted, ids, [])])
        _wait_for(port, plan.webhook_jobs, PATIENCE_S)
        took_s, used = time.monotonic() - begun, cpu.between(before, system.cpu())
        wire.ask(system.port, wire.request("DELETE", f"{ENDPOINTS}/{endpoint}", system.headers))
    return [
        figure(
            "webhooks_per_s", "jobs submitted, scored and delivered", "events/s", plan.webhook_jobs / took_s
        ),
        cpu_total("cpu_webhooks", "CPU of all of it", used, plan.webhook_jobs),
        *cpu_split("cpu_webhooks", used, plan.webhook_jobs),
    ]


def _registered(system: System, url: str) -> str:
    body = json.dumps({"url": url, "event_types": ["job.succeeded"]}).encode()
    answer = wire.ask(system.port, wire.request("POST", ENDPOINTS, system.headers, body))
    if answer.status != 201:
        raise LoadFailed(f"no endpoint could be registered: {answer.body!r}")
    return str(json.loads(answer.body)["id"])


def _wait_for(port: int, events: int, within_s: float) -> None:
    until = time.monotonic() + within_s
    while True:
        try:
            counted = int(wire.ask(port, wire.request("GET", receiver.COUNT_PATH, b"")).body)
        except OSError:
            counted = -1  # it does not listen yet
        if counted >= events:
            return
        if time.monotonic() > until:
            raise LoadFailed(f"the receiver has {counted} of {events} events after {within_s:.0f} s")
        time.sleep(OBSERVE_S)


WEBHOOKS = Section(
    "webhooks",
    "Webhooks",
    "Cases are submitted in bulk; measured until a receiver on the same machine has the signed event of each job. The"
    " scheduler sends them. The plain twin has no webhooks.",
    measure,
    repeated=True,
    systems=(MEDQUEUE,),
)
