"""Endpoints: register, change, delete, their signing secrets, and the origins that jobs call back.

Registering a URL proves nothing: service.egress decides what may be sent to, here and at every connect.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from uuid_utils.compat import uuid7

from service import audit, rows
from service.accounts import Principal
from service.audit import Action
from service.crypto import Cipher, binding
from service.db import UnitOfWork
from service.errors import EndpointNotFound, TooManyEndpoints, TransitionRefused
from service.queue import deliver_wake_up
from service.webhooks import messages

OLD_SECRET_VALID_H = 24
MOST_REGISTERED = 100
MOST_ORIGINS, ORIGINS_COUNTED_DAYS = 1000, 30
COLUMNS = """id, url, description, event_types, state, disabled_because, created_at, updated_at, failures, failing_since,
    closed_until"""

REGISTERED = "id = %(id)s AND tenant_id = %(tenant_id)s AND kind = 'registered' AND state <> 'deleted'"
CREATE = f"""
INSERT INTO webhook_endpoint (id, tenant_id, kind, url, description, event_types)
SELECT %(id)s, %(tenant_id)s, 'registered', %(url)s, %(description)s, %(event_types)s
WHERE (SELECT count(*) FROM webhook_endpoint WHERE tenant_id = %(tenant_id)s AND kind = 'registered' AND state <> 'deleted')
    < {MOST_REGISTERED}
RETURNING {COLUMNS}
"""
LIST = f"""
SELECT {COLUMNS} FROM webhook_endpoint
WHERE tenant_id = %(tenant_id)s AND kind = 'registered' AND state <> 'deleted'
    AND (%(before)s::uuid IS NULL OR id < %(before)s)
ORDER BY id DESC LIMIT %(limit)s
"""
GET = f"""
SELECT {COLUMNS} FROM webhook_endpoint WHERE {REGISTERED}
"""
# Enabling one again resets its failures.
CHANGE = f"""
UPDATE webhook_endpoint SET url = coalesce(%(url)s, url), description = coalesce(%(description)s, description),
    event_types = coalesce(%(event_types)s, event_types),
    subscribed_at = CASE WHEN %(event_types)s::text[] IS NULL THEN subscribed_at ELSE (
        SELECT coalesce(jsonb_object_agg(asked.type, coalesce(subscribed_at -> asked.type, to_jsonb(now())))
                FILTER (WHERE subscribed_at ? asked.type OR asked.type <> ALL (event_types)), '{{}}')
        FROM unnest(%(event_types)s::text[]) AS asked (type)) END, state = coalesce(%(state)s, state), updated_at = now(),
    disabled_because = CASE %(state)s::text WHEN 'disabled' THEN 'request' WHEN 'enabled' THEN NULL
        ELSE disabled_because END,
    failures = CASE WHEN %(state)s::text = 'enabled' THEN 0 ELSE failures END,
    failing_since = CASE WHEN %(state)s::text = 'enabled' THEN NULL ELSE failing_since END,
    closed_until = CASE WHEN %(state)s::text = 'enabled' THEN NULL ELSE closed_until END
WHERE {REGISTERED} RETURNING {COLUMNS}
"""
DELETE = f"""
UPDATE webhook_endpoint SET state = 'deleted', updated_at = now()
WHERE {REGISTERED} RETURNING id
"""
# A new job that names the origin of a callback enables it again.
ENSURE_CALLBACK = f"""
INSERT INTO webhook_endpoint (id, tenant_id, kind, url, event_types)
SELECT %(id)s, %(tenant_id)s, 'callback', %(origin)s, '{{}}'
WHERE (SELECT count(*) FROM webhook_endpoint WHERE tenant_id = %(tenant_id)s AND kind = 'callback' AND url <> %(origin)s
           AND updated_at > now() - interval '{ORIGINS_COUNTED_DAYS} days') < {MOST_ORIGINS}
ON CONFLICT (tenant_id, url) WHERE kind = 'callback' DO UPDATE SET state = 'enabled', updated_at = now(),
    disabled_because = NULL,
    failures = CASE webhook_endpoint.state WHEN 'enabled' THEN webhook_endpoint.failures ELSE 0 END,
    failing_since = CASE webhook_endpoint.state WHEN 'enabled' THEN webhook_endpoint.failing_since END
RETURNING id
"""
NEW_KEY = """
INSERT INTO webhook_secret (id, tenant_id, endpoint_id, secret)
VALUES (%(id)s, %(tenant_id)s, %(endpoint_id)s, %(secret)s)
"""
# Only the latest old one stays valid for a while; older ones end at once.
EXPIRE_KEYS = f"""
UPDATE webhook_secret SET expires_at = CASE
    WHEN expires_at IS NULL THEN now() + interval '{OLD_SECRET_VALID_H} hours' ELSE least(expires_at, now()) END
