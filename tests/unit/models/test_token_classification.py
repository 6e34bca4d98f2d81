"""Entities of texts: their places as sent, the most likely tags that are allowed, windows, and company."""

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from models.bundle import renew_golden, seal_bundle
from models.checking import check_bundle
from models.manifest import ManifestInvalid
from models.pipelines import Array, Case, InputRejected, PredictionInvalid, load_pipeline
from models.pipelines.token_classification import TokenClassification, entity_spans, most_likely_tags
from models.sandbox import CpuRun
from tests.unit.models.example_bundles import manifest, manifest_table, toml
from tests.unit.models.example_texts import WORDS, write_tokenizer

OUTSIDE, BEGIN_SIGN, INSIDE_SIGN, BEGIN_PLACE, INSIDE_PLACE = range(5)
TAGS = {
    "fever": BEGIN_SIGN,
    "cough": BEGIN_SIGN,
    "pain": INSIDE_SIGN,
    "rest": BEGIN_PLACE,
    "caf": BEGIN_PLACE,
    "##\u00e9": INSIDE_PLACE,
}
SURE = 6.0


def table() -> np.ndarray[Any, np.dtype[np.float32]]:
    """Logits [V,5]: each word is surely what TAGS says, else outside."""
    return np.array([np.eye(5)[TAGS.get(word, OUTSIDE)] * SURE for word in WORDS], np.float32)


