"""What a reader sees on a terminal and elsewhere, and values in words."""

import os
import pty
import subprocess
import sys

import pytest

from service.cli import job_tables, model_tables, tables
from service.cli.errors import ApiProblem
from service.cli.output import Output, error_text, printable


def plain(capsys: pytest.CaptureFixture[str], readable: object) -> str:
    Output(as_json=False).print(readable)  # type: ignore[arg-type]  # a renderable of rich
    return capsys.readouterr().out


def test_elsewhere_than_on_a_terminal_a_table_is_bare_columns(capsys: pytest.CaptureFixture[str]) -> None:
    table = tables.listing(("ID", "STATE"), [("a" * 200, "failed"), ("b", "ok")], empty="")
    assert plain(capsys, table) == f"ID{' ' * 200}STATE\n{'a' * 200}  failed\nb{' ' * 201}ok\n"


def on_terminal(code: str) -> tuple[bytes, bytes]:
    """What Python code writes to the terminal that is its stderr, and to a stdout that is none."""
    environment = {**os.environ, "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    ours, theirs = pty.openpty()
    ended = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=theirs, env=environment, check=True
    )
    os.close(theirs)
    screen = os.read(ours, 4096)
    os.close(ours)
    return screen, ended.stdout


def test_on_a_terminal_states_are_coloured_and_a_line_stands_below_the_heading() -> None:
    screen, _ = on_terminal("""
import sys
from service.cli import tables
from service.cli.output import console_over
console_over(sys.stderr).print(tables.listing(("ID", "STATE"), [("a", "failed")], empty=""))
""")
    assert "\u2500" in screen.decode()
    assert b"\x1b[31mfailed" in screen


def test_a_list_without_rows_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert plain(capsys, tables.jobs([])) == "No jobs.\n"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "-"),
        ("", "-"),
        ({}, "-"),
        ([], "-"),
        (0, "0"),
        (False, "no"),
        (True, "yes"),
        (0.123456789, "0.123457"),
        ({"a": 1, "b": {"c": None}}, "a 1, b c -"),
        (list("abcdefgh"), "a, b, c, d, e, f and 2 more"),
    ],
)
def test_a_json_value_in_words(value: object, words: str) -> None:
    assert tables.cell_text(value) == words


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ({"label": "ill", "display": "Ill", "probabilities": {"ill": 0.98765}}, "Ill (ill 0.988)"),
        (
            {"label": None, "abstained": True, "abstain_reason": "too close to call"},
            "abstained: too close to call",
        ),
        (
            {
                "type": "recommendation",
                "abstained": False,
                "items": [
                    {"rank": 1, "display": "Furosemide", "reasons": [{"display": "Heart failure"}]},
                    {"rank": 2, "display": "Aspirin", "reasons": []},
                ],
                "removed": [
                    {"display": "Digoxin", "level": "contraindicated", "against": "verapamil"},
                    {"display": "Digoxin", "level": "contraindicated", "against": "verapamil"},
                ],
                "unknown": [{"code": "Z99"}],
            },
            (
                "1. Furosemide (because of Heart failure); 2. Aspirin; "
                "removed: Digoxin (contraindicated: verapamil); not known: Z99"
            ),
        ),
        ({"type": "ranking", "runtime": "r", "items": [{"drug": "a"}]}, "items drug a"),
    ],
)
def test_an_answer_in_a_few_words(result: dict[str, object], words: str) -> None:
    assert job_tables.answer({"result": result}) == words


def test_what_a_field_may_be_is_shown_where_its_schema_refers_to_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    colour = {"type": "string", "title": "Colour", "enum": ["red", "黄"]}
    properties = {
        "plain": {"$ref": "#/$defs/Colour"},
        "perhaps": {"anyOf": [{"$ref": "#/$defs/Colour"}, {"type": "null"}], "title": "Hue"},
        "site": {"type": ["string", "null"], "title": "Site", "enum": ["arm", None]},
        "note": {"type": "string", "title": "Note"},
    }
    shown = model_tables.model(
        dict.fromkeys(model_tables.MODEL_FIELDS, "x")
        | {"versions": [], "aliases": {}, "labels": [], "metrics": {}}
        | {"input_schema": {"$defs": {"Colour": colour}, "type": "object", "properties": properties}}
    )
    assert plain(capsys, shown).split("Input\n")[1].splitlines() == [
        "plain    Colour [red, 黄]", "perhaps  Hue [red, 黄]", "site     Site [arm]", "note     Note",
    ]  # fmt: skip


def test_of_many_wrong_fields_a_few_are_named() -> None:
    errors = [{"pointer": f"/input/{n}", "code": "c", "detail": f"Mend {n}."} for n in range(8)]
    assert tables.problem({"code": "input_invalid", "errors": errors}) == (
        "input_invalid: Mend 0. Mend 1. Mend 2. Mend 3. Mend 4. Mend 5. And 2 more fields."
    )


@pytest.mark.parametrize(
    ("duration_s", "words"),
    [(0.0204, "20 ms"), (0.9, "900 ms"), (1.25, "1.2 s"), (119, "119.0 s"), (180, "3 min")],
)
def test_a_duration_in_the_unit_that_suits_it(duration_s: float, words: str) -> None:
    assert tables.seconds(duration_s) == words


def test_times_are_shown_in_utc() -> None:
    assert tables.moment("2026-11-22T05:00:00.123456+01:00") == "2026-11-22 04:00:00Z"
    assert tables.moment("2026-11-22T04:00:00.123456Z", precise=True) == "2026-11-22 04:00:00.123Z"


def test_line_breaks_stay_and_control_characters_do_not() -> None:
    assert printable("a\nb\x1b[2J\x00\x7f\x85\u2066c\u00fc") == "a\nb\u00b7[2J\u00b7\u00b7\u00b7\u00b7c\u00fc"


def test_a_character_that_the_stream_lacks_is_replaced() -> None:
    code = "from service.cli.output import Output; Output(as_json=True).write_json('\\u2192')"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    assert ended.stdout == b'"?"\n'


SPINNING = """
from service.cli.output import Output
with Output(as_json=False).waiting("scoring") as label:
    label("half [done]")
"""


def test_a_spinner_turns_on_a_terminal_only() -> None:
    screen, stdout = on_terminal(SPINNING)
    assert b"half [done]" in screen
    assert stdout == b""
    quiet = subprocess.run([sys.executable, "-c", SPINNING], capture_output=True, check=True)
    assert quiet.stdout + quiet.stderr == b""


@pytest.mark.parametrize(("as_json", "shown"), [(False, True), (True, False)])
def test_bytes_that_travel_are_shown_as_a_bar_on_a_terminal_but_beside_json(
    as_json: bool, shown: bool
) -> None:
    screen, stdout = on_terminal(f"""
import sys
from service.cli.output import Output
with Output(as_json={as_json}).counting("uploading ward.csv", 2_000_000) as done:
    done(1_000_000)
sys.stderr.write("end")
""")
    assert [words in screen for words in (b"uploading ward.csv", b"1.0/2.0 MB")] == [shown, shown]
    assert stdout == b""


def test_a_fault_of_the_service_is_told_with_the_id_by_which_its_log_knows_it() -> None:
    assert "request r-1" in error_text(ApiProblem(500, "internal_error", "Ours.", request_id="r-1"))
    assert "r-1" not in error_text(ApiProblem(422, "input_invalid", "Yours.", request_id="r-1"))
    assert error_text(ApiProblem(503, "x", "y")) == "error: y [x]"
