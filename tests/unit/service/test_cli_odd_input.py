"""Odd words on the command line end with a documented exit code and one line that says why, never with a traceback."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from models.pipelines.parts import FILE_FORM
from service.cli import main

KEY = "mq_01890a5dac96774bbcceb302099a8057_secret"
Captured = pytest.CaptureFixture[str]


def medqueue(*words: str, answer: Any = None, url: str = "http://api.test") -> int:
    """Run a command against a service that gives this answer to everything."""
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=answer if answer is not None else {}))
    return main([*words, "--url", url, "--key", KEY], transport=transport)


@pytest.fixture
def case(tmp_path: Path) -> str:
    (tmp_path / "case.json").write_text('{"a": 1}')
    return str(tmp_path / "case.json")


@pytest.mark.parametrize(
    "url",
    ["x", "--", "=", "1e400", "9" * 5000, "a" * 5000, "\x1b[31m", "\n", "http://", "http://[::1", "http://a:b", "http://a:99999",
     "ftp://a", "\udcff", "é", "file:///etc/passwd", "http:a"],
    ids=lambda url: repr(url[:20]),
)  # fmt: skip
def test_what_is_no_address_of_a_service_ends_with_3(url: str, capsys: Captured) -> None:
    assert medqueue("models", "list", url=url) == 3
    told = capsys.readouterr().err
    assert "not the address of a service" in told
    assert "\x1b" not in told


@pytest.mark.parametrize("number", ["inf", "nan", "-inf", "1e999", "NaN"])
def test_a_wait_without_an_end_is_a_usage_error(case: str, number: str) -> None:
    assert medqueue("submit", case, "--model", "m", "--wait", number) == 2


@pytest.mark.parametrize("number", ["9" * 5000, "٣", "²", "-1", "0", "1e3", ""])
def test_a_number_of_rows_that_is_none_is_a_usage_error(tmp_path: Path, number: str) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    words = ("batch", "submit", str(tmp_path / "a.csv"), "--model", "m")
    assert medqueue(*words, "--on-error", number) == 2


def refused(*errors: dict[str, str]) -> httpx.MockTransport:
    """A service that refuses an input with these faults of fields."""
    problem = {"code": "input_invalid", "detail": "The input does not fit the model.", "errors": errors}
    return httpx.MockTransport(lambda _: httpx.Response(422, json=problem))


def test_a_file_that_is_missing_is_told_with_the_option_that_sends_it(case: str, capsys: Captured) -> None:
    lacking = {"pointer": "/input/scan", "code": "missing_field", "detail": f"scan is missing. {FILE_FORM}"}
    other = {"pointer": "/input/age", "code": "missing_field", "detail": "age is missing."}
    words = ["submit", case, "--model", "m", "--url", "http://api.test", "--key", KEY]
    assert main(words, transport=refused(lacking, other)) == 4
    told = capsys.readouterr().err
    assert (
        "The input does not fit the model. Send a local file with --part scan=PATH. [input_invalid]" in told
    )
    assert "/input/age: age is missing. [missing_field]" in told
    assert main(words, transport=refused(other)) == 4
    assert "--part" not in capsys.readouterr().err


@pytest.mark.parametrize(("name", "batch"), [("ward.csv", True), ("ward.parquet", True), ("ward.x", False)])
def test_a_table_where_fields_are_wanted_is_told_to_be_a_batch(
    tmp_path: Path, capsys: Captured, name: str, batch: bool
) -> None:
    path = tmp_path / name
    path.write_text("id,age\na,61\n")
    unknown = {"pointer": "/input/data", "code": "unknown_field", "detail": "Remove it."}
    words = ["submit", str(path), "--model", "m", "--url", "http://api.test", "--key", KEY]
    assert main(words, transport=refused(unknown)) == 4
    told = capsys.readouterr().err
    assert "If one of the fields is a file, send it with --part NAME=PATH." in told
    assert (f"`medqueue batch submit {path} --model m`" in told) is batch


@pytest.mark.parametrize(("name", "batch"), [("ward.ndjson", True), ("ward.json", False)])
def test_lines_of_json_are_told_to_be_a_batch(
    tmp_path: Path, capsys: Captured, name: str, batch: bool
) -> None:
    (tmp_path / name).write_text('{"age": 61}\n{"age": 62}\n')
    assert medqueue("submit", str(tmp_path / name), "--model", "m") == 2
    told = capsys.readouterr().err
    assert "is not JSON" in told
    assert ("medqueue batch submit" in told) is batch


@pytest.mark.parametrize("option", ["--subject", "--idempotency-key", "--model"])
def test_a_text_that_is_not_utf8_is_a_usage_error(case: str, option: str, capsys: Captured) -> None:
    words = ["submit", case, "--no-wait", option, os.fsdecode(b"\xff")]
    assert medqueue(*words, *(() if option == "--model" else ("--model", "m"))) == 2
    assert "not UTF-8" in capsys.readouterr().err


def test_a_key_of_two_lines_is_a_usage_error(case: str) -> None:
    transport = httpx.MockTransport(_refusing)
    words = ["submit", case, "--model", "m", "--idempotency-key", "a\nb", "--url", "http://a", "--key", KEY]
    assert main(words, transport=transport) == 2


def _refusing(request: httpx.Request) -> httpx.Response:
    """What httpx does with such a header on a real connection."""
    raise httpx.LocalProtocolError("Illegal header value", request=request)


@pytest.mark.parametrize("name", ["a" * 5000, "a/b", "../../etc/passwd", ""])
@pytest.mark.parametrize("kind", ["worker", "scheduler"])
def test_a_process_that_no_file_can_be_named_after_is_a_usage_error(kind: str, name: str) -> None:
    assert main(["health", kind, "--name", name]) == 2


@pytest.mark.parametrize(
    "words", [("models", "list"), ("jobs", "list"), ("batch", "list"), ("webhooks", "list")]
)
@pytest.mark.parametrize("answer", [{}, {"items": None}, {"items": {}}, []])
def test_a_service_that_is_another_ends_with_3(words: tuple[str, ...], answer: Any, capsys: Captured) -> None:
    assert medqueue(*words, answer=answer) == 3
    assert "not medqueue" in capsys.readouterr().err


def png(folder: Path) -> None:
    (folder / "case.json").write_bytes(b"\x89PNG\r\n\x1a\n")


def utf16(folder: Path) -> None:
    (folder / "case.json").write_bytes('{"a": 1}'.encode("utf-16"))


def folder_instead(folder: Path) -> None:
    (folder / "case.json").mkdir()


@pytest.mark.parametrize("write", [png, utf16, folder_instead])
def test_a_file_that_holds_something_else_is_a_usage_error(
    write: Callable[[Path], None], tmp_path: Path, capsys: Captured
) -> None:
    write(tmp_path)
    assert medqueue("submit", str(tmp_path / "case.json"), "--model", "m") == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("reference", ["", ".", ".."])
def test_a_model_without_a_name_is_a_usage_error(reference: str, capsys: Captured) -> None:
    assert medqueue("models", "show", reference, answer={"items": []}) == 2
    assert "NAME@VERSION" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [("models", "list"), ("models", "list", "--json"), ("jobs", "list", "--json"), ("--help",)]
)
def test_a_full_disk_under_stdout_is_told_and_ends_with_2(
    words: tuple[str, ...], capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr("sys.stdout", full)
        ended = main([*words]) if words == ("--help",) else medqueue(*words, answer={"items": []})
    assert ended == 2
    assert capsys.readouterr().err == "Error: The output cannot be written: No space left on device.\n"


def test_a_full_disk_leaves_nothing_for_the_interpreters_end() -> None:
    with Path("/dev/full").open("w") as full:
        command = [
            sys.executable,
            "-c",
            "import sys; from service.cli import main; sys.exit(main())",
            "--help",
        ]
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (
        2,
        "Error: The output cannot be written: No space left on device.\n",
    )


def test_a_path_below_a_file_is_a_usage_error_that_names_it(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "CARD.md").write_text("A card.")
    model = Path(__file__).parents[1] / "models/foreign/sklearn-tensor.onnx"
    assert main(["models", "new", str(tmp_path / "CARD.md" / "q"), "--from", str(model)]) == 2
    told = capsys.readouterr().err
    assert f"{tmp_path}/CARD.md/q cannot be used: Not a directory." in told
    assert "Traceback" not in told


@pytest.mark.parametrize("command", ["check", "seal"])
def test_a_folder_that_cannot_be_read_is_a_usage_error(
    command: str, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(folder: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(folder / "fd"))

    monkeypatch.setattr(f"models.checking.{'publishable' if command == 'check' else 'seal_bundle'}", denied)
    assert main(["models", command, str(tmp_path)]) == 2
    assert f"{tmp_path}/fd cannot be used: Permission denied." in capsys.readouterr().err


def test_a_code_that_is_not_utf8_is_a_usage_error(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    def open_installation(_: Path) -> None:
        "a\udcff".encode()  # as the database's driver does

    monkeypatch.setattr("service.cli.installation.open_installation", open_installation)
    assert main(["jobs", "requeue", "--code", "a\udcff"]) == 2
    assert "not UTF-8" in capsys.readouterr().err
    assert main(["jobs", "requeue", "--code", "a"]) == 70, "a fault of medqueue stays one"


@pytest.mark.parametrize("command", [("submit",), ("batch", "submit")])
@pytest.mark.parametrize("kind", ["device", "pipe"])
def test_a_pipe_or_a_device_in_the_place_of_a_file_is_a_usage_error(
    command: tuple[str, ...], kind: str, tmp_path: Path, capsys: Captured
) -> None:
    path = tmp_path / "endless.csv"
    if kind == "device":
        path.symlink_to("/dev/zero")
    else:
        os.mkfifo(path)
    assert medqueue(*command, str(path), "--model", "m") == 2
    assert "pipe or a device: name a regular file" in capsys.readouterr().err


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_stream_does_not_change_how_a_command_ends(closed: str, tmp_path: Path) -> None:
    command = f'exec "$0" -c "import sys; from service.cli import main; sys.exit(main())" models check "$1" {closed}'
    ended = subprocess.run(
        ["sh", "-c", command, sys.executable, str(tmp_path)], capture_output=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (1, b"")
