"""What a process knows of the published models."""

import pytest

from service.catalog import Catalog
from service.db import Database
from service.errors import ModelNotFound
from tests import factories
from tests.fakes import MemoryBlobStore

PNEUMONIA = "pneumonia-xray-28"


def test_a_model_that_was_published_a_moment_ago_is_known(database: Database, blobs: MemoryBlobStore) -> None:
    factories.published(database, blobs)
    catalog = Catalog(database, cache_s=3600)
    assert catalog.names() == [factories.BREAST_CANCER]
    later = factories.published(database, blobs, PNEUMONIA)
    for reference in (PNEUMONIA, f"{PNEUMONIA}@{later.version}", f"{PNEUMONIA}@stable"):
        assert catalog.resolve(reference).id == later.id


def test_versions_of_a_model_that_was_published_a_moment_ago_are_known(
    database: Database, blobs: MemoryBlobStore
) -> None:
    factories.published(database, blobs)
    catalog = Catalog(database, cache_s=3600)
    assert catalog.names() == [factories.BREAST_CANCER]
    later = factories.published(database, blobs, PNEUMONIA)
    assert [version.id for version in catalog.versions_of(PNEUMONIA)] == [later.id]
    with pytest.raises(ModelNotFound):
        catalog.versions_of("unknown")


def test_a_model_that_nobody_published_is_not_found(database: Database, blobs: MemoryBlobStore) -> None:
    factories.published(database, blobs)
    catalog = Catalog(database, cache_s=3600)
    for reference in ("unknown", f"{factories.BREAST_CANCER}@9.9.9", "no name at all", ""):
        with pytest.raises(ModelNotFound):
            catalog.resolve(reference)
