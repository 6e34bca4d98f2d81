"""Values of rows: by the names of columns, never by their places."""

from dataclasses import dataclass
from types import SimpleNamespace as Answer

import pytest

from service import rows


@dataclass(frozen=True)
class Sample:
    """A value of two columns and something that is made of a third."""

    kind: str
    size: int
    opened: bytes = b""


def test_fields_take_the_columns_of_their_names_wherever_these_stand() -> None:
    assert rows.build(Sample, Answer(size=3, sealed=b"x", opened=b"y", kind="scan")) == Sample(
        "scan", 3, b"y"
    )


def test_what_is_derived_goes_before_a_column_of_its_name() -> None:
    row = Answer(kind="scan", size=3, opened=b"sealed")
    assert rows.build(Sample, row, opened=b"plain") == Sample("scan", 3, b"plain")
    assert rows.build(Sample, row, kind="report") == Sample("report", 3, b"sealed")


def test_a_field_without_a_column_is_refused_even_where_it_has_a_default() -> None:
    with pytest.raises(AttributeError, match="opened"):
        rows.build(Sample, Answer(kind="scan", size=3))
