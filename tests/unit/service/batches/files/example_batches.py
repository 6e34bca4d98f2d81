"""Small batches for tests: files in every format, read and scored by a model of three numbers, one of them optional."""

import csv
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from onnx import helper, numpy_helper

from models.pipelines import Pipeline, load_pipeline
from service.batches.files import joins
from service.batches.files.accounting import ChunkAccount
from service.batches.files.blocks import RowBlock
from service.batches.files.csv_lines import csv_header
from service.batches.files.formats import inspect, reader_of, wanted_of
from service.batches.files.layouts import BatchFormat
from service.batches.files.outputs import OutputFormat, errors_schema, results_schema
from service.batches.files.parts import Part, PartKind, PartStore
from service.batches.files.plans import Chunk, Limits, Plan
from service.batches.files.problems import FileProblem, FileRefused
from service.batches.files.sources import Identity
from service.config import Provider
from service.crypto import Cipher
from tests.fakes import MemoryBlobStore
from tests.unit.models.example_bundles import FEATURES, graph, manifest
from tests.unit.models.example_images import noise, png
from workers.batches.case_scoring import CaseScorer
from workers.batches.chunk_scoring import ChunkScorer
from workers.runtime import Graph, LoadedGraph, OnnxRuntime

MARKER = {
    "name": "marker",
    "title": "Marker",
    "unit": "1",
    "minimum": -1.0,
    "maximum": 1.0,
    "required": False,
}
TABLES = (BatchFormat.PARQUET, BatchFormat.CSV, BatchFormat.NDJSON)
Row = Mapping[str, Any]


class MemorySource:
    """A source in memory. `opened` counts how often it was opened; `mark` may be changed."""

    def __init__(self, content: bytes, sha256: str | None = None) -> None:
        self.content = content
        self.mark = "first"
        self.sha256 = sha256

    def identity(self) -> Identity:
        """See Source."""
        return Identity(len(self.content), self.mark, self.sha256)

    def open(self) -> io.RawIOBase:
        """See Source."""
        return io.BytesIO(self.content)  # type: ignore[return-value]  # it reads and seeks alike


@cache
def pipeline() -> Pipeline:
    """The model's pipeline: dose and age are required, marker is not."""
    return load_pipeline(manifest(features=[*FEATURES, MARKER], abstain=BAND))


BAND = {"lower": 0.4, "upper": 0.6, "reason": "too close to call"}


