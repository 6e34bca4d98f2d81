"""Every type of Parquet and Arrow is scored, carried, refused in validation or an error of its row: nothing else happens."""

import io
import json
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from service.batches.files.layouts import BatchFormat
from service.batches.files.outputs import OutputFormat
from service.batches.files.parts import PartKind
from service.batches.files.problems import FileProblem, FileRefused
from service.batches.files.thrift import I32, STRUCT, read_struct, written_struct
from tests.unit.service.batches.files.example_batches import Run, parquet_file, refusal, scored

PARQUET = BatchFormat.PARQUET
SECRET = "Smith"

CARRIED: dict[str, tuple[pa.Array, list[Any]]] = {
    "string_view": (pa.array(["a", "é"], pa.string_view()), ["a", "é"]),
    "large_string": (pa.array(["a", None], pa.large_string()), ["a", None]),
    "dictionary": (pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
    "float16": (pa.array(np.array([0.5, 1.5], np.float16)), [0.5, 1.5]),
    "uint64": (pa.array([0, 2**64 - 1], pa.uint64()), [0, 2**64 - 1]),
    "int8": (pa.array([-128, 127], pa.int8()), [-128, 127]),
    "decimal32": (pa.array([Decimal("1.50"), None], pa.decimal32(5, 2)), ["1.50", None]),
    "decimal64": (pa.array([Decimal("-1.50"), Decimal(2)], pa.decimal64(10, 2)), ["-1.50", "2.00"]),
    "decimal256": (pa.array([Decimal(10**60), Decimal(1)], pa.decimal256(70, 0)), [str(10**60), "1"]),
    "null": (pa.nulls(2), [None, None]),
    "boolean": (pa.array([True, None]), [True, None]),
    "date": (pa.array([0, -719162], pa.int32()).cast(pa.date32()), ["1970-01-01", "0001-01-01"]),
    "time": (pa.array([0, 86_399_000], pa.int32()).cast(pa.time32("ms")), ["00:00:00.000", "23:59:59.000"]),
    "timestamp": (pa.array([0, None], pa.timestamp("us")), ["1970-01-01 00:00:00.000000", None]),
    "zone": (pa.array([0, None], pa.timestamp("ms", "Europe/Berlin")), ["1970-01-01 01:00:00.000+0100", None]),
}  # fmt: skip
REFUSED: dict[str, pa.Array] = {
    "unknown zone": pa.array([0, 1], pa.timestamp("us", "Mars/Base")),
    "offset that is none": pa.array([0, 1], pa.timestamp("us", "+25:99")),
    "duration": pa.array([5, None], pa.duration("s")),
    "binary": pa.array([b"a", b"b"]),
    "binary_view": pa.array([b"a", b"b"], pa.binary_view()),
    "large_binary": pa.array([b"a", b"b"], pa.large_binary()),
    "fixed binary": pa.array([b"a", b"b"], pa.binary(1)),
    "list": pa.array([[1], [2]]),
    "struct": pa.array([{SECRET: 1}, {SECRET: 2}]),
    "map": pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int8())),
    "uuid": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes(16)] * 2, pa.binary(16))),
    "json": pa.ExtensionArray.from_storage(pa.json_(pa.string()), pa.array(["1", "2"])),
}
OUT_OF_RANGE: dict[str, pa.Array] = {
    "timestamp": pa.array([2**62, 0], pa.timestamp("us")),
    "before": pa.array([-(2**62), 0], pa.timestamp("us")),
    "zone": pa.array([2**62, 0], pa.timestamp("us", "Europe/Berlin")),
    "date": pa.array([2**31 - 1, 0], pa.int32()).cast(pa.date32()),
    "year nought": pa.array([-719163, 0], pa.int32()).cast(pa.date32()),
    "time": pa.array([86_400_000, 0], pa.int32()).view(pa.time32("ms")),
    "negative time": pa.array([-1, 0], pa.int64()).view(pa.time64("us")),
}
BAD_TEXT = pa.Array.from_buffers(
    pa.string(), 2, [None, pa.py_buffer(np.array([0, 3, 6], np.int32).tobytes()), pa.py_buffer(b"ab\xc3cde")]
)


