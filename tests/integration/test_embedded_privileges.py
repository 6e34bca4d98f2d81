"""What the embedded servers may do: no capabilities, and an application that is an ordinary role; old folders, too."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from service import grants
from service.embedded import ServerUrls, embedded_servers, server_urls
from service.embedded.folder import DataFolder
from service.embedded.postgres import Postgres
from service.embedded.privileges import ServerUser, server_user
from service.embedded.roles import hand_over
from service.embedded.servers import servers_in
from service.schema import migrate, unmigrate

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root starts servers as somebody else")
SECRET = "of root alone"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("privileges") / "data"


@pytest.fixture(scope="module")
def urls(folder: Path) -> Iterator[ServerUrls]:
    """As the stack's application has them, on a migrated database."""
    with embedded_servers(folder, fsync=False) as running:
        migrate(running.owner_url)
        (folder / "master.key").write_text(SECRET)
        (folder / "master.key").chmod(0o600)
        yield server_urls(folder)


@contextmanager
def connected(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def processes(folder: Path) -> dict[str, psutil.Process]:
    """The two servers of a data folder, by the name of their program."""
    found = {}
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if words and any(str(folder) in word for word in words[1:]):
            found[Path(words[0]).name] = process
    return {name: found[name] for name in ("postgres", "redis-server")}


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


@AS_ROOT
def test_servers_and_their_children_have_no_capabilities_and_can_get_none(
    urls: ServerUrls, folder: Path
) -> None:
    with connected(urls.database_url):
        for server in processes(folder).values():
            for process in (server, *server.children(recursive=True)):
                found = status(process.pid)
                capabilities = {found[f"Cap{kind}"] for kind in ("Eff", "Prm", "Inh", "Amb")}
                assert {int(bits, 16) for bits in capabilities} == {0}
                assert found["NoNewPrivs"] == "1"
                assert "0" not in found["Uid"].split() + found["Gid"].split()


REFUSED = [
    "SELECT pg_read_file('/etc/shadow')",
    "SELECT pg_read_file('{folder}/master.key')",
    "SELECT pg_read_binary_file('PG_VERSION')",
    "SELECT pg_ls_dir('.')",
    "SELECT lo_import('{folder}/master.key')",
    "SELECT lo_export(1, '/tmp/x')",
    "COPY (SELECT 1) TO PROGRAM 'id'",
    "COPY (SELECT 1) TO '/tmp/x'",
    "CREATE TEMP TABLE t (line text); COPY t FROM PROGRAM 'id'",
    "CREATE TEMP TABLE t (line text); COPY t FROM '/etc/passwd'",
    "ALTER SYSTEM SET work_mem = '5MB'",
    "SET session_replication_role = replica",
    "SET ROLE medqueue",
    "SET ROLE medqueue_owner",
    "CREATE ROLE intruder",
    "CREATE DATABASE another",
    "CREATE TABLE public.another (id int)",
    "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "DROP TABLE job",
    "TRUNCATE job CASCADE",
    "ALTER TABLE audit_event DISABLE TRIGGER ALL",
    "DROP TRIGGER audit_event_append_only ON audit_event",
    "SELECT rolpassword FROM pg_authid",
    "CREATE EXTENSION file_fdw",
]


@pytest.mark.parametrize("statement", REFUSED)
def test_the_application_may_not(urls: ServerUrls, folder: Path, statement: str) -> None:
    """By its role: also where the servers run as the user who started them."""
    with connected(urls.database_url) as connection, pytest.raises(psycopg.Error) as refused:
        connection.execute(statement.replace("{folder}", str(folder)).encode())
    assert refused.value.sqlstate in {"42501", "0A000"}, refused.value


def test_the_application_is_an_ordinary_role_that_owns_nothing(urls: ServerUrls) -> None:
    with connected(urls.database_url) as connection:
        rights = connection.execute(
            "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls FROM pg_roles"
            " WHERE rolname = current_user"
        ).fetchone()
        owned = connection.execute(
            "SELECT count(*) FROM pg_shdepend WHERE refobjid = current_user::regrole AND deptype = 'o'"
        ).fetchone()
        member_of = connection.execute(
            "SELECT count(*) FROM pg_auth_members WHERE member = current_user::regrole"
        ).fetchone()
    assert (rights, owned, member_of) == ((False,) * 5, (0,), (0,))


def test_the_owner_is_no_superuser_either(urls: ServerUrls) -> None:
    with connected(urls.owner_url) as connection:
        assert connection.execute("SHOW is_superuser").fetchone() == ("off",)
        with pytest.raises(psycopg.Error):
            connection.execute("SELECT pg_read_file('/etc/passwd')")


@AS_ROOT
def test_even_the_administrator_reaches_none_of_roots_files(urls: ServerUrls, folder: Path) -> None:
    postgres, _ = servers_in(DataFolder.at(folder))
    here = replace(postgres, port=int(str(psycopg.conninfo.conninfo_to_dict(urls.database_url)["port"])))
    with connected(here.administrator_url) as connection:
        for path in (
            "/etc/shadow",
            str(folder / "master.key"),
            "../master.key",
        ):
            with pytest.raises(psycopg.Error, match=r"Permission denied|not allowed"):
                connection.execute("SELECT pg_read_binary_file(%s)", [path])


@AS_ROOT
def test_redis_reaches_none_of_roots_files_and_writes_none(urls: ServerUrls, folder: Path) -> None:
    with redis.Redis.from_url(urls.redis_url) as connection:
        for place in (str(folder), "/root", str(folder / "run")):
            with pytest.raises(redis.ResponseError):
                connection.config_set("dir", place)


def test_the_application_can_do_its_work_in_every_table_and_only_add_to_the_trail(
    urls: ServerUrls, folder: Path
) -> None:
    """At the first start, whose grants come before the tables, and at the next, which grants anew."""
    assert_granted(urls)
    administrator = servers_in(DataFolder.at(folder))[0]
    here = replace(administrator, port=int(str(psycopg.conninfo.conninfo_to_dict(urls.database_url)["port"])))
    with connected(here.administrator_url) as connection:
        hand_over(connection)
    assert_granted(urls)


def assert_granted(urls: ServerUrls) -> None:
    with connected(urls.database_url) as connection:
        held = connection.execute(
            "SELECT relname, array_agg(kind ORDER BY kind) FILTER (WHERE has_table_privilege(pg_class.oid, kind))"
            " FROM pg_class, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS kind"
            " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') GROUP BY relname"
        ).fetchall()
    rights = {name: set(kinds) for name, kinds in held}
    assert rights.keys() == grants.PROCESSES.keys()
    assert rights.pop(grants.APPEND_ONLY) == set(grants.PROCESSES[grants.APPEND_ONLY].split())
    for table, kinds in rights.items():
        assert kinds == {"SELECT", "INSERT", "UPDATE", "DELETE"}
        needed = f"{grants.PROCESSES[table]} {grants.COMMANDS.get(table, '')}".split()
        assert kinds >= set(needed)


def test_an_upgrade_takes_the_right_to_change_the_trail_from_whoever_holds_it(urls: ServerUrls) -> None:
    rights = "SELECT has_table_privilege('medqueue_app', 'audit_event', 'UPDATE, DELETE, TRUNCATE')"
    with connected(urls.owner_url) as connection:
        unmigrate(urls.owner_url, "0009")
        connection.execute(
            "GRANT DELETE, TRUNCATE ON audit_event TO medqueue_app; GRANT UPDATE ON audit_event TO PUBLIC"
        )
        migrate(urls.owner_url)
        assert connection.execute(rights).fetchone() == (False,)
        with pytest.raises(psycopg.Error, match="append-only"):
            connection.execute("DELETE FROM audit_event")


def test_a_folder_of_the_release_before_is_converted_at_its_start(tmp_path: Path) -> None:
    """There the administrator alone was known, and owned the database and all in it."""
    with embedded_servers(tmp_path, fsync=False) as urls:
        with connected(urls.database_url) as connection:
            _as_the_release_before_left_it(connection)
        migrate(urls.database_url)
        with connected(urls.database_url) as connection:
            connection.execute(
                "INSERT INTO tenant (id, name, data_key) SELECT gen_random_uuid(), 'kept', 'x'"
            )
            connection.execute("CREATE SEQUENCE alone; CREATE VIEW seen AS SELECT 1 AS one")
    for name in ("postgres-owner.password", "postgres-app.password"):
        (tmp_path / name).unlink()
    with embedded_servers(tmp_path, fsync=False) as urls:
        application = server_urls(tmp_path).database_url
        with connected(application) as connection:
            assert connection.execute("SELECT name FROM tenant").fetchall() == [("kept",)]
            assert connection.execute("SELECT nextval('alone'), one FROM seen").fetchall() == [(1, 1)]
        with connected(urls.owner_url) as connection:
            connection.execute(
                "ALTER TABLE tenant ADD COLUMN later int; DROP VIEW seen; ALTER TYPE job_state RENAME TO s"
            )
            connection.execute("CREATE TABLE made_later (id int)")
        with connected(application) as connection:
            assert connection.execute("SELECT later FROM tenant").fetchall() == [(None,)]
            connection.execute("INSERT INTO made_later VALUES (1)")


def _as_the_release_before_left_it(connection: psycopg.Connection) -> None:
    connection.execute("ALTER DATABASE medqueue OWNER TO medqueue")
    for role in ("medqueue_app", "medqueue_owner"):
        connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())


