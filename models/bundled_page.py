"""The page about the bundled models, made of their manifests and cards: `python -m models page > docs/bundled-models.md`."""

import re
from pathlib import Path
from typing import Final

from models.bundle import Bundle, bundled, read_bundle

_HEAD: Final = """\
# Bundled models

Made of the models' own cards by `make models-page`: change a card, not this page. Every figure is one of the
`metrics.json` that training wrote (tests compare them). `make train MODEL=NAME DATA=FOLDER` trains a model again and
writes its figures; `medqueue models evaluate NAME --data FILE` measures one on data of your own.

All are research software, **not medical devices**: none may decide on anybody's diagnosis or treatment.

| model | pipeline | does | licence | size |
|---|---|---|---|---|
"""
_HEADING: Final = re.compile(r"^(#+) ", re.MULTILINE)
_SHOWN: Final = ("Figures",)  # sections of a card
_UNITS: Final = 1_000_000


def bundled_page() -> str:
    """The page, in Markdown."""
    bundles = sorted(
        map(read_bundle, bundled()), key=lambda each: (each.manifest.pipeline, each.manifest.name)
    )
    rows = "".join(map(_row, bundles))
    return _HEAD + rows + "".join(map(_section, bundles))


def _row(bundle: Bundle) -> str:
    manifest = bundle.manifest
    size = f"{_size_bytes(bundle.folder) / _UNITS:.1f} MB"
    name = f"[{manifest.name}](#{manifest.name})"
    return f"| {name} | `{manifest.pipeline}` | {manifest.title} | {manifest.license} | {size} |\n"


def _size_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir() if file.suffix in {".onnx", ".json", ".bin"})


def _section(bundle: Bundle) -> str:
    """What a model is, as its card's first table says, and its figures."""
    manifest, card = bundle.manifest, bundle.card
    table = "\n".join(line for line in card.partition("\n## ")[0].splitlines() if line.startswith("|"))
    parts = [
        f"\n## {manifest.name}\n\n{manifest.summary} [Card](../models/zoo/{manifest.name}/CARD.md).\n\n{table}\n"
    ]
    for name in _SHOWN:
        _, found, behind = card.partition(f"\n## {name}\n")
        if found:
            parts.append(f"\n### {name}\n{_demoted(behind.partition(chr(10) + '## ')[0]).rstrip()}\n")
    return "".join(parts)


def _demoted(text: str) -> str:
    """Headings one level lower."""
    return _HEADING.sub(r"#\1 ", text)
