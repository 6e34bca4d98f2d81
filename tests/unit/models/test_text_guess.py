"""Bundles of text classifiers started from an ONNX file and the tokenizer beside it."""

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from models.bundle import BundleRefused
from models.checking import sealed
from models.manifest import FILL_IN
from models.signature import Signature, Tensor
from models.skeleton import write_skeleton
from models.text_guess import guessed_text, is_writer, known_tokens, takes_left_padding
from tests.unit.models.example_decoders import CACHE, decoder_graph, lone_graph
from tests.unit.models.example_texts import TOKENS, write_tokenizer


def graph(
    output: str = "logits", feeds: tuple[str, ...] = ("input_ids", "attention_mask")
) -> onnx.ModelProto:
    """Words and places looked up in tables, as BERT begins: the mean over shown tokens of both is the scores of two classes."""
    chance = np.random.default_rng(1)
    tables = {"words": chance.normal(size=(len(TOKENS), 2)), "places": chance.normal(size=(70, 2))}
    nodes = [
        helper.make_node("Gather", ["words", "input_ids"], ["word_vectors"]),
        helper.make_node("Shape", ["input_ids"], ["length"], start=1, end=2),
        helper.make_node("Squeeze", ["length", "axis_0"], ["end"]),
        helper.make_node("Range", ["zero", "end", "one"], ["numbers"]),
        helper.make_node("Gather", ["places", "numbers"], ["place_vectors"]),
        helper.make_node("Add", ["word_vectors", "place_vectors"], ["vectors"]),
        helper.make_node("Unsqueeze", ["attention_mask", "axis_2"], ["shown"]),
        helper.make_node("Cast", ["shown"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["vectors", "mask"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "axis_1"], [output], keepdims=0),
    ]
    whole = {"axis_0": [0], "axis_1": [1], "axis_2": [2], "zero": 0, "one": 1}
    constants = [numpy_helper.from_array(table.astype(np.float32), name) for name, table in tables.items()]
    constants += [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in whole.items()]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["rows", "tokens"]) for name in feeds]
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["rows", 2])]
    tensors = helper.make_graph(nodes, "text", inputs, outputs, constants)
    return helper.make_model(tensors, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def started(tmp_path: Path, model: onnx.ModelProto) -> Path:
    folder = write_tokenizer(tmp_path / "export")
    onnx.save(model, str(folder / "model.onnx"))
    write_skeleton(folder / "model.onnx", tmp_path / "report-kind", "report-kind")
    return tmp_path / "report-kind"


def test_a_graph_of_tokens_and_its_tokenizer_need_only_their_places_filled_in(tmp_path: Path) -> None:
    folder = started(tmp_path, graph())
    for name in ("manifest.toml", "CARD.md"):
        (folder / name).write_text((folder / name).read_text().replace(FILL_IN, "Filled in"))
    texts = ["fever", "no fever", "cough", "no cough", "pain."]
    (folder / "golden.json").write_text(json.dumps({"cases": [{"input": {"text": each}} for each in texts]}))
    parameters = sealed(folder, golden=True).manifest.parameters
    assert (parameters["vocabulary"], parameters["max_tokens"]) == (len(TOKENS), 64)
    assert (parameters["output"], parameters["token_types"]) == ("logits", False)


def test_types_of_tokens_are_fed_if_the_graph_takes_them(tmp_path: Path) -> None:
    feeds = ("input_ids", "attention_mask", "token_type_ids")
    assert "token_types = true" in (started(tmp_path, graph(feeds=feeds)) / "manifest.toml").read_text()


def test_a_graph_of_tokens_that_gives_no_scores_is_served_as_tensors(tmp_path: Path) -> None:
    folder = started(tmp_path, graph("vectors_of_texts"))
    assert 'pipeline = "tensor"' in (folder / "manifest.toml").read_text()
    assert not (folder / "tokenizer.json").exists()


@pytest.mark.parametrize("ends", [3, [3]])
def test_an_exported_decoder_needs_only_its_places_filled_in(tmp_path: Path, ends: object) -> None:
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "config.json").write_text(json.dumps({"eos_token_id": ends, "model_type": "gpt2"}))
    folder = started(tmp_path, lone_graph())
    for name in ("manifest.toml", "CARD.md"):
        (folder / name).write_text((folder / name).read_text().replace(FILL_IN, "Filled in"))
    texts = ["fever", "no fever", "cough", "no cough", "pain."]
    (folder / "golden.json").write_text(json.dumps({"cases": [{"input": {"text": each}} for each in texts]}))
    manifest = sealed(folder, golden=True).manifest
    assert (manifest.kind, manifest.pipeline) == ("generation", "text-generation")
    limits = [manifest.parameters[name] for name in ("vocabulary", "max_tokens", "max_new_tokens")]
    assert (manifest.parameters["cache"], manifest.parameters["end"], limits) == (CACHE, [3], [12, 32, 32])
    assert manifest.parameters["left_padding"] is True


