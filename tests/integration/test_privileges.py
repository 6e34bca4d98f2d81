"""A role that lacks privileges: what the gate and the doctor say, and of an admin key that is refused meanwhile."""

from pathlib import Path

import httpx
import pytest

from service import grants, requirements
from service.app import create_api
from service.cli.checks import application
from service.cli.checks.finding import Examined
from service.config import Settings
from service.crypto import Keyring
from service.db import Database
from service.faults import Requirement
from service.orm import Row
from tests.integration.operating import Run
from tests.integration.roles import application_role
from tests.integration.test_gate import eventually, readyz


def test_every_privilege_that_a_role_lacks_is_named(
    settings: Settings, database: Database, keyring: Keyring
) -> None:
    needs = [(table, each) for table, needed in grants.PROCESSES.items() for each in needed.split()]
    assert {table for table, _ in needs} == {*Row.metadata.tables, "alembic_version"}
    with application_role(settings) as (role, connection, url):
        limited = Database(url)
        assert requirements.database(limited, keyring) is None
        for table, privilege in needs:
            connection.execute(f"REVOKE {privilege} ON {table} FROM {role}".encode())
            fault = requirements.database(limited, keyring)
            connection.execute(f"GRANT {privilege} ON {table} TO {role}".encode())
            assert fault is not None, (table, privilege)
            assert fault.requirement is Requirement.POSTGRES
            assert fault.cause == f"the role lacks {privilege} on {table}"
        limited.close()


def test_a_schema_that_a_role_may_not_use_is_named(
    settings: Settings, database: Database, keyring: Keyring
) -> None:
    with application_role(settings) as (_, connection, url):
        connection.execute("REVOKE USAGE ON SCHEMA public FROM PUBLIC")
        limited = Database(url)
        fault = requirements.database(limited, keyring)
        limited.close()
    assert fault is not None
    assert fault.cause == "the role lacks USAGE on schema public"


def test_an_api_whose_role_cannot_read_keys_is_not_ready(settings: Settings, database: Database) -> None:
    """The example: it was ready, and answered 503 to every caller."""
    with application_role(settings) as (role, connection, url):
        api = create_api(settings.model_copy(update={"database_url": url}))
        http = api.app.test_client()
        assert "faults" not in readyz(http, 200)
        connection.execute(f"REVOKE SELECT ON api_key FROM {role}".encode())
        eventually(lambda: http.get("/readyz").status_code == 503)
        (fault,) = readyz(http, 503)["faults"]
        assert (fault["requirement"], fault["cause"]) == ("postgres", "the role lacks SELECT on api_key")
        connection.execute(f"GRANT SELECT ON api_key TO {role}".encode())
        eventually(lambda: http.get("/readyz").status_code == 200)
        api.close()


def privileges(medqueue: Run) -> list[tuple[str, str]]:
    _, document, _ = medqueue("doctor", "--url", "http://api.test")
    found = [finding for finding in document["findings"] if finding["check"] == "privileges"]
    return [(finding["status"], finding["found"]) for finding in found]


def test_the_doctor_names_the_privileges_that_the_role_lacks(
    medqueue: Run, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The example: it ended with 0, and told the operator to remove the admin key."""
    with application_role(settings) as (role, connection, url):
        monkeypatch.setenv("MEDQUEUE_DATABASE_URL", url)
        assert privileges(medqueue) == [("ok", "the role may do what this release does")]
        connection.execute(f"REVOKE INSERT ON upload, tenant FROM {role}".encode())
        connection.execute(f"REVOKE SELECT ON api_key FROM {role}".encode())
        assert privileges(medqueue) == [
            ("fail", "the role lacks INSERT on upload, SELECT on api_key"),
            ("warn", "for `medqueue keys` and `medqueue models` the role lacks INSERT on tenant"),
        ]


def test_the_doctor_lets_no_admin_key_be_removed_because_of_the_database(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    (tmp_path / "admin.key").write_text("mq_old")
    code = {"/readyz": 200}
    transport = httpx.MockTransport(
        lambda request: httpx.Response(code.get(request.url.path, 401), json={"code": "key_invalid"})
    )
    with application_role(settings) as (role, connection, url):
        examined = Examined(Settings(data_dir=tmp_path, database_url=url), "http://api.test", transport)
        assert "makes a new key" in list(application.api(examined))[1].advice
        connection.execute(f"REVOKE SELECT ON model_alias FROM {role}".encode())
        assert "fix the database first" in list(application.api(examined))[1].advice
