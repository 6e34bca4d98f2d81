"""What a receiver gets: body and headers of one event, after the Standard Webhooks specification 1.0.0.

The body is rebuilt for every try from rows that never change, so its bytes are the same each time. It holds ids, states
and digests, never an input, a result, a subject or metadata.
"""

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pydantic_core import to_json
from standardwebhooks import Webhook

from service.audit import Action

SECRET_BYTES = 32  # the specification asks for 24 to 64
SECRET_PREFIX = "whsec_"  # noqa: S105 - how the specification marks secrets
PING = Action.PING.value

# What a message contains of its event: columns of FROM_EVENT, by the names of Event's fields.
EVENT_COLUMNS = """event.id, event.action AS type, event.occurred_at, event.detail, event.job_id, version.name AS model,
    version.version AS model_version, version.digest AS model_digest, version.manifest->>'kind' AS kind, event.batch_id"""
FROM_EVENT = """LEFT JOIN job ON job.id = event.job_id AND job.id = ANY (ARRAY(SELECT job_id FROM {events}))
    LEFT JOIN batch ON batch.id = event.batch_id AND batch.id = ANY (ARRAY(SELECT batch_id FROM {events}))
    LEFT JOIN model_version AS version ON version.id = coalesce(job.model_version_id, batch.model_version_id)"""
# The entries of an event's detail that are sent; the others are for the trail.
TOLD_OF_JOBS = ("attempt", "code", "late_s", "result_sha256")
TOLD_OF_BATCHES = ("code", "counts", "expected_end", "open_until", "results_sha256", "errors_sha256")


@dataclass(frozen=True)
class Event:
    """One event of the trail as receivers get it. `model` to `kind` is of its job or batch, if it has one."""

    id: UUID
    type: str
    occurred_at: datetime
    detail: dict[str, Any]
    job_id: UUID | None
    model: str | None
    model_version: str | None
    model_digest: str | None
    kind: str | None
    batch_id: UUID | None = None

    def body(self, public_url: str) -> bytes:
        """The event as JSON, under 1 KB. `public_url` is where receivers reach the API."""
        return to_json({"type": self.type, "timestamp": self.occurred_at, "data": self._content(public_url)})

    def _content(self, public_url: str) -> dict[str, Any]:
        told: tuple[str, ...]
        if self.job_id is not None:
            told, subject = TOLD_OF_JOBS, {"job_id": self.job_id}
            url = {"job_url": f"{public_url}/v1/jobs/{self.job_id}"}
        elif self.batch_id is not None:
            told, subject = TOLD_OF_BATCHES, {"batch_id": self.batch_id}
            url = {"batch_url": f"{public_url}/v1/batches/{self.batch_id}"}
        else:
            return {"event_id": self.id, **self.detail}
        content: dict[str, Any] = {
            "event_id": self.id,
            **subject,
            "state": self.detail.get("state", self.type.partition(".")[2]),
            "model": self.model,
            "model_version": self.model_version,
            "model_digest": self.model_digest,
            "kind": self.kind,
            **url,
        }
        return content | {name: self.detail[name] for name in told if self.detail.get(name) is not None}


def new_secret() -> str:
    """A fresh signing secret, as receivers' libraries take it: `whsec_` and 32 random bytes in base64."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def headers(
    event_id: UUID, body: bytes, signed_with: Sequence[str], *, at: datetime, traceparent: str | None = None
) -> dict[str, str]:
    """The headers of one try at `at`: the id, which is the same over all tries, and a signature of each live secret."""
    # The library reads a time as if it were in UTC, and signs the second it is in.
    moment, text = at.astimezone(UTC), body.decode()
    signatures = [Webhook(secret).sign(str(event_id), moment, text) for secret in signed_with]
    headers = {
        "Content-Type": "application/json",
        "webhook-id": str(event_id),
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
    return headers if traceparent is None else headers | {"traceparent": traceparent}
