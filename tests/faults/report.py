"""What the scenarios found, as a page: one row a scenario, with seed, machine and versions."""

import datetime as dt
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import machine
from tests.acceptance.stack import eventually
from tests.faults.arena import COMES_BACK_WITHIN_S, Arena
from tests.faults.checker import Verdict

HEAD = """# Reliability report

What is left of jobs when workers, Redis and Postgres are killed, stopped, cut off and confused under load. Written by
`make faults`: real servers, real workers, real models. *Lost* are jobs that were answered with 2xx and never ended;
*doubled* are jobs with a second result, closing event or job for one idempotency key. The checker reads what clients saw
and the database when all is quiet, nothing else.
"""
RUN = "\n## Seed "
RUNS_KEPT = 2  # a second seed stands beside the first


@dataclass
class Row:
    """What came of one scenario."""

    name: str
    faults: str
    jobs: int
    verdict: Verdict
    took_s: float
    figures: dict[str, str] = field(default_factory=dict)


@dataclass
class Report:
    """All rows of a run, and the scenarios that failed, whether they came to a row or not."""

    seed: int
    rows: list[Row] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @contextmanager
    def scenario(self, arena: Arena, name: str) -> Iterator[dict[str, str]]:
        """Run a scenario in the block; check everything behind it. `faults` and figures go into what is yielded."""
        figures: dict[str, str] = {}
        eventually(arena.answers, within_s=COMES_BACK_WITHIN_S)
        jobs, started = len(arena.history.job_ids()), time.monotonic()
        self.failed.append(name)  # until it has passed
        yield figures
        verdict = arena.verdict()
        new_jobs = len(arena.history.job_ids()) - jobs
        took_s = time.monotonic() - started
        self.rows.append(Row(name, figures.pop("faults", ""), new_jobs, verdict, took_s, figures))
        print(f"\n{name}: {new_jobs} jobs, {took_s:.1f} s, {figures}, offences {verdict.offences or 'none'}")
        verdict.raise_for_offences()
        self.failed.remove(name)


def write_report(report: Report, path: Path) -> None:
    """The page: this run behind the one before it that had another seed."""
    written = path.read_text().split(RUN)[1:] if path.exists() else []
    others = [run for run in written if not run.startswith(f"{report.seed}\n")]
    runs = [*others, _run(report)][-RUNS_KEPT:]
    path.write_text(HEAD + "".join(RUN + run for run in runs))


def _run(report: Report) -> str:
    """The section of one run, without the start of its heading."""
    failed = f"**Failed:** {', '.join(report.failed)}.\n\n" if report.failed else ""
    return f"{report.seed}\n\n{failed}{_table(report.rows)}\n{_circumstances(report)}"


def _table(rows: list[Row]) -> str:
    lines = [
        "| scenario | faults | jobs | lost | doubled | took | found |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        figures = "; ".join(f"{name} {value}" for name, value in row.figures.items())
        lines.append(
            f"| {row.name} | {row.faults} | {row.jobs:,} | {row.verdict.lost} | {row.verdict.doubled}"
            f" | {row.took_s:.0f} s | {figures} |"
        )
    return "\n".join(lines) + "\n"


def _circumstances(report: Report) -> str:
    described = {**machine.describe(), **machine.versions()}
    words = ", ".join(f"{name} {value}" for name, value in described.items())
    today = dt.datetime.now(dt.UTC).date()
    return f"""Run on {today}: {words}. Repeat it with:

```
make faults SEED={report.seed}
```
"""
