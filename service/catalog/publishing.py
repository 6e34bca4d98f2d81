"""Adds versions to the catalogue and moves aliases, each with its audit event."""

from uuid import UUID

import sqlalchemy as sa

from models.bundle import Bundle
from service import audit
from service.catalog.bundles import store
from service.catalog.versions import ALIAS, DEFAULT_ALIAS
from service.db import UnitOfWork
from service.errors import BundleUnusable, ModelNotFound
from service.orm import ModelAlias, ModelVersion
from service.storage import BlobStore


def publish(work: UnitOfWork, blobs: BlobStore, bundle: Bundle, *, actor: str) -> UUID:
    """Publish a checked bundle; the first version of a name becomes `stable`. The same bundle twice is one version.

    Raises BundleUnusable when the version exists with other content.
    """
    manifest = bundle.manifest
    found = work.session.scalar(
        sa.select(ModelVersion).where(
            ModelVersion.name == manifest.name, ModelVersion.version == manifest.version
        )
    )
    if found is not None:
        if found.digest != bundle.digest:
            raise BundleUnusable(
                f"{manifest.name} {manifest.version} is published with other content. "
                "A version never changes: give the new content a new version."
            )
        return found.id
    store(blobs, bundle)
    row = ModelVersion(
        name=manifest.name,
        version=manifest.version,
        digest=bundle.digest,
        kind=manifest.kind,
        manifest=manifest.model_dump(mode="json"),
        card=bundle.card,
    )
    work.session.add(row)
    work.session.flush()
    audit.append(
        work,
        audit.Action.MODEL_PUBLISHED,
        actor=actor,
        subject=f"model:{manifest.name}@{manifest.version}",
        detail={"digest": bundle.digest},
    )
    if work.session.get(ModelAlias, (manifest.name, DEFAULT_ALIAS)) is None:
        promote(work, name=manifest.name, version=manifest.version, alias=DEFAULT_ALIAS, actor=actor)
    return row.id


def promote(work: UnitOfWork, *, name: str, version: str, alias: str, actor: str) -> None:
    """Point an alias at a version. Jobs accepted before keep theirs. Raises ModelNotFound or BundleUnusable."""
    if not ALIAS.fullmatch(alias):
        raise BundleUnusable("An alias is lower-case letters, digits and hyphens, and starts with a letter.")
    target = work.session.scalar(
        sa.select(ModelVersion.id).where(ModelVersion.name == name, ModelVersion.version == version)
    )
    if target is None:
        raise ModelNotFound
    row = work.session.get(ModelAlias, (name, alias))
    if row is None:
        work.session.add(ModelAlias(name=name, alias=alias, model_version_id=target))
    else:
        row.model_version_id, row.updated_at = target, sa.func.now()
    work.session.flush()
    audit.append(
        work,
        audit.Action.MODEL_PROMOTED,
        actor=actor,
        subject=f"model:{name}@{version}",
        detail={"alias": alias},
    )
