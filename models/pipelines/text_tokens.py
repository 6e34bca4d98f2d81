"""Tokens of texts: the bundle's `tokenizer.json` (Hugging Face), windows of long texts, offsets, and the feeds of a graph.

For the scoring half alone: the API loads neither the library nor the file. A text is brought to NFC before all that the
tokenizer itself does; offsets are code points of the text as it was sent, all the same.

A text of more tokens than the graph takes is read in windows that share `overlap` tokens. One that needs more than
`max_windows` is read as far as they go, and says that it was truncated: a pipeline must not answer it as if it had been read.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from models.lazy import np
from models.manifest import BundleRefused, Fault
from models.pipelines.contract import ANY_LENGTH, TensorSpec
from models.pipelines.texts import TextParameters
from models.pipelines.typed_classification import groups_of_length

if TYPE_CHECKING:
    from tokenizers import Encoding

    from models.pipelines.contract import Array

TOO_LONG: Final = "longer than the model reads"
TOO_UNKNOWN: Final = "too many words or characters that the model does not know"
RUN_TOKENS: Final = 4096  # most tokens of one run, padding included, unless one window has more
# Tokenizers take these control characters out, and join the words that they part.
_PARTING: Final = str.maketrans("\v\f", "\n\n")


class Window(NamedTuple):
    """The tokens of one run. An offset [start, end) is in code points of the text as sent, (0, 0) for special tokens."""

    ids: list[int]
    types: list[int]  # of a pair: 0 in the first text, 1 in the second
    offsets: list[tuple[int, int]]
    special: list[bool]
    words: list[
        int | None
    ]  # the number of a token's word in its text, as the tokenizer divides it; None for special tokens

    @property
    def tokens(self) -> int:
        """Those that are not special."""
        return len(self.special) - sum(self.special)


class ReadText(NamedTuple):
    """A text, or a pair of them, as tokens. `unknown` is the share of tokens that the vocabulary lacks, 1 if there are none."""

    windows: list[Window]
    tokens: int
    unknown: float
    truncated: bool

    @property
    def token_ids(self) -> list[int]:
        """Those of all windows, without special ones."""
        return [
            token
            for window in self.windows
            for token, special in zip(window.ids, window.special, strict=True)
            if not special
        ]

    def unread(self, parameters: TextParameters) -> str | None:
        """Why the text must not be answered as if it had been read; None if it was."""
        if self.truncated:
            return TOO_LONG
        return TOO_UNKNOWN if self.unknown >= parameters.unknown else None


class TextTokenizer:
    """The tokenizer of a bundle. Immutable; serves all threads."""

    def __init__(self, folder: Path, parameters: TextParameters) -> None:
        """Raises BundleRefused if the file is damaged, or is not the tokenizer of this model."""
        self._parameters = parameters
        path = folder / parameters.tokenizer
        try:
            content = path.read_text(encoding="utf-8")
            self._tokenizer = _opened(content)
            self._unknown = _unknown_id(self._tokenizer, json.loads(content))
        except Exception as error:  # the library raises plain Exception
            advice = "save it with Tokenizer.save of Hugging Face `tokenizers`"
            reason = f"the tokenizer cannot be read ({_first_line(error)}): {advice}"
            raise BundleRefused(Fault(parameters.tokenizer, "tokenizer_invalid", reason)) from error
        if (known := self._tokenizer.get_vocab_size()) != parameters.vocabulary:
            wanted = f"the manifest's `vocabulary` is {parameters.vocabulary}"
            padded = f"; if it is, and the graph's table of words is padded, write {known}"
            advice = f"use the model's own tokenizer{padded if known < parameters.vocabulary else ''}"
            reason = f"the tokenizer has {known} tokens, and {wanted}: {advice}"
            raise BundleRefused(Fault(parameters.tokenizer, "tokenizer_differs", reason))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(parameters.max_tokens, stride=parameters.overlap)

    def read(self, text: str) -> ReadText:
        """The windows of a text."""
        found = self._tokenizer.encode(text.translate(_PARTING))
        every = [_window(each, (text,)) for each in (found, *found.overflowing)]
        tokens = sum(each.tokens for each in every) - self._parameters.overlap * (len(every) - 1)
        kept = every[: self._parameters.max_windows]
        return ReadText(kept, tokens, self._share_unknown(every), truncated=len(kept) < len(every))

    def read_pair(self, first: str, second: str) -> ReadText:
        """Two texts as one window; truncated if they have too many tokens together."""
        found = self._tokenizer.encode(first.translate(_PARTING), second.translate(_PARTING))
        every = [_window(found, (first, second))]
        return ReadText(every, every[0].tokens, self._share_unknown(every), truncated=bool(found.overflowing))

    def text_of(self, tokens: Sequence[int]) -> str:
        """The text that tokens stand for, without special ones and white space around it."""
        text: str = self._tokenizer.decode(list(tokens), skip_special_tokens=True)
        return text.strip()

    def _share_unknown(self, windows: Sequence[Window]) -> float:
        tokens = sum(each.tokens for each in windows)
        return sum(each.ids.count(self._unknown) for each in windows) / tokens if tokens else 1.0


def text_feeds(parameters: TextParameters) -> tuple[TensorSpec, ...]:
    """What a graph of texts takes: int64 [N,L] by the names that Hugging Face exports have."""
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if parameters.token_types else [])]
    return tuple(TensorSpec(name, "int64", (ANY_LENGTH,)) for name in names)


def longest_feeds(parameters: TextParameters) -> dict[str, Array]:
    """The feeds of one text of `max_tokens` tokens, int64 [1,L]: the last of the vocabulary, which pads nothing."""
    tokens = parameters.max_tokens
    filled = {"input_ids": parameters.vocabulary - 1, "attention_mask": 1, "token_type_ids": 0}
    return {spec.name: np.full((1, tokens), filled[spec.name], np.int64) for spec in text_feeds(parameters)}


def runs_of_windows(windows: Sequence[Window]) -> Iterator[tuple[list[int], int]]:
    """The indexes of windows by run, with the length that they are padded to.

    Windows of like length run together, but no more than RUN_TOKENS at once: attention takes memory by the square of a length.
    """
    for rows, length in groups_of_length([len(window.ids) for window in windows]):
        most = max(1, RUN_TOKENS // length)
        for start in range(0, len(rows), most):
            yield rows[start : start + most], length


def feeds_of_windows(windows: Sequence[Window], length: int, parameters: TextParameters) -> dict[str, Array]:
    """The feeds of windows, none longer than `length`, padded to it. `attention_mask` is 1 up to a window's end, then 0."""
    feeds = {spec.name: np.zeros((len(windows), length), np.int64) for spec in text_feeds(parameters)}
    for row, window in enumerate(windows):
        end = len(window.ids)
        feeds["input_ids"][row, :end] = window.ids
        feeds["attention_mask"][row, :end] = 1
        if parameters.token_types:
            feeds["token_type_ids"][row, :end] = window.types
    return feeds


