"""The brightness scale of a PNG file's samples (W3C Recommendation, 3rd edition, 4.3 and 11.3.2).

Models are trained on samples on the scale of sRGB, which nearly every file has. Samples on another scale (linear light, HDR)
would be scored as a darker or brighter picture than the clinician sees, so they are refused. Primaries and ICC profiles are
not applied.
"""

from collections.abc import Iterable
from typing import Final

from models.field_codes import FieldCode
from models.pipelines.image_header import ImageRefused, damaged

# By precedence: a decoder that knows one of them ignores the later ones.
_STATEMENTS: Final = (b"cICP", b"iCCP", b"sRGB", b"gAMA")
_GAMMA: Final = 45455  # 1 / 2.2, times 100,000
_GAMMA_SHARE: Final = 0.05  # what libpng (PNG_GAMMA_THRESHOLD) takes for no difference
# ITU-T H.273, table 3: BT.709, gamma 2.2, BT.601, sRGB, BT.2020 with 10 and with 12 bits.
_USUAL_TRANSFERS: Final = frozenset((1, 4, 6, 13, 14, 15))


def check_colour(chunks: Iterable[tuple[bytes, bytes]]) -> None:
    """Refuse samples that are not in the scale of sRGB; `chunks` are kinds and bodies. Raises ImageRefused."""
    stated = [(kind, body) for kind, body in chunks if kind in _STATEMENTS]
    strongest = min((_STATEMENTS.index(kind) for kind, _ in stated), default=None)
    for kind, body in stated:
        if _STATEMENTS.index(kind) == strongest and not _is_usual(kind, body):
            raise ImageRefused(
                FieldCode.UNSUPPORTED_COLOR,
                "The image says that its samples are not in the scale of sRGB, but linear or HDR, for "
                "example: convert it to sRGB and export it again.",
            )


def _is_usual(kind: bytes, body: bytes) -> bool:
    if kind == b"cICP":
        if len(body) != 4:
            raise damaged("a cICP chunk of a wrong length")
        _, transfer, matrix, full_range = body
        return transfer in _USUAL_TRANSFERS and matrix == 0 and full_range == 1
    if kind == b"gAMA":
        if len(body) != 4:
            raise damaged("a gAMA chunk of a wrong length")
        return abs(int.from_bytes(body, "big") - _GAMMA) <= _GAMMA_SHARE * _GAMMA
    return True
