"""Every reason not to publish a bundle, found at once: what is wrong with one part hides nothing of another.

The folder's files, manifest, card, golden cases and graph are judged each for itself. The graph is checked and run in a
Sandbox: it may be endless, huge or fatal. It is run unless it, a golden input or the manifest is at fault itself, or
the files that it is made of are not the sealed ones.
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final, Self, TypeVar

from jsonschema import Draft202012Validator
from pydantic import ValidationError

from models.bundle import (
    CARD_NAME,
    Bundle,
    RunModel,
    bundle_bytes,
    bundle_files,
    file_digest,
    fitted,
    opened,
    path_fault,
    read_bundle,
    read_manifest,
    read_text,
    renew_golden,
    seal_bundle,
    side_files,
)
from models.golden import GOLDEN_NAME, GoldenCase, check_golden, check_inputs, parse_golden
from models.graph import MODEL_NAME, check_graph
from models.manifest import (
    FILL_IN,
    MANIFEST_NAME,
    MODEL,
    BundleRefused,
    Fault,
    GraphTable,
    ModelManifest,
    control_characters,
    text_faults,
    toml_table,
)
from models.pipelines import GraphSpec, Pipeline, Run, Scoring, load_pipeline
from models.pipelines.registry import PLACE, name_faults
from models.probing import check_probabilities
from models.sandbox import Sandbox, SandboxFailed, SandboxRun

__all__ = ["check_bundle", "publishable", "sealed"]

_NOT_RUN: Final = frozenset((CARD_NAME, MANIFEST_NAME))  # what the graph's run does not depend on
Part = TypeVar("Part")


def publishable(folder: Path, run: RunModel | None = None) -> Bundle:
    """The bundle in `folder`, read and checked. Raises BundleRefused with every fault found."""
    if faults := check_bundle(folder, run):
        raise BundleRefused(*faults)
    return read_bundle(folder)


def sealed(folder: Path, *, golden: bool) -> Bundle:
    """Seal the bundle in `folder`, with `golden` after renewing its cases, and check it. Raises BundleRefused."""
    if golden:
        renew_golden(folder)
    seal_bundle(folder)
    return publishable(folder)


def check_bundle(folder: Path, run: RunModel | None = None) -> list[Fault]:
    """Every reason not to publish the bundle in `folder`; none for a good one.

    The graph is checked and run in a Sandbox, by ONNX Runtime on the CPU; with `run`, in this process and by that.
    """
    faults: list[Fault] = []
    manifest = _part(faults, lambda: read_manifest(folder))
    golden = _part(faults, lambda: parse_golden(read_text(folder, GOLDEN_NAME)))
    faults += _check_texts(folder)
    tables = _Tables.of(folder, manifest)
    changed = _check_files(folder, manifest, tables)
    no_texts = {fault.place for fault in faults if fault.code == "file_not_text"}
    faults += [fault for fault in changed if fault.place not in no_texts]
    parameters = manifest if manifest is not None else _unchecked_manifest(folder)
    pipeline = (
        None if parameters is None else _part(faults, lambda: load_pipeline(parameters, side_files(folder)))
    )
    faults += [] if parameters is None else name_faults(parameters.pipeline)
    faults += [] if pipeline is None else _check_schemas(pipeline)
    refused = [] if pipeline is None or golden is None else check_inputs(golden, pipeline)
    with Sandbox(files_bytes=bundle_bytes(folder)) as sandbox:
        at_fault = _check_graphs(folder, manifest, tables, pipeline, sandbox if run is None else None)
        faults += at_fault + refused
        as_sealed = all(fault.place in _NOT_RUN or fault.code == "file_not_listed" for fault in changed)
        if manifest and pipeline and golden is not None and as_sealed and not (at_fault or refused):
            run_model = run or SandboxRun(sandbox, manifest.runtime.run_timeout_s)
            run_graphs = fitted(folder, manifest, pipeline, run_model)
            scoring = _part(faults, lambda: opened(folder, pipeline))
            if scoring is not None:
                faults += _check_answers(manifest, pipeline, scoring, golden, run_graphs)
    return list(dict.fromkeys(faults))


def _part(faults: list[Fault], read: Callable[[], Part]) -> Part | None:
    """What `read` gives; None, and its faults added, where it refuses."""
    try:
        return read()
    except BundleRefused as refused:
        faults += refused.faults
        return None


def _unchecked_manifest(folder: Path) -> ModelManifest | None:
    """As much of a manifest that is refused as its pipeline and its parameters can be judged by; None without."""
    try:
        table = toml_table(read_text(folder, MANIFEST_NAME))
    except BundleRefused:
        return None
    pipeline, parameters = table.get("pipeline"), table.get("parameters", {})
    if not (isinstance(pipeline, str) and isinstance(parameters, dict)):
        return None
    return ModelManifest.model_construct(pipeline=pipeline, parameters=parameters)


@dataclass(frozen=True)
class _Tables:
    """The graphs of a bundle by name. Only where they are `told`, and not guessed, their tensors can be compared."""

    graphs: Mapping[str, GraphTable]
    told: bool = True

    @classmethod
    def of(cls, folder: Path, manifest: ModelManifest | None) -> Self:
        """Those of the manifest; of one that is refused, those that its tables [graph] or [graphs] still tell."""
        if manifest is not None:
            return cls(manifest.graph_tables)
        try:
            written = toml_table(read_text(folder, MANIFEST_NAME))
        except BundleRefused:
            return cls({MODEL: GraphTable.model_validate({})}, told=False)
        graphs = written.get("graphs") or {MODEL: written.get("graph", {})}
        try:
            read = {name: GraphTable.model_validate(table) for name, table in graphs.items()}
        except (AttributeError, ValidationError):  # said among the manifest's faults
            return cls({}, told=False)
        return cls(read, told="graph" not in written or "graphs" not in written)


def _check_schemas(pipeline: Pipeline) -> list[Fault]:
    """Faults of the schemas that the catalogue shows. Whatever the code of somebody's package raises is one."""
    faults = []
    told = {
        "input": pipeline.input_schema,
        "result": pipeline.result_schema,
        "options": pipeline.options_schema,
    }
    for name, schema in told.items():
        try:
            Draft202012Validator.check_schema(schema())
        except Exception as error:  # noqa: BLE001 - see above
            reason = f"its {name} schema is no JSON Schema 2020-12 ({type(error).__name__}): mend its package"
            faults.append(Fault(PLACE, "schema_invalid", reason))
    return faults


