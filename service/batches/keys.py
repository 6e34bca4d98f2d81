"""Fields of a batch that the tenant's key seals: the key of its output parts, and the layout of its source."""

import os
from uuid import UUID

from service.crypto import KEY_BYTES, Cipher, binding


def new_data_key(cipher: Cipher, tenant_id: UUID, batch_id: UUID) -> bytes:
    """A new, sealed key for the parts of one batch. Destroying the key makes the parts unreadable."""
    return cipher.seal(os.urandom(KEY_BYTES), binding("batch.data_key", tenant_id, batch_id))


def part_cipher(cipher: Cipher, tenant_id: UUID, batch_id: UUID, data_key: bytes) -> Cipher:
    """The cipher of a batch's parts. Raises PayloadUnreadable."""
    return Cipher(cipher.open(data_key, binding("batch.data_key", tenant_id, batch_id)))


def seal_layout(cipher: Cipher, tenant_id: UUID, batch_id: UUID, layout: bytes) -> bytes:
    """Seal the layout of a source, because it contains the names of columns and identifies the file."""
    return cipher.seal(layout, binding("batch.layout", tenant_id, batch_id))


def open_layout(cipher: Cipher, tenant_id: UUID, batch_id: UUID, sealed: bytes) -> bytes:
    """The layout of a source, as its validation stored it. Raises PayloadUnreadable."""
    return cipher.open(sealed, binding("batch.layout", tenant_id, batch_id))
