"""The one rule for JSON that comes from outside: request bodies, lines of batches, golden.json, the command line's files.

RFC 8259, and where it leaves a choice the stricter one: no key twice in an object, no NaN or Infinity, no half of a
surrogate pair, nothing behind the value, UTF-8 alone (one byte order mark in front of a whole text is skipped), at most
200 levels, and no number with more than 4,300 digits in front of its point. What medqueue wrote itself is not read here.
"""

from typing import Any, Literal

import jiter

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class JsonInvalid(ValueError):
    """The text breaks the rule. The message says how and where, and quotes nothing of the text."""


def read_json(content: bytes, *, written_floats: bool = False) -> Any:
    """The value of a whole text, behind a byte order mark if it begins with one. See read_json_line."""
    return read_json_line(content.removeprefix(BYTE_ORDER_MARK), written_floats=written_floats)


def read_json_line(text: bytes, *, written_floats: bool = False) -> Any:
    """The value that `text` holds. Raises JsonInvalid. With `written_floats` a number that is no integer is an object
    whose `str` is what is written.

    A number past the range of float64, such as 1e400, is read as an infinity, for its field to be refused by name.
    """
    try:
        mode: Literal["lossless-float", "float"] = "lossless-float" if written_floats else "float"
        return jiter.from_json(text, catch_duplicate_keys=True, allow_inf_nan=False, float_mode=mode)
    except ValueError as error:
        raise JsonInvalid(_reason(text, str(error))) from None


def _reason(text: bytes, words: str) -> str:
    """What is wrong, from the words of the parser, which may quote a key."""
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
    """Whether a parser that knows NaN and Infinity gets further than the one that said `words`."""
    try:
        jiter.from_json(text)
    except ValueError as error:
        return str(error) != words
    return True