def tags_of_words(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
    assert graph == "model"
    return {"logits": table()[feeds["input_ids"]]}


def pipeline(**parameters: Any) -> TokenClassification:
    made = load_pipeline(manifest("token-classification", **parameters))
    assert isinstance(made, TokenClassification)
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokenizer(tmp_path_factory.mktemp("bundle"))


def results(made: TokenClassification, folder: Path, *texts: str) -> list[dict[str, Any]]:
    cases = [Case(made.encode({"text": text})) for text in texts]
    return [each.result for each in made.open(folder).score(tags_of_words, cases)]


def found(made: TokenClassification, folder: Path, text: str) -> list[tuple[int, int, str, str]]:
    [result] = results(made, folder, text)
    return [(each["start"], each["end"], each["text"], each["label"]) for each in result["entities"]]


def test_entities_are_named_by_their_places_in_the_text_as_sent(folder: Path) -> None:
    text = "No fever pain, COUGH.  \U0001f600 rest"
    wanted = [(3, 13, "fever pain", "sign"), (15, 20, "COUGH", "sign"), (25, 29, "rest", "place")]
    assert found(pipeline(), folder, text) == wanted
    assert all(text[start:end] == named for start, end, named, _ in wanted)


@pytest.mark.parametrize("written", ["caf\u00e9", "cafe\u0301"])
def test_an_accent_belongs_to_its_entity_however_it_is_written(written: str, folder: Path) -> None:
    assert found(pipeline(), folder, f"no {written} no") == [(3, 3 + len(written), written, "place")]


def test_what_is_inside_without_a_beginning_is_no_entity(folder: Path) -> None:
    assert found(pipeline(), folder, "no pain") == []


def test_an_entity_has_its_type_its_code_and_a_probability(folder: Path) -> None:
    [result] = results(pipeline(), folder, "fever")
    [entity] = result["entities"]
    assert entity["display"] == "Sign or symptom"
    assert entity["code"] == {"system": "http://snomed.info/sct", "code": "404684003"}
    share = (np.exp(SURE) + 1) / (np.exp(SURE) + 4)  # begin and inside of its type, of five tags
    assert entity["probability"] == pytest.approx(share)
    assert results(pipeline(least_probability=0.995), folder, "fever")[0]["entities"] == []
    schema: Any = pipeline().result_schema()
    assert schema["properties"].keys() == result.keys()


def test_adjoining_entities_of_one_type_stay_two(folder: Path) -> None:
    assert [each[2] for each in found(pipeline(), folder, "fever cough")] == ["fever", "cough"]


TEXTS = st.lists(st.sampled_from(["no", "fever", "pain", "rest", "caf\u00e9"]), min_size=1, max_size=60).map(
    " ".join
)


@given(st.lists(TEXTS, min_size=1, max_size=6))
def test_the_entities_of_a_text_do_not_depend_on_its_company(folder: Path, texts: list[str]) -> None:
    made = pipeline(max_windows=9, overlap=4)
    alone = [results(made, folder, each)[0] for each in texts]
    assert results(made, folder, *texts) == alone
    assert results(made, folder, *reversed(texts)) == alone[::-1]


@given(TEXTS)
def test_windows_find_what_one_long_run_finds(folder: Path, text: str) -> None:
    whole = found(pipeline(max_tokens=256), folder, text)
    for overlap in (0, 1, 4, 8):
        cut = pipeline(max_windows=40, overlap=overlap)
        assert found(cut, folder, text) == whole


def test_a_text_that_is_too_long_or_unknown_has_no_entities_and_says_why(folder: Path) -> None:
    long, strange = results(pipeline(unknown=0.5), folder, "fever " * 30, "toux fever")
    assert (long["entities"], long["abstained"], long["abstain_reason"]) == (
        None,
        True,
        "longer than the model reads",
    )
    assert (strange["entities"], strange["abstained"]) == (None, True)


def first_tokens_alone(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
    """As a model that was trained on the first tokens of words: what it says of the others means nothing."""
    logits = tags_of_words(feeds, graph)["logits"].copy()
    others = feeds["input_ids"] == WORDS.index("##\u00e9")
    logits[others] = np.eye(5)[BEGIN_SIGN] * SURE
    return {"logits": logits}


@pytest.mark.parametrize("text", ["no caf\u00e9. rest", "caf\u00e9 " * 40])
def test_a_word_has_the_tag_of_its_first_token_and_is_never_divided(text: str, folder: Path) -> None:
    made = pipeline(unit="words", max_windows=40, overlap=3)
    [scored] = made.open(folder).score(first_tokens_alone, [Case(made.encode({"text": text}))])
    given: Any = scored.result
    found = [(text[each["start"] : each["end"]], each["label"]) for each in given["entities"]]
    wanted = [word.strip(".") for word in text.split() if word.strip(".") in {"caf\u00e9", "rest"}]
    assert found == [(word, "place") for word in wanted]


FOREIGN: dict[str, Any] = {
    "limit": 2.0, "false_alarm_rate": 0.01, "catch_rate": 0.9, "foreign_set": "made up", "source": "made up",
    "reason": "not of the kind",
}  # fmt: skip


def with_novelty(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
    """A window's novelty is four times the share of `cough` among its tokens, special ones left out."""
    shown = feeds["attention_mask"].sum(1, keepdims=True) - 2
    share = (feeds["input_ids"] == WORDS.index("cough")).sum(1, keepdims=True) / shown
    return {**tags_of_words(feeds, graph), "novelty": (4 * share).astype(np.float32)}


@pytest.mark.parametrize(
    ("text", "novel"),
    [
        ("fever", False),
        ("cough", True),
        ("no cough", True),
        ("no no cough", False),
        ("cough " * 6 + "no " * 8 + "cough", False),
    ],
)
def test_a_text_unlike_the_training_data_has_no_entities(text: str, novel: bool, folder: Path) -> None:
    made = pipeline(novelty=FOREIGN, max_windows=9)
    [scored] = made.open(folder).score(with_novelty, [Case(made.encode({"text": text}))])
    given: Any = scored.result
    reason = "not of the kind" if novel else None
    assert (given["entities"] is None, given["abstained"], given["abstain_reason"]) == (novel, novel, reason)


def test_a_novelty_that_is_no_number_is_no_answer(folder: Path) -> None:
    def run(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
        return {**with_novelty(feeds, graph), "novelty": np.full((len(feeds["input_ids"]), 1), np.nan)}

    made = pipeline(novelty=FOREIGN)
    with pytest.raises(PredictionInvalid, match="novelty"):
        made.open(folder).score(run, [Case(made.encode({"text": "fever"}))])


def allowed(tags: tuple[int, ...]) -> bool:
    before = 0
    for tag in tags:
        if tag and tag % 2 == 0 and before not in {tag, tag - 1}:
            return False
        before = tag
    return True


@given(st.lists(st.lists(st.floats(-5, 5), min_size=5, max_size=5), min_size=1, max_size=5))
def test_the_tags_are_the_most_likely_ones_that_are_allowed(rows: list[list[float]]) -> None:
    logits = np.array(rows)
    best = max(
        sum(logits[row, tag] for row, tag in enumerate(tags))
        for tags in itertools.product(range(5), repeat=len(rows))
        if allowed(tags)
    )
    tags = most_likely_tags(logits)
    assert allowed(tuple(tags.tolist()))
    assert logits[np.arange(len(rows)), tags].sum() == pytest.approx(best)


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        ([], []),
        ([0, 0], []),
        ([1], [(0, 0, 0)]),
        ([1, 2, 2, 0], [(0, 0, 2)]),
        ([1, 1, 2], [(0, 0, 0), (0, 1, 2)]),
        ([0, 3, 4, 1, 0, 3], [(1, 1, 2), (0, 3, 3), (1, 5, 5)]),
    ],
)
def test_spans_of_tags(tags: list[int], spans: list[tuple[int, int, int]]) -> None:
    assert list(entity_spans(tags)) == spans


@pytest.mark.parametrize("damage", ["shape", "nan"])
def test_logits_that_are_none_are_no_answer(damage: str, folder: Path) -> None:
    def run(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
        logits = tags_of_words(feeds, graph)["logits"]
        return {"logits": logits[:1] if damage == "shape" else np.where(logits == SURE, np.nan, logits)}

    made = pipeline()
    cases = [Case(made.encode({"text": "fever"})), Case(made.encode({"text": "cough"}))]
    with pytest.raises(PredictionInvalid) as refused:
        made.open(folder).score(run, cases)
    assert tuple(refused.value.rows) == (0, 1)


@pytest.mark.parametrize(
    ("text", "code"),
    [("", "too_short"), ("f" * 201, "too_long"), ("?!", "blank_text"), ("no\x00", "unreadable_text")],
)
def test_what_is_no_text_is_refused(text: str, code: str) -> None:
    with pytest.raises(InputRejected) as refused:
        pipeline().encode({"text": text})
    assert [fault.code for fault in refused.value.faults] == [code]


def test_two_types_of_one_name_are_refused() -> None:
    with pytest.raises(ManifestInvalid, match="give each label its own id"):
        pipeline(labels=["sign", "sign"])


def graph() -> onnx.ModelProto:
    tensors = helper.make_graph(
        [helper.make_node("Gather", ["table", "input_ids"], ["logits"])],
        "words",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["rows", "tokens"])
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", "tokens", 5])],
        [numpy_helper.from_array(table(), "table")],
    )
    return helper.make_model(tensors, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_a_graph_of_tags_with_its_tokenizer_is_publishable(tmp_path: Path) -> None:
    folder = write_tokenizer(tmp_path / "bundle")
    (folder / "manifest.toml").write_text(toml(manifest_table("token-classification", max_windows=4)))
    (folder / "CARD.md").write_text("# dose-effect\n\nMade up for tests.\n")
    (folder / "model.onnx").write_bytes(graph().SerializeToString())
    texts = ["fever", "no fever pain", "no rest.", "fever " * 20, "caf\u00e9", "no " * 33]
    golden = [{"input": {"text": text}, "expected": {}} for text in texts]
    (folder / "golden.json").write_text(json.dumps({"cases": golden}))
    renew_golden(folder, CpuRun())
    seal_bundle(folder)
    assert check_bundle(folder) == []
