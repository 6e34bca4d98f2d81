"""The command line itself: what stands in it, how it starts, where it looks, how errors end, and its page in docs/."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import httpx
import pytest

from service import errors
from service.accounts import Scope
from service.cli import main, root
from service.cli.errors import (
    AnswerLost,
    ApiProblem,
    ContentDamaged,
    SchemaMissing,
    StackNotFound,
    Unreachable,
)
from service.cli.exits import ExitCode, exit_code_of
from service.cli.keys import SCOPES
from service.embedded import PortTaken
from service.embedded.folder import DataFolder
from service.pulse import Pulse, pulse_file
from service.refusals import Refusal, refusals_file, write_refusals

PAGE = (Path(__file__).parents[3] / "docs" / "cli.md").read_text()
SLOW = (
    "alembic",
    "celery",
    "flask",
    "httpx",
    "kombu",
    "numpy",
    "psycopg",
    "pyarrow",
    "pydantic",
    "redis",
    "rich",
    "sqlalchemy",
)

Captured = pytest.CaptureFixture[str]


def commands(
    group: click.Command = root.medqueue, path: str = "medqueue"
) -> Iterator[tuple[str, click.Command]]:
    """Every command with its full name."""
    for name, command in getattr(group, "commands", {}).items():
        yield f"{path} {name}", command
        yield from commands(command, f"{path} {name}")


COMMANDS = dict(commands())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_stands_in_the_docs(name: str) -> None:
    assert f"`{name}" in PAGE


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_a_command_stands_in_the_docs(name: str) -> None:
    options = {
        word for option in COMMANDS[name].params if isinstance(option, click.Option) for word in option.opts
    }
    assert [word for word in options if f"`{word}`" not in PAGE] == []


@pytest.mark.parametrize("code", ExitCode)
def test_every_exit_code_stands_in_the_docs_and_in_the_help(code: ExitCode) -> None:
    assert f"| {code.value} | {code.meaning} |" in PAGE
    assert f"{code.value:>3}  {code.meaning}" in root.EPILOG


def test_the_docs_name_no_command_that_there_is_not() -> None:
    named = set(re.findall(r"`(medqueue(?: [a-z]+)+)", PAGE))
    assert named - COMMANDS.keys() == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does_in_one_line_that_fits(name: str, capsys: Captured) -> None:
    short = COMMANDS[name].get_short_help_str(limit=66)
    assert short
    assert not short.endswith("...")


@pytest.mark.parametrize("name", ["medqueue", *COMMANDS])
def test_every_command_has_help(name: str, capsys: Captured) -> None:
    assert main([*name.split()[1:], "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: {name}")


def test_the_help_loads_nothing_slow() -> None:
    code = f"""
import sys
from service.cli import main
main(["--help"])
print([name for name in {SLOW!r} if name in sys.modules])
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "[]"


def test_the_version_is_shown(capsys: Captured) -> None:
    assert main(["--version"]) == 0
    assert re.fullmatch(r"medqueue \d+\.\d+\.\d+\n", capsys.readouterr().out)


@pytest.mark.parametrize("line", ["nonsense", "jobs show no-uuid", "submit x", "jobs list --limit 0"])
def test_a_wrong_command_line_ends_with_2(line: str, capsys: Captured) -> None:
    assert main(line.split()) == 2
    assert "Error:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.SettingInvalid("MEDQUEUE_X", "wrong"), ExitCode.USAGE),
        (StackNotFound(), ExitCode.UNREACHABLE),
        (Unreachable(), ExitCode.UNREACHABLE),
        (AnswerLost(), ExitCode.UNREACHABLE),
        (ContentDamaged(), ExitCode.FAILED),
        (errors.DatabaseUnavailable(), ExitCode.UNREACHABLE),
        (errors.BlobUnavailable(), ExitCode.UNREACHABLE),
        (ApiProblem(400, "x", "y"), ExitCode.REFUSED),
        (ApiProblem(499, "x", "y"), ExitCode.REFUSED),
        (ApiProblem(500, "x", "y"), ExitCode.SERVER_FAULT),
        (errors.PayloadUnreadable(), ExitCode.SERVER_FAULT),
        (errors.TransitionRefused(), ExitCode.REFUSED),
        (SchemaMissing(), ExitCode.REFUSED),
        (PortTaken("127.0.0.1", 8080), ExitCode.FAILED),
    ],
)
def test_each_error_has_its_exit_code(error: errors.ServiceError | ApiProblem, code: ExitCode) -> None:
    assert exit_code_of(error) is code


