"""Names and ranges of columns from a file of rows, and the remark on numbers that have none."""

from collections.abc import Callable
from pathlib import Path

import pytest

from models.bundle import bundled, read_manifest, side_files
from models.column_ranges import FEWEST_ROWS, RowsFile, with_ranges
from models.manifest import BundleRefused
from models.open_ranges import open_ranges
from models.pipelines import load_pipeline
from models.table_guess import GuessedFeature
from tests.unit.models.example_bundles import manifest

DOSE, AGE, COUNT = (
    GuessedFeature("dose", "dose", "dose", "number"),
    GuessedFeature("age", "Age", "Age", "number"),
    GuessedFeature("count", "count", "count", "integer"),
)
ROWS = [f"{0.5 + row},{30 + row},{row}" for row in range(FEWEST_ROWS)]
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file of rows."""

    def written(header: str, *rows: str) -> Path:
        path = tmp_path / "rows.csv"
        path.write_text("\n".join((header, *rows)) + "\n")
        return path

    return written


def ranges(features: list[GuessedFeature]) -> list[tuple[str, float | None, float | None]]:
    return [(each.name, each.minimum, each.maximum) for each in features]


def test_ranges_are_those_of_the_columns_called_alike(write: Write) -> None:
    found = with_ranges([AGE, DOSE], RowsFile(write("Dose,AGE,outcome", *ROWS)))
    assert ranges(found) == [("age", 30.0, 39.0), ("dose", 0.5, 9.5)]
    assert str(found[1]) == '{ name = "dose", title = "dose", minimum = 0.5, maximum = 9.5 }'


def test_columns_that_a_graph_does_not_name_are_taken_in_order(write: Write) -> None:
    unnamed = [GuessedFeature(f"feature_{place}", f"feature_{place}", "x", "number") for place in (1, 2, 3)]
    found = with_ranges(unnamed, RowsFile(write("Dose (mg),Age,Count", *ROWS)))
    assert [(each.name, each.title) for each in found] == [
        ("dose_mg", "Dose (mg)"),
        ("age", "Age"),
        ("count", "Count"),
    ]
    with pytest.raises(BundleRefused, match="none of its columns is one of the graph"):
        with_ranges(unnamed[:2], RowsFile(write("dose,age,count", *ROWS)))


@pytest.mark.parametrize("delimiter", [";", "\t", None])
def test_rows_with_semicolons_or_tabs_and_decimal_commas_are_read(
    write: Write, delimiter: str | None
) -> None:
    between = delimiter or ";"
    rows = [f"{row},5{between}{40 + row}" for row in range(FEWEST_ROWS)]
    path = write(f"dose{between}age", *rows)
    found = with_ranges([DOSE, AGE], RowsFile(path, delimiter, ","))
    assert ranges(found) == [("dose", 0.5, FEWEST_ROWS - 0.5), ("age", 40, 39 + FEWEST_ROWS)]
    with pytest.raises(BundleRefused, match="decimal comma: add --decimal ,"):
        with_ranges([DOSE, AGE], RowsFile(path, delimiter))


def test_what_a_column_does_not_tell_stays_open(write: Write) -> None:
    rows = [f",x{row},{row}.5" for row in range(FEWEST_ROWS)]
    found = with_ranges([DOSE, AGE, COUNT], RowsFile(write("dose,age,count", *rows)))
    assert [each.open for each in found] == [
        True,
        True,
        True,
    ]  # empty, words, and fractions of a whole number
    same = [f"1.0,{row},7" for row in range(FEWEST_ROWS)]
    assert ranges(with_ranges([DOSE, COUNT], RowsFile(write("dose,age,count", *same)))) == [
        ("dose", None, None),
        ("count", None, None),
    ]
    whole = with_ranges([COUNT], RowsFile(write("dose,age,count", *ROWS)))
    assert str(whole[0]).endswith("minimum = 0, maximum = 9 }")


@pytest.mark.parametrize(
    ("header", "rows", "told"),
    [
        ("dose,age,count", ROWS[:-1], "at least 10 rows; it has 9"),
        ("dose,age", ROWS, "differ in their number of fields"),
        ("dose,Dose,count", ROWS, "called alike"),
        ("dose:age:count", [row.replace(",", ":") for row in ROWS], "none of its columns"),
    ],
)
def test_a_file_that_is_no_table_of_the_graph_is_refused(
    write: Write, header: str, rows: list[str], told: str
) -> None:
    with pytest.raises(BundleRefused, match=told) as raised:
        with_ranges([DOSE, AGE], RowsFile(write(header, *rows)))
    assert [(fault.place, fault.code) for fault in raised.value.faults] == [("rows.csv", "data_unusable")]


def test_a_number_without_a_range_is_remarked_upon() -> None:
    closed = manifest()
    assert open_ranges(load_pipeline(closed)) == []
    half = {"name": "age", "title": "Age", "minimum": 0.0}
    for feature in ("age", half, {"name": "age", "title": "Age", "type": "integer"}):
        table = closed.parameters | {"features": [closed.parameters["features"][0], feature]}
        [found] = open_ranges(load_pipeline(closed.model_copy(update={"parameters": table})))
        assert (found.place, found.code) == ("manifest.toml: parameters.features", "range_open")
        assert found.detail.startswith("age may be any number: ")


def test_no_bundled_model_takes_a_number_without_a_range() -> None:
    for folder in bundled():
        assert open_ranges(load_pipeline(read_manifest(folder), side_files(folder))) == [], folder.name
