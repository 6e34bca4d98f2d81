"""Every attack against a running stack, alone and all together: `python -m tests.hostile docs/hostile-report.md`.

Measured are another tenant's `stat` jobs from submit to result and `/healthz`, before and during each attack, the memory
that each process has to itself, and which processes died.
"""

import contextlib
import datetime as dt
import os
import re
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks import machine
from tests.acceptance import cases, nights
from tests.acceptance.stack import Stack, eventually
from tests.hostile.attacks import (
    ATTACKS,
    SLOW,
    Attack,
    Battlefield,
    bombs,
    flood_of_a_quick_model,
    flood_of_a_slow_model,
)
from tests.hostile.files import grey_png
from tests.hostile.going_on import going_on

ROUNDS = 60  # of a job and a probe
LASTS_S = 20.0  # an attack, before it is measured and while it is
MB = 2**20
SLOWER, PROBE_S, MORE_MB = 3.0, 0.2, 150.0
LARGE_ROWS = 400_000
ALL = "all of them"

HEAD = """# Hostile report

What one tenant, or a stranger without a key, can do to the others. Written by `make hostile`: a whole stack is attacked
in each way of `tests/hostile/attacks.py`, and in all of them at once.

*Job* is another tenant's `stat` job from submit to result, *probe* is `/healthz`, each the 95th percentile of {rounds},
before and during the attack. *Times* is how many times as long as undisturbed a job takes, by the 95th percentile of all
jobs before attacks. *API* and *worker* are the most memory that one of these processes had to itself during the attack,
above what it had before the first one, with the models loaded that the attacks ask for. The bounds: a job takes less than
three times as long, a probe less than 200 ms, memory stays under 150 MB, no process dies. The other tenant's client runs on
the same two cores as the stack. So does each attack, in a process of its own, which yields to the stack (its niceness is 10):
at a machine of its own it would take nothing from these cores.
"""
TABLE = """
## {workers}

Undisturbed: {undisturbed} ms.

| attack | job before | job during | times | probe during | API | worker | died | answers |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""


@dataclass
class Row:
    """What came of an attack."""

    name: str
    before_s: Sequence[float]
    during_s: float
    probe_s: float
    api_mb: float
    worker_mb: float
    died: Sequence[str]
    answers: Counter[str]

    def holds(self, undisturbed_s: float) -> bool:
        """Whether it stayed within the bounds."""
        within = self.during_s < SLOWER * undisturbed_s and self.probe_s < PROBE_S
        return within and max(self.api_mb, self.worker_mb) < MORE_MB and not self.died

    def told(self, undisturbed_s: float) -> str:
        """A line of the table."""
        said = ", ".join(f"{count:,} of {answer}" for answer, count in self.answers.most_common(6))
        figures = (
            f"{percentile_95(self.before_s) * 1000:.0f} ms", f"{self.during_s * 1000:.0f} ms",
            f"{self.during_s / undisturbed_s:.1f}",
            f"{self.probe_s * 1000:.0f} ms", f"{self.api_mb:+.0f} MB", f"{self.worker_mb:+.0f} MB",
            ", ".join(self.died) or "none", said,
        )  # fmt: skip
        return f"| {self.name} | {' | '.join(figures)} |"


class Processes:
    """The stack's processes, but for those that parse files and those of the database."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._first = {kind: self._most_mb(kind) for kind in ("api", "worker")}
        self.most = dict.fromkeys(self._first, 0.0)
        self._stop = threading.Event()

    def ids(self) -> dict[str, tuple[int, ...]]:
        """By program: its own id, and for the API those of its server processes."""
        found = {}
        for name in ("api", "scheduler", *self._stack.worker_names):
            own = psutil.Process(self._stack.pid(name))
            servers = own.children() if name == "api" else []
            found[name] = (own.pid, *sorted(child.pid for child in servers))
        return found

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Note the most memory while the block lasts."""
        self.most = dict.fromkeys(self._first, 0.0)
        self._stop.clear()
        thread = threading.Thread(target=self._watch)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(1.0):
            with contextlib.suppress(psutil.Error, OSError):
                for kind, first in self._first.items():
                    self.most[kind] = max(self.most[kind], self._most_mb(kind) - first)

    def _most_mb(self, kind: str) -> float:
        ids = [pid for name, pids in self.ids().items() if name.startswith(kind) for pid in pids]
        return max(float(psutil.Process(pid).memory_full_info().uss) for pid in ids) / MB


def main(page: Path) -> int:
    """Run every attack and write the page. The exit code is 1 when a bound was exceeded.

    The stack has one worker, as `medqueue up` starts it. What keeps workers busy is also tried with two, which leave the
    other programs no core.
    """
    text, beyond = HEAD.format(rounds=ROUNDS), list[str]()
    busy = (flood_of_a_slow_model, flood_of_a_quick_model)
    for workers, attacks in (("One worker", ATTACKS), ("Two workers on two cores", busy)):
        rows = attacks_on(1 if workers == "One worker" else 2, attacks)
        undisturbed_s = percentile_95([each for row in rows for each in row.before_s])
        text += TABLE.format(workers=workers, undisturbed=f"{undisturbed_s * 1000:.0f}")
        text += "".join(f"{row.told(undisturbed_s)}\n" for row in rows)
        beyond += [f"{row.name} ({workers.lower()})" for row in rows if not row.holds(undisturbed_s)]
    page.write_text(text + _circumstances())
    if beyond:
        print(f"Beyond a bound: {', '.join(beyond)}.", file=sys.stderr)
    return 1 if beyond else 0


def attacks_on(workers: int, attacks: Sequence[Attack]) -> list[Row]:
    """Each of these attacks on a stack of so many workers, and all of them at once."""
    rows = []
    with (
        tempfile.TemporaryDirectory(prefix="medqueue-hostile-") as folder,
        battlefield(Path(folder), workers) as (stack, field, victim),
    ):
        processes = Processes(stack)
        sets: list[tuple[str, Sequence[Attack]]] = [
            (each.__name__.replace("_", " "), [each]) for each in attacks
        ]
        for name, together in [*sets, (ALL, ATTACKS)]:
            rows.append(attacked(name, together, field, victim, processes))
            print(rows[-1].told(percentile_95(rows[-1].before_s)), flush=True)
            quiet(field)
    return rows


def percentile_95(values: Sequence[float]) -> float:
    """Their 95th percentile."""
    return statistics.quantiles(values, n=20)[-1]


@contextlib.contextmanager
def battlefield(folder: Path, workers: int) -> Iterator[tuple[Stack, Battlefield, httpx.Client]]:
    """A stack with two tenants that attack and one that works."""
    own, other = folder / "roots" / "own", folder / "roots" / "other"
    for root in (own, other):
        root.mkdir(parents=True)
    settings = {
        "MEDQUEUE_BATCH_TENANT_ROOTS": f"hostile = {own}, read|write; quiet = {other}, read|write",
        "MEDQUEUE_MAX_QUEUED_PER_TENANT": "10000",
    }
    stack = Stack(folder / "data", settings, workers=workers, forked=False)
    try:
        stack.start()
        keys = [stack.new_key(name) for name in ("hostile", "hostile too")]
        with stack.client(stack.new_key("quiet")) as victim:
            (other / "cases.csv").write_bytes(nights.as_csv(nights.rows(3)))
            (own / "own.csv").write_bytes(nights.as_csv(nights.rows(3)))
            (own / "link").symlink_to(other)
            os.mkfifo(own / "pipe")
            with socket.socket(socket.AF_UNIX) as special:
                special.bind(str(own / "socket"))
            field = Battlefield(stack.port, keys, own, other / "cases.csv")
            field.large_image = field.upload(grey_png(5000, 5000))
            field.large_file = large_file(field)
            bombs()  # made before, so that making them takes nobody's time
            for body in (
                cases.submission(),
                cases.image_submission(cases.image()),
                {"model": SLOW, "input": cases.golden_cases(SLOW)[0]["input"]},
            ):
                loaded_by_all(stack, victim, body)
            measured(victim)
            yield stack, field, victim
    finally:
        stack.stop()


def loaded_by_all(stack: Stack, http: httpx.Client, body: dict[str, Any]) -> None:
    """Have every worker score the model of a job, so that what it takes to load it is counted with no attack."""
    logs = [stack.data / "log" / f"{name}.log" for name in stack.worker_names]
    line = re.compile(rf'"model": "{body["model"]}".*"event": "model_loaded"')

    def loaded() -> bool:
        http.post(
            "/v1/jobs/bulk", json={"jobs": [body] * 256}, headers={"Prefer": "wait=30"}
        ).raise_for_status()
        return all(line.search(log.read_text(errors="replace")) for log in logs)

    eventually(loaded, within_s=60)


def large_file(field: Battlefield) -> str:
    """The path of a result of some 100 MB."""
    body = {
        "model": cases.BREAST_CANCER,
        "source": {"upload_id": field.upload(nights.as_csv(nights.rows(LARGE_ROWS)))},
    }
    _, batch = field.ask("POST", "/v1/batches", body | {"format": "csv"})
    path = f"/v1/batches/{batch['id']}"
    eventually(lambda: field.ask("GET", path)[1]["state"] == "completed", within_s=300, every_s=1)
    return f"{path}/results"


def attacked(
    name: str, attacks: Sequence[Attack], field: Battlefield, victim: httpx.Client, processes: Processes
) -> Row:
    """Measure before and during the attacks."""
    before_s, _ = measured(victim)
    ids = processes.ids()
    with processes.watched(), going_on(field, attacks):
        time.sleep(LASTS_S / 2)
        began = time.monotonic()
        jobs_s, probes_s = measured(victim)
        time.sleep(max(0.0, LASTS_S / 2 - (time.monotonic() - began)))
    died = [each for each, now in processes.ids().items() if now != ids[each]]
    return Row(
        name,
        before_s,
        percentile_95(jobs_s),
        percentile_95(probes_s),
        processes.most["api"],
        processes.most["worker"],
        died,
        field.answers.copy(),
    )


def measured(victim: httpx.Client) -> tuple[Sequence[float], Sequence[float]]:
    """What each job and each probe took, in seconds."""
    body = cases.submission(priority="stat")

    def job() -> None:
        answer = victim.post("/v1/jobs", json=body, headers={"Prefer": "wait=60"})
        assert answer.json()["state"] == "succeeded", answer.text

    def probe() -> None:
        assert victim.get("/healthz").status_code == 200

    took = [(timed(job), timed(probe)) for _ in range(ROUNDS)]
    jobs, probes = zip(*took, strict=True)
    return jobs, probes


def timed(work: Callable[[], None]) -> float:
    """How long it takes, in seconds."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


def quiet(field: Battlefield) -> None:
    """Wait until what an attack left behind has been done."""

    def done() -> bool:
        found = [field.ask("GET", "/v1/jobs?state=queued&limit=1", key=key)[1] for key in field.keys]
        return not any(page["items"] for page in found)

    eventually(done, within_s=600, every_s=1)


def _circumstances() -> str:
    date = dt.datetime.now(dt.UTC).date()
    described = ", ".join(
        f"{name} {value}" for name, value in {**machine.describe(), **machine.versions()}.items()
    )
    return f"\nRun on {date}: {described}. Repeat it with `make hostile`.\n"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
