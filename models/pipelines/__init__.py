"""Pipelines: the code around an ONNX graph that checks an input, feeds the graph and turns its output into a result.

Each pipeline is one file that uses only numpy (and Pillow for images). A manifest names a pipeline that `registry` knows and
gives its parameters, so a new model needs no Python. `contract` defines what a pipeline is.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from models.pipelines.contract import (
    ANY_LENGTH,
    ROW,
    Answer,
    Artifact,
    Case,
    FieldFault,
    GraphSpec,
    InputRejected,
    Label,
    Pipeline,
    PredictionInvalid,
    ReadFile,
    RowFault,
    Run,
    Scoring,
    SideFileUnusable,
    SinglePass,
    SinglePassPipeline,
    TensorSpec,
    no_options_schema,
    pointer_to,
    refuse_options,
    result_json,
    score_in_one_pass,
)
from models.pipelines.parts import Part, PartKind, Source
from models.pipelines.registry import load_pipeline, registered_pipelines
from models.pipelines.side_files import SideFile, no_files

if TYPE_CHECKING:
    from models.pipelines.contract import Array

__all__ = [
    "ANY_LENGTH",
    "ROW",
    "Answer",
    "Array",
    "Artifact",
    "Case",
    "FieldFault",
    "GraphSpec",
    "InputRejected",
    "Label",
    "Part",
    "PartKind",
    "Pipeline",
    "PredictionInvalid",
    "ReadFile",
    "RowFault",
    "Run",
    "Scoring",
    "SideFile",
    "SideFileUnusable",
    "SinglePass",
    "SinglePassPipeline",
    "Source",
    "TensorSpec",
    "load_pipeline",
    "no_files",
    "no_options_schema",
    "pointer_to",
    "refuse_options",
    "registered_pipelines",
    "result_json",
    "score_in_one_pass",
]


def __getattr__(name: str) -> Any:
    """`Array`, for who asks at run time: the API never does."""
    if name != "Array":
        raise AttributeError(name)
    return importlib.import_module("models.pipelines.contract").Array
