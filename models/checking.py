"""Finds every reason not to publish a bundle at once: a fault in one part hides no fault in another.

The folder's files, manifest, card, golden cases and graph are checked independently. The graph is checked and run in a
Sandbox, because it may be endless, huge or fatal. It is not run if it, a golden input or the manifest has a fault, or if
its files are not the sealed ones.
"""

import json
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from jsonschema import Draft202012Validator

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
from models.example_case import example_faults
from models.golden import TOO_FEW, check_golden, check_inputs
from models.golden_cases import GOLDEN_NAME, GoldenCase, parse_golden
from models.graph import MODEL_NAME
from models.graph_faults import GraphTables, check_graphs
from models.longest_texts import check_longest
from models.manifest import (
    FILL_IN,
    MANIFEST_NAME,
    BundleRefused,
    Fault,
    ModelManifest,
    control_characters,
    text_faults,
    toml_table,
)
from models.pipelines import Pipeline, PredictionInvalid, Run, Scoring, load_pipeline
from models.pipelines.registry import PLACE, name_faults
from models.probing import check_probabilities
from models.sandbox import Sandbox, SandboxFailed, SandboxRun

__all__ = ["check_bundle", "publishable", "sealed"]

_NOT_RUN: Final = frozenset((CARD_NAME, MANIFEST_NAME))  # files on which a run of the graph does not depend
Part = TypeVar("Part")


def publishable(folder: Path, run: RunModel | None = None) -> Bundle:
    """Read and check the bundle in `folder`. Raises BundleRefused with every fault found."""
    if faults := check_bundle(folder, run):
        raise BundleRefused(*faults)
    return read_bundle(folder)


def sealed(folder: Path, *, golden: bool) -> Bundle:
    """Seal the bundle in `folder`, with `golden` after renewing its cases, and check it. Raises BundleRefused.

    A bundle that cannot be sealed is reported as by a check, with all faults that are found without running a graph.
    """
    with Sandbox(files_bytes=bundle_bytes(folder)) as sandbox:
        faults, scored = _examined(folder, sandbox, sealing=True, renewing=golden)
    if golden and scored is None:
        raise BundleRefused(*dict.fromkeys(faults))
    try:
        if golden:
            renew_golden(folder)
        seal_bundle(folder)
    except BundleRefused as refused:
        raise BundleRefused(*dict.fromkeys([*faults, *refused.faults])) from None
    return publishable(folder)


def check_bundle(folder: Path, run: RunModel | None = None) -> list[Fault]:
    """Every reason not to publish the bundle in `folder`; empty for a good one.

    The graph is checked and run in a Sandbox, by ONNX Runtime on the CPU; with `run`, in this process and by `run`.
    """
    with Sandbox(files_bytes=bundle_bytes(folder)) as sandbox:
        faults, scored = _examined(folder, sandbox if run is None else None)
        if scored is not None:
            run_model = run or SandboxRun(sandbox, scored.manifest.runtime.run_timeout_s)
            run_graphs = fitted(folder, scored.manifest, scored.pipeline, run_model)
            scoring = _part(faults, lambda: opened(folder, scored.pipeline))
            faults += [] if scoring is None else _check_answers(scored, scoring, run_graphs)
    return list(dict.fromkeys(faults))


@dataclass(frozen=True)
class _Scorable:
    """The parts of a bundle whose golden cases can be scored."""

    manifest: ModelManifest
    pipeline: Pipeline
    golden: Sequence[GoldenCase]


def _examined(
    folder: Path, sandbox: Sandbox | None, *, sealing: bool = False, renewing: bool = False
) -> tuple[list[Fault], _Scorable | None]:
    """Faults of a bundle that are found before its graph is run, and the parts to run if that is possible.

    With `sealing` all files in the folder count as listed; with `renewing` a golden case needs no answer.
    """
    faults: list[Fault] = []
    manifest = _part(faults, lambda: read_manifest(folder))
    golden = _part(faults, lambda: parse_golden(read_text(folder, GOLDEN_NAME), renewing=renewing))
    faults += _check_texts(folder)
    tables = GraphTables.of(folder, manifest)
    if sealing or manifest is None:
        here = bundle_files(folder) if sealing else ()
        changed = _check_missing(folder, _expected(here, tables))
    else:
        changed = _check_files(folder, manifest.files, tables)
    no_texts = {fault.place for fault in faults if fault.code == "file_not_text"}
    faults += [fault for fault in changed if fault.place not in no_texts]
    parameters = manifest if manifest is not None else _unchecked_manifest(folder)
    pipeline = (
        None if parameters is None else _part(faults, lambda: load_pipeline(parameters, side_files(folder)))
    )
    faults += [] if parameters is None else name_faults(parameters.pipeline)
    faults += [] if pipeline is None else _check_schemas(pipeline)
    refused = [] if pipeline is None or golden is None else check_inputs(golden, pipeline)
    if manifest and pipeline and golden is not None and not refused:
        faults += example_faults(manifest, golden, pipeline)
    files = list(bundle_files(folder)) if manifest is None or sealing else list(manifest.files)
    at_fault = check_graphs(folder, tables, pipeline, files, sandbox)
    faults += at_fault + refused
    as_sealed = all(fault.place in _NOT_RUN or fault.code == "file_not_listed" for fault in changed)
    unfit = at_fault or [fault for fault in refused if fault.code != TOO_FEW]
    if manifest and pipeline and golden is not None and as_sealed and not unfit:
        return faults, _Scorable(manifest, pipeline, golden)
    return faults, None


