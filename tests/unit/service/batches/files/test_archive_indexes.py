"""Indexes of archives: which member is one, what a line may say, and what becomes of files that it does not name."""

import io
import tarfile
from dataclasses import replace
from typing import Any

import pytest

from service.batches.files.columns import Columns, read_columns
from service.batches.files.formats import archives
from service.batches.files.layouts import BatchFormat
from service.batches.files.parts import PartKind
from service.batches.files.plans import Chunk, Plan, head_of
from service.batches.files.problems import FileProblem
from tests.unit.service.batches.files.example_batches import (
    PixelGraph,
    blocks_of,
    csv_file,
    image,
    images,
    plan_of,
    refusal,
    scored,
    told,
    zip_file,
)
from tests.unit.service.batches.files.test_member_names import raw_zip

ZIP, TAR = BatchFormat.ZIP, BatchFormat.TAR


def archive(*members: tuple[str, bytes]) -> bytes:
    """A ZIP of three images, and of members."""
    return zip_file([*((f"{number}.png", image(number)) for number in range(3)), *members])


def faults_of(content: bytes, **options: Any) -> list[tuple[int, str]]:
    """Row and code of what is wrong with the rows' files."""
    plan = plan_of(content, ZIP, **images(**options))
    return [
        (block.first_row + int(row), block.faults.kinds[kind].code)
        for block in blocks_of(content, plan, **images())
        for row, kind in zip(block.faults.rows, block.faults.faults, strict=True)
    ]


def details_of(content: bytes, plan: Plan) -> list[str]:
    """What is said of each row's fault."""
    return [
        block.faults.kinds[kind].detail
        for block in blocks_of(content, plan, **images())
        for kind in block.faults.faults
    ]


def files_of(content: bytes, plan: Plan) -> list[bytes | None]:
    """The files of all rows."""
    return [file for block in blocks_of(content, plan, **images()) for file in block.files]


def test_a_line_that_names_no_file_is_an_error_of_its_row() -> None:
    content = archive(("index.csv", b"file,side\n0.png,left\n,right\n2.png,left\n"))
    assert faults_of(content, carry=("side",)) == [(2, "missing_field")]


def test_a_name_that_no_file_has_is_missing_whatever_its_letters() -> None:
    named = "file\nfehlt.png\nlängst weg.png\n"
    assert faults_of(archive(("index.csv", named.encode()))) == [(1, "missing_file"), (2, "missing_file")]
    assert faults_of(raw_zip("Größe.png".encode("cp437"), index=named)) == [
        (1, "missing_file"),
        (2, "missing_file"),
    ]


def test_a_name_that_two_files_have_in_different_encodings_is_ambiguous() -> None:
    content = raw_zip("Größe.png".encode("cp437"), "Größe.png".encode("latin-1"), index="file\nGröße.png\n")
    assert faults_of(content) == [(1, "ambiguous_file")]


@pytest.mark.parametrize("name", ["index.ndjson", "index.jsonl"])
def test_lines_of_an_ndjson_index_that_cannot_be_read_are_errors_of_their_rows(name: str) -> None:
    lines = b'{"file": "1.png"}\n{"file": \n["2.png"]\n{"file": "0.png"}\n'
    content = archive((name, lines))
    assert faults_of(content) == [(2, "invalid_json"), (3, "not_an_object")]
    assert files_of(content, plan_of(content, ZIP, **images())) == [image(1), None, None, image(0)]


@pytest.mark.parametrize(
    ("name", "lines", "told"),
    [
        (
            "index.ndjson",
            b'{"file": "1.png"}\n{"file": "0.png", "file": "1.png"}\n{"file": NaN}\n',
            ("Row 2 of index.ndjson: The line is not valid JSON: an object names a field twice", "Row 3 of "),
        ),
        (
            "index.csv",
            b"file,side\n0.png,left\n1.png\n2.png,left,\n",
            ("Row 2 of index.csv: The row and the header have different", "Row 3 of index.csv: The row and"),
        ),
    ],
)
def test_a_line_that_cannot_be_read_is_named_with_its_index_and_why(
    name: str, lines: bytes, told: tuple[str, str]
) -> None:
    content = archive((name, lines))
    plan = plan_of(content, ZIP, **images())
    stored = replace(plan, chunks=tuple(Chunk.from_bytes(chunk.as_bytes()) for chunk in plan.chunks))
    first, second = details_of(content, stored)
    assert first.startswith(told[0])
    assert second.startswith(told[1])


def test_of_very_many_lines_that_cannot_be_read_the_first_are_told_why() -> None:
    lines = b'{"file": \n' * (archives.MOST_DETAILED + 1)
    content = archive(("index.ndjson", b'{"file": "1.png"}\n' + lines))
    details = details_of(content, plan_of(content, ZIP, **images()))
    assert details[-2].startswith(f"Row {archives.MOST_DETAILED + 1} of index.ndjson: ")
    assert details[-1] == "The line is not a JSON object."


@pytest.mark.parametrize("name", ["INDEX.CSV", "Index.csv", "index.NDJSON"])
def test_an_index_is_found_whatever_its_case(name: str) -> None:
    content = archive((name, b'{"file": "2.png"}\n' if name.endswith("JSON") else b"file\n2.png\n"))
    assert files_of(content, plan_of(content, ZIP, **images())) == [image(2)]


def test_two_indexes_that_differ_in_case_are_several() -> None:
    content = archive(("index.csv", b"file\n2.png\n"), ("INDEX.CSV", b"file\n1.png\n"))
    assert refusal(content, ZIP, **images()).problem is FileProblem.INDEX_INVALID