# Programs that the servers' user cannot reach


@AS_ROOT
def test_programs_below_a_closed_folder_are_copied_to_where_they_can_be_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ServerUser, "may_run", lambda *_: False)
    with embedded_servers(tmp_path, fsync=False) as urls:
        with connected(urls.database_url) as connection:
            connection.execute("DO $$ BEGIN PERFORM now() AT TIME ZONE 'Europe/Berlin'; END $$")
        where = {name: Path(process.exe()) for name, process in processes(tmp_path).items()}
        copies = (tmp_path / "run/sockets").resolve() / "programs"
        assert all(path.is_relative_to(copies) for path in where.values())
    assert not copies.exists()


@AS_ROOT
def test_what_a_user_may_run_is_told_by_the_modes_of_all_folders_above(tmp_path: Path) -> None:
    open_folder, closed = Path("/tmp/mq-may-run"), tmp_path / "closed"
    open_folder.mkdir(exist_ok=True)
    try:
        open_folder.chmod(0o755)
        closed.mkdir(mode=0o700)
        for place in (open_folder, closed):
            shutil.copy("/bin/true", place / "program")
        (open_folder / "link").symlink_to(closed / "program")
        user = ServerUser(65534, 65534)
        assert user.may_run(open_folder / "program")
        assert not user.may_run(closed / "program")
        assert not user.may_run(open_folder / "link")
        (open_folder / "program").chmod(0o700)
        assert not user.may_run(open_folder / "program")
        assert server_user(tmp_path / "postgres").may_pass(open_folder)
    finally:
        shutil.rmtree(open_folder)


def test_a_user_who_starts_them_for_himself_opens_nothing_for_another(tmp_path: Path) -> None:
    me = ServerUser(os.geteuid(), os.getegid())
    assert me.prefix(folder=tmp_path) == ()
    folder = DataFolder.at(tmp_path)
    with folder.held():
        assert Postgres(folder, me, 1).serving()[2] == str(tmp_path / "postgres")
