"""A small tokenizer of English, for tests of texts: words in pieces, with the special tokens of BERT."""

import json
from pathlib import Path
from typing import Any

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "no", "fever", "cough", "pain", "caf", "##\u00e9", "rest", ".")
TOKENS = {word: place for place, word in enumerate(WORDS)}


def tokenizer_table() -> dict[str, Any]:
    """What `tokenizer.json` holds."""
    special = [("[CLS]", 2), ("[SEP]", 3)]
    pieces = {name: {"id": name, "ids": [place], "tokens": [name]} for name, place in special}
    first = [_special("[CLS]"), _text("A"), _special("[SEP]")]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {
            "type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": False,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing", "single": first, "pair": [*first, _text("B", 1), _special("[SEP]", 1)],
            "special_tokens": pieces,
        },
        "decoder": None,
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": TOKENS,
        },
    }  # fmt: skip


def write_tokenizer(folder: Path, **changed: Any) -> Path:
    """`tokenizer.json` in `folder`, which is returned."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_table() | changed), encoding="utf-8")
    return folder


def _special(name: str, kind: int = 0) -> dict[str, Any]:
    return {"SpecialToken": {"id": name, "type_id": kind}}


def _text(name: str, kind: int = 0) -> dict[str, Any]:
    return {"Sequence": {"id": name, "type_id": kind}}