def test_an_index_of_any_name_and_place_can_be_asked_for() -> None:
    content = archive(("lists/cases.csv", b"file\n2.png\n"), ("index.csv", b"file\n0.png\n"))
    plan = plan_of(content, ZIP, **images(index="./lists/cases.csv"))
    assert files_of(content, plan) == [image(2)]


@pytest.mark.parametrize(
    ("members", "index", "detail"),
    [
        ([], "cases.csv", "the index exactly once"),
        ([("cases.csv", b"file\n0.png\n"), ("./cases.csv", b"file\n1.png\n")], "cases.csv", "exactly once"),
        ([("index.csv", b"file\n0.png\n"), ("index.jsonl", b'{"file": "1.png"}\n')], None, "several indexes"),
        ([("index.csv", b"file\n0.png\n"), ("./index.csv", b"file\n1.png\n")], None, "several indexes"),
    ],
)
def test_an_index_that_is_not_there_once_is_refused(
    members: list[tuple[str, bytes]], index: str | None, detail: str
) -> None:
    refused = refusal(archive(*members), ZIP, **images(index=index))
    assert refused.problem is FileProblem.INDEX_INVALID
    assert detail in refused.detail


def test_an_encrypted_index_is_refused_as_such() -> None:
    content = bytearray(archive(("index.csv", b"file\n0.png\n")))
    content[content.rfind(b"PK\x01\x02") + 8] |= 1
    refused = refusal(bytes(content), ZIP, **images())
    assert refused.problem is FileProblem.INDEX_INVALID
    assert "encrypted" in refused.detail


def test_files_that_no_line_names_are_counted_and_named_ones_are_not() -> None:
    content = archive(("index.csv", b"file\n2.png\ngone.png\n2.png\n"))
    assert plan_of(content, ZIP, **images()).layout.unused == 2
    assert plan_of(archive(), ZIP, **images()).layout.unused == 0


def test_the_number_of_files_that_no_line_names_is_kept_with_the_columns() -> None:
    plan = plan_of(archive(("index.csv", b"file,ward\n2.png,w\ngone.png,w\n")), ZIP, **images())
    assert read_columns(head_of(plan)) == Columns((), ("ward",), (), unlisted=2)


def test_a_file_that_is_named_but_cannot_be_read_is_no_unlisted_one() -> None:
    content = bytearray(archive(("index.csv", b"file\n0.png\n1.png\n2.png\n")))
    content[content.find(b"PK\x01\x02") + 8] |= 1
    plan = plan_of(bytes(content), ZIP, **images())
    assert faults_of(bytes(content)) == [(1, "encrypted_file")]
    assert plan.layout.unused == 0


@pytest.mark.parametrize(("options", "names"), [({}, ["file"]), ({"id_column": "case"}, ["case", "file"])])
def test_errors_of_an_index_name_the_file(options: dict[str, Any], names: list[str]) -> None:
    content = archive(("index.csv", b"file,case\n0.png,a\ngone.png,b\n1.png,c\n"))
    (line,) = scored(content, ZIP, graph=PixelGraph(), **images(**options)).lines(PartKind.ERRORS)
    assert [name for name in line if name in ("file", "case")] == names
    assert (line["row"], line["file"], line["code"]) == (2, "gone.png", "missing_file")


def test_of_an_index_that_an_earlier_release_planned_errors_keep_their_columns() -> None:
    plan = plan_of(archive(("index.csv", b"file\ngone.png\n")), ZIP, **images())
    earlier = replace(plan.layout, columns=())
    assert (plan.layout.identifying, earlier.identifying) == (("file",), ())


def test_without_an_id_column_a_file_may_be_named_twice() -> None:
    content = archive(("index.csv", b"file\n2.png\n2.png\n"))
    plan = plan_of(content, ZIP, **images())
    assert [chunk.duplicates.tolist() for chunk in plan.chunks] == [[]]
    assert files_of(content, plan) == [image(2), image(2)]


def test_two_files_of_one_name_are_said_to_have_one_name() -> None:
    run = scored(archive(("./0.png", image(4))), ZIP, graph=PixelGraph(), **images())
    ((row, column, code, message),) = told(run)
    assert (row, column, code) == (4, "file", "duplicate_id")
    assert message == "An earlier row has a file of the same name: give each file a name of its own."


def test_ids_of_an_index_are_texts_as_they_are_written() -> None:
    """Unlike names of files, ids are never taken for paths."""
    rows = [
        {"file": "0.png", "case": "a/1"},
        {"file": "1.png", "case": "a//1"},
        {"file": "2.png", "case": "a/1"},
    ]
    plan = plan_of(archive(("index.csv", csv_file(rows))), ZIP, **images(id_column="case"))
    assert [chunk.duplicates.tolist() for chunk in plan.chunks] == [[3]]


@pytest.mark.parametrize(
    ("name", "content"), [("index.csv", b"file,side\n"), ("index.ndjson", b"\n"), ("index.csv", b"")]
)
def test_an_index_without_lines_is_refused(name: str, content: bytes) -> None:
    refused = refusal(archive((name, content)), ZIP, **images())
    assert refused.problem in {FileProblem.NO_ROWS, FileProblem.EMPTY}


def test_a_tar_whose_index_is_a_file_of_the_folder_is_read_with_it() -> None:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        for name, content in (("./ward/0.png", image(4)), ("./index.csv", b"file\nward/0.png\n")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    plan = plan_of(sink.getvalue(), TAR, **images())
    [block] = blocks_of(sink.getvalue(), plan, **images())
    assert block.files == [image(4)]
