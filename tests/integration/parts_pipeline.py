"""A pipeline of an installed package whose inputs have parts that are stored apart: a file, and the result of another job."""

import base64
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

from models.bundle import renew_golden, seal_bundle
from models.sandbox import CpuRun
from service.catalog import Catalog, PublishedModel, publishing
from service.db import Database
from service.storage import BlobStore
from tests.unit.models.example_bundles import manifest_table, toml, write_bundle
from tests.unit.models.plug_ins import install

NAME = "second-look"
SCAN = b"SCAN of a chest"
SOURCE = """
import json
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from models.manifest import ManifestTable
from models.pipelines import FieldFault, GraphSpec, InputRejected, TensorSpec
from models.pipelines.typed import NoOptions, TypedInput, TypedPipeline, TypedResult
from models.pipelines.typed_parts import FilePart, OptionalFilePart, ResultOf, ResultPart


class Parameters(ManifestTable):
    pass


class Input(TypedInput):
    age: Annotated[float, Field(ge=0, le=120, json_schema_extra={"unit": "a"})]
    scan: Annotated[FilePart, Field(title="Scan")]
    prior: OptionalFilePart
    finding: Annotated[ResultPart, ResultOf("classification")]


class Result(TypedResult):
    type: Literal["second_look"] = "second_look"
    first_label: str
    scan: str
    prior: str | None
    source: list[str] | None
    score: float


class Scoring:
    def score(self, run, cases):
        found = [json.loads(case.parts["finding"]) for case in cases]
        rows = [[len(case.parts["scan"]), case.input.age] for case in cases]
        scores = run({"features": np.array(rows, np.float32)})["probability"]
        return [
            Result(
                first_label=finding["label"],
                scan=case.parts["scan"].decode(),
                prior=case.parts["prior"].decode() if "prior" in case.parts else None,
                source=list(case.sources["finding"]) if case.sources else None,
                score=float(score[0]),
            )
            for case, finding, score in zip(cases, found, scores, strict=True)
        ]


class SecondLook(TypedPipeline[Parameters, Input, Result, NoOptions]):
    graphs = {"model": GraphSpec((TensorSpec("features", "float32", (2,)),), (TensorSpec("probability", "float32", (1,)),))}

    def check_file(self, name, content):
        if not content.startswith(b"SCAN"):
            raise InputRejected(FieldFault("", "not_a_scan", f"{name} must be a scan."))

    def open_bundle(self, folder):
        return Scoring()


load = SecondLook.load
"""


def file_part(content: bytes) -> dict[str, str]:
    """A file as it is sent in a request, and stands in golden.json."""
    return {"data": base64.b64encode(content).decode()}


def golden_table() -> dict[str, Any]:
    """Five cases without answers; the last has a file more than the others."""
    cases: list[dict[str, Any]] = [
        {
            "input": {
                "age": 10.0 * number,
                "scan": file_part(SCAN + b"!" * number),
                "finding": {"result": {"type": "classification", "label": "ill", "abstained": False}},
            }
        }
        for number in range(1, 6)
    ]
    cases[-1]["input"]["prior"] = file_part(b"SCAN of last year")
    return {"cases": cases}


def written(site: Path, golden: dict[str, Any] | None = None) -> Path:
    """The package installed in `site`, a folder of sys.path, and a bundle of its pipeline, not yet sealed."""
    install(site, f"second-look-{uuid4().hex}", {NAME: "{module}:load"}, SOURCE)
    folder = write_bundle(site / NAME)
    (folder / "manifest.toml").write_text(
        toml(manifest_table() | {"name": NAME, "pipeline": NAME, "parameters": {}})
    )
    (folder / "golden.json").write_text(json.dumps(golden or golden_table()))
    return folder


def published(database: Database, blobs: BlobStore, site: Path) -> PublishedModel:
    """A model of this pipeline."""
    folder = written(site)
    renew_golden(folder, CpuRun())
    with database.transaction() as work:
        publishing.publish(work, blobs, seal_bundle(folder), actor="test")
    return Catalog(database, cache_s=0, blobs=blobs).resolve(NAME)
