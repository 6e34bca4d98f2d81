"""Texts that a model writes: which options and inputs are taken, what the answer says, and that company does not matter."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.bundle import fitted, read_manifest, renew_golden, seal_bundle
from models.checking import check_bundle
from models.manifest import BundleRefused, ManifestInvalid, ModelManifest, toml_table
from models.pipelines import Array, Case, InputRejected, PredictionInvalid, load_pipeline
from models.pipelines.text_generation import RUN_TOKENS, TextGeneration
from models.sandbox import CpuRun
from tests.unit.models.example_bundles import manifest, manifest_table, toml
from tests.unit.models.example_decoders import CACHE, LAYOUTS, PLACES, lone_graph, write_generator
from tests.unit.models.example_texts import TOKENS, write_tokenizer

# As somebody writes it for a model that Optimum or onnxruntime-genai exported.
FIFTEEN_LINES = """\
name = "tiny-writer"
version = "1.0.0"
kind = "recommendation"
pipeline = "text-generation"
title = "A text that goes on"
summary = "Random weights."
license = "CC0-1.0"
[parameters]
longest = 200
vocabulary = 12
max_tokens = 16
max_new_tokens = 12
cache = { layers = 2, heads = 2, head_size = 4 }
end = [3]
example = "no fever"
"""


def pipeline(**parameters: Any) -> TextGeneration:
    made = load_pipeline(manifest("text-generation", **parameters))
    assert isinstance(made, TextGeneration)
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokenizer(tmp_path_factory.mktemp("bundle"))


def follows(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
    """A graph: after each token the one behind it in the vocabulary, and after the last one the end."""
    assert graph == "model"
    ids = feeds["input_ids"]
    after = np.where(ids == TOKENS["."], TOKENS["[SEP]"], ids + 1)
    after[ids == TOKENS["[SEP]"]] = TOKENS["no"]
    return {
        "logits": np.eye(14, dtype=np.float32)[after] * 20
    }  # two more than the tokenizer has, as of padded tables


def results(made: TextGeneration, folder: Path, *texts: str, run: Any = follows, **options: Any) -> list[Any]:
    chosen = made.check_options(options)
    cases = [Case(made.encode({"text": text}), chosen) for text in texts]
    return [each.result for each in made.open(folder).score(run, cases)]


def refused(made: TextGeneration, **options: Any) -> list[tuple[str, str]]:
    with pytest.raises(InputRejected) as rejected:
        made.check_options(options)
    return [(fault.pointer, fault.code) for fault in rejected.value.faults]


def test_an_answer_is_the_text_without_special_tokens_and_says_how_it_ended(folder: Path) -> None:
    [result] = results(pipeline(), folder, "no fever")
    assert result.pop("mean_log_probability") == pytest.approx(0, abs=1e-6)
    assert result == {
        "type": "text", "text": "no fever cough pain caf ##\u00e9 rest .", "finish": "end", "new_tokens": 8, "seed": None,
        "abstained": False, "abstain_reason": None, "tokens": 2, "truncated": False,
    }  # fmt: skip


def test_the_limit_of_tokens_cuts_an_answer_off(folder: Path) -> None:
    [result] = results(pipeline(), folder, "no fever", max_new_tokens=3)
    assert (result["text"], result["finish"], result["new_tokens"]) == ("no fever cough", "length", 3)


@pytest.mark.parametrize(
    ("stop", "text"), [(["pain"], "no fever cough"), (["rest", "fever"], "no"), (["no"], "")]
)
def test_a_stop_word_cuts_the_answer_off_in_front_of_it(folder: Path, stop: list[str], text: str) -> None:
    [result] = results(pipeline(), folder, "no fever", stop=stop)
    assert (result["text"], result["finish"]) == (text, "stop")


def test_a_sample_states_its_seed_and_comes_out_the_same_again(folder: Path) -> None:
    def level(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
        return {"logits": np.zeros((*feeds["input_ids"].shape, 12), np.float32)}

    first, again, other, unsaid = (
        results(pipeline(), folder, "fever", run=level, temperature=1.0, **seed)[0]
        for seed in ({"seed": 7}, {"seed": 7}, {"seed": 8}, {})
    )
    assert first == again
    assert (first["seed"], unsaid["seed"]) == (7, 0)
    assert other["text"] != first["text"]


def test_options_are_limited_by_the_manifest() -> None:
    made = pipeline(max_new_tokens=10, token_budget=30)
    assert made.check_options({"beams": 3, "max_new_tokens": 10}) == {"beams": 3, "max_new_tokens": 10}
    out = "out_of_range"
    assert refused(made, max_new_tokens=11) == [("/max_new_tokens", out)]
    assert refused(made, max_new_tokens=0) == [("/max_new_tokens", out)]
    assert refused(made, beams=4) == [("/beams", out)]
    assert refused(made, beams=17) == [("/beams", out)]
    assert refused(made, temperature=-0.1) == [("/temperature", out)]
    assert refused(made, temperature=1.0, seed=2**32) == [("/seed", out)]
    assert refused(made, temperature=1.0, seed=-1) == [("/seed", out)]
    assert refused(made, temperature=1.0, top_p=0.0) == [("/top_p", out)]
    assert refused(made, stop=["a"] * 9) == [("/stop", "too_long")]
    assert refused(made, stop=[""]) == [("/stop/0", "too_short")]
    assert refused(made, best_of=2) == [("/best_of", "unknown_option")]


def test_a_budget_that_is_passed_says_what_to_send() -> None:
    with pytest.raises(InputRejected) as rejected:
        pipeline(token_budget=20).check_options({"beams": 2})
    [fault] = rejected.value.faults
    assert fault.detail == "beams times max_new_tokens must be at most 20: send fewer of either."


def test_options_that_say_nothing_together_are_refused() -> None:
    made = pipeline()
    assert refused(made, beams=2, temperature=0.5) == [("/beams", "invalid_value")]
    assert refused(made, seed=1) == [("/seed", "invalid_value")]
    assert refused(made, top_p=0.5, seed=1) == [("/top_p", "invalid_value"), ("/seed", "invalid_value")]


def test_a_sample_of_a_model_with_beams_has_one(folder: Path) -> None:
    made = pipeline(beams=4)
    assert results(made, folder, "fever", temperature=0.1)[0]["text"].startswith("no fever cough")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("fever " * 15, "longer than the model reads"),
        ("fever toux", "too many words or characters that the model does not know"),
    ],
)
def test_a_text_that_was_not_read_is_not_answered(folder: Path, text: str, reason: str) -> None:
    def never(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
        raise AssertionError

    [result] = results(pipeline(), folder, text, run=never)
    assert (result["text"], result["finish"], result["abstain_reason"]) == (None, None, reason)


def test_a_prompt_past_the_limit_of_characters_is_refused_with_the_limit() -> None:
    with pytest.raises(InputRejected) as rejected:
        pipeline().encode({"text": "fever " * 34})
    [fault] = rejected.value.faults
    assert (fault.pointer, fault.code) == ("/text", "too_long")
    assert "200 characters" in fault.detail


def test_the_model_abstains_from_an_answer_of_which_it_is_not_sure(folder: Path) -> None:
    unsure = {
        "limit": -1.0, "false_alarm_rate": 0.0, "catch_rate": 1.0, "foreign_set": "made up", "source": "made up",
    }  # fmt: skip

    def level(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
        shares = follows(feeds, graph)["logits"].copy()
        shares[feeds["input_ids"].shape[1] > 5 and ...] = 0
        return {"logits": shares}

    made = pipeline(confidence=unsure)
    [sure], [doubted] = results(made, folder, "no fever"), results(made, folder, "no fever", run=level)
    assert (sure["abstained"], doubted["abstained"]) == (False, True)
    assert (doubted["text"], doubted["abstain_reason"]) == (
        None,
        "the model is not sure enough of any answer",
    )
    assert doubted["mean_log_probability"] < -1


def test_a_graph_with_fewer_tokens_than_the_vocabulary_is_no_answer(folder: Path) -> None:
    def short(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
        return {"logits": follows(feeds, graph)["logits"][:, :, :11]}

    with pytest.raises(PredictionInvalid, match="scores 11 tokens"):
        results(pipeline(), folder, "no fever", run=short)


def test_scores_that_are_not_finite_name_the_case(folder: Path) -> None:
    def spoilt(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
        scores = follows(feeds, graph)["logits"].copy()
        scores[(feeds["input_ids"] == TOKENS["pain"]).any(axis=1)] = np.nan
        return {"logits": scores}

    with pytest.raises(PredictionInvalid) as invalid:
        results(pipeline(max_new_tokens=2), folder, "no fever", "fever", "pain", run=spoilt)
    assert invalid.value.rows == (2,)


TEXTS = st.lists(st.sampled_from(["no", "fever", "cough", "pain", "rest"]), min_size=1, max_size=9)
BUNDLES: dict[str, Any] = {}


def scored(layout: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, Any]:
    """Pipeline, scoring half and run of a bundle of `layout`, made once."""
    if layout not in BUNDLES:
        place = write_generator(tmp_path_factory.mktemp("bundle"), layout)
        made = read_manifest(place)
        loaded = load_pipeline(made)
        BUNDLES[layout] = loaded, loaded.open(place), fitted(place, made, loaded, CpuRun())
    found: tuple[Any, Any, Any] = BUNDLES[layout]
    return found


@pytest.mark.parametrize(
    "layout",
    ["alone", "alone, left padding", "behind an encoder, split", "behind an encoder, left padding"],
)
@settings(max_examples=20)
@given(data=st.data())
def test_an_answer_does_not_depend_on_its_company(
    layout: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    made, scoring, run = scored(layout, tmp_path_factory)
    texts = data.draw(st.lists(TEXTS.map(" ".join), min_size=2, max_size=8))
    options = [
        data.draw(st.sampled_from([{}, {"beams": 4}, {"max_new_tokens": 3}, {"temperature": 1.0, "seed": 3}]))
        for _ in texts
    ]
    cases = [
        Case(made.encode({"text": text}), made.check_options(chosen))
        for text, chosen in zip(texts, options, strict=True)
    ]
    together = [each.result for each in scoring.score(run, cases)]
    for case, found in zip(cases, together, strict=True):
        [alone] = scoring.score(run, [case])
        for result in (found, alone.result):
            result["mean_log_probability"] = pytest.approx(result["mean_log_probability"], abs=1e-5)
        assert found["text"] == alone.result["text"]
        assert found["finish"] == alone.result["finish"]


@pytest.mark.parametrize(("row_by_row", "lengths"), [(False, {16}), (True, {3, 5})])
def test_an_encoder_that_runs_row_by_row_reads_no_padding(
    row_by_row: bool, lengths: set[int], tmp_path: Path
) -> None:
    """One that is quantized dynamically scales a text by what it is padded with: answers were not those of the exporter."""
    folder = write_generator(tmp_path / "bundle", "behind an encoder, split")
    table = toml_table((folder / "manifest.toml").read_text())
    table["graphs"]["encoder"]["row_by_row"] = row_by_row
    made = load_pipeline(ModelManifest.model_validate(table))
    read, whole = list[int](), fitted(folder, ModelManifest.model_validate(table), made, CpuRun())

    def noted(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
        if graph == "encoder":
            read.append(feeds["input_ids"].shape[1])
        return whole(feeds, graph)

    cases = [
        Case(made.encode({"text": text}), made.check_options({}))
        for text in ("fever", "no fever cough", "pain")
    ]
    made.open(folder).score(noted, cases)
    assert {*read} == lengths


def test_left_padding_needs_a_graph_that_takes_mask_and_positions(tmp_path: Path) -> None:
    with pytest.raises(BundleRefused, match="attention_mask"):
        write_generator(tmp_path / "bundle", "alone, ids and cache only", left_padding=True)


def test_a_graph_that_reads_what_is_padded_is_refused(tmp_path: Path) -> None:
    folder = write_generator(tmp_path / "bundle", "alone, left padding")
    (folder / "model.onnx").write_bytes(lone_graph(by_place=True).SerializeToString())
    renew_golden(folder, CpuRun())
    seal_bundle(folder)
    assert {fault.code for fault in check_bundle(folder)} == {"golden_batched"}


def test_a_run_keeps_no_more_tokens_than_its_limit(folder: Path) -> None:
    rows: list[int] = []

    def counted(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
        rows.append(len(feeds["input_ids"]))
        return follows(feeds, graph)

    made = pipeline(beams=16, token_budget=100_000)
    found = results(made, folder, *["no fever"] * 100, run=counted)
    assert len({each["text"] for each in found}) == 1
    assert 1 < max(rows) * (4 + 12) <= RUN_TOKENS
    assert (rows[0], rows.count(36)) == (64, 1)  # then each with its beams


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"end": []}, "end"),
        ({"end": [12]}, ""),
        ({"end": [3, 3]}, ""),
        ({"cache": {"layers": 2, "heads": 2}}, "cache.head_size"),
        ({"max_windows": 2}, ""),
        ({"beams": 16, "token_budget": 100}, ""),
        ({"start": 1}, "start"),
        ({"start": []}, "start"),
        ({"start": [1, 12]}, ""),
        ({"max_new_tokens": 0}, "max_new_tokens"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(changed: dict[str, Any], key: str) -> None:
    with pytest.raises(ManifestInvalid) as rejected:
        pipeline(**changed)
    assert f"parameters{'.' * bool(key)}{key}" in rejected.value.faults[0].place


def test_a_decoder_behind_an_encoder_needs_the_token_that_it_begins_with() -> None:
    table = manifest_table("text-generation")
    table["graphs"] = {"encoder": {"file": "encoder.onnx"}, "decoder": {"file": "decoder.onnx"}}
    with pytest.raises(ManifestInvalid, match="decoder_start_token_id"):
        load_pipeline(ModelManifest.model_validate(table))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_bundle_of_each_layout_is_publishable(layout: str, tmp_path: Path) -> None:
    assert check_bundle(write_generator(tmp_path / "bundle", layout)) == []


@pytest.mark.parametrize(
    "layout",
    [
        "alone",
        "alone, without a cache",
        "behind an encoder, split",
        "behind an encoder, merged, begun by two tokens",
    ],
)
@pytest.mark.parametrize(("more", "codes"), [(0, []), (1, ["longest_text_failed"])])
def test_more_tokens_than_the_graph_has_places_for_are_refused(
    layout: str, more: int, codes: list[str], tmp_path: Path
) -> None:
    """A text longer than the golden ones, or a longer answer, failed in the worker."""
    begins = 2 if "two tokens" in layout else 1
    most = (
        PLACES + 1 - begins if "encoder" in layout else PLACES - 15
    )  # the last token of an answer is not run
    folder = write_generator(tmp_path / "bundle", layout, max_tokens=16, max_new_tokens=most)
    path, golden = folder / "manifest.toml", folder / "golden.json"
    table = toml_table(path.read_text())
    table["parameters"]["max_new_tokens"] += more
    del table["files"]
    path.write_text(toml(table))
    cases = json.loads(golden.read_text())["cases"]
    short = [case | {"options": case.get("options", {}) | {"max_new_tokens": 2}} for case in cases]
    golden.write_text(json.dumps({"cases": short}))
    renew_golden(folder, CpuRun())
    seal_bundle(folder)
    assert [fault.code for fault in check_bundle(folder)] == codes


def test_a_decoder_of_other_heads_than_the_manifest_says_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleRefused, match="has another shape"):
        write_generator(tmp_path / "bundle", "alone", cache=CACHE | {"head_size": 5})


def test_a_cache_of_a_decoder_that_takes_none_is_to_be_left_out(tmp_path: Path) -> None:
    with pytest.raises(BundleRefused) as refused:
        write_generator(tmp_path / "bundle", "alone, without a cache", cache=CACHE)
    for side in ("past_key_values.0.key", "present.0.key"):
        [detail] = [
            fault.detail
            for fault in refused.value.faults
            if f"'{side}'" in fault.detail.split(" is missing")[0]
        ]
        assert (
            "leave `cache` out of [parameters] if the decoder keeps no keys and values, else write" in detail
        )


def test_an_exported_decoder_serves_from_a_manifest_of_fifteen_lines(tmp_path: Path) -> None:
    assert len(FIFTEEN_LINES.splitlines()) == 15
    write_tokenizer(tmp_path)
    (tmp_path / "manifest.toml").write_text(FIFTEEN_LINES)
    (tmp_path / "CARD.md").write_text("# tiny-writer\n\nRandom weights, for tests.\n")
    (tmp_path / "model.onnx").write_bytes(lone_graph().SerializeToString())
    inputs = [{"input": {"text": "fever " * count}} for count in range(1, 6)]
    (tmp_path / "golden.json").write_text(json.dumps({"cases": inputs}))
    renew_golden(tmp_path, CpuRun())
    seal_bundle(tmp_path)
    assert check_bundle(tmp_path) == []
    cases = json.loads((tmp_path / "golden.json").read_text())["cases"]
    assert len({case["expected"]["text"] for case in cases}) > 1