def _opened(content: str) -> Any:
    """The tokenizer, bringing texts to NFC first."""
    from tokenizers import Tokenizer, normalizers

    tokenizer = Tokenizer.from_str(content)
    own = [] if tokenizer.normalizer is None else [tokenizer.normalizer]
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), *own])
    return tokenizer


def _window(found: Encoding, texts: Sequence[str]) -> Window:
    special = [bool(each) for each in found.special_tokens_mask]
    offsets = found.offsets
    if not all(unicodedata.is_normalized("NFC", text) for text in texts):
        offsets = [
            (start, end if place is None else _behind_marks(texts[place], end))
            for (start, end), place in zip(offsets, found.sequence_ids, strict=True)
        ]
    return Window(found.ids, found.type_ids, offsets, special, found.word_ids)


def _behind_marks(text: str, end: int) -> int:
    """Where a token ends that a letter ends at `end`, with the accents behind it: NFC makes one letter of them."""
    while 0 < end < len(text) and unicodedata.combining(text[end]):
        end += 1
    return end


def _unknown_id(tokenizer: Any, written: Any) -> int:
    """The id of the token that stands for what the vocabulary lacks; -1 if there is none, as where all is bytes."""
    model = written["model"]
    if model.get("unk_id") is not None:
        return int(model["unk_id"])
    found = tokenizer.token_to_id(model["unk_token"]) if model.get("unk_token") else None
    return -1 if found is None else int(found)


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
