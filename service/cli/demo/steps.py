"""The steps of the demo, in order. Each shows something and raises DemoFailed or ApiProblem when it is not so."""

import base64
import csv
import io
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING
from uuid import uuid4

from models.field_codes import FieldCode
from models.pipelines.parts import PartKind, part_kind
from service.cli import job_tables, tables
from service.cli.batches import watching
from service.cli.client import ApiClient, Json
from service.cli.demo.cases import KnownCase, bundled_models, known_cases
from service.cli.demo.errors import DemoFailed
from service.cli.demo.receiver import Receiver
from service.cli.errors import ApiProblem
from service.cli.feed import follow
from service.cli.waiting import until_ended

if TYPE_CHECKING:
    from rich.console import RenderableType

BIOPSY = "breast-cancer-wisconsin"
XRAY = "pneumonia-xray-28"
PLAN = "treatment-plan-recommender"
WRITER = "note-writer"
WAIT_S = 30.0
ONE_BY_ONE = 5
BULK = 300
BACKLOG = 1000
QUEUED = 400
CANCEL_TRIES = 5
SAMPLED = 10
LONGEST_ANSWER = 300  # characters
NIGHT, SLIPPED = 5000, 1234


@dataclass(frozen=True)
class Tour:
    """What a step works with: the API, and how to tell the reader."""

    api: ApiClient
    show: "Callable[[RenderableType], None]"
    pictures: Path | None = None  # the folder into which pictures of results are written

    def say(self, words: str) -> None:
        """Tell the reader something."""
        self.show(tables.text(words))

    def score(self, case: KnownCase, **fields: object) -> Json:
        """Submit a case, wait for its job to end, and check the answer."""
        job = until_ended(self.api, self.submit(case, **fields)["id"], WAIT_S)
        case.verify(job)
        return job

    def submit(self, case: KnownCase, **fields: object) -> Json:
        """Submit a case; the accepted job."""
        return self.api.submit({"model": case.model, "input": case.input, **fields})

    def keep_pictures(self, case: KnownCase, job: Json) -> list[Path]:
        """Write the pictures of a job's result, if they are wanted; the files."""
        artifacts = job["result"].get("artifacts") or []
        drawn = [each["name"] for each in artifacts if each["media_type"].startswith("image/")]
        if self.pictures is None or not drawn:
            return []
        self.pictures.mkdir(parents=True, exist_ok=True)
        written = []
        for name in drawn:
            written.append(self.pictures / f"{case.model}-{name}")
            with self.api.file(f"/v1/jobs/{job['id']}/artifacts/{name}") as stretch:
                written[-1].write_bytes(b"".join(stretch.blocks))
        return written

    def submit_bulk(self, cases: list[KnownCase]) -> list[Json]:
        """Submit cases in one request; the accepted jobs."""
        jobs = self.api.submit_bulk([{"model": case.model, "input": case.input} for case in cases])
        if any("state" not in job for job in jobs):
            raise DemoFailed("A good case was refused in a bulk submit.")
        return jobs


def catalogue(tour: Tour) -> None:
    """Every published model."""
    models = tour.api.models()
    missing = set(bundled_models()) - {model["name"] for model in models}
    if missing:
        raise DemoFailed(f"Not published: {', '.join(sorted(missing))}")
    tour.say("Each model is data: an ONNX file, a manifest, a card, and cases with known answers.")
    tour.show(tables.models(models))


def every_model(tour: Tour) -> None:
    """One case of each model, its answer checked, its pictures written."""
    models = {model["name"]: model for model in tour.api.models()}
    tour.say("One case of each model. An answer that is not the known one would end this demo.")
    scored = []
    for case in (known_cases(name)[0] for name in bundled_models()):
        if reads_results(models[case.model]["input_schema"]):
            continue  # it needs another job: see the plan
        wanted = options_for_picture(models[case.model]["options_schema"]) if tour.pictures else {}
        scored.append((case, tour.score(case, options=wanted)))
    kinds = {name: model["task"] for name, model in models.items()}
    scored.sort(key=lambda each: kinds[each[0].model])
    rows = [
        (
            kinds[case.model],
            case.model,
            case.note,
            shorten(job_tables.answer(job), LONGEST_ANSWER),
            tables.took(job),
        )
        for case, job in scored
    ]
    tour.show(tables.listing(("KIND", "MODEL", "CASE", "ANSWER", "TOOK"), rows, empty="No cases."))
    for case, job in scored:
        for file in tour.keep_pictures(case, job):
            tour.say(f"The answer of {case.model}, drawn: {file}")


