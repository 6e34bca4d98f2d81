"""Options that are pairs: which `=` divides them, and what is refused with which words."""

from typing import Any

import click
import pytest

from service.cli.evaluation.command import LABEL_OF_VALUE
from service.cli.options import Pair, json_or_text

PATH = Pair("NAME=PATH", "scan=chest.png")
VALUE = Pair("NAME=VALUE", "top=5", read=json_or_text)


@pytest.mark.parametrize(
    ("pair", "written", "read"),
    [
        (PATH, "scan=a=b.png", ("scan", "a=b.png")),
        (VALUE, "top=5", ("top", 5)),
        (VALUE, "site=arm=left", ("site", "arm=left")),
        (VALUE, "site=", ("site", "")),
        (LABEL_OF_VALUE, ">=3=high", (">=3", "high")),
        (LABEL_OF_VALUE, "=unknown", ("", "unknown")),
    ],
)
def test_a_pair_is_divided_once(pair: Pair, written: str, read: tuple[str, Any]) -> None:
    assert pair.convert(written, None, None) == read


@pytest.mark.parametrize(
    ("pair", "written", "words"),
    [
        (PATH, "scan", "write it as NAME=PATH, such as scan=chest.png"),
        (PATH, "scan=", "NAME=PATH"),
        (PATH, "=chest.png", "NAME=PATH"),
        (VALUE, "=5", "NAME=VALUE"),
        (LABEL_OF_VALUE, "1", "write it as VALUE=LABEL, such as 1=malignant"),
        (LABEL_OF_VALUE, "1=", "VALUE=LABEL"),
    ],
)
def test_what_is_no_pair_is_refused_with_an_example(pair: Pair, written: str, words: str) -> None:
    with pytest.raises(click.BadParameter, match=words):
        pair.convert(written, None, None)
