"""`medqueue models refit`: every row is accounted, only probabilities change, and what would be worse is not made."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest

from models.bundle import BundleRefused, bundled, read_bundle
from models.checking import check_bundle
from models.golden_cases import encode_cases
from models.manifest import toml_table
from models.variants.measuring import LocalModel
from service.cli.refitting.classes import LEAST_OF_CLASS
from service.cli.refitting.fitting import Asked, Refit, refitted
from service.cli.refitting.rows import LEAST_GROUPS, LEAST_ROWS
from tests.unit.service.refitting.ward import FOLDER, as_lines, as_table, ward

Cases = list[dict[str, Any]]
Ask = Callable[..., Asked]


@pytest.fixture(scope="module")
def cases() -> Cases:
    return ward()


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    def asked(path: Path, **more: Any) -> Asked:
        plain = Asked(
            parent=read_bundle(FOLDER), folder=tmp_path / "refit", version="9.0.0", data=path, values={},
            label=None, ignore=(), group=None, apart=None, share=0.4, seed=0, parent_rows=None,
        )  # fmt: skip
        return replace(plain, **more)

    return asked


@pytest.fixture(scope="module")
def made(cases: Cases, tmp_path_factory: pytest.TempPathFactory) -> Refit:
    """A refit from good rows and four bad ones."""
    folder = tmp_path_factory.mktemp("refit")
    wrong = [
        "{",
        json.dumps({"input": {}, "expected": "benign"}),
        json.dumps(cases[0] | {"expected": "cyst"}),
        json.dumps({"input": cases[0]["input"]}),
    ]
    asked = Asked(
        parent=read_bundle(FOLDER), folder=folder / "refit", version="9.0.0",
        data=as_lines(folder / "ward.ndjson", cases, *wrong), values={}, label=None, ignore=(), group=None, apart=None,
        share=0.4, seed=0, parent_rows=None,
    )  # fmt: skip
    return refitted(asked)


def test_each_row_is_used_held_out_or_refused_with_its_line_and_the_reason(made: Refit, cases: Cases) -> None:
    counts = made.rows.counts()
    assert counts == {"rows": 604, "used": 360, "held_out": 240, "refused": 4}
    places = [row.case.place for row in (*made.rows.used, *made.rows.held_out)]
    every = [*places, *(each.place for each in made.rows.refused)]
    assert sorted(every) == sorted(f"line {number}" for number in range(1, len(cases) + 5))
    reasons = {each.place: each.reason for each in made.rows.refused}
    assert "is not JSON" in reasons["line 601"]
    assert "/mean_radius" in reasons["line 602"]
    assert "no label (benign, malignant)" in reasons["line 603"]
    assert reasons["line 604"] == "has no truth."


def test_probabilities_come_nearer_to_the_ward_and_answers_stay(made: Refit, cases: Cases) -> None:
    gains = {each.name: each for each in made.comparison.gains}
    assert gains["Brier score"].gain.value > 0
    assert gains["AUC"].gain.value == pytest.approx(0, abs=1e-9)
    parent, refit = LocalModel(FOLDER), LocalModel(made.bundle.folder)
    some = [row.case.case for row in made.rows.held_out]
    before, after = parent.answers(some), refit.answers(some)
    assert [each["label"] for each in before] == [each["label"] for each in after]
    assert max(
        abs(one["probabilities"]["malignant"] - other["probabilities"]["malignant"])  # type: ignore[index]
        for one, other in zip(before, after, strict=True)
    ) > 0.1  # fmt: skip


def test_a_blend_says_why_its_weights_stay(made: Refit) -> None:
    assert "weights unchanged: the graph does not end in one linear layer" in made.said
    assert made.said in made.bundle.card


def test_the_bundle_passes_the_check_with_golden_answers_of_its_own(made: Refit) -> None:
    assert check_bundle(made.bundle.folder) == []
    parent = read_bundle(FOLDER)
    assert [case.input for case in made.bundle.golden] == [case.input for case in parent.golden]
    assert made.bundle.golden != parent.golden
    refit = LocalModel(made.bundle.folder)
    encode_cases(made.bundle.golden, refit.pipeline)


def test_card_manifest_and_metrics_state_the_same(made: Refit) -> None:
    folder, parent = made.bundle.folder, read_bundle(FOLDER)
    document = json.loads((folder / "metrics.json").read_text())
    metrics, card = made.bundle.manifest.metrics, made.bundle.card
    assert document["parent"] == {"version": parent.manifest.version, "digest": parent.digest}
    assert parent.digest in card
    assert document["files"]["ward.ndjson"] in card
    assert document["rows"] == made.rows.counts()
    assert [each["place"] for each in document["refused"]] == [each.place for each in made.rows.refused]
    brier = next(each for each in document["figures"] if each["name"] == "Brier score")
    assert metrics["brier_score"] == round(brier["refit"]["value"], 4)
    assert metrics["brier_score_parent"] == round(brier["parent"]["value"], 4)
    assert f"{brier['parent']['value']:.4f} (" in card
    assert f"{brier['refit']['value']:.4f} ({brier['refit']['low']:.4f} to" in card
    assert "360 were used to fit, 240 held out to measure, 4 refused" in card
    threshold = toml_table((folder / "manifest.toml").read_text())["parameters"]["threshold"]
    assert threshold["source"] == "240 rows held out from ward.ndjson"
    assert threshold["value"] != parent.manifest.parameters["threshold"]["value"]


def test_no_row_of_the_file_is_in_the_bundle(made: Refit, cases: Cases) -> None:
    whole = b"".join((made.bundle.folder / path).read_bytes() for path in made.bundle.manifest.files)
    for case in cases[:50]:
        assert str(case["input"]["mean_area"]).encode() not in whole


def test_a_table_is_read_like_lines_and_groups_are_not_divided(
    ask: Ask, cases: Cases, tmp_path: Path
) -> None:
    table = as_table(tmp_path / "ward.csv", cases)
    values = {"M": "malignant", "B": "benign"}
    found = refitted(ask(table, label="is", values=values, group="patient"))
    groups = [
        {row.case.group for row in part if row.case.group} for part in (found.rows.used, found.rows.held_out)
    ]
    assert min(map(len, groups)) > 100
    assert not groups[0] & groups[1]
    assert found.rows.counts()["refused"] == 0
    assert "by resampling groups" in found.bundle.card


def test_a_refit_that_is_worse_beyond_its_interval_is_not_made(
    ask: Ask, cases: Cases, tmp_path: Path
) -> None:
    data = as_lines(tmp_path / "ward.ndjson", cases)
    elsewhere = as_lines(tmp_path / "elsewhere.ndjson", ward(slope=1.0, offset=2.0, seed=8))
    with pytest.raises(BundleRefused) as caught:
        refitted(ask(data, apart=elsewhere))
    assert {fault.code for fault in caught.value.faults} == {"refit_loses"}
    assert all("trained on held-out rows" in fault.detail for fault in caught.value.faults)
    assert "metrics: Brier score" in {fault.place for fault in caught.value.faults}
    assert not (tmp_path / "refit").exists()


def test_rows_are_not_held_out_from_themselves(ask: Ask, cases: Cases, tmp_path: Path) -> None:
    data = as_lines(tmp_path / "ward.ndjson", cases)
    with pytest.raises(click.UsageError, match="--held-out has the rows of --data"):
        refitted(ask(data, apart=as_lines(tmp_path / "copy.ndjson", cases)))


def test_how_many_users_there_were_is_asked_of_recommenders_alone(
    ask: Ask, cases: Cases, tmp_path: Path
) -> None:
    with pytest.raises(click.UsageError, match="--parent-rows is for recommenders"):
        refitted(ask(as_lines(tmp_path / "ward.ndjson", cases[:10]), parent_rows=100))


def test_exchanged_labels_are_noticed(ask: Ask, cases: Cases, tmp_path: Path) -> None:
    data = as_lines(tmp_path / "ward.ndjson", cases)
    with pytest.raises(BundleRefused) as caught:
        refitted(ask(data, values={"malignant": "benign", "benign": "malignant"}))
    assert [fault.code for fault in caught.value.faults] == ["refit_contradicts"]


def repeated(cases: Cases, times: int) -> Cases:
    return [case for case in cases for _ in range(times)]


def test_copies_of_one_row_say_no_more_than_the_row(ask: Ask, cases: Cases, tmp_path: Path) -> None:
    """300 copies of each of two patients, one of each label, were a candidate whose intervals had no width."""
    both = [next(case for case in cases if case["expected"] == label) for label in ("benign", "malignant")]
    copies = as_lines(tmp_path / "copies.ndjson", repeated(both, 300))
    with pytest.raises(click.UsageError, match=r"0 rows would be used to fit.* 598 rows repeat another"):
        refitted(ask(copies, share=0.5))
    named = [case | {"patient": str(number)} for number, case in enumerate(repeated(both, 300))]
    with pytest.raises(click.UsageError, match=r"only 2 of them are different, and 50"):
        refitted(ask(as_lines(tmp_path / "named.ndjson", named), group="patient"))


def test_a_row_is_held_out_with_its_copies_and_resampled_with_them(
    ask: Ask, cases: Cases, tmp_path: Path, made: Refit
) -> None:
    found = refitted(ask(as_lines(tmp_path / "five.ndjson", repeated(cases, 5))))
    parts = [{row.digest for row in part} for part in (found.rows.used, found.rows.held_out)]
    assert not parts[0] & parts[1]
    assert (*map(len, parts), found.rows.repeated) == (
        359,
        241,
        2400,
    )  # whole rows of each label: one more held out
    assert "2400 of the rows used or held out repeat another" in found.bundle.card
    assert json.loads((found.bundle.folder / "metrics.json").read_text())["repeated"] == 2400
    width, once = (
        each.comparison.gains[0].refit.high - each.comparison.gains[0].refit.low for each in (found, made)
    )
    assert width == pytest.approx(once, rel=0.3)


def test_rows_held_out_that_repeat_fitted_ones_are_refused(ask: Ask, cases: Cases, tmp_path: Path) -> None:
    data = as_lines(tmp_path / "ward.ndjson", cases[:400])
    apart = as_lines(tmp_path / "later.ndjson", cases[380:])
    found = refitted(ask(data, apart=apart))
    assert found.rows.counts() == {"rows": 620, "used": 400, "held_out": 200, "refused": 20}
    assert found.rows.refused[0].place == "later.ndjson: line 1"
    assert found.rows.refused[0].reason == "repeats a row that is used to fit."


@pytest.mark.parametrize("count", [1, 2, LEAST_GROUPS])
def test_few_groups_are_refused_in_the_name_of_their_column(
    ask: Ask, cases: Cases, tmp_path: Path, count: int
) -> None:
    grouped = [case | {"ward": str(number % count)} for number, case in enumerate(cases)]
    data = as_lines(tmp_path / "ward.ndjson", grouped)
    with pytest.raises(
        click.UsageError, match=r"ward, which --group names, has too few different values in them \(\d\)"
    ):
        refitted(ask(data, group="ward"))


@pytest.mark.parametrize("nothing", [None, "", " "])
def test_a_group_column_that_is_empty_is_named(
    ask: Ask, cases: Cases, tmp_path: Path, nothing: str | None
) -> None:
    data = as_lines(tmp_path / "ward.ndjson", [case | {"ward": nothing} for case in cases])
    with pytest.raises(click.UsageError, match=r"the first: line 1 lacks ward, which --group names"):
        refitted(ask(data, group="ward"))
    table = as_table(tmp_path / "ward.csv", [case | {"patient": nothing} for case in cases])
    with pytest.raises(click.UsageError, match=r"the first: row 1 lacks patient, which --group names"):
        refitted(ask(table, label="is", values={"M": "malignant", "B": "benign"}, group="patient"))


def test_files_that_say_too_little_are_refused(ask: Ask, cases: Cases, tmp_path: Path) -> None:
    few = as_lines(tmp_path / "few.ndjson", cases[:LEAST_ROWS])
    with pytest.raises(
        click.UsageError, match=f"held out: {LEAST_ROWS} rows or more|used to fit: {LEAST_ROWS}"
    ):
        refitted(ask(few))
    benign = [case for case in cases if case["expected"] == "benign"]
    with pytest.raises(click.UsageError, match="all of them have one label"):
        refitted(ask(as_lines(tmp_path / "benign.ndjson", benign)))
    some = [*benign, *(case for case in cases if case["expected"] == "malignant")][: len(benign) + 30]
    with pytest.raises(click.UsageError, match=f"one of the labels, and {LEAST_OF_CLASS} are needed"):
        refitted(ask(as_lines(tmp_path / "some.ndjson", some)))
    unknown = [case | {"expected": "cyst"} for case in cases]
    with pytest.raises(
        click.UsageError, match=r"600 rows were refused, the first: line 1 has a truth that is no label"
    ):
        refitted(ask(as_lines(tmp_path / "unknown.ndjson", unknown)))


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({}, "--label COLUMN"),
        ({"label": "was"}, "There is no column was"),
        ({"label": "is", "values": {"M": "cyst"}}, "cyst is no label"),
        ({"label": "is", "group": "nurse"}, "There is no column nurse"),
    ],
)
def test_a_table_that_lacks_what_is_named_is_refused(
    told: dict[str, Any], reason: str, ask: Ask, cases: Cases, tmp_path: Path
) -> None:
    table = as_table(tmp_path / "ward.csv", cases[:10])
    with pytest.raises(click.UsageError, match=reason):
        refitted(ask(table, **told))


@pytest.mark.parametrize(
    "name",
    [
        "chemical-disease-entities",
        "health-advice-recommender",
        "treatment-plan-recommender",
        "xray-generator",
    ],
)
def test_a_kind_that_cannot_be_refitted_is_named(name: str, ask: Ask, cases: Cases, tmp_path: Path) -> None:
    folder = next(each for each in bundled() if each.name == name)
    data = as_lines(tmp_path / "ward.ndjson", cases[:1])
    with pytest.raises(BundleRefused) as caught:
        refitted(ask(data, parent=read_bundle(folder)))
    assert [fault.code for fault in caught.value.faults] == ["refit_unsuited"]
    assert "cannot be refitted: train it again. Those that can are classifiers with probabilities" in str(
        caught.value
    )
