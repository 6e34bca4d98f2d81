"""A small good bundle and its parts, for tests to break one thing at a time.

The model: two numbers, dose (mg) and age (a); probability of "ill" = sigmoid(0.1 * dose + 0.02 * age - 2).
"""

import copy
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.bundle import renew_golden, seal_bundle
from models.manifest import Fault, ModelManifest
from models.pipelines import load_pipeline
from models.pipelines.contract import SinglePass, SinglePassPipeline
from models.sandbox import CpuRun

LABELS: list[dict[str, Any]] = [
    {"id": "well", "display": "Well", "system": "http://example.org/codes", "code": "W"},
    {"id": "ill", "display": "Ill", "system": "http://example.org/codes", "code": "I"},
]
THRESHOLD: dict[str, Any] = {
    "value": 0.5,
    "sensitivity": 0.9,
    "specificity": 0.8,
    "ppv": 0.7,
    "prevalence": 0.3,
    "source": "made up for tests",
}
FEATURES: list[dict[str, Any]] = [
    {"name": "dose", "title": "Dose", "unit": "mg", "minimum": 0.0, "maximum": 50.0, "example": 10.0},
    {"name": "age", "title": "Age", "unit": "a", "minimum": 0.0, "maximum": 120.0, "example": 40.0},
]

CLASSES: dict[str, Any] = {"labels": LABELS, "positive": "ill", "threshold": THRESHOLD}
MOLECULES: dict[str, Any] = {
    "features": {"bits": 64, "descriptors": ["MolWt", "MolLogP"]},
    "domain": {
        "bits": 256,
        "false_alarm_rate": 0.05,
        "catch_rate": 0.9,
        "foreign_set": "made up",
        "source": "made up for tests",
    },
    "tasks": [
        {
            "id": "solubility",
            "title": "Solubility",
            "kind": "regression",
            "domain": "drugs",
            "least_similarity": 0.5,
            "unit": "log10(mol/L)",
            "interval": {
                "half_width": 1.5,
                "coverage": 0.9,
                "measured": 0.91,
                "method": "split conformal prediction",
                "source": "made up for tests",
            },
        },
        {
            "id": "toxic",
            "title": "Toxic",
            "kind": "classification",
            "domain": "drugs",
            "least_similarity": 0.1,
            "positive": "toxic",
            "negative": "not toxic",
            "threshold": THRESHOLD,
            "abstain": {"lower": 0.4, "upper": 0.5, "reason": "unclear"},
        },
    ],
}
OWN: dict[str, dict[str, Any]] = {
    "tabular-classification": {"features": FEATURES},
    "tabular-regression": {"features": FEATURES, "title": "Effect"},
    "image-classification": {"size": 8},
    "object-detection": {
        "size": 32,
        "labels": ["platelets", {"id": "ill", "display": "Ill cell", "threshold": 0.4}],
    },
    "semantic-search": {
        "longest": 200,
        "vocabulary": 12,
        "max_tokens": 16,
        "example": "no fever",
        "encoder": "words",
        "dimension": 12,
    },
    "tensor": {"inputs": [{"name": "x", "shape": [2]}], "outputs": [{"name": "y", "shape": [1]}]},
    "text-classification": {"longest": 200, "vocabulary": 12, "max_tokens": 16, "example": "no fever"},
    "text-embedding": {
        "longest": 200,
        "vocabulary": 12,
        "max_tokens": 16,
        "example": "no fever",
        "encoder": "words",
        "dimension": 12,
    },
    "text-generation": {
        "longest": 200,
        "vocabulary": 12,
        "max_tokens": 16,
        "example": "no fever",
        "end": [3],
        "max_new_tokens": 12,
    },
    "text-pair-classification": {
        "longest": 200,
        "vocabulary": 12,
        "max_tokens": 16,
        "token_types": True,
        "examples": ["no fever", "no cough"],
    },
    "token-classification": {
        "longest": 200,
        "vocabulary": 12,
        "max_tokens": 16,
        "example": "no fever",
        "labels": [
            {
                "id": "sign",
                "display": "Sign or symptom",
                "system": "http://snomed.info/sct",
                "code": "404684003",
            },
            "place",
        ],
    },
    "image-generation": {"labels": ["clear", "hazy"], "width": 6, "height": 4, "noise": [3]},
    "image-segmentation": {"labels": ["nucleus"], "tile": 32, "multiple": 16, "overlap": 8},
    "sequence-classification": {"alphabet": "dna", "shortest": 4, "longest": 40},
    "molecule-property": MOLECULES,
    "beat-classification": {
        "quality": {
            "least_agreement": 0.5,
            "false_alarm_rate": 0.0,
            "catch_rate": 1.0,
            "foreign_set": "noise",
            "source": "made up",
        },
    },
    "timeseries-classification": {
        "measures": [
            {
                "name": "HR",
                "title": "Heart rate",
                "unit": "/min",
                "minimum": 0.0,
                "maximum": 350.0,
                "unknown": -1.0,
            },
            {"name": "Temp", "title": "Temperature", "unit": "Cel", "minimum": 10.0, "maximum": 45.0},
        ],
        "most": 50,
    },
}  # by pipeline: parameters that only it has
WITHOUT_CLASSES = {
    "image-generation",
    "image-segmentation",
    "object-detection",
    "semantic-search",
    "tabular-regression",
    "tensor",
    "text-embedding",
    "text-generation",
    "token-classification",
    "molecule-property",
}