WHERE tenant_id = %(tenant_id)s AND endpoint_id IS NOT DISTINCT FROM %(endpoint_id)s RETURNING expires_at
"""
# Two concurrent rotations would each leave the other's secret valid for ever.
TAKE_TURNS = "SELECT id FROM tenant WHERE id = %(tenant_id)s FOR NO KEY UPDATE"
CAN_SIGN_CALLBACKS = """
SELECT EXISTS (SELECT FROM webhook_secret
               WHERE tenant_id = %(tenant_id)s AND endpoint_id IS NULL AND expires_at IS NULL) AS can_sign
"""
PING = """
WITH event AS (
    INSERT INTO audit_event (tenant_id, actor, action, object, detail)
    VALUES (%(tenant_id)s, %(actor)s, %(action)s, %(object)s, %(detail)s) RETURNING id, tenant_id, action
)
INSERT INTO webhook_delivery (tenant_id, endpoint_id, event_id, event_type)
SELECT tenant_id, %(endpoint_id)s, id, action FROM event RETURNING id
"""


@dataclass(frozen=True)
class Endpoint:
    """A registered endpoint as its owner sees it. `closed_until` while it is paused after failures."""

    id: UUID
    url: str
    description: str
    event_types: list[str]
    state: str
    disabled_because: str | None
    created_at: datetime
    updated_at: datetime
    failures: int
    failing_since: datetime | None
    closed_until: datetime | None


def create(
    work: UnitOfWork, principal: Principal, *, url: str, event_types: Sequence[str], description: str
) -> tuple[Endpoint, str]:
    """Register an endpoint whose URL was checked; with its signing secret, which is shown this once.

    Raises TooManyEndpoints.
    """
    endpoint_id, tenant_id = uuid7(), principal.tenant_id
    given = {"url": url, "description": description, "event_types": list(event_types)}
    created = work.execute(CREATE, {"id": endpoint_id, "tenant_id": tenant_id, **given})
    if not created:
        raise TooManyEndpoints(
            f"The tenant has {MOST_REGISTERED} webhook endpoints, as many as it may have. Delete one that is not needed."
        )
    endpoint = rows.build(Endpoint, created[0])
    secret = _add_secret(work, principal, endpoint_id)
    _note(work, principal, Action.ENDPOINT_CREATED, endpoint_id, {"event_types": list(event_types)})
    return endpoint, secret


def newest(work: UnitOfWork, principal: Principal, *, before: UUID | None, limit: int) -> list[Endpoint]:
    """The tenant's registered endpoints, newest first, older than `before`."""
    asked = {"tenant_id": principal.tenant_id, "before": before, "limit": limit}
    return [rows.build(Endpoint, row) for row in work.execute(LIST, asked)]


def get(work: UnitOfWork, principal: Principal, endpoint_id: UUID) -> Endpoint:
    """A registered endpoint. Raises EndpointNotFound, for a deleted one, too."""
    found = work.execute(GET, {"id": endpoint_id, "tenant_id": principal.tenant_id})
    if not found:
        raise EndpointNotFound
    return rows.build(Endpoint, found[0])


def enabled(work: UnitOfWork, principal: Principal, endpoint_id: UUID) -> Endpoint:
    """A registered, enabled endpoint. Raises EndpointNotFound or TransitionRefused."""
    found = get(work, principal, endpoint_id)
    if found.state != "enabled":
        raise TransitionRefused("The endpoint is disabled. Enable it first: PATCH it with state enabled.")
    return found


def change(
    work: UnitOfWork,
    principal: Principal,
    endpoint_id: UUID,
    *,
    url: str | None = None,
    event_types: Sequence[str] | None = None,
    description: str | None = None,
    state: str | None = None,
) -> Endpoint:
    """Change what is given; `url` was checked. `state` enabled resets the failures. Raises EndpointNotFound."""
    types = None if event_types is None else list(event_types)
    changes = {"url": url, "event_types": types, "description": description, "state": state}
    after = work.execute(CHANGE, {"id": endpoint_id, "tenant_id": principal.tenant_id, **changes})
    if not after:
        raise EndpointNotFound
    changed = sorted(name for name, value in changes.items() if value is not None)
    _note(work, principal, Action.ENDPOINT_CHANGED, endpoint_id, {"changed": changed})
    if state == "enabled":
        work.wake(deliver_wake_up())
    return rows.build(Endpoint, after[0])


def delete(work: UnitOfWork, principal: Principal, endpoint_id: UUID) -> None:
    """Delete an endpoint: nothing more is sent to it. Raises EndpointNotFound."""
    if not work.execute(DELETE, {"id": endpoint_id, "tenant_id": principal.tenant_id}):
        raise EndpointNotFound
    _note(work, principal, Action.ENDPOINT_DELETED, endpoint_id, {})


