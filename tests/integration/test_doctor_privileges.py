"""What the doctor says of a role that lacks privileges, and of an admin key that is refused meanwhile."""

from pathlib import Path

import httpx
import pytest

from service.cli.checks import application
from service.cli.checks.finding import Examined
from service.config import Settings
from service.db import Database
from tests.integration.operating import Run
from tests.integration.roles import application_role


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
        assert "mend the database first" in list(application.api(examined))[1].advice
