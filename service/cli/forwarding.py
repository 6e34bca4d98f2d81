"""Forwards events as webhooks, signed as the service signs them, to a receiver that is being developed."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self
from uuid import UUID

import click
import httpx
from pydantic_core import from_json

from service.cli.feed import Message
from service.webhooks.messages import headers, new_secret

TIMEOUT_S = 15.0


@dataclass(frozen=True)
class Forwarded:
    """What a receiver answered to one event: its status, or why there was none."""

    job_id: str | None
    status: int | None
    error: str | None


class Forwarder:
    """Sends events to one URL, each once."""

    def __init__(self, url: str, transport: httpx.BaseTransport | None = None) -> None:
        if not url.startswith(("http://", "https://")):
            raise click.UsageError("--forward takes a URL, such as http://localhost:3000/hook.")
        self.secret = new_secret()
        self._url = url
        self._http = httpx.Client(timeout=TIMEOUT_S, transport=transport, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def send(self, message: Message) -> Forwarded:
        """Send one event; redirects are not followed, as the service does not."""
        body = message.data.encode()
        job_id = from_json(body).get("data", {}).get("job_id")
        signed = headers(UUID(message.id), body, [self.secret], at=datetime.now(UTC))
        try:
            answer = self._http.post(self._url, content=body, headers=signed)
        except (httpx.TransportError, httpx.InvalidURL) as fault:
            return Forwarded(job_id, None, type(fault).__name__)
        return Forwarded(job_id, answer.status_code, None)
