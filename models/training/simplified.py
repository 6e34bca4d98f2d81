"""Traditional Chinese characters read as simplified ones, by the tokenizer of a bundle whose model knows the latter alone.

Only characters that GB 2312 lacks are mapped, each to the one that OpenCC's table TSCharacters names first, so a text in
simplified characters has the same tokens as before. The map is a normalizer `Precompiled`, as SentencePiece makes it; places of
characters stay. Install for the training, without their dependencies:

    pip install --no-deps -r models/training/packages.txt

    python -m models.training.simplified models/zoo/trial-criterion

puts the map into the tokenizer.json of a bundle that was trained without it; seal the bundle afterwards.
"""

from __future__ import annotations

import base64
import json
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

TABLE = "opencc/dictionary/TSCharacters.txt"


def with_simplified(table: Mapping[str, Any]) -> dict[str, Any]:
    """`tokenizer.json` that maps traditional characters after NFKC, before all that follows it."""
    steps = list(table["normalizer"]["normalizers"])
    after = next(place for place, step in enumerate(steps) if step["type"] == "NFKC") + 1
    content = base64.b64encode(compiled(letters())).decode()
    steps.insert(after, {"type": "Precompiled", "precompiled_charsmap": content})
    return {**table, "normalizer": {**table["normalizer"], "normalizers": steps}}


def letters() -> dict[str, str]:
    """Each traditional character with the simplified one that it is read as."""
    path = Path(str(distribution("opencc-python-reimplemented").locate_file(TABLE)))
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    first = {letter: others.split(" ")[0] for letter, others in lines}
    return {letter: other for letter, other in first.items() if not in_gb2312(letter) and in_gb2312(other)}


def in_gb2312(letter: str) -> bool:
    """Whether GB 2312 has a character."""
    try:
        return len(letter.encode("gb2312")) > 0
    except UnicodeEncodeError:
        return False


def compiled(rules: Mapping[str, str]) -> bytes:
    """SentencePiece's map of characters for these rules: it makes one when it trains, here on next to nothing."""
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2

    with tempfile.TemporaryDirectory() as folder:
        tsv = Path(folder, "rules.tsv")
        tsv.write_text(
            "".join(f"{ord(letter):X}\t{ord(other):X}\n" for letter, other in sorted(rules.items()))
        )
        corpus = Path(folder, "corpus.txt")
        corpus.write_text("a b c d e f g\n" * 50)
        sentencepiece.SentencePieceTrainer.train(
            input=str(corpus),
            model_prefix=str(Path(folder, "model")),
            vocab_size=20,
            hard_vocab_limit=False,
            normalization_rule_tsv=str(tsv),
            minloglevel=2,
        )
        found = sentencepiece_model_pb2.ModelProto()
        found.ParseFromString(Path(folder, "model.model").read_bytes())
    content: bytes = found.normalizer_spec.precompiled_charsmap
    return content


if __name__ == "__main__":
    for name in sys.argv[1:]:
        file = Path(name, "tokenizer.json")
        table = with_simplified(json.loads(file.read_text(encoding="utf-8")))
        file.write_text(json.dumps(table, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
