"""Texts: what is taken, what is refused with which words, and how windows of long texts become one answer."""

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
from models.pipelines import Array, Case, InputRejected, load_pipeline
from models.pipelines.text_classification import TextClassification
from models.sandbox import CpuRun
from tests.unit.models.example_bundles import manifest, manifest_table, told, toml
from tests.unit.models.example_texts import TOKENS, write_tokenizer

FEVER = TOKENS["fever"]
LATIN = {"name": "latin", "share": 0.5}


def pipeline(**parameters: Any) -> TextClassification:
    made = load_pipeline(manifest("text-classification", **parameters))
    assert isinstance(made, TextClassification)
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokenizer(tmp_path_factory.mktemp("bundle"))


def fever_share(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
    """A graph: the share of the word fever among a window's tokens."""
    assert graph == "model"
    shown = feeds["attention_mask"].sum(axis=1) - 2
    found = (feeds["input_ids"] == FEVER).sum(axis=1) / np.maximum(shown, 1)
    return {"probability": found[:, None].astype(np.float32)}


def results(made: TextClassification, folder: Path, *texts: str) -> list[dict[str, Any]]:
    cases = [Case(made.encode({"text": text})) for text in texts]
    return [each.result for each in made.open(folder).score(fever_share, cases)]


def shares(made: TextClassification, folder: Path, *texts: str) -> list[float]:
    return [each["probabilities"]["ill"] for each in results(made, folder, *texts)]


def refusal(made: TextClassification, value: object) -> list[tuple[str, str]]:
    with pytest.raises(InputRejected) as refused:
        made.encode(value)
    assert all(fault.detail for fault in refused.value.faults)
    return [(fault.pointer, fault.code) for fault in refused.value.faults]


def test_a_text_is_scored_by_its_tokens(folder: Path) -> None:
    assert shares(pipeline(), folder, "fever", "no fever", "no cough.") == pytest.approx([1, 0.5, 0])


def test_a_result_tells_what_was_read(folder: Path) -> None:
    [result] = results(pipeline(), folder, "Fever, no cough.")
    assert result["label"] == "well"
    assert {key: result[key] for key in ("tokens", "windows", "truncated")} == {
        "tokens": 5, "windows": 1, "truncated": False,
    }  # fmt: skip
    schema: Any = pipeline().result_schema()
    assert set(schema["required"]) == result.keys()


TEXTS = st.lists(st.sampled_from(["no", "fever", "cough", "pain"]), min_size=1, max_size=40).map(" ".join)


@given(st.lists(TEXTS, min_size=1, max_size=8))
def test_the_answer_to_a_text_does_not_depend_on_its_company(folder: Path, texts: list[str]) -> None:
    made = pipeline(max_windows=5)
    together, alone = shares(made, folder, *texts), [shares(made, folder, each)[0] for each in texts]
    assert together == pytest.approx(alone, abs=1e-12)
    assert shares(made, folder, *reversed(texts)) == pytest.approx(alone[::-1], abs=1e-12)


def test_the_windows_of_a_text_count_by_their_tokens(folder: Path) -> None:
    made = pipeline(max_windows=2)
    assert shares(made, folder, "no " * 14 + "fever") == pytest.approx([1 / 15])


def test_a_text_that_is_too_long_to_read_is_not_answered(folder: Path) -> None:
    longer, fits = results(pipeline(max_windows=2), folder, "fever " * 29, "fever " * 28)
    assert (longer["truncated"], longer["abstained"], longer["label"]) == (True, True, None)
    assert longer["abstain_reason"] == "longer than the model reads"
    assert (fits["truncated"], fits["abstained"], fits["label"]) == (False, False, "ill")


def test_a_text_of_unknown_words_is_not_answered(folder: Path) -> None:
    half, fewer = results(pipeline(unknown=0.5), folder, "fever toux", "fever toux pain")
    assert (half["label"], half["code"], half["abstained"]) == (None, None, True)
    assert half["abstain_reason"] == "too many words or characters that the model does not know"
    assert (fewer["label"], fewer["abstained"]) == ("well", False)


def test_the_field_has_the_name_that_the_manifest_gives(folder: Path) -> None:
    made = pipeline(field="dialogue", title="Dialogue")
    assert made.decode(made.encode({"dialogue": "no fever"})) == {"dialogue": "no fever"}
    assert ("/text", "unknown_field") in refusal(made, {"text": "no fever"})
    schema: Any = made.input_schema()
    assert schema["properties"]["dialogue"]["maxLength"] == 200
    assert "abstains from a text of more than 16 tokens" in schema["properties"]["dialogue"]["description"]
    windows: Any = pipeline(max_windows=3).input_schema()
    assert "of more than 3 windows of 16 tokens" in windows["properties"]["text"]["description"]
    assert schema["examples"] == [{"dialogue": "no fever"}]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "too_short"),
        ("f" * 201, "too_long"),
        ("fever " * 200_000, "too_long"),
        (" \n\t", "blank_text"),
        ("?!\u2026 \U0001f600", "blank_text"),
        ("no\x00fever", "unreadable_text"),
        ("no\x1bfever", "unreadable_text"),
        ("no\x92fever", "unreadable_text"),  # an apostrophe of Windows-1252, decoded as Latin-1
        ("f\ufffdver", "unreadable_text"),
        (3, "wrong_type"),
        (None, "wrong_type"),
        (["no fever"], "wrong_type"),
    ],
)
def test_what_is_no_text_is_refused(text: object, code: str) -> None:
    assert refusal(pipeline(), {"text": text}) == [("/text", code)]


