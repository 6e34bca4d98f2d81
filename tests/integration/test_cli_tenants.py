"""Operators' commands about tenants: their weights, what settings grant them, and what `doctor` says of that."""

import pytest

from service.config import Settings
from service.crypto import Keyring
from service.db import Database
from tests import factories
from tests.integration.operating import Run, findings, found


def test_tenants_are_listed_with_what_the_settings_grant_them(
    medqueue: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ward", "clinic"):
        medqueue("keys", "create", "--name", "x", "--scope", "admin", "--tenant", name, "--new-tenant")
    monkeypatch.setenv("MEDQUEUE_BATCH_TENANT_ROOTS", "clinic = /in, read|write")
    monkeypatch.setenv("MEDQUEUE_WEBHOOK_ALLOWED_NETWORKS", "10.1.0.0/16")
    monkeypatch.setenv("MEDQUEUE_WEBHOOK_TENANT_NETWORKS", "* = 192.0.2.0/24; clinic = 10.2.0.0/16")
    _, listed, _ = medqueue("tenants", "list")
    assert [(each["name"], each["networks"]) for each in listed["items"]] == [
        ("ward", ["10.1.0.0/16", "192.0.2.0/24"]),
        ("clinic", ["192.0.2.0/24", "10.2.0.0/16"]),
    ]
    assert [each["roots"] for each in listed["items"]] == [
        [],
        [{"root": "/in", "access": "read"}, {"root": "/in", "access": "write"}],
    ]


def test_a_tenants_weight_is_set_shown_and_in_the_trail(medqueue: Run, database: Database) -> None:
    medqueue("keys", "create", "--name", "x", "--scope", "admin", "--tenant", "ward", "--new-tenant")
    assert medqueue("tenants", "weigh", "ward", "4")[:2] == (0, {"name": "ward", "weight": 4})
    medqueue("tenants", "weigh", "ward", "4")
    _, listed, _ = medqueue("tenants", "list")
    assert [(each["name"], each["weight"]) for each in listed["items"]] == [("ward", 4)]
    with database.statement() as work:
        events = work.execute("SELECT object, detail FROM audit_event WHERE action = 'tenant.weighed'")
    assert events == [("tenant:ward", {"weight": 4})]


@pytest.mark.parametrize(("words", "status"), [(("typo", "4"), 4), (("ward", "0"), 2), (("ward", "101"), 2)])
def test_a_weight_that_cannot_be_set_is_refused(medqueue: Run, words: tuple[str, str], status: int) -> None:
    assert medqueue("tenants", "weigh", *words)[0] == status


@pytest.mark.parametrize(
    ("check", "by_tenant", "of_the_first", "good", "unknown"),
    [
        (
            "batch roots",
            "BATCH_TENANT_ROOTS",
            {"BATCH_ALLOWED_ROOTS": "/in"},
            "ward a = /in/a, read; * = /all, read",
            "ward b = /in/b, read",
        ),
        (
            "webhook networks",
            "WEBHOOK_TENANT_NETWORKS",
            {"WEBHOOK_ALLOWED_NETWORKS": "10.2.0.0/16"},
            "ward a = 10.1.0.0/16; * = 192.0.2.0/24",
            "ward b = 10.1.0.0/16",
        ),
    ],
)
def test_the_doctor_says_whose_the_grants_are(
    medqueue: Run, database: Database, keyring: Keyring, settings: Settings, monkeypatch: pytest.MonkeyPatch,
    check: str, by_tenant: str, of_the_first: dict[str, str], good: str, unknown: str,
) -> None:  # fmt: skip
    settings.data_dir.mkdir(exist_ok=True)
    for name in ("hospital", "ward a"):
        factories.principal(database, keyring, tenant=name)
    monkeypatch.setenv(f"MEDQUEUE_{by_tenant}", good)
    assert findings(medqueue)[1][check] == "ok"
    monkeypatch.setenv(f"MEDQUEUE_{by_tenant}", unknown)
    for name, value in of_the_first.items():
        monkeypatch.setenv(f"MEDQUEUE_{name}", value)
    told, short = found(medqueue, check)
    assert told == "there is no tenant ward b"
    assert "of hospital alone" in short
