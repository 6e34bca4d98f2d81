"""`medqueue models refit` of a recommender: matrices are updated by users of whom nothing but sums of products is kept."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

from models.bundle import BundleRefused, bundled, read_bundle
from models.checking import check_bundle
from models.refits.linear_recommender import GRAM_NAME, gram_of, read_gram
from models.refits.recommenders import linear_of
from service.cli.refitting.fitting import Asked, Refit, refitted
from tests.unit.models.example_recommender import write_recommender
from tests.unit.service.refitting.ward import as_lines

FOLDER = next(folder for folder in bundled() if folder.name == "medication-recommender")
UNITS = ("CCU-CTICU", "CSICU", "CTICU", "Cardiac ICU", "MICU", "Med-Surg ICU", "Neuro ICU", "SICU")
SOURCES = ("Direct Admit", "Emergency Department", "Floor", "ICU", "Operating Room", "Other Hospital", "PACU")
HABITS = (
    ["alteplase", "bumetanide", "citalopram", "digoxin"],
    ["gabapentin", "hydralazine", "levetiracetam", "sertraline"],
)


def users(count: int, *, seed: int = 1) -> list[dict[str, Any]]:
    """Users of a ward with two habits of its own, of each of which they have three drugs; one of them is expected."""
    chance = np.random.default_rng(seed)
    found = []
    for number in range(count):
        habit = HABITS[int(chance.integers(2))]
        drugs = [habit[place] for place in chance.permutation(len(habit))[:3]]
        found.append({"input": person(number, drugs[:2]), "expected": drugs[2:], "patient": f"p{number}"})
    return found


def person(number: int, history: list[str]) -> dict[str, Any]:
    """An input that no other number of 400 has."""
    rest, unit = divmod(number, len(UNITS))
    rest, source = divmod(rest, len(SOURCES))
    return {
        "history": history,
        "age": 40.0 + 10 * rest,
        "unit": UNITS[unit],
        "admitted_from": SOURCES[source],
    }


def asked(folder: Path, data: Path, **more: Any) -> Asked:
    plain = Asked(
        parent=read_bundle(FOLDER), folder=folder, version="9.0.0", data=data, values={}, label=None, ignore=(),
        group="patient", apart=None, share=0.4, seed=0, parent_rows=1399,
    )  # fmt: skip
    return replace(plain, **more)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Refit:
    folder = tmp_path_factory.mktemp("refit")
    nobody = {"input": {"history": ["bedaquiline"]}, "expected": [], "patient": "x"}
    unknown = {"input": {"history": ["digoxin"]}, "expected": ["no-such-drug"], "patient": "y"}
    lines = as_lines(folder / "ward.ndjson", [*users(300), nobody, unknown])
    return refitted(asked(folder / "refit", lines))


def test_the_ward_is_learnt_and_each_row_accounted(made: Refit) -> None:
    gains = {each.name: each for each in made.comparison.gains}
    assert gains["recall@10"].gain.low > 0.2
    assert made.rows.counts() == {"rows": 302, "used": 180, "held_out": 120, "refused": 2}
    assert [(each.place, each.told) for each in made.rows.refused] == [
        ("line 301", "has no item of the catalogue."),
        ("line 302", 'expects an item that the catalogue lacks: "no-such-drug".'),
    ]


def test_a_name_that_the_catalogue_lacks_is_shown_and_goes_into_no_bundle(made: Refit) -> None:
    assert [each.value for each in made.rows.refused] == ["", "no-such-drug"]
    metrics = json.loads((made.bundle.folder / "metrics.json").read_text())
    assert metrics["refused"][1] == {
        "place": "line 302",
        "reason": "expects an item that the catalogue lacks.",
    }
    assert "no-such-drug" not in made.bundle.card


def test_the_bundle_is_whole_and_its_card_states_the_figures(made: Refit) -> None:
    assert check_bundle(made.bundle.folder) == []
    recall = made.comparison.gains[0]
    assert made.bundle.manifest.metrics["recall_10"] == round(recall.refit.value, 4)
    assert f"| recall@10 | {recall.parent} | {recall.refit} |" in made.bundle.card
    assert "updated by 180 users, after 1399 users assumed" in made.bundle.card
    assert json.loads((made.bundle.folder / "metrics.json").read_text())["rows"] == made.rows.counts()


def test_sums_of_products_are_kept_and_no_row(made: Refit) -> None:
    gram = read_gram((made.bundle.folder / GRAM_NAME).read_bytes())
    items = np.array([row.items for row in made.rows.used])
    context = np.array([row.context for row in made.rows.used])
    assert gram == pytest.approx(gram_of(items, context) * (1 + 1399 / 180), rel=1e-5)
    assert gram[-1, -1] == pytest.approx(180 + 1399)


def test_a_refit_is_refitted_from_its_own_sums(made: Refit, tmp_path: Path) -> None:
    lines = as_lines(tmp_path / "more.ndjson", users(200, seed=2))
    second = refitted(
        asked(tmp_path / "second", lines, parent=made.bundle, version="9.1.0", parent_rows=None)
    )
    assert "after its sums of products" in second.said
    gram = read_gram((second.bundle.folder / GRAM_NAME).read_bytes())
    assert gram[-1, -1] == pytest.approx(180 + 1399 + 120)


def test_how_many_users_the_parent_had_must_be_said(tmp_path: Path) -> None:
    lines = as_lines(tmp_path / "ward.ndjson", users(300))
    with pytest.raises(click.UsageError, match="--parent-rows"):
        refitted(asked(tmp_path / "refit", lines, parent_rows=None))


def test_faults_of_the_file_are_told_before_the_parents_users_are_asked_for(tmp_path: Path) -> None:
    unknown = {"input": {"history": ["digoxin"]}, "expected": ["no-such-drug"], "patient": "y"}
    lines = as_lines(tmp_path / "ward.ndjson", [unknown, *users(4)])
    with pytest.raises(click.UsageError, match='the catalogue lacks: "no-such-drug"'):
        refitted(asked(tmp_path / "refit", lines, parent_rows=None))


def test_a_table_is_refused_with_the_form_that_recommenders_need(tmp_path: Path) -> None:
    table = tmp_path / "stays.csv"
    table.write_text("history,expected\ndigoxin,citalopram\n")
    for label in (None, "expected"):
        with pytest.raises(
            click.UsageError, match=r"stays\.csv is a table, and recommenders are refitted to lines of JSON"
        ):
            refitted(asked(tmp_path / "refit", table, label=label))


def test_values_of_labels_are_not_for_recommenders(tmp_path: Path) -> None:
    lines = as_lines(tmp_path / "ward.ndjson", users(4))
    with pytest.raises(click.UsageError, match="--value is for models that answer labels"):
        refitted(asked(tmp_path / "refit", lines, values={"1": "yes"}))


def test_users_with_one_item_measure_nothing(tmp_path: Path) -> None:
    lone = [{"input": person(number, ["digoxin"]), "patient": str(number)} for number in range(200)]
    with pytest.raises(
        click.UsageError, match="0 of them have two items of the catalogue or more, and 50 are needed"
    ):
        refitted(asked(tmp_path / "refit", as_lines(tmp_path / "lone.ndjson", lone)))


def test_a_graph_of_another_form_is_named(tmp_path: Path) -> None:
    folder = write_recommender(tmp_path / "example")
    with pytest.raises(BundleRefused) as caught:
        linear_of(read_bundle(folder))
    assert [fault.code for fault in caught.value.faults] == ["refit_unsuited"]
