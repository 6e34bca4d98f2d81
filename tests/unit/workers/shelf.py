"""Small published models for workers' tests: a catalogue without a database, a blob store that holds the files."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from models.bundle import Bundle, seal_bundle
from service.catalog import Catalog, PublishedModel
from service.errors import ModelNotFound
from tests.fakes import MemoryBlobStore
from tests.unit.models.example_bundles import manifest_table, toml, write_bundle

NAMESPACE = UUID(int=1)


def small_bundle(folder: Path, name: str = "dose-effect", **runtime: Any) -> Bundle:
    """The dose-effect model under another name and with other limits."""
    write_bundle(folder)
    (folder / "manifest.toml").write_text(toml(manifest_table() | {"name": name, "runtime": runtime}))
    return seal_bundle(folder)


class Shelf(Catalog):
    """Published models by id, each as `stable` unless it is said not to be."""

    def __init__(self) -> None:
        self.blobs = MemoryBlobStore()
        self._models: dict[UUID, PublishedModel] = {}
        self._stable: set[str] = set()

    def put(self, bundle: Bundle, *, stable: bool = True) -> PublishedModel:
        """Publish a bundle."""
        for name in ("manifest.toml", *bundle.manifest.files):
            location = f"models/{bundle.digest.removeprefix('sha256:')}/{name}"
            self.blobs.write(location, [(bundle.folder / name).read_bytes()])
        model = PublishedModel(
            uuid5(NAMESPACE, bundle.digest),
            bundle.manifest,
            bundle.digest,
            bundle.card,
            datetime(2026, 1, 1, tzinfo=UTC),
        )
        self._models[model.id] = model
        if stable:
            self._stable.add(model.name)
        return model

    def version(self, version_id: UUID) -> PublishedModel:
        """See Catalog."""
        if version_id not in self._models:
            raise ModelNotFound
        return self._models[version_id]

    def names(self) -> list[str]:
        """See Catalog."""
        return sorted({model.name for model in self._models.values()})

    def resolve(self, reference: str) -> PublishedModel:
        """See Catalog; names only."""
        return next(model for model in self._models.values() if model.name == reference)

    def versions_of(self, name: str) -> list[PublishedModel]:
        """See Catalog."""
        return [model for model in self._models.values() if model.name == name]

    def aliases_of(self, name: str) -> dict[str, str]:
        """See Catalog."""
        return {"stable": self.resolve(name).version} if name in self._stable else {}
