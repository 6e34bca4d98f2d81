"""What docs/operations.md tells to type: the roles and their grants, and a backup that is restored."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql

from service import backlog, grants
from service.accounts import Principal
from service.config import Settings
from service.crypto import Keyring
from service.db import Database
from service.embedded import ServerUrls, embedded_servers, server_urls
from service.embedded.wheels import postgres_binary
from service.jobs import queries, sweeps
from service.jobs.queries import Reading
from service.schema import migrate
from service.storage import FsspecBlobStore
from tests import factories
from tests.conftest import url_of
from tests.factories import MASTER_KEY_TEXT
from tests.integration.hooks import Hooks
from workers.process.parts import make_parts
from workers.process.tasks import sweeps_of

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
PASSWORD = "not-a-secret"


def blocks(heading: str, language: str) -> list[str]:
    """The listings of one section."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```", section, re.DOTALL | re.MULTILINE)


def run(url: str, script: str) -> None:
    """Run statements, each a transaction of its own."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in filter(None, map(str.strip, script.split(";\n"))):
            connection.execute(statement.encode())


def as_role(url: str, role: str) -> str:
    return re.sub(r"//[^@]*@", f"//{role}:{PASSWORD}@", url)


def whole_life(database: Database, hooks: Hooks) -> UUID:
    """A job with a webhook, submitted, claimed, ended and read, one more that is canceled, and all sweeps."""
    hooks.endpoint()
    (job_id,) = hooks.submit()
    hooks.succeed(job_id)
    (canceled,) = hooks.submit()
    with database.transaction() as work:
        queries.cancel(work, hooks.caller, canceled)
    with database.statement() as work:
        sweeps.rescue(work, max_crashes=3)
    return job_id


@pytest.mark.parametrize("least", [False, True], ids=["as documented", "no more than needed"])
def test_the_documented_roles_run_everything_and_the_application_owns_nothing(
    least: bool, servers: ServerUrls, keyring: Keyring, tmp_path: Path
) -> None:
    name = f"roles_{uuid4().hex[:12]}"
    owner, app = f"{name}_owner", f"{name}_app"
    text = "\n".join(blocks("Roles and grants", "sql"))
    for old, new in (
        ("medqueue_owner", owner),
        ("medqueue_app", app),
        ("DATABASE medqueue", f"DATABASE {name}"),
        ("OWNER_PASSWORD", PASSWORD),
        ("APP_PASSWORD", PASSWORD),
    ):
        text = text.replace(old, new)
    made, granted = text[: text.index("GRANT ")], text[text.index("GRANT ") :]
    run(servers.database_url, made)
    here = url_of(servers, name)
    try:
        run(here, granted)
        migrate(as_role(here, owner))
        run(here, granted)  # once more, as after a restore
        if least:
            run(here, f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {app}")
            for table, privileges in (*grants.PROCESSES.items(), *grants.COMMANDS.items()):
                run(here, f"GRANT {privileges.replace(' ', ', ')} ON {table} TO {app}")
        database = Database(as_role(here, app), pool_size=3)
        try:
            model = factories.published(
                database, FsspecBlobStore((tmp_path / "blobs").as_uri(), makes_root=True)
            )
            caller = factories.principal(database, keyring)
            whole_life(database, Hooks(database, keyring, None, model, caller))  # type: ignore[arg-type]
            assert b"medqueue_webhook_deliveries" in backlog.exposition(database, "redis://127.0.0.1:1/0")
        finally:
            database.close()
        with psycopg.connect(as_role(here, app), autocommit=True) as connection:
            for forbidden in (
                "CREATE TABLE mine (a int)",
                "DROP TABLE job",
                "TRUNCATE audit_event",
                "UPDATE audit_event SET action = action",
                "DELETE FROM audit_event",
                "CREATE ROLE x",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(forbidden.encode())
            owners = connection.execute(
                "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
            ).fetchall()
        assert owners == [(owner,)]
    finally:
        with psycopg.connect(servers.database_url, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
            for role in (owner, app):
                connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def test_a_backup_is_restored_with_its_webhooks_held(
    template: ServerUrls, database_url: str, keyring: Keyring, tmp_path: Path
) -> None:
    blobs = tmp_path / "blobs"
    database = Database(database_url, pool_size=2)
    model = factories.published(database, FsspecBlobStore(blobs.as_uri(), makes_root=True))
    caller = factories.principal(database, keyring)
    job_id = whole_life(database, Hooks(database, keyring, None, model, caller))  # type: ignore[arg-type]
    waiting = backlog_of(database)
    database.close()
    assert waiting > 0
    backup, restore, _ = blocks("Backup and restore", "sh")
    shell(backup, database_url, blobs, tmp_path)
    with psycopg.connect(template.database_url, autocommit=True) as connection:
        name = f"restored_{uuid4().hex}"
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    restored_url, restored_blobs = url_of(template, name), tmp_path / "restored"
    try:
        shell(restore, restored_url, restored_blobs, tmp_path)
        assert held_and_swept(restored_url, template.redis_url, tmp_path) == waiting
        check_restored(restored_url, restored_blobs, blobs, caller, job_id)
    finally:
        with psycopg.connect(template.database_url, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def test_the_embedded_database_is_dumped_by_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, backup = tmp_path / "data", tmp_path / "backup"
    backup.mkdir()
    dump, _, of_the_stack = blocks("Backup and restore", "sh")
    monkeypatch.setenv("MEDQUEUE_DATA_DIR", str(folder))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.chdir(Path(__file__).parents[2])
    with embedded_servers(folder, fsync=False):
        (folder / "blobs").mkdir()
        migrate(server_urls(folder).owner_url)
        shell(of_the_stack + dump, "", tmp_path, backup)
    listed = subprocess.run(
        [postgres_binary("pg_restore"), "--list", backup / "medqueue.dump"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert " TABLE public job medqueue_owner" in listed


def check_restored(url: str, copies: Path, blobs: Path, caller: Principal, job_id: UUID) -> None:
    """The schema needs nothing, the job opens under the same key, and every blob is there."""
    migrate(url)
    database = Database(url, pool_size=1)
    try:
        with database.statement() as work:
            (job,) = queries.read(work, [Reading(caller, job_id, queries.EVERY_TAG)])
    finally:
        database.close()
    assert isinstance(job, queries.JobView)
    assert job.state == "succeeded"
    assert files_of(copies) == files_of(blobs) != {}


def held_and_swept(url: str, redis_url: str, folder: Path) -> float:
    """How many webhooks wait after a scheduler that holds them has swept."""
    settings = Settings(
        database_url=url,
        redis_url=redis_url,
        data_dir=folder,
        master_key=MASTER_KEY_TEXT,
        webhooks_held=True,
    )
    parts = make_parts(settings, delivers=True, scores=False)
    try:
        parts.start()
        for sweep in sweeps_of(parts).values():
            sweep()
        assert parts.dispatcher is None
        return backlog_of(parts.database)
    finally:
        parts.stop()
        parts.close()


def backlog_of(database: Database) -> float:
    text = backlog.exposition(database, "redis://127.0.0.1:1/0").decode()
    found = re.search(r'^medqueue_webhook_deliveries\{state="queued"\} (\S+)$', text, re.MULTILINE)
    assert found is not None
    return float(found[1])


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def shell(script: str, url: str, blobs: Path, backup: Path) -> None:
    """Run commands of the page."""
    programs = postgres_binary("pg_dump").parent
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "MEDQUEUE_DATABASE_URL": url,
        "BLOBS": str(blobs),
        "BACKUP": str(backup),
    }
    bash = shutil.which("bash")
    assert bash is not None
    done = subprocess.run(
        [bash, "-euc", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
