"""What the settings allow, as rules of egress."""

from ipaddress import ip_network

from service.config import Settings
from service.egress import EgressRules
from service.webhooks.rules import rules_of


def test_the_default_settings_are_the_default_rules() -> None:
    assert rules_of(Settings()) == EgressRules()


def test_each_setting_becomes_its_rule() -> None:
    settings = Settings(
        webhook_allow_http=True,
        webhook_allowed_ports="*",
        webhook_allowed_networks="10.20.0.0/16, fd12::/32",
        webhook_proxy="http://proxy:3128",
    )
    assert rules_of(settings) == EgressRules(
        allow_http=True,
        ports=None,
        networks=(ip_network("10.20.0.0/16"), ip_network("fd12::/32")),
        proxy="http://proxy:3128",
    )
