"""Every command that the documents show is run as it stands there, against a stack; what cannot be run is listed with why.

A command that somebody adds to a page is found and run by itself. Only ports, folders and ids of examples are replaced.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
import pytest

from service.cli.root import medqueue
from tests.acceptance import cases
from tests.acceptance.documents import ROOT, Shown, shown
from tests.acceptance.stack import RECEIVERS_HERE, Stack, eventually
from tests.forking.commands import MEDQUEUE, run

COMMANDS = list(shown())
ID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
LONGEST_S = 60
NEEDS_A_SHELL = frozenset(
    "$`|<>&;*\n"
)  # a command with one of these; others are forked, for a tenth of the CPU

# What is not run, by the beginning of the command, and why. Of each, what can be looked at without running it is.
NOT_RUN = {
    "make": "installs, tests or measures for minutes to hours; that there is such a target is tested",
    ".ci/run": "is the gate that runs this test",
    "medqueue up": "is the stack that the others are run against",
    "medqueue models index": "needs the bundle of an encoder, of tens of MiB; a small one has tests of its own",
    "medqueue models refit": "needs rows of the reader's; the forms have tests of their own",
    "medqueue models quantize sepsis-risk": "needs a bundle and files of the reader's; the forms have tests of their own",
    "medqueue webhooks create https://example.org": "its receiver's name must resolve, and a test has no name server",
    "medqueue webhooks listen": "follows events until it is stopped; its options are tested",
    "python -m gunicorn": "is what a measurement ran, with a placeholder for its port",
    "python -m service.serving": "is what a measurement ran",
    "python -m celery": "is what a measurement ran",
    "python -m benchmarks": "measures for half an hour",
    "docker": "needs docker; compose.yaml has tests of its own",
    "systemctl": "needs systemd",
    "systemd-analyze": "needs systemd",
    "sudo": "changes the machine",
    "journalctl": "needs systemd",
    "pg_dump": "needs the tools of Postgres",
    "pg_restore": "needs the tools of Postgres",
    "psql": "needs the tools of Postgres",
    "createdb": "needs the tools of Postgres",
    "redis-cli": "needs the tools of Redis",
    "promtool": "needs the tools of Prometheus",
    "openssl": "makes secrets for a deployment",
    "pip": "changes the installation",
    "eval": "changes the reader's shell",
}


def plain(text: str) -> str:
    """A command as it is known: without the folder of its program and what is typed before it."""
    return re.sub(r"^(\.venv/bin/|python3? -m pip\b|([A-Z_]+=\S+ +)+)", "", text.strip())


def why_not(command: Shown) -> str | None:
    """Why a command is not run; None for those that are."""
    return next((why for start, why in NOT_RUN.items() if plain(command.text).startswith(start)), None)


RUN = [command for command in COMMANDS if why_not(command) is None]
LEFT_OUT = [command for command in COMMANDS if why_not(command) is not None]


@dataclass
class Reader:
    """Somebody who follows the pages in a folder of their own, with the files that the examples speak of."""

    stack: Stack
    folder: Path
    ids: dict[str, str]

    def run(self, command: Shown) -> subprocess.CompletedProcess[str]:
        """Run a command as a shell would, with this stack in place of the one on port 8080."""
        text = command.text.replace("127.0.0.1:8080", f"127.0.0.1:{self.stack.port}")
        text = text.replace("localhost:8080", f"127.0.0.1:{self.stack.port}")
        text = re.sub(ID, lambda found: self._id_for(command.text) or found[0], text)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MEDQUEUE_")}
        environment |= {
            "PATH": f"{Path(sys.executable).parent}:{environment['PATH']}",
            "KEY": self.stack.admin_key,
            "ID": self.ids["batch"],
            "DATA": str(self.stack.data),
            "PORT": str(self.stack.port),
        }
        if text.startswith(("medqueue ", ".venv/bin/medqueue ")) and not NEEDS_A_SHELL & set(text):
            words = shlex.split(text, comments=True)[1:]
            return run((*MEDQUEUE, *words), cwd=self.folder, env=environment, timeout=LONGEST_S)
        return subprocess.run(
            ["/bin/bash", "-euo", "pipefail", "-c", text], cwd=self.folder, env=environment, text=True,
            capture_output=True, timeout=LONGEST_S, check=False,
        )  # fmt: skip

    def _id_for(self, text: str) -> str | None:
        """The id of what a command is about, in place of the example's."""
        kinds = {
            "upload_id": "upload",
            "medqueue batch": "batch",
            "/v1/batches": "batch",
            "medqueue jobs": "job",
            "/v1/jobs": "job",
            "batch-schedules": "schedule",
            "batch schedules": "schedule",
            "replay --endpoint": "endpoint",
        }
        return next(
            (self.ids[kind] for words, kind in kinds.items() if words in text and kind in self.ids), None
        )


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    folder = tmp_path_factory.mktemp("reader")
    roots = {
        "MEDQUEUE_MAX_WAIT_S": "5",  # how long the stream of events goes on
        "MEDQUEUE_BATCH_ALLOWED_ROOTS": "file:///srv/ward",
        "MEDQUEUE_WEBHOOK_TENANT_NETWORKS": "* = 0.0.0.0/0",
    }
    stack = Stack(folder / ".medqueue", RECEIVERS_HERE | roots)
    (folder / ".venv").symlink_to(Path(sys.prefix))
    for place in ("models", "compose.yaml", "pyproject.toml"):
        (folder / place).symlink_to(ROOT / place)
    files_of_the_examples(folder)
    try:
        stack.start()
        with stack.client() as http:
            ids = things_of_the_examples(http, folder)
        yield Reader(stack, folder, ids)
    finally:
        stack.kill()


