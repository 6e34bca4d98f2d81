"""Where the settings allow webhooks to be sent, as the rules for every URL and every connection."""

from ipaddress import ip_network

from service.config import Settings
from service.egress import EgressRules


def rules_of(settings: Settings) -> EgressRules:
    """The rules of this installation, the same for the API that takes URLs and the workers that send to them."""
    return EgressRules(
        allow_http=settings.webhook_allow_http,
        ports=settings.webhook_ports,
        networks=tuple(map(ip_network, settings.webhook_networks)),
        proxy=settings.webhook_proxy or None,
    )