def file_with(column: pa.Array, name: str = "k", **options: Any) -> bytes:
    table = pa.table({name: column, "dose": [1.0, 2.0], "age": [3.0, 4.0]})
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def codes(run: Run) -> list[tuple[int, str, str]]:
    return [(line["row"], line["column"], line["code"]) for line in run.lines(PartKind.ERRORS)]


@pytest.mark.parametrize("output", OutputFormat)
@pytest.mark.parametrize("name", CARRIED)
def test_what_can_be_written_is_carried(name: str, output: OutputFormat) -> None:
    column, told = CARRIED[name]
    run = scored(file_with(column), PARQUET, carry=("k",), output=output)
    found = [line["k"] for line in run.lines()]
    written = ["" if cell is None else "true" if cell is True else str(cell) for cell in told]
    expected = {
        OutputFormat.NDJSON: told,
        OutputFormat.CSV: written,
        OutputFormat.PARQUET: column.to_pylist(),
    }
    assert found == expected[output]


@pytest.mark.parametrize("name", [name for name in CARRIED if name != "null"])
def test_what_can_be_carried_can_be_an_id(name: str) -> None:
    column, _ = CARRIED[name]
    table = pa.table({"k": pa.concat_arrays([column, column]), "dose": [1.0] * 4, "age": [3.0] * 4})
    sink = io.BytesIO()
    pq.write_table(table, sink)
    last = "missing_field" if column.null_count else "duplicate_id"
    found = codes(scored(sink.getvalue(), PARQUET, id_column="k"))
    assert (found[-2:]) == [(3, "k", "duplicate_id"), (4, "k", last)]


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("options", [{"carry": ("k",)}, {"id_column": "k"}])
def test_what_cannot_be_written_is_refused_in_validation(name: str, options: dict[str, Any]) -> None:
    refused = refusal(file_with(REFUSED[name]), PARQUET, **options)
    assert refused.problem is FileProblem.COLUMN_UNSUPPORTED
    assert "k" in refused.detail


@pytest.mark.parametrize("name", [*REFUSED, "string_view", "boolean", "date", "zone"])
def test_a_field_that_holds_no_numbers_is_refused_in_validation(name: str) -> None:
    column = REFUSED[name] if name in REFUSED else CARRIED[name][0]
    refused = refusal(file_with(column, "marker"), PARQUET)
    assert refused.problem is FileProblem.COLUMN_UNSUPPORTED
    assert "marker" in refused.detail
    assert SECRET not in refused.detail


@pytest.mark.parametrize(
    "name", ["float16", "int8", "decimal32", "decimal64", "decimal256", "uint64", "null"]
)
def test_every_type_of_number_is_read(name: str) -> None:
    column = CARRIED[name][0]
    found = scored(file_with(column, "marker"), PARQUET)
    outside = [
        row for row, cell in enumerate(column.to_pylist(), 1) if cell is not None and not -1 <= cell <= 1
    ]
    assert codes(found) == [(row, "marker", "out_of_range") for row in outside]


@pytest.mark.parametrize("output", OutputFormat)
@pytest.mark.parametrize("name", OUT_OF_RANGE)
@pytest.mark.parametrize("options", [{"carry": ("k",)}, {"id_column": "k"}])
def test_a_time_out_of_range_is_an_error_of_its_row(
    name: str, options: dict[str, Any], output: OutputFormat
) -> None:
    run = scored(file_with(OUT_OF_RANGE[name]), PARQUET, output=output, **options)
    assert codes(run) == [(1, "k", "out_of_range")]
    assert [line["row"] for line in run.lines()] == [2]


@pytest.mark.parametrize("output", OutputFormat)
@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("options", [{"carry": ("k",)}, {"id_column": "k"}])
def test_a_text_that_is_not_utf8_is_an_error_of_its_row(
    options: dict[str, Any], output: OutputFormat, *, large: bool
) -> None:
    buffers = BAD_TEXT.cast(pa.binary()).cast(pa.large_binary()).buffers()
    column = pa.Array.from_buffers(pa.large_string(), 2, buffers) if large else BAD_TEXT
    run = scored(file_with(column), PARQUET, output=output, **options)
    assert codes(run) == [(1, "k", "not_utf8")]
    assert [line["k"] for line in run.lines()] == ["cde"]
    for kind_of_part in PartKind.RESULTS, PartKind.ERRORS:
        content = b"".join(run.joined(kind_of_part).read())
        if output is OutputFormat.NDJSON:
            assert all(json.loads(line) for line in content.decode().splitlines())


