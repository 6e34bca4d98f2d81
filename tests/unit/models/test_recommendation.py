"""Recommendations: what is ranked and why, what is left out and said, and what is refused."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.checking import check_bundle
from models.manifest import ModelManifest
from models.pipelines import (
    Array,
    Case,
    InputRejected,
    PredictionInvalid,
    Run,
    load_pipeline,
)
from models.pipelines.item_catalogue import Item
from models.pipelines.recommendation_rules import Reviewed
from models.pipelines.recommendation_scoring import Recommender
from models.pipelines.recommendation_types import Objection, Unchecked
from models.pipelines.typed import TypedCase
from tests.unit.models.example_bundles import manifest_table
from tests.unit.models.example_recommender import (
    CONTEXT,
    IDS,
    INPUTS,
    ITEMS,
    USUAL,
    linear,
    recommender,
    write_recommender,
)
from tests.unit.models.schemas import assert_fits

PIPELINE = recommender()


def answers(*inputs: Mapping[str, Any], run: Run = linear, **options: Any) -> list[Any]:
    cases = [Case(PIPELINE.encode(each), PIPELINE.check_options(options)) for each in inputs]
    found = [answer.result for answer in PIPELINE.open(Path()).score(run, cases)]
    for each in found:
        assert_fits(each, PIPELINE.result_schema())
    return found


def answer(run: Run = linear, options: Mapping[str, Any] | None = None, **fields: Any) -> Any:
    [found] = answers(fields, run=run, **(options or {}))
    return found


def ids(result: Any) -> list[str]:
    return [item["id"] for item in result["items"]]


def faults(value: object, **parameters: Any) -> list[tuple[str, str]]:
    with pytest.raises(InputRejected) as refused:
        recommender(**parameters).encode(value)
    assert all(fault.detail for fault in refused.value.faults)
    return [(fault.pointer, str(fault.code)) for fault in refused.value.faults]


def test_items_are_ranked_by_their_scores_with_codes_and_the_usual_score() -> None:
    found = answer(history=["furosemide"], diagnoses=["I50.9"], age=70.0, sex="female")
    scores = ITEMS[0] + CONTEXT[[0, 4, 5]].sum(0) + USUAL
    wanted = sorted(IDS[1:], key=lambda each: -scores[IDS.index(each)])
    assert ids(found) == wanted == ["potassium chloride", "metoprolol", "aspirin", "insulin"]
    assert [item["rank"] for item in found["items"]] == [1, 2, 3, 4]
    assert found["items"][0] | {"reasons": []} == {
        "rank": 1,
        "id": "potassium chloride",
        "display": "Potassium chloride",
        "code": {"system": "http://www.whocc.no/atc", "code": "A12BA01"},
        "score": pytest.approx(1.07),
        "usual": pytest.approx(0.35),
        "reasons": [],
    }
    assert found["items"][1]["code"] is None
    assert (found["known"], found["unknown"], found["rule"], found["abstained"]) == (2, [], None, False)


def test_reasons_are_the_terms_that_raise_the_score_with_their_shares() -> None:
    [first, *_] = answer(history=["furosemide"], diagnoses=["I50.9"], age=70.0, sex="female")["items"]
    terms = {"furosemide": 0.5, "I50.9": 0.1, "70": 0.1, "female": 0.02}
    told = {reason["code"]: reason["share"] for reason in first["reasons"]}
    assert list(told) == ["furosemide", "I50.9", "70"]  # three, if the job does not say
    assert told == {name: pytest.approx(terms[name] / sum(terms.values()), abs=1e-3) for name in told}
    assert first["reasons"][0] == {
        "field": "history",
        "code": "furosemide",
        "display": "Furosemide",
        "share": pytest.approx(0.694, abs=1e-3),
    }
    assert [reason["display"] for reason in first["reasons"][1:]] == ["Heart failure", "Age from 65"]


def test_what_lowers_a_score_is_no_reason_for_it() -> None:
    found = answer(history=["metoprolol", "furosemide"], options={"reasons": 20})
    insulin = next(item for item in found["items"] if item["id"] == "insulin")
    assert [reason["code"] for reason in insulin["reasons"]] == ["furosemide"]


def test_without_reasons_the_graph_runs_a_row_for_each_case_and_one_for_nothing() -> None:
    rows = []

    def counting(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
        rows.append(len(feeds["history"]))
        return linear(feeds, graph)

    plain = answers(*INPUTS[:3], run=counting, reasons=0)
    assert rows == [4]
    assert all(item["reasons"] == [] for each in plain for item in each["items"])
    answers(*INPUTS[:3], run=counting)
    assert rows[1:] == [1 + (1 + 4) + (1 + 3) + (1 + 3)]


@given(st.lists(st.sampled_from(IDS), min_size=1, max_size=4, unique=True), st.randoms(use_true_random=False))
def test_the_order_of_a_history_changes_nothing(history: list[str], chance: Any) -> None:
    mixed = list(history)
    chance.shuffle(mixed)
    codes = ["I50.9", "E11.0"]
    one, other = answers(
        {"history": history, "diagnoses": codes}, {"history": mixed, "diagnoses": codes[::-1]}
    )
    assert one == other


@given(
    st.lists(st.sampled_from(IDS), max_size=4, unique=True),
    st.lists(st.sampled_from(["I50.9", "428", "E11.65", "25000"]), max_size=3),
    st.one_of(st.none(), st.floats(18, 120)),
    st.integers(1, 5),
)
def test_ranking_and_scores_equal_those_of_the_formula(
    history: list[str], codes: list[str], age: float | None, top: int
) -> None:
    if not (history or codes):
        return
    fields: dict[str, Any] = {"history": history, "diagnoses": codes, "age": age}
    found = answer(options={"top": top}, **fields)
    hot = np.isin(IDS, history).astype(np.float64)
    groups = [any(code[0] in first for code in codes) for first in ("I4", "E2")]
    bins = [False] * 3 if age is None else [age < 40, 40 <= age < 65, age >= 65]
    scores = np.round(hot @ ITEMS + np.array([*groups, *bins, 0, 0], np.float64) @ CONTEXT + USUAL, 5)
    ranked = sorted((each for each in IDS if each not in history), key=lambda each: -scores[IDS.index(each)])
    assert ids(found) == ranked[:top]
    assert [item["score"] for item in found["items"]] == pytest.approx(
        [scores[IDS.index(each)] for each in ranked[:top]], abs=2e-5
    )


def test_what_is_present_is_never_ranked_and_the_history_only_if_asked_for() -> None:
    fields: dict[str, Any] = {"history": ["furosemide", "aspirin"], "present": ["insulin"]}
    assert ids(answer(**fields)) == ["potassium chloride", "metoprolol"]
    again = answer(options={"again": True}, **fields)
    assert sorted(ids(again)) == sorted(set(IDS) - {"insulin"})
    assert again["items"][0]["score"] == answer(**fields)["items"][0]["score"]
    assert ids(answer(history=["insulin"], options={"again": True})) == ids(answer(history=["insulin"]))


@pytest.mark.parametrize(
    "name", ["lasix", " Furosemide ", "FUROSEMIDE", "hicl:3660", "http://www.whocc.no/atc|C03CA01"]
)
def test_an_item_may_be_named_in_several_ways(name: str) -> None:
    assert answer(history=[name]) == answer(history=["furosemide"])


@pytest.mark.parametrize(
    "code", ["428.0", "4280", "I50.9", "i50", "heart-failure", "Congestive  Heart Failure"]
)
def test_a_code_belongs_to_the_group_of_itself_or_its_category(code: str) -> None:
    found, meant = answer(diagnoses=[code]), answer(diagnoses=["I50"])
    assert [item["score"] for item in found["items"]] == [item["score"] for item in meant["items"]]
    assert found["unknown"] == []


@pytest.mark.parametrize(
    "text",
    [
        "I50.9,E11.9",
        "I50.9 E11.9",
        "I50 ruled out",
        "I50?",
        "no I50",
        "I50.",
        "I50.9.1",
        "42801234",
        "E8700",
        "E870",
    ],
)
def test_a_text_that_is_not_one_code_is_of_no_category(text: str) -> None:
    """Without a dot E8700 is a cut in ICD-9-CM, and would be a disorder of electrolytes in ICD-10."""
    assert answer(history=["aspirin"], diagnoses=[text])["unknown"] == [{"field": "diagnoses", "code": text}]


def test_an_item_that_stands_twice_is_told_with_both_of_its_places() -> None:
    with pytest.raises(InputRejected) as refused:
        PIPELINE.encode({"history": ["aspirin", "furosemide", "insulin", "Lasix"]})
    [fault] = refused.value.faults
    assert fault.pointer == "/history/3"
    assert "at /history/1 too" in fault.detail


@pytest.mark.parametrize("code", ["I500.1", "4281.0", "E87", "I5"])
def test_a_longer_category_is_another_one(code: str) -> None:
    assert answer(history=["aspirin"], diagnoses=[code])["unknown"] == [{"field": "diagnoses", "code": code}]


@pytest.mark.parametrize(
    ("age", "words"), [(39.9, "Age below 40"), (40.0, "Age 40 to below 65"), (65.0, "Age from 65")]
)
def test_a_bound_belongs_to_the_interval_above_it(age: float, words: str) -> None:
    found = answer(history=["aspirin"], age=age, options={"reasons": 20, "top": 50})
    told = {each["display"] for item in found["items"] for each in item["reasons"] if each["field"] == "age"}
    assert told <= {words}
    wanted = {39.9: 2, 40.0: 3, 65.0: 4}[age]
    scores = ITEMS[4] + CONTEXT[wanted] + USUAL
    assert {item["id"]: item["score"] for item in found["items"]} == pytest.approx(
        {name: scores[place] for place, name in enumerate(IDS) if name != "aspirin"}, abs=1e-4
    )


def test_what_is_not_known_is_said_and_changes_nothing() -> None:
    found = answer(history=["furosemide", "unheard of"], present=["nor this"], diagnoses=["I50", "E872.0"])
    plain = answer(history=["furosemide"], present=[], diagnoses=["I50"])
    assert found["unknown"] == [
        {"field": "history", "code": "unheard of"},
        {"field": "present", "code": "nor this"},
        {"field": "diagnoses", "code": "E872.0"},
    ]
    assert found["known"] == 2
    assert found | {"unknown": []} == plain


def test_the_model_abstains_where_it_knows_no_item_and_no_code() -> None:
    found = answer(history=["unheard of"], diagnoses=["Z99"], age=70.0, sex="male")
    assert (found["items"], found["abstained"], found["known"]) == ([], True, 0)
    assert found["abstain_reason"] == "no item and no code that was sent is known to the model"
    assert [each["code"] for each in found["unknown"]] == ["unheard of", "Z99"]


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ({}, [("/history", "too_short")]),
        ({"history": [], "age": 50.0}, [("/history", "too_short")]),
        ({"history": ["aspirin", "Aspirin "]}, [("/history/1", "doubled")]),
        ({"history": ["unheard of", "unheard of"]}, [("/history/1", "doubled")]),
        ({"history": ["aspirin"], "present": ["Vioxx"]}, [("/present/0", "not_allowed")]),
        ({"history": ["aspirin"] * 1001}, [("/history", "too_long")]),
        ({"history": ["aspirin"], "age": 121.0}, [("/age", "out_of_range")]),
        ({"history": ["aspirin"], "age": 17.0}, [("/age", "out_of_range")]),
        ({"history": ["aspirin"], "sex": "x"}, [("/sex", "not_allowed")]),
        ({"history": ["aspirin"], "diagnoses": ["I50"] * 1001}, [("/diagnoses", "too_long")]),
        ({"history": ["aspirin"], "diagnoses": [" "]}, [("/diagnoses/0", "wrong_format")]),
        ({"history": [""]}, [("/history/0", "too_short")]),
        ({"history": [7]}, [("/history/0", "wrong_type")]),
        ({"history": "aspirin"}, [("/history", "wrong_type")]),
        ({"histroy": ["aspirin"]}, [("/histroy", "unknown_field")]),
        (["aspirin"], [("", "not_an_object")]),
    ],
)
def test_what_says_nothing_or_cannot_be_is_refused(value: object, wanted: list[tuple[str, str]]) -> None:
    assert faults(value) == wanted


def test_the_refusal_of_a_withdrawn_item_says_why() -> None:
    with pytest.raises(InputRejected) as refused:
        PIPELINE.encode({"history": ["vioxx"]})
    assert (
        refused.value.faults[0].detail
        == "Rofecoxib is withdrawn: withdrawn by its maker in 2004. Leave it out"
    )


@pytest.mark.parametrize("options", [{"top": 0}, {"top": 51}, {"reasons": 21}, {"top": "3"}, {"limit": 3}])
def test_options_are_bounded(options: dict[str, Any]) -> None:
    with pytest.raises(InputRejected):
        PIPELINE.check_options(options)


def test_an_answer_has_no_more_items_than_asked_for() -> None:
    assert len(answer(history=["aspirin"], options={"top": 2})["items"]) == 2


def test_cases_of_a_batch_are_answered_as_if_alone() -> None:
    assert answers(*INPUTS) == [answers(each)[0] for each in INPUTS]
    assert answers(*INPUTS[::-1])[::-1] == answers(*INPUTS)


def test_a_long_history_is_scored_in_runs_of_bounded_size() -> None:
    names = [f"item {place}" for place in range(400)]
    lines = "\n".join(f"{name},{name}" for name in names)
    table = manifest_table("recommendation") | {"parameters": {"example": ["item 0"]}}
    made = load_pipeline(ModelManifest.model_validate(table), lambda _: f"id,display\n{lines}\n".encode())
    weights = np.random.default_rng(1).normal(size=(400, 400)).astype(np.float32)
    rows = []

    def run(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
        assert list(feeds) == ["history"]
        rows.append(len(feeds["history"]))
        return {"scores": feeds["history"] @ weights}

    case = Case(made.encode({"history": names[:390]}))
    [found] = made.open(Path()).score(run, [case])
    assert rows == [256, 136]
    assert found.result["known"] == 390
    assert len(found.result["items"]) == 10  # type: ignore[arg-type]  # a list


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_score_that_is_no_number_fails_its_case_alone(bad: float) -> None:
    def run(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
        scores = np.array(linear(feeds)["scores"])
        scores[feeds["history"][:, 3] == 1] = bad
        return {"scores": scores}

    with pytest.raises(PredictionInvalid) as invalid:
        answers({"history": ["aspirin"]}, {"history": ["insulin"]}, run=run)
    assert invalid.value.rows == (1,)


def test_scores_of_another_shape_are_no_answer() -> None:
    with pytest.raises(PredictionInvalid, match="shape"):
        answer(
            lambda feeds, graph="model": {"scores": np.zeros((len(feeds["history"]), 1))}, history=["aspirin"]
        )


class NoPotassium:
    """Removes potassium chloride beside furosemide, and flags aspirin."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, list[str]]] = []

    def review(self, facts: Mapping[str, Any], present: Sequence[str], ranked: Sequence[Item]) -> Reviewed:
        self.seen.append((facts, list(present)))
        removed = [item for item in ranked if item.id == "potassium chloride" and "furosemide" in present]
        flagged = [item for item in ranked if item.id == "aspirin"]
        return Reviewed(
            tuple(item for item in ranked if item not in removed),
            tuple(map(_objection, removed)),
            tuple(map(_objection, flagged)),
            (Unchecked(subject="insulin", check="renal", reason="unknown", detail="not known"),),
        )


