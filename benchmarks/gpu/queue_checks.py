"""The checks that need the queue: memory that runs out, a kernel that hangs, two models in one budget, throughput."""

import json
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import psycopg

from benchmarks.figures import Figure, figure
from benchmarks.gpu.bundles import FITS, GREEDY, HANG_DOSE, HANGING, LARGEST, write_greedy, write_hanging
from benchmarks.gpu.device import CheckFailed, Device
from benchmarks.gpu.scored import Scored
from benchmarks.processes import wait_for_file
from benchmarks.system import System, job_ids
from benchmarks.systems import medqueue_system, with_second_worker
from benchmarks.wire import ask, request
from models.bundle import bundled
from models.manifest import MODEL
from models.pipelines import Array
from service.bootstrap import publish_folder
from service.catalog import Catalog
from service.config import Settings
from service.db import Database
from service.storage import FsspecBlobStore
from workers.heartbeat import HANG_EXIT_STATUS
from workers.pool import ModelPool

BULK = 250
JOBS, QUICK_JOBS = 10_000, 60
LEASE_S = 3.0
PATIENCE_S = 60.0
PAIR = ("breast-cancer-wisconsin", "pneumonia-xray-28")
SWAPS = 10
JOB = "SELECT state::text, attempt, problem->>'code' FROM job WHERE id = %s"


def halving(device: Device, system: System) -> Iterator[Figure]:
    """Jobs whose batches run out of memory all succeed, in smaller batches, and the worker remembers the size."""
    publish(system, write_greedy(system.folder / GREEDY, device))
    ids = submit(system, GREEDY, [{"dose": 1.0 + row / 10, "age": 40.0} for row in range(3 * LARGEST)])
    began = time.perf_counter()
    system.wait_for(ids)
    yield figure(
        "halving_s", f"{len(ids)} jobs in batches that had to be halved", "s", time.perf_counter() - began
    )
    limit = metric(system, f'medqueue_batch_limit{{model="{GREEDY}"}}')
    if limit != FITS:
        raise CheckFailed(f"the worker's batch limit is {limit}, not {FITS}")


def hanging(device: Device, system: System) -> Iterator[Figure]:
    """A kernel that hangs ends its worker, not its lease's end: the job is taken back, and the GPU is free again."""
    publish(system, write_hanging(system.folder / HANGING, device))
    [sound] = submit(system, HANGING, [{"dose": 1.0, "age": 40.0}])  # so the model is loaded
    system.wait_for([sound])
    worker, used_mb = psutil.Process(system.roots["worker"]), device.used_mb()
    [hung] = submit(system, HANGING, [{"dose": HANG_DOSE, "age": 40.0}])
    began = time.perf_counter()
    status = worker.wait(timeout=PATIENCE_S)
    if status != HANG_EXIT_STATUS:
        raise CheckFailed(f"the worker ended with {status}, not with {HANG_EXIT_STATUS}")
    yield figure("hang_ended_s", "from the submit to the end of the worker", "s", time.perf_counter() - began)
    _wait_until(system, hung, ("queued", 1, None))
    yield figure(
        "hang_rescued_s", "from the submit until the job was taken back", "s", time.perf_counter() - began
    )
    yield figure(
        "hang_freed_mb", "memory that the worker's end gave back", "MiB", max(0.0, used_mb - device.used_mb())
    )
    ask(system.port, request("POST", f"{system.path}/{hung}/cancel", system.headers, b"{}"))
    with with_second_worker(system):
        [sound] = submit(system, HANGING, [{"dose": 2.0, "age": 40.0}])
        _wait_until(system, sound, ("succeeded", 1, None))


def budget(device: Device, system: System) -> Iterator[Figure]:
    """Two models share one memory budget: both stay where both fit; where one fits they take turns and leave nothing."""
    settings = Settings.from_environment(system.environment)
    database = Database(settings.database_url, pool_size=1)
    try:
        catalog, runtime = Catalog(database, cache_s=1.0), device.runtime()
        blobs, cache = FsspecBlobStore(settings.blob_location), system.folder / "check-cache"
        models = [catalog.resolve(name) for name in PAIR]
        shared = ModelPool(runtime, catalog, blobs, cache=cache, budget_mb=settings.model_memory_mb)
        first = [shared.get(model.id) for model in models]
        if [shared.get(model.id) for model in models] != first:
            raise CheckFailed("a model was loaded twice though both fit the budget")
        yield figure("shared_mb", "what both count against the budget", "MiB", shared.used_mb)
        taking_turns = ModelPool(runtime, catalog, blobs, cache=cache, budget_mb=1)
        took, before = [], 0.0
        for swap in range(SWAPS):
            began = time.perf_counter()
            taking_turns.get(models[swap % len(models)].id)
            took.append(time.perf_counter() - began)
            before = before or (device.used_mb() if swap == len(models) - 1 else 0.0)
        yield figure(
            "swap_s", "a model loaded and tried in place of the other", "s", max(took[len(models) :])
        )
        yield figure(
            "swaps_mb", f"memory grown in {SWAPS - len(models)} swaps", "MiB", device.used_mb() - before
        )
    finally:
        database.close()


