"""The parts of a batch that the tenant's key seals: the key of its output parts, and how its source is read."""

import os
from uuid import UUID

from service.crypto import KEY_BYTES, Cipher, binding


def new_data_key(cipher: Cipher, tenant_id: UUID, batch_id: UUID) -> bytes:
    """A fresh key for the parts of one batch, sealed: destroying it destroys them."""
    return cipher.seal(os.urandom(KEY_BYTES), binding("batch.data_key", tenant_id, batch_id))


def part_cipher(cipher: Cipher, tenant_id: UUID, batch_id: UUID, data_key: bytes) -> Cipher:
    """The cipher of a batch's parts. Raises PayloadUnreadable."""
    return Cipher(cipher.open(data_key, binding("batch.data_key", tenant_id, batch_id)))


def seal_layout(cipher: Cipher, tenant_id: UUID, batch_id: UUID, layout: bytes) -> bytes:
    """How a source is read, as it is stored: it names columns and what identifies the file."""
    return cipher.seal(layout, binding("batch.layout", tenant_id, batch_id))


def open_layout(cipher: Cipher, tenant_id: UUID, batch_id: UUID, sealed: bytes) -> bytes:
    """How a source is read, as its validation found. Raises PayloadUnreadable."""
    return cipher.open(sealed, binding("batch.layout", tenant_id, batch_id))
