"""The picture of a model's figures: what is drawn, where, and beside which baselines."""

import re
from xml.etree import ElementTree as ET

import pytest

from models.figure_chart import LABEL, MOST_ROWS, WIDTH, chart, figures_of

SVG = "{http://www.w3.org/2000/svg}"
METRICS = {
    "auc": 0.9,
    "auc_95": [0.8, 0.95],
    "auc_ridge": 0.85,
    "auc_blanked": 0.7,
    "groups": {"under_55": {"auc": 0.6, "auc_95": [0.5, 0.7]}},
    "rmse": 1.5,
    "rmse_95": [1.0, 2.0],
    "seed": 3,
}


def test_figures_with_an_interval_are_drawn_with_their_baselines_and_subgroups() -> None:
    first, group, error = figures_of(METRICS)
    assert (first.label, first.value, first.low, first.high) == ("AUC", 0.9, 0.8, 0.95)
    assert first.baselines == (("ridge", 0.85),)
    assert (group.label, group.value) == ("AUC: under 55", 0.6)
    assert (error.label, error.is_share) == ("RMSE", False)
    [small] = figures_of({"small": {"rmse": 0.5, "rmse_95": [0.4, 0.6]}})
    assert not small.is_share


def test_without_intervals_the_usual_figures_are_drawn() -> None:
    found = figures_of({"auc": 0.9, "seed": 1, "folds": {"accuracy": 0.8}, "ppv": 3.0})
    assert [(each.label, each.value) for each in found] == [("AUC", 0.9), ("accuracy: folds", 0.8)]


def test_a_dot_stands_where_its_figure_is_on_the_axis() -> None:
    dots = list(svg().iter(f"{SVG}circle"))[1:]  # the first is the legend's
    left, right = LABEL, WIDTH - 130
    wanted = [left + (value - low) / (high - low) * (right - left)
              for value, low, high in ((0.9, 0.5, 1), (0.6, 0.5, 1), (1.5, 0, 2.2))]  # fmt: skip
    assert [float(dot.attrib["cx"]) for dot in dots] == pytest.approx(wanted, abs=0.1)


def test_an_interval_is_drawn_from_end_to_end() -> None:
    bars = [each for each in svg().iter(f"{SVG}line") if each.attrib["stroke-width"] == "3"]
    ends = [(float(bar.attrib["x1"]), float(bar.attrib["x2"])) for bar in bars]
    assert ends[0] == pytest.approx((LABEL + 0.6 * 340, LABEL + 0.9 * 340), abs=0.1)
    assert len(bars) == 3


def test_words_are_escaped_and_the_same_figures_give_the_same_bytes() -> None:
    drawn = chart("A < B & C", METRICS)
    assert drawn == chart("A < B & C", METRICS)
    assert drawn is not None
    assert "A &lt; B &amp; C" in drawn


def test_of_many_figures_the_first_are_drawn_and_of_none_no_picture() -> None:
    many = {f"f{number}": {"auc": 0.5, "auc_95": [0.4, 0.6]} for number in range(40)}
    drawn = chart("many", many)
    assert drawn is not None
    assert len(re.findall("<circle", drawn)) == MOST_ROWS + 1
    assert chart("none", {"seed": 3, "recipe": {"epochs": 1.0}}) is None


def svg() -> ET.Element:
    drawn = chart("a model", METRICS)
    assert drawn is not None
    return ET.fromstring(drawn)
