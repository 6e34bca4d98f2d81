"""A pipeline of an installed package that runs no graph: a rule says whether a dose is too high. And a bundle of it."""

import json
from pathlib import Path
from uuid import uuid4

from models.bundle import renew_golden, seal_bundle
from tests.unit.models.example_bundles import golden_table, manifest_table, toml
from tests.unit.models.plug_ins import install

NAME = "dose-rule"
SOURCE = """
from typing import Literal

from models.manifest import ManifestTable
from models.pipelines.typed import NoOptions, TypedInput, TypedPipeline, TypedResult


class Parameters(ManifestTable):
    most: float


class Input(TypedInput):
    dose: float
    age: float


class Result(TypedResult):
    type: Literal["dose-rule"] = "dose-rule"
    too_high: bool


class Scoring:
    def __init__(self, most):
        self.most = most

    def score(self, run, cases):
        return [Result(too_high=case.input.dose > self.most) for case in cases]


class DoseRule(TypedPipeline[Parameters, Input, Result, NoOptions]):
    graphs = {}

    def open_bundle(self, folder):
        return Scoring(self.parameters.most)


load = DoseRule.load
"""


def write_rules(folder: Path, site: Path) -> Path:
    """A sealed bundle without a graph in `folder`; its pipeline is installed in `site`, a folder of sys.path."""
    install(site, f"rules-{uuid4().hex}", {NAME: "{module}:load"}, SOURCE)
    folder.mkdir()
    own = {"name": NAME, "pipeline": NAME, "method": "rules", "parameters": {"most": 12.0}}
    (folder / "manifest.toml").write_text(toml(manifest_table() | own))
    (folder / "CARD.md").write_text("# dose-rule\n\nMade up for tests.\n")
    (folder / "golden.json").write_text(json.dumps(golden_table()))
    renew_golden(folder)
    seal_bundle(folder)
    return folder