def rotate_secret(work: UnitOfWork, principal: Principal, endpoint_id: UUID) -> tuple[str, datetime | None]:
    """A new signing secret of an endpoint, and until when the previous one signs as well. Raises EndpointNotFound."""
    get(work, principal, endpoint_id)
    return _rotate(work, principal, endpoint_id)


def rotate_callback_secret(work: UnitOfWork, principal: Principal) -> tuple[str, datetime | None]:
    """The same for the secret that signs what is sent to jobs' callback URLs; makes the first one."""
    return _rotate(work, principal, None)


def ping(work: UnitOfWork, principal: Principal, endpoint_id: UUID) -> UUID:
    """Plan a test event for this endpoint alone; the id of its delivery. Raises EndpointNotFound or TransitionRefused."""
    enabled(work, principal, endpoint_id)
    (planned,) = work.execute(
        PING,
        {
            "tenant_id": principal.tenant_id,
            "actor": principal.actor,
            "action": Action.PING,
            "object": _name(endpoint_id),
            "detail": Jsonb({"endpoint_id": str(endpoint_id)}),
            "endpoint_id": endpoint_id,
        },
    )
    work.wake(deliver_wake_up())
    delivery_id: UUID = planned.id
    return delivery_id


def ensure_callback(work: UnitOfWork, principal: Principal, *, origin: str) -> UUID:
    """The endpoint that represents the origin of callback URLs, enabled. Raises TooManyEndpoints."""
    given = {"id": uuid7(), "tenant_id": principal.tenant_id, "origin": origin}
    ensured = work.execute(ENSURE_CALLBACK, given)
    if not ensured:
        raise TooManyEndpoints(
            f"The jobs of {ORIGINS_COUNTED_DAYS} days call back to {MOST_ORIGINS} origins, the most that are allowed. "
            "Name one of those."
        )
    endpoint_id: UUID = ensured[0].id
    return endpoint_id


def has_callback_secret(work: UnitOfWork, principal: Principal) -> bool:
    """Whether the tenant has a secret that signs callbacks."""
    (found,) = work.execute(CAN_SIGN_CALLBACKS, {"tenant_id": principal.tenant_id})
    return bool(found.can_sign)


def seal_callback(principal: Principal, job_id: UUID, url: str) -> bytes:
    """A job's callback URL as it is stored: it may hold a credential of the receiver."""
    return principal.cipher.seal(url.encode(), binding("job.callback", principal.tenant_id, job_id))


def open_callback(cipher: Cipher, tenant_id: UUID, job_id: UUID, sealed: bytes) -> str:
    """The callback URL of a job. Raises PayloadUnreadable."""
    return cipher.open(sealed, binding("job.callback", tenant_id, job_id)).decode()


def open_secret(cipher: Cipher, tenant_id: UUID, secret_id: UUID, sealed: bytes) -> str:
    """A signing secret. Raises PayloadUnreadable."""
    return cipher.open(sealed, binding("webhook_secret.secret", tenant_id, secret_id)).decode()


def _rotate(work: UnitOfWork, principal: Principal, endpoint_id: UUID | None) -> tuple[str, datetime | None]:
    owner = {"tenant_id": principal.tenant_id, "endpoint_id": endpoint_id}
    work.execute(TAKE_TURNS, owner)
    expiries = [row.expires_at for row in work.execute(EXPIRE_KEYS, owner)]
    secret = _add_secret(work, principal, endpoint_id)
    _note(work, principal, Action.SECRET_ROTATED, endpoint_id, {})
    return secret, max(expiries, default=None)


def _add_secret(work: UnitOfWork, principal: Principal, endpoint_id: UUID | None) -> str:
    secret_id, secret = uuid7(), messages.new_secret()
    bound_to = binding("webhook_secret.secret", principal.tenant_id, secret_id)
    sealed = principal.cipher.seal(secret.encode(), bound_to)
    owner = {"tenant_id": principal.tenant_id, "endpoint_id": endpoint_id}
    work.execute(NEW_KEY, {"id": secret_id, "secret": sealed, **owner})
    return secret


def _note(
    work: UnitOfWork, principal: Principal, action: Action, endpoint_id: UUID | None, detail: dict[str, Any]
) -> None:
    audit.append(
        work,
        action,
        actor=principal.actor,
        tenant_id=principal.tenant_id,
        subject=_name(endpoint_id),
        detail=detail,
    )


def _name(endpoint_id: UUID | None) -> str:
    return "webhook-callbacks" if endpoint_id is None else f"webhook-endpoint:{endpoint_id}"
