"""Every bad file: what is wrong with a row costs that row, what is wrong with a file ends it in validation."""

import io
import struct

import pyarrow as pa
import pytest

from models.pipelines import Pipeline, load_pipeline
from service.batches.files.formats import inspect, wanted_of
from service.batches.files.layouts import BatchFormat
from service.batches.files.plans import Limits
from service.batches.files.problems import FileProblem, FileRefused
from tests.unit.models.example_bundles import manifest
from tests.unit.service.batches.files.example_batches import (
    TABLES,
    MemorySource,
    csv_file,
    errors,
    file_of,
    good_rows,
    images,
    ndjson_file,
    parquet_file,
    pipeline,
    plan_of,
    problem,
    refusal,
    scored,
    zip_file,
)
from tests.unit.service.batches.files.example_triage import Triage

PARQUET, CSV, NDJSON, ZIP, TAR = BatchFormat
SECRET = "Smith"


@pytest.mark.parametrize("form", BatchFormat)
def test_an_empty_file_is_refused(form: BatchFormat) -> None:
    options = images() if form in (ZIP, TAR) else {}
    assert problem(b"", form, **options) is FileProblem.EMPTY


def test_a_header_without_rows_is_refused() -> None:
    assert problem(b"dose,age\n", CSV) is FileProblem.NO_ROWS
    schema = pa.schema([("dose", pa.float64()), ("age", pa.float64())])
    assert problem(parquet_file([], schema=schema), PARQUET) is FileProblem.NO_ROWS
    assert problem(b"\n \n", NDJSON) is FileProblem.NO_ROWS
    assert problem(zip_file([]), ZIP, **images()) in (FileProblem.NO_ROWS, FileProblem.TOO_MANY_MEMBERS)


@pytest.mark.parametrize("cut", [1, 8, 9, 200, 500])
def test_a_truncated_parquet_file_is_refused(cut: int) -> None:
    content = parquet_file(good_rows(100))
    assert problem(content[:-cut], PARQUET) is FileProblem.UNREADABLE


def test_a_parquet_file_with_a_damaged_footer_is_refused() -> None:
    content = bytearray(parquet_file(good_rows(100)))
    for place in range(len(content) - 400, len(content) - 300):
        content[place] ^= 0xFF
    assert problem(bytes(content), PARQUET) is FileProblem.UNREADABLE


def test_a_footer_that_claims_to_be_huge_is_not_read() -> None:
    content = parquet_file(good_rows(10))[:-8] + struct.pack("<I", 2**31) + b"PAR1"
    assert problem(content, PARQUET) is FileProblem.UNREADABLE


@pytest.mark.parametrize("form", [PARQUET, ZIP])
def test_text_is_no_parquet_and_no_zip(form: BatchFormat) -> None:
    options = images() if form is ZIP else {}
    assert problem(csv_file(good_rows(10)) * 10, form, **options) is FileProblem.WRONG_FORMAT


@pytest.mark.parametrize("form", [CSV, NDJSON])
def test_parquet_is_no_text(form: BatchFormat) -> None:
    assert problem(parquet_file(good_rows(10)), form) is FileProblem.WRONG_FORMAT


@pytest.mark.parametrize(
    ("first", "told"),
    [
        (b"sep=;\r\n", "`sep=`"),
        (b"\xef\xbb\xbfsep=,\n", "`sep=`"),
        (b'"sep=;"\n', "`sep=`"),
        (b"SEP=\t\n", "`sep=`"),
        (b"# exported on 2026-11-28\n", "comment"),
        (b"#, by the lab\n\n", "comment"),
    ],
)
def test_a_line_in_front_of_the_header_is_named(first: bytes, told: str) -> None:
    refused = refusal(first + csv_file(good_rows(3), delimiter=";"), CSV)
    assert refused.problem is FileProblem.HEADER_INVALID
    assert told in refused.detail
    assert "remove it" in refused.detail


