"""Byte ranges: which bytes a header asks for, when it is not looked at, and when it cannot be satisfied (RFC 9110, 14)."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.http.ranges import ByteRange, range_of, wanted_range
from service.errors import RangeUnsatisfiable

ETAG = '"5e5e"'


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-99", 0, 100),
        ("bytes=10-19", 10, 20),
        ("bytes=99-", 99, 100),
        ("bytes=0-", 0, 100),
        ("bytes=50-1000", 50, 100),
        ("bytes=-1", 99, 100),
        ("bytes=-100", 0, 100),
        ("bytes=-1000", 0, 100),
        ("BYTES=1-2", 1, 3),
        ("bytes= 1-2 ", 1, 3),
    ],
)
def test_one_range_is_these_bytes(header: str, start: int, end: int) -> None:
    assert range_of(header, 100) == ByteRange(start, end, 100)


@pytest.mark.parametrize(
    "header",
    [
        *(None, "", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=2-1", "bytes=0-1,5-6", "rows=0-1"),
        *("bytes=0--1", "bytes=+1-2", "bytes=1", "bytes=\u0661-\u0662", "bytes=" + "9" * 5000 + "-"),
    ],
)
def test_what_is_no_single_range_of_bytes_is_not_looked_at(header: str | None) -> None:
    assert range_of(header, 100) is None


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0", f"bytes={10**25}-"])
def test_a_range_without_a_byte_of_the_file_cannot_be_satisfied(header: str) -> None:
    with pytest.raises(RangeUnsatisfiable) as refused:
        range_of(header, 100)
    assert refused.value.size_bytes == 100


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=0-0", "bytes=-5"])
def test_an_empty_file_has_no_range(header: str) -> None:
    with pytest.raises(RangeUnsatisfiable):
        range_of(header, 0)


@pytest.mark.parametrize("if_range", [ETAG, None, f" {ETAG} "])
def test_a_range_of_the_same_file_is_given(if_range: str | None) -> None:
    found = wanted_range("bytes=0-1", if_range, etag=ETAG, size_bytes=9)
    assert found is not None
    assert found.content_range == "bytes 0-1/9"


@pytest.mark.parametrize("if_range", ['"other"', f"W/{ETAG}", "5e5e", "Sun, 22 Nov 2026 08:00:00 GMT", ""])
def test_a_range_of_another_file_is_not_looked_at(if_range: str) -> None:
    assert wanted_range("bytes=100-", if_range, etag=ETAG, size_bytes=9) is None


@given(st.binary(min_size=1, max_size=50), st.integers(0, 60), st.integers(0, 60))
def test_ranges_that_follow_each_other_make_the_file(content: bytes, first: int, second: int) -> None:
    cuts = sorted({0, first % len(content), second % len(content), len(content)})
    headers = [f"bytes={start}-{end - 1}" for start, end in pairwise(cuts)]
    found = [range_of(header, len(content)) for header in headers]
    assert b"".join(content[part.start : part.end] for part in found if part) == content
