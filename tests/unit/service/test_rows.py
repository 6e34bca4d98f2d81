"""Values of rows: by the names of columns, never by their places."""

from dataclasses import dataclass, field
from types import SimpleNamespace as Answer

import pytest

from service import rows


@dataclass(frozen=True)
class Sample:
    """A value of two columns, something that is made of a third, and a name that is made of them."""

    kind: str
    size: int
    opened: bytes = b""
    name: str = field(init=False, default="")

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", f"{self.kind} of {self.size}")


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


def test_a_field_that_its_class_makes_is_not_looked_for() -> None:
    made = rows.build(Sample, Answer(kind="scan", size=3, opened=b"", name="another"))
    assert made.name == "scan of 3"