def reads_results(schema: Json) -> bool:
    """Whether an input of this schema names other jobs, whose results are read."""
    return any(part_kind(each) is PartKind.RESULT for each in schema.get("properties", {}).values())


def options_for_picture(schema: Json | None) -> Json:
    """The options that have a model draw its answer; empty for one that draws nothing."""
    properties = (schema or {}).get("properties", {})
    if "overlay" in properties:
        return {"overlay": True}
    return {"files": ["overlay"]} if "files" in properties else {}


def one_by_one(tour: Tour) -> None:
    """Patients one after another, each waited for."""
    tour.say("Fine needle aspirates of breast masses, submitted one after another and waited for.")
    tour.show(_answers([(case, tour.score(case)) for case in known_cases(BIOPSY)[:ONE_BY_ONE]]))


def in_bulk(tour: Tour) -> None:
    """Many at once: one request, one transaction, scored in batches."""
    cases = list(itertools.islice(itertools.cycle(known_cases(BIOPSY)), BULK))
    started = time.perf_counter()
    accepted = tour.submit_bulk(cases)
    took_s = time.perf_counter() - started
    ended = [until_ended(tour.api, job["id"], WAIT_S) for job in accepted]
    for case, job in zip(cases, ended, strict=True):
        case.verify(job)
    sizes = [_claim_size(tour.api, job) for job in ended[:: BULK // SAMPLED]]
    labels = Counter(job["result"]["label"] or "no answer" for job in ended)
    tour.say(f"{BULK} cases in one request, accepted in {tables.seconds(took_s)}, every answer as known.")
    tour.show(tables.fields([*labels.items(), ("scored together", f"up to {max(sizes)} jobs in one run")]))


def image(tour: Tour) -> None:
    """An image inside the request, and the same one through an upload."""
    case = max(known_cases(XRAY), key=lambda case: len(case.input["data"]))
    content = base64.b64decode(case.input["data"])
    tour.say(
        f"An image of {len(content):,} bytes, drawn like a child's chest X-ray: no patient's comes with the release. "
        "First as base64 in the request, then as an upload."
    )
    inline = tour.score(case, priority="urgent")
    upload_id = tour.api.upload(io.BytesIO(content))
    uploaded = until_ended(
        tour.api, tour.api.submit({"model": XRAY, "input": {"upload_id": upload_id}})["id"], WAIT_S
    )
    case.verify(uploaded)
    tour.show(_answers([(case, inline), (case, uploaded)]))
    tour.show(job_tables.job(uploaded))


def plan(tour: Tour) -> None:
    """A diagnosis, and a plan that waits for it, submitted together; a drug that the patient must not get is removed.

    One that the patient takes all the same is told.
    """
    xray = next(case for case in known_cases(XRAY) if case.expected["label"] == "pneumonia")
    diagnosis = tour.submit(xray)
    patient = {"age": 66.0, "sex": "male", "unit": "MICU", "interventions": ["mechanical ventilation"],
               "drugs": ["norepinephrine", "amoxicillin"], "diagnoses": ["A41.9"], "allergies": ["penicillin"]}  # fmt: skip
    wanted = {"model": PLAN, "input": {"diagnosis": {"job": diagnosis["id"]}, **patient}}
    accepted = tour.api.submit(wanted)
    if accepted["state"] != "waiting":
        raise DemoFailed(f"The plan is {accepted['state']} when it is submitted.")
    job = until_ended(tour.api, accepted["id"], WAIT_S)
    read = tour.api.job(diagnosis["id"])
    xray.verify(read)
    if job["state"] != "succeeded" or not job["result"]["diagnoses"][0]["used_by"]:
        raise DemoFailed(f"Job {job['id']} of {PLAN} is {job['state']}: {job.get('problem')}")
    removed = [each for each in job["result"]["drugs"]["removed"] if each["against"] == "penicillin"]
    if not removed:
        raise DemoFailed("No drug was removed although the patient is allergic to penicillin.")
    taken = [each for each in job["result"]["drugs"]["flagged_present"] if each["against"] == "penicillin"]
    if not taken:
        raise DemoFailed("Nothing was said of amoxicillin, which the patient takes and is allergic to.")
    tour.say(
        "An X-ray and, before anybody knows what it shows, a plan for the same patient: it waits for the answer."
    )
    tour.show(tables.fields([
        ("the X-ray shows", job_tables.answer(read)),
        ("the plan was", f"{accepted['state']}, after {', '.join(accepted['after'])}"),
        *((f"{each['display']} was removed", f"{each['level']}: {each['explanation']}") for each in removed),
        *((f"{each['display']} is given", f"{each['level']}: {each['explanation']}; review it") for each in taken),
    ]))  # fmt: skip
    tour.show(job_tables.job(job))


def note(tour: Tour) -> None:
    """A note is read while it is written; its pieces are the text of the answer."""
    case = max(known_cases(WRITER), key=lambda case: len(case.expected["text"] or ""))
    began, job_id = time.perf_counter(), tour.submit(case)["id"]
    pieces = []
    for message in follow(partial(tour.api.follow_text, job_id), note=tour.say):
        told = json.loads(message.data)
        if message.event == "text.appended":
            pieces.append((tables.seconds(time.perf_counter() - began), told["text"]))
        elif message.event == "text.discarded":  # its worker was lost, and another one begins again
            pieces.clear()
        else:
            break
    case.verify(tour.api.job(job_id))
    if "".join(text for _, text in pieces) != case.expected["text"]:
        raise DemoFailed(f"The text of job {job_id} that came in pieces is not that of its answer.")
    tour.say(
        "A dialogue between doctor and patient. Its note can be followed while it is written: what is new is sent up to four "
        "times a second, so a note that takes less arrives in one piece."
    )
    tour.show(tables.listing(("AFTER", "WRITTEN"), pieces, empty=""))


def stat_priority(tour: Tour) -> None:
    """An urgent job does not wait behind a backlog."""
    case = known_cases(XRAY)[0]
    backlog = tour.submit_bulk([case] * BACKLOG)
    stat = tour.score(case, priority="stat")
    until_ended(tour.api, backlog[-1]["id"], WAIT_S)
    ids = {job["id"] for job in backlog}
    routine = [job for job in tour.api.jobs({"model": XRAY}, BACKLOG + 10) if job["id"] in ids]
    later = sum(job["finished_at"] is None or job["finished_at"] > stat["finished_at"] for job in routine)
    tour.say(f"{BACKLOG:,} routine X-rays are queued, then one with the priority `stat`.")
    tour.show(
        tables.fields([
            ("stat answered after", tables.took(stat)),
            ("routine jobs ended later", f"{later} of {BACKLOG:,}, though all were there first"),
        ])
    )  # fmt: skip


def slip_of_the_pen(tour: Tour) -> None:
    """A bad input is refused at once, and the answer says what to change."""
    case = known_cases(BIOPSY)[0]
    tour.say("A slipped decimal point: mean_radius a hundred times too large.")
    slipped = {**case.input, "mean_radius": case.input["mean_radius"] * 100}
    try:
        tour.api.submit({"model": BIOPSY, "input": slipped})
    except ApiProblem as problem:
        if problem.status != 422 or [error.pointer for error in problem.errors] != ["/input/mean_radius"]:
            raise
        named = [(error.pointer, error.code, error.detail) for error in problem.errors]
        tour.show(tables.fields([("status", problem.status), ("code", problem.code)]))
        tour.show(tables.listing(("FIELD", "CODE", "WHAT TO CHANGE"), named, empty=""))
    else:
        raise DemoFailed("A value out of range was accepted.")


def trail(tour: Tour) -> None:
    """What happened to a job, from the database's own record."""
    job = tour.score(known_cases(BIOPSY)[0], subject="demo-patient-1")
    events = tour.api.events(job["id"])
    missing = {"job.submitted", "job.claimed", "job.succeeded", "result.read"} - {
        event["action"] for event in events
    }
    if missing:
        raise DemoFailed(f"The audit trail lacks {', '.join(sorted(missing))}")
    tour.say("Written in the transactions that did it; that the result was read is part of it.")
    tour.show(tables.events(events))


def cancel(tour: Tour) -> None:
    """A cancel is truthful: no result follows it."""
    tour.say(f"The last of {QUEUED} queued X-rays is canceled.")
    for _ in range(CANCEL_TRIES):  # a fast machine may have ended the job before the cancel arrives
        last = tour.submit_bulk([known_cases(XRAY)[0]] * QUEUED)[-1]
        if tour.api.cancel(last["id"])["state"] == "canceled":
            break
    job = until_ended(tour.api, last["id"], WAIT_S)
    if job["state"] != "canceled" or job.get("result") is not None:
        raise DemoFailed(f"The job is {job['state']} after its cancel.")
    tour.show(tables.events(tour.api.events(job["id"])))


def webhook(tour: Tour) -> None:
    """A receiver is notified of a job's end, with a signature and without anything confidential."""
    with Receiver() as receiver:
        endpoint = tour.api.create_endpoint(receiver.url, ["job.succeeded"], "the demo's receiver")
        job = tour.score(known_cases(BIOPSY)[0], subject="demo-patient-1")
        received = receiver.next(WAIT_S)
        while job["id"].encode() not in received.body:  # jobs of the steps before end, too
            received = receiver.next(WAIT_S)
        tour.api.delete_endpoint(endpoint["id"])
    told = received.verified(endpoint["secret"])
    if told["data"]["job_id"] != job["id"] or b"demo-patient-1" in received.body:
        raise DemoFailed("The webhook does not name the job, or contains too much.")
    tour.say(
        "Signed as Standard Webhooks ask for, verified with their library. The result is read with a key."
    )
    headers = [(name, received.headers[name]) for name in ("webhook-id", "webhook-timestamp")]
    tour.show(tables.fields([*headers, ("type", told["type"]), *told["data"].items()]))


def overnight(tour: Tour) -> None:
    """A file scored overnight: each row is answered like a single case, or with the reason why not."""
    answered = [case for case in known_cases(BIOPSY) if case.expected["label"] is not None]
    known = list(itertools.islice(itertools.cycle(answered), NIGHT))
    upload_id = tour.api.upload(io.BytesIO(_night_file(known)))
    wanted = {"model": BIOPSY, "source": {"upload_id": upload_id}, "format": "csv", "id_column": "case"}
    batch = tour.api.submit_batch(wanted, str(uuid4()))
    batch = watching.until_ended(tour.api, batch["id"], tell=lambda _: None, note=tour.say)
    results, errors = (_lines(tour.api, batch["id"], kind) for kind in ("results", "errors"))
    told = {line["row"]: line["label"] for line in results} | {line["row"]: line["code"] for line in errors}
    answers = {row: str(case.expected["label"]) for row, case in enumerate(known, 1)}
    if batch["state"] != "completed" or told != answers | {SLIPPED: FieldCode.OUT_OF_RANGE}:
        raise DemoFailed("The batch does not answer each row as known.")
    tour.say(
        f"A file of {NIGHT:,} rows, as a data team hands it over for the night. In row {SLIPPED:,} a point slipped."
    )
    tour.show(tables.fields([*batch["counts"].items(), ("took", tables.took(batch))]))
    (error,) = errors
    tour.show(
        tables.listing(
            ("ROW", "CASE", "COLUMN", "WHAT TO CHANGE"),
            [tuple(error[name] for name in ("row", "case", "column", "message"))],
            empty="",
        )
    )


def _night_file(cases: list[KnownCase]) -> bytes:
    """Cases as CSV, in one of them a number that is out of its range."""
    text = io.StringIO()
    writer = csv.DictWriter(text, ["case", *cases[0].input])
    writer.writeheader()
    for row, case in enumerate(cases, 1):
        slip = {"mean_radius": case.input["mean_radius"] * 100} if row == SLIPPED else {}
        writer.writerow({"case": f"case-{row}", **case.input, **slip})
    return text.getvalue().encode()


def _lines(api: ApiClient, batch_id: str, kind: str) -> list[Json]:
    with api.file(f"/v1/batches/{batch_id}/{kind}") as stretch:
        return [json.loads(line) for line in b"".join(stretch.blocks).splitlines()]


STEPS: tuple[tuple[str, Callable[[Tour], None]], ...] = (
    ("What can be scored", catalogue),
    ("A case of every model", every_model),
    ("One patient after another", one_by_one),
    ("A whole ward at once", in_bulk),
    ("An image", image),
    ("A diagnosis, and a plan that waits for it", plan),
    ("A note, while it is written", note),
    ("A stat case overtakes", stat_priority),
    ("A slip of the pen", slip_of_the_pen),
    ("The audit trail", trail),
    ("A cancel", cancel),
    ("A webhook", webhook),
    ("A night's work", overnight),
)


def _answers(scored: list[tuple[KnownCase, Json]]) -> "RenderableType":
    return tables.listing(
        ("MODEL", "CASE", "ANSWER", "TOOK"),
        ((case.model, case.note, job_tables.answer(job), tables.took(job)) for case, job in scored),
        empty="No cases.",
    )


def _claim_size(api: ApiClient, job: Json) -> int:
    """How many jobs were claimed together with this one."""
    claims = [event["detail"] for event in api.events(job["id"]) if event["action"] == "job.claimed"]
    return int(claims[-1]["claim_size"])
