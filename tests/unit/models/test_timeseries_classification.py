"""Series of measurements: what the graph is fed, and which series are refused with which words."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.manifest import ManifestInvalid
from models.pipelines import Array, Case, InputRejected, load_pipeline
from models.pipelines.timeseries_classification import STATISTICS, TimeseriesClassification
from tests.unit.models.example_bundles import OWN, manifest
from tests.unit.models.schemas import assert_fits

Row = tuple[str, str, float]


def pipeline(**parameters: Any) -> TimeseriesClassification:
    made = load_pipeline(manifest("timeseries-classification", **parameters))
    assert isinstance(made, TimeseriesClassification)
    return made


def series(*rows: Row) -> dict[str, Any]:
    return {"observations": [{"time": time, "parameter": name, "value": value} for time, name, value in rows]}


def summary(*rows: Row, **parameters: Any) -> dict[str, list[float]]:
    """What the graph is fed, by statistic: of heart rate and temperature."""
    made = pipeline(**parameters)
    fed = made.feeds_of([made.read_input(made.encode(series(*rows)))], 1)["summary"]
    assert fed.shape == (1, 2, 8)
    assert fed.dtype == np.float32
    return {name: fed[0, :, place].tolist() for place, name in enumerate(STATISTICS)}


def refusal(*rows: Row, **parameters: Any) -> list[tuple[str, str]]:
    with pytest.raises(InputRejected) as refused:
        pipeline(**parameters).encode(series(*rows))
    assert all(fault.detail for fault in refused.value.faults)
    return [(fault.pointer, fault.code) for fault in refused.value.faults]


def test_each_parameter_is_summed_up() -> None:
    found = summary(("00:30", "HR", 80), ("01:00", "Temp", 37.5), ("02:00", "HR", 120), ("03:15", "HR", 100))
    assert {name: values[0] for name, values in found.items()} == {
        "first": 80, "last": 100, "least": 80, "greatest": 120, "mean": 100, "count": 3, "first_time": 0.5, "last_time": 3.25,
    }  # fmt: skip
    assert {name: values[1] for name, values in found.items()} == {
        "first": 37.5, "last": 37.5, "least": 37.5, "greatest": 37.5, "mean": 37.5, "count": 1, "first_time": 1, "last_time": 1,
    }  # fmt: skip


def test_what_was_not_measured_is_nan_and_counted_as_none() -> None:
    found = summary(("00:00", "HR", 80))
    assert found["count"] == [1, 0]
    assert all(np.isnan(values[1]) for name, values in found.items() if name != "count")


def test_the_marker_of_an_unknown_value_is_no_value() -> None:
    marked, plain = summary(("00:00", "HR", -1), ("01:00", "HR", 70)), summary(("01:00", "HR", 70))
    assert {name: values[0] for name, values in marked.items()} == {
        name: values[0] for name, values in plain.items()
    }
    assert refusal(("00:00", "Temp", -1)) == [("/observations/0/value", "out_of_range")]


def test_several_values_at_one_time_all_count() -> None:
    assert summary(("00:00", "HR", 70), ("00:00", "HR", 90))["mean"][0] == 80


@pytest.mark.parametrize(
    ("rows", "pointer", "code"),
    [
        ([("02:00", "HR", 70), ("01:59", "HR", 71)], "/observations/1/time", "out_of_order"),
        ([("02:00", "HR", 70), ("02:00", "HR", 70)], "/observations/1", "doubled"),
        ([("02:00", "Temp", 98.6)], "/observations/0/value", "out_of_range"),  # Fahrenheit
        ([("02:00", "HR", 1e9)], "/observations/0/value", "out_of_range"),
        ([("02:00", "HR", -2)], "/observations/0/value", "out_of_range"),
        ([("48:01", "HR", 70)], "/observations/0/time", "out_of_range"),
        ([("02:00", "Puls", 70)], "/observations/0/parameter", "not_allowed"),
        ([("2:00", "HR", 70)], "/observations/0/time", "wrong_format"),
        ([("02:60", "HR", 70)], "/observations/0/time", "wrong_format"),
        ([("02:00\n", "HR", 70)], "/observations/0/time", "wrong_format"),
        ([("02:00", "HR", "70")], "/observations/0/value", "wrong_type"),
        ([("02:00", "HR", None)], "/observations/0/value", "wrong_type"),
        ([], "/observations", "too_short"),
        ([("00:00", "HR", 70.0 + each) for each in range(51)], "/observations", "too_long"),
        ([("00:00", "HR", -1)], "/observations", "too_short"),  # nothing known
    ],
)
def test_what_is_no_series_is_refused_with_its_place(rows: list[Row], pointer: str, code: str) -> None:
    assert refusal(*rows) == [(pointer, code)]


def test_every_wrong_observation_is_told() -> None:
    rows = [("02:00", "HR", 999.0), ("01:00", "Temp", 98.6), ("03:00", "BP", 1.0)]
    assert refusal(*rows) == [
        ("/observations/0/value", "out_of_range"),
        ("/observations/1/value", "out_of_range"),
        ("/observations/1/time", "out_of_order"),
        ("/observations/2/parameter", "not_allowed"),
    ]


def details(rows: list[Row], **parameters: Any) -> list[tuple[str, str]]:
    with pytest.raises(InputRejected) as refused:
        pipeline(**parameters).encode(series(*rows))
    return [(fault.pointer, fault.detail) for fault in refused.value.faults]


def test_a_fault_of_many_observations_is_reported_once_for_each_parameter_with_their_number() -> None:
    rows = [(f"{hour:02}:00", "Temp", 98.6) for hour in range(21)] + [("21:00", "HR", 999.0)]
    many = "21 observations have this fault, and this is the first of them."
    assert details(rows) == [
        ("/observations/0/value", f"Temp must be between 10 and 45 Cel: compare its unit. {many}"),
        ("/observations/21/value", "HR must be between 0 and 350 /min: compare its unit."),
    ]


def test_times_out_of_order_are_reported_once_with_their_number() -> None:
    rows = [(f"{hour:02}:00", ("HR", "Temp")[hour % 2], 38.0) for hour in reversed(range(9))]
    [(pointer, detail)] = details(rows)
    assert pointer == "/observations/1/time"
    assert "8 observations" in detail


def test_each_unknown_parameter_is_reported() -> None:
    rows = [(f"{hour:02}:00", ("Puls", "BP")[hour % 2], 38.0) for hour in range(4)]
    found = details(rows)
    assert [pointer for pointer, _ in found] == ["/observations/0/parameter", "/observations/1/parameter"]
    assert all("2 observations" in detail for _, detail in found)


def test_a_number_without_a_unit_is_written_without_one() -> None:
    measures = [{**HR, "unit": "1", "usual_minimum": 30.0, "most_change": 20.0}, TEMP]
    assert details([("00:00", "HR", 999.0)], measures=measures)[0][1] == (
        "HR must be between 0 and 350: compare its unit."
    )
    changing = [("00:00", "HR", 0.0), ("01:00", "HR", 29.0)]
    assert [detail for _, detail in details(changing, measures=measures)] == [
        "The median of HR must be between 30 and 350: compare its unit.",
        "HR may differ by at most 20 in one patient: send the one that is right.",
    ]


def test_a_series_needs_the_fewest_known_values() -> None:
    rows = [("00:00", "HR", 70.0), ("01:00", "HR", 71.0), ("02:00", "HR", -1.0)]
    assert refusal(*rows, fewest=3) == [("/observations", "too_short")]
    summary(*rows, fewest=2)


HR, TEMP = OWN["timeseries-classification"]["measures"]


def test_a_measure_of_whole_numbers_refuses_fractions() -> None:
    measures = [{**HR, "whole": True}, TEMP]
    assert refusal(("00:00", "HR", 70.5), measures=measures) == [("/observations/0/value", "wrong_type")]
    summary(("00:00", "HR", 70.0), measures=measures)


def test_the_middle_value_must_be_usual_and_a_single_one_need_not() -> None:
    measures = [{**HR, "usual_minimum": 30.0, "usual_maximum": 200.0}, TEMP]
    hours = ("00:00", "01:00", "02:00")
    for rates in ((0.0, 0.0, 70.0), (210.0, 70.0, 220.0)):
        rows = [(time, "HR", rate) for time, rate in zip(hours, rates, strict=True)]
        assert refusal(*rows, measures=measures) == [("/observations", "out_of_range")]
    for rates in ((0.0, 30.0, 70.0), (200.0, 220.0, 70.0)):
        summary(*((time, "HR", rate) for time, rate in zip(hours, rates, strict=True)), measures=measures)


def test_what_belongs_to_the_patient_may_differ_only_so_far() -> None:
    measures = [HR, {**TEMP, "most_change": 1.0}]
    assert refusal(("00:00", "Temp", 36.0), ("40:00", "Temp", 37.1), measures=measures) == [
        ("/observations", "out_of_range")
    ]
    summary(("00:00", "Temp", 36.0), ("40:00", "Temp", 37.0), measures=measures)


def test_a_measure_may_not_be_below_another() -> None:
    measures = [{**HR, "not_below": "Temp"}, TEMP]
    low = [("00:00", "HR", 30.0), ("00:00", "Temp", 37.0)]
    assert refusal(*low, measures=measures) == [("/observations", "out_of_range")]
    summary(*low, ("01:00", "HR", 44.0), measures=measures)  # the medians are equal
    summary(("00:00", "HR", 30.0), measures=measures)


def test_values_with_more_decimals_than_are_charted_are_refused_if_several_are_low() -> None:
    measures = [
        {**HR, "decimals": 0, "decimals_to_median": 10},
        {**TEMP, "decimals": 1, "decimals_to_median": 37},
    ]
    hours = ("00:00", "01:00", "02:00")
    for name, values, told in (
        ("HR", (7.1, 6.2, 70.0), "have decimals, and their median is low, .*rounded to whole numbers"),
        ("Temp", (36.22, 36.61, 36.1), "have more than 1 decimal, .*rounded to 1 decimal"),
    ):
        rows = [(time, name, value) for time, value in zip(hours, values, strict=True)]
        assert refusal(*rows, measures=measures) == [("/observations", "invalid_value")]
        with pytest.raises(InputRejected) as caught:
            summary(*rows, measures=measures)
        assert re.search(told, caught.value.faults[0].detail)
    for name, several in (
        ("HR", (7.1, 62.0, 70.0)),  # few have decimals
        ("HR", (7.1, 7.1, 7.1)),  # one value, copied
        ("HR", (71.5, 62.5, 70.5)),  # too high for the other unit
        ("Temp", (0.1 + 36.2, 36.6, 36.1)),
    ):
        rows = [(time, name, value) for time, value in zip(hours, several, strict=True)]
        summary(*rows, measures=measures)


def test_decimals_tell_another_unit_together_with_a_median_alone() -> None:
    with pytest.raises(ManifestInvalid) as caught:
        pipeline(measures=[{**HR, "decimals": 0}, TEMP])
    assert "decimals and decimals_to_median together" in caught.value.faults[0].detail


def answer(*rows: Row, **parameters: Any) -> dict[str, Any]:
    made = pipeline(**parameters)
    [found] = made.open(None).score(by_mean, [Case(made.encode(series(*rows)))])  # type: ignore[arg-type]  # it opens no file
    assert_fits(found.result, made.result_schema())
    return dict(found.result)


def test_the_model_abstains_from_a_series_that_looks_to_be_in_another_unit() -> None:
    suspect = [{"unit": "Hz", "to_median": 4.0}, {"unit": "per hour", "from_median": 200.0, "whole": True}]
    measures = [{**HR, "suspect_units": suspect}, TEMP]
    for rates, unit in (((1.2, 1.3, 90.0), "Hz"), ((240.0, 300.0, 201.0), "per hour")):
        rows = [(f"0{hour}:00", "HR", rate) for hour, rate in enumerate(rates)]
        found = answer(*rows, measures=measures)
        assert (found["label"], found["abstained"]) == (None, True)
        assert f"HR looks to be in {unit} instead of /min" in found["abstain_reason"]
    for rates in ((1.2, 60.0, 90.0), (240.0, 300.5, 201.0)):
        rows = [(f"0{hour}:00", "HR", rate) for hour, rate in enumerate(rates)]
        assert answer(*rows, measures=measures)["abstain_reason"] is None


ENOUGH = {
    "groups": [{"title": "vital signs", "measures": ["HR", "Temp"], "fewest": 2}], "fewest_hours": 2,
    "false_alarm_rate": 0.01, "catch_rate": 1.0, "foreign_set": "parts of series", "source": "others",
}  # fmt: skip


def test_the_model_abstains_where_too_little_was_measured() -> None:
    few = answer(("00:00", "HR", 70.0), ("01:00", "HR", 71.0), completeness=ENOUGH)
    assert (few["label"], few["abstained"]) == (None, True)
    assert "1 of 2 vital signs, at least 2 needed" in few["abstain_reason"]
    short = answer(("01:00", "HR", 70.0), ("01:59", "Temp", 37.0), completeness=ENOUGH)
    assert "values in 1 different hours, at least 2 needed" in short["abstain_reason"]
    whole = answer(("01:59", "HR", 70.0), ("02:00", "Temp", 37.0), completeness=ENOUGH)
    assert (whole["label"] is None, whole["abstained"]) == (False, False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"groups": [{"title": "x", "measures": ["Puls"], "fewest": 1}]}, "Puls is no measure"),
        ({"groups": [{"title": "x", "measures": ["HR"], "fewest": 2}]}, "at most the number"),
        ({"groups": [{"title": "x", "measures": ["HR", "HR"], "fewest": 1}]}, "name each once"),
        ({"fewest_hours": 49}, "fewest_hours"),
    ],
)
def test_a_completeness_that_no_series_has_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ManifestInvalid, match=words):
        pipeline(completeness={**ENOUGH, **change})


def test_one_parameter_spans_the_shortest_hours() -> None:
    rows = [("00:00", "Temp", 37.0), ("01:30", "HR", 70.0), ("03:29", "HR", 70.0)]
    assert refusal(*rows, shortest_hours=2.0) == [("/observations", "too_short")]
    unknown = ("04:00", "HR", -1.0)
    assert refusal(*rows, unknown, shortest_hours=2.0) == [("/observations", "too_short")]
    assert refusal(rows[0], shortest_hours=2.0) == [("/observations", "too_short")]
    summary(*rows, ("03:30", "HR", 71.0), shortest_hours=2.0)


@pytest.mark.parametrize(("fewest", "shortest"), [(1, 0.0), (1, 47.9), (7, 36.0), (50, 48.0)])
@pytest.mark.parametrize("least", [{}, {"completeness": ENOUGH}])
def test_the_example_is_accepted_and_answered(fewest: int, shortest: float, least: dict[str, Any]) -> None:
    measures = [{**HR, "whole": True, "usual_maximum": 199.0}, TEMP]
    made = pipeline(measures=measures, fewest=fewest, shortest_hours=shortest, **least)
    example = made.input_type.model_fields["observations"].examples
    assert example is not None
    payload = made.encode({"observations": example[0]})
    [found] = made.open(None).score(by_mean, [Case(payload)])  # type: ignore[arg-type]  # it opens no file
    assert found.result["abstain_reason"] is None


def by_mean(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
    return {"probability": feeds["summary"][:, :1, 4] / 400}


@settings(max_examples=40)
@given(st.lists(st.lists(st.integers(0, 350), min_size=1, max_size=9, unique=True), min_size=1, max_size=20))
def test_the_answer_of_a_series_does_not_depend_on_its_company(rates: list[list[int]]) -> None:
    made = pipeline()
    cases = [
        Case(made.encode(series(*((f"{hour:02}:00", "HR", float(rate)) for hour, rate in enumerate(each)))))
        for each in rates
    ]
    scoring = made.open(None)  # type: ignore[arg-type]  # it opens no file
    together = [each.result for each in scoring.score(by_mean, cases)]
    assert together == [scoring.score(by_mean, [case])[0].result for case in cases]


def test_an_answer_tells_of_which_parameters_no_value_is_known() -> None:
    made = pipeline()
    rows = [("00:00", "HR", 80.0), ("01:00", "Temp", 37.5)]
    cases = [Case(made.encode(series(*rows[:count]))) for count in (1, 2)]
    answers = [each.result for each in made.open(None).score(by_mean, cases)]  # type: ignore[arg-type]  # it opens no file
    assert [answer["missing"] for answer in answers] == [["Temp"], []]
    for answer in answers:
        assert_fits(answer, made.result_schema())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"minimum": 350.0}, "minimum"),
        ({"unknown": 0.0}, "unknown"),
        ({"name": "H R"}, "name"),
        ({"usual_minimum": -1.0}, "usual_minimum"),
        ({"usual_maximum": 400.0}, "usual_maximum"),
        ({"not_below": "HR"}, "not_below"),
        ({"not_below": "Puls"}, "not_below"),
        ({"suspect_units": [{"unit": "Hz"}]}, "from_median"),
        ({"suspect_units": [{"unit": "Hz", "from_median": 3.0, "to_median": 4.0}]}, "from_median"),
    ],
)
def test_a_measure_that_cannot_be_read_is_refused(change: dict[str, Any], words: str) -> None:
    one = OWN["timeseries-classification"]["measures"][0]
    with pytest.raises(ManifestInvalid, match=words):
        pipeline(measures=[{**one, **change}])


def test_a_measure_that_is_declared_twice_is_refused() -> None:
    one = OWN["timeseries-classification"]["measures"][0]
    with pytest.raises(ManifestInvalid, match="its own name"):
        pipeline(measures=[one, one])


def test_a_shortest_time_that_nothing_can_have_is_refused() -> None:
    with pytest.raises(ManifestInvalid, match="at most hours"):
        pipeline(shortest_hours=49.0)


def test_what_every_observation_has_wrong_is_told_once_with_an_example() -> None:
    rows: list[dict[str, Any]] = [
        {"time": str(minute), "parameter": "HR", "value": None} for minute in range(50)
    ]
    with pytest.raises(InputRejected) as refused:
        pipeline().encode({"observations": rows})
    several = "50 elements have this fault, and this is the first of them."
    assert [(fault.pointer, fault.detail) for fault in refused.value.faults] == [
        ("/observations/0/time", f"time must be a text such as 00:07. {several}"),
        ("/observations/0/value", f"value must be a number. {several}"),
    ]