def _check_texts(folder: Path) -> list[Fault]:
    """What is wrong with the texts that the catalogue keeps and shows: the manifest's, and the card."""
    faults: list[Fault] = []
    table = _part(faults, lambda: toml_table(read_text(folder, MANIFEST_NAME)))
    card = _part(faults, lambda: read_text(folder, CARD_NAME))
    faults += text_faults(table)
    faults += _check_filled({MANIFEST_NAME: json.dumps(table, default=str), CARD_NAME: card or ""})
    if card is None:
        return faults
    if not card.strip():
        advice = "write who the model is for, what it was trained on and how it does"
        faults.append(Fault(CARD_NAME, "card_empty", advice))
    return faults + control_characters(card, CARD_NAME, "card_invalid")


def _check_filled(texts: Mapping[str, str]) -> list[Fault]:
    """Faults of places that a skeleton left open."""
    return [
        Fault(name, "not_filled_in", f"write what is to stand in the places marked {FILL_IN}")
        for name, text in texts.items()
        if FILL_IN in text
    ]


def _check_files(folder: Path, manifest: ModelManifest | None, tables: _Tables) -> list[Fault]:
    """Faults of files that are missing, are not the manifest's by their digest, or are not listed there."""
    listed = {} if manifest is None else manifest.files
    graphs = {table.file for table in tables.graphs.values()}
    expected = sorted({*listed, CARD_NAME, GOLDEN_NAME, *graphs})
    missing = [fault for path in expected if (fault := path_fault(folder, path)) is not None]
    if manifest is None:
        return missing
    here = {*bundle_files(folder), *expected} - {MANIFEST_NAME} - {fault.place for fault in missing}
    unlisted = [
        path_fault(folder, path) or Fault(path, "file_not_listed", "seal the bundle")
        for path in sorted(here - listed.keys())
    ]
    differing = [
        Fault(path, "digest_differs", "the file is not the one that was sealed: restore it, or seal again")
        for path in sorted(here & listed.keys())
        if file_digest(folder / path) != listed[path]
    ]
    return missing + unlisted + differing


