"""What becomes of the columns of a file is told, and a misspelt one does not go unscored unnoticed."""

import json
from typing import Any

import pytest

from service.batches.files.columns import Columns, check_columns, read_columns
from service.batches.files.layouts import BatchFormat, Layout, Wanted
from service.batches.files.plans import head_of, read_head
from service.batches.files.problems import FileProblem, FileRefused
from tests.unit.service.batches.files.example_batches import (
    TABLES,
    errors,
    file_of,
    image,
    images,
    ndjson_file,
    plan_of,
    refusal,
    scored,
    told,
    zip_file,
)

PARQUET, CSV, NDJSON, ZIP, TAR = BatchFormat
MISSPELT = ("Marker", "MARKER", "mar ker", "mar-ker", "marker_", "\u200bmarker", "markr", "makrer", "márker")
QUALIFIED = ("marker_mg_dl", "Marker (mg/dL)", "marker[1]", "serum marker", "MarkerMgDl", "makrer_mg")


@pytest.mark.parametrize("form", [PARQUET, CSV])
@pytest.mark.parametrize("name", [*MISSPELT, *QUALIFIED])
def test_a_misspelt_or_qualified_optional_column_is_refused(form: BatchFormat, name: str) -> None:
    content = file_of(form, [{"dose": 1, "age": 2, name: 0.5}])
    refused = refusal(content, form)
    assert refused.problem is FileProblem.COLUMN_UNKNOWN
    assert "is nearly `marker`" in refused.detail
    assert "`ignore`" in refused.detail


@pytest.mark.parametrize("form", [PARQUET, CSV])
@pytest.mark.parametrize("name", ["Age", "ag e", "aeg"])
def test_a_misspelt_required_column_is_refused_in_the_same_way(form: BatchFormat, name: str) -> None:
    refused = refusal(file_of(form, [{"dose": 1, name: 2}]), form)
    assert refused.problem is FileProblem.COLUMN_UNKNOWN
    assert f"`{name}` is nearly `age`" in refused.detail


@pytest.mark.parametrize("form", [PARQUET, CSV])
def test_a_column_to_carry_has_near_names_too(form: BatchFormat) -> None:
    refused = refusal(file_of(form, [{"id": "a", "dose": 1, "age": 2}]), form, id_column="ID")
    assert refused.problem is FileProblem.COLUMN_UNKNOWN
    assert refused.detail == "`ID` is `id` in the file: name it so in `id_column` or `carry`."


@pytest.mark.parametrize("form", [PARQUET, CSV])
def test_both_sides_of_each_near_name_are_told(form: BatchFormat) -> None:
    refused = refusal(file_of(form, [{"Dose": 1, "A ge": 2, "id": "a"}]), form, carry=("ID",))
    assert "`Dose` is nearly `dose`, `A ge` is nearly `age`: name it so in the file." in refused.detail
    assert "`ID` is `id` in the file" in refused.detail


def test_a_name_in_a_message_is_cut_and_steers_nothing() -> None:
    refused = refusal(file_of(CSV, [{"dose": 1, "age": 2, "\x1b\u202emarker" + "_" * 100: 0.5}]), CSV)
    assert refused.detail.isprintable()
    assert "\u00b7\u00b7marker" in refused.detail
    assert "_" * 64 not in refused.detail


@pytest.mark.parametrize(
    ("length", "shown"), [(64, "marker" + "_" * 58), (65, "marker" + "_" * 57 + "\u2026")]
)
def test_a_name_of_up_to_64_letters_is_shown_whole(length: int, shown: str) -> None:
    refused = refusal(file_of(CSV, [{"dose": 1, "age": 2, "marker".ljust(length, "_"): 0.5}]), CSV)
    assert refused.detail.startswith(f"`{shown}` is nearly `marker`:")


def test_a_quoting_mark_in_a_name_does_not_end_its_quote() -> None:
    refused = refusal(file_of(CSV, [{"dose": 1, "age": 2, "`marker`": 0.5}]), CSV)
    assert "`\u00b7marker\u00b7` is nearly `marker`" in refused.detail


@pytest.mark.parametrize(("count", "more"), [(1, ""), (10, ""), (11, " and 1 more"), (13, " and 3 more")])
def test_the_first_ten_of_many_missing_columns_are_named(count: int, more: str) -> None:
    names = [f"lab_{number:02}" for number in range(count)]
    refused = refusal(file_of(CSV, [{"dose": 1, "age": 2}]), CSV, carry=tuple(names))
    assert refused.detail == f"There is no column {', '.join(names[:10])}{more}."


def test_of_very_many_columns_the_first_thousand_are_kept() -> None:
    content = file_of(CSV, [{"dose": 1, "age": 2, **{f"x{number}": 0 for number in range(1001)}}])
    columns = plan_of(content, CSV).columns
    assert columns is not None
    assert columns.ignored == tuple(f"x{number}" for number in range(1000))


def test_a_file_that_lacks_one_field_and_misspells_another_is_told_both() -> None:
    refused = refusal(b"Dose\n1\n", CSV)
    assert refused.problem is FileProblem.COLUMN_MISSING
    assert "no column age" in refused.detail
    assert "`Dose` is nearly `dose`" in refused.detail