def test_words_that_are_not_utf8_are_refused_with_their_file() -> None:
    words = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), BAD_TEXT)
    assert refusal(file_with(words), PARQUET, carry=("k",)).problem is FileProblem.UNREADABLE


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    ("output", "told"),
    [
        (OutputFormat.NDJSON, [("NaN", "Infinity"), ("-Infinity", 0.5)]),
        (OutputFormat.CSV, [("NaN", "Infinity"), ("-Infinity", "0.5")]),
        (OutputFormat.PARQUET, [("nan", "inf"), ("-inf", "0.5")]),
    ],
)
def test_a_carried_number_that_is_not_finite_comes_back(
    kind: type[np.floating[Any]], output: OutputFormat, told: list[tuple[Any, Any]]
) -> None:
    table = {"a": pa.array(np.array([np.nan, -np.inf], kind)), "b": pa.array(np.array([np.inf, 0.5], kind))}
    sink = io.BytesIO()
    pq.write_table(pa.table({**table, "dose": [1.0, 2.0], "age": [3.0, 4.0]}), sink)
    run = scored(sink.getvalue(), PARQUET, carry=("a", "b"), output=output)
    found = [(line["a"], line["b"]) for line in run.lines()]
    assert (found if output is not OutputFormat.PARQUET else [(str(a), str(b)) for a, b in found]) == told


def test_times_of_the_old_kind_do_not_wrap_around() -> None:
    column = pa.array([0, 200_000_000_000], pa.timestamp("s"))  # the year 8307 is none in nanoseconds
    content = file_with(column, use_deprecated_int96_timestamps=True)
    found = [line["k"] for line in scored(content, PARQUET, carry=("k",)).lines()]
    assert [text[:4] for text in found] == ["1970", "8307"]


def test_a_codec_that_is_not_read_is_refused_in_validation() -> None:
    content = file_with(pa.array(["a", "b"]), compression="gzip", use_dictionary=False)
    gzip, lzo = 2, 3
    _, _, columns = _footer_columns(content)
    for column in columns:
        assert column[3][1][4] == (I32, gzip)
        column[3][1][4] = (I32, lzo)
    refused = refusal(_with_footer(content, columns), PARQUET)
    assert refused.problem is FileProblem.COLUMN_UNSUPPORTED
    assert "compressed" in refused.detail


def test_an_encrypted_column_is_refused_in_validation() -> None:
    content = file_with(pa.array(["a", "b"]))
    _, _, columns = _footer_columns(content)
    for column in columns:
        column[8] = (STRUCT, {1: (STRUCT, {})})  # under the key of the footer, which is in the clear
    assert refusal(_with_footer(content, columns), PARQUET).problem is FileProblem.COLUMN_UNSUPPORTED


def _footer_columns(content: bytes) -> tuple[Any, int, list[Any]]:
    """The footer of a file of one row group, where it begins, and its columns."""
    start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    footer = read_struct(content[start:-8])
    return footer, start, footer[4][1][1][0][1][1][1]


def _with_footer(content: bytes, columns: list[Any]) -> bytes:
    """The file with other metadata of its columns."""
    footer, start, found = _footer_columns(content)
    found[:] = columns
    changed = written_struct(footer)
    return content[:start] + changed + len(changed).to_bytes(4, "little") + b"PAR1"


@pytest.mark.parametrize("seed", range(6))
def test_a_damaged_file_is_refused_whatever_is_damaged(seed: int) -> None:
    chance = np.random.default_rng(seed)
    rows = [{"k": f"r{row}", "t": row * 10**9, "dose": 1.0, "age": 2.0} for row in range(50)]
    schema = pa.schema(
        [("k", pa.string()), ("t", pa.timestamp("us", "UTC")), ("dose", pa.float64()), ("age", pa.float64())]
    )
    whole = parquet_file(rows, schema=schema, group=20)
    for _ in range(60):
        content = bytearray(whole)
        for place in chance.integers(0, len(whole), chance.integers(1, 4)):
            content[place] = chance.integers(256)
        try:
            run = scored(bytes(content), PARQUET, id_column="k", carry=("t",))
        except FileRefused:
            continue
        for line in b"".join(run.joined().read()).decode().splitlines():
            json.loads(line)
