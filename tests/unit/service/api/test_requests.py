"""What a request says beside its schema: headers, query and cursors. Bodies: test_bodies."""

import base64
from collections.abc import Sequence
from uuid import UUID

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from service.api.http.requests import (
    cursor_after,
    cursor_id,
    idempotency_key,
    preferred_wait_s,
    traceparent,
)
from service.errors import CursorInvalid, HeaderInvalid
from service.jobs.submission import IdempotencyKey

app = Flask(__name__)
ID = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
CURSOR = cursor_after("jobs", ID)


def wait_s(*prefer: str, longest_s: float = 60) -> float:
    """Seconds that a request with these Prefer headers asks for."""
    with app.test_request_context(headers=[("Prefer", value) for value in prefer]):
        return preferred_wait_s(longest_s)


def key_of(key: str | None, body: bytes = b"{}", path: str = "/v1/jobs") -> IdempotencyKey | None:
    headers = {} if key is None else {"Idempotency-Key": key}
    with app.test_request_context(path, headers=headers):
        return idempotency_key(body)


@given(st.uuids(), st.sampled_from(["jobs", "events"]))
def test_a_cursor_comes_back_as_the_id_it_stands_behind(last_id: UUID, kind: str) -> None:
    assert cursor_id(kind, cursor_after(kind, last_id)) == last_id


@given(st.uuids())
def test_a_cursor_needs_no_escaping_in_an_address(last_id: UUID) -> None:
    cursor = cursor_after("jobs", last_id)
    assert set(cursor) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_without_a_cursor_a_list_starts_at_its_beginning() -> None:
    assert cursor_id("jobs", None) is None


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "=",
        CURSOR[:-1],
        CURSOR + "A",
        CURSOR + "=",
        CURSOR + "\n",
        " " + CURSOR,
        CURSOR.swapcase(),
        CURSOR[:5] + "!" + CURSOR[5:],
        CURSOR[:-1] + "é",
        CURSOR[:-1] + "\0",
        str(ID),
        cursor_after("events", ID),
        base64.urlsafe_b64encode(ID.bytes + bytes(4)).decode().rstrip("="),
        base64.b64encode(b"\xff" * 20).decode().rstrip("="),
        "A" * 100_000,
    ],
)
def test_a_cursor_that_this_list_did_not_make_is_refused(cursor: str) -> None:
    with pytest.raises(CursorInvalid):
        cursor_id("jobs", cursor)


@given(st.uuids(), st.integers(0, 26), st.characters(codec="ascii"))
def test_a_cursor_with_one_character_changed_is_refused(last_id: UUID, at: int, character: str) -> None:
    cursor = cursor_after("jobs", last_id)
    changed = cursor[:at] + character + cursor[at + 1 :]
    if changed != cursor:
        with pytest.raises(CursorInvalid):
            cursor_id("jobs", changed)


@given(st.text(max_size=40))
def test_no_text_makes_a_cursor_fail_otherwise(cursor: str) -> None:
    with pytest.raises(CursorInvalid):
        cursor_id("jobs", cursor)


@pytest.mark.parametrize(
    "prefer",
    [
        ["wait=10"],
        ["Wait=10"],
        ["WAIT=10"],
        [" wait = 10 "],
        ['wait="10"'],
        ["wait=010"],
        ["respond-async, wait=10"],
        ["respond-async,wait=10,handling=lenient"],
        ["respond-async", "wait=10"],
        ["wait=10", "wait=20"],
        ["wait=10, wait=20"],
        [", ,wait=10"],
        ["wait=10; foo=bar"],
        ["wait=10;foo"],
        ['handling="a, wait=7", wait=10'],
    ],
    ids=repr,
)
def test_every_form_of_a_preference_for_ten_seconds_is_understood(prefer: Sequence[str]) -> None:
    assert wait_s(*prefer) == 10


@pytest.mark.parametrize(
    "prefer",
    [[], [""], ["respond-async"], ["handling=lenient"], ["waiting=10"], ["x-wait=10"], ["wait=0"], ["return=wait"]],
    ids=repr,
)  # fmt: skip
def test_without_a_preference_to_wait_nobody_waits(prefer: Sequence[str]) -> None:
    assert wait_s(*prefer) == 0