def manifest_table(pipeline: str = "tabular-classification", **parameters: Any) -> dict[str, Any]:
    """The manifest as the table TOML would give; `parameters` are added to the pipeline's."""
    own = OWN.get(pipeline, {})
    return copy.deepcopy(
        {
            "name": "dose-effect",
            "version": "1.0.0",
            "kind": "diagnosis",
            "pipeline": pipeline,
            "title": "Effect of a dose",
            "summary": "A line through made-up points.",
            "license": "CC0-1.0",
            "parameters": {**({} if pipeline in WITHOUT_CLASSES else CLASSES), **own, **parameters},
        }
    )


def manifest(pipeline: str = "tabular-classification", **parameters: Any) -> ModelManifest:
    """The manifest, parsed."""
    return ModelManifest.model_validate(manifest_table(pipeline, **parameters))


def toml(table: dict[str, Any]) -> str:
    """`table` as TOML: what JSON and TOML write alike goes inline, so no TOML writer is needed."""
    return "".join(f"{key} = {_inline(value)}\n" for key, value in table.items())


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}" = {_inline(part)}' for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(value)


def graph(
    extra: list[onnx.NodeProto] | None = None,
    *,
    rows: str | int = "rows",
    features: int = 2,
    element: int = TensorProto.FLOAT,
    feed: str = "features",
    output: str = "probability",
) -> onnx.ModelProto:
    """The model of this module; `extra` nodes stand between `logit` and the sigmoid, which reads `mixed`."""
    nodes = [
        helper.make_node("MatMul", [feed, "weight"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["logit"]),
        *(extra or [helper.make_node("Identity", ["logit"], ["mixed"])]),
        helper.make_node("Sigmoid", ["mixed"], [output]),
    ]
    kind = np.float64 if element == TensorProto.DOUBLE else np.float32
    constants = [
        numpy_helper.from_array(np.array([[0.1]] + [[0.02]] * (features - 1), dtype=kind), "weight"),
        numpy_helper.from_array(np.array([-2.0], dtype=kind), "bias"),
    ]
    tensors = helper.make_graph(
        nodes,
        "dose_effect",
        [helper.make_tensor_value_info(feed, element, [rows, features])],
        [helper.make_tensor_value_info(output, element, [rows, 1])],
        constants,
    )
    return helper.make_model(tensors, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def golden_table() -> dict[str, Any]:
    """Six cases without answers."""
    return {
        "cases": [{"input": {"dose": 5.0 * index, "age": 10.0 * index}, "expected": {}} for index in range(6)]
    }


def write_bundle(folder: Path) -> Path:
    """A good, sealed bundle in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.toml").write_text(toml(manifest_table()))
    (folder / "CARD.md").write_text("# dose-effect\n\nMade up for tests.\n")
    (folder / "model.onnx").write_bytes(graph().SerializeToString())
    (folder / "golden.json").write_text(json.dumps(golden_table()))
    renew_golden(folder, CpuRun())
    seal_bundle(folder)
    return folder


def told(faults: Sequence[Fault]) -> set[tuple[str, str]]:
    """(place, code) of every fault, each of which says in words what is wrong."""
    for fault in faults:
        assert re.fullmatch(r"[a-z_0-9]+", fault.code), fault
        assert len(fault.detail.split()) > 2, fault
        assert str(fault) == f"{fault.place}: {fault.detail} [{fault.code}]"
    return {(fault.place, fault.code) for fault in faults}


def flat(result: dict[str, Any]) -> dict[str, Any]:
    """A result as a row of the columns that batches give."""
    code = result["code"] or {"system": None, "code": None}
    return {
        "label": result["label"],
        "display": result["display"],
        "code_system": code["system"],
        "code": code["code"],
        **{f"probability_{name}": value for name, value in result["probabilities"].items()},
        "threshold": result["threshold"],
        "abstained": result["abstained"],
        "abstain_reason": result["abstain_reason"],
        **({"missing": result["missing"]} if "missing" in result else {}),
    }


def single_pass(of: ModelManifest) -> SinglePassPipeline:
    """The pipeline of a manifest, which is one of a single pass. Raises ManifestInvalid."""
    pipeline = load_pipeline(of)
    assert isinstance(pipeline, SinglePass)
    return pipeline
