"""A model whose results have artifacts, by a pipeline of an installed package: a large and a small file for each case."""

import json
from pathlib import Path
from typing import Any

from models.bundle import renew_golden, seal_bundle
from tests.unit.models.example_bundles import golden_table, graph, manifest_table, toml
from tests.unit.models.plug_ins import install

NAME = "drawing"
PACKAGE = '''
"""What tabular-classification answers, with a drawing of the case beside it."""

import hashlib

from models.manifest import parse_parameters
from models.pipelines import Artifact
from models.pipelines.tabular_classification import TabularClassification, TabularParameters

REPEATED = 4096


class Drawing(TabularClassification):
    def score(self, run, cases):
        answers = super().score(run, cases)
        return [answer._replace(artifacts=drawn(case.payload)) for case, answer in zip(cases, answers, strict=True)]


def drawn(payload):
    digest = hashlib.sha256(payload).digest()
    return (
        Artifact("overlay.bin", "application/octet-stream", digest * REPEATED),
        Artifact("note.txt", "text/plain", digest.hex().encode()),
    )


def load(manifest, read):
    return Drawing(parse_parameters(TabularParameters, manifest))
'''


def install_drawing(site: Path) -> None:
    """Install the package into a folder that is to be on PYTHONPATH."""
    site.mkdir(parents=True)
    install(site, "medqueue-drawing", {NAME: "{module}:load"}, PACKAGE)


def write_drawing(folder: Path) -> Path:
    """The bundle, sealed, in `folder`. Its golden cases are those of the model that it draws for."""
    folder.mkdir(parents=True)
    table = manifest_table() | {"name": NAME, "runtime": {"max_batch": 8}}
    (folder / "CARD.md").write_text("# drawing\n\nMade up for fault tests.\n")
    (folder / "model.onnx").write_bytes(graph().SerializeToString())
    (folder / "golden.json").write_text(json.dumps(golden_table()))
    (folder / "manifest.toml").write_text(toml(table))
    renew_golden(folder)  # in this process, which has no such package
    (folder / "manifest.toml").write_text(toml(table | {"pipeline": NAME}))
    seal_bundle(folder)
    return folder


def body(dose: float) -> dict[str, Any]:
    """A submit of this dose."""
    return {"model": NAME, "input": {"dose": dose, "age": 40.0}}
