"""Evaluations: cases read as they stand, figures equal to those of scikit-learn, and a page without inputs."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import httpx
import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn import metrics

from service.cli import main
from service.cli.cases import FileCase
from service.cli.evaluation.classes import Classified, check_values
from service.cli.evaluation.comparison import evaluated
from service.cli.evaluation.labelled import form_of, read_folder, read_lines
from service.cli.evaluation.report import _confusion, page
from service.cli.evaluation.scoring import Scored, flat, with_point
from tests.unit.service.evaluation.reading import value

BINARY = [{"id": "benign", "display": "Benign", "code": "D24", "positive": False},
          {"id": "malignant", "display": "Malignant", "code": "C50.9", "positive": True}]  # fmt: skip
THREE = [{"id": name, "display": name.title(), "code": None, "positive": False} for name in ("a", "b", "c")]
MODEL = {"name": "m", "version": "1.0.0"}


def answer(names: Sequence[str], probabilities: Sequence[float], label: str | None) -> dict[str, Any]:
    shares = dict(zip(names, probabilities, strict=True))
    return dict(
        flat({"type": "classification", "label": label, "probabilities": shares, "abstained": label is None})
    )


def binary(count: int = 200) -> tuple[list[Scored], Any, Any]:
    """Cases of which one in ten is abstained from, with truth [N] and probabilities [N]."""
    chance = np.random.default_rng(7)
    truth = chance.integers(0, 2, count)
    score = np.clip(0.3 * truth + 0.7 * chance.random(count), 0, 1)
    cases = []
    for row in range(count):
        label = None if row % 10 == 0 else str(BINARY[int(score[row] >= 0.5)]["id"])
        given = answer(("benign", "malignant"), (1 - score[row], score[row]), label)
        cases.append(
            Scored(f"row {row}", "M" if truth[row] else "B", {"site": "x" if row % 2 else "y"}, given)
        )
    return cases, truth, score


def test_figures_of_two_classes_are_those_of_scikit_learn() -> None:
    cases, truth, score = binary()
    found = evaluated(cases, BINARY, {"M": "malignant", "B": "benign"})
    given = np.arange(len(truth)) % 10 != 0
    called = score >= 0.5
    assert found.counts == {"cases": 200, "answered": 180, "abstained": 20, "not scored": 0}
    rows = {figure.name: figure.rows for figure in found.figures if figure.group == "all"}
    assert (rows["AUC"], rows["Brier score"], rows["accuracy"], rows["sensitivity"]) == (200, 200, 180, 180)
    assert value(found, "AUC") == pytest.approx(metrics.roc_auc_score(truth, score))
    assert value(found, "accuracy") == pytest.approx(metrics.accuracy_score(truth[given], called[given]))
    assert value(found, "sensitivity") == pytest.approx(metrics.recall_score(truth[given], called[given]))
    assert value(found, "specificity") == pytest.approx(
        metrics.recall_score(truth[given], called[given], pos_label=0)
    )
    assert value(found, "positive predictive value") == pytest.approx(
        metrics.precision_score(truth[given], called[given])
    )
    assert value(found, "F1") == pytest.approx(metrics.f1_score(truth[given], called[given]))
    assert value(found, "Brier score") == pytest.approx(metrics.brier_score_loss(truth, score))
    odd = np.arange(len(truth)) % 2 == 1
    assert value(found, "AUC", "site x") == pytest.approx(metrics.roc_auc_score(truth[odd], score[odd]))


def test_a_figure_of_a_subgroup_is_left_out_if_too_few_of_its_cases_were_answered() -> None:
    cases = [replace(case, groups={"site": "x" if row < 22 else "y"}) for row, case in enumerate(binary()[0])]
    found = evaluated(cases, BINARY, {"M": "malignant", "B": "benign"})
    rows = {figure.name: figure.rows for figure in found.figures if figure.group == "site x"}
    assert rows == {"AUC": 22, "Brier score": 22, "calibration error": 22}


def test_figures_of_several_classes_are_those_of_scikit_learn() -> None:
    chance = np.random.default_rng(8)
    truth = chance.integers(0, 3, 150)
    scores = chance.dirichlet(np.ones(3), 150) * 0.5 + 0.5 * np.eye(3)[chance.permutation(truth)]
    cases = [
        Scored(
            f"row {row}",
            "abc"[truth[row]],
            {},
            answer("abc", scores[row].tolist(), "abc"[scores[row].argmax()]),
        )
        for row in range(150)
    ]
    found = evaluated(cases, THREE, {})
    called = scores.argmax(1)
    assert value(found, "macro F1") == pytest.approx(metrics.f1_score(truth, called, average="macro"))
    assert value(found, "macro precision") == pytest.approx(
        metrics.precision_score(truth, called, average="macro")
    )
    assert value(found, "macro recall") == pytest.approx(metrics.recall_score(truth, called, average="macro"))
    assert value(found, "AUC, mean of one against the rest") == pytest.approx(
        metrics.roc_auc_score(truth, scores, multi_class="ovr")
    )
    wrong = [(each["case"], each["probability"]) for each in found.mistakes]
    assert len(wrong) == (called != truth).sum()
    assert wrong == sorted(wrong, key=lambda each: -each[1])


def test_figures_of_a_regression_and_how_often_its_interval_holds() -> None:
    chance = np.random.default_rng(9)
    truth = chance.normal(50, 10, 100)
    given = truth + chance.normal(0, 3, 100)
    cases = [
        Scored(f"row {row}", str(truth[row]), {}, {
            "value": float(given[row]), "interval_lower": given[row] - 4, "interval_upper": given[row] + 4,
        })
        for row in range(100)
    ]  # fmt: skip
    found = evaluated(cases, [], {})
    assert value(found, "R2") == pytest.approx(metrics.r2_score(truth, given))
    assert value(found, "mean absolute error") == pytest.approx(metrics.mean_absolute_error(truth, given))
    assert value(found, "coverage of the interval") == pytest.approx((np.abs(truth - given) <= 4).mean())
    assert found.mistakes[0]["case"] == f"row {np.abs(truth - given).argmax()}"


@pytest.mark.parametrize(
    ("told", "mark", "read"),
    [
        ("151,5", ",", "151.5"),
        (" -,5", ",", " -.5"),
        ("151,5", None, "151,5"),
        ("a,5", ",", "a,5"),
        (151.5, ",", 151.5),
    ],
)
def test_a_truth_with_the_decimal_mark_of_its_file_is_a_number(
    told: object, mark: str | None, read: object
) -> None:
    assert with_point(told, mark) == read


def test_spaces_around_the_truth_of_a_padded_table_do_not_count() -> None:
    cases, _, _ = binary()
    padded = [Scored(case.place, f"  {case.truth} ", case.groups, case.answer) for case in cases]
    values = {"M": "malignant", "B": "benign"}
    assert evaluated(padded, BINARY, values).figures == evaluated(cases, BINARY, values).figures


def test_cases_that_were_not_scored_are_counted_by_their_problem() -> None:
    cases, _, _ = binary()
    failed = Scored("row 200", "M", {"site": "x"}, None, "missing_field")
    found = evaluated([*cases, failed], BINARY, {"M": "malignant", "B": "benign"})
    assert (found.counts["not scored"], found.problems) == (1, {"missing_field": 1})
    with pytest.raises(click.UsageError, match="missing_field"):
        evaluated([failed], BINARY, {})


def test_a_truth_that_is_no_label_is_refused_without_quoting_it() -> None:
    cases, _, _ = binary()
    with pytest.raises(
        click.UsageError, match=r"The truth of row \d+ is no label.*benign, malignant.*--value"
    ) as told:
        evaluated(cases, BINARY, {"M": "malignant"})
    assert "'B'" not in str(told.value)


def test_a_value_that_means_no_label_is_refused_before_anything_is_scored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.csv").write_text("size,truth\n1,M\n2,B\n")
    asked: list[str] = []

    def answered(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        return httpx.Response(200, json={**MODEL, "labels": BINARY, "task": "tabular-classification"})

    words = ["models", "evaluate", "m", "--data", str(tmp_path / "rows.csv"), "--label", "truth"]
    given = ["--value", "M=C50.9", "--value", "B=foo", "--url", "http://api.test", "--key", "mq_x"]
    assert main([*words, *given], transport=httpx.MockTransport(answered)) == 2
    told = capsys.readouterr().err
    assert "--value B=foo: foo is no label of the model. Labels are benign, malignant." in " ".join(
        told.split()
    )
    assert asked == ["GET"]


@pytest.mark.parametrize(
    ("content", "report", "said"),
    [("", "page.html", "rows.csv is empty"), ("size,truth\n1,M\n", "none/page.html", "make it first")],
)
def test_an_empty_file_and_a_report_without_a_folder_are_refused_before_anything_is_scored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, report: str, said: str
) -> None:
    (tmp_path / "rows.csv").write_text(content)

    def answered(request: httpx.Request) -> httpx.Response:
        assert request.method == "GET"
        return httpx.Response(200, json={**MODEL, "labels": BINARY, "task": "tabular-classification"})

    words = ["models", "evaluate", "m", "--data", str(tmp_path / "rows.csv"), "--label", "truth"]
    given = ["--report", str(tmp_path / report), "--url", "http://api.test", "--key", "mq_x"]
    assert main([*words, *given], transport=httpx.MockTransport(answered)) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_values_of_a_model_without_labels_are_not_compared() -> None:
    check_values({"yes": "1"}, [])


@pytest.mark.parametrize("told", ["malignant", "Malignant", "C50.9"])
def test_a_truth_is_an_id_a_display_or_a_code(told: str) -> None:
    cases, _, _ = binary(20)
    renamed = [Scored(case.place, told if case.truth == "M" else "D24", {}, case.answer) for case in cases]
    assert value(evaluated(renamed, BINARY, {}), "AUC") > 0


def test_the_page_has_every_figure_its_plots_and_no_foreign_markup() -> None:
    cases, _, _ = binary()
    named = [Scored("<b>" + case.place, case.truth, case.groups, case.answer) for case in cases]
    found = evaluated(named, BINARY, {"M": "malignant", "B": "benign"})
    written = page(MODEL, "ward <1>.csv", found)
    assert all(f"{figure.value:.4f}" in written for figure in found.figures)
    assert written.count("<svg") == 4
    assert "<b>" not in written
    assert "ward &lt;1&gt;.csv" in written
    assert page(MODEL, "ward <1>.csv", found) == written


def test_the_page_says_of_which_label_a_probability_and_an_axis_are() -> None:
    shown = page(MODEL, "rows.csv", evaluated(binary()[0], BINARY, {"M": "malignant", "B": "benign"}))
    assert "<th>probability of the answer</th>" in shown
    for axis in ("sensitivity for", "recall of", "precision of", "probability of", "share that is"):
        assert f">{axis} malignant</text>" in shown
    assert "The calibration error may lie at the lower end of its interval" in shown
    assert "images" not in shown
    assert "signals" not in shown


def test_numbers_on_dark_cells_of_a_confusion_are_white() -> None:
    plot = Figure()
    axes = plot.subplots()
    table = Classified(np.array([0] * 9 + [1]), np.array([0] * 9 + [1]), np.ones((10, 2)), ("a", "b"), 1)
    _confusion(axes, table)
    assert {each.get_text(): each.get_color() for each in axes.texts} == {
        "9": "white",
        "1": "black",
        "0": "black",
    }


@pytest.mark.parametrize(
    ("rows", "said"), [(50, "{} in all, the worst first."), (400, "The first 50 of {}, ")]
)
def test_the_page_says_how_many_mistakes_there_are(rows: int, said: str) -> None:
    found = evaluated(binary(rows)[0], BINARY, {"M": "malignant", "B": "benign"})
    count = len(found.mistakes)
    assert (count > 50) == (rows == 400)
    mistakes = page(MODEL, "ward.csv", found).partition("<h2>Mistakes</h2>")[2]
    assert said.format(count) in mistakes
    assert mistakes.count("<tr>") - 1 == min(count, 50)


def test_lines_are_inputs_with_what_is_expected(tmp_path: Path) -> None:
    path = tmp_path / "cases.ndjson"
    path.write_text(
        '{"input": {"a": 1}, "expected": "x", "sex": "f"}\n\n'
        '{"input": [], "expected": {"label": "y"}, "sex": 1}\n'
    )
    first, second = read_lines(path, ["sex"])
    assert (first.place, first.input, first.truth, first.groups) == ("line 1", {"a": 1}, "x", {"sex": "f"})
    assert (second.place, second.truth, second.groups) == ("line 3", {"label": "y"}, {"sex": "1"})


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "holds no line"),
        ('{"input": 1}', "line 1 is not"),
        ('{"input": 1, "expected": 2, "sex": 3}\n{"secret": ', "line 2 is not JSON"),
        ('{"input": 1, "expected": 2}', "line 1 lacks sex"),
    ],
)
def test_lines_that_are_no_cases_are_refused(content: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text(content)
    with pytest.raises(click.UsageError, match=told) as refused:
        read_lines(path, ["sex"])
    assert "secret" not in str(refused.value)


def test_folders_are_labels_of_their_files(tmp_path: Path) -> None:
    for name in ("normal/1.png", "ill/2.png", "ill/.hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"content")
    found = read_folder(tmp_path)
    assert [(case.place, case.truth) for case in found] == [("ill/2.png", "ill"), ("normal/1.png", "normal")]
    assert isinstance(found[0].input, FileCase)
    with pytest.raises(click.UsageError, match="make a folder for each label"):
        read_folder(tmp_path / "ill")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    assert form_of(tmp_path) == "folder"
    assert form_of(Path("a.TSV")) == "csv"
    with pytest.raises(click.UsageError, match="cannot be evaluated"):
        form_of(Path("a.xlsx"))


def test_a_document_of_an_evaluation_is_json() -> None:
    cases, _, _ = binary()
    json.dumps(evaluated(cases, BINARY, {"M": "malignant", "B": "benign"}).mistakes)


def test_answers_of_a_batch_are_compared_by_the_pipeline_that_gave_them() -> None:
    told = [{"id": "a"}]
    batched = [Scored("row 0", ["a"], {}, {"hits": told}), Scored("row 1", ["b"], {}, {"hits": told})]
    assert value(evaluated(batched, [], {}, "semantic-search"), "nDCG@10") == 0.5


def test_recommendations_are_compared_as_ranked_lists() -> None:
    answer = {"type": "recommendation", "items": [{"id": "b"}, {"id": "a"}], "abstained": False}
    nothing = {"type": "recommendation", "items": [], "abstained": True}
    told = evaluated([Scored("line 1", ["a", "c"], {}, answer), Scored("line 2", ["a"], {}, nothing)], [], {})
    assert value(told, "recall@10") == 0.25
    assert value(told, "reciprocal rank@10") == 0.25


def spans(*told: tuple[int, int, str]) -> list[dict[str, Any]]:
    return [{"start": start, "end": end, "label": label} for start, end, label in told]


def text(place: str, truth: Any, *told: tuple[int, int, str]) -> Scored:
    return Scored(place, truth, {}, {"type": "entities", "entities": spans(*told), "abstained": False})


def test_entities_count_where_place_and_type_are_right() -> None:
    cases = [
        text("line 1", spans((0, 5, "sign"), (9, 12, "drug")), (0, 5, "sign"), (9, 13, "drug")),
        text("line 2", spans((3, 4, "sign")), (3, 4, "drug")),
        text("line 3", {"entities": spans((1, 2, "symptom"))}, (1, 2, "sign")),
        text("line 4", []),
    ]
    told = evaluated(cases, THREE, {"symptom": "sign"})
    assert value(told, "precision") == pytest.approx(2 / 4)
    assert value(told, "recall") == pytest.approx(2 / 4)
    assert value(told, "F1") == pytest.approx(2 / 4)
    assert value(told, "F1 of sign") == pytest.approx(2 * 2 / (2 + 3))
    assert value(told, "F1 of drug") == 0
    missed = {(each["case"], each["start"], each["label"], each["is"]) for each in told.mistakes}
    assert ("line 1", 9, "drug", "missed") in missed
    assert ("line 2", 3, "drug", "made up") in missed
    assert not any(case == "line 3" for case, *_ in missed)
    with pytest.raises(click.UsageError, match="What is expected of line 9 is no list"):
        evaluated([text("line 9", [{"start": 1}])], THREE, {})


def hits(place: str, truth: Any, *ids: str) -> Scored:
    return Scored(
        place, truth, {}, {"type": "search", "hits": [{"id": each} for each in ids], "abstained": not ids}
    )


def test_ranked_lists_have_the_ndcg_of_scikit_learn() -> None:
    grades = {"a": 3.0, "b": 1.0, "c": 2.0}
    ranked = ["x", "c", "a", "y", "b"]
    cases = [hits("line 1", grades, *ranked), hits("line 2", ["q"]), hits("line 3", ["q", "r"], "q")]
    told = evaluated(cases, [], {})
    wanted = metrics.ndcg_score([[grades.get(each, 0) for each in ranked]], [[5, 4, 3, 2, 1]], k=10)
    ideal = 1 / (1 + 1 / np.log2(3))
    assert value(told, "nDCG@10") == pytest.approx((wanted + 0 + ideal) / 3)
    assert value(told, "recall@10") == pytest.approx((1 + 0 + 0.5) / 3)
    assert value(told, "reciprocal rank@10") == pytest.approx((0.5 + 0 + 1) / 3)
    assert told.mistakes[0]["case"] == "line 2"


@pytest.mark.parametrize("truth", [[], {"a": 0}, "a", {"a": "b"}, None])
def test_a_truth_that_ranks_nothing_is_refused(truth: Any) -> None:
    with pytest.raises(click.UsageError, match="line 1"):
        evaluated([hits("line 1", truth, "a")], [], {})


def test_answers_of_another_kind_are_not_compared() -> None:
    with pytest.raises(click.UsageError, match="type embedding"):
        evaluated([Scored("line 1", 1, {}, {"type": "embedding", "vector": [1.0]})], [], {})


def test_pictures_that_a_model_made_up_have_no_truth_to_be_compared_with() -> None:
    drawn = [Scored("row 1", "pneumonia", {}, {"label": "pneumonia", "synthetic": True})]
    with pytest.raises(click.UsageError, match="image-generation have no comparison"):
        evaluated(drawn, BINARY, {}, "image-generation")