def _part(faults: list[Fault], read: Callable[[], Part]) -> Part | None:
    """The result of `read`. If it raises BundleRefused: None, and its faults are added to `faults`."""
    try:
        return read()
    except BundleRefused as refused:
        faults += refused.faults
        return None


def _unchecked_manifest(folder: Path) -> ModelManifest | None:
    """The pipeline and parameters of a refused manifest, so that they can still be checked; None if it has none."""
    try:
        table = toml_table(read_text(folder, MANIFEST_NAME))
    except BundleRefused:
        return None
    pipeline, parameters = table.get("pipeline"), table.get("parameters", {})
    if not (isinstance(pipeline, str) and isinstance(parameters, dict)):
        return None
    return ModelManifest.model_construct(pipeline=pipeline, parameters=parameters)


def _check_schemas(pipeline: Pipeline) -> list[Fault]:
    """Faults of the schemas that the catalogue shows. Anything that a pipeline's code raises is such a fault."""
    faults = []
    told = {
        "input": pipeline.input_schema,
        "result": pipeline.result_schema,
        "options": pipeline.options_schema,
    }
    for name, schema in told.items():
        try:
            Draft202012Validator.check_schema(schema())
        except (Exception, SystemExit) as error:  # noqa: BLE001 - see above
            reason = (
                f"its {name} schema is not a JSON Schema 2020-12 ({type(error).__name__}): fix its package"
            )
            faults.append(Fault(PLACE, "schema_invalid", reason))
    return faults


def _check_texts(folder: Path) -> list[Fault]:
    """Faults of the texts that the catalogue stores and shows: the manifest's, and the card."""
    faults: list[Fault] = []
    table = _part(faults, lambda: toml_table(read_text(folder, MANIFEST_NAME)))
    card = _part(faults, lambda: read_text(folder, CARD_NAME))
    faults += text_faults(table)
    faults += _check_filled({MANIFEST_NAME: json.dumps(table, default=str), CARD_NAME: card or ""})
    if card is None:
        return faults
    if not card.strip():
        advice = "write who the model is for, what it was trained on and how well it performs"
        faults.append(Fault(CARD_NAME, "card_empty", advice))
    return faults + control_characters(card, CARD_NAME, "card_invalid")


def _check_filled(texts: Mapping[str, str]) -> list[Fault]:
    """Faults of places that a skeleton left to be filled in."""
    return [
        Fault(name, "not_filled_in", f"fill in the places marked {FILL_IN}")
        for name, text in texts.items()
        if FILL_IN in text
    ]


def _expected(listed: Iterable[str], tables: GraphTables) -> set[str]:
    """The files `listed`, and those that every bundle has."""
    return {*listed, CARD_NAME, GOLDEN_NAME, *(table.file for table in tables.graphs.values())}


def _check_missing(folder: Path, paths: Iterable[str]) -> list[Fault]:
    return [fault for path in sorted(paths) if (fault := path_fault(folder, path)) is not None]


def _check_files(folder: Path, listed: Mapping[str, str], tables: GraphTables) -> list[Fault]:
    """Faults of files that are missing, have another digest than the one `listed`, or are not listed in the manifest."""
    seal = f"medqueue models seal {'' if listed else '--golden '}{shlex.quote(str(folder))}"
    expected = _expected(listed, tables)
    missing = _check_missing(folder, expected)
    here = {*bundle_files(folder), *expected} - {MANIFEST_NAME} - {fault.place for fault in missing}
    unlisted = [
        path_fault(folder, path) or Fault(path, "file_not_listed", f"seal the bundle: {seal}")
        for path in sorted(here - listed.keys())
    ]
    differing = [
        Fault(
            path,
            "digest_differs",
            f"the file is not the one that was sealed: restore it, or seal again: {seal}",
        )
        for path in sorted(here & listed.keys())
        if file_digest(folder / path) != listed[path]
    ]
    return missing + unlisted + differing


def _check_answers(scored: _Scorable, scoring: Scoring, run: Run) -> list[Fault]:
    """Faults of the graph's outputs for the golden cases and, if they can be scored, for further inputs."""
    pipeline, runtime = scored.pipeline, scored.manifest.runtime
    faults = check_golden(scored.golden, pipeline, scoring, runtime.tolerance, run)
    if any(fault.code == "golden_failed" for fault in faults):
        return faults
    faults += check_longest(pipeline, run)
    try:
        return faults + check_probabilities(pipeline, runtime.max_batch, run)
    except BundleRefused as refused:  # such as a run of a graph that the bundle lacks
        return faults + list(refused.faults)
    except (SandboxFailed, PredictionInvalid) as failed:
        reason = f"inputs within the manifest's ranges cannot be scored: {failed}"
        return [*faults, Fault(MODEL_NAME, "probe_failed", reason)]