@pytest.mark.parametrize(
    "value",
    ["wait", "wait=", "wait=x", "wait=-1", "wait=1.5", "wait=1e3", "wait=1 0", "wait=+5", "wait=inf",
     "wait=nan", "wait=0x10", "wait=10s", "wait==10", "wait=10=10", 'wait="', 'wait="x"', 'wait="10', "wait=²"],
)  # fmt: skip
def test_a_wait_that_is_no_whole_number_of_seconds_is_refused(value: str) -> None:
    with pytest.raises(HeaderInvalid, match="wait=10"):
        wait_s(value)


@pytest.mark.parametrize("value", ["wait=61", "wait=999999"])
def test_a_longer_wait_than_is_granted_is_cut(value: str) -> None:
    assert wait_s(value, longest_s=60) == 60


def test_a_wait_of_absurd_length_is_refused_or_cut() -> None:
    with pytest.raises(HeaderInvalid):
        wait_s("wait=" + "9" * 5000)


@given(st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=30))
def test_no_preference_makes_a_wait_fail_otherwise(value: str) -> None:
    try:
        assert 0 <= wait_s(value) <= 60
    except HeaderInvalid:
        assert "wait" in value.lower()


def test_a_request_without_an_idempotency_key_has_none() -> None:
    assert key_of(None) is None


@pytest.mark.parametrize("key", ["a", "case-2041-v1", "!~", "x" * 255, "'; DROP TABLE job"[0]])
def test_visible_characters_make_an_idempotency_key(key: str) -> None:
    found = key_of(key)
    assert found is not None
    assert found.key.endswith(key)


@pytest.mark.parametrize("key", ["", " ", "a b", "a\tb", "é", "\x7f", "x" * 256, "a" * 100_000])
def test_anything_else_is_refused_as_an_idempotency_key(key: str) -> None:
    with pytest.raises(HeaderInvalid, match="255 visible ASCII"):
        key_of(key)


def test_the_same_key_and_body_make_the_same_idempotency_key() -> None:
    assert key_of("k") == key_of("k")


@pytest.mark.parametrize("other", [key_of("k", body=b"{} "), key_of("l"), key_of("k", path="/v1/jobs/bulk")])
def test_another_body_key_or_call_makes_another_idempotency_key(other: IdempotencyKey) -> None:
    assert key_of("k") != other


def test_one_key_on_two_calls_does_not_collide() -> None:
    one, other = key_of("k"), key_of("k", path="/v1/jobs/bulk")
    assert one is not None
    assert other is not None
    assert one.of_item(0) != other.of_item(0)


@given(st.lists(st.integers(0, 999), unique=True, min_size=2, max_size=5))
def test_each_item_of_a_request_has_a_digest_of_its_own(indexes: list[int]) -> None:
    key = IdempotencyKey("k", b"")
    assert len({key.of_item(index) for index in indexes}) == len(indexes)


TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def trace_of(header: str | None) -> str | None:
    with app.test_request_context(headers={} if header is None else {"traceparent": header}):
        return traceparent()


def test_a_valid_trace_is_taken_as_it_is() -> None:
    assert trace_of(TRACE) == TRACE
    assert trace_of(TRACE[:-2] + "00") is not None


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        TRACE.upper(),
        TRACE + "-extra",
        " " + TRACE + "x",
        TRACE.replace("00-", "01-", 1),
        TRACE.replace("00-", "ff-", 1),
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01",
        TRACE[:-1],
        TRACE.replace("4bf9", "4bg9"),
        "x" * 10_000,
    ],
)
def test_an_invalid_trace_is_as_good_as_none(header: str | None) -> None:
    assert trace_of(header) is None


def test_a_stream_lasts_as_long_as_may_be_unless_asked_otherwise() -> None:
    with app.test_request_context():
        assert preferred_wait_s(60, without_s=60) == 60
    with app.test_request_context(headers={"Prefer": "wait=0"}):
        assert preferred_wait_s(60, without_s=60) == 0
