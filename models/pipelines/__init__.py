"""What surrounds an ONNX graph: check an input, feed the graph, turn its output into a result.

One file a pipeline, in numpy (and Pillow for images) and nothing else. A manifest names one of the
pipelines registered here and gives its parameters; so a new model needs no Python. `contract` says what a pipeline is.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, cast

from models.manifest import Fault, ManifestInvalid, ModelManifest
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
    PartKind,
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
    score_in_one_pass,
)

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
    "PartKind",
    "Pipeline",
    "PredictionInvalid",
    "ReadFile",
    "RowFault",
    "Run",
    "Scoring",
    "SideFileUnusable",
    "SinglePass",
    "SinglePassPipeline",
    "TensorSpec",
    "load_pipeline",
    "no_files",
    "no_options_schema",
    "pointer_to",
    "refuse_options",
    "registered_pipelines",
    "score_in_one_pass",
    "single_pass",
]


def __getattr__(name: str) -> Any:
    """`Array`, for who asks at run time: the API never does."""
    if name != "Array":
        raise AttributeError(name)
    return importlib.import_module("models.pipelines.contract").Array


# Registered name -> module with `load(manifest, read) -> Pipeline`. Imported when first asked for, so that a
# deployment without images never loads Pillow.
_PIPELINES = {
    "image-classification": "models.pipelines.image_classification",
    "tabular-classification": "models.pipelines.tabular_classification",
}


def registered_pipelines() -> list[str]:
    """The names a manifest may give for `pipeline`, sorted."""
    return sorted(_PIPELINES)


def no_files(path: str) -> bytes:
    """Reads from a bundle that has no side files."""
    raise FileNotFoundError(path)


def load_pipeline(manifest: ModelManifest, read: ReadFile = no_files) -> Pipeline:
    """The manifest's pipeline with the manifest's parameters; `read` gives it the side files that those name.

    Raises ManifestInvalid, and what `read` raises.
    """
    module_name = _PIPELINES.get(manifest.pipeline)
    if module_name is None:
        known = ", ".join(registered_pipelines())
        raise ManifestInvalid(
            Fault("manifest.toml: pipeline", "unknown_pipeline", f"name a registered pipeline: {known}")
        )
    module: Any = importlib.import_module(module_name)
    return cast(Pipeline, module.load(manifest, read))


def single_pass(manifest: ModelManifest) -> SinglePassPipeline:
    """The manifest's pipeline, which must be one of a single pass. Raises ManifestInvalid or TypeError."""
    pipeline = load_pipeline(manifest)
    if not isinstance(pipeline, SinglePass):
        raise TypeError(f"{manifest.pipeline} takes more than one pass")
    return pipeline
