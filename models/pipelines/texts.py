"""Texts as inputs: what is accepted, and what is refused with which words. No tokenizer is needed: the API checks at submit.

A text has a limit in characters (code points), at least one letter or digit, no control characters but white space, no U+FFFD
(what a decoder leaves of bytes that it could not read), and letters of the script that the model reads.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, Final, Self

from pydantic import Field, model_validator

from models.field_codes import FieldCode
from models.manifest import ManifestTable
from models.pipelines.classification_parameters import Share
from models.pipelines.contract import FieldFault, InputRejected, pointer_to

WHITE_SPACE: Final = frozenset("\t\n\v\f\r")  # the control characters that are accepted
REPLACEMENT: Final = "\ufffd"
STEP: Final = 16  # texts are padded to multiples of this
# Scripts whose name is not the first word of the Unicode names of their letters.
_FIRST_WORDS: Final = {"han": "CJK"}

_PATH: Final = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$"

FieldName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]


class ScriptParameters(ManifestTable):
    """The script that the model reads: a text of at least `letters` letters must have `share` of them in it."""

    name: Annotated[str, Field(pattern=r"^[a-z]+$", description="such as latin, han, cyrillic, arabic")]
    share: Annotated[float, Field(gt=0, le=1)]
    letters: Annotated[int, Field(ge=1, le=10_000)] = 20

    def share_of(self, text: str) -> float:
        """The share of the text's letters that are of the script; 1 if it has too few letters to judge by."""
        counts = Counter(text)
        letters = {letter: count for letter, count in counts.items() if letter.isalpha()}
        if (total := sum(letters.values())) < self.letters:
            return 1.0
        return sum(count for letter, count in letters.items() if self._has(letter)) / total

    def _has(self, letter: str) -> bool:
        wanted = _FIRST_WORDS.get(self.name, self.name.upper())
        return unicodedata.name(letter, "").removeprefix("FULLWIDTH ").partition(" ")[0] == wanted


class TextParameters(ManifestTable):
    """What every pipeline of texts has in its `[parameters]`: limits of a text, and how the tokenizer reads it."""

    longest: Annotated[int, Field(ge=1, le=1_000_000, description="most characters of a text")]
    script: ScriptParameters | None = None
    tokenizer: Annotated[str, Field(pattern=_PATH, description="path of the tokenizer inside the bundle")] = (
        "tokenizer.json"
    )
    vocabulary: Annotated[int, Field(ge=1, description="tokens that the graph knows: those of the tokenizer")]
    max_tokens: Annotated[
        int,
        Field(
            ge=STEP, le=65_536, multiple_of=STEP, description="most tokens of one run, special ones included"
        ),
    ]
    max_windows: Annotated[int, Field(ge=1, le=1000, description="most windows that a text is read in")] = 1
    overlap: Annotated[int, Field(ge=0, description="tokens that a window shares with the one before")] = 0
    unknown: Annotated[
        Share, Field(description="share of unknown tokens from which on the model abstains")
    ] = 0.5
    token_types: Annotated[bool, Field(description="whether the graph takes token_type_ids")] = False

    @model_validator(mode="after")
    def _check_overlap(self) -> Self:
        if self.overlap > self.max_tokens // 2:
            raise ValueError("overlap: at most half of max_tokens")
        if self.max_windows == 1 and self.overlap:
            raise ValueError("overlap: only with max_windows above 1")
        return self


def text_field(parameters: TextParameters, title: str, example: str, *, read: str = "a text") -> Any:
    """The type of a field that holds a text, for `create_model`. `read` is what the model reads at once."""
    script = parameters.script
    letters = "" if script is None else f", in {script.name.capitalize()} script"
    windows = "" if parameters.max_windows == 1 else f"{parameters.max_windows} windows of "
    tokens = (
        f"{windows}{parameters.max_tokens} tokens, words or parts of words as the model's tokenizer cuts them"
    )
    described = f"plain text of at least one letter or digit{letters}; the model abstains from {read} of more than {tokens}"
    field: Any = Field(
        title=title, description=described, min_length=1, max_length=parameters.longest, examples=[example]
    )
    return Annotated[str, field]


def check_text(text: str, field: str, script: ScriptParameters | None) -> None:
    """Refuse a text that cannot be read or is not in the model's script. Raises InputRejected, which never quotes it."""
    check_texts({field: text}, script)


def check_texts(texts: Mapping[str, str], script: ScriptParameters | None) -> None:
    """The same of several texts, by field: every fault of any."""
    found = [_fault(text, pointer_to(field), script) for field, text in texts.items()]
    if faults := [fault for fault in found if fault is not None]:
        raise InputRejected(*faults)


def _fault(text: str, pointer: str, script: ScriptParameters | None) -> FieldFault | None:
    if found := next((each for each in dict.fromkeys(text) if _unreadable(each)), None):
        detail = (
            f"The text has the character U+{ord(found):04X}, which no text has: it was damaged, or decoded in the wrong "
            "encoding. Send it as it was written."
        )
        return FieldFault(pointer, FieldCode.UNREADABLE_TEXT, detail)
    if not any(map(str.isalnum, text)):
        return FieldFault(pointer, FieldCode.BLANK_TEXT, "Send a text with at least one letter or digit.")
    if script is not None and script.share_of(text) < script.share:
        name, least = script.name.capitalize(), f"{script.share:.0%}"
        rule = f"The model reads {name} script: at least {least} of a text's letters must be of it."
        detail = f"{rule} Use a model of the text's language."
        return FieldFault(pointer, FieldCode.WRONG_SCRIPT, detail)
    return None


def _unreadable(letter: str) -> bool:
    if letter == REPLACEMENT:
        return True
    return unicodedata.category(letter) == "Cc" and letter not in WHITE_SPACE