def _check_graphs(
    folder: Path,
    manifest: ModelManifest | None,
    tables: _Tables,
    pipeline: Pipeline | None,
    sandbox: Sandbox | None,
) -> list[Fault]:
    """What is wrong with the graphs. Without a sandbox, in this process.

    Their tensors are compared where there is a pipeline and the tables tell what they are called.
    """
    files = list(bundle_files(folder)) if manifest is None else list(manifest.files)
    specs: dict[str, GraphSpec] = dict(pipeline.graphs) if pipeline is not None and tables.told else {}
    faults = _misnamed(tables.graphs.keys(), specs.keys()) if specs else []
    for name, table in tables.graphs.items():
        faults += _check_one(folder, table, specs.get(name), files, sandbox)
    return faults


def _misnamed(given: Collection[str], wanted: Collection[str]) -> list[Fault]:
    """Faults of graphs that the pipeline does not know, and of those it needs."""
    place = f"{MANIFEST_NAME}: graphs"
    known = ", ".join(sorted(wanted))
    lacking = [
        Fault(place, "graph_missing", f"the pipeline needs a graph {name!r}: add its table [graphs.{name}]")
        for name in sorted(set(wanted) - set(given))
    ]
    return lacking + [
        Fault(place, "graph_name_unknown", f"the pipeline knows no graph {name!r}; it has {known}")
        for name in sorted(set(given) - set(wanted))
    ]


def _check_one(
    folder: Path, table: GraphTable, spec: GraphSpec | None, files: Sequence[str], sandbox: Sandbox | None
) -> list[Fault]:
    """What is wrong with one graph."""
    if path_fault(folder, table.file) is not None:
        return []  # said among the files
    check, path = partial(check_graph, files=_beside(table.file, files)), folder / table.file
    try:
        return check(path, table, spec) if sandbox is None else sandbox.call(check, path, table, spec)
    except SandboxFailed as failed:
        return [Fault(table.file, "onnx_invalid", f"the graph cannot be checked: {failed}")]


def _beside(graph: str, files: Iterable[str]) -> set[str]:
    """Files of the bundle as paths relative to the folder of its graph, where weights are looked for."""
    start, paths = PurePosixPath(graph).parent, map(PurePosixPath, files)
    return {path.relative_to(start).as_posix() for path in paths if path.is_relative_to(start)}


def _check_answers(
    manifest: ModelManifest, pipeline: Pipeline, scoring: Scoring, golden: Sequence[GoldenCase], run: Run
) -> list[Fault]:
    """What is wrong with what the graph gives for the golden cases and, where it can give anything, beyond them."""
    faults = check_golden(golden, pipeline, scoring, manifest.runtime.tolerance, run)
    if any(fault.code == "golden_failed" for fault in faults):
        return faults
    try:
        return faults + check_probabilities(pipeline, manifest.runtime.max_batch, run)
    except SandboxFailed as failed:
        reason = f"inputs within the manifest's ranges cannot be scored: {failed}"
        return [*faults, Fault(MODEL_NAME, "probe_failed", reason)]
