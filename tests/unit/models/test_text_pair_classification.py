"""Pairs of texts: both are checked, and their order does not matter."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.manifest import ManifestInvalid
from models.pipelines import Array, Case, InputRejected, load_pipeline
from models.pipelines.exchanged_words import ExchangeParameters
from models.pipelines.text_pair_classification import TextPairClassification
from tests.unit.models.example_bundles import manifest
from tests.unit.models.example_texts import TOKENS, write_tokenizer

TEXTS = st.lists(st.sampled_from(["no", "fever", "cough", "pain"]), min_size=1, max_size=6).map(" ".join)


def pipeline(**parameters: Any) -> TextPairClassification:
    made = load_pipeline(manifest("text-pair-classification", **parameters))
    assert isinstance(made, TextPairClassification)
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokenizer(tmp_path_factory.mktemp("bundle"))


def first_has_more(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
    """A graph for which the order matters: the share of the first text's tokens among those of both."""
    assert graph == "model"
    first = ((feeds["token_type_ids"] == 0) & (feeds["attention_mask"] == 1)).sum(axis=1) - 2
    second = feeds["token_type_ids"].sum(axis=1) - 1
    return {"probability": (first / (first + second))[:, None].astype(np.float32)}


def results(made: TextPairClassification, folder: Path, *pairs: tuple[str, str]) -> list[dict[str, Any]]:
    cases = [Case(made.encode({"text_a": first, "text_b": second})) for first, second in pairs]
    return [each.result for each in made.open(folder).score(first_has_more, cases)]


def shares(made: TextPairClassification, folder: Path, *pairs: tuple[str, str]) -> list[float]:
    return [each["probabilities"]["ill"] for each in results(made, folder, *pairs)]


def refusal(made: TextPairClassification, value: object) -> list[tuple[str, str]]:
    with pytest.raises(InputRejected) as refused:
        made.encode(value)
    return [(fault.pointer, fault.code) for fault in refused.value.faults]


def test_a_pair_is_fed_in_its_order_if_the_graph_is_not_symmetric(folder: Path) -> None:
    made = pipeline(symmetric=False)
    pairs = [("no fever", "cough"), ("cough", "no fever")]
    assert shares(made, folder, *pairs) == pytest.approx([2 / 3, 1 / 3])


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6))
def test_the_order_of_a_pair_does_not_matter(folder: Path, pairs: list[tuple[str, str]]) -> None:
    found = shares(pipeline(), folder, *pairs)
    assert found == shares(pipeline(), folder, *[(second, first) for first, second in pairs])
    assert found == pytest.approx([0.5] * len(pairs))


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6))
def test_the_answer_to_a_pair_does_not_depend_on_its_company(
    folder: Path, pairs: list[tuple[str, str]]
) -> None:
    made = pipeline(symmetric=False)
    alone = [shares(made, folder, each)[0] for each in pairs]
    assert shares(made, folder, *pairs) == alone
    assert shares(made, folder, *reversed(pairs)) == alone[::-1]


def test_a_pair_that_is_too_long_to_read_is_not_answered(folder: Path) -> None:
    longer, fits = results(pipeline(), folder, ("no " * 7, "no " * 7), ("no " * 7, "no " * 6))
    assert (longer["truncated"], longer["label"], longer["abstained"]) == (True, None, True)
    assert (fits["truncated"], fits["abstained"], fits["tokens"]) == (False, False, 13)
    schema: Any = pipeline().result_schema()
    jsonschema.validate(fits, schema)
    assert set(schema["required"]) == fits.keys()
    assert "windows" not in fits


def test_every_fault_of_both_texts_is_named() -> None:
    made = pipeline(script={"name": "latin", "share": 0.5})
    assert refusal(made, {"text_a": "...", "text_b": "腺" * 30}) == [
        ("/text_a", "blank_text"), ("/text_b", "wrong_script"),
    ]  # fmt: skip
    assert refusal(made, {"text_a": "fever"}) == [("/text_b", "missing_field")]
    assert refusal(made, {"text_a": "fever", "text_b": "f" * 201}) == [("/text_b", "too_long")]


