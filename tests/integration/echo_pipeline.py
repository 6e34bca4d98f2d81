"""A pipeline of an installed package that answers what it was given: its input, its options, the parts stored apart."""

import json
from pathlib import Path
from uuid import uuid4

from models.bundle import seal_bundle
from service.catalog import Catalog, PublishedModel, publishing
from service.db import Database
from service.storage import BlobStore
from tests.unit.models.example_bundles import golden_table, manifest_table, toml, write_bundle
from tests.unit.models.plug_ins import install

NAME = "echo"
SOURCE = """
from typing import Literal

from models.manifest import ManifestTable
from models.pipelines import GraphSpec, TensorSpec
from models.pipelines.typed import TypedInput, TypedOptions, TypedPipeline, TypedResult


class Parameters(ManifestTable):
    pass


class Input(TypedInput):
    dose: float
    age: float


class Options(TypedOptions):
    top: int = 5


class Result(TypedResult):
    type: Literal["echo"] = "echo"
    dose: float
    top: int
    parts: dict[str, str]


class Scoring:
    def score(self, run, cases):
        return [
            Result(dose=case.input.dose, top=case.options.top, parts={k: v.decode() for k, v in case.parts.items()})
            for case in cases
        ]


class Echo(TypedPipeline[Parameters, Input, Result, Options]):
    graphs = {"model": GraphSpec((TensorSpec("features", "float32", (2,)),), (TensorSpec("probability", "float32", (1,)),))}

    def open_bundle(self, folder):
        return Scoring()


load = Echo.load
"""


def published(database: Database, blobs: BlobStore, site: Path) -> PublishedModel:
    """The package installed in `site`, a folder of sys.path, and a model of its pipeline."""
    install(site, f"echo-{uuid4().hex}", {NAME: "{module}:load"}, SOURCE)
    folder = write_bundle(site / NAME)
    (folder / "manifest.toml").write_text(
        toml(manifest_table() | {"name": NAME, "pipeline": NAME, "parameters": {}})
    )
    (folder / "golden.json").write_text(json.dumps(golden_table()))
    with database.transaction() as work:
        publishing.publish(work, blobs, seal_bundle(folder), actor="test")
    return Catalog(database, cache_s=0, blobs=blobs).resolve(NAME)
