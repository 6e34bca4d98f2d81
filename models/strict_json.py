"""Parses JSON from outside by one rule: request bodies, lines of batches, golden.json, the command line's files.

The rule is RFC 8259, with the stricter choice where it leaves one: no duplicate keys in an object, no NaN or Infinity, no
unpaired surrogates, nothing after the value, only UTF-8 (a byte order mark at the start is skipped), at most 200 levels, and
no number with more than 4,300 digits before its point. JSON that medqueue wrote itself is not read here.
"""

from typing import Any, Literal

import jiter

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class JsonInvalid(ValueError):
    """The text breaks the rule. The message says how and where, without quoting the text."""


def read_json(content: bytes, *, written_floats: bool = False) -> Any:
    """The value of a whole text, which may begin with a byte order mark. See read_json_line."""
    return read_json_line(content.removeprefix(BYTE_ORDER_MARK), written_floats=written_floats)


def read_json_line(text: bytes, *, written_floats: bool = False) -> Any:
    """The value in `text`. Raises JsonInvalid. With `written_floats`, a number that is not an integer is returned as an
    object whose `str` is the number as written.

    A number beyond the range of float64, such as 1e400, is read as infinity, so that its field is refused by name.
    """
    try:
        mode: Literal["lossless-float", "float"] = "lossless-float" if written_floats else "float"
        return jiter.from_json(text, catch_duplicate_keys=True, allow_inf_nan=False, float_mode=mode)
    except ValueError as error:
        raise JsonInvalid(_reason(text, str(error))) from None


def _reason(text: bytes, words: str) -> str:
    """What is wrong, derived from the parser's message, which may quote a key."""
    if "duplicate key" in words.lower():
        return "an object names a field twice: name each field once"
    try:
        text.decode()
    except UnicodeDecodeError:
        return "the text is not UTF-8"
    if _reads_with_nan(text, words):
        return f"{words}; NaN and Infinity are not JSON numbers"
    return words


def _reads_with_nan(text: bytes, words: str) -> bool:
    """Whether a parser that accepts NaN and Infinity gets further than the one whose message is `words`."""
    try:
        jiter.from_json(text)
    except ValueError as error:
        return str(error) != words
    return True
