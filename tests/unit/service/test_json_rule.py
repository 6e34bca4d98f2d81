"""One rule for JSON, whichever way it comes: jobs, lines of batches, golden cases, files of the command line."""

from pathlib import Path

import click
import pytest
from pydantic import BaseModel

from models.golden_cases import GoldenFailed, parse_golden
from models.strict_json import JsonInvalid, read_json
from service.api.http.requests import body_as
from service.batches.files.layouts import BatchFormat
from service.cli.bodies import json_bytes
from service.cli.cases import JsonCases, read_cases
from service.errors import BodyNotJson
from tests.unit.service.batches.files.example_batches import errors, scored, told

GOOD = b'{"dose":1,"age":2}'
# The value of `dose` in an input; what is wrong with an object stands where its key begins.
BAD = {
    "a field twice": b'1,"dose":2',
    "a field twice, once escaped": b'1,"\\u0064ose":2',
    "a field twice, alike": b'1,"dose":1',
    "a field twice in an inner object": b'{"a":1,"a":2}',
    "NaN": b"NaN",
    "Infinity": b"Infinity",
    "-Infinity": b"-Infinity",
    "an integer of 5,000 digits": b"1" * 5000,
    "a fraction of 5,000 digits": b"1" * 5000 + b".5",
    "half a surrogate pair": b'"\\ud800"',
    "half a surrogate pair as a name": b'1,"\\udc00":1',
    "a surrogate in UTF-8": b'"\xed\xa0\x80"',
    "300 levels": b"[" * 300 + b"]" * 300,
    "100,000 levels": b"[" * 100_000 + b"]" * 100_000,
    "a leading zero": b"01",
    "a trailing comma": b"1,",
    "a comment": b"1/**/",
    "single quotes": b"'a'",
    "a control character": b'"\x01"',
    "something behind the value": b"1}}",
    "a second value": b'1}{"dose":1',
}


class Anything(BaseModel):
    """A body of any fields."""


@pytest.mark.parametrize("content", BAD.values(), ids=BAD)
def test_what_is_no_json_is_refused_in_every_way_it_can_come(content: bytes, tmp_path: Path) -> None:
    text = b'{"dose":' + content + b',"age":2}'
    with pytest.raises(BodyNotJson):
        body_as(Anything, text)
    with pytest.raises(BodyNotJson):
        body_as(Anything, b'{"jobs":[' + text + b"]}")
    (tmp_path / "case.json").write_bytes(text)
    with pytest.raises(click.UsageError, match=r"case\.json is not JSON"):
        read_cases(str(tmp_path / "case.json"))
    if b"\xed" not in content:  # a file that is not UTF-8 is refused before its lines are read
        with pytest.raises(GoldenFailed, match="golden_invalid"):
            parse_golden('{"cases":[{"expected":{},"input":' + text.decode() + "}]}")
        lines = b"\n".join([GOOD, text, GOOD])
        assert [(row, code) for row, _, code in errors(lines, BatchFormat.NDJSON)] == [(2, "invalid_json")]


def test_a_byte_order_mark_is_skipped_in_every_way_it_can_come(tmp_path: Path) -> None:
    body_as(Anything, b"\xef\xbb\xbf" + GOOD)
    (tmp_path / "case.json").write_bytes(b"\xef\xbb\xbf" + GOOD)
    assert read_cases(str(tmp_path / "case.json")) == JsonCases([{"dose": 1, "age": 2}], listed=False)
    assert parse_golden('\ufeff{"cases":[]}') == ()
    assert errors(b"\xef\xbb\xbf" + GOOD, BatchFormat.NDJSON) == []


@pytest.mark.parametrize("number", [b"1e400", b"-1e400", b"1" * 400])
def test_a_number_past_float64_is_refused_by_name_where_a_schema_knows_it(
    number: bytes, tmp_path: Path
) -> None:
    text = b'{"dose":' + number + b',"age":2}'
    [(row, column, code)] = errors(text + b"\n" + GOOD, BatchFormat.NDJSON)
    assert (row, column) == (1, "dose")
    assert code in {"not_finite", "out_of_range"}
    (tmp_path / "case.json").write_bytes(text)
    cases = read_cases(str(tmp_path / "case.json"))
    assert isinstance(cases, JsonCases)
    assert read_json(json_bytes({"input": cases.inputs[0]})) == {"input": read_json(text)}, "it is sent on"
    [golden] = parse_golden('{"cases":[{"expected":{},"input":' + text.decode() + "}]}")
    assert golden.input == read_json(text), "the pipeline is asked"