@pytest.mark.parametrize(("masked", "placed"), [(False, False), (True, False), (True, True)])
def test_a_decoder_without_a_cache_writes_texts_too(tmp_path: Path, masked: bool, placed: bool) -> None:
    folder = started(tmp_path, lone_graph(cached=False, masked=masked, placed=placed))
    manifest = tomllib.loads((folder / "manifest.toml").read_text())
    assert (manifest["kind"], manifest["pipeline"]) == ("generation", "text-generation")
    assert manifest["parameters"]["vocabulary"] == len(TOKENS)
    assert "cache" not in manifest["parameters"]
    assert manifest["parameters"].get("left_padding", False) is placed
    assert (folder / "tokenizer.json").exists()


def test_a_table_of_words_that_is_looked_up_by_reshaped_ids_is_none_of_places() -> None:
    """As in GPT-2 of Optimum, whose words became the positions that the model has."""
    nodes = [
        helper.make_node("Reshape", ["input_ids", "flat"], ["ids"]),
        helper.make_node("Gather", ["words", "ids"], ["vectors"]),
        helper.make_node("Gather", ["places", "numbers"], ["standing"]),
    ]
    tables = [
        numpy_helper.from_array(np.zeros((count, 2), np.float32), name)
        for name, count in (("words", 400), ("places", 128))
    ]
    tokens = Tensor("input_ids", "int64", (None, None))
    scores = Tensor("logits", "float32", (None, None, 400))
    found = guessed_text(Signature((tokens,), (scores,)), helper.make_graph(nodes, "writer", [], [], tables))
    assert (found.vocabulary, found.max_tokens) == (400, 128)


def limits_of(folder: Path) -> dict[str, object]:
    """What a manifest says of tokens."""
    parameters = tomllib.loads((folder / "manifest.toml").read_text())["parameters"]
    names = ("vocabulary", "max_tokens", "max_new_tokens", "cache")
    return {name: parameters[name] for name in names if name in parameters}


def test_a_decoder_gets_the_positions_of_its_configuration_and_the_tokens_of_its_tokenizer(
    tmp_path: Path,
) -> None:
    """Tables of words are often padded to more than the tokenizer has, and a model of rotary positions has no table of them."""
    (tmp_path / "export").mkdir()
    config = {"max_position_embeddings": 48, "eos_token_id": 3}
    (tmp_path / "export" / "config.json").write_text(json.dumps(config))
    model = lone_graph()
    words = next(each for each in model.graph.initializer if each.name == "words")
    padded = np.pad(numpy_helper.to_array(words), ((0, 4), (0, 0)))
    words.CopyFrom(numpy_helper.from_array(padded, "words"))
    assert limits_of(started(tmp_path, model)) == {
        "vocabulary": len(TOKENS), "max_tokens": 16, "max_new_tokens": 32, "cache": CACHE,
    }  # fmt: skip


def test_the_builder_of_genai_says_the_size_of_heads_beside_its_graph(tmp_path: Path) -> None:
    """Its graphs leave that axis open; they were served as lists of keys and values."""
    (tmp_path / "export").mkdir()
    decoder = {"head_size": CACHE["head_size"], "num_key_value_heads": CACHE["heads"]}
    config = {"model": {"context_length": 64, "eos_token_id": [3], "decoder": decoder}, "search": {}}
    (tmp_path / "export" / "genai_config.json").write_text(json.dumps(config))
    model = lone_graph(placed=False)
    for tensor in (*model.graph.input, *model.graph.output):
        if ".key" in tensor.name or ".value" in tensor.name:
            tensor.type.tensor_type.shape.dim[3].dim_param = "kv_cache_dim"
    folder = started(tmp_path, model)
    assert limits_of(folder)["cache"] == CACHE
    assert "end = [3]" in (folder / "manifest.toml").read_text()


