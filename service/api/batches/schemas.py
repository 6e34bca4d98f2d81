"""What requests and answers about overnight batches look like on the wire."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import ConfigDict, Field, StringConstraints, ValidationError, WrapValidator, model_validator

from service.api.http.schemas import Reference, Time, Wire
from service.lifecycle import BatchState

CARRY_LIMIT = 100
DRY_RUN_LIMIT = 100_000
MOST_ROWS = 1_000_000_000
LONGEST_S = 31 * 86_400

FormatName = Literal["parquet", "csv", "ndjson", "zip", "tar"]
OutputName = Literal["ndjson", "parquet", "csv"]
# No text holds a zero byte: Postgres stores none.
Text = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
Uri = Annotated[str, StringConstraints(min_length=1, max_length=2048, pattern=r"^[^\x00]*$")]
Delimiter = Annotated[str, StringConstraints(pattern=r"^[\t !#-/:-@\[-`{-~]$")]
UploadId = Annotated[UUID, Field(strict=False)]

URI = "A file below one of the roots that the operator allows."
PLACE = "A folder below one of the output roots that the operator allows; it gets a copy of both files, in the clear."
ID_COLUMN = (
    "The column that names a row. It comes back with its results and errors; a repeated id is an error."
)
CARRY = "Columns that come back with the results."
IGNORE = "Columns to leave alone although their names resemble a field's, and further keys that lines of NDJSON may have."
MISSING = "Cells of CSV that stand for a missing value, in addition to empty ones, such as `NA`."
DECIMAL = "The decimal mark of CSV; a point if omitted."
DELIMITER = "The character that separates columns of CSV, neither a letter nor a digit; detected if omitted."
INDEX = "The member of an archive that names its files; `index.csv` or `index.ndjson` where there is one."
OPTIONS = "Options of the model, the same for every row: see its `options_schema`."
DRY_RUN = "Check this many rows and score none."
DEADLINE_AFTER = "Seconds from each run after which its batch expires."


RERUN_SOURCE = "A corrected file of the same format; if omitted, the first file is read again."
RERUN_ROWS = "Those that failed, by their numbers, so that a corrected file must have as many rows as the first; or all."
WAIT_FOR_SOURCE = "How many seconds each run waits for a file that is not there yet; then its batch fails."


class SourceRequest(Wire):
    """Where the rows come from: one of an upload and a URI."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    upload_id: UploadId | None = Field(None, description="The id that POST /v1/uploads returned.")
    uri: Uri | None = Field(None, description=URI, examples=["s3://hospital/night/2026-11-22.parquet"])

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.upload_id is None) == (self.uri is None):
            raise ValueError("send one of `upload_id` and `uri`")
        return self


class UriPattern(Wire):
    """Where each run of a schedule finds its rows."""

    uri: Uri = Field(
        description=f"{URI} `{{date}}` is the date of the run in the schedule's zone.",
        examples=["s3://hospital/night/{date}.parquet"],
    )


class WindowRequest(Wire):
    """The hours in which the batch may run; `22:00-06:00` continues past midnight."""

    hours: Annotated[str, StringConstraints(max_length=11)] = Field(examples=["22:00-06:00"])
    zone: Annotated[str, StringConstraints(min_length=1, max_length=64)] = Field(
        description="An IANA time zone.", examples=["Europe/Berlin"]
    )


class OutputRequest(Wire):
    """How results and errors are written, and where a copy of them goes."""

    format: OutputName = "ndjson"
    place: Uri | None = Field(None, description=PLACE)


class StopAfter(Wire):
    """Fail the batch once more rows than this have failed."""

    stop_after: int = Field(ge=1, le=MOST_ROWS)


def _in_one_of_its_forms(value: object, read: Callable[[object], Any]) -> Any:
    """One message instead of one for each alternative."""
    try:
        return read(value)
    except ValidationError:
        raise ValueError('send "continue", "stop" or {"stop_after": rows}') from None


OnError = Annotated[Literal["continue", "stop"] | StopAfter, WrapValidator(_in_one_of_its_forms)]


class BatchOptions(Wire):
    """What a batch and each run of a schedule are asked to do."""

    model: Reference = Field(
        description="`name`, `name@alias` or `name@version`; the version is pinned when the batch is opened.",
        examples=["breast-cancer-wisconsin"],
    )
    format: FormatName = Field(
        description="Tables for a model of numbers, an archive of files for a model of files."
    )
    window: WindowRequest | None = Field(None, description="At any time if omitted.")
    on_error: OnError = Field(
        "continue",
        description="Whether failed rows end the batch: never, at the first, or once there are more than this many.",
    )
    output: OutputRequest = Field(default_factory=lambda: OutputRequest(format="ndjson", place=None))
    id_column: Text | None = Field(None, description=ID_COLUMN)
    carry: Annotated[list[Text], Field(max_length=CARRY_LIMIT)] = Field(
        default_factory=list, description=CARRY
    )
    ignore: Annotated[list[Text], Field(max_length=CARRY_LIMIT)] = Field(
        default_factory=list, description=IGNORE
    )
    delimiter: Delimiter | None = Field(None, description=DELIMITER)
    missing: Annotated[list[Text], Field(max_length=CARRY_LIMIT)] = Field(
        default_factory=list, description=MISSING, examples=[["NA", "n/a"]]
    )
    decimal: Literal[".", ","] | None = Field(None, description=DECIMAL)
    index: Text | None = Field(None, description=INDEX)
    dry_run: Annotated[int, Field(ge=1, le=DRY_RUN_LIMIT)] | None = Field(None, description=DRY_RUN)
    options: dict[str, Any] = Field(default_factory=dict, description=OPTIONS)