def test_half_a_surrogate_pair_is_refused() -> None:
    assert refusal(pipeline(), {"text": "no \ud83d fever"}) == [("", "not_json")]


@pytest.mark.parametrize(
    "text", ["line\nbreak\tand\r\ntab", "page\fbreak\v", "caf\u00e9", "cafe\u0301 \U0001f600", "7"]
)
def test_white_space_accents_and_signs_are_taken(text: str) -> None:
    made = pipeline()
    assert made.decode(made.encode({"text": text})) == {"text": text}


@pytest.mark.parametrize(
    ("script", "text"),
    [
        (LATIN, "患者三天前开始发热伴有咳嗽没有胸痛也没有呼吸困难。"),
        (LATIN, "пациент кашляет третий день"),
        ({"name": "han", "share": 0.05}, "The patient has had a fever for three days."),
        ({"name": "han", "share": 0.3}, "\uff34\uff48\uff45 patient has had a fever 三天."),
    ],
)  # fmt: skip
def test_a_text_in_another_script_is_refused(script: dict[str, Any], text: str) -> None:
    assert refusal(pipeline(script=script), {"text": text}) == [("/text", "wrong_script")]


@pytest.mark.parametrize(
    ("script", "text"),
    [
        (LATIN, "发热 三天"),  # too few letters to judge by
        (LATIN, "\uff26\uff25\uff36\uff25\uff32" * 5),  # full width, as Chinese keyboards write it
        (LATIN, "Temperature 38.5 \u00b0C, \u03b2-blocker stopped, \uff21\uff22\uff23"),
        ({"name": "han", "share": 0.05}, "年龄18\uff5e65岁ECOG performance status 0-1分"),
        ({"name": "han", "share": 0.05}, "ALT\u22642.5\u00d7ULN"),
    ],
)
def test_terms_of_another_script_are_taken(script: dict[str, Any], text: str) -> None:
    pipeline(script=script).encode({"text": text})


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"max_tokens": 20}, "max_tokens"),  # padding goes to multiples of 16
        ({"overlap": 9, "max_windows": 2}, "whole"),
        ({"overlap": 2}, "whole"),
        ({"tokenizer": "../tokenizer.json"}, "tokenizer"),
        ({"field": "Text"}, "field"),
        ({"script": {"name": "latin", "share": 0}}, "script.share"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(changed: dict[str, Any], key: str) -> None:
    with pytest.raises(ManifestInvalid) as refused:
        pipeline(**changed)
    assert any(key in fault.place or key == "whole" for fault in refused.value.faults)


def graph() -> onnx.ModelProto:
    """fever_share as a graph, which takes any number of rows and tokens."""
    nodes = [
        helper.make_node("Equal", ["input_ids", "fever"], ["found"]),
        helper.make_node("Cast", ["found"], ["ones"], to=TensorProto.INT64),
        helper.make_node("Mul", ["ones", "attention_mask"], ["counted"]),
        helper.make_node("ReduceSum", ["counted", "axis"], ["sum"], keepdims=1),
        helper.make_node("ReduceSum", ["attention_mask", "axis"], ["length"], keepdims=1),
        helper.make_node("Cast", ["sum"], ["above"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["length"], ["below"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["above", "below"], ["probability"]),
    ]
    feeds = ["input_ids", "attention_mask"]
    tensors = helper.make_graph(
        nodes,
        "fever",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["rows", "tokens"]) for name in feeds],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["rows", 1])],
        [
            numpy_helper.from_array(np.array(FEVER, np.int64), "fever"),
            numpy_helper.from_array(np.array([1], np.int64), "axis"),
        ],
    )
    return helper.make_model(tensors, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A good, sealed bundle."""
    folder = write_tokenizer(tmp_path / "bundle")
    (folder / "manifest.toml").write_text(toml(manifest_table("text-classification", max_windows=4)))
    (folder / "CARD.md").write_text("# dose-effect\n\nMade up for tests.\n")
    (folder / "model.onnx").write_bytes(graph().SerializeToString())
    texts = ["fever", "no fever", "no cough.", "fever " * 20, "caf\u00e9", "no " * 33]
    cases = [{"input": {"text": text}, "expected": {}} for text in texts]
    (folder / "golden.json").write_text(json.dumps({"cases": cases}))
    renew_golden(folder, CpuRun())
    seal_bundle(folder)
    return folder


def test_a_bundle_with_a_tokenizer_is_publishable(bundle: Path) -> None:
    assert check_bundle(bundle) == []


def test_a_bundle_with_a_damaged_tokenizer_is_refused(bundle: Path) -> None:
    (bundle / "tokenizer.json").write_bytes((bundle / "tokenizer.json").read_bytes()[:-40])
    seal_bundle(bundle)
    assert told(check_bundle(bundle)) == {("tokenizer.json", "tokenizer_invalid")}


def test_a_bundle_with_the_tokenizer_of_another_model_is_refused(bundle: Path) -> None:
    table = json.loads((bundle / "tokenizer.json").read_text())
    vocabulary = table["model"]["vocab"]
    vocabulary["fever"], vocabulary["cough"] = vocabulary["cough"], vocabulary["fever"]
    write_tokenizer(bundle, model=table["model"])
    seal_bundle(bundle)
    assert ("golden.json: case 0", "golden_alone") in told(check_bundle(bundle))
    vocabulary["more"] = len(vocabulary)
    write_tokenizer(bundle, model=table["model"])
    seal_bundle(bundle)
    assert told(check_bundle(bundle)) == {("tokenizer.json", "tokenizer_differs")}
