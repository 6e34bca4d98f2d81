"""`medqueue submit`: one case, many, or a file; waits for the result."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click

from models.field_codes import FieldCode
from service.cli.batches.sources import is_batch
from service.cli.cases import EXAMPLE_UPLOAD, STDIN, FileCase, JsonCases, read_cases, read_file
from service.cli.errors import AnswerLost, ApiProblem
from service.cli.exits import ExitCode
from service.cli.options import FiniteRange, Moment, Pair, each_name_once, model_options, over_api
from service.lifecycle import JobState, Priority

if TYPE_CHECKING:
    from service.cli.client import ApiClient, Json
    from service.cli.output import Output

Answer = TypeVar("Answer")

WAIT_S = 60.0
BULK_LIMIT = 1000
OF_FIELDS = {FieldCode.MISSING_FIELD, FieldCode.UNKNOWN_FIELD}  # what only models find that take fields


@click.command("submit")
@click.argument("file", metavar="FILE")
@click.option(
    "--model", required=True, metavar="NAME[@VERSION]", help="Model, or one version or alias of it."
)
@click.option(
    "--priority",
    type=click.Choice([priority.name.lower() for priority in Priority]),
    default="routine",
    show_default=True,
    help="How urgent it is.",
)
@click.option("--subject", metavar="TEXT", help="Your reference to the patient; stored encrypted.")
@click.option(
    "--deadline", type=Moment(), metavar="ISO", help="The job expires if it has not started by this time."
)
@click.option("--not-before", type=Moment(), metavar="ISO", help="Not started before this time.")
@click.option(
    "--after",
    type=click.UUID,
    multiple=True,
    metavar="ID",
    help="A job that must have succeeded first (repeatable).",
)
@click.option(
    "--part",
    "parts",
    type=Pair("NAME=PATH", "scan=chest.png"),
    multiple=True,
    callback=each_name_once,
    metavar="NAME=PATH",
    help="A file that is a part of the input, such as scan=chest.png (repeatable).",
)
@model_options
@click.option(
    "--wait",
    "wait_s",
    type=FiniteRange(min=0),
    default=WAIT_S,
    show_default=True,
    metavar="S",
    help="Seconds to wait for the result.",
)
@click.option("--no-wait", is_flag=True, help="Print the accepted job and exit.")
@click.option("--idempotency-key", metavar="K", help="Makes retries safe: the same case is stored once.")
@over_api
def submit(
    api: ApiClient,
    out: Output,
    *,
    file: str,
    model: str,
    priority: str,
    subject: str | None,
    deadline: datetime | None,
    not_before: datetime | None,
    after: tuple[uuid.UUID, ...],
    parts: tuple[tuple[str, str], ...],
    options: tuple[tuple[str, Any], ...],
    wait_s: float,
    no_wait: bool,
    idempotency_key: str | None,
) -> int:
    """Submit FILE to a model and wait for the result.

    FILE is JSON: one input object, or a list of them for a bulk submit; or an image or other file. `-` reads
    stdin. `medqueue models show NAME` says what a model takes, `--example` gives an input to start from.

    Ends with 0 when every case succeeded, 1 when one did not, 4 when one was refused, and 6 when one has not
    ended within --wait: it continues, and `medqueue jobs show ID` shows it later.

    \b
    Examples:
      medqueue submit case.json --model breast-cancer-wisconsin
      medqueue submit chest.png --model pneumonia-xray-28 --priority stat
      medqueue submit ward.json --model breast-cancer-wisconsin --json > results.json
      medqueue submit next.json --model breast-cancer-wisconsin --after 0199f2f0-5b1e-7c70-8a3b-2f6f0c3f9d11
      medqueue submit case.json --model second-look --part scan=chest.png
      medqueue submit - --model breast-cancer-wisconsin --no-wait < case.json
    """
    fields: Json = {"model": model, "priority": priority}
    if subject is not None:
        fields["subject"] = subject
    if deadline is not None:
        fields["deadline"] = deadline.isoformat()
    if not_before is not None:
        fields["not_before"] = not_before.isoformat()
    if after:
        fields["after"] = [str(job_id) for job_id in after]
    if options:
        fields["options"] = dict(options)
    cases, wait_s = read_cases(file), 0.0 if no_wait else wait_s
    files = _files(parts, cases)
    key = idempotency_key or str(uuid.uuid4())
    try:
        if isinstance(cases, JsonCases) and cases.listed:
            return _submit_many(api, out, [{**fields, "input": each} for each in cases.inputs], key, wait_s)
        return _submit_one(api, out, {**fields, "input": _only_input(api, cases, files)}, key, wait_s)
    except AnswerLost as lost:
        raise AnswerLost(
            f"{lost.detail} Repeat the command with --idempotency-key {key}: what was stored is not stored twice."
        ) from None
    except ApiProblem as problem:
        raise _advised(problem, cases, file, model) from None


def _advised(problem: ApiProblem, cases: JsonCases | FileCase, file: str, model: str) -> ApiProblem:
    """The problem, with what to do on the command line where that is known."""
    if isinstance(cases, FileCase) and any(field.code in OF_FIELDS for field in problem.errors):
        return _wants_fields(problem, file, model)
    lacking = _files_lacking(problem)
    return _wants_files(problem, lacking) if lacking else problem


def _wants_fields(problem: ApiProblem, file: str, model: str) -> ApiProblem:
    """One error instead of one for each field that a file, sent as it is, lacks."""
    name = "stdin" if file == STDIN else file
    detail = (
        f"{name} is not JSON, and {model} takes no file but a JSON object of fields: "
        f"`medqueue models show {model} --example` gives one to start from. "
        "If one of the fields is a file, send it with --part NAME=PATH."
    )
    if is_batch(file):
        detail += f" Many cases in one file are a batch: `medqueue batch submit {file} --model {model}`."
    return ApiProblem(problem.status, problem.code, detail)


def _files_lacking(problem: ApiProblem) -> list[str]:
    """The fields of the input that are files and were not sent."""
    from models.pipelines.parts import FILE_FORM

    return [
        field.pointer.removeprefix("/input/")
        for field in problem.errors
        if field.code == FieldCode.MISSING_FIELD and field.detail.endswith(FILE_FORM)
    ]


def _wants_files(problem: ApiProblem, lacking: list[str]) -> ApiProblem:
    """The same problem, with the option that sends a local file."""
    options = " ".join(f"--part {name}=PATH" for name in lacking)
    detail = f"{problem.detail} Send a local file with {options}."
    return ApiProblem(problem.status, problem.code, detail, problem.errors, request_id=problem.request_id)


def _files(parts: tuple[tuple[str, str], ...], cases: JsonCases | FileCase) -> dict[str, FileCase]:
    """The files that are parts of the one input, by name. Raises click.UsageError."""
    if parts and (isinstance(cases, FileCase) or cases.listed or not isinstance(cases.inputs[0], dict)):
        raise click.UsageError(
            "--part goes with one input, a JSON object; in a list, give the upload_id of each file."
        )
    for name, _ in parts:
        if isinstance(cases, JsonCases) and cases.inputs[0].get(name, EXAMPLE_UPLOAD) != EXAMPLE_UPLOAD:
            raise click.UsageError(f"{name} is in FILE and given with --part: remove one of them.")
    return {name: read_file(path) for name, path in parts}


def _only_input(api: ApiClient, cases: JsonCases | FileCase, files: dict[str, FileCase]) -> Any:
    """The one input, with the `files` that are parts of it."""
    if isinstance(cases, FileCase):
        return _sent(api, cases)
    if not files:
        return cases.inputs[0]
    return {**cases.inputs[0], **{name: _sent(api, file) for name, file in files.items()}}


def _sent(api: ApiClient, file: FileCase) -> Json:
    """How a file goes into a request: as it is, or uploaded before if it is large."""
    if file.inline:
        return file.encoded()
    with file.open() as opened:
        return {"upload_id": api.upload(opened)}


def _submit_one(api: ApiClient, out: Output, case: Json, key: str, wait_s: float) -> int:
    from service.cli import job_tables

    with out.waiting("submitting") as label:
        job = repeated_if_lost(lambda: api.submit(case, key))
        label(f"job {job['id']} is {job['state']}")
        if wait_s:
            job = _ended(api, job, wait_s)
    out.show(job, lambda: job_tables.job(job))
    if wait_s and _pending(job):
        out.note(f"Not ended within {wait_s:g} s. See it later: medqueue jobs show {job['id']}")
    return outcome([job], waited=bool(wait_s))


def _submit_many(api: ApiClient, out: Output, cases: list[Json], key: str, wait_s: float) -> int:
    from service.cli import job_tables

    with out.waiting(f"submitting {len(cases)} cases") as label:
        items = _submitted(api, cases, key)
        if wait_s:
            items = _all_ended(api, items, wait_s, label)
    out.show({"items": items}, lambda: job_tables.answers(items))
    return outcome(items, waited=bool(wait_s))


def _submitted(api: ApiClient, cases: list[Json], key: str) -> list[Json]:
    """The answers to all cases, sent in requests of up to 1,000, each under a key of its own."""
    answers: list[Json] = []
    for start in range(0, len(cases), BULK_LIMIT):
        part, part_key = cases[start : start + BULK_LIMIT], _part_key(key, start, len(cases))
        answers += repeated_if_lost(partial(api.submit_bulk, part, part_key))
    return answers


def _part_key(key: str, start: int, count: int) -> str:
    return key if count <= BULK_LIMIT else f"{key}.{start // BULK_LIMIT}"


def repeated_if_lost(send: Callable[[], Answer]) -> Answer:
    """The answer to a request that carries an idempotency key: sent once more when its answer was lost."""
    try:
        return send()
    except AnswerLost:
        return send()


def _all_ended(api: ApiClient, items: list[Json], wait_s: float, label: Callable[[str], None]) -> list[Json]:
    import time

    end = time.monotonic() + wait_s
    ended = []
    for index, item in enumerate(items):
        label(f"{index} of {len(items)} have ended")
        left = max(end - time.monotonic(), 0.0)
        ended.append(_ended(api, item, left) if "state" in item else item)
    return ended


def _ended(api: ApiClient, job: Json, wait_s: float) -> Json:
    from service.cli.waiting import until_ended

    return until_ended(api, job["id"], wait_s)


def _pending(item: Json) -> bool:
    return item.get("state") in {JobState.WAITING, JobState.QUEUED, JobState.RUNNING}


def outcome(items: list[Json], *, waited: bool) -> ExitCode:
    """How a submit ends whose answers are `items`: jobs, or problems of cases that were refused."""
    if any("state" not in item for item in items):
        return ExitCode.REFUSED
    if not waited:
        return ExitCode.OK
    if any(not _pending(item) and item["state"] != JobState.SUCCEEDED for item in items):
        return ExitCode.FAILED
    return ExitCode.PENDING if any(_pending(item) for item in items) else ExitCode.OK