def files_of_the_examples(folder: Path) -> None:
    """The files that the pages speak of: a case, an X-ray, a ward's table, somebody's model."""
    exported = ROOT / "tests" / "unit" / "models" / "foreign" / "sklearn-tensor.onnx"
    (folder / "exported.onnx").write_bytes(exported.read_bytes())
    (folder / "xray.png").write_bytes(cases.image())
    case = cases.submission()["input"]
    (folder / "case.json").write_text(json.dumps(case))
    columns = {"id": [f"c-{number}" for number in range(5)], "case": [f"c-{number}" for number in range(5)]}
    rows = pa.table(columns | {"ward": ["4b"] * 5} | {name: [value] * 5 for name, value in case.items()})
    pq.write_table(rows, folder / "ward.parquet")
    pcsv.write_csv(rows, folder / "ward.csv")
    pcsv.write_csv(rows.append_column("diagnosis", [["M", "B", "B", "M", "B"]]), folder / "labelled.csv")


def things_of_the_examples(http: httpx.Client, folder: Path) -> dict[str, str]:
    """What the ids of the examples stand for: an upload, a job, a batch that is completed."""
    upload = http.post("/v1/uploads", content=(folder / "ward.csv").read_bytes()).json()["id"]
    job = http.post("/v1/jobs", json=cases.submission(), headers={"Prefer": "wait=30"}).json()["id"]
    wanted = {
        "model": cases.BREAST_CANCER,
        "format": "csv",
        "source": {"upload_id": upload},
        "id_column": "id",
    }
    batch = http.post("/v1/batches", json=wanted).json()["id"]
    eventually(lambda: http.get(f"/v1/batches/{batch}").json()["state"] == "completed", within_s=30)
    return {"upload": upload, "job": job, "batch": batch}


@pytest.mark.parametrize("command", RUN, ids=str)
def test_a_command_of_the_documents_does_what_it_says(reader: Reader, command: Shown) -> None:
    done = reader.run(command)
    assert done.returncode == 0, f"{command}\n{command.text}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    refused = re.search(r'"status":[45]\d\d,.*', done.stdout)
    assert not refused, f"{command}\n{refused and refused[0]}"


@pytest.mark.parametrize(
    "command", [each for each in COMMANDS if plain(each.text).startswith("medqueue")], ids=str
)
def test_a_command_line_of_the_documents_has_only_options_that_exist(command: Shown) -> None:
    """Also of those that are not run."""
    words = shlex.split(plain(command.text), comments=True)
    words = words[: next((at for at, word in enumerate(words) if word in {">", "|", "&"}), None)]
    at: Any = medqueue
    for word in words[1:]:
        if word.startswith("-") or word not in getattr(at, "commands", {}):
            break
        at = at.commands[word]
    known = {name for option in at.params for name in (*option.opts, *option.secondary_opts)} | {
        "--help",
        "-h",
        "--version",
    }
    assert {word.partition("=")[0] for word in words if word.startswith("-")} <= known


@pytest.mark.parametrize(
    "command", [each for each in LEFT_OUT if plain(each.text).startswith("make ")], ids=str
)
def test_a_target_of_make_that_the_documents_name_exists(command: Shown) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = [word for word in shlex.split(plain(command.text), comments=True)[1:] if "=" not in word]
    assert set(named) <= set(targets)


def test_commands_are_found_on_the_pages_that_a_reader_begins_with() -> None:
    pages = {command.page for command in RUN}
    assert {"README.md", "docs/api.md", "docs/cli.md", "docs/models.md"} <= pages
    assert len(RUN) >= 15


def test_reasons_are_given_for_what_is_not_run() -> None:
    assert all(len(why) > 10 for why in NOT_RUN.values())