class BatchSubmit(BatchOptions):
    """A file to score overnight."""

    source: SourceRequest
    not_before: Time | None = Field(None, description="It does not start before this time.")
    deadline: Time | None = Field(None, description="Rows not scored by then expire.")


class ScheduleRequest(BatchOptions):
    """Opens a batch at each of its times."""

    name: Text = Field(description="Its name, unique within the tenant.", examples=["ward 4b"])
    cron: Annotated[str, StringConstraints(min_length=9, max_length=100)] = Field(
        description="A cron expression of five fields, in the time of `zone`.", examples=["0 22 * * *"]
    )
    zone: Annotated[str, StringConstraints(min_length=1, max_length=64)] = Field(
        description="An IANA time zone.", examples=["Europe/Berlin"]
    )
    source: UriPattern
    deadline_after_s: Annotated[int, Field(ge=60, le=LONGEST_S)] | None = Field(
        None, description=DEADLINE_AFTER
    )
    wait_for_source_s: Annotated[int, Field(ge=1, le=LONGEST_S)] | None = Field(
        None, description=WAIT_FOR_SOURCE
    )


class RerunRequest(Wire):
    """What a re-run scores, and from which file."""

    source: SourceRequest | None = Field(None, description=RERUN_SOURCE)
    rows: Literal["failed", "all"] = Field("failed", description=RERUN_ROWS)


class WindowView(Wire):
    """The hours in which a batch may run."""

    hours: str
    zone: str


class SourceView(Wire):
    """The source of a batch: `upload_id` or `uri`. Length and digest are present once it is validated."""

    upload_id: UUID | None = None
    uri: str | None = None
    format: FormatName
    size_bytes: int | None
    sha256: str | None


class OutputView(Wire):
    """How results and errors are written, and where their copy goes."""

    format: OutputName
    place: str | None


class RowCounts(Wire):
    """Rows of a batch; `total` and `remaining` are null until its source is validated."""

    total: int | None
    succeeded: int
    failed: int
    remaining: int | None


class ChunkCounts(Wire):
    """Chunks of a batch, the pieces in which it is processed."""

    total: int | None
    done: int
    running: int


class ColumnsView(Wire):
    """How the columns of a file, or of an archive's index, are used. Each list has at most 1,000 names."""

    used: list[str] = Field(description="Fields of the model that the file has.")
    ignored: list[str] = Field(description="Columns that are neither scored nor carried.")
    absent: list[str] = Field(description="Fields of the model that the file lacks: scored as missing.")
    unlisted: int = Field(description="Files of an archive that its index does not list: not scored.")


class OutputFileView(Wire):
    """A finished file of a batch."""

    url: str
    rows: int
    size_bytes: int
    sha256: str


class BatchProblem(Wire):
    """Why a batch failed, or why a schedule opened none."""

    code: str
    detail: str


class RetryingView(BatchProblem):
    """Why work of a batch was postponed. It is tried again a limited number of times; then the batch fails.

    A source or a model that is awaited uses up none of them.
    """

    attempt: int = Field(description="How often it was tried.")
    next_try_at: datetime


class BatchView(Wire):
    """A batch."""

    id: UUID
    model: str
    model_version: str
    model_digest: str
    kind: str
    state: BatchState
    created_at: datetime
    scheduled_at: datetime | None
    started_at: datetime | None
    pausing_at: datetime | None
    paused_at: datetime | None
    finalizing_at: datetime | None
    finished_at: datetime | None
    window: WindowView | None
    not_before: datetime | None
    deadline: datetime | None
    opens_at: datetime = Field(description="From this time on chunks may start.")
    closes_at: datetime | None = Field(
        description="From this time on none starts until the window opens again."
    )
    source: SourceView
    output: OutputView
    on_error: Literal["continue", "stop"] | StopAfter
    id_column: str | None
    carry: list[str]
    ignore: list[str]
    missing: list[str]
    decimal: str | None
    columns: ColumnsView | None = Field(
        description="Present once the source is validated; of an uploaded CSV, NDJSON or Parquet in the first answer, too."
    )
    dry_run: int | None
    options: dict[str, Any]
    counts: RowCounts
    rows_per_s: float | None = Field(description="Measured over the newest chunks, while it runs.")
    expected_end: datetime | None
    chunks: ChunkCounts
    results: OutputFileView | None = Field(description="Present once the batch is completed.")
    errors: OutputFileView | None = Field(description="Present once the batch is completed.")
    rerun_of: UUID | None
    schedule_id: UUID | None
    scheduled_for: datetime | None
    retrying: RetryingView | None = Field(
        description="Of the work that was postponed last, until it is done."
    )
    problem: BatchProblem | None


class BatchList(Wire):
    """A page of batches, newest first."""

    items: list[BatchView]
    next_cursor: str | None


class PatternView(Wire):
    """The source of each run of a schedule."""

    uri: str | None = Field(description="Null for keys without `jobs:read`.")
    format: FormatName


class ScheduleView(Wire):
    """A schedule."""

    id: UUID
    name: str
    cron: str
    zone: str
    model: str
    source: PatternView
    output: OutputView
    window: WindowView | None
    deadline_after_s: int | None
    wait_for_source_s: int | None
    on_error: Literal["continue", "stop"] | StopAfter
    id_column: str | None
    carry: list[str]
    ignore: list[str]
    missing: list[str]
    decimal: str | None
    delimiter: str | None
    index: str | None
    dry_run: int | None
    options: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    paused_at: datetime | None
    next_run_at: datetime
    last_run_at: datetime | None
    last_batch_id: UUID | None
    last_problem: BatchProblem | None = Field(description="Why the last run opened no batch.")


class ScheduleList(Wire):
    """A page of schedules, newest first."""

    items: list[ScheduleView]
    next_cursor: str | None
