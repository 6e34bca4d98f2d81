"""Quotas of uploads over HTTP, and what their count reads."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient

from service.accounts import Scope
from service.app import create_api
from service.config import Settings
from service.crypto import Keyring
from service.db import Database
from service.quotas import USED, used
from tests import factories

DAY, IN_ALL = 4000, 6000


@pytest.fixture
def client(settings: Settings) -> Iterator[FlaskClient]:
    limits = {"uploaded_bytes_per_day": DAY, "uploaded_bytes_per_tenant": IN_ALL}
    api = create_api(settings.model_copy(update=limits))
    yield api.app.test_client()
    api.close()


def upload(client: FlaskClient, token: str, size_bytes: int) -> Any:
    return client.post("/v1/uploads", data=b"x" * size_bytes, headers={"Authorization": f"Bearer {token}"})


def aged(database: Database, tenant_id: UUID, hours: float) -> None:
    """Make a tenant's uploads older."""
    with database.statement() as work:
        work.execute(
            "UPDATE upload SET created_at = created_at - %(by)s WHERE tenant_id = %(tenant_id)s",
            {"by": timedelta(hours=hours), "tenant_id": tenant_id},
        )


def test_a_tenant_past_its_quota_is_told_when_and_the_others_upload(
    client: FlaskClient, database: Database, keyring: Keyring
) -> None:
    token, other = (
        factories.issue_token(database, keyring, tenant=name, scopes=[Scope.UPLOADS_WRITE])
        for name in ("full", "other")
    )
    assert upload(client, token, 3000).status_code == 201
    refused = upload(client, token, 1001)
    assert (refused.status_code, refused.json["code"]) == (429, "upload_quota_exceeded")
    assert refused.headers["Retry-After"] == str(24 * 3600)
    assert upload(client, token, 5000).status_code == 413
    assert upload(client, token, 1000).status_code == 201
    assert upload(client, other, 4000).status_code == 201


def test_a_day_later_there_is_room_until_too_much_is_stored(
    client: FlaskClient, database: Database, keyring: Keyring, settings: Settings
) -> None:
    token = factories.issue_token(database, keyring, tenant="full", scopes=[Scope.UPLOADS_WRITE])
    assert upload(client, token, 4000).status_code == 201
    with database.statement() as work:
        (row,) = work.execute("SELECT tenant_id FROM upload", {})
    aged(database, row.tenant_id, 25)
    fresh = create_api(
        settings.model_copy(update={"uploaded_bytes_per_day": DAY, "uploaded_bytes_per_tenant": IN_ALL})
    )
    later = fresh.app.test_client()
    assert upload(later, token, 2000).status_code == 201
    refused = upload(later, token, 1)
    fresh.close()
    assert (refused.status_code, refused.json["code"]) == (409, "storage_quota_exceeded")
    assert "Retry-After" not in refused.headers


def test_bytes_are_counted_by_hour(client: FlaskClient, database: Database, keyring: Keyring) -> None:
    token = factories.issue_token(database, keyring, tenant="full", scopes=[Scope.UPLOADS_WRITE])
    caller = factories.principal(database, keyring, tenant="full")
    for size_bytes, hours in ((100, 22.5), (200, 1.2), (300, 0.5), (400, 0)):
        assert upload(client, token, size_bytes).status_code == 201
        aged(database, caller.tenant_id, hours)
    usage = used(database, caller.tenant_id)
    assert {hour: size for hour, size in enumerate(usage.by_hour) if size} == {0: 700, 1: 200}
    assert usage.in_all == 1000


def test_a_count_reads_the_index_of_the_tenant_alone(database: Database, keyring: Keyring) -> None:
    caller, other = (factories.principal(database, keyring, tenant=name) for name in ("few", "many"))
    with database.transaction() as work:
        for tenant_id, count in ((caller.tenant_id, 100), (other.tenant_id, 50_000)):
            work.execute(
                "INSERT INTO upload (id, tenant_id, location, data_key, size_bytes, sha256) "
                "SELECT gen_random_uuid(), %(tenant_id)s, '', '', 10, '' FROM generate_series(1, %(count)s)",
                {"tenant_id": tenant_id, "count": count},
            )
    with database.statement() as work:
        plan = [row[0] for row in work.execute(f"EXPLAIN {USED}", {"tenant_id": caller.tenant_id})]
    assert any("ix_upload_sizes" in line for line in plan), plan
    assert used(database, caller.tenant_id).by_hour[0] == 1000