@pytest.mark.parametrize(
    "title",
    [
        "Cardiology ward\n",
        "Export,2026-11-28\n",
        "Ward 3\nof 2026\n",
        "Ward 3\n\n",
        "Age study\n",
        "Ward 3\r\n\r\n",
        '"Ward, 3"\n',
        "one,two,three,four,five\n",
    ],
)
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_a_title_before_the_header_is_told_with_the_line_of_the_header(title: str, delimiter: str) -> None:
    refused = refusal(title.encode() + csv_file(good_rows(3), delimiter=delimiter), CSV)
    assert refused.problem is FileProblem.HEADER_INVALID
    assert refused.detail.startswith(f"Line {title.count(chr(10)) + 1} looks like the header: remove")


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_a_file_without_header_is_told_to_need_one(delimiter: str) -> None:
    content = csv_file(good_rows(3), delimiter=delimiter)
    refused = refusal(content[content.index(b"\n") + 1 :], CSV)
    assert refused.problem is FileProblem.HEADER_INVALID
    assert "The first line holds values" in refused.detail


def test_a_short_first_line_of_no_wanted_column_may_be_a_title() -> None:
    refused = refusal(b"Ward 3\nk,v\n1,2\n", CSV)
    assert refused.problem is FileProblem.HEADER_INVALID
    assert "if it is a title, remove it" in refused.detail


@pytest.mark.parametrize(
    "content",
    [b"k,v\n1,2\n", b"k,v\n", b"a,b\nx\n1,2,3\n", b"k,v\ndose,9\n", b",,\n1,2,3\n", b"k,v,2\n1,2,3\n"],
)
def test_a_header_of_other_columns_lacks_the_wanted_ones(content: bytes) -> None:
    assert problem(content, CSV) is FileProblem.COLUMN_MISSING


def test_a_short_header_of_misspelt_columns_is_no_title() -> None:
    assert problem(b"Dose,Age\n1,2,3\n", CSV) is FileProblem.COLUMN_UNKNOWN


def test_a_header_may_begin_with_a_hash() -> None:
    assert errors(b"#case,dose,age\n# a,1,2\n", CSV) == []


def test_a_wrong_delimiter_is_named() -> None:
    content = csv_file(good_rows(3), delimiter=";")
    refused = refusal(content, CSV, delimiter=",")
    assert refused.problem is FileProblem.WRONG_DELIMITER
    assert "';'" in refused.detail


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_delimiter_is_found_out(delimiter: str) -> None:
    assert plan_of(csv_file(good_rows(3), delimiter=delimiter), CSV).layout.delimiter == delimiter


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_a_wrong_encoding_is_refused(encoding: str) -> None:
    rows = [{"name": "Müller", "dose": 1, "age": 2}] * 3
    content = csv_file(rows).decode().encode(encoding)
    assert problem(content, CSV, carry=("name",)) in (FileProblem.NOT_UTF8, FileProblem.COLUMN_MISSING)


def test_the_row_is_named_where_text_stops_being_utf8() -> None:
    content = csv_file([{"name": "x", "dose": 1, "age": 2}] * 50) + b"M\xfcller,1,2\n"
    refused = refusal(content, CSV, carry=("name",))
    assert (refused.problem, refused.row) == (FileProblem.NOT_UTF8, 51)
    assert refused.detail.startswith("Row 51: The text is not UTF-8")


def test_a_header_that_is_not_utf8_is_called_so() -> None:
    refused = refusal("gewicht,größe\n70,170\n".encode("latin-1"), CSV)
    assert refused.detail.startswith("Header: The text is not UTF-8")


def test_a_byte_order_mark_is_no_part_of_the_header() -> None:
    assert plan_of(b"\xef\xbb\xbf" + csv_file(good_rows(3)), CSV, id_column="id").rows == 3


@pytest.mark.parametrize("form", [PARQUET, CSV])
def test_a_missing_column_is_named(form: BatchFormat) -> None:
    content = file_of(form, [{"id": "a", "dose": 1}])
    refused = refusal(content, form)
    assert refused.problem is FileProblem.COLUMN_MISSING
    assert "age" in refused.detail
    assert problem(file_of(form, good_rows(2)), form, id_column="patient") is FileProblem.COLUMN_MISSING


def test_a_missing_key_is_an_error_of_its_line() -> None:
    assert errors(ndjson_file([{"dose": 1, "age": 2}, {"dose": 1}]), NDJSON) == [(2, "age", "missing_field")]


