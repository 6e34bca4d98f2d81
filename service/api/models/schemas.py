"""What the catalogue looks like on the wire."""

from datetime import datetime
from typing import Any

from models.manifest import Precision
from service.api.http.schemas import Wire


class LabelView(Wire):
    """A class that a model can answer, with its code where it has one. The threshold is one of the positive label's score."""

    id: str
    display: str
    system: str | None
    code: str | None
    positive: bool


class VersionView(Wire):
    """A published version of a model."""

    version: str
    digest: str
    precision: Precision | None
    published_at: datetime


class ModelProblem(Wire):
    """Why a model cannot be used at the moment."""

    code: str
    detail: str


class ModelView(Wire):
    """A model as its `stable` version describes it, or as the requested version does.

    Of one that cannot be used at the moment `problem` says so. Its schemas are then empty, and it has no labels, unless
    the code is `model_refused`: its jobs are accepted, and wait for a worker that does not refuse it.
    """

    name: str
    title: str
    summary: str
    kind: str
    task: str
    version: str
    digest: str
    precision: Precision | None
    license: str
    input_schema: dict[str, Any]
    result_schema: dict[str, Any]
    options_schema: dict[str, Any]
    labels: list[LabelView]
    metrics: dict[str, float | str]
    versions: list[VersionView]
    aliases: dict[str, str]
    card: str
    problem: ModelProblem | None


class ModelList(Wire):
    """The catalogue."""

    items: list[ModelView]
    next_cursor: str | None
