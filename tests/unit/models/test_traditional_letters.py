"""Bundled models of Chinese texts read traditional characters as the simplified ones, which are all that they know."""

from typing import Any

import pytest

from tests.unit.models.test_zoo import answers

CASES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "trial-criterion": (
        {"text": "年龄18岁以上\uff0c自愿签署知情同意书"},
        {"text": "年齡18歲以上\uff0c自願簽署知情同意書"},
    ),
    "question-match": (
        {"question_a": "高血压可以吃鸡蛋吗", "question_b": "高血压的人能不能吃鸡蛋"},
        {"question_a": "高血壓可以吃雞蛋嗎", "question_b": "高血壓的人能不能吃雞蛋"},
    ),
    "question-entities": (
        {"text": "最近总是咳嗽还发烧,是不是得了肺炎?"},
        {"text": "最近總是咳嗽還發燒,是不是得了肺炎?"},
    ),
}


def without_words(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without the words of the text that it repeats."""
    entities = [{**each, "text": ""} for each in answer.get("entities") or ()]
    return {**answer, "entities": entities}


@pytest.mark.parametrize("name", CASES)
def test_a_text_in_traditional_characters_is_answered_like_the_same_in_simplified_ones(name: str) -> None:
    simplified, traditional = answers(name, *CASES[name])
    assert simplified["abstained"] is False
    assert without_words(traditional) == without_words(simplified)


def test_entities_are_given_in_the_characters_of_the_text() -> None:
    sent = CASES["question-entities"][1]
    [answer] = answers("question-entities", sent)
    found = [each["text"] for each in answer["entities"]]
    assert "發燒" in found
    assert found == [sent["text"][each["start"] : each["end"]] for each in answer["entities"]]