def raising(error: BaseException) -> httpx.MockTransport:
    def answer(_: httpx.Request) -> httpx.Response:
        raise error

    return httpx.MockTransport(answer)


LIST = ["jobs", "list", "--url", "http://api.test", "--key", "k"]


def test_ctrl_c_ends_with_130_and_says_nothing(capsys: Captured) -> None:
    assert main(LIST, transport=raising(KeyboardInterrupt())) == 130
    written = capsys.readouterr()
    assert (written.out + written.err).strip() == ""


def test_what_nobody_foresaw_ends_with_70_and_a_traceback(capsys: Captured) -> None:
    assert main(LIST, transport=raising(ZeroDivisionError("odd"))) == 70
    assert "ZeroDivisionError: odd" in capsys.readouterr().err


def test_without_a_stack_or_an_address_a_command_says_what_to_do(tmp_path: Path, capsys: Captured) -> None:
    assert main(["jobs", "list", "--data-dir", str(tmp_path)]) == 3
    assert "`medqueue up`" in capsys.readouterr().err


def test_an_operators_command_without_a_stack_says_what_to_do(tmp_path: Path, capsys: Captured) -> None:
    assert main(["keys", "list", "--data-dir", str(tmp_path)]) == 3
    assert "MEDQUEUE_DATABASE_URL" in capsys.readouterr().err


def test_a_wrong_setting_ends_with_2_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("MEDQUEUE_LEASE_S", "soon")
    assert main(["keys", "list", "--data-dir", str(tmp_path)]) == 2
    assert "MEDQUEUE_LEASE_S" in capsys.readouterr().err


def test_an_address_that_is_none_of_a_database_is_a_wrong_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("MEDQUEUE_DATABASE_URL", "not an address with secret")
    assert main(["db", "check", "--data-dir", str(tmp_path)]) == 2
    written = capsys.readouterr().err
    assert "MEDQUEUE_DATABASE_URL" in written
    assert "secret" not in written


def stack_folder(path: Path, port: int = 8099) -> Path:
    """A data folder as a stack leaves it."""
    (path / "run").mkdir(parents=True)
    (path / "run" / "ports.json").write_text(json.dumps({"api": port}))
    (path / "admin.key").write_text("mq_admin\n")
    return path


def asked(words: list[str]) -> httpx.Request:
    """The one request that a command sends."""
    requests = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json={"items": [], "next_cursor": None})

    assert main(words, transport=httpx.MockTransport(answer)) == 0
    return requests[0]


def test_the_data_folder_gives_the_address_and_the_admin_key(tmp_path: Path) -> None:
    request = asked(["jobs", "list", "--data-dir", str(stack_folder(tmp_path))])
    assert request.url.host == "127.0.0.1"
    assert request.url.port == 8099
    assert request.headers["Authorization"] == "Bearer mq_admin"


def test_variables_name_another_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDQUEUE_URL", "http://elsewhere.test")
    monkeypatch.setenv("MEDQUEUE_KEY", "mq_other")
    request = asked(["jobs", "list"])
    assert request.url.host == "elsewhere.test"
    assert request.headers["Authorization"] == "Bearer mq_other"


def test_the_admin_key_is_never_sent_to_an_address_that_was_given(tmp_path: Path, capsys: Captured) -> None:
    folder = stack_folder(tmp_path)
    assert main(["jobs", "list", "--data-dir", str(folder), "--url", "http://elsewhere.test"]) == 2
    assert "--key" in capsys.readouterr().err


def test_a_folder_on_the_command_line_outdoes_variables_that_name_another_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDQUEUE_URL", "http://elsewhere.test")
    monkeypatch.setenv("MEDQUEUE_KEY", "mq_other")
    request = asked(["jobs", "list", "--data-dir", str(stack_folder(tmp_path))])
    assert request.url.host == "127.0.0.1"
    assert request.headers["Authorization"] == "Bearer mq_admin"


