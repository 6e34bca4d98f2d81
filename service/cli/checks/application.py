"""Checks of what runs on top: published models, API, workers, and jobs that are not being processed."""

from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import psutil

from models.pipelines import registered_pipelines
from service.catalog.bundles import missing
from service.cli.checks.finding import Examined, Finding, fail, ok, warn
from service.cli.checks.servers import can_look_up_keys, connect, counted
from service.cli.client import ApiClient
from service.cli.errors import ApiProblem, Unreachable
from service.cli.health import faults_of, process_fault, ready_file, redis_fault_text, states_of
from service.cli.target import ADMIN_KEY_FILE, Target
from service.errors import BlobUnavailable, SettingInvalid
from service.faults import faults_file, read_faults
from service.jobs.sweeps import LAST_SWEEP, LastSweep
from service.pulse import Pulse, pulse_file
from service.refusals import read_refusals, refusals_file
from service.shared_refusals import MODEL_REFUSED
from service.storage import FsspecBlobStore

MODELS = "SELECT DISTINCT name FROM model_version ORDER BY name"
BUNDLES = "SELECT name, version, digest, manifest->'files' FROM model_version ORDER BY name, version"
PIPELINES = "SELECT name, version, manifest->>'pipeline' FROM model_version ORDER BY name, version"
PACKAGE_ADVICE = (
    "Install the package that provides it wherever the API and workers run, and restart them. Until then submits of this model "
    "are answered with 503, and its jobs and batches wait."
)
MISSING_ADVICE = (
    "Restore it from the backup, or publish the bundle again with `medqueue models publish`. Its jobs wait."
)
WAITING = """SELECT count(*), coalesce(extract(epoch FROM now() - min(available_at)), 0)::float FROM job
    WHERE state = 'queued' AND available_at <= now()"""
QUARANTINED = "SELECT count(*) FROM job WHERE state = 'quarantined'"
LONG_WAIT_S = 60.0
UNUSABLE_ADVICE = (
    "The line `model_unavailable` in the API's log says why. If the package of its pipeline was installed or updated since "
    "the API started, restart the API and the workers."
)


def models(examined: Examined) -> Iterator[Finding]:
    """Whether there is a model to score with."""
    with connect(examined) as connection:
        names = [row[0] for row in connection.execute(MODELS)]
    if names:
        yield ok("models", f"{len(names)} published: {', '.join(names)}")
    else:
        yield warn("models", "none is published", "Publish one with `medqueue models publish FOLDER`.")


def bundles(examined: Examined) -> Iterator[Finding]:
    """Published models whose files are missing; nothing when all are there, or where the blob store fails as a whole."""
    with connect(examined) as connection:
        published = connection.execute(BUNDLES).fetchall()
    try:
        blobs = FsspecBlobStore(examined.settings.blob_location)
        for name, version, digest, files in published:
            lacking = missing(blobs, digest, files)
            if lacking:
                found = f"{name} {version} lacks {', '.join(lacking)} in the blob store"
                yield fail("bundles", found, MISSING_ADVICE)
    except (BlobUnavailable, SettingInvalid):
        return


def pipelines(examined: Examined) -> Iterator[Finding]:
    """Published models whose pipeline nothing that is installed here provides."""
    with connect(examined) as connection:
        published = connection.execute(PIPELINES).fetchall()
    known = registered_pipelines()
    for name, version, pipeline in published:
        if pipeline not in known:
            found = f"{name} {version} needs the pipeline {pipeline!r}, which no installed package provides"
            yield fail("pipelines", found, PACKAGE_ADVICE)


def jobs(examined: Examined) -> Iterator[Finding]:
    """Jobs that wait too long, and jobs that an operator has to look into."""
    with connect(examined) as connection:
        waiting = connection.execute(WAITING).fetchone()
        quarantined = connection.execute(QUARANTINED).fetchone()
    assert waiting is not None
    assert quarantined is not None
    yield queue(waiting[0], waiting[1])
    if quarantined[0]:
        found = f"{counted(quarantined[0], 'job')} quarantined"
        advice = "See `medqueue jobs list --state quarantined`; `medqueue jobs requeue ID` tries again."
        yield warn("quarantine", found, advice)


def sweeps(examined: Examined) -> Iterator[Finding]:
    """Whether a scheduler runs its sweeps."""
    with connect(examined) as connection:
        row = connection.execute(LAST_SWEEP).fetchone()
    yield last_sweep(None if row is None else LastSweep(*row))


def last_sweep(last: LastSweep | None) -> Finding:
    """How long ago the last round of sweeps was."""
    advice = "Look whether a scheduler runs, and into its log. Without sweeps nothing is rescued, expired or scheduled."
    if last is None:
        return warn("scheduler", "no sweep has ended yet", advice)
    found = f"the last sweep ended {last.age_s:.0f} s ago, by {last.by}"
    return fail("scheduler", found, advice) if last.late else ok("scheduler", found)