def test_the_fields_have_the_names_that_the_manifest_gives() -> None:
    made = pipeline(fields=["question", "other_question"])
    value = {"question": "no fever", "other_question": "cough"}
    assert made.decode(made.encode(value)) == value
    schema: Any = made.input_schema()
    assert schema["required"] == ["question", "other_question"]
    assert schema["examples"] == [{"question": "no fever", "other_question": "no cough"}]


@pytest.mark.parametrize(
    "changed",
    [{"fields": ["text", "text"]}, {"max_windows": 2}, {"fields": ["text"]}, {"examples": ["a", "b", "c"]}],
)
def test_a_manifest_that_makes_no_sense_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ManifestInvalid):
        pipeline(**changed)


def test_the_tokens_of_both_texts_are_told_apart_by_type(folder: Path) -> None:
    made = pipeline(symmetric=False)
    fed: list[Mapping[str, Array]] = []

    def run(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
        fed.append(feeds)
        return first_has_more(feeds, graph)

    made.open(folder).score(run, [Case(made.encode({"text_a": "no fever", "text_b": "cough"}))])
    [feeds] = fed
    assert feeds["input_ids"][0, :6].tolist() == [
        2, TOKENS["no"], TOKENS["fever"], 3, TOKENS["cough"], 3,
    ]  # fmt: skip
    assert feeds["token_type_ids"][0, :6].tolist() == [0, 0, 0, 0, 1, 1]


EXCHANGE = {"label": "ill", "most": 2, "ordinary": ["the", "a"], "reason": "one word differs"}


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        ("no fever cough", "no pain cough", True),
        ("No fever, cough!", "no PAIN cough", True),
        ("\u9ebb\u75b9\u600e\u4e48\u6cbb", "\u98ce\u75b9\u600e\u4e48\u6cbb", True),
        ("no fever cough", "no fever cough", False),  # nothing differs
        ("no fever cough", "no fever the cough", False),  # a word more
        ("no the fever cough", "no a fever cough", False),  # ordinary words
        ("no the fever cough", "no fever pain fever cough", False),  # ordinary in one of them
        ("fever", "pain", False),  # nothing in common
        ("no fever a fever cough pain", "no cough cough cough cough pain", False),  # more than `most`
        ("fever no cough pain", "pain no cough fever", False),  # in two places
    ],
)
def test_texts_that_differ_in_one_place_alone_are_found(first: str, second: str, found: bool) -> None:
    exchange = ExchangeParameters.model_validate(EXCHANGE)
    assert exchange.found_in(first, second) is found
    assert exchange.found_in(second, first) is found


def test_a_pair_whose_texts_differ_in_one_place_is_not_called_the_same(folder: Path) -> None:
    made = pipeline(exchange=EXCHANGE, symmetric=False)
    doubted, same, other = results(
        made, folder, ("no fever cough", "no pain cough"), ("no fever", "no fever"), ("no", "fever " * 4)
    )
    assert (doubted["label"], doubted["abstained"], doubted["abstain_reason"]) == (
        None,
        True,
        "one word differs",
    )
    assert (same["label"], same["abstained"]) == ("ill", False)
    assert other["label"] == "well"


def test_another_label_than_the_doubted_one_is_answered(folder: Path) -> None:
    made = pipeline(exchange=EXCHANGE | {"label": "well"}, symmetric=False)
    [found] = results(made, folder, ("no fever cough", "no pain cough"))
    assert (found["label"], found["abstained"]) == ("ill", False)


def test_a_doubted_label_has_to_be_one_of_the_labels() -> None:
    with pytest.raises(ManifestInvalid, match="exchange: name one of the labels"):
        pipeline(exchange=EXCHANGE | {"label": "same"})
