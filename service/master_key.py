"""Whether a process's master key is that of its database. No data key is made before this test.

The first process that works on a database stores a known text, sealed under its master key; each later one must be able
to open it. So two hosts that are started with different keys on an empty database cannot both seal data.
"""

from uuid import UUID

from service.crypto import Keyring, binding
from service.db import UnitOfWork
from service.errors import PayloadUnreadable, SettingInvalid

BOUND_TO = b"key_check.sealed"
STORED = """
SELECT (SELECT sealed FROM key_check) AS sealed, (SELECT id FROM tenant ORDER BY id LIMIT 1) AS tenant_id,
       (SELECT data_key FROM tenant ORDER BY id LIMIT 1) AS data_key
"""
STORE = "INSERT INTO key_check (sealed) VALUES (%(sealed)s) ON CONFLICT (id) DO NOTHING"


class MasterKeyWrong(SettingInvalid):
    """The master key is not the one that the data of this database is sealed under."""

    code = "master_key_wrong"

    def __init__(self) -> None:
        super().__init__(
            "MEDQUEUE_MASTER_KEY", "it is not the key that the data of this database is sealed under"
        )


def verify(work: UnitOfWork, keyring: Keyring) -> None:
    """Test the key against what the database keeps; `work` is a transaction. Raises MasterKeyWrong.

    The oldest tenant's data key must open, and the key check. Where the check is missing (an empty database, or one of
    an earlier release), it is stored: of two that store it at once the first to commit wins, and the other finds that one.
    """
    if _stored(work, keyring):
        return
    work.execute(STORE, {"sealed": keyring.sealed_check(BOUND_TO)})
    _stored(work, keyring)


def opens(keyring: Keyring, sealed: bytes) -> bool:
    """Whether a key opens the key check of a database."""
    try:
        keyring.open_check(sealed, BOUND_TO)
    except PayloadUnreadable:
        return False
    return True


def _stored(work: UnitOfWork, keyring: Keyring) -> bool:
    """Whether there is a key check. Raises MasterKeyWrong when it or a tenant's data key does not open."""
    (stored,) = work.execute(STORED)
    try:
        if stored.sealed is not None:
            keyring.open_check(stored.sealed, BOUND_TO)
        if stored.tenant_id is not None:
            keyring.cipher(stored.data_key, _tenant_binding(stored.tenant_id))
    except PayloadUnreadable:
        raise MasterKeyWrong from None
    return stored.sealed is not None


def _tenant_binding(tenant_id: UUID) -> bytes:
    return binding("tenant.data_key", tenant_id, tenant_id)
