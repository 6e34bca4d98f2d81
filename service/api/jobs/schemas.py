"""What requests and answers about jobs look like on the wire."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    WithJsonSchema,
)

from service.api.http.schemas import Problem, Reference, Time, Wire
from service.desk import JobRequest
from service.jobs.delays import MOST_COUNTED, DelayCode
from service.jobs.predecessors import MOST_PREDECESSORS
from service.lifecycle import JobState, Origin, Priority

BULK_LIMIT = 1000

PriorityName = Literal["stat", "asap", "urgent", "routine"]
MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=64)]
MetadataValue = Annotated[str, StringConstraints(max_length=512)]


class SubmitRequest(Wire):
    """A case to score."""

    model: Reference = Field(
        description="`name`, `name@alias` or `name@version`; the version is pinned on acceptance.",
        examples=["breast-cancer-wisconsin", "pneumonia-xray-28@stable"],
    )
    input: Any = Field(
        description="As the model's `input_schema` describes it; for a file "
        '`{"data": base64}` or `{"upload_id": id}`, for the result of another job `{"job": id}`.'
    )
    priority: PriorityName = Field(
        "routine", description="FHIR request priority: stat before asap before urgent before routine."
    )
    deadline: Time | None = Field(None, description="The job expires if it has not started by this time.")
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
        description="Notified once when the job ends, with a signature; needs the secret of "
        "POST /v1/webhook-endpoints/callback-secret. Stored encrypted.",
    )

    after: Annotated[list[Annotated[UUID, Field(strict=False)]], Field(max_length=MOST_PREDECESSORS)] = Field(
        default_factory=list,
        description="Ids of jobs that must have succeeded first: until then this one is `waiting`. One that ends otherwise, or "
        "abstains, fails it.",
    )
    not_before: Time | None = Field(
        None, description="Not claimed before this time: until then the job is `waiting`."
    )
    options: dict[str, JsonValue] = Field(
        default_factory=dict, description="What the model's `options_schema` asks for; stored encrypted."
    )

    def as_request(self) -> JobRequest:
        """The same for the desk."""
        return JobRequest(
            model=self.model,
            input=self.input,
            priority=Priority[self.priority.upper()],
            deadline=self.deadline,
            explain=self.explain,
            subject=self.subject,
            metadata=self.metadata,
            callback_url=self.callback_url,
            after=self.after,
            not_before=self.not_before,
            options=self.options,
        )

    def without_input(self) -> Self:
        """The same without the input, which may be large: for the answer."""
        return self.model_copy(update={"input": None})


# Checked apart from the request that holds it, so that a bad one does not refuse the others.
Case = Annotated[object, WithJsonSchema({"$ref": "#/components/schemas/SubmitRequest"})]


class BulkRequest(Wire):
    """Up to 1,000 cases in one request and one transaction."""

    jobs: Annotated[list[Case], Field(min_length=1, max_length=BULK_LIMIT)] = Field(
        description="Each as for POST /v1/jobs. A refused one does not affect the others."
    )


class ResultsRequest(Wire):
    """Up to 1,000 jobs to read."""

    ids: Annotated[list[Annotated[UUID, Field(strict=False)]], Field(min_length=1, max_length=BULK_LIMIT)] = (
        Field(description="Ids of jobs, such as those that a bulk submit returned; answered in this order.")
    )


class BulkOfCases(Wire):
    """A bulk request all of whose cases match their schema: validated in one go."""

    jobs: Annotated[list[SubmitRequest], Field(min_length=1, max_length=BULK_LIMIT)]


class JobProblem(Wire):
    """Why a job was not scored."""

    code: str
    detail: str


class ArtifactView(Wire):
    """A file of a result."""

    name: str
    media_type: str
    size_bytes: int
    sha256: str
    url: str = Field(description="Where GET downloads it: a path of this API.")


class ResultView(BaseModel):
    """What the model answered: the fields of its `result_schema`, and what computed it."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    type: str
    model_digest: str
    runtime: str
    provider: str
    artifacts: list[ArtifactView] | None = Field(None, description="Its files, where the model makes any.")


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
    not_before: datetime | None
    after: list[UUID]
    origin: Origin
    attempt: int
    subject: str | None
    metadata: dict[str, str]
    result: ResultView | None = Field(None, description="Present once the job has succeeded; not in lists.")
    problem: JobProblem | None = Field(
        None, description="Present once the job has failed, expired or been quarantined."
    )


class JobList(Wire):
    """A page of jobs, newest first."""

    items: list[JobView]
    next_cursor: str | None


class BulkAnswer(Wire):
    """One answer per item, in order: the job, or the problem that kept it out."""

    items: list[JobView | Problem]


class PredecessorView(Wire):
    """A job that another waits for."""

    id: UUID
    state: JobState


class DelayView(Wire):
    """Why a job has not started."""

    state: JobState
    code: DelayCode | None = Field(description="None for a job that has started or ended.")
    detail: str | None = Field(description="The same in words.")
    ahead: int | None = Field(
        description="How many of the tenant's queued jobs of its model are claimed first, counted up to "
        f"{MOST_COUNTED:,}. Tenants take turns."
    )
    after: list[PredecessorView] = Field(description="The jobs that keep it waiting.")


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