@pytest.mark.parametrize("number", [b"1." + b"5" * 5000, b"1e" + b"0" * 5000 + b"1"])
def test_digits_behind_the_point_and_of_an_exponent_are_not_counted(number: bytes, tmp_path: Path) -> None:
    text = b'{"dose":' + number + b',"age":2}'
    body_as(Anything, text)
    (tmp_path / "case.json").write_bytes(text)
    assert isinstance(read_cases(str(tmp_path / "case.json")), JsonCases)
    assert errors(text + b"\n" + GOOD, BatchFormat.NDJSON) == []
    parse_golden('{"cases":[{"expected":{},"input":' + text.decode() + "}]}")


def test_a_second_byte_order_mark_is_refused_in_every_way_it_can_come(tmp_path: Path) -> None:
    mark = b"\xef\xbb\xbf"
    with pytest.raises(BodyNotJson):
        body_as(Anything, 2 * mark + GOOD)
    (tmp_path / "case.json").write_bytes(2 * mark + GOOD)
    with pytest.raises(click.UsageError, match="not JSON"):
        read_cases(str(tmp_path / "case.json"))
    with pytest.raises(GoldenFailed):
        parse_golden('\ufeff\ufeff{"cases":[]}')
    wrong = [(1, "invalid_json"), (3, "invalid_json")]
    content = 2 * mark + GOOD + b"\n" + GOOD + b"\n" + mark + GOOD
    assert [(row, code) for row, _, code in errors(content, BatchFormat.NDJSON)] == wrong


def test_what_the_command_line_sends_keeps_every_text_and_number() -> None:
    body = {"a": [1.5, 10**400, "Infinity", "1e999", "é"], "b": {"c": float("inf"), "d": -float("inf")}}
    assert read_json(json_bytes(body)) == body


@pytest.mark.parametrize("content", [b'{"secret":1,"secret":2}', b'["secret"', b"secret", b'["secret\x01"]'])
def test_a_refusal_quotes_nothing_of_the_text(content: bytes) -> None:
    with pytest.raises(JsonInvalid) as caught:
        read_json(content)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(("content", "word"), [
    (b'{"a":NaN}', "NaN and Infinity"), (b"[-Infinity]", "NaN and Infinity"), (b'{"a":1,"a":1}', "twice"),
    ('{"a":"ä"}'.encode("latin-1"), "not UTF-8"), (b"", "EOF"),
])  # fmt: skip
def test_a_refusal_says_what_is_wrong(content: bytes, word: str) -> None:
    with pytest.raises(JsonInvalid, match=word):
        read_json(content)


@pytest.mark.parametrize(
    "content", [b"", b"[01]", b"{'a':1}", b'["\x01"]', b'{"a":1,}', b"[1] [2]", b'{"a":bad}']
)
def test_nothing_is_said_of_nan_where_it_is_not_what_is_wrong(content: bytes) -> None:
    with pytest.raises(JsonInvalid) as caught:
        read_json(content)
    assert "NaN" not in str(caught.value)


def test_numbers_are_floats_unless_what_is_written_is_asked_for() -> None:
    content = b'{"a":[1.10,2,1E400]}'
    assert read_json(content) == {"a": [1.1, 2, float("inf")]}
    assert [str(number) for number in read_json(content, written_floats=True)["a"]] == ["1.10", "2", "1E400"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"dose":1,"secret":2,"secret":3}', "an object names a field twice: name each field once."),
        (b'{"dose":NaN,"age":2}', "expected value at column 9; NaN and Infinity are not JSON numbers."),
        (b'{"dose":1,"age":secret}', "expected value at column 17."),
    ],
)
def test_a_line_of_a_batch_is_told_what_a_single_job_would_be(line: bytes, words: str) -> None:
    with pytest.raises(BodyNotJson) as alone:
        body_as(Anything, line)
    [fault] = told(scored(b"\n".join([GOOD, line, GOOD]), BatchFormat.NDJSON))
    assert fault == (2, None, "invalid_json", f"The line is not valid JSON: {words}")
    assert words in str(alone.value.detail).replace("line 1 column", "column")


def test_a_line_that_is_null_is_no_object() -> None:
    [fault] = told(scored(b"\n".join([GOOD, b"null", GOOD]), BatchFormat.NDJSON))
    assert fault == (2, None, "invalid_json", "The line is not a JSON object.")


def test_past_a_bound_of_different_reasons_lines_keep_their_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.batches.files.formats.json_objects.KINDS_NAMED", 2)
    bad = [b'{"dose":' + b" " * row + b"x}" for row in range(5)]
    assert [code for _, _, code in errors(b"\n".join([GOOD, *bad, b"[]"]), BatchFormat.NDJSON)] == [
        *["invalid_json"] * 5, "not_an_object",
    ]  # fmt: skip
