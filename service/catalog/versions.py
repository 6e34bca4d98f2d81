"""The catalogue as a process knows it: references resolved to versions, and inputs checked against their model."""

import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar
from uuid import UUID

import structlog
from pydantic_core import to_json

from models.golden_cases import GOLDEN_NAME, parse_golden
from models.manifest import BundleRefused, ModelManifest
from models.pipelines import FieldFault, InputRejected, Pipeline, ReadFile, no_files, pointer_to
from models.pipelines.parts import FileChecker
from service import rows
from service.catalog.intake import Intake, published_files
from service.db import Database, UnitOfWork
from service.errors import FieldError, InputInvalid, ModelNotFound, ModelUnavailable, ServerBusy
from service.problem_codes import JobProblem
from service.rows import Row
from service.storage import BlobStore

FAILED_ON_INPUT = FieldError(
    "/input",
    JobProblem.MODEL_FAILED,
    "The model fails on this input. Check the input; if it is right, tell the model's publisher.",
)
FAILED_ON_OPTIONS = FieldFault(
    "",
    JobProblem.MODEL_FAILED,
    "The model fails on these options. Check them; if they are right, tell the model's publisher.",
)
DEFAULT_ALIAS = "stable"
ALIAS = re.compile(r"[a-z][a-z0-9-]{0,63}")
VERSIONS = "SELECT id, manifest, digest, card, published_at FROM model_version WHERE id = ANY (%(ids)s)"
REFERENCE = re.compile(r"([a-z0-9-]{1,64})(?:@([A-Za-z0-9.+-]{1,64}))?")

T = TypeVar("T")

log = structlog.get_logger()


