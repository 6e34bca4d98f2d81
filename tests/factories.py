"""Makes what tests need: tenants, keys, published models, jobs. Real bundles, real cases."""

import base64
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

from models.bundle import Bundle, read_bundle
from service import accounts
from service.accounts import Principal, Scope
from service.catalog import Catalog, PublishedModel, publishing
from service.crypto import Keyring
from service.db import Database
from service.jobs import execution, submission
from service.jobs.execution import ClaimedJob
from service.jobs.submission import NewJob
from service.storage import BlobStore

ZOO = Path(__file__).parent.parent / "models" / "zoo"
MASTER_KEY = bytes(range(32))
MASTER_KEY_TEXT = base64.b64encode(MASTER_KEY).decode()
BREAST_CANCER = "breast-cancer-wisconsin"
PNEUMONIA = "pneumonia-xray-28"


@cache
def bundle(name: str = BREAST_CANCER) -> Bundle:
    """A bundled model."""
    return read_bundle(ZOO / name)


def case(name: str = BREAST_CANCER, index: int = 0) -> Any:
    """The input of a golden case."""
    return json.loads((ZOO / name / "golden.json").read_text())["cases"][index]["input"]


def published(database: Database, blobs: BlobStore, name: str = BREAST_CANCER) -> PublishedModel:
    """A bundled model, published and resolved."""
    with database.transaction() as work:
        publishing.publish(work, blobs, bundle(name), actor="test")
    return Catalog(database, cache_s=0).resolve(name)


def principal(
    database: Database,
    keyring: Keyring,
    *,
    tenant: str = "default",
    scopes: Sequence[str] = (Scope.ADMIN,),
) -> Principal:
    """A caller with a fresh key."""
    with database.transaction() as work:
        token = issue_token(database, keyring, tenant=tenant, scopes=scopes)
        return accounts.authenticate(work, keyring, token)


def issue_token(
    database: Database,
    keyring: Keyring,
    *,
    tenant: str = "default",
    scopes: Sequence[str] = (Scope.ADMIN,),
) -> str:
    """The token of a fresh key."""
    with database.transaction() as work:
        tenant_id, _ = accounts.ensure_tenant(work, keyring, name=tenant, actor="test")
        return accounts.issue_key(
            work, tenant_id=tenant_id, name="test", scopes=list(scopes), actor="test"
        ).token


def new_job(caller: Principal, model: PublishedModel, **values: Any) -> NewJob:
    """A checked case of a tabular model."""
    return NewJob(principal=caller, model=model, payload=model.encode(case(model.name)), **values)


def submitted(
    database: Database, caller: Principal, model: PublishedModel, count: int = 1, **values: Any
) -> list[UUID]:
    """The ids of `count` jobs, submitted in one transaction."""
    with database.statement() as work:
        return [job.id for job in submission.submit(work, [new_job(caller, model, **values)] * count)]


def claimed(
    database: Database,
    model: PublishedModel,
    limit: int = 64,
    *,
    owner: str = "w1",
    lease_s: float = 30.0,
    retries_first: bool = True,
) -> list[ClaimedJob]:
    """A claim by `owner`."""
    with database.statement() as work:
        claim = execution.claim(
            work,
            model_version_id=model.id,
            limit=limit,
            owner=owner,
            lease_s=lease_s,
            retries_first=retries_first,
        )
    return list(claim.jobs)
