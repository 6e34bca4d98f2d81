"""A recommender of five items that is small enough to compute by hand, as arrays and as a bundle.

score = history @ ITEMS + context @ CONTEXT + USUAL: the item-item matrix has no diagonal, as that of EASE.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.bundle import renew_golden, seal_bundle
from models.manifest import ModelManifest
from models.pipelines import Array, load_pipeline
from models.pipelines.recommendation import Recommendation
from models.sandbox import CpuRun
from tests.unit.models.drug_tables import PACKAGE
from tests.unit.models.example_bundles import manifest_table, toml

ATC = "http://www.whocc.no/atc"
CATALOGUE = f"""\
id,display,system,code,also,withdrawn
furosemide,Furosemide,{ATC},C03CA01,lasix; hicl:3660,
potassium chloride,Potassium chloride,{ATC},A12BA01,,
metoprolol,Metoprolol,,,,
rofecoxib,Rofecoxib,,,vioxx,withdrawn by its maker in 2004. Leave it out
insulin,Insulin,,,,
aspirin,Aspirin,,,,
"""
GROUPS = """\
group,display,codes
heart-failure,Heart failure,428; I50; congestive heart failure
diabetes,Diabetes mellitus,250; E10; E11
"""
IDS = ["furosemide", "potassium chloride", "metoprolol", "insulin", "aspirin"]
ITEMS = np.array(
    [
        [0, 0.5, 0.2, 0.1, 0.05],
        [0.3, 0, 0.1, 0.2, 0],
        [0.1, 0.1, 0, -0.1, 0.4],
        [0, 0.25, 0, 0, 0.1],
        [0.05, 0, 0.3, 0, 0],
    ],
    np.float32,
)
CONTEXT = np.array(  # heart failure, diabetes; below 40, 40 to 64, from 65; female, male
    [
        [0.6, 0.1, 0.3, 0, 0.1],
        [0, 0, 0, 0.7, 0.1],
        [-0.1, 0, -0.1, 0.1, -0.2],
        [0, 0, 0, 0, 0],
        [0.1, 0.1, 0.1, 0, 0.15],
        [0, 0.02, 0, 0, 0],
        [0, 0, 0, 0, 0.03],
    ],
    np.float32,
)
USUAL = np.array([0.3, 0.35, 0.25, 0.2, 0.28], np.float32)
FIELDS: list[dict[str, Any]] = [
    {
        "name": "diagnoses",
        "title": "Diagnoses",
        "type": "codes",
        "file": "groups.csv",
        "category": 3,
        "example": ["I50.9"],
    },
    {
        "name": "age",
        "title": "Age",
        "type": "number",
        "unit": "a",
        "minimum": 18.0,
        "maximum": 120.0,
        "bins": [40.0, 65.0],
    },
    {"name": "sex", "title": "Sex", "type": "category", "values": ["female", "male"]},
]
PARAMETERS: dict[str, Any] = {"title": "Drugs", "context": FIELDS, "example": ["furosemide"]}
INPUTS: list[dict[str, Any]] = [
    {"history": ["furosemide"], "diagnoses": ["I50.9"], "age": 70.0, "sex": "female"},
    {"history": ["aspirin", "metoprolol", "insulin"]},
    {"diagnoses": ["250.13", "428.0"], "age": 30.0},
    {"history": ["LASIX", "unheard of"], "present": ["insulin"], "sex": "male"},
    {"history": ["unheard of"], "diagnoses": ["Z99"]},
    {"history": [f"{ATC}|A12BA01", "aspirin"], "age": 65.0},
]


def read(path: str) -> bytes:
    """The side files, and the tables of the drug safety rule."""
    if path.startswith("tables/"):
        return (PACKAGE / path).read_bytes()
    return {"catalogue.csv": CATALOGUE, "groups.csv": GROUPS}[path].encode()


def recommender(**parameters: Any) -> Recommendation:
    """The pipeline."""
    table = manifest_table("recommendation") | {"parameters": {**PARAMETERS, **parameters}}
    made = load_pipeline(ModelManifest.model_validate(table), read)
    assert isinstance(made, Recommendation)
    return made


def linear(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
    """The graph, in numpy."""
    assert graph == "model"
    assert {name: feed.dtype for name, feed in feeds.items()} == dict.fromkeys(
        ("history", "context"), np.float32
    )
    return {"scores": feeds["history"] @ ITEMS + feeds["context"] @ CONTEXT + USUAL}


def write_recommender(folder: Path, name: str = "made-up-recommender") -> Path:
    """The bundle, sealed."""
    folder.mkdir(parents=True, exist_ok=True)
    table = manifest_table("recommendation") | {
        "name": name,
        "kind": "recommendation",
        "parameters": PARAMETERS,
    }
    (folder / "manifest.toml").write_text(toml(table))
    (folder / "CARD.md").write_text(f"# {name}\n\nMade up for tests.\n")
    (folder / "catalogue.csv").write_text(CATALOGUE)
    (folder / "groups.csv").write_text(GROUPS)
    (folder / "model.onnx").write_bytes(_graph().SerializeToString())
    cases = [{"input": each, "expected": {}} for each in INPUTS]
    (folder / "golden.json").write_text(json.dumps({"cases": cases}))
    renew_golden(folder, CpuRun())
    seal_bundle(folder)
    return folder


def _graph() -> onnx.ModelProto:
    nodes = [
        helper.make_node("MatMul", ["history", "items"], ["by_items"]),
        helper.make_node("MatMul", ["context", "facts"], ["by_facts"]),
        helper.make_node("Sum", ["by_items", "by_facts", "usual"], ["scores"]),
    ]
    sizes = {"history": len(ITEMS), "context": len(CONTEXT)}
    graph = helper.make_graph(
        nodes,
        "linear",
        [
            helper.make_tensor_value_info(each, TensorProto.FLOAT, ["rows", size])
            for each, size in sizes.items()
        ],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["rows", len(ITEMS)])],
        [
            numpy_helper.from_array(each, name)
            for name, each in (("items", ITEMS), ("facts", CONTEXT), ("usual", USUAL))
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