@dataclass(frozen=True)
class PublishedModel:
    """One model version as the catalogue has it. `read` gives its pipeline small files of its bundle."""

    id: UUID
    manifest: ModelManifest
    digest: str
    card: str
    published_at: datetime
    read: ReadFile = field(default=no_files, repr=False, compare=False)
    _intake: Intake = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_intake", Intake(self.manifest, self.read))

    @property
    def name(self) -> str:
        """The model's name."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """The model's version."""
        return self.manifest.version

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline of this version, made when first asked for. Raises ModelUnavailable or BlobUnavailable."""
        return self._intake.pipeline()

    def input_schema(self, most_bytes: int) -> dict[str, object]:
        """The schema of an input for readers who accept files of up to `most_bytes`, with the example that the manifest names.

        Raises ModelUnavailable or BlobUnavailable.
        """
        pipeline = self.pipeline
        schema = pipeline.input_schema(most_bytes if pipeline.binary or pipeline.parts else None)
        return schema if self._example is None else {**schema, "examples": [self._example]}

    @cached_property
    def _example(self) -> Any:
        """The input of the golden case that the manifest names as the example; None if it names none."""
        number = self.manifest.example_case
        if number is None:
            return None
        try:
            return parse_golden(self.read(GOLDEN_NAME).decode())[number].input
        except BundleRefused as refused:
            raise ModelUnavailable(f"{self.name} {self.version}", str(refused)) from None

    def encode(self, value: object) -> bytes:
        """Canonical stored bytes of one input.

        Raises InputInvalid with every field that is wrong, ModelUnavailable, BlobUnavailable, or ServerBusy if nothing can read
        an image. An unexpected error of the pipeline counts as its failure on this input.
        """
        pipeline = self.pipeline
        try:
            payload = _of(bytes, pipeline.encode(value))
        except InputRejected as rejected:
            raise InputInvalid(errors=field_errors(rejected.faults)) from None
        except ServerBusy:
            raise
        except (Exception, SystemExit) as fault:
            log.error("pipeline_failed", model=self.name, version=self.version, exc_info=fault)
            raise InputInvalid(errors=(FAILED_ON_INPUT,)) from None
        return payload

    def check_options(self, options: Mapping[str, object]) -> dict[str, object]:
        """The options of a job, checked. Raises InputRejected, ModelUnavailable or BlobUnavailable.

        An unexpected error of the pipeline counts as its failure on these options.
        """
        pipeline = self.pipeline
        try:
            checked = _of(dict, pipeline.check_options(dict(options)))
            to_json(checked)  # as it is stored, together with other jobs
        except InputRejected:
            raise
        except (Exception, SystemExit) as fault:
            log.error("pipeline_failed", model=self.name, version=self.version, exc_info=fault)
            raise InputRejected(FAILED_ON_OPTIONS) from None
        return checked

    def check_file(self, name: str, content: bytes) -> None:
        """Have the pipeline check a file that is a part of an input, if it does so. Raises what `encode` raises."""
        pipeline = self.pipeline
        if not isinstance(pipeline, FileChecker):
            return
        try:
            pipeline.check_file(name, content)
        except InputRejected as rejected:
            raise InputInvalid(errors=field_errors(rejected.faults, pointer_to(name))) from None
        except (Exception, SystemExit) as fault:
            log.error("pipeline_failed", model=self.name, version=self.version, exc_info=fault)
            raise InputInvalid(errors=(FAILED_ON_INPUT,)) from None


def field_errors(faults: Iterable[FieldFault], part: str = "") -> tuple[FieldError, ...]:
    """The faults of an input, or of the part at this pointer, as the fields of the request that holds it."""
    return tuple(FieldError(f"/input{part}{fault.pointer}", fault.code, fault.detail) for fault in faults)


def _of(kind: type[T], found: T) -> T:
    """What a pipeline returned, of the kind that it has to be. Raises TypeError."""
    if not isinstance(found, kind):
        raise TypeError(f"the pipeline returned no {kind.__name__}")
    return found


@dataclass(frozen=True)
class _Index:
    versions: dict[UUID, PublishedModel]
    by_version: dict[tuple[str, str], UUID]
    by_alias: dict[tuple[str, str], UUID]


class Catalog:
    """The published models as this process knows them; looks again after `cache_s` seconds, and for a name it does not know."""

    def __init__(
        self,
        database: Database,
        *,
        cache_s: float,
        blobs: BlobStore | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Without `blobs`, pipelines that read files of their bundle are unavailable."""
        self._database = database
        self._blobs = blobs
        self._cache_s = cache_s
        self._clock = clock
        self._lock = threading.Lock()
        self._index = _Index({}, {}, {})
        self._fresh_until = float("-inf")

    def resolve(self, reference: str) -> PublishedModel:
        """The version that `name`, `name@alias` or `name@version` means now. Raises ModelNotFound."""
        shape = REFERENCE.fullmatch(reference)
        if shape is None:
            raise ModelNotFound
        key = (shape[1], shape[2] or DEFAULT_ALIAS)
        for look in (self._current, self._look_again):  # it may have been published a moment ago
            index = look()
            found = index.by_alias.get(key) or index.by_version.get(key)
            if found is not None:
                return index.versions[found]
        raise ModelNotFound

    def version(self, version_id: UUID) -> PublishedModel:
        """One version by id. Raises ModelNotFound."""
        known = self._index.versions.get(version_id) or self._look_again().versions.get(version_id)
        if known is None:
            raise ModelNotFound
        return known

    def names(self) -> list[str]:
        """The names of all models, sorted."""
        return sorted({name for name, _ in self._current().by_version})

    def versions_of(self, name: str) -> list[PublishedModel]:
        """The versions of one model, newest first. Raises ModelNotFound."""
        for look in (self._current, self._look_again):
            index = look()
            found = [index.versions[known] for (named, _), known in index.by_version.items() if named == name]
            if found:
                return sorted(found, key=lambda model: model.published_at, reverse=True)
        raise ModelNotFound

    def aliases_of(self, name: str) -> dict[str, str]:
        """Alias -> version of one model."""
        index = self._current()
        return {
            alias: index.versions[target].version
            for (named, alias), target in sorted(index.by_alias.items())
            if named == name
        }

    def _current(self) -> _Index:
        """What is known; when it is due, one caller looks again while the others go on with it."""
        if self._clock() < self._fresh_until:
            return self._index
        if not self._lock.acquire(blocking=not self._index.by_version):
            return self._index
        try:
            return self._refresh()
        finally:
            self._lock.release()

    def _look_again(self) -> _Index:
        with self._lock:
            return self._refresh()

    def _refresh(self) -> _Index:
        with self._database.transaction() as work:
            published = work.execute("SELECT id, name, version FROM model_version")
            aliases = work.execute("SELECT name, alias, model_version_id FROM model_alias")
            unknown = [row.id for row in published if row.id not in self._index.versions]
            versions = self._index.versions | self._load(work, unknown)
        self._index = _Index(
            versions,
            {(row.name, row.version): row.id for row in published},
            {
                (row.name, row.alias): row.model_version_id
                for row in aliases
                if row.model_version_id in versions
            },
        )
        self._fresh_until = self._clock() + self._cache_s
        return self._index

    def _load(self, work: UnitOfWork, ids: list[UUID]) -> dict[UUID, PublishedModel]:
        if not ids:
            return {}
        return {row.id: self._published(row) for row in work.execute(VERSIONS, {"ids": ids})}

    def _published(self, row: Row) -> PublishedModel:
        manifest = _manifest(row.manifest)
        read = no_files if self._blobs is None else published_files(self._blobs, row.digest, manifest)
        return rows.build(PublishedModel, row, manifest=manifest, read=read)


def _manifest(table: dict[str, Any]) -> ModelManifest:
    return ModelManifest.model_validate(table)
