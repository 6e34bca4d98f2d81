"""What exporters write beside a graph that writes texts: `generation_config.json`, `config.json`, and `genai_config.json`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

GENERATION: Final = "generation_config.json"
_MODEL: Final = "config.json"
_GENAI: Final = "genai_config.json"
# What the configurations of models call the number of positions that they were trained for.
_POSITIONS: Final = ("max_position_embeddings", "n_positions", "context_length", "max_sequence_length")
# Settings by which other programs choose tokens, and the pipeline cannot: the value that changes nothing.
_UNFOLLOWED: Final[Mapping[str, object]] = {
    "repetition_penalty": 1.0, "encoder_repetition_penalty": 1.0, "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0, "min_length": 0,
    "min_new_tokens": 0, "bad_words_ids": None, "suppress_tokens": None, "begin_suppress_tokens": None,
    "sequence_bias": None, "forced_bos_token_id": None,
}  # fmt: skip


@dataclass(frozen=True)
class ExportConfig:
    """None or empty where no file says so. `unfollowed` are settings that the pipeline lacks, and that change texts."""

    ends: tuple[int, ...] = ()
    positions: int | None = None
    head_size: int | None = None
    unfollowed: tuple[str, ...] = ()


def read_export_config(folder: Path) -> ExportConfig:
    """What the files in `folder` say; a file that cannot be read says nothing."""
    every = [*_tables(folder)]
    generation = every[0] if every else {}
    return ExportConfig(
        ends=next((ends for table in every if (ends := _ends(table))), ()),
        positions=next(
            (found for table in every for key in _POSITIONS if (found := _whole(table, key))), None
        ),
        head_size=next((found for table in every if (found := _head_size(table))), None),
        unfollowed=tuple(
            key for key, neutral in _UNFOLLOWED.items() if generation.get(key, neutral) not in (None, neutral)
        ),
    )


def _tables(folder: Path) -> Iterator[dict[str, Any]]:
    """The tables of the files, that of generation first."""
    for name in (GENERATION, _MODEL, _GENAI):
        with suppress(OSError, ValueError):
            found = json.loads((folder / name).read_text(encoding="utf-8"))
            if isinstance(found, dict):
                yield from _parts(found)


def _parts(table: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The table, and those within the one of onnxruntime-genai: of search, model and decoder."""
    model = table.get("model")
    if isinstance(model, dict):
        yield from (
            each for each in (table.get("search"), model, model.get("decoder")) if isinstance(each, dict)
        )
    else:
        yield table


def _ends(table: Mapping[str, Any]) -> tuple[int, ...]:
    found = table.get("eos_token_id")
    every = found if isinstance(found, list) else [found]
    ends = tuple(each for each in every if type(each) is int and each >= 0)
    return ends if len(ends) == len(every) else ()


def _head_size(table: Mapping[str, Any]) -> int | None:
    named = _whole(table, "head_dim") or _whole(table, "head_size")
    width, heads = _whole(table, "hidden_size"), _whole(table, "num_attention_heads")
    return named or (width // heads if width and heads else None)


def _whole(table: Mapping[str, Any], key: str) -> int | None:
    """A number above 0."""
    found = table.get(key)
    return found if type(found) is int and found > 0 else None
