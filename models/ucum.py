"""Whether a text is a code of UCUM (ucum.org, version 2.1): its grammar, and a closed list of units that medicine uses.

Units in square brackets, such as `[IU]`, are taken as they are: UCUM has some two hundred of them.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from models.manifest_words import UCUM_CODE

PREFIXES: Final = ("da", *"YZEPTGMkhdcmunpfazy", "Ki", "Mi", "Gi", "Ti")
METRIC: Final = (
    *("m", "s", "g", "L", "l", "mol", "K", "Cel", "cd", "A", "Hz", "N", "Pa", "J", "W", "C", "V", "F", "Ohm", "S", "Wb", "T"),
    *("H", "lm", "lx", "Bq", "Gy", "Sv", "rad", "sr", "kat", "U", "eq", "osm", "bar", "cal", "eV", "u", "t", "dyn", "Ci", "B"),
    *("G", "P", "bit", "By", "Bd", "Np", "m[Hg]", "m[H2O]", "B[SPL]", "B[V]", "[IU]", "[iU]"),
)  # fmt: skip
PLAIN: Final = (
    *("min", "h", "d", "wk", "mo", "mo_s", "mo_j", "mo_g", "a", "a_t", "a_j", "a_g", "deg", "'", "''", "gon", "%", "ar"),
    *("10*", "10^", "atm", "erg", "R", "RAD", "REM", "circ", "%[slope]", "[pi]"),
)  # fmt: skip


def _any(words: tuple[str, ...]) -> str:
    return "|".join(map(re.escape, sorted(words, key=len, reverse=True)))


_UNIT: Final = (
    rf"(?:(?:{_any(PREFIXES)})?(?:{_any(METRIC)})|{_any(PLAIN)}|\[[A-Za-z0-9_'.%-]+\])(?:[+-]?[0-9]+)?"
)
_COMMENT: Final = r"\{[!-z|~]*\}"
_PART: Final = rf"(?:{_UNIT}(?:{_COMMENT})?|[0-9]+(?:{_COMMENT})?|{_COMMENT})"
_FLAT: Final = re.compile(rf"/?{_PART}(?:[./]{_PART})*")
_INNER: Final = re.compile(r"\(([^(){}]*)\)")
ADVICE: Final = (
    "write the UCUM code of the unit, such as a for years, mo, d, /min, mg/dL, mm[Hg] or %, {score} for what has a name alone, "
    'or "1" for none'
)


def is_ucum(code: str) -> bool:
    """Whether a text is a UCUM code, case-sensitive, such as `mg/dL`, `10*3/uL` or `mL/min/{1.73_m2}`."""
    while inner := _INNER.search(code):
        if not _FLAT.fullmatch(inner[1]):
            return False
        code = f"{code[: inner.start()]}1{code[inner.end() :]}"
    return _FLAT.fullmatch(code) is not None


def _checked(code: str) -> str:
    if not is_ucum(code):
        raise ValueError(ADVICE)
    return code


Unit = Annotated[str, Field(pattern=UCUM_CODE), AfterValidator(_checked)]
