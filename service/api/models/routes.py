"""/v1/models: the catalogue."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import structlog
from flask import Blueprint, Response

from service.accounts import Scope
from service.api.http.answers import answer
from service.api.http.operations import operation
from service.api.http.requests import NoQuery, query_as
from service.api.models import examples
from service.api.models.schemas import ModelList, ModelView
from service.api.services import Services
from service.catalog import Catalog, PublishedModel
from service.errors import BlobUnavailable, ModelUnavailable, ServiceError
from service.refusals import Refusal
from service.shared_refusals import MODEL_REFUSED, refused_by_all

log = structlog.get_logger()


def blueprint(services: Services) -> Blueprint:
    """The routes of the catalogue."""
    routes = Blueprint("models", __name__, url_prefix="/v1/models")
    catalog, settings = services.catalog, services.settings

    def fields(models: Iterable[PublishedModel]) -> list[dict[str, Any]]:
        refused = refused_by_all(settings.redis_url)
        return [_fields(catalog, model, settings.max_input_bytes, refused) for model in models]

    @routes.get("")
    @operation(
        "List the models",
        example=examples.MODELS,
        scope=Scope.MODELS_READ,
        answers={200: ModelList},
        problems=(422,),
    )
    def list_models() -> Response:
        services.auth.principal(Scope.MODELS_READ)
        query_as(NoQuery)
        items = fields(_shown(catalog, name) for name in catalog.names())
        return answer({"items": items, "next_cursor": None})

    @routes.get("/<reference>")
    @operation(
        "Read a model",
        example=examples.MODEL,
        scope=Scope.MODELS_READ,
        answers={200: ModelView},
        problems=(404, 422),
    )
    def get_model(reference: str) -> Response:
        services.auth.principal(Scope.MODELS_READ)
        query_as(NoQuery)
        [found] = fields([catalog.resolve(reference)])
        return answer(found)

    return routes


def _shown(catalog: Catalog, name: str) -> PublishedModel:
    """The version that represents a model in the list: `stable`, otherwise the newest."""
    versions = catalog.versions_of(name)
    stable = catalog.aliases_of(name).get("stable")
    return next((model for model in versions if model.version == stable), versions[0])


def _fields(
    catalog: Catalog, model: PublishedModel, most_bytes: int, refused: Mapping[str, Refusal]
) -> dict[str, Any]:
    """A model as it is answered. This service takes files of up to `most_bytes`; the model may take less.

    `refused` has the models that every worker refuses.
    """
    manifest = model.manifest
    return {
        "name": model.name,
        "title": manifest.title,
        "summary": manifest.summary,
        "kind": manifest.kind,
        "task": manifest.pipeline,
        "version": model.version,
        "digest": model.digest,
        "precision": manifest.runtime.precision,
        "license": manifest.license,
        **_told_by_pipeline(model, most_bytes, refused),
        "metrics": manifest.metrics,
        "versions": [
            {
                "version": version.version,
                "digest": version.digest,
                "precision": version.manifest.runtime.precision,
                "published_at": version.published_at,
            }
            for version in catalog.versions_of(model.name)
        ],
        "aliases": catalog.aliases_of(model.name),
        "card": model.card,
    }


def _told_by_pipeline(
    model: PublishedModel, most_bytes: int, refused: Mapping[str, Refusal]
) -> dict[str, Any]:
    """What a model takes and gives. One that cannot be used says so, and keeps no other out of the list."""
    try:
        pipeline = model.pipeline
        return {
            "input_schema": model.input_schema(most_bytes),
            "result_schema": pipeline.result_schema(),
            "options_schema": pipeline.options_schema(),
            "labels": [asdict(label) for label in pipeline.labels()],
            "problem": _refusal(f"{model.name} {model.version}", refused),
        }
    except (ModelUnavailable, BlobUnavailable) as fault:
        problem: ServiceError = fault
    except Exception as fault:
        log.error("pipeline_failed", model=model.name, version=model.version, exc_info=fault)
        problem = ModelUnavailable(f"{model.name} {model.version}", type(fault).__name__)
    told = {"code": problem.code, "detail": problem.detail}
    return {"input_schema": {}, "result_schema": {}, "options_schema": {}, "labels": [], "problem": told}


def _refusal(model: str, refused: Mapping[str, Refusal]) -> dict[str, str] | None:
    """The problem of a model that no worker scores at the moment."""
    if model not in refused:
        return None
    told = refused[model]
    detail = f"Jobs of {model} are accepted and wait: every worker refuses it ({told.reason}). {told.advice}"
    return {"code": MODEL_REFUSED, "detail": detail}
