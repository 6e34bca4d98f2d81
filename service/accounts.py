"""Tenants, API keys and scopes. Only a digest of a key's secret is stored.

A key reads `mq_<id>_<secret>`: 12 hexadecimal digits to look it up, 43 characters (256 random bits) to prove it.
At that entropy a plain SHA-256 is enough; a slow password hash would only cost CPU on every request.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import sqlalchemy as sa
from uuid_utils.compat import uuid7

from service import audit, master_key
from service.crypto import Cipher, Keyring, binding
from service.db import Database, UnitOfWork
from service.errors import KeyInvalid, NotFound, RequestInvalid, ScopeMissing
from service.orm import ApiKey, Tenant

DEFAULT_TENANT = "default"
TOKEN = re.compile(r"mq_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")

AUTHENTICATE = """
SELECT k.id, k.tenant_id, k.secret_digest, k.scopes, t.data_key FROM api_key k JOIN tenant t ON t.id = k.tenant_id
WHERE k.id = %(id)s AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
"""


class Scope(StrEnum):
    """What a key may do. `admin` includes all others."""

    JOBS_READ = "jobs:read"
    JOBS_WRITE = "jobs:write"
    UPLOADS_WRITE = "uploads:write"
    MODELS_READ = "models:read"
    WEBHOOKS_READ = "webhooks:read"
    WEBHOOKS_WRITE = "webhooks:write"
    ADMIN = "admin"


@dataclass(frozen=True)
class Principal:
    """Who is calling: a key, its tenant, and the cipher of the tenant's data."""

    key_id: str
    tenant_id: UUID
    scopes: frozenset[str]
    cipher: Cipher

    @property
    def actor(self) -> str:
        """This principal as an audit event names it."""
        return f"key:{self.key_id}"

    def may(self, scope: Scope) -> bool:
        """Whether the key has `scope` or `admin`."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def require(self, scope: Scope) -> None:
        """Raises ScopeMissing unless the key has `scope` or `admin`."""
        if not self.may(scope):
            raise ScopeMissing(scope)


@dataclass(frozen=True)
class IssuedKey:
    """A new key; `token` is shown once and stored nowhere."""

    id: str
    token: str
    scopes: tuple[str, ...]


def authenticate(work: UnitOfWork, keyring: Keyring, token: str) -> Principal:
    """The principal of a token. Raises KeyInvalid when it is malformed, unknown, wrong, revoked or expired."""
    shape = TOKEN.fullmatch(token)
    found = work.execute(AUTHENTICATE, {"id": shape[1]}) if shape else []
    if not shape or not found or not hmac.compare_digest(found[0].secret_digest, _digest(shape[2])):
        raise KeyInvalid
    (key,) = found
    cipher = keyring.cipher(key.data_key, binding("tenant.data_key", key.tenant_id, key.tenant_id))
    return Principal(key.id, key.tenant_id, frozenset(key.scopes), cipher)


class TenantCiphers:
    """The ciphers of tenants by id, for workers: a tenant's data key never changes its id, so they are kept."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring
        self._known: dict[UUID, Cipher] = {}

    def of(self, tenant_id: UUID) -> Cipher:
        """The cipher of a tenant. Raises NotFound when there is no such tenant."""
        known = self._known.get(tenant_id)
        if known is None:
            with self._database.statement() as work:
                found = work.execute("SELECT data_key FROM tenant WHERE id = %(id)s", {"id": tenant_id})
            if not found:
                raise NotFound
            bound_to = binding("tenant.data_key", tenant_id, tenant_id)
            known = self._known[tenant_id] = self._keyring.cipher(found[0].data_key, bound_to)
        return known


def ensure_tenant(work: UnitOfWork, keyring: Keyring, *, name: str, actor: str) -> tuple[UUID, bool]:
    """The id of the tenant called `name`, and whether it was made just now.

    Raises MasterKeyWrong where its data key would be sealed under another master key than the rest.
    """
    found = work.session.scalar(sa.select(Tenant.id).where(Tenant.name == name))
    if found is not None:
        return found, False
    master_key.verify(work, keyring)
    tenant_id = uuid7()
    data_key = keyring.new_data_key(binding("tenant.data_key", tenant_id, tenant_id))
    work.session.add(Tenant(id=tenant_id, name=name, data_key=data_key))
    work.session.flush()
    audit.append(
        work, audit.Action.TENANT_CREATED, actor=actor, tenant_id=tenant_id, subject=f"tenant:{name}"
    )
    return tenant_id, True


def issue_key(
    work: UnitOfWork,
    *,
    tenant_id: UUID,
    name: str,
    scopes: list[str],
    actor: str,
    expires_at: datetime | None = None,
) -> IssuedKey:
    """Make a key. Raises RequestInvalid when a scope does not exist."""
    unknown = sorted(set(scopes) - set(Scope))
    if unknown or not scopes:
        raise RequestInvalid(f"Scopes are {', '.join(Scope)}; choose at least one of them.")
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    work.session.add(
        ApiKey(
            id=key_id,
            tenant_id=tenant_id,
            name=name,
            secret_digest=_digest(secret),
            scopes=scopes,
            expires_at=expires_at,
        )
    )
    work.session.flush()
    audit.append(
        work,
        audit.Action.KEY_CREATED,
        actor=actor,
        tenant_id=tenant_id,
        subject=f"key:{key_id}",
        detail={"scopes": scopes},
    )
    return IssuedKey(key_id, f"mq_{key_id}_{secret}", tuple(scopes))


def tenant_named(work: UnitOfWork, name: str) -> UUID:
    """The id of a tenant. Raises NotFound."""
    found = work.session.scalar(sa.select(Tenant.id).where(Tenant.name == name))
    if found is None:
        raise NotFound(f"There is no tenant {name}. `medqueue keys create --new-tenant` makes one.")
    return found


def list_tenants(work: UnitOfWork) -> list[Tenant]:
    """All tenants, oldest first."""
    return list(work.session.scalars(sa.select(Tenant).order_by(Tenant.created_at, Tenant.id)))


def weigh_tenant(work: UnitOfWork, *, name: str, weight: int, actor: str) -> None:
    """Set how many of a tenant's jobs a worker takes in each turn, 1 to 100, from its next claim on. Raises NotFound."""
    tenant_id = tenant_named(work, name)
    tenant = work.session.get_one(Tenant, tenant_id)
    if tenant.weight == weight:
        return
    tenant.weight = weight
    work.session.flush()
    audit.append(
        work,
        audit.Action.TENANT_WEIGHED,
        actor=actor,
        tenant_id=tenant_id,
        subject=f"tenant:{name}",
        detail={"weight": weight},
    )


def list_keys(work: UnitOfWork) -> list[tuple[ApiKey, str]]:
    """All keys, oldest first, each with its tenant's name. Secrets are not stored."""
    query = (
        sa.select(ApiKey, Tenant.name).join(Tenant, Tenant.id == ApiKey.tenant_id).order_by(ApiKey.created_at)
    )
    return [(key, name) for key, name in work.session.execute(query)]


def revoke_key(work: UnitOfWork, *, key_id: str, actor: str) -> None:
    """Revoke a key now; cached logins end within MEDQUEUE_CACHE_S. Raises NotFound."""
    key = work.session.get(ApiKey, key_id)
    if key is None:
        raise NotFound(f"There is no key {key_id}. `medqueue keys list` shows all.")
    if key.revoked_at is None:
        key.revoked_at = sa.func.now()
        work.session.flush()
        audit.append(
            work, audit.Action.KEY_REVOKED, actor=actor, tenant_id=key.tenant_id, subject=f"key:{key_id}"
        )


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
