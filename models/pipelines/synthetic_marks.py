"""Files of pictures that a model made up, marked as such by name and metadata, so that none is taken for a patient's."""

from __future__ import annotations

import re
from io import BytesIO
from typing import TYPE_CHECKING, Final

from models.pipelines.contract import Artifact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.pipelines.contract import Array

LONGEST_NAME: Final = 64  # of an artifact
# https://www.iptc.org/std/photometadata/specification: Digital Source Type of what a trained model created.
XMP_KEYWORD: Final = "XML:com.adobe.xmp"
XMP: Final = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
    'Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"/>'
    "</rdf:RDF></x:xmpmeta>"
)


# Of the same vocabulary: what a model or an algorithm created, alone or in part of a composite.
_SOURCES: Final = re.compile(
    rb"digitalsourcetype/(trainedAlgorithmicMedia|compositeWithTrainedAlgorithmicMedia|algorithmicMedia|compositeSynthetic)"
)
_TEXT: Final = re.compile(rb"synthetic\0\s*(true|yes|1)\s*", re.IGNORECASE)


def is_marked(text: bytes) -> bool:
    """Whether a text of a file's metadata says that its picture is made up; of PNG behind its keyword and a zero byte."""
    return _SOURCES.search(text) is not None or _TEXT.fullmatch(text) is not None


def synthetic_png(seed: int, label: str, pixels: Array, texts: Mapping[str, str]) -> Artifact:
    """Pixels uint8 [H,W] or [H,W,3] as PNG, with `texts` by keyword (in Latin-1) beside those that all such files have."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    marks = PngInfo()
    for keyword, text in {"Synthetic": "true", **texts, "Class": label, "Seed": str(seed)}.items():
        marks.add_text(keyword, text)
    marks.add_itxt(XMP_KEYWORD, XMP)
    file, ending = BytesIO(), ".png"
    Image.fromarray(pixels).save(file, "PNG", pnginfo=marks)
    name = f"synthetic-{seed}-{label}"[: LONGEST_NAME - len(ending)]
    return Artifact(f"{name}{ending}", "image/png", file.getvalue())
