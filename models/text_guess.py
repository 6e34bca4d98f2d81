"""What can be read from a graph of texts, as Hugging Face exports it: its vocabulary, and how many tokens it takes."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from models.bundle import BundleRefused, Fault
from models.export_config import ExportConfig, read_export_config
from models.manifest import FILL_IN
from models.signature import Signature, Tensor

TEXTS: Final = "text-classification"
WRITERS: Final = "text-generation"
TOKENIZER: Final = "tokenizer.json"
IDS: Final = "input_ids"
TYPES: Final = "token_type_ids"
_INPUTS: Final = frozenset((IDS, "attention_mask", TYPES))
_STEP: Final = 16  # of max_tokens
_MOST: Final = 512  # where the graph tells nothing: BERT's
_SHORT: Final = 4096  # rows of a table of positions, at most
_COUNTS_MASK: Final = "GroupQueryAttention"  # of ONNX Runtime, in graphs of onnxruntime-genai's builder
_KEYS: Final = "past_key_values."
_STATES: Final = "encoder_hidden_states"
_NEEDS_ENCODER: Final = (
    "it is the decoder of a model of encoder and decoder, and cannot write without its encoder, which this file lacks. Make a "
    "bundle of `text-generation` by hand, with the encoder's file in [graphs.encoder] and this one in [graphs.decoder]"
)


@dataclass(frozen=True)
class TextTable:
    """A pipeline, lines of its `[parameters]`, and what remains to be done: keys and advice.

    `unfollowed` are settings of the exporter that no key is for.
    """

    pipeline: str
    lines: tuple[str, ...]
    left: tuple[tuple[str, str], ...]
    unfollowed: tuple[str, ...] = ()


def text_table(signature: Signature, graph: Any, folder: Path) -> TextTable | None:
    """What to write for a graph of texts that was exported into `folder`; None for other graphs.

    Raises BundleRefused for the decoder of a model of encoder and decoder.
    """
    if seen := behind_encoder(signature):
        raise BundleRefused(
            Fault("model.onnx", "pipeline_unknown", f"the graph takes {seen}: {_NEEDS_ENCODER}")
        )
    config, known, found = read_export_config(folder), known_tokens(folder), guessed_text(signature, graph)
    cache = guessed_cache(signature, config.head_size)
    if cache or is_writer(signature, {found.vocabulary, known}):
        padding = takes_left_padding(signature.inputs, graph)
        written = replace(
            found,
            vocabulary=known or found.vocabulary,
            max_tokens=min(found.max_tokens, config.positions or found.max_tokens),
        )
        return _of_decoder(cache, written, config, padding=padding)
    if not is_text(signature):
        return None
    lines = [f"max_tokens = {found.max_tokens}", f"token_types = {str(found.token_types).lower()}"]
    advice = "check what was read from the graph's tables; give the script, too"
    return _table(TEXTS, found, lines, ("vocabulary, max_tokens", advice))


def _of_decoder(
    cache: CacheGuess | None, found: TextGuess, config: ExportConfig, *, padding: bool
) -> TextTable:
    """Half of the positions for what is read, the rest for what is written."""
    half = max(_STEP, found.max_tokens // 2 // _STEP * _STEP)
    lines = [
        f"max_tokens = {half}",
        f"max_new_tokens = {max(1, found.max_tokens - half)}",
        *(
            [f"cache = {{ layers = {cache.layers}, heads = {cache.heads}, head_size = {cache.head_size} }}"]
            if cache
            else []
        ),
        f"end = {[*config.ends]}",
        *(["left_padding = true"] if padding else []),
    ]
    advice = "check what was read from the graph's tables: tokens, and the positions that the model has"
    end = "check the tokens that end an answer" if config.ends else "give the tokens that end an answer"
    table = _table(WRITERS, found, lines, ("vocabulary, max_tokens, max_new_tokens", advice), ("end", end))
    return replace(table, unfollowed=config.unfollowed)


def _table(pipeline: str, found: TextGuess, lines: Sequence[str], *left: tuple[str, str]) -> TextTable:
    first, last = ("longest = 20000", f"vocabulary = {found.vocabulary or 1}"), f'example = "{FILL_IN}"'
    return TextTable(pipeline, (*first, *lines, last), (*left, ("example", "a text to show, made up")))


@dataclass(frozen=True)
class TextGuess:
    """`vocabulary` is None if no table of words is found."""

    vocabulary: int | None
    max_tokens: int
    token_types: bool


def is_text(signature: Signature) -> bool:
    """Whether the graph classifies texts: it takes ids and mask of any length, and gives logits or probabilities."""
    inputs = signature.inputs
    whole = all(tensor.element in {"int64", "int32"} and len(tensor.shape) == 2 for tensor in inputs)
    scores = any(word in tensor.name.lower() for tensor in signature.outputs for word in ("logit", "prob"))
    return whole and scores and {IDS, "attention_mask"} <= {tensor.name for tensor in inputs} <= _INPUTS


def is_writer(signature: Signature, vocabularies: Collection[int | None]) -> bool:
    """Whether the graph is a decoder without a cache: it scores, for each token, all those of one of these vocabularies."""
    names = {tensor.name for tensor in signature.inputs}
    logits = [tensor.shape for tensor in signature.outputs if tensor.name == "logits"]
    scores = any(len(shape) == 3 and shape[2] is not None and shape[2] in vocabularies for shape in logits)
    return scores and IDS in names <= {IDS, "attention_mask", "position_ids"}


def known_tokens(folder: Path) -> int | None:
    """How many tokens the tokenizer of the export in `folder` has; None if there is none that can be read."""
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        content = json.loads((folder / TOKENIZER).read_text(encoding="utf-8"))
        ids = [each["id"] for each in content.get("added_tokens", ())]
        vocabulary = content["model"]["vocab"]
        ids += vocabulary.values() if isinstance(vocabulary, dict) else range(len(vocabulary))
        return 1 + int(max(ids))
    return None


def behind_encoder(signature: Signature) -> str:
    """The input by which the graph is seen to be a decoder that reads what an encoder made of a text; "" for others."""
    names = [tensor.name for tensor in signature.inputs]
    writes = IDS in names and any(tensor.name == "logits" for tensor in signature.outputs)
    of_encoder = [
        each for each in names if each == _STATES or (each.startswith(_KEYS) and ".encoder." in each)
    ]
    return of_encoder[0] if writes and of_encoder else ""


@dataclass(frozen=True)
class CacheGuess:
    """The keys and values that a decoder takes: how many layers, of how many heads of which size."""

    layers: int
    heads: int
    head_size: int


def guessed_cache(signature: Signature, head_size: int | None = None) -> CacheGuess | None:
    """The cache of a decoder alone, as Optimum and onnxruntime-genai's builder name its tensors; None for other graphs.

    `head_size` is for graphs that do not say it, as the builder's.
    """
    names = {tensor.name for tensor in signature.outputs}
    keys = [each for each in signature.inputs if each.name.startswith(_KEYS) and each.name.endswith(".key")]
    alone = all(each.name == f"{_KEYS}{layer}.key" for layer, each in enumerate(keys))
    if not (keys and alone and "logits" in names and IDS in {each.name for each in signature.inputs}):
        return None
    _, heads, _, size = keys[0].shape if len(keys[0].shape) == 4 else (None, None, None, None)
    size = size or head_size
    return None if heads is None or size is None else CacheGuess(len(keys), heads, size)


def takes_left_padding(inputs: Sequence[Tensor], graph: Any) -> bool:
    """Whether texts of a decoder may be padded in front; not if it counts its mask instead of reading it."""
    counts = any(node.op_type == _COUNTS_MASK for node in graph.node)
    return not counts and {"attention_mask", "position_ids"} <= {tensor.name for tensor in inputs}


def guessed_text(signature: Signature, graph: Any) -> TextGuess:
    """From the tables that the graph looks up: that of `input_ids` holds words, the longest other short one places.

    A decoder scores as many tokens as its table of words has, which it may look up by ids of another shape.
    """
    inputs = signature.inputs
    scored = {
        tensor.shape[-1] for tensor in signature.outputs if tensor.name == "logits" and len(tensor.shape) == 3
    }
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    lookups = [
        node for node in graph.node if node.op_type == "Gather" and len(shapes.get(node.input[0], ())) == 2
    ]
    words = [shapes[node.input[0]][0] for node in lookups if node.input[1] == IDS]
    words += [shapes[node.input[0]][0] for node in lookups if shapes[node.input[0]][0] in scored]
    places = [
        length
        for node in lookups
        if node.input[1] not in _INPUTS
        and _STEP <= (length := shapes[node.input[0]][0]) <= _SHORT
        and length not in scored
    ]
    most = max(places, default=_MOST) // _STEP * _STEP
    return TextGuess(words[0] if words else None, most, any(tensor.name == TYPES for tensor in inputs))


def beside(model: Path) -> Path | None:
    """The tokenizer in the folder of the ONNX file."""
    path = model.parent / TOKENIZER
    return path if path.is_file() else None