def test_settings_of_the_exporter_that_no_key_follows_are_named(tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    settings = {"eos_token_id": 3, "repetition_penalty": 1.2, "min_length": 0, "no_repeat_ngram_size": 3}
    (tmp_path / "export" / "generation_config.json").write_text(json.dumps(settings))
    folder = write_tokenizer(tmp_path / "export")
    onnx.save(lone_graph(), str(folder / "model.onnx"))
    left = dict(write_skeleton(folder / "model.onnx", tmp_path / "writer", "writer").left)
    named = left["generation_config.json"]
    assert "repetition_penalty, no_repeat_ngram_size" in named
    assert "min_length" not in named


def test_scores_of_each_token_that_are_not_of_the_vocabulary_are_no_text() -> None:
    tokens, scores = Tensor("input_ids", "int64", (None, None)), Tensor("logits", "float32", (None, None, 12))
    assert is_writer(Signature((tokens,), (scores,)), {12, None})
    assert not is_writer(Signature((tokens,), (scores,)), {13, None})
    assert not is_writer(Signature((tokens,), (replace(scores, shape=(None, 12)),)), {12})
    assert not is_writer(Signature((tokens,), (replace(scores, shape=(None, None, None)),)), {12, None})


@pytest.mark.parametrize(
    ("content", "known"),
    [
        ('{"model": {"vocab": {"a": 0, "b": 1}}, "added_tokens": [{"id": 2}]}', 3),
        ('{"model": {"vocab": [["a", 0.5], ["b", 0.5]]}}', 2),
        ('{"model": {}}', None), ("[]", None), ("no JSON", None), (None, None),
    ],
)  # fmt: skip
def test_the_tokens_of_a_tokenizer_are_counted_with_those_added(
    tmp_path: Path, content: str | None, known: int | None
) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    assert known_tokens(tmp_path) == known


def test_a_decoder_is_padded_only_if_it_takes_positions_and_reads_its_mask(tmp_path: Path) -> None:
    (tmp_path / "without").mkdir()
    folder = started(tmp_path / "without", lone_graph(placed=False))
    assert "left_padding" not in (folder / "manifest.toml").read_text()
    counting = lone_graph().graph
    counting.node.append(helper.make_node("GroupQueryAttention", [], ["made"], domain="com.microsoft"))
    tokens = [Tensor(name, "int64", (None, None)) for name in ("input_ids", "attention_mask", "position_ids")]
    assert takes_left_padding(tokens, lone_graph().graph)
    assert not takes_left_padding(tokens, counting)


@pytest.mark.parametrize("written", [None, "no JSON", "[]", '{"eos_token_id": "</s>"}'])
def test_tokens_that_end_an_answer_must_be_given_where_no_file_names_them(
    tmp_path: Path, written: str | None
) -> None:
    (tmp_path / "export").mkdir()
    if written is not None:
        (tmp_path / "export" / "generation_config.json").write_text(written)
    folder = write_tokenizer(tmp_path / "export")
    onnx.save(lone_graph(), str(folder / "model.onnx"))
    left = write_skeleton(folder / "model.onnx", tmp_path / "writer", "writer").left
    assert ("manifest.toml: parameters.end", "give the tokens that end an answer") in left


@pytest.mark.parametrize(
    ("model", "seen"),
    [
        (decoder_graph(past=False), "encoder_hidden_states"),
        (decoder_graph(past=True), "past_key_values.0.encoder.key"),
    ],
)
def test_a_decoder_without_its_encoder_starts_no_bundle_and_is_told(
    model: onnx.ModelProto, seen: str, tmp_path: Path
) -> None:
    with pytest.raises(BundleRefused) as refused:
        started(tmp_path, model)
    [fault] = refused.value.faults
    assert fault.code == "pipeline_unknown"
    assert seen in fault.detail
    assert "[graphs.encoder]" in fault.detail
    assert not (tmp_path / "report-kind").exists()
