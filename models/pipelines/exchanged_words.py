"""Whether two texts differ in one place alone, where a word of one stands for another of the other: an illness, a drug, a dose.

Models of meaning call such texts the same too easily, since all else in them is. Words are runs of letters and digits; a CJK
ideograph is a word of its own. Case, width and punctuation do not matter.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated, Any, Final

from pydantic import Field

from models.manifest import ManifestTable, Text

_IDEOGRAPHS: Final = "\u3400-\u9fff\uf900-\ufaff"
_WORD: Final = re.compile(rf"[{_IDEOGRAPHS}]|[^\W_{_IDEOGRAPHS}]+")
_Words: Any = Field(min_length=1, max_length=1000, strict=False)


class ExchangeParameters(ManifestTable):
    """From which pairs a model abstains instead of answering `label`: those that differ in at most `most` words of one place.

    Both texts have a word there that is none of `ordinary`, and at least as many words around it in common.
    """

    label: Text
    most: Annotated[int, Field(ge=1, le=20, description="words of a text that stand in the place of others")]
    ordinary: Annotated[tuple[Text, ...], _Words]
    reason: Text = "the texts differ in one place alone, which may change what they mean"

    def found_in(self, first: str, second: str) -> bool:
        """Whether two texts differ so."""
        own, other, common = differing(first, second)
        ordinary = {word.casefold() for word in self.ordinary}
        longest = max(len(own), len(other))
        changed = any(word not in ordinary for word in own) and any(word not in ordinary for word in other)
        return changed and longest <= min(self.most, common)


def differing(first: str, second: str) -> tuple[list[str], list[str], int]:
    """The words of each between the beginning and the end that both have in common, and how many these have."""
    a, b = words_of(first), words_of(second)
    most = min(len(a), len(b))
    start = next((place for place in range(most) if a[place] != b[place]), most)
    end = next((back for back in range(most - start) if a[-1 - back] != b[-1 - back]), most - start)
    return a[start : len(a) - end], b[start : len(b) - end], start + end


def words_of(text: str) -> list[str]:
    """The words of a text, in compatible composition (NFKC) and folded case."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