def test_a_key_that_cannot_be_sent_is_a_usage_error(capsys: Captured) -> None:
    assert main(["jobs", "list", "--url", "http://api.test", "--key", "schl\u00fcssel"]) == 2
    assert "schl" not in capsys.readouterr().err


def test_the_scopes_that_keys_create_offers_are_those_there_are() -> None:
    assert set(SCOPES) == set(Scope)


@pytest.mark.parametrize("process", ["worker", "scheduler"])
def test_a_process_is_healthy_once_it_has_said_that_it_is_ready(
    tmp_path: Path, process: str, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("MEDQUEUE_WORKER_NAME", "w-1")
    words = ["health", process, "--data-dir", str(tmp_path)]
    assert main(words) == 1
    assert "w-1 is not ready" in capsys.readouterr().err
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "w-1.ready").touch()
    assert main(words) == 1
    assert "w-1 has no pulse" in capsys.readouterr().err
    Pulse(time.monotonic(), None, busy=False, redis_away=False).write(pulse_file(tmp_path, "w-1"))
    assert main(words) == 0
    assert capsys.readouterr().err == ""


def test_a_process_that_takes_no_messages_is_unhealthy_after_the_time_that_is_asked_for(
    tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "w-1.ready").touch()
    now_s = time.monotonic()
    Pulse(now_s, now_s - 45, busy=False, redis_away=False).write(pulse_file(tmp_path, "w-1"))
    words = ["health", "worker", "--data-dir", str(tmp_path), "--name", "w-1"]
    assert main(words) == 1
    assert "w-1 takes no messages: one has waited for 45 s." in capsys.readouterr().err
    assert main([*words, "--stalled-after", "60"]) == 0


def test_health_names_the_models_that_a_worker_refuses(tmp_path: Path, capsys: Captured) -> None:
    """It scores others, and a restart would not help: so it is healthy."""
    write_refusals(
        refusals_file(tmp_path, "w-1"),
        {"dose-effect 1.0.0": Refusal("its golden cases come out differently")},
    )
    (tmp_path / "run" / "w-1.ready").touch()
    Pulse(time.monotonic(), None, busy=False, redis_away=False).write(pulse_file(tmp_path, "w-1"))
    assert main(["health", "worker", "--data-dir", str(tmp_path), "--name", "w-1"]) == 0
    assert "refuses dose-effect 1.0.0: its golden cases come out differently" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["worker", "scheduler"])
def test_health_without_a_name_asks_every_process_of_the_data_folder(
    kind: str, tmp_path: Path, capsys: Captured
) -> None:
    words = ["health", kind, "--data-dir", str(tmp_path)]
    assert main(words) == 1
    assert f"No {kind} has run on {tmp_path}" in capsys.readouterr().err
    names = {"worker": ["ward-1", "worker-2"], "scheduler": ["scheduler"]}
    (tmp_path / "run").mkdir()
    for name in (name for group in names.values() for name in group):
        (tmp_path / "run" / f"{name}.ready").touch()
        Pulse(time.monotonic(), None, busy=False, redis_away=False).write(pulse_file(tmp_path, name))
    assert main(words) == 0
    for name in names[kind]:
        (tmp_path / "run" / f"{name}.ready").unlink()
        assert main(words) == 1
        assert f"{name} is not ready" in capsys.readouterr().err
        (tmp_path / "run" / f"{name}.ready").touch()


def test_a_stack_that_is_still_starting_is_not_one_that_has_never_run(
    tmp_path: Path, capsys: Captured
) -> None:
    words = ["models", "list", "--data-dir", str(tmp_path)]
    with DataFolder.at(tmp_path).held():
        assert main(words) == 3
        assert "is still starting. Wait until `medqueue up` prints `ready`" in capsys.readouterr().err
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / "run" / "lock").write_text(f"{ended.pid}\n")
    assert main(words) == 3
    assert f"No stack has run on {tmp_path}" in capsys.readouterr().err


def test_the_doctor_says_that_no_stack_has_run(tmp_path: Path, capsys: Captured) -> None:
    assert main(["doctor", "--json", "--data-dir", str(tmp_path / "nothere")]) == 1
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert (finding["check"], finding["status"]) == ("stack", "fail")
    assert finding["found"] == f"No stack has run on {tmp_path / 'nothere'}"
    assert "medqueue up" in finding["advice"]
