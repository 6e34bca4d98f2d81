"""The page about the bundled models, made of their manifests and cards, and its pictures: `python -m models page docs`."""

import json
import re
from pathlib import Path
from typing import Final

from models.bundle import Bundle, bundled, read_bundle
from models.figure_chart import chart

_HEAD: Final = """\
# Bundled models

Made of the models' own cards by `make models-page`: change a card, not this page. Every figure is one of the
`metrics.json` that training wrote (tests compare them). `make train MODEL=NAME DATA=FOLDER` trains a model again and
writes its figures; `medqueue models evaluate NAME --data FILE` measures one on data of your own.

All are research software, **not medical devices**: none may decide on anybody's diagnosis or treatment.

| model | pipeline | does | licence | size |
|---|---|---|---|---|
"""
PAGE: Final = "bundled-models.md"
PICTURES: Final = "bundled-models"  # the folder beside the page
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


def pictures() -> dict[str, str]:
    """The pictures of the page by file name, as SVG."""
    drawn = ((bundle.manifest.name, _picture(bundle)) for bundle in map(read_bundle, bundled()))
    return {f"{name}.svg": picture for name, picture in drawn if picture is not None}


def write_page(docs: Path) -> None:
    """Write the page and its pictures into a folder; pictures of models that are gone are removed."""
    (docs / PAGE).write_text(bundled_page(), encoding="utf-8")
    folder, wanted = docs / PICTURES, pictures()
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.svg"):
        if old.name not in wanted:
            old.unlink()
    for name, content in wanted.items():
        (folder / name).write_text(content, encoding="utf-8")


def _picture(bundle: Bundle) -> str | None:
    path = bundle.folder / "metrics.json"
    return (
        chart(f"Figures of {bundle.manifest.name}", json.loads(path.read_text(encoding="utf-8")))
        if path.exists()
        else None
    )


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
            picture = (
                f"\n![Figures of {manifest.name}]({PICTURES}/{manifest.name}.svg)\n"
                if _picture(bundle)
                else ""
            )
            parts.append(
                f"\n### {name}\n{picture}{_demoted(behind.partition(chr(10) + '## ')[0]).rstrip()}\n"
            )
    return "".join(parts)


def _demoted(text: str) -> str:
    """Headings one level lower."""
    return _HEADING.sub(r"#\1 ", text)
