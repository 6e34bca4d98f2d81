"""What requests and answers look like on the wire. The OpenAPI document is made from these classes."""

import re
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
)

from service.lifecycle import JobState, Priority
from service.redis_faults import RedisFault

PRIORITY_NAMES = tuple(priority.name.lower() for priority in Priority)
BULK_LIMIT = 1000
PAGE_LIMIT = 200

ISO_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d")


def _written_out(value: object) -> object:
    """A number would be read as seconds since 1970."""
    if not isinstance(value, str) or not ISO_TIME.match(value):
        raise ValueError("write the time as in 2026-11-22T08:30:00Z (ISO 8601, with its zone)")
    return value


Time = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_written_out)]
PriorityName = Literal["stat", "asap", "urgent", "routine"]
Reference = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,64}(@[A-Za-z0-9.+-]{1,64})?$")]
MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=64)]
MetadataValue = Annotated[str, StringConstraints(max_length=512)]


class Wire(BaseModel):
    """Base of all: unknown fields are refused, and nothing is turned from one type into another."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())


class SubmitRequest(Wire):
    """A case to score."""

    model: Reference = Field(
        description="`name`, `name@alias` or `name@version`; the version is pinned on acceptance.",
        examples=["breast-cancer-wisconsin", "pneumonia-xray-28@stable"],
    )
    input: Any = Field(
        description="What the model's `input_schema` asks for; for a file "
        '`{"data": base64}` or `{"upload_id": id}`.'
    )
    priority: PriorityName = Field(
        "routine", description="FHIR request priority: stat before asap before urgent before routine."
    )
    deadline: Time | None = Field(
        None, description="Not worth starting after this time: the job expires then."
    )
    explain: bool = Field(False, description="Ask for an explanation, where the model offers one.")
    subject: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = Field(
        None,
        description="The caller's reference to the patient; stored encrypted, searchable by its exact value.",
    )
    metadata: dict[MetadataKey, MetadataValue] = Field(
        default_factory=dict,
        max_length=16,
        description="Up to 16 pairs that come back with the job; stored encrypted.",
    )
    callback_url: Annotated[str, StringConstraints(min_length=1, max_length=2048)] | None = Field(
        None,
        description="Told once of the job's end, signed; needs the secret of "
        "POST /v1/webhook-endpoints/callback-secret. Stored encrypted.",
    )


class BulkRequest(Wire):
    """Up to 1,000 cases in one request and one transaction."""

    jobs: Annotated[list[JsonValue], Field(min_length=1, max_length=BULK_LIMIT)] = Field(
        description="Each as for POST /v1/jobs. One that is refused does not hold up the others."
    )


class ResultsRequest(Wire):
    """Up to 1,000 jobs to read."""

    ids: Annotated[list[Annotated[UUID, Field(strict=False)]], Field(min_length=1, max_length=BULK_LIMIT)] = (
        Field(description="Ids of jobs, such as a bulk submit answered; they are answered in this order.")
    )


class BulkOfCases(Wire):
    """A bulk request all of whose cases fit their schema: read in one go."""

    jobs: Annotated[list[SubmitRequest], Field(min_length=1, max_length=BULK_LIMIT)]


class FieldProblem(Wire):
    """One field that is wrong."""

    pointer: str = Field(description="JSON pointer into the request body.")
    code: str
    detail: str


class Problem(Wire):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    code: str = Field(description="Stable; what a program should look at.")
    detail: str = Field(description="What to change.")
    errors: list[FieldProblem] | None = None
    request_id: str | None = Field(None, description="There when the fault is ours: name it to the operator.")


class JobProblem(Wire):
    """Why a job was not scored."""

    code: str
    detail: str


class ResultView(BaseModel):
    """What the model answered: the fields of its `result_schema`, and what computed it."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    type: str
    model_digest: str
    runtime: str
    provider: str


class JobView(Wire):
    """A job."""

    id: UUID
    model: str
    model_version: str
    model_digest: str
    kind: str
    state: JobState
    priority: PriorityName
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    deadline: datetime | None
    attempt: int
    subject: str | None
    metadata: dict[str, str]
    result: ResultView | None = Field(None, description="There once the job has succeeded; not in lists.")
    problem: JobProblem | None = Field(
        None, description="There once the job has failed, expired or been quarantined."
    )


class JobList(Wire):
    """A page of jobs, newest first."""

    items: list[JobView]
    next_cursor: str | None


class BulkAnswer(Wire):
    """One answer per item, in order: the job, or the problem that kept it out."""

    items: list[JobView | Problem]


class EventView(Wire):
    """One event of a job's audit trail. `leaf` is its SHA-256 leaf hash."""

    id: UUID
    action: str
    occurred_at: datetime
    actor: str
    object: str | None
    detail: dict[str, Any]
    leaf: str


class EventList(Wire):
    """A page of events, oldest first."""

    items: list[EventView]
    next_cursor: str | None


class UploadView(Wire):
    """A stored file."""

    id: UUID
    size_bytes: int
    sha256: str


class LabelView(Wire):
    """A class that a model can answer, with its code where it has one."""

    id: str
    display: str
    system: str | None
    code: str | None


class VersionView(Wire):
    """A published version of a model."""

    version: str
    digest: str
    published_at: datetime


class ModelView(Wire):
    """A model as its `stable` version describes it, or as the version that was asked for does."""

    name: str
    title: str
    summary: str
    kind: str
    task: str
    version: str
    digest: str
    license: str
    input_schema: dict[str, Any]
    result_schema: dict[str, Any]
    labels: list[LabelView]
    metrics: dict[str, float | str]
    versions: list[VersionView]
    aliases: dict[str, str]
    card: str


class ModelList(Wire):
    """The catalogue."""

    items: list[ModelView]
    next_cursor: str | None


class Liveness(Wire):
    """The process answers."""

    status: Literal["ok"]


class MissingRequirement(Wire):
    """What a process lacks for its work, and what to do about it."""

    requirement: Literal["data_dir", "postgres", "schema", "master_key", "blob_store", "models"]
    setting: str
    cause: str
    advice: str


class Readiness(Wire):
    """Whether jobs can be accepted; Redis may be away, consumption stalled, the scheduler stopped."""

    status: Literal["ready", "not_ready"]
    postgres: Literal["ok", "unreachable"]
    schema_: Literal["ok", "behind", "unknown"] = Field(alias="schema")
    redis: Literal["ok"] | RedisFault = Field(
        description="`ok`: a message was sent and taken. Else why not; jobs start about a second later then."
    )
    consumption: Literal["ok", "stalled", "unknown"] = Field(
        description="`stalled`: a job could have been claimed for 30 s, and no worker claimed or held any."
    )
    scheduler: Literal["ok", "stopped", "unknown"] = Field(
        description="`stopped`: no scheduler has ended its sweeps without a fault for 10 s, or for three intervals."
    )
    faults: list[MissingRequirement] | None = Field(
        None, description="What this process lacks for its work; not there when it lacks nothing."
    )