@pytest.mark.parametrize("form", [PARQUET, CSV])
@pytest.mark.parametrize("name", [*MISSPELT, *QUALIFIED])
def test_a_column_that_is_carried_or_ignored_is_no_misspelt_one(form: BatchFormat, name: str) -> None:
    name = name.strip()
    content = file_of(form, [{"dose": 1, "age": 2, name: 0.5}])
    assert plan_of(content, form, carry=(name,)).columns == Columns(("dose", "age"), (), ("marker",))
    assert plan_of(content, form, ignore=(name,)).columns == Columns(("dose", "age"), (name,), ("marker",))


@pytest.mark.parametrize("form", [PARQUET, CSV])
@pytest.mark.parametrize("other", ["id", "ward", "remark", "market_id", "dose_sd", "page", "", "age_2"])
def test_an_extra_column_is_left_alone(form: BatchFormat, other: str) -> None:
    content = file_of(form, [{"dose": 1, "age": 2, "comment": "x", other: 0.5}])
    columns = plan_of(content, form).columns
    assert columns == Columns(("dose", "age"), ("comment", other), ("marker",))


@pytest.mark.parametrize("form", [PARQUET, CSV])
def test_a_near_name_beside_the_field_is_an_extra_column(form: BatchFormat) -> None:
    content = file_of(form, [{"dose": 1, "age": 2, "marker": 0.5, "Marker": 0.5}])
    assert plan_of(content, form).columns == Columns(("dose", "age", "marker"), ("Marker",), ())


def test_keys_of_any_line_are_told() -> None:
    lines = [{"dose": 1, "age": 2}] * 500 + [{"dose": 1, "age": 2, "note": "x", "marker": 0.1}]
    plan = plan_of(ndjson_file(lines), NDJSON, ignore=("note", "other"))
    assert plan.columns == Columns(("dose", "age", "marker"), ("note",), ())
    assert plan_of(ndjson_file(lines[:9]), NDJSON).columns == Columns(("dose", "age"), (), ("marker",))


@pytest.mark.parametrize("name", MISSPELT)
@pytest.mark.parametrize("nested", [False, True])
def test_a_misspelt_key_is_an_error_of_its_line_with_a_hint(name: str, nested: bool) -> None:
    inputs = [{"dose": 1, "age": 2}] * 200 + [{"dose": 1, "age": 2, name: 0.5}]
    lines = [{"custom_id": f"c{row}", "input": found} for row, found in enumerate(inputs)]
    run = scored(ndjson_file(lines if nested else inputs), NDJSON)
    assert [(row, code) for row, _, code, _ in told(run)] == [(201, "unknown_field")]
    assert "Did you mean marker?" in told(run)[0][3]


@pytest.mark.parametrize("nested", [False, True])
def test_keys_to_ignore_are_no_errors_of_their_lines(nested: bool) -> None:
    inputs: list[dict[str, Any]] = [{"dose": 1, "age": 2, "Marker": 0.5 * row} for row in range(100)]
    inputs[7]["Marker"], inputs[8]["note"], inputs[9]["Marker"] = {"any": [1]}, "x", None
    inputs[10]["other"] = 1
    lines = [{"custom_id": f"c{row}", "input": found, "note": 1} for row, found in enumerate(inputs)]
    content = ndjson_file(lines if nested else inputs)
    assert errors(content, NDJSON, ignore=("Marker", "note")) == [(11, "other", "unknown_field")]


def test_an_index_tells_its_columns_and_an_archive_without_one_none() -> None:
    files = [("a.png", image())]
    index = ("index.csv", b"file,ward,note\na.png,w,x\n")
    with_index = plan_of(zip_file([*files, index]), ZIP, carry=("ward",), **images())
    assert with_index.columns == Columns((), ("note",), ())
    assert plan_of(zip_file(files), ZIP, **images()).columns is None


@pytest.mark.parametrize("form", TABLES)
def test_columns_are_kept_beside_what_the_previous_release_reads(form: BatchFormat) -> None:
    plan = plan_of(file_of(form, [{"dose": 1, "age": 2}]), form)
    head = json.loads(head_of(plan))
    assert read_columns(head_of(plan)) == plan.columns
    del head["columns"]  # as the previous release wrote it
    assert "ignore" not in head["layout"]["wanted"]  # as it reads it
    assert read_columns(json.dumps(head).encode()) is None
    assert read_head(json.dumps(head).encode()) == (plan.layout, plan.identity)


def test_a_layout_keeps_what_is_to_be_ignored() -> None:
    plan = plan_of(file_of(CSV, [{"dose": 1, "age": 2}]), CSV, ignore=("Marker",))
    assert Layout.from_json(json.loads(json.dumps(plan.layout.as_json()))) == plan.layout


def test_a_file_without_any_column_of_the_model_is_refused_though_each_may_be_left_out() -> None:
    """Every field was taken for missing, and every row was scored."""
    wanted = Wanted((("marker", False), ("lab", False)))
    with pytest.raises(FileRefused, match="no column of the model, which has marker, lab") as refused:
        check_columns(("ward", "bed"), wanted)
    assert refused.value.problem is FileProblem.COLUMN_MISSING
    check_columns(("ward", "lab"), wanted)
