"""What the operator's settings grant to which tenant."""

import pytest

from service.batches.roots import TenantRoots, roots_of
from service.config import Settings
from service.errors import SettingInvalid
from service.tenant_grants import granted_to

LISTED = "ward a = /in/a, read; ward a=s3://out/a,write ;b = /both, read|write; * = /all, read"


def roots(settings: Settings, name: str, *, is_first: bool = False) -> TenantRoots:
    return roots_of(granted_to(settings.batch_root_grants, name, is_first=is_first))


def test_roots_are_those_that_a_tenant_is_named_for() -> None:
    settings = Settings(batch_tenant_roots=LISTED)
    assert roots(settings, "ward a") == TenantRoots(("/in/a", "/all"), ("s3://out/a",))
    assert roots(settings, "b") == TenantRoots(("/both", "/all"), ("/both",))
    assert roots(settings, "other", is_first=True) == TenantRoots(("/all",), ())
    assert roots(settings, "WARD A") == roots(settings, "ward a ") == TenantRoots(("/all",), ())


def test_the_short_form_is_of_the_first_tenant() -> None:
    settings = Settings(batch_allowed_roots="/in", batch_output_roots="/out", batch_tenant_roots=LISTED)
    assert roots(settings, "default", is_first=True) == TenantRoots(("/in", "/all"), ("/out",))
    assert roots(settings, "b", is_first=False) == TenantRoots(("/both", "/all"), ("/both",))
    assert roots(Settings(), "default", is_first=True) == TenantRoots()


@pytest.mark.parametrize(
    "value",
    [
        "/in",
        "a = /in",
        "a = /in, rw",
        "a = in, read",
        "a = /in/../etc, read",
        "= /in, read",
        "a = , read",
        "a = /in, read, write",
        "a = https://user:hunter2@host/in, read",
        "a = /in, read; b",
    ],
)
def test_what_is_no_root_of_a_tenant_is_refused_by_the_settings_name(value: str) -> None:
    with pytest.raises(SettingInvalid) as caught:
        Settings.from_environment({"MEDQUEUE_BATCH_TENANT_ROOTS": value})
    assert caught.value.variable == "MEDQUEUE_BATCH_TENANT_ROOTS"
    assert "tenant = root, read" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_roots_of_tenants_reach_child_processes() -> None:
    settings = Settings(batch_tenant_roots=LISTED)
    assert Settings.from_environment(settings.environment()).batch_root_grants == settings.batch_root_grants