def queue(waiting: int, oldest_s: float) -> Finding:
    """Whether queued jobs are being processed."""
    found = f"{counted(waiting, 'job')} waiting, the oldest for {oldest_s:.0f} s"
    if oldest_s >= LONG_WAIT_S:
        return warn("queue", found, "Look whether workers run, or start more of them.")
    return ok("queue", found if waiting else "no job waits")


def api(examined: Examined) -> Iterator[Finding]:
    """Whether the API answers, accepts jobs, and knows the admin key."""
    with ApiClient(Target(examined.api_url, "", local=True), examined.transport) as client:
        try:
            status, content = client.probe("/readyz")
        except Unreachable as error:
            yield fail("api", error.detail, "Start it with `medqueue up`, or look into its log.")
            return
    faults = faults_of(content)
    for setting, cause, advice in faults:
        yield fail("api", f"{examined.api_url} is not ready: {setting}: {cause}", advice)
    states = states_of(content)
    if status != 200:
        if not faults:
            yield fail("api", f"{examined.api_url} accepts no jobs: {states}", "Fix what is not ok.")
        return
    yield ok("api", f"{examined.api_url} accepts jobs: {states}")
    yield from _catalogue(examined)


def _catalogue(examined: Examined) -> Iterator[Finding]:
    """Whether the API knows the admin key, and which models it cannot use."""
    path = examined.data_dir / ADMIN_KEY_FILE
    if not path.is_file():
        return
    with ApiClient(
        Target(examined.api_url, path.read_text().strip(), local=True), examined.transport
    ) as client:
        try:
            catalogue = client.models()
        except ApiProblem as problem:
            yield _refused_key(examined, path, problem)
            return
    yield ok("admin key", "the service takes it")
    for model in catalogue:
        fault = model.get("problem")
        if fault and fault["code"] == MODEL_REFUSED:
            named = f"{model['name']}@{model['version']}"
            yield fail(
                "models",
                f"every worker refuses {named}",
                f"`medqueue models show {named}` says why, and what to do.",
            )
        elif fault:
            found = f"the API cannot use {model['name']} {model['version']}: submits are answered with {fault['code']}"
            yield fail("models", found, UNUSABLE_ADVICE)


def _refused_key(examined: Examined, path: Path, problem: ApiProblem) -> Finding:
    """Advise to replace only a key that was looked up and not found."""
    if problem.status != HTTPStatus.UNAUTHORIZED:
        advice = f"Keep {path}: the answer is no verdict on the key. Look into the log of the API."
        judged = fail if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR else warn
        return judged("admin key", f"the service cannot test it: {problem.code}", advice)
    found = f"the service does not take it: {problem.code}"
    if not can_look_up_keys(examined):
        return warn("admin key", found, f"Keep {path}, and fix the database first: keys are looked up there.")
    advice = f"If this is the right database, move {path} away and start the stack again: it makes a new key."
    return warn("admin key", found, advice)


def workers(examined: Examined) -> Iterator[Finding]:
    """Whether the workers and the scheduler of this machine are up and have loaded their models."""
    run = examined.data_dir / "run"
    started = sorted(path.stem for path in run.glob("*.pid") if path.stem.startswith(("worker", "scheduler")))
    ready = sorted(path.stem for path in run.glob("*.ready"))
    if not started and not ready:
        advice = "Start them with `medqueue up`. If they run on other machines, ask there."
        yield (fail if examined.embedded else warn)("workers", "none on this machine", advice)
    for name in sorted({*started, *ready}):
        yield worker(examined, name)
        for fault in read_faults(faults_file(examined.data_dir, name)):
            yield fail("workers", f"{name} lacks what it needs: {fault.setting}: {fault.cause}", fault.advice)
        for model, refusal in read_refusals(refusals_file(examined.data_dir, name)).items():
            yield fail("models", f"{name} refuses {model}: {refusal.reason}", refusal.advice)


def worker(examined: Examined, name: str) -> Finding:
    """One worker: its process lives, and it has said that it is ready."""
    pid_file = examined.data_dir / "run" / f"{name}.pid"
    log = examined.data_dir / "log" / f"{name}.log"
    if pid_file.exists() and not _lives(pid_file):
        return fail("workers", f"the process of {name} is gone", f"Look into {log}.")
    if not ready_file(examined.data_dir, name).is_file():
        return warn("workers", f"{name} is not ready", f"It may be starting. Else look into {log}.")
    fault = process_fault(examined.data_dir, name)
    if fault is not None:
        return fail("workers", f"{name} {fault}", f"Look into {log}, and restart it.")
    pulse = Pulse.read(pulse_file(examined.data_dir, name))
    if pulse is not None and pulse.redis_away:
        return warn("workers", f"{name} works without messages", redis_fault_text(pulse))
    return ok("workers", f"{name} is ready and takes messages")


def _lives(pid_file: Path) -> bool:
    try:
        return psutil.pid_exists(int(pid_file.read_text()))
    except (OSError, ValueError):
        return False
