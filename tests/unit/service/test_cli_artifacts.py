"""`medqueue jobs artifact` and what `medqueue jobs show` says of artifacts, against a small API in memory."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from service.cli import job_tables, main
from tests.unit.service.test_cli_commands import ID, KEY, RESULT, Api, job

CONTENT = bytes(range(256)) * 4
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PATH = f"/v1/jobs/{ID}/artifacts/mask.png"
TAG = {"ETag": f'"{SHA256}"'}
LISTED = {
    "name": "mask.png", "media_type": "image/png", "size_bytes": len(CONTENT), "sha256": SHA256, "url": PATH,
}  # fmt: skip

Run = Callable[..., int]
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def api() -> Api:
    found = Api()
    found.on(f"HEAD {PATH}", httpx.Response(200, headers=TAG | {"Content-Length": str(len(CONTENT))}))
    found.on(f"GET {PATH}", httpx.Response(200, headers=TAG, content=CONTENT))
    return found


@pytest.fixture
def medqueue(api: Api) -> Run:
    def run(*words: str) -> int:
        given = ["jobs", *words, "--url", "http://api.test", "--key", KEY]
        return main(given, transport=httpx.MockTransport(api))

    return run


def test_an_artifact_is_written_to_a_file_and_told_of(
    medqueue: Run, tmp_path: Path, capsys: Captured
) -> None:
    path = tmp_path / "mask.png"
    assert medqueue("artifact", ID, "mask.png", "-o", str(path), "--json") == 0
    assert path.read_bytes() == CONTENT
    assert [each.name for each in tmp_path.iterdir()] == ["mask.png"]
    told = json.loads(capsys.readouterr().out)
    assert told == {"file": str(path), "size_bytes": len(CONTENT), "sha256": SHA256}


def test_a_download_goes_on_from_what_an_earlier_command_left(
    api: Api, medqueue: Run, tmp_path: Path
) -> None:
    (tmp_path / "mask.png.part").write_bytes(CONTENT[:700])
    api.on(f"GET {PATH}", httpx.Response(206, headers=TAG, content=CONTENT[700:]))
    assert medqueue("artifact", ID, "mask.png", "-o", str(tmp_path / "mask.png")) == 0
    assert (api.asked[-1].headers["Range"], api.asked[-1].headers["If-Range"]) == (
        "bytes=700-",
        f'"{SHA256}"',
    )
    assert (tmp_path / "mask.png").read_bytes() == CONTENT


def test_damage_ends_with_1_and_leaves_no_file(
    api: Api, medqueue: Run, tmp_path: Path, capsys: Captured
) -> None:
    api.on(f"GET {PATH}", httpx.Response(200, headers=TAG, content=CONTENT[:-1] + b"x"))
    assert medqueue("artifact", ID, "mask.png", "-o", str(tmp_path / "mask.png")) == 1
    assert "[content_damaged]" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [(), ("-o", "-")])
def test_it_goes_to_stdout_alone_without_a_file(
    medqueue: Run, words: tuple[str, ...], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert medqueue("artifact", ID, "mask.png", *words) == 0
    assert capfdbinary.readouterr() == (CONTENT, b"")


def test_an_unknown_artifact_ends_with_what_the_service_says(
    api: Api, medqueue: Run, tmp_path: Path, capsys: Captured
) -> None:
    problem = {"code": "artifact_not_found", "detail": "There is no such artifact."}
    api.on(f"HEAD {PATH}", httpx.Response(404))
    api.on(f"GET {PATH}", problem, status=404)
    assert medqueue("artifact", ID, "mask.png", "-o", str(tmp_path / "mask.png")) == 4
    assert "[artifact_not_found]" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "MASK.PNG", "a?b"])
def test_what_is_no_name_is_not_asked_for(api: Api, medqueue: Run, name: str, capsys: Captured) -> None:
    assert medqueue("artifact", ID, name, "-o", "x") == 2
    assert "as listed by `medqueue jobs show`" in capsys.readouterr().err
    assert api.asked == []


def test_a_job_is_shown_with_its_artifacts_in_a_table(api: Api, medqueue: Run, capsys: Captured) -> None:
    api.on(f"GET /v1/jobs/{ID}", job(result=RESULT | {"artifacts": [LISTED]}))
    assert medqueue("show", ID) == 0
    shown = capsys.readouterr().out
    head, row = shown[shown.index("Artifacts") :].splitlines()[1:3]
    assert head.split() == ["NAME", "TYPE", "BYTES", "SHA-256"]
    assert row.split() == ["mask.png", "image/png", str(len(CONTENT)), SHA256]
    assert "size_bytes" not in shown


def test_a_job_without_artifacts_shows_no_table_of_them(api: Api, medqueue: Run, capsys: Captured) -> None:
    api.on(f"GET /v1/jobs/{ID}", job())
    assert medqueue("show", ID) == 0
    assert "Artifacts" not in capsys.readouterr().out


def test_a_list_of_answers_names_the_artifacts() -> None:
    result = {"type": "segmentation", "artifacts": [LISTED, LISTED | {"name": "overlay.png"}]}
    assert job_tables.answer(job(result=result)) == "artifacts mask.png, overlay.png"
