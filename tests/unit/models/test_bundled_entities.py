"""The bundled models of entities, with their own graphs: places, company, and texts that they do not read."""

from typing import Any

import pytest

from models.bundle import bundled, fitted, read_bundle, side_files
from models.difference import difference
from models.pipelines import Case, InputRejected, load_pipeline
from models.sandbox import CpuRun

RUN = CpuRun()
ENGLISH = "Two patients developed renal failure after cisplatin. "


class Model:
    """A bundled model, opened."""

    def __init__(self, name: str) -> None:
        [folder] = [each for each in bundled() if each.name == name]
        self.manifest = read_bundle(folder).manifest
        self.pipeline = load_pipeline(self.manifest, side_files(folder))
        self._scoring = self.pipeline.open(folder)
        self._run = fitted(folder, self.manifest, self.pipeline, RUN)

    def results(self, *texts: str) -> list[Any]:
        cases = [Case(self.pipeline.encode({"text": text})) for text in texts]
        return [each.result for each in self._scoring.score(self._run, cases)]

    def found(self, text: str) -> set[tuple[str, str]]:
        """Texts and types of the entities, each checked to stand where it is said to."""
        [result] = self.results(text)
        for each in result["entities"]:
            assert text[each["start"] : each["end"]] == each["text"]
        return {(each["text"], each["label"]) for each in result["entities"]}


@pytest.fixture(scope="module")
def english() -> Model:
    return Model("chemical-disease-entities")


@pytest.mark.parametrize("before", ["", "\U0001f600\U0001f9ea ", "cafe\u0301: ", "\t\r\n\v "])
def test_entities_stand_where_they_are_said_to_whatever_comes_before(before: str, english: Model) -> None:
    assert english.found(before + ENGLISH) == {("renal failure", "disease"), ("cisplatin", "chemical")}


def test_texts_of_all_lengths_are_answered_together_as_alone(english: Model) -> None:
    sentences = (
        ENGLISH,
        "Rats that received morphine had severe bradycardia. ",
        "Levodopa caused dyskinesia in most. ",
    )
    texts = [sentence * count for sentence in sentences for count in (1, 50, 2, 7, 90)]
    together = english.results(*texts)
    assert [each["windows"] > 1 for each in together] == [False, True, False, False, True] * 3
    for text, result in zip(texts, together, strict=True):
        [alone] = english.results(text)
        assert difference(alone, result, english.manifest.runtime.tolerance) is None


UNREAD = [
    "", " \t\n", "?!...", "renal\x00failure", "renal \ufffd failure", ENGLISH * 20_000,
    "最近总是咳嗽还发烧,是不是得了肺炎?医生让我做胃镜检查",
]  # fmt: skip


@pytest.mark.parametrize("text", UNREAD, ids=range(len(UNREAD)))
def test_what_is_no_english_text_is_refused_at_submit(text: str, english: Model) -> None:
    with pytest.raises(InputRejected):
        english.pipeline.encode({"text": text})


def test_dna_and_french_have_no_entities(english: Model) -> None:
    french = "Le patient avait de la fièvre et de la toux depuis trois jours, sans autre plainte."
    for result in english.results("CAGGTAAGTCCTGATTACAGGCTTAACCGGTAGGTATCCATTGCAGG", french):
        assert (result["entities"], result["abstained"]) == (None, True)


@pytest.fixture(scope="module")
def chinese() -> Model:
    return Model("question-entities")


@pytest.mark.parametrize("before", ["", "\U0001f600\U00020bb7", "\uff23\uff34\u3000", "38\u2103 ", "\r\n\t"])
def test_chinese_entities_stand_where_they_are_said_to(before: str, chinese: Model) -> None:
    found = chinese.found(f"{before}医生说我得了糖尿病,需要挂内科吗")
    assert {("糖尿病", "disease"), ("内科", "department")} <= found


def test_chinese_texts_of_all_lengths_are_answered_together_as_alone(chinese: Model) -> None:
    sentences = ("糖尿病可以手术吗,", "感冒发烧吃阿莫西林好不好,", "膝盖疼要做什么检查,")
    texts = [sentence * count for sentence in sentences for count in (1, 60, 3, 11, 99)]
    together = chinese.results(*texts)
    assert [each["windows"] > 1 for each in together] == [False, True, False, False, True] * 3
    for text, result in zip(texts, together, strict=True):
        [alone] = chinese.results(text)
        assert difference(alone, result, chinese.manifest.runtime.tolerance) is None


@pytest.mark.parametrize(
    "text", ["", "?!\u3002", ENGLISH, "Ваша жалоба на сильную головную боль", "疼\x00痛", "疼" * 5_001]
)
def test_what_is_no_chinese_text_is_refused_at_submit(text: str, chinese: Model) -> None:
    with pytest.raises(InputRejected):
        chinese.pipeline.encode({"text": text})
