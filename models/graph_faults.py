"""Faults of the graphs of a bundle that can be found without running them."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final, Self

from pydantic import ValidationError

from models.bundle import path_fault, read_text
from models.graph import check_graph
from models.manifest import (
    MANIFEST_NAME,
    MODEL,
    BundleRefused,
    Fault,
    GraphTable,
    ModelManifest,
    Precision,
    toml_table,
)
from models.pipelines import GraphSpec, Pipeline
from models.precision import held, weights_of
from models.sandbox import Sandbox, SandboxFailed
from models.tensor_faults import of_graph

WEIGHTS: Final = {
    "fp32": "float32 or wider",
    "fp16": "16-bit floats",
    "int8": "integers of eight bits or less",
}


@dataclass(frozen=True)
class GraphTables:
    """The graphs of a bundle by name. Their tensors are compared only if the manifest says which they are (`told`).

    `named`: each has a table [graphs.NAME]; otherwise the only one has [graph].
    """

    graphs: Mapping[str, GraphTable]
    told: bool = True
    named: bool = False
    precision: Precision | None = None  # of all of them, if the manifest states it

    @classmethod
    def of(cls, folder: Path, manifest: ModelManifest | None) -> Self:
        """The graphs of the manifest; for a refused manifest, those that its [graph] or [graphs] tables still give."""
        if manifest is not None:
            precision = manifest.runtime.precision
            return cls(manifest.graph_tables, named=bool(manifest.graphs), precision=precision)
        try:
            written = toml_table(read_text(folder, MANIFEST_NAME))
        except BundleRefused:
            return cls({MODEL: GraphTable.model_validate({})}, told=False)
        if written.get("method") == "rules":
            return cls({})
        graphs = written.get("graphs") or {MODEL: written.get("graph", {})}
        try:
            read = {name: GraphTable.model_validate(table) for name, table in graphs.items()}
        except (AttributeError, ValidationError):  # reported with the manifest's faults
            return cls({}, told=False)
        named = bool(written.get("graphs"))
        return cls(read, told="graph" not in written or "graphs" not in written, named=named)


def check_graphs(
    folder: Path,
    tables: GraphTables,
    pipeline: Pipeline | None,
    files: Sequence[str],
    sandbox: Sandbox | None,
) -> list[Fault]:
    """Faults of the graphs of a bundle with these `files`. Without a sandbox they are checked in this process.

    Their tensors are compared if there is a pipeline and the manifest says what they are called.
    """
    known = pipeline is not None and tables.told
    specs: dict[str, GraphSpec] = dict(pipeline.graphs) if pipeline is not None and known else {}
    faults = _misnamed(tables.graphs.keys(), specs.keys()) if known else []
    for name, table in tables.graphs.items():
        found = _check_one(folder, table, specs.get(name), files, sandbox)
        faults += [of_graph(each, name) for each in found] if tables.named else found
    return faults or _imprecise(folder, tables, sandbox)


def _imprecise(folder: Path, tables: GraphTables, sandbox: Sandbox | None) -> list[Fault]:
    """The fault of a manifest that says another precision than that of most weights of its sound graphs."""
    if tables.precision is None:
        return []
    counts: Counter[Precision] = Counter()
    for table in tables.graphs.values():
        if path_fault(folder, table.file) is not None:
            return []  # reported with the files
        path = folder / table.file
        try:
            counts.update(weights_of(path) if sandbox is None else sandbox.call(weights_of, path))
        except SandboxFailed as failed:
            return [Fault(table.file, "onnx_invalid", f"the graph cannot be checked: {failed}")]
    found = held(counts)
    if found == tables.precision:
        return []
    reason = (
        f"the manifest says {tables.precision}, and {counts[found]:,} of {counts.total():,} weights of the graph are "
        f'{WEIGHTS[found]}: write `precision = "{found}"`, or put the graph that was meant into the bundle'
    )
    return [Fault(f"{MANIFEST_NAME}: runtime.precision", "precision_differs", reason)]


def _misnamed(given: Collection[str], wanted: Collection[str]) -> list[Fault]:
    """Faults of graphs that the pipeline lacks, and of graphs that it does not know."""
    if not wanted and given:
        reason = 'the pipeline runs no graph: write `method = "rules"`, and remove [graph], [graphs] and their files'
        return [Fault(f"{MANIFEST_NAME}: method", "graph_name_unknown", reason)]
    if wanted and not given:
        reason = 'the pipeline runs a graph: remove `method = "rules"`, and add the ONNX file'
        return [Fault(f"{MANIFEST_NAME}: method", "graph_missing", reason)]
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
    """Faults of one graph."""
    if path_fault(folder, table.file) is not None:
        return []  # reported with the files
    check, path = partial(check_graph, files=_beside(table.file, files)), folder / table.file
    try:
        return check(path, table, spec) if sandbox is None else sandbox.call(check, path, table, spec)
    except SandboxFailed as failed:
        return [Fault(table.file, "onnx_invalid", f"the graph cannot be checked: {failed}")]


def _beside(graph: str, files: Iterable[str]) -> set[str]:
    """Files of the bundle as paths relative to the folder of its graph, where ONNX Runtime looks for weights."""
    start, paths = PurePosixPath(graph).parent, map(PurePosixPath, files)
    return {path.relative_to(start).as_posix() for path in paths if path.is_relative_to(start)}
