"""Numbers in lines of JSON: what becomes a column, and which are too large to be one without a second look."""

import pyarrow as pa
import pytest

from service.batches.files.formats.json_kinds import Kinds
from service.batches.files.formats.json_objects import FLOAT_MAX, _as_float

LARGE = 2**53


@pytest.mark.parametrize(
    ("number", "found"),
    [(10**400, FLOAT_MAX), (-(10**400), -FLOAT_MAX), (10**300, 1e300), (-3, -3.0), (0.5, 0.5)],
)
def test_an_integer_past_float64_is_the_largest_number_of_its_sign(number: float, found: float) -> None:
    assert _as_float(number) == found


@pytest.mark.parametrize("kind", [pa.int64(), pa.float64()])
@pytest.mark.parametrize(
    ("values", "are_exact"),
    [
        ([], True),
        ([None], True),
        ([LARGE, None, -LARGE], True),
        ([0, LARGE + 2], False),
        ([-LARGE - 2, None], False),
    ],
)
def test_columns_of_numbers_are_exact_up_to_two_to_the_53rd(
    kind: pa.DataType, values: list[int | None], are_exact: bool
) -> None:
    small = pa.array([1.0] * len(values))
    found = {
        "first": small,
        "words": pa.array(["x"] * len(values)),
        "last": pa.array(values, pa.int64()).cast(kind, safe=False),
    }
    assert Kinds(list(found), None)._are_exact(found) is are_exact
    assert Kinds(list(found), None)._are_exact({"last": found["last"], "first": small}) is are_exact