def _objection(item: Item) -> Objection:
    return Objection(
        id=item.id, display=item.display, kind="made-up", level="contraindicated", against="furosemide",
        condition="", explanation="made up", source="this test", date="2026",
    )  # fmt: skip


def reviewed(**fields: Any) -> tuple[NoPotassium, Any]:
    rule = NoPotassium()
    scoring = Recommender(PIPELINE.catalogue, PIPELINE.columns, rule, "no-potassium")
    options = PIPELINE.read_options({"top": 2})
    value = PIPELINE.read_input(PIPELINE.encode(fields))
    return rule, scoring.score(linear, [TypedCase(value, options, {})])[0]


def test_a_rule_removes_items_says_why_and_leaves_the_wanted_number() -> None:
    _, found = reviewed(history=["furosemide"], diagnoses=["I50"])
    assert [item.id for item in found.items] == ["metoprolol", "aspirin"]
    assert [item.rank for item in found.items] == [1, 2]
    assert [each.id for each in found.removed] == ["potassium chloride"]
    assert [each.id for each in found.flagged] == ["aspirin"]
    assert found.unchecked[0].subject == "insulin"
    assert found.rule == "no-potassium"


def test_a_rule_sees_the_facts_and_all_of_the_history_as_present_unless_the_caller_says() -> None:
    rule, found = reviewed(history=["furosemide"], present=[], diagnoses=["I50"], age=50.0)
    assert next(each.id for each in found.items) == "potassium chloride"
    assert found.removed == []
    assert rule.seen[0][1] == []
    assert rule.seen[0][0]["age"] == 50.0
    assert reviewed(history=["furosemide"])[0].seen[0][1] == ["furosemide"]


def test_a_bundle_of_the_pipeline_passes_the_check(tmp_path: Path) -> None:
    assert check_bundle(write_recommender(tmp_path)) == []