@pytest.mark.parametrize("form", [PARQUET, CSV])
def test_an_optional_column_may_be_absent_but_not_misspelt(form: BatchFormat) -> None:
    assert not errors(file_of(form, [{"dose": 1, "age": 2, "other": 3}]), form)
    assert problem(file_of(form, [{"dose": 1, "age": 2, "Marker ": 3}]), form) is FileProblem.COLUMN_UNKNOWN


def test_a_column_named_twice_is_refused() -> None:
    assert problem(b"dose,age,dose\n1,2,3\n", CSV) is FileProblem.COLUMN_DUPLICATE


@pytest.mark.parametrize("form", TABLES)
def test_a_carried_column_may_not_have_an_outputs_name(form: BatchFormat) -> None:
    content = file_of(form, [{"label": "x", "dose": 1, "age": 2}])
    assert problem(content, form, carry=("label",)) is FileProblem.COLUMN_TAKEN


def test_a_carried_column_may_be_named_missing_unless_the_results_have_one() -> None:
    content = csv_file([{"missing": "x", "row_id": 3, "dose": 1, "age": 2}])
    assert problem(content, CSV, carry=("missing",)) is FileProblem.COLUMN_TAKEN
    strict = load_pipeline(manifest())  # requires every field
    assert plan_of(content, CSV, model=strict, carry=("missing",)).layout.carried.names == ["missing"]
    assert plan_of(content, CSV, carry=("row_id",)).layout.carried.names == ["row_id"]


def test_numbers_stored_as_text_in_parquet_are_refused() -> None:
    assert problem(parquet_file([{"dose": "1", "age": 2}]), PARQUET) is FileProblem.COLUMN_UNSUPPORTED


def test_mixed_types_are_judged_row_by_row() -> None:
    cells = [1, "x", "", 2.5, "nan", "1e400", "1,5", True]
    found = errors(csv_file([{"dose": cell, "age": 3} for cell in cells]), CSV)
    codes = ["wrong_type", "missing_field", "not_finite", "not_finite", "wrong_type", "wrong_type"]
    assert found == [(row, "dose", code) for row, code in zip((2, 3, 5, 6, 7, 8), codes, strict=True)]
    lines = [{"dose": cell, "age": 3} for cell in (1, "2", None, True, 2.5, [1], 10**400)]
    codes = ["wrong_type", "missing_field", "wrong_type", "wrong_type", "out_of_range"]
    assert errors(ndjson_file(lines), NDJSON) == [
        (row, "dose", code) for row, code in zip((2, 3, 4, 6, 7), codes, strict=True)
    ]


def test_lines_with_another_number_of_cells_are_errors_of_their_rows() -> None:
    content = b"id,dose,age\na,1,2\nb,1\n\nc,1,2,3\nd,1,2\n"
    assert errors(content, CSV, id_column="id") == [
        (2, None, "wrong_column_count"),
        (3, None, "wrong_column_count"),
    ]
    assert [line["id"] for line in scored(content, CSV, id_column="id").lines()] == ["a", "d"]


def test_lines_that_are_no_objects_are_errors_of_their_rows() -> None:
    content = b'{"dose":1,"age":2}\n{"dose":1,\n[1]\nnull\n{"dose":1,"age":2} x\n"x"\n\n{"dose":3,"age":2}\n'
    found = errors(content, NDJSON)
    assert [row for row, _, _ in found] == [2, 3, 4, 5, 6]
    assert {code for _, _, code in found} == {"invalid_json", "not_an_object"}
    assert [line["row"] for line in scored(content, NDJSON).lines()] == [1, 7]


@pytest.mark.parametrize(
    "line",
    [
        b"{" + b'"a":{' * 50_000,
        b'{"a":' + b"[" * 100_000 + b"}",
        b"{" * 5000 + b"}" * 5000,
        b'{"dose":"\\ud800","age":2}',
    ],
    ids=["open objects", "open lists", "braces", "half a character"],
)
def test_a_line_made_to_break_parsers_is_an_error_of_its_row(line: bytes) -> None:
    content = b'{"dose":1,"age":2}\n' + line + b'\n{"dose":3,"age":2}\n'
    found = errors(content, NDJSON)
    assert {row for row, _, _ in found} == {2}


