"""What the settings allow, as rules of egress."""

from ipaddress import ip_network

import pytest

from service.config import Settings
from service.egress import EgressRules
from service.errors import SettingInvalid
from service.tenant_grants import granted_to
from service.webhooks.rules import rules_of


def rules(settings: Settings, name: str, *, is_first: bool = False) -> EgressRules:
    return rules_of(settings, granted_to(settings.webhook_network_grants, name, is_first=is_first))


def test_the_default_settings_are_the_default_rules() -> None:
    assert rules(Settings(), "ward", is_first=True) == EgressRules()


def test_each_setting_becomes_its_rule() -> None:
    settings = Settings(
        webhook_allow_http=True,
        webhook_allowed_ports="*",
        webhook_allowed_networks="10.20.0.0/16, fd12::/32",
        webhook_proxy="http://proxy:3128",
    )
    assert rules(settings, "ward", is_first=True) == EgressRules(
        allow_http=True,
        ports=None,
        networks=(ip_network("10.20.0.0/16"), ip_network("fd12::/32")),
        proxy="http://proxy:3128",
    )


def test_networks_are_those_that_a_tenant_is_named_for() -> None:
    settings = Settings(
        webhook_allowed_networks="10.1.0.0/16",
        webhook_tenant_networks="ward a = 10.20.0.0/16;ward a=fd12::/32 ; b=c = 10.3.0.0/16; * = 192.0.2.0/24",
    )
    everybody = ip_network("192.0.2.0/24")
    assert rules(settings, "ward a").networks == (
        ip_network("10.20.0.0/16"),
        ip_network("fd12::/32"),
        everybody,
    )
    assert rules(settings, "b=c").networks == (ip_network("10.3.0.0/16"), everybody)
    assert rules(settings, "first", is_first=True).networks == (ip_network("10.1.0.0/16"), everybody)
    assert rules(settings, "WARD A") == rules(settings, "other") == EgressRules(networks=(everybody,))


@pytest.mark.parametrize(
    "value",
    ["10.0.0.0/8", "a = 10.0.0.1/8", "= 10.0.0.0/8", "a = ", "a = pacs.internal", "a = 10.0.0.0/8, read"],
)
def test_a_grant_that_cannot_be_read_is_refused(value: str) -> None:
    with pytest.raises(SettingInvalid) as caught:
        Settings.from_environment({"MEDQUEUE_WEBHOOK_TENANT_NETWORKS": value})
    assert caught.value.variable == "MEDQUEUE_WEBHOOK_TENANT_NETWORKS"
    assert "tenant = network" in str(caught.value)