def throughput(device: Device, system: System) -> Iterator[Figure]:
    """Jobs a second through the queue, and cases a second of a bare loop over session.run."""
    jobs = QUICK_JOBS if device.quick else JOBS
    for folder in bundled():
        if folder.name not in PAIR:
            continue
        model = Scored(folder)
        name, inputs = model.name, [case.input for case in model.bundle.golden]
        submit_and_wait(system, name, inputs, jobs // 10)  # warm
        took_s = submit_and_wait(system, name, inputs, jobs)
        yield figure(
            f"{name}_queue", f"{name}: through the queue, submit to last result", "jobs/s", jobs / took_s
        )
        bare_s, run_s = bare(device, model, jobs)
        yield figure(f"{name}_bare", f"{name}: bare loop, one process", "cases/s", jobs / bare_s)
        yield figure(f"{name}_run", f"{name}: session.run alone", "cases/s", jobs / run_s)
        yield figure(f"{name}_share", f"{name}: the queue as a share of the bare loop", "", bare_s / took_s)


def bare(device: Device, model: Scored, count: int) -> tuple[float, float]:
    """Seconds to score so many cases in the model's batches without a queue, and what session.run took of them."""
    session, size = device.session(model.bundle.model_path), model.bundle.manifest.runtime.max_batch
    names = [output.name for output in session.get_outputs()]
    run_s, began = 0.0, time.perf_counter()

    def run(feeds: Mapping[str, Array], graph: str = MODEL) -> Mapping[str, Array]:  # noqa: ARG001 - it is the only one
        nonlocal run_s
        run_began = time.perf_counter()
        values = session.run(None, dict(feeds))
        run_s += time.perf_counter() - run_began
        return dict(zip(names, values, strict=True))

    for start in range(0, count, size):
        model.score(run, min(size, count - start))
    return time.perf_counter() - began, run_s


@contextmanager
def stack(device: Device) -> Iterator[System]:
    """medqueue with one worker on the device, ready, on fresh servers."""
    device.runtime()  # says what CUDA lacks before anything is started
    with TemporaryDirectory() as folder:
        settings: dict[str, Any] = {"provider": device.provider, "lease_s": LEASE_S, "metrics_port": 0}
        with medqueue_system(Path(folder), **settings) as system:
            wait_for_file(system.folder / "run" / "worker.ready", system.folder / "worker.log")
            yield system


def publish(system: System, folder: Path) -> None:
    """Check a bundle and publish it."""
    settings = Settings.from_environment(system.environment)
    database = Database(settings.database_url, pool_size=1)
    try:
        publish_folder(database, FsspecBlobStore(settings.blob_location), folder, actor="check")
    finally:
        database.close()


def submit(system: System, model: str, inputs: list[Any]) -> list[str]:
    """Jobs of these inputs, in bulk; their ids."""
    ids: list[str] = []
    for start in range(0, len(inputs), BULK):
        body = {"jobs": [{"model": model, "input": each} for each in inputs[start : start + BULK]]}
        ids += job_ids(ask(system.port, system.submit_bulk(json.dumps(body).encode())))
    return ids


def submit_and_wait(system: System, model: str, inputs: list[Any], count: int) -> float:
    """Seconds from the first submit of so many jobs to the end of the last."""
    began = time.perf_counter()
    system.wait_for(submit(system, model, [inputs[row % len(inputs)] for row in range(count)]))
    return time.perf_counter() - began


def metric(system: System, name: str) -> float | None:
    """A metric of the worker, as it serves them; None where it has none of this name."""
    port = (system.folder / "run" / "worker.metrics").read_text().strip()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} ")), None)


def _wait_until(system: System, job_id: str, wanted: tuple[str, int, str | None]) -> None:
    """Wait for a job's state, attempt and problem. Raises CheckFailed."""
    until, found = time.monotonic() + PATIENCE_S, None
    with psycopg.connect(system.database_url, autocommit=True) as connection:
        while time.monotonic() < until:
            found = connection.execute(JOB, (job_id,)).fetchone()
            if found == wanted:
                return
            time.sleep(0.05)
    raise CheckFailed(f"a job is {found}, not {wanted}")
