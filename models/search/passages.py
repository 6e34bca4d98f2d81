"""Divides texts into passages that an encoder reads in one window each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from models.pipelines.text_tokens import ReadText

ENDS: Final = ".!?\u2026"  # of a sentence, before white space
WIDE_ENDS: Final = "\u3002\uff01\uff1f"
Offset = tuple[int, int]


def passages_of(text: str, read: ReadText, longest: int) -> list[Offset]:
    """Start and end of each passage of a text, in code points; together they hold every token.

    A passage has at most `longest` tokens and ends with a sentence where one ends in its second half, else between words.
    """
    tokens = [
        offset
        for window in read.windows
        for offset, special in zip(window.offsets, window.special, strict=True)
        if not special
    ]
    found, start = [], 0
    while start < len(tokens):
        end = _end(text, tokens, start, longest)
        found.append((tokens[start][0], tokens[end - 1][1]))
        start = end
    return found


def _end(text: str, tokens: Sequence[Offset], start: int, longest: int) -> int:
    """The token that the next passage begins with."""
    most = start + longest
    if most >= len(tokens):
        return len(tokens)
    for end in range(most, start + longest // 2, -1):
        before, after = tokens[end - 1][1], tokens[end][0]
        last = text[before - 1]
        if last in WIDE_ENDS or (last in ENDS and before < after):
            return end
    for end in range(most, start, -1):
        if tokens[end - 1][1] < tokens[end][0]:
            return end
    return most