@cache
def loaded_graph() -> LoadedGraph:
    """Its graph, imputing 30 where the marker is absent."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(imputing_graph().SerializeToString())
        return OnnxRuntime(Provider.CPU, allow_cpu=False, threads=1).load(path)


def imputing_graph() -> Any:
    """The graph of `example_bundles` with NaN taken as 30."""

    model = graph(features=3, feed="imputed")
    features = helper.make_tensor_value_info("features", 1, ["rows", 3])
    usual = numpy_helper.from_array(np.full(1, 30, np.float32), "usual")
    model.graph.initializer.append(usual)
    nodes = [
        helper.make_node("IsNaN", ["features"], ["absent"]),
        helper.make_node("Where", ["absent", "usual", "features"], ["imputed"]),
    ]
    kept = list(model.graph.node)
    del model.graph.node[:], model.graph.input[:]
    model.graph.node.extend([*nodes, *kept])
    model.graph.input.append(features)
    return model


def good_rows(count: int) -> list[dict[str, Any]]:
    """Rows with an id, all of them good; every third has no marker."""
    return [
        {
            "id": f"r{number}",
            "dose": (number * 7 % 500) / 10,
            "age": float(number % 121),
            "marker": None if number % 3 == 0 else 0.25,
        }
        for number in range(count)
    ]


def parquet_file(rows: Sequence[Row], *, group: int = 1000, schema: pa.Schema | None = None) -> bytes:
    """Rows as Parquet, in row groups of `group` rows."""
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema), sink, row_group_size=group)
    return sink.getvalue()


def csv_file(
    rows: Sequence[Row], *, delimiter: str = ",", line_end: str = "\n", quoting: Any = csv.QUOTE_MINIMAL
) -> bytes:
    """Rows as CSV."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(
        text, list(rows[0]), delimiter=delimiter, lineterminator=line_end, quoting=quoting
    )
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def ndjson_file(rows: Iterable[object]) -> bytes:
    """Rows as NDJSON."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def file_of(form: BatchFormat, rows: Sequence[Row]) -> bytes:
    """Rows as a file of a format of tables."""
    writers: dict[BatchFormat, Callable[..., bytes]] = {
        BatchFormat.PARQUET: parquet_file,
        BatchFormat.CSV: csv_file,
        BatchFormat.NDJSON: ndjson_file,
    }
    return writers[form](rows)


def zip_file(members: Sequence[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A ZIP archive."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", method) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return sink.getvalue()


def image(seed: int = 0) -> bytes:
    """A PNG of 8 x 8 pixels that differs by seed."""
    return png(np.roll(noise(8, 8), seed))


def plan_of(
    content: bytes,
    form: BatchFormat,
    limits: Limits | None = None,
    *,
    model: Pipeline | None = None,
    **options: Any,
) -> Plan:
    """The plan of a file."""
    return inspect(MemorySource(content), form, wanted_of(model or pipeline(), **options), limits)


def refusal(
    content: bytes, form: BatchFormat, *, model: Pipeline | None = None, **options: Any
) -> FileRefused:
    """Why a file is refused."""
    limits = options.pop("limits", None)
    try:
        plan_of(content, form, limits, model=model, **options)
    except FileRefused as refused:
        return refused
    raise AssertionError("the file was not refused")


def problem(content: bytes, form: BatchFormat, **options: Any) -> FileProblem:
    """The code of a refusal."""
    return refusal(content, form, **options).problem


def blocks_of(content: bytes, plan: Plan, *, model: Pipeline | None = None) -> list[RowBlock]:
    """All blocks of all chunks."""
    reader = reader_of(MemorySource(content).open(), plan.layout, model or pipeline())
    return [block for chunk in plan.chunks for block in reader.read(chunk)]


@dataclass
class Run:
    """A batch that was scored: its plan, its parts by chunk, and where they are kept."""

    plan: Plan
    model: Pipeline
    form: OutputFormat
    store: PartStore
    blobs: MemoryBlobStore
    accounts: dict[int, ChunkAccount] = field(default_factory=dict)

    def parts(self, kind: PartKind) -> list[Part]:
        """The parts of a kind in order."""
        accounts = [self.accounts[number] for number in sorted(self.accounts)]
        found = [account.results if kind is PartKind.RESULTS else account.errors for account in accounts]
        return [part for part in found if part is not None]

    def joined(self, kind: PartKind = PartKind.RESULTS) -> joins.JoinedFile:
        """The joined file of a kind."""
        parts, footer, header = self.parts(kind), None, None
        results = kind is PartKind.RESULTS
        schema = results_schema(self.plan.layout, self.model) if results else errors_schema(self.plan.layout)
        if self.form is OutputFormat.CSV:
            header = memoryview(csv_header(schema))
        if self.form is OutputFormat.PARQUET:
            content = joins.joined_footer(self.store, parts, schema)
            footer = self.store.write(PartKind.FOOTER, 0, 1, content, rows=0)
        return joins.JoinedFile(self.store, parts, footer, header)

    def lines(self, kind: PartKind = PartKind.RESULTS) -> list[dict[str, Any]]:
        """The rows of a joined file."""
        content = b"".join(self.joined(kind).read())
        if self.form is OutputFormat.PARQUET:
            return list(pq.read_table(io.BytesIO(content)).to_pylist())
        if self.form is OutputFormat.CSV:
            table = csv.DictReader(io.StringIO(content.decode(), newline=""))
            return [{**line, "row": int(line["row"])} for line in table]
        return [json.loads(line) for line in content.splitlines()]


def chunk_scorer(
    model: Pipeline, graph: Graph, batch_limit: int, model_options: Mapping[str, object]
) -> ChunkScorer:
    """A scorer of chunks, as a worker makes it."""
    run = cast(Any, graph).run
    cases = CaseScorer(model.open(Path()), run, batch_limit, lambda: None, model_options)
    return ChunkScorer(model, graph, batch_limit=batch_limit, cases=cases)


def scored(
    content: bytes,
    form: BatchFormat,
    limits: Limits | None = None,
    *,
    output: OutputFormat = OutputFormat.NDJSON,
    order: Sequence[int] | None = None,
    model: Pipeline | None = None,
    graph: Graph | None = None,
    batch_limit: int = 64,
    model_options: Mapping[str, object] | None = None,
    **options: Any,
) -> Run:
    """Score a file: chunks in `order` (their numbers, repeats allowed), each by a reader of its own where it is given."""
    plan = plan_of(content, form, limits, model=model, **options)
    blobs = MemoryBlobStore()
    model = model or pipeline()
    run = Run(plan, model, output, PartStore(blobs, Cipher(bytes(32)), UUID(int=1), UUID(int=2)), blobs)
    scorer = chunk_scorer(model, graph or loaded_graph(), batch_limit, model_options or {})
    reader = reader_of(MemorySource(content).open(), plan.layout, model, limits)
    for number in order if order is not None else range(len(plan.chunks)):
        chunk = Chunk.from_bytes(plan.chunks[number].as_bytes())
        found = scorer.score(chunk, reader.read(chunk), plan.layout, output)
        run.accounts[number] = ChunkAccount(
            number,
            found.rows,
            found.succeeded,
            found.failed,
            run.store.write(PartKind.RESULTS, number, 1, found.results, rows=found.succeeded),
            run.store.write(PartKind.ERRORS, number, 1, found.errors, rows=found.error_lines),
        )
    return run


def errors(content: bytes, form: BatchFormat, **options: Any) -> list[tuple[int, str | None, str]]:
    """Row, column and code of every error of a file."""
    lines = scored(content, form, **options).lines(PartKind.ERRORS)
    return [(line["row"], line["column"], line["code"]) for line in lines]


def told(run: Run) -> list[tuple[int, str | None, str, str]]:
    """Row, column, code and message of every error of a run."""
    return [(e["row"], e["column"], e["code"], e["message"]) for e in run.lines(PartKind.ERRORS)]


class PixelGraph:
    """A graph that answers the mean of the pixels."""

    def run(self, feeds: Any) -> Any:
        """See Graph."""
        return {"probability": feeds["image"].mean(axis=(1, 2, 3), keepdims=False)[:, None]}

    def stop(self) -> None:
        """See Graph."""


def images(**options: Any) -> dict[str, Any]:
    """Options with a model of images."""
    return {"model": load_pipeline(manifest("image-classification")), **options}