def test_two_objects_on_a_line_are_an_error_of_their_row() -> None:
    content = b'{"dose":1,"age":2}\n{"dose":1,"age":2}{"dose":1,"age":2}\n{"dose":1,"age":2}\n'
    assert errors(content, NDJSON) == [(2, None, "invalid_json")]


def test_a_json_array_is_told_from_ndjson() -> None:
    refused = refusal(b'[\n{"dose":1,"age":2},\n{"dose":1,"age":2}\n]', NDJSON)
    assert refused.problem is FileProblem.WRONG_FORMAT
    assert "array" in refused.detail


def test_a_quote_that_never_closes_is_refused_with_its_row() -> None:
    content = csv_file(good_rows(5)) + b'"x,1,2\n' + csv_file(good_rows(200))
    refused = refusal(content, CSV, limits=Limits(row_bytes=1000))
    assert (refused.problem, refused.row) == (FileProblem.UNCLOSED_QUOTE, 6)
    assert refused.detail.startswith("Row 6: ")


def test_a_quote_within_a_cell_means_nothing() -> None:
    content = b'id,dose,age\n5" pipe,1,2\nb,1,2\n"c""",1,2\n'
    run = scored(content, CSV, id_column="id")
    assert [line["id"] for line in run.lines()] == ['5" pipe', "b", 'c"']


@pytest.mark.parametrize("form", [CSV, NDJSON])
def test_a_row_that_is_too_large_costs_itself(form: BatchFormat) -> None:
    rows = [
        {"id": f"r{row}", "dose": 1, "age": 2, "note": "x" * (5_000_000 if row == 2 else 1)}
        for row in range(5)
    ]
    content = file_of(form, rows)
    options = {"id_column": "id"} if form is CSV else {"carry": ("id", "note")}
    found = errors(content, form, limits=Limits(row_bytes=100_000), **options)
    assert found == [(3, None, "row_too_large")]
    run = scored(content, form, Limits(row_bytes=100_000), **options)
    assert [line["id"] for line in run.lines()] == ["r0", "r1", "r3", "r4"]


@pytest.mark.parametrize("form", TABLES)
def test_a_row_without_id_is_an_error_of_its_own(form: BatchFormat) -> None:
    rows = good_rows(4)
    rows[1]["id"] = rows[3]["id"] = None
    assert errors(file_of(form, rows), form, id_column="id") == [
        (2, "id", "missing_field"),
        (4, "id", "missing_field"),
    ]


def test_a_file_that_changes_while_it_is_validated_is_refused() -> None:
    class Changing(MemorySource):
        def open(self) -> io.RawIOBase:
            self.mark = "second"
            return super().open()

    with pytest.raises(FileRefused) as caught:
        inspect(Changing(csv_file(good_rows(3))), CSV, wanted_of(pipeline()))
    assert caught.value.problem is FileProblem.CHANGED


@pytest.mark.parametrize("form", BatchFormat)
@pytest.mark.parametrize(
    ("model", "forms", "takes"),
    [
        (pipeline(), TABLES, "rows of numbers"),
        (Triage(), TABLES, "rows"),
        (images()["model"], (ZIP, TAR), "files, in a ZIP or TAR"),
    ],
    ids=["numbers", "rows", "images"],
)
def test_a_model_takes_rows_or_files_and_is_told_by_what_it_takes(
    model: Pipeline, forms: tuple[BatchFormat, ...], takes: str, form: BatchFormat
) -> None:
    refused = refusal(b"", form, model=model)
    if form in forms:
        assert refused.problem is FileProblem.EMPTY
    else:
        assert refused.problem is FileProblem.WRONG_FORMAT
        assert refused.detail == f"The model takes {takes}: send those."


@pytest.mark.parametrize("form", TABLES)
def test_no_problem_quotes_a_value(form: BatchFormat) -> None:
    rows = [{"id": SECRET, "dose": SECRET, "age": SECRET, SECRET: SECRET}]
    try:
        run = scored(file_of(form, rows), form, id_column="age")
    except FileRefused as refused:
        told = f"{refused} {refused.detail}"
    else:
        from service.batches.files.parts import PartKind

        told = " ".join(line["message"] for line in run.lines(PartKind.ERRORS))
    assert told
    assert SECRET not in told
