"""Overnight batches: a night's file scored by two workers, and what single jobs notice of it."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import cpu, night, wire
from benchmarks.figures import Figure, figure, percentile_ms
from benchmarks.night import Bare
from benchmarks.plan import Plan
from benchmarks.sections.idle import polling, probes
from benchmarks.sections.section import Section, Turn
from benchmarks.system import LoadFailed, System
from benchmarks.systems import MEDQUEUE, NIGHT_FOLDER, with_second_worker
from benchmarks.wire import drive

BATCHES_PATH = "/v1/batches"
OBSERVE_S = 0.05
OBSERVE_SHARE = 0.02  # of the time that a batch has taken: asking takes CPU, which is counted
PATIENCE_S = 600.0
PERCENTILE = 0.95
FIRST_IMAGES = (
    2048  # several chunks, so that both workers have loaded the model and started what reads images
)
SERVERS = ("postgres", "redis")


def measure_rows(turn: Turn) -> list[Figure]:
    """Rows of a Parquet file."""
    file = turn.system.folder / NIGHT_FOLDER / f"rows-{turn.number}.parquet"
    night.write_rows(file, turn.plan.batch_rows, turn.seed)
    bare = night.bare_rows(file)
    with with_second_worker(turn.system) as system:
        found = scored(system, file, night.TABULAR, "parquet", "id")
    return compared("rows", "rows", turn.plan.batch_rows, bare, found)


def measure_images(turn: Turn) -> list[Figure]:
    """Images of a ZIP, and single jobs beside them."""
    plan = turn.plan
    file = turn.system.folder / NIGHT_FOLDER / f"images-{turn.number}.zip"
    night.write_images(file, plan.batch_images, turn.seed)
    first = file.with_stem(f"first-{turn.number}")
    night.write_images(first, FIRST_IMAGES, turn.seed)
    bare = night.bare_images(file)
    with with_second_worker(turn.system) as system:
        scored(system, first, night.IMAGES, "zip", None)
        found = scored(system, file, night.IMAGES, "zip", None)
        alone = _probed(system, plan)
        beside, run_rows = _beside_a_batch(system, plan, file)
    micro_batch_ms = 1000 * run_rows * bare.run_s / plan.batch_images
    return [
        *compared("images", "images", plan.batch_images, bare, found),
        figure("batch_alone_p95_ms", "single job, no batch, p95", "ms", alone),
        figure("batch_beside_p95_ms", "single job beside a batch of images, p95", "ms", beside),
        figure("batch_micro_ms", "graph's time of one micro-batch of that batch", "ms", micro_batch_ms),
        figure("batch_delay_ms", "growth of p95 less one micro-batch", "ms", beside - alone - micro_batch_ms),
    ]


@dataclass(frozen=True)
class Found:
    """What a batch took."""

    batch_id: str
    took_s: float
    used: cpu.Seconds
    memory_mb: float


def scored(system: System, file: Path, model: str, form: str, id_column: str | None) -> Found:
    """Score a file as a batch. Raises LoadFailed unless every row gets an answer."""
    before, begun = system.cpu(), time.monotonic()
    batch_id = _open(system, file, model, form, id_column)
    _wait_for(system, batch_id)
    took_s = time.monotonic() - begun
    return Found(batch_id, took_s, cpu.between(before, system.cpu()), _peak_mb(system))


def compared(
    key: str, what: str, count: int, bare: Bare, found: Found, workers: str = "two workers"
) -> list[Figure]:
    """The figures of a batch beside those of the bare loop over the same file."""
    million = 1e6 / count
    used = sum(found.used.values())
    return [
        figure(f"batch_{key}_per_s", f"{what} scored by {workers}", f"{what}/s", count / found.took_s),
        figure(f"bare_{key}_per_s", f"{what} scored by the bare loop", f"{what}/s", count / bare.wall_s),
        figure(f"batch_{key}_share", "the first as a share of the second", "", bare.wall_s / found.took_s),
        figure(f"batch_{key}_cpu", f"CPU of all processes, a million {what}", "s", used * million),
        figure(f"bare_{key}_cpu", f"CPU of the bare loop, a million {what}", "s", bare.cpu_s * million),
        figure(f"batch_{key}_cpu_share", "the second as a share of the first", "", bare.cpu_s / used),
        figure(f"batch_{key}_mb", "most memory any API or worker process ever had", "MB", found.memory_mb),
    ]


def _peak_mb(system: System) -> float:
    """The most that any process of API, workers and scheduler ever had resident."""
    ours = [pid for name, pid in system.roots.items() if name not in SERVERS]
    files = [Path(f"/proc/{process.pid}/status") for pid in ours for process in cpu.tree(pid)]
    lines = [line for file in files for line in file.read_text().splitlines() if line.startswith("VmHWM")]
    return max(int(line.split()[1]) for line in lines) / 1024


def _beside_a_batch(system: System, plan: Plan, file: Path) -> tuple[float, int]:
    """p95 of single jobs while a batch runs, in milliseconds, and the size of its micro-batches."""
    batch_id = _open(system, file, night.IMAGES, "zip", None)
    _until(system, batch_id, lambda batch: batch["state"] == "running")
    found = _probed(system, plan)
    if _batch(system, batch_id)["state"] != "running":
        raise LoadFailed("the batch ended before the single jobs did: let it be larger")
    with psycopg.connect(system.database_url) as connection:
        row = connection.execute("SELECT run_rows FROM batch WHERE id = %s", (batch_id,)).fetchone()
    wire.ask(system.port, wire.request("POST", f"{BATCHES_PATH}/{batch_id}/cancel", system.headers, b""))
    assert row is not None
    return found, int(row[0])


def _probed(system: System, plan: Plan) -> float:
    seconds: list[float] = []
    drive(system.port, [polling(system, plan, probes(plan), seconds)])
    return percentile_ms(seconds, PERCENTILE)


def _open(system: System, file: Path, model: str, form: str, id_column: str | None) -> str:
    wanted: dict[str, Any] = {"model": model, "source": {"uri": file.as_uri()}, "format": form}
    wanted["output"] = {"format": "parquet"}
    if id_column is not None:
        wanted["id_column"] = id_column
    body = json.dumps(wanted).encode()
    answer = wire.ask(system.port, wire.request("POST", BATCHES_PATH, system.headers, body))
    if answer.status != 202:
        raise LoadFailed(f"no batch could be opened: {answer.body!r}")
    return str(json.loads(answer.body)["id"])


def _batch(system: System, batch_id: str) -> dict[str, Any]:
    answer = wire.ask(system.port, wire.request("GET", f"{BATCHES_PATH}/{batch_id}", system.headers))
    found: dict[str, Any] = json.loads(answer.body)
    return found


def _wait_for(system: System, batch_id: str) -> None:
    batch = _until(system, batch_id, lambda batch: batch["finished_at"] is not None)
    if batch["state"] != "completed" or batch["counts"]["failed"]:
        raise LoadFailed(f"the batch did not complete as it should: {batch}")


def _until(system: System, batch_id: str, done: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    began = time.monotonic()
    while not done(batch := _batch(system, batch_id)):
        if (took_s := time.monotonic() - began) > PATIENCE_S:
            raise LoadFailed(f"the batch is not done after {PATIENCE_S:.0f} s: {batch}")
        time.sleep(max(OBSERVE_S, OBSERVE_SHARE * took_s))
    return batch


BATCH_ROWS = Section(
    "batch_rows",
    "Overnight batch of rows",
    "A Parquet file of 30 numbers and an id a row is scored into Parquet, from the request to the completed batch: planned,"
    " every cell checked, repeated ids looked for, parts sealed, joined and hashed. The bare loop reads the same file with"
    " pyarrow, runs the same graph in one process and writes Parquet. The plain twin has no batches.",
    measure_rows,
    repeated=True,
    systems=(MEDQUEUE,),
)
BATCH_IMAGES = Section(
    "batch_images",
    "Overnight batch of images",
    "The same for PNG images in a ZIP, after a first batch, since the bare loop's time leaves imports out, too; then one client"
    " submits 20 single jobs a second of another model, with and without that batch beside it.",
    measure_images,
    systems=(MEDQUEUE,),
)
